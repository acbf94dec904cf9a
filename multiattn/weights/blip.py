"""The layout of the original BLIP for captions and for questions: a pickled file of tensors, a vocabulary beside it.

The file states no sizes; they follow from the tensors' shapes. Pickled code is not run: only tensors and plain values
are read.
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
from ..models.vqa import VQAConfig
from .blip_text import (
    FIXED_QUESTION,
    FIXED_TEXT,
    FIXED_VISION,
    OUTPUT,
    QUESTION_ROWS,
    START,
    TEXT_ROWS,
    check_structure,
    name_roles,
    question_start,
    settle_output,
    with_output_bias,
    write_bert,
)
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model, states
from .hf_blip import PROMPT, published_preprocessing
from .hf_common import TEXT, VISION, check_fixed
from .json_files import read_architecture, read_json, read_part
from .model_files import ModelFiles
from .own import read_decoding
from .state import write_pickled
from .table import Drop, KeyTable, Row
from .tensor_files import read_pickled

NAME = "blip"
WEIGHTS = "model.pth"
_MED = "med_config.json"  # the text decoder's sizes in the original's words
_HEAD_WIDTH = 64  # of every attention head
_FIXED = {"norm_eps": 1e-6, "activation": "gelu"}  # of the vision encoder, stated in their code
# special tokens: their keys in `med_config.json`, and their names in the vocabulary
_ROLES = {"start_token": "bos_token_id", "end_token": "sep_token_id", "pad_token": "pad_token_id"}
_SPECIALS = {"start_token": "[DEC]", "end_token": "[SEP]", "pad_token": "[PAD]"}

_WRITES, _READS = (
    "text_decoder.bert.",
    "text_encoder.",
)  # prefixes of the text decoder's keys, and of the question encoder's
_WORDS = "embeddings.word_embeddings.weight"

_THEIRS, _OURS = "visual_encoder.blocks.{i}.", "encoder.blocks.{i}."

# the class of each task, and its decoding options. Source: BLIP, models/blip_vqa.py, 10 tokens with the start token
_PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "caption": ("BLIP_Decoder", {"prompt": PROMPT}),
    "answer": ("BLIP_VQA", {"num_beams": 3, "max_tokens": 9}),
}

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
        *QUESTION_ROWS,
    ),
)

# a captioner may be read from the file of a pre-training, which has more in it
_CAPTIONER_TABLE = KeyTable(
    NAME,
    (
        *TABLE.rows,
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


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read an original file, or a directory that we wrote.

    Args:
        files: The file, or the directory that holds it as `model.pth`.
        config: The directory's `config.json`; for a file, only its `format`.

    Raises:
        ModelError: It neither captions nor answers, something in it does not fit, or the vocabulary is missing.
    """
    path = files.directory
    file = path / WEIGHTS if path.is_dir() else path
    state, _ = read_pickled(file, under="model")
    # pre-training has a text encoder too, with a head that matches texts to images
    is_answer = any(key.startswith(_READS) for key in state) and "itm_head.weight" not in state
    med = read_json(file.parent / _MED) if (file.parent / _MED).is_file() else {}
    try:
        tokenizer = Tokenizer.load(file.parent)
    except ModelError as error:
        raise ModelError(f"{error} The original BLIP uses that of bert-base-uncased.") from error
    task, table, start = "caption", _CAPTIONER_TABLE, None
    if is_answer:
        tokenizer = name_roles(tokenizer, _shape(state, f"{_READS}{_WORDS}", where=str(file))[0])
        task, table, start = "answer", TABLE, question_start(tokenizer, config, "[ENC]", where=str(file.parent))
    state, tied = settle_output(state, stated=med.get("tie_word_embeddings", True) is not False)
    architecture = _read_structure(state, tokenizer, med, start, tied=tied, where=str(file))
    preprocessing = published_preprocessing(architecture.encoder.image_size[0])
    if "preprocessing" in config:
        preprocessing = ImagePreprocessing.from_dict(read_part(config, "preprocessing", where=str(path / CONFIG)))
    name, published = _PUBLISHED[task]
    return ModelBundle(
        task=task,
        tokenizer=tokenizer,
        model=build_model(architecture, ModelFiles(file), table=table, state=state),
        preprocessing=preprocessing,
        decoding=read_decoding(read_part({"decoding": published, **config}, "decoding", where=str(path / CONFIG))),
        card={"architecture": name},
    )


def _read_structure(
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    med: Mapping[str, Any],
    start: int | None,
    *,
    tied: bool,
    where: str,
) -> CaptionerConfig | VQAConfig:
    """Return our configuration: sizes from the tensors' shapes, heads from their width unless `med` states them.

    Args:
        state: The tensors.
        tokenizer: The vocabulary beside them.
        med: The content of `med_config.json`.
        start: The token that questions begin with; None for a captioner.
        tied: Whether the output matrix is the embedding's table.
        where: The file, for messages.
    """

    def shape(key: str) -> torch.Size:
        return _shape(state, key, where=where)

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

    def text(before: str) -> dict[str, Any]:
        layer = f"{before}encoder.layer.0."
        vocab_size, width = shape(f"{before}{_WORDS}")
        return {
            "vocab_size": vocab_size,
            "dim": width,
            "depth": depth(f"{before}encoder.layer.", ".crossattention.self.query.weight"),
            "num_heads": med["num_attention_heads"] if "num_attention_heads" in med else heads(width),
            "mlp_dim": shape(f"{layer}intermediate.dense.weight")[0],
            "max_length": shape(f"{before}embeddings.position_embeddings.weight")[0],
            "context_dim": shape(f"{layer}crossattention.self.key.weight")[1],
            "norm_eps": med.get("layer_norm_eps", 1e-12),
            "dropout": med.get("hidden_dropout_prob", 0.0),
            "attention_dropout": med.get("attention_probs_dropout_prob", 0.0),
        }

    writes = text(_WRITES)
    specials = _read_specials(tokenizer, med, writes["vocab_size"])
    fields = {"encoder": encoder, "decoder": {**FIXED_TEXT, **writes, **specials, "tied": tied}}
    if start is None:
        return read_architecture(fields, CaptionerConfig, where=where)
    question = {**FIXED_QUESTION, **text(_READS), **specials, "start_token": start}
    return read_architecture({**fields, "question": question}, VQAConfig, where=where)


def _shape(state: Mapping[str, Tensor], key: str, *, where: str) -> torch.Size:
    if key not in state:
        raise ModelError(
            f"{where} must hold a BLIP that captions or answers, but lacks {key} instead: give another file"
        )
    return state[key].shape


def _read_specials(tokenizer: Tokenizer, med: Mapping[str, Any], vocab_size: int) -> dict[str, int]:
    """Return the special tokens: stated in `med`, or found by name; [DEC] may come after the vocabulary's end."""
    found: dict[str, int] = {}
    for field, name in _SPECIALS.items():
        token = med.get(_ROLES[field], tokenizer.id_of(name))
        if token is None and field == "start_token" and tokenizer.vocab_size < vocab_size:
            token = tokenizer.vocab_size  # their code adds it when it starts
        if token is None:
            raise ModelError(
                f"the vocabulary must have {name}, but lacks it: the original BLIP uses bert-base-uncased's"
            )
        found[field] = token
    return found


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: The original BLIP cannot express the model.
    """
    architecture, decoder = check_structure(bundle, NAME)
    encoder = architecture.encoder
    start = {START: architecture.question.start_token} if isinstance(architecture, VQAConfig) else {}
    in_code, instead = {**_FIXED, "num_heads": encoder.dim // _HEAD_WIDTH}, "hf-blip or multiattn"
    check_fixed(encoder, in_code, NAME, of=VISION, instead=instead)
    check_fixed(decoder, {"activation": "gelu"}, NAME, of=TEXT, instead=instead)
    return {
        CONFIG: {  # keys of ours: the original states these in its scripts
            "format": NAME,
            "preprocessing": bundle.pictures.to_dict(),
            "decoding": bundle.decoding,
            **start,
        },
        _MED: {
            "model_type": "bert",
            **write_bert(decoder),
            "encoder_width": decoder.context_dim,
            "type_vocab_size": 2,  # unused, but required
            "add_cross_attention": True,
            "tie_word_embeddings": decoder.tied,
            **{theirs: getattr(decoder, field) for field, theirs in _ROLES.items()},
        },
        TOKENIZER: json.loads(bundle.vocabulary.to_json()),
    }


def _write(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """Write the file with all keys: those that follow from others too, without which the original refuses it."""
    again: dict[str, Tensor] = {} if OUTPUT in state else {OUTPUT: state[f"{_WRITES}{_WORDS}"]}
    for part in (_WRITES, _READS):
        if (positions := state.get(f"{part}embeddings.position_embeddings.weight")) is not None:
            again[f"{part}embeddings.position_ids"] = torch.arange(len(positions))[None]
    write_pickled({**with_output_bias(state), **again}, path, dtype, under="model")


LAYOUT = Layout(
    NAME,
    f'"format": "{NAME}", or a .pth file',
    states("format", NAME),  # in a directory that we wrote, as the originals have no `config.json`
    load,
    describe,
    TABLE,
    weights=WEIGHTS,
    write=_write,
    models="BLIP, as first published",
)
