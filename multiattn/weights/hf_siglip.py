"""The layout of transformers' SigLIP, and of SigLIP 2 for pictures of one size, read and written without transformers.

Both have the `model_type` siglip, and differ in their vocabularies: SigLIP removes punctuation, SigLIP 2 does not; both
put a text in lower case.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.two_towers import TwoTowers
from .bundle import CONFIG, Layout, ModelBundle, build_model
from .hf_common import TOKENIZER_CONFIG, check_fixed, read_kind, read_roles
from .hf_encoders import SIZES, Keys
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .hf_towers import (
    NUMBER,
    TABLE_OF_ONE,
    TEXT_ROWS,
    TextKeys,
    describe_tokenizer,
    together,
    tower_rows,
)
from .json_files import check_value, read_part
from .model_files import ModelFiles
from .table import KV_OF_QKV, Q_OF_QKV, SAME, Drop, KeyTable, Row

NAME = "hf-siglip"
PROCESSOR = "SiglipImageProcessor"

_ACTIVATION = "gelu_pytorch_tanh"
_TOWER = {
    "dim": ("hidden_size", 768),
    "depth": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
    "mlp_dim": ("intermediate_size", 3072),
    "norm_eps": ("layer_norm_eps", 1e-6),
    "attention_dropout": ("attention_dropout", 0.0),
}

KEYS = Keys(
    {**SIZES, **_TOWER}, values={"class_token": False, "pool": "attention"}, patch_size=16, activation=_ACTIVATION
)

TEXT_KEYS = TextKeys(
    {"vocab_size": ("vocab_size", 32000), **_TOWER, "max_length": ("max_position_embeddings", 64)},
    activation=_ACTIVATION,
    values={"causal": False, "has_start": False, "fixed_length": True},
)

_UNIGRAM, _BPE = ("</s>", "</s>"), ("<eos>", "<pad>")
"""The end and pad token by default: of SigLIP's vocabulary, and of SigLIP 2's, which is Gemma's."""


_FIXED = {
    "scores": "sigmoid",
    "vision_projection": False,
    "vision_projection_bias": False,
    "text_projection": True,
    "text_projection_bias": True,
}


def vision_rows(theirs: str, ours: str) -> tuple[Row | Drop, ...]:
    """Return the rows of the picture tower, whose keys have these prefixes."""
    head, pool = f"{theirs}head.", f"{ours}pool."
    return (
        Row(f"{ours}stem.proj.{{p}}", f"{theirs}embeddings.patch_embedding.{{p}}"),
        Row(f"{ours}positions.weight", f"{theirs}embeddings.position_embedding.weight", TABLE_OF_ONE),
        *tower_rows(theirs, ours),
        Row(f"{ours}norm.{{p}}", f"{theirs}post_layernorm.{{p}}"),
        Row(f"{pool}query", f"{head}probe", SAME),
        Row(f"{pool}attention.q.{{p}}", f"{head}attention.in_proj_{{p}}", Q_OF_QKV),
        Row(f"{pool}attention.kv.{{p}}", f"{head}attention.in_proj_{{p}}", KV_OF_QKV),
        Row(f"{pool}attention.out.{{p}}", f"{head}attention.out_proj.{{p}}"),
        Row(f"{pool}norm.{{p}}", f"{head}layernorm.{{p}}"),
        Row(f"{pool}feedforward.fc1.{{p}}", f"{head}mlp.fc1.{{p}}"),
        Row(f"{pool}feedforward.fc2.{{p}}", f"{head}mlp.fc2.{{p}}"),
    )


TABLE = KeyTable(
    NAME,
    (
        *vision_rows("vision_model.", "vision."),
        *TEXT_ROWS,
        Row("text_projection.{p}", "text_model.head.{p}"),
        Row("logit_scale", "logit_scale", NUMBER),
        Row("logit_bias", "logit_bias", NUMBER),
    ),
)


def recognizes(config: Mapping[str, Any]) -> bool:
    """Return whether a `config.json` is of this layout, or of NaFlex, which `load` refuses."""
    return config.get("model_type") in ("siglip", "siglip2")


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The model is a SigLIP 2 NaFlex, or none of both towers, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    if config["model_type"] == "siglip2":
        raise ModelError(
            f"{where}: SigLIP 2 NaFlex, for pictures of any aspect, is not supported; a SigLIP 2 of one size is "
            "(google/siglip2-base-patch16-224)"
        )
    kind = read_kind(config, ("SiglipModel",), where=where)
    vision, text = (read_part(config, name, where=where) for name in ("vision_config", "text_config"))
    has_head = vision.get("vision_use_head", True)
    check_value(has_head is True, "vision_use_head", must="true", value=has_head, where=where)
    architecture_of_vision = KEYS.read(vision, where=where, num_classes=0)
    tokenizer = read_tokenizer(files)
    end, pad = _UNIGRAM if tokenizer.kind == "Unigram" or tokenizer.id_of("<eos>") is None else _BPE
    roles = read_roles(files, tokenizer, {"end_token": ("eos_token", end), "pad_token": ("pad_token", pad)})
    architecture = together(
        architecture_of_vision,
        TEXT_KEYS.read(text, where=where, pool="last", **roles, start_token=roles["end_token"]),
        where=where,
        dim=text.get("projection_size") or architecture_of_vision.dim,
        **_FIXED,
    )
    return ModelBundle(
        task="match",
        model=build_model(architecture, files, table=TABLE),
        preprocessing=read_preprocessing(files, PROCESSOR, channels=architecture.vision.in_channels),
        tokenizer=tokenizer,
        card={"architecture": kind},
    )


def read_tokenizer(files: ModelFiles) -> Tokenizer:
    """Return the vocabulary, with what the class that `tokenizer_config.json` states does to a text before."""
    tokenizer = files.tokenizer()
    stated = files.json(TOKENIZER_CONFIG) if files.has(TOKENIZER_CONFIG) else {}
    kind = str(stated.get("tokenizer_class"))
    if "Siglip2" in kind or "Gemma" in kind:
        return tokenizer.cleaning(lowercase=True)
    if "Siglip" in kind:
        return tokenizer.cleaning(lowercase=stated.get("do_lower_case", True) is not False, punctuation=False)
    return tokenizer


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' SigLIP cannot express the model.
    """
    architecture = bundle.require(TwoTowers).config
    text, vision = architecture.text, architecture.vision
    check_fixed(architecture, {**_FIXED, "dim": vision.dim}, NAME)
    config = {
        "architectures": ["SiglipModel"],
        "model_type": "siglip",
        "vision_config": {"model_type": "siglip_vision_model", **KEYS.write(vision, NAME, of="picture tower")},
        "text_config": {
            "model_type": "siglip_text_model",
            "projection_size": architecture.dim,
            "eos_token_id": text.end_token,
            "pad_token_id": text.pad_token,
            **TEXT_KEYS.write(text, NAME),
        },
    }
    return {
        CONFIG: config,
        PREPROCESSOR: write_preprocessing(bundle.pictures, PROCESSOR),
        **describe_tokenizer(bundle.vocabulary, text, NAME),
    }


LAYOUT = Layout(
    NAME,
    '"model_type": "siglip"',
    recognizes,
    load,
    describe,
    TABLE,
    states_dtype=True,
    models="SigLIP, SigLIP 2 for pictures of one size",
    classes=("SiglipModel",),
)
