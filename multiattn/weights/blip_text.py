"""What the two layouts of BLIP share about texts: keys, fixed fields, and special tokens. BERT and ViLT use parts."""

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.captioner import Captioner, CaptionerConfig
from ..models.text_decoder import TextDecoderConfig
from ..models.text_stack import TextConfig
from ..models.vqa import VQA, VQAConfig
from .bundle import ModelBundle
from .hf_common import (
    PLAIN_BLOCKS,
    PLAIN_HEAD,
    QUESTION,
    TEXT,
    VISION,
    check_fixed,
    read_activation,
    require,
    settle_tied,
    square_side,
    write_activation,
)
from .hf_vit import KEYS
from .table import CONCAT, FIRST_ADDED, Drop, Row, counts

START = "question_start_token"
"""Key of ours in `config.json`: the token that a question begins with, which their code leaves to the caller."""

# fields of ours that neither layout can express, and their values in all its models
FIXED_VISION: dict[str, Any] = {**KEYS.fixed, "in_channels": 3, "qkv_bias": True}
FIXED_QUESTION: dict[str, Any] = {
    **PLAIN_BLOCKS,
    "positions": "learned",
    "pre_norm": False,
    "scale_embedding": False,
    "embed_norm": True,
    "final_norm": False,
}
ALONE: dict[str, Any] = {"text": None, "pairs": 0, "summary": False, "window": None, "global_projections": False}
"""What a question encoder of no published layout has."""

FIXED_TEXT: dict[str, Any] = {**FIXED_QUESTION, **PLAIN_HEAD, "head": "transform", "head_bias": True}
# one file states these for the question encoder and the decoder alike
_ONE_FOR_BOTH = (
    *("vocab_size", "dim", "depth", "num_heads", "mlp_dim", "max_length", "end_token", "pad_token"),
    *("activation", "norm_eps", "dropout", "attention_dropout"),
)
_ROLES = (
    "[DEC]",
    "[ENC]",
)  # start of an answer and of a question; they follow BERT's vocabulary, and no published file names them


def text_rows(ours: str, theirs: str, *, kinds: bool = False) -> tuple[Row | Drop, ...]:
    """Return the rows for a text's embeddings and blocks, as BERT names them.

    Args:
        ours: Prefix of our keys.
        theirs: Prefix of their keys.
        kinds: Whether they have BERT's table for first and second sentences; a question is a first sentence.
    """
    block, layer, embeddings = f"{ours}blocks.{{i}}.", f"{theirs}encoder.layer.{{i}}.", f"{theirs}embeddings."
    kind = (f"{embeddings}token_type_embeddings.weight",) if kinds else ()
    return (
        Row(f"{ours}embedding.weight", f"{embeddings}word_embeddings.weight"),
        Row(
            f"{ours}positions.weight",
            (f"{embeddings}position_embeddings.weight", *kind),
            *((FIRST_ADDED,) if kinds else ()),
        ),
        Row(f"{ours}embed_norm.{{p}}", f"{embeddings}LayerNorm.{{p}}"),
        Row(
            f"{block}attention.qkv.{{p}}",
            tuple(f"{layer}attention.self.{name}.{{p}}" for name in ("query", "key", "value")),
            CONCAT,
        ),
        Row(f"{block}attention.out.{{p}}", f"{layer}attention.output.dense.{{p}}"),
        Row(f"{block}norm1.{{p}}", f"{layer}attention.output.LayerNorm.{{p}}"),
        Row(f"{block}cross_attention.q.{{p}}", f"{layer}crossattention.self.query.{{p}}"),
        Row(
            f"{block}cross_attention.kv.{{p}}",
            tuple(f"{layer}crossattention.self.{name}.{{p}}" for name in ("key", "value")),
            CONCAT,
        ),
        Row(f"{block}cross_attention.out.{{p}}", f"{layer}crossattention.output.dense.{{p}}"),
        Row(f"{block}cross_norm.{{p}}", f"{layer}crossattention.output.LayerNorm.{{p}}"),
        Row(f"{block}feedforward.fc1.{{p}}", f"{layer}intermediate.dense.{{p}}"),
        Row(f"{block}feedforward.fc2.{{p}}", f"{layer}output.dense.{{p}}"),
        Row(f"{block}norm2.{{p}}", f"{layer}output.LayerNorm.{{p}}"),
        Drop(f"{embeddings}position_ids", "counts from 0", equals=counts),
    )


_TABLE, _OUTPUT = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
_OUTPUT_BIAS, _BIAS = "cls.predictions.decoder.bias", "cls.predictions.bias"
_DECODER = "text_decoder."
"""The prefix of the text decoder's keys."""
OUTPUT = _DECODER + _OUTPUT
"""The key of its output matrix."""


def scored_rows(ours: str, theirs: str, *, kinds: bool = False) -> tuple[Row | Drop, ...]:
    """Return the rows of a text's embeddings, blocks and head, as BERT names them; the arguments are `text_rows`'s."""
    head = f"{theirs}cls.predictions."
    return (
        *text_rows(ours, f"{theirs}bert.", kinds=kinds),
        Row(f"{ours}head_dense.{{p}}", f"{head}transform.dense.{{p}}"),
        Row(f"{ours}head_norm.{{p}}", f"{head}transform.LayerNorm.{{p}}"),
        Row(f"{ours}head_bias", theirs + _BIAS),
        Row(f"{ours}head.weight", theirs + _OUTPUT),  # of an untied model
        Drop(theirs + _OUTPUT, "the embedding's table once more, to which it is tied", equals=theirs + _TABLE),
        Drop(theirs + _OUTPUT_BIAS, "the bias once more", equals=theirs + _BIAS),
    )


TEXT_ROWS = scored_rows("decoder.", _DECODER)
"""The rows of the text decoder."""


def settle_output(
    state: Mapping[str, Tensor], *, stated: bool, theirs: str = _DECODER
) -> tuple[dict[str, Tensor], bool]:
    """Find whether the output matrix is tied to the embedding, as `settle_tied` does; its own bias counts first.

    Args:
        state: The tensors, in the keys of the file.
        stated: Whether the configuration says that it is tied.
        theirs: Prefix of the text's keys; a BLIP's decoder's where it is not given.
    """
    found, tied = settle_tied(state, theirs + _TABLE, theirs + _OUTPUT, stated=stated)
    if (bias := theirs + _OUTPUT_BIAS) in found:  # the one that is added, should the other be another
        found[theirs + _BIAS] = found[bias]
    return found, tied


def with_output_bias(state: Mapping[str, Tensor], *, theirs: str = _DECODER) -> dict[str, Tensor]:
    """Return a state of theirs with the bias of the output matrix under both of its names."""
    return {**state, theirs + _OUTPUT_BIAS: state[theirs + _BIAS].clone()}


QUESTION_ROWS = text_rows("question.", "text_encoder.")
"""The rows of the question encoder."""


def read_bert(config: Mapping[str, Any], *, where: str, of: str = "") -> dict[str, Any]:
    """Return our fields for sizes in BERT's words. All but the number of heads have defaults.

    Args:
        config: The object with the sizes.
        where: The file, for messages.
        of: The key of the object in the file, if any.

    Raises:
        ModelError: The number of heads is not stated, or our models do not have the activation.
    """
    return {
        "dim": config.get("hidden_size", 768),
        "depth": config.get("num_hidden_layers", 12),
        "num_heads": require(config, "num_attention_heads", where=f"{where}, {of}" if of else where),
        "mlp_dim": config.get("intermediate_size", 3072),
        "max_length": config.get("max_position_embeddings", 512),
        "pad_token": config.get("pad_token_id", 0),
        "activation": read_activation(config.get("hidden_act", "gelu"), "hidden_act", where=where),
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "dropout": config.get("hidden_dropout_prob", 0.0),
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.0),
    }


def write_bert(config: TextConfig) -> dict[str, Any]:
    """Return the sizes of a text's blocks in BERT's words."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "max_position_embeddings": config.max_length,
        "pad_token_id": config.pad_token,
        "hidden_act": write_activation(config.activation),
        "layer_norm_eps": config.norm_eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
    }


def name_roles(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """Add names for the two tokens that BLIP adds to BERT's vocabulary, where the weights have rows for them.

    Source: BLIP, models/blip.py (`init_tokenizer`).
    """
    count = tokenizer.vocab_size
    unnamed = [name for name in _ROLES if tokenizer.id_of(name) is None]
    if vocab_size != count + len(unnamed):
        return tokenizer
    data = json.loads(tokenizer.to_json())
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    data["added_tokens"] += [
        {"id": count + i, "content": name, **plain, "special": True} for i, name in enumerate(unnamed)
    ]
    return Tokenizer.from_json(json.dumps(data))


def question_start(tokenizer: Tokenizer, config: Mapping[str, Any], name: str, *, where: str) -> int:
    """Return the token that questions begin with: the one that `config` states, or else the one of this name.

    Raises:
        ModelError: The vocabulary has no such token.
    """
    found = config.get(START, tokenizer.id_of(name))
    if found is None:
        raise ModelError(
            f"{where}: the vocabulary must have {name}, which questions begin with, but lacks it: put "
            "bert-base-uncased's beside the weights"
        )
    return found  # type: ignore[no-any-return]  # checked when the configuration is made


def check_structure(bundle: ModelBundle, layout: str) -> tuple[CaptionerConfig | VQAConfig, TextDecoderConfig]:
    """Return the configurations of a bundle's model and its decoder, once BLIP can express them.

    Raises:
        ModelError: BLIP cannot express the model; the message names the field.
    """
    model = bundle.model
    if not isinstance(model, Captioner | VQA):
        raise ModelError(f"the {layout} layout needs a question encoder, but the model is a single stream instead")
    architecture = model.config
    check_fixed(architecture.encoder, FIXED_VISION, layout, of=VISION)
    decoder = architecture.decoder
    if decoder is None:
        raise ModelError(
            f"the {layout} layout needs a `decoder`, but the model answers out of a closed list instead: choose the "
            "layout multiattn"
        )
    check_fixed(decoder, FIXED_TEXT, layout, of=TEXT)
    if isinstance(architecture, VQAConfig):
        same = {field: getattr(decoder, field) for field in _ONE_FOR_BOTH}
        check_fixed(architecture.question, FIXED_QUESTION | same | ALONE, layout, of=QUESTION)
        check_fixed(architecture, {"output_positions": False}, layout)
    check_fixed(architecture, {"bridge": False}, layout)
    square_side(architecture.encoder.image_size, layout)
    return architecture, decoder
