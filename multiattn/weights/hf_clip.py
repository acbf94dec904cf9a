"""The layout of transformers' CLIP, read and written without transformers."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..models.two_towers import TwoTowers
from ..models.vit import ViTConfig
from .bundle import CONFIG, Layout, ModelBundle, build_model, states
from .hf_common import check_fixed, read_kind, read_roles
from .hf_encoders import SIZES, Keys
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .hf_towers import TABLE_OF_ONE, TEXT_ROWS, TOKEN, TextKeys, describe_tokenizer, together, tower_rows
from .json_files import read_part
from .model_files import ModelFiles
from .table import Drop, KeyTable, Row

NAME = "hf-clip"
PROCESSOR = "CLIPImageProcessor"

ROLES = {
    "start_token": ("bos_token", "<|startoftext|>"),
    "end_token": ("eos_token", "<|endoftext|>"),
    "pad_token": ("pad_token", "<|endoftext|>"),
}

_HIGHEST = 2
"""The `eos_token_id` of early files, which is no token's: transformers then reads at the highest token, as OpenAI."""

KEYS = Keys(
    {
        **SIZES,
        "mlp_dim": ("intermediate_size", 3072),
        "norm_eps": ("layer_norm_eps", 1e-5),
        "attention_dropout": ("attention_dropout", 0.0),
    },
    values={"stem_bias": False, "stem_norm": True},
    patch_size=32,
    activation="quick_gelu",
)

TEXT_KEYS = TextKeys(
    {
        "vocab_size": ("vocab_size", 49408),
        "dim": ("hidden_size", 512),
        "depth": ("num_hidden_layers", 12),
        "num_heads": ("num_attention_heads", 8),
        "mlp_dim": ("intermediate_size", 2048),
        "max_length": ("max_position_embeddings", 77),
        "norm_eps": ("layer_norm_eps", 1e-5),
        "attention_dropout": ("attention_dropout", 0.0),
    },
    activation="quick_gelu",
)


_FIXED = {
    "scores": "softmax",
    "vision_projection": True,
    "vision_projection_bias": False,
    "text_projection": True,
    "text_projection_bias": False,
}


def vision_rows(theirs: str, ours: str) -> tuple[Row | Drop, ...]:
    """Return the rows of the picture tower, whose keys have these prefixes."""
    return (
        Row(f"{ours}stem.proj.{{p}}", f"{theirs}embeddings.patch_embedding.{{p}}"),
        Row(f"{ours}class_token", f"{theirs}embeddings.class_embedding", TOKEN),
        Row(f"{ours}positions.weight", f"{theirs}embeddings.position_embedding.weight", TABLE_OF_ONE),
        Row(f"{ours}stem_norm.{{p}}", f"{theirs}pre_layrnorm.{{p}}"),
        *tower_rows(theirs, ours),
        Row(f"{ours}norm.{{p}}", f"{theirs}post_layernorm.{{p}}"),
    )


TABLE = KeyTable(
    NAME,
    (
        *vision_rows("vision_model.", "vision."),
        *TEXT_ROWS,
        Row("vision_projection.weight", "visual_projection.weight"),
        Row("text_projection.weight", "text_projection.weight"),
        Row("logit_scale", "logit_scale"),
    ),
)


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The CLIP is none of both towers, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    kind = read_kind(config, ("CLIPModel",), where=where)
    vision, text = (_part(config, name, where=where) for name in ("vision_config", "text_config"))
    tokenizer = files.tokenizer()
    roles = read_roles(files, tokenizer, ROLES)
    end = text.get("eos_token_id", 49407)
    if end not in (_HIGHEST, roles["end_token"]):
        raise ModelError(
            f"{where}: `eos_token_id` of the text_config must be {_HIGHEST}, or the vocabulary's end token "
            f"({roles['end_token']}), but is {end} instead: put the model's own vocabulary beside it"
        )
    architecture = together(
        KEYS.read(vision, where=where, num_classes=0),
        TEXT_KEYS.read(text, where=where, pool="highest" if end == _HIGHEST else "end", **roles),
        where=where,
        dim=config.get("projection_dim", 512),
    )
    return ModelBundle(
        task="match",
        model=build_model(architecture, files, table=TABLE),
        preprocessing=read_preprocessing(files, PROCESSOR, channels=architecture.vision.in_channels),
        tokenizer=tokenizer,
        card={"architecture": kind},
    )


def _part(config: Mapping[str, Any], name: str, *, where: str) -> Mapping[str, Any]:
    """Return the configuration of a tower: of early files, what was given beside it counts, as in transformers."""
    early = read_part({name: config.get(f"{name}_dict") or {}}, name, where=where)
    return early or read_part(config, name, where=where)


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' CLIP cannot express the model.
    """
    architecture = bundle.require(TwoTowers).config
    text, vision = architecture.text, architecture.vision
    check_fixed(architecture, _FIXED, NAME)
    if text.pool == "last":
        raise ModelError(f"the {NAME} layout reads a text at its end token, but `pool` is 'last': choose multiattn")
    config = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": architecture.dim,
        "vision_config": {"model_type": "clip_vision_model", **_vision(vision, architecture.dim)},
        "text_config": {
            "model_type": "clip_text_model",
            "projection_dim": architecture.dim,
            "bos_token_id": text.start_token,
            "eos_token_id": _HIGHEST if text.pool == "highest" else text.end_token,
            "pad_token_id": text.pad_token,
            **TEXT_KEYS.write(text, NAME),
        },
    }
    return {
        CONFIG: config,
        PREPROCESSOR: write_preprocessing(bundle.pictures, PROCESSOR),
        **describe_tokenizer(bundle.vocabulary, text, NAME),
    }


def _vision(architecture: ViTConfig, dim: int) -> dict[str, Any]:
    return {"projection_dim": dim, **KEYS.write(architecture, NAME, of="picture tower")}


LAYOUT = Layout(
    NAME,
    '"model_type": "clip"',
    states("model_type", "clip"),
    load,
    describe,
    TABLE,
    states_dtype=True,
    models="CLIP",
    classes=("CLIPModel",),
)
