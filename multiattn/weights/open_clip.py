"""open_clip's layout of two towers, read and written without open_clip.

`open_clip_config.json` has the configuration of both towers and of the preprocessing. The picture tower is open_clip's
own, or one of timm's under `visual.trunk`, which `timm_structure` reads; the text tower is open_clip's own, and its
tensors have no prefix, or `text.` in newer files. What ours cannot express is refused by name.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..errors import ModelError
from ..inputs import ImagePreprocessing, Tokenizer
from ..models.text_tower import TextTowerConfig
from ..models.two_towers import TwoTowers, TwoTowersConfig
from ..models.vit import ViTConfig
from .bundle import Layout, ModelBundle, build_model
from .hf_common import check_fixed, read_roles
from .hf_pictures import per_channel
from .hf_towers import describe_tokenizer, together
from .json_files import check_value, read_architecture, read_part, short
from .model_files import ModelFiles
from .open_clip_tables import NAME, Names, table_of
from .timm_structure import on_meta, read_structure
from .timm_tables import Names as TimmNames
from .timm_tables import names_of

CONFIG, WEIGHTS, PICKLED = "open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
_TIMM = "timm_model_name"  # a key of `card`, too, with which a model of timm's is written again

_HEADS = {"linear": "head.proj", "none": ""}
"""What follows timm's model, by `timm_proj`; where nothing is stated, its own head projects."""

# keys that are read, or change nothing in inference
_VISION_KEYS = {
    *("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "ls_init_value", "no_ln_pre"),
    *("pos_embed_type", "final_ln_after_pool", "act_kwargs", "norm_kwargs", "patch_dropout", "output_tokens"),
    *(_TIMM, "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"),
    *("attn_pooler_queries", "attn_pooler_heads", "pool_type"),
}
_TEXT_KEYS = {
    *("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "no_causal_mask", "pool_type", "pad_id"),
    *("proj_type", "proj_bias", "act_kwargs", "norm_kwargs", "eos_id", "output_tokens", "tokenizer_kwargs"),
    *("hf_tokenizer_name", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"),
}
_MODEL_KEYS = {
    *("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias"),
    *("cast_dtype", "output_dict", "nonscalar_logit_scale"),
}


def recognizes(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration is of this layout."""
    return isinstance(config.get("model_cfg"), Mapping)


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that open_clip saved, or such a repository of the hub.

    Raises:
        ModelError: The model has a part that ours lacks, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    model = read_part(config, "model_cfg", where=where)
    vision, text = (read_part(model, name, where=where) for name in ("vision_cfg", "text_cfg"))
    for part, name, known in ((model, "model_cfg", _MODEL_KEYS), (vision, "vision_cfg", _VISION_KEYS)):
        _refuse_others(part, name, known, where=where)
    if hf_name := text.get("hf_model_name"):
        raise ModelError(f"{where}: a text tower of transformers ({short(hf_name)}) is not supported in this layout")
    _refuse_others(text, "text_cfg", _TEXT_KEYS, where=where)
    state = files.tensors(WEIGHTS, PICKLED)
    quick = model.get("quick_gelu", False) is True
    trunk = vision.get(_TIMM)
    if trunk:
        architecture, names = _read_timm(vision, model.get("embed_dim"), where=where)
    else:
        architecture, names = _read_vision(vision, quick, where=where), Names("", False)
    prefix = "text." if "text.token_embedding.weight" in state else ""
    names = names._replace(text=prefix, is_linear=f"{prefix}text_projection.weight" in state)
    tokenizer = _tokenizer(files, text)
    found = together(
        architecture,
        _read_text(files, text, tokenizer, quick, where=where),
        where=where,
        dim=model.get("embed_dim"),
        scores="softmax" if model.get("init_logit_bias") is None and "logit_bias" not in state else "sigmoid",
        vision_projection=not names.trunk or bool(names.head),
        vision_projection_bias=f"visual.{names.head}.bias" in state,
        text_projection=text.get("proj_type", "linear") != "none",
        text_projection_bias=text.get("proj_bias", False) is True,
    )
    return ModelBundle(
        task="match",
        model=build_model(found, files, table=table_of(names), state=state),
        preprocessing=_read_preprocessing(config, found.vision, where=where),
        tokenizer=tokenizer,
        card={key: vision.get(key) for key in (_TIMM, "timm_pool", "timm_proj", "timm_proj_bias")} if trunk else {},
    )


def _refuse_others(part: Mapping[str, Any], name: str, known: set[str], *, where: str) -> None:
    """Raise ModelError for a key that is set and that ours has no word for."""
    for key, value in part.items():
        if key not in known and value not in (None, False, 0, 0.0, "", "default"):
            raise ModelError(f"{where}: `{key}` of the {name} ({short(value)}) is not supported: give another model")


def _epsilon(part: Mapping[str, Any]) -> float:
    found = (part.get("norm_kwargs") or {}).get("eps", 1e-5)
    return float(found)


def _activation(part: Mapping[str, Any], quick: bool, *, where: str) -> str:
    if quick:
        return "gelu_quick"
    kind = (part.get("act_kwargs") or {}).get("approximate", "none")
    check_value(kind in ("none", "tanh"), "approximate", must="none or tanh", value=short(kind), where=where)
    return "gelu" if kind == "none" else "gelu_tanh"


def _read_vision(vision: Mapping[str, Any], quick: bool, *, where: str) -> ViTConfig:
    """Return our configuration for a picture tower of open_clip's own."""
    layers, width, size = vision.get("layers", 12), vision.get("width", 768), vision.get("image_size", 224)
    check_value(isinstance(layers, int), "layers", must="a number, for a transformer", value=short(layers), where=where)
    pool, head = vision.get("pool_type", "tok"), vision.get("head_width", 64)
    check_value(pool == "tok", "pool_type", must="tok", value=short(pool), where=where)
    found = {
        "image_size": size if isinstance(size, list) else [size, size],
        "patch_size": vision.get("patch_size", 16),
        "num_classes": 0,
        "dim": width,
        "depth": layers,
        "num_heads": width // head,
        "mlp_dim": int(width * vision.get("mlp_ratio", 4.0)),
        "stem_bias": False,
        "stem_norm": not vision.get("no_ln_pre", False),
        "layer_scale": vision.get("ls_init_value"),
        "activation": _activation(vision, quick, where=where),
        "norm_eps": _epsilon(vision),
    }
    return read_architecture(found, ViTConfig, where=where, name="vision_cfg")


def _read_timm(vision: Mapping[str, Any], embed_dim: Any, *, where: str) -> tuple[ViTConfig, Names]:
    """Return our configuration for a picture tower of timm's, and how its tensors are named."""
    pool, projection = vision.get("timm_pool", "avg"), vision.get("timm_proj", "linear")
    check_value(
        projection in ("linear", "none", "", None),
        "timm_proj",
        must="linear, none or left out",
        value=short(projection),
        where=where,
    )
    arguments: dict[str, Any] = {"num_classes": 0} | ({"global_pool": pool} if pool else {})
    trunk = on_meta(str(vision[_TIMM]), where=where, **arguments)
    head = _HEADS.get(str(projection), "trunk.head")
    return read_structure(trunk, where=where), Names("", False, names_of(trunk).key, head)


def _read_text(
    files: ModelFiles, text: Mapping[str, Any], tokenizer: Tokenizer, quick: bool, *, where: str
) -> TextTowerConfig:
    width, is_causal = text.get("width", 512), not text.get("no_causal_mask", False)
    pools = {"argmax": "highest", "eos": "end", "last": "last"}
    pool = text.get("pool_type", "argmax")
    check_value(pool in pools, "pool_type", must=f"one of {', '.join(pools)}", value=short(pool), where=where)
    is_clip = tokenizer.id_of("<|endoftext|>") is not None
    ends = ("<|endoftext|>", "<|endoftext|>") if is_clip else ("</s>", "</s>")
    if not is_clip and tokenizer.id_of("<eos>") is not None:
        ends = ("<eos>", "<pad>")
    known = {"end_token": ("eos_token", ends[0]), "pad_token": ("pad_token", ends[1])}
    if has_start := pool != "last":
        known["start_token"] = ("bos_token", "<|startoftext|>")
    roles = read_roles(files, tokenizer, known)
    found = {
        "vocab_size": text.get("vocab_size", 49408),
        "dim": width,
        "depth": text.get("layers", 12),
        "num_heads": text.get("heads", 8),
        "mlp_dim": int(width * text.get("mlp_ratio", 4.0)),
        "max_length": text.get("context_length", 77),
        "norm_eps": _epsilon(text),
        "activation": _activation(text, quick, where=where),
        "causal": is_causal,
        "pool": pools[pool],
        "has_start": has_start,
        "fixed_length": not is_causal or pool == "last",
        "start_token": roles["end_token"],
        **roles,
    }
    return read_architecture(found, TextTowerConfig, where=where, name="text_cfg")


def _tokenizer(files: ModelFiles, text: Mapping[str, Any]) -> Tokenizer:
    """Return the vocabulary, with what open_clip does to a text before."""
    tokenizer = files.tokenizer()
    clean = (text.get("tokenizer_kwargs") or {}).get("clean")
    if clean == "canonicalize":
        return tokenizer.cleaning(lowercase=True, punctuation=False, underscores=" ")
    return tokenizer.cleaning(lowercase=True) if clean == "lower" else tokenizer


def _read_preprocessing(config: Mapping[str, Any], vision: ViTConfig, *, where: str) -> ImagePreprocessing:
    """Return the evaluation transform. Source: open_clip, transform.py, `image_transform`."""
    data = read_part({"preprocess_cfg": config.get("preprocess_cfg") or {}}, "preprocess_cfg", where=where)
    mode, filter_name = data.get("resize_mode", "shortest"), data.get("interpolation", "bicubic")
    must = f"one of {', '.join(_INTERPOLATIONS)}"
    check_value(filter_name in _INTERPOLATIONS, "interpolation", must=must, value=short(filter_name), where=where)
    check_value(
        mode in ("shortest", "squash"), "resize_mode", must="shortest or squash", value=short(mode), where=where
    )
    height, width = vision.image_size
    is_squash = mode == "squash" or height != width
    mean, std = data.get("mean") or _CLIP_MEAN, data.get("std") or _CLIP_STD
    return ImagePreprocessing(
        size=(height, width),
        resize_to=(height, width) if is_squash else height,
        interpolation=filter_name,
        mean=per_channel(mean, vision.in_channels, name="mean", where=where),
        std=per_channel(std, vision.in_channels, name="std", where=where),
    )


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: open_clip cannot express the model.
    """
    config = bundle.require(TwoTowers).config
    text, pictures = config.text, bundle.pictures
    size = pictures.size
    if pictures.resize_to not in (size, size[0]) or abs(pictures.rescale - 1 / 255) > 1e-9:
        raise ModelError(f"the {NAME} layout has no way to say a resize to {pictures.resize_to} for an input of {size}")
    fixed = {one.name: one.default for one in fields(TextTowerConfig) if one.name not in _TEXT_FIELDS}
    needed = {"has_start": text.pool != "last", "fixed_length": not text.causal or text.pool == "last"}
    check_fixed(text, fixed | needed, NAME, of="text tower")
    quick = text.activation == "gelu_quick"
    model = {
        "embed_dim": config.dim,
        "custom_text": True,
        "quick_gelu": quick,
        "vision_cfg": _write_vision(bundle, config, quick),
        "text_cfg": {
            "context_length": text.max_length,
            "vocab_size": text.vocab_size,
            "hf_tokenizer_name": "local",
            "width": text.dim,
            "heads": text.num_heads,
            "layers": text.depth,
            "mlp_ratio": (text.mlp_dim + 0.5) / text.dim,  # the product is rounded down
            "no_causal_mask": not text.causal,
            "pool_type": {"highest": "argmax", "end": "eos", "last": "last"}[text.pool],
            "eos_id": text.end_token,
            "pad_id": text.pad_token,
            "proj_type": "linear" if config.text_projection else "none",
            "proj_bias": config.text_projection_bias,
            "norm_kwargs": {"eps": text.norm_eps},
            **({"act_kwargs": {"approximate": "tanh"}} if text.activation == "gelu_tanh" else {}),
        },
    }
    if config.scores == "sigmoid":
        model["init_logit_bias"] = -10
    described = {"model_cfg": model, "preprocess_cfg": _write_preprocessing(pictures)}
    return {CONFIG: described, **describe_tokenizer(bundle.vocabulary, text, NAME)}


def _write_vision(bundle: ModelBundle, config: TwoTowersConfig, quick: bool) -> dict[str, Any]:
    """Return the configuration of the picture tower, once it is the same when it is read again."""
    vision, name = config.vision, bundle.card.get(_TIMM)
    if name:
        written = {_TIMM: name, **{key: bundle.card.get(key) for key in ("timm_pool", "timm_proj", "timm_proj_bias")}}
        again, _ = _read_timm(written, config.dim, where="saving")
    else:
        written = {
            "image_size": vision.image_size[0] if len(set(vision.image_size)) == 1 else list(vision.image_size),
            "patch_size": vision.patch_size,
            "width": vision.dim,
            "layers": vision.depth,
            "head_width": vision.dim // vision.num_heads,
            "mlp_ratio": (vision.mlp_dim + 0.5) / vision.dim,
            "no_ln_pre": not vision.stem_norm,
            "ls_init_value": vision.layer_scale,
            "norm_kwargs": {"eps": vision.norm_eps},
            **({"act_kwargs": {"approximate": "tanh"}} if vision.activation == "gelu_tanh" else {}),
        }
        again = _read_vision(written, quick, where="saving")
    wanted = replace(vision, dropout=0.0, attention_dropout=0.0, stochastic_depth=0.0)
    if differing := [key for key, value in vars(wanted).items() if value != getattr(again, key)]:
        key = differing[0]
        raise ModelError(
            f"the {NAME} layout needs `{key}` of the picture tower to be {getattr(again, key)!r}, but it is "
            f"{getattr(wanted, key)!r} instead: choose the layout multiattn"
        )
    return written


def _write_preprocessing(pictures: ImagePreprocessing) -> dict[str, Any]:
    return {
        "size": list(pictures.size),
        "mode": "RGB",
        "mean": list(pictures.mean),
        "std": list(pictures.std),
        "interpolation": pictures.interpolation,
        "resize_mode": "squash" if pictures.resize_to == pictures.size else "shortest",
    }


_TEXT_FIELDS = {
    *("vocab_size", "dim", "depth", "num_heads", "mlp_dim", "max_length", "norm_eps", "activation", "causal", "pool"),
    *("start_token", "end_token", "pad_token", "has_start", "fixed_length", "dropout", "attention_dropout"),
}
"""Fields of a text tower that the layout expresses, or need not."""

_PLAIN_TRUNK = TimmNames().key


def _variant(config: Mapping[str, Any]) -> str:
    """Return how a file with this configuration is written."""
    vision, text = config["model_cfg"]["vision_cfg"], config["model_cfg"]["text_cfg"]
    trunk, head = "", ""
    if vision.get(_TIMM):
        trunk, head = _PLAIN_TRUNK, _HEADS.get(vision.get("timm_proj"), "trunk.head")
    return Names("text.", bool(text.get("proj_bias")), trunk, head).key


_WRITTEN = [
    Names("text.", is_linear, trunk, head)
    for is_linear in (False, True)
    for trunk, head in (("", ""), *((_PLAIN_TRUNK, head) for head in ("", "head.proj", "trunk.head")))
]

LAYOUT = Layout(
    NAME,
    f'"model_cfg" in {CONFIG}',
    recognizes,
    load,
    describe,
    table_of(Names("", False)),
    variants={names.key: table_of(names) for names in _WRITTEN},
    variant=_variant,
    weights=WEIGHTS,
    config=CONFIG,
    models="CLIP and SigLIP of open_clip, with a picture tower of its own or of timm's",
)
