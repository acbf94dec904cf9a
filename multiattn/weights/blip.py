"""The layout of the original BLIP captioners, both ways: a pickled file of tensors, a vocabulary beside it.

The file says no sizes; they are read off the tensors. Pickled code is not run: only tensors and plain values are read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs import ImagePreprocessing, Tokenizer
from ..models.captioner import CaptionerConfig
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model, check_vocabulary
from .hf_blip import FIXED_TEXT, FIXED_VISION, PROMPT, TEXT_ROWS, check_structure, published_preprocessing
from .hf_common import TEXT, VISION, check_fixed
from .json_files import read_json, read_part
from .own import read_architecture, tuples
from .state import read_pickled, write_pickled
from .table import Drop, KeyTable, Row

NAME = "blip"
WEIGHTS = "model.pth"
_MED = "med_config.json"  # the text decoder's sizes, in the words of the original; one file serves both variants
_HEAD_WIDTH = 64  # of every head of the originals
_FIXED = {"norm_eps": 1e-6, "activation": "gelu"}  # of the picture's part, in code
# tokens with a role: their names in BERT's vocabulary, and in `med_config.json`, which has the last of them
_ROLES = {"start_token": "bos_token_id", "end_token": "sep_token_id", "pad_token": "pad_token_id"}
_SPECIALS = {"start_token": "[DEC]", "end_token": "[SEP]", "pad_token": "[PAD]"}

_THEIRS, _OURS = "visual_encoder.blocks.{i}.", "encoder.blocks.{i}."

TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.proj.{p}", "visual_encoder.patch_embed.proj.{p}"),
        Row("encoder.class_token", "visual_encoder.cls_token"),
        Row("encoder.positions.weight", "visual_encoder.pos_embed"),
        Row(f"{_OURS}norm1.{{p}}", f"{_THEIRS}norm1.{{p}}"),
        Row(f"{_OURS}attention.qkv.{{p}}", f"{_THEIRS}attn.qkv.{{p}}"),
        Row(f"{_OURS}attention.out.{{p}}", f"{_THEIRS}attn.proj.{{p}}"),
        Row(f"{_OURS}norm2.{{p}}", f"{_THEIRS}norm2.{{p}}"),
        Row(f"{_OURS}feedforward.fc1.{{p}}", f"{_THEIRS}mlp.fc1.{{p}}"),
        Row(f"{_OURS}feedforward.fc2.{{p}}", f"{_THEIRS}mlp.fc2.{{p}}"),
        Row("encoder.norm.{p}", "visual_encoder.norm.{p}"),
        *TEXT_ROWS,
        Drop("text_encoder.{rest}", "matches pictures with texts, in pre-training"),
        Drop("itm_head.{p}", "says whether picture and text match"),
        *(Drop(f"{part}_proj.{{p}}", "compares pictures with texts") for part in ("vision", "text")),
        *(
            Drop(f"{part}_m.{{rest}}", "a slow copy that pre-training learns from")
            for part in ("visual_encoder", "text_encoder", "vision_proj", "text_proj")
        ),
        *(
            Drop(name, "state of pre-training")
            for name in ("image_queue", "text_queue", "queue_ptr", "ptr_queue", "temp")
        ),
    ),
)


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout: one that we have written, for the originals have none."""
    return config.get("format") == NAME


def load(path: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read an original file, or a directory that we wrote.

    Args:
        path: The file, or the directory that holds it as `model.pth`.
        config: The directory's `config.json`; of a file, only what makes it this layout.

    Raises:
        ModelError: It holds no captioner, something in it does not fit, or there is no vocabulary beside it.
    """
    file = path / WEIGHTS if path.is_dir() else path
    state, _ = read_pickled(file, under="model")
    if any(key.startswith("text_encoder.") for key in state) and "itm_head.weight" not in state:
        raise ModelError(
            f"{file} must hold a captioner, but is for questions about pictures instead: give another file"
        )
    med = read_json(file.parent / _MED) if (file.parent / _MED).is_file() else {}
    try:
        tokenizer = Tokenizer.load(file.parent)
    except ModelError as error:
        raise ModelError(f"{error} The original BLIP uses that of bert-base-uncased.") from error
    architecture = _read_structure(state, tokenizer, med, where=str(file))
    check_vocabulary(tokenizer, architecture.decoder.vocab_size, where=str(file.parent))
    preprocessing = published_preprocessing(architecture.encoder.image_size[0])
    if "preprocessing" in config:
        preprocessing = ImagePreprocessing.from_dict(read_part(config, "preprocessing", where=str(path / CONFIG)))
    decoding = read_part({"decoding": {"prompt": PROMPT}, **config}, "decoding", where=str(path / CONFIG))
    return ModelBundle(
        task="caption",
        tokenizer=tokenizer,
        model=build_model(architecture, file, table=TABLE, state=state),
        preprocessing=preprocessing,
        decoding={name: tuples(value) for name, value in decoding.items()},
        card={"architecture": "BLIP_Decoder"},
    )


def _read_structure(
    state: Mapping[str, Tensor], tokenizer: Tokenizer, med: Mapping[str, Any], *, where: str
) -> CaptionerConfig:
    """The sizes as the tensors have them, and the heads by their width, unless `med_config.json` says them."""

    def shape(key: str) -> torch.Size:
        if key not in state:
            raise ModelError(f"{where} must hold a BLIP captioner, but lacks {key} instead: give another file")
        return state[key].shape

    def depth(before: str, after: str) -> int:
        return sum(key.startswith(before) and key.endswith(after) for key in state)

    def heads(width: int) -> int:
        if width % _HEAD_WIDTH:
            raise ModelError(
                f"{where}: the number of heads cannot be told, for a width of {width} is no multiple of {_HEAD_WIDTH}: "
                f"put a {_MED} with `num_attention_heads` beside it"
            )
        return width // _HEAD_WIDTH

    width, channels, patch_size, _ = shape("visual_encoder.patch_embed.proj.weight")
    side = round((shape("visual_encoder.pos_embed")[1] - 1) ** 0.5) * patch_size
    encoder = {
        **FIXED_VISION,
        **_FIXED,
        "in_channels": channels,
        "image_size": [side, side],
        "patch_size": patch_size,
        "num_classes": 0,
        "dim": width,
        "depth": depth("visual_encoder.blocks.", ".norm1.weight"),
        "num_heads": heads(width),
        "mlp_dim": shape("visual_encoder.blocks.0.mlp.fc1.weight")[0],
    }
    bert = "text_decoder.bert."
    layer = f"{bert}encoder.layer.0."
    vocab_size, text_width = shape(f"{bert}embeddings.word_embeddings.weight")
    decoder = {
        **FIXED_TEXT,
        "vocab_size": vocab_size,
        "dim": text_width,
        "depth": depth(f"{bert}encoder.layer.", ".crossattention.self.query.weight"),
        "num_heads": med["num_attention_heads"] if "num_attention_heads" in med else heads(text_width),
        "mlp_dim": shape(f"{layer}intermediate.dense.weight")[0],
        "max_length": shape(f"{bert}embeddings.position_embeddings.weight")[0],
        "context_dim": shape(f"{layer}crossattention.self.key.weight")[1],
        **_read_specials(tokenizer, med, vocab_size),
        "norm_eps": med.get("layer_norm_eps", 1e-12),
        "dropout": med.get("hidden_dropout_prob", 0.0),
        "attention_dropout": med.get("attention_probs_dropout_prob", 0.0),
    }
    return read_architecture({"encoder": encoder, "decoder": decoder}, CaptionerConfig, where=where)


def _read_specials(tokenizer: Tokenizer, med: Mapping[str, Any], vocab_size: int) -> dict[str, int]:
    """The tokens with a role: as the file beside the weights says, or by name; [DEC] may follow the vocabulary."""
    found: dict[str, int] = {}
    for field, name in _SPECIALS.items():
        token = med.get(_ROLES[field], tokenizer.id_of(name))
        if token is None and field == "start_token" and tokenizer.vocab_size < vocab_size:
            token = tokenizer.vocab_size  # the original adds it to the vocabulary when it starts
        if token is None:
            raise ModelError(
                f"the vocabulary must have {name}, but lacks it: the original BLIP uses bert-base-uncased's"
            )
        found[field] = token
    return found


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout.

    Raises:
        ModelError: The original BLIP cannot be this model.
    """
    del dtype  # the weights say it themselves
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    architecture = bundle.captioner.config
    check_structure(architecture, NAME)
    encoder, decoder = architecture.encoder, architecture.decoder
    in_code, instead = {**_FIXED, "num_heads": encoder.dim // _HEAD_WIDTH}, "hf-blip or multiattn"
    check_fixed(encoder, in_code, NAME, of=VISION, instead=instead)
    check_fixed(decoder, {"activation": "gelu"}, NAME, of=TEXT, instead=instead)
    return {
        CONFIG: {  # ours: the original has what stands here in its scripts
            "format": NAME,
            "preprocessing": bundle.pictures.to_dict(),
            "decoding": bundle.decoding,
        },
        _MED: {
            "model_type": "bert",
            "vocab_size": decoder.vocab_size,
            "hidden_size": decoder.dim,
            "encoder_width": decoder.context_dim,
            "num_hidden_layers": decoder.depth,
            "num_attention_heads": decoder.num_heads,
            "intermediate_size": decoder.mlp_dim,
            "max_position_embeddings": decoder.max_length,
            "type_vocab_size": 2,  # which it does not use
            "hidden_act": "gelu",
            "layer_norm_eps": decoder.norm_eps,
            "hidden_dropout_prob": decoder.dropout,
            "attention_probs_dropout_prob": decoder.attention_dropout,
            "add_cross_attention": True,
            **{theirs: getattr(decoder, field) for field, theirs in _ROLES.items()},
        },
        TOKENIZER: json.loads(bundle.tokenizer.to_json()),
    }


def _write(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """As `write_pickled`, with what follows from the rest: the original refuses a file in which a key is missing."""
    del bundle  # the tensors say it all
    head, embeddings = "text_decoder.cls.predictions.", "text_decoder.bert.embeddings."
    positions = torch.arange(len(state[f"{embeddings}position_embeddings.weight"]))[None]
    again = {
        f"{head}decoder.weight": state[f"{embeddings}word_embeddings.weight"],
        f"{head}decoder.bias": state[f"{head}bias"],
        f"{embeddings}position_ids": positions,
    }
    write_pickled({**state, **again}, path, dtype, under="model")


LAYOUT = Layout(
    NAME,
    f'"format": "{NAME}", or a .pth file',
    recognises,
    load,
    describe,
    TABLE,
    tasks=("caption",),
    weights=WEIGHTS,
    write=_write,
)
