"""GPT-2's layout of a text decoder: alone, as `load_text_model` reads it, and as the decoder of `vit_gpt2`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..inputs import Tokenizer
from ..models.text_decoder import TextDecoder, TextDecoderConfig
from .bundle import CONFIG, build_model, check_vocabulary
from .hf_common import (
    PLAIN_BLOCKS,
    PLAIN_HEAD,
    check_fixed,
    check_stated,
    describe_vocabulary,
    first_stated,
    read_activation,
    read_generation,
    require,
    settle_tied,
    write_activation,
)
from .json_files import read_architecture
from .model_files import ModelFiles
from .table import TRANSPOSE, Drop, KeyTable, Row, is_causal
from .text_layout import TextLayout

NAME = "hf-gpt2"

EMBEDDING, OUTPUT = "transformer.wte.weight", "lm_head.weight"
"""The keys of the embedding and of the output matrix."""

# GPT-2 keeps its linear maps transposed
_LINEAR = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "cross_attention.q": "crossattention.q_attn",
    "cross_attention.kv": "crossattention.c_attn",
    "cross_attention.out": "crossattention.c_proj",
    "feedforward.fc1": "mlp.c_fc",
    "feedforward.fc2": "mlp.c_proj",
}

FIXED: dict[str, Any] = {
    **PLAIN_BLOCKS,
    **PLAIN_HEAD,
    "positions": "learned",
    "pre_norm": True,
    "scale_embedding": False,
    "embed_norm": False,
    "final_norm": True,
}
"""Fields of ours that GPT-2 cannot express, and their values in all its models."""

_UNUSUAL = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}
"""Keys of theirs, and the only values that ours can have."""


def gpt2_rows(ours: str, theirs: str) -> tuple[Row | Drop, ...]:
    """Return the rows of a decoder.

    Args:
        ours: Prefix of our keys.
        theirs: Prefix of their keys, before `transformer.` and `lm_head.`.
    """
    block, layer = f"{ours}blocks.{{i}}.", f"{theirs}transformer.h.{{i}}."
    table, output = theirs + EMBEDDING, theirs + OUTPUT
    return (
        Row(f"{ours}embedding.weight", table),
        Row(f"{ours}positions.weight", f"{theirs}transformer.wpe.weight"),
        Row(f"{block}norm1.{{p}}", f"{layer}ln_1.{{p}}"),
        Row(f"{block}cross_norm.{{p}}", f"{layer}ln_cross_attn.{{p}}"),
        Row(f"{block}norm2.{{p}}", f"{layer}ln_2.{{p}}"),
        *(Row(f"{block}{name}.weight", f"{layer}{other}.weight", TRANSPOSE) for name, other in _LINEAR.items()),
        *(Row(f"{block}{name}.bias", f"{layer}{other}.bias") for name, other in _LINEAR.items()),
        Row(f"{ours}norm.{{p}}", f"{theirs}transformer.ln_f.{{p}}"),
        Row(f"{ours}head.weight", output),  # of an untied model
        Drop(output, "the embedding's table once more, to which it is tied", equals=table),
        Drop(f"{layer}attn.bias", "the causal mask, which is always the same", equals=is_causal),
        Drop(f"{layer}crossattention.bias", "a causal mask, which a cross-attention does not use"),
        *(
            Drop(f"{layer}{part}.masked_bias", "the score of what is masked", equals=lambda value: bool(value <= -1e4))
            for part in ("attn", "crossattention")
        ),
    )


def read_gpt2(config: Mapping[str, Any], *, where: str, of: str = "") -> dict[str, Any]:
    """Return our fields for a GPT-2's structure, without its tokens. All but the number of heads have defaults.

    Args:
        config: The object with the structure.
        where: The file, for messages.
        of: The key of the object in the file, if any.

    Raises:
        ModelError: Our decoder cannot be this model.
    """
    check_stated(config, _UNUSUAL, where=where, of=of)
    width = config.get("n_embd", 768)
    return {
        **FIXED,
        "vocab_size": config.get("vocab_size", 50257),
        "dim": width,
        "depth": config.get("n_layer", 12),
        "num_heads": require(config, "n_head", where=f"{where}, {of}" if of else where),
        "mlp_dim": config.get("n_inner") or 4 * width,
        "max_length": config.get("n_positions", 1024),
        "activation": read_activation(
            config.get("activation_function", "gelu_new"), "activation_function", where=where
        ),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "dropout": config.get("resid_pdrop", 0.1),
        "attention_dropout": config.get("attn_pdrop", 0.1),
    }


def read_tokens(*stated: Mapping[str, Any]) -> dict[str, int]:
    """Return the special tokens: each from the first of these objects that states it.

    They are those of `generation_config.json`, of the model's configuration, and of its decoder's part of that.
    """
    end = first_stated(stated, "eos_token_id", default=50256)
    # GPT-2 has no padding token; any will do, since nothing attends to it
    return {
        "start_token": first_stated(stated, "decoder_start_token_id", "bos_token_id", default=end),
        "end_token": end,
        "pad_token": first_stated(stated, "pad_token_id", default=end),
    }


def write_gpt2(decoder: TextDecoderConfig) -> dict[str, Any]:
    """Return a decoder's structure and tokens in GPT-2's words."""
    return {
        "model_type": "gpt2",
        "vocab_size": decoder.vocab_size,
        "n_embd": decoder.dim,
        "n_layer": decoder.depth,
        "n_head": decoder.num_heads,
        "n_inner": decoder.mlp_dim,
        "n_positions": decoder.max_length,
        "activation_function": {"gelu_tanh": "gelu_new"}.get(decoder.activation, write_activation(decoder.activation)),
        "layer_norm_epsilon": decoder.norm_eps,
        "resid_pdrop": decoder.dropout,
        "embd_pdrop": decoder.dropout,
        "attn_pdrop": decoder.attention_dropout,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "tie_word_embeddings": decoder.tied,
    }


_TABLE = KeyTable(NAME, gpt2_rows("", ""))
_ALONE = {"add_cross_attention": False}
_PREFIX = "transformer."  # of the keys of a model with a head; those of a GPT2Model have none


def _read(files: ModelFiles, config: Mapping[str, Any]) -> tuple[TextDecoder, Tokenizer]:
    where = files.where(CONFIG)
    check_stated(config, _ALONE, where=where)
    state = {
        key if key == OUTPUT or key.startswith(_PREFIX) else _PREFIX + key: tensor
        for key, tensor in files.tensors().items()
    }
    state, tied = settle_tied(state, EMBEDDING, OUTPUT, stated=bool(config.get("tie_word_embeddings", True)))
    fields = {**read_gpt2(config, where=where), "context_dim": None, "tied": tied}
    fields |= read_tokens(read_generation(files), config)
    tokenizer = files.tokenizer()
    check_vocabulary(tokenizer, fields["vocab_size"], where=str(files))
    architecture = read_architecture(fields, TextDecoderConfig, where=where)
    decoder = build_model(architecture, files, table=_TABLE, state=state, build=TextDecoder)
    assert isinstance(decoder, TextDecoder)
    return decoder, tokenizer


def _describe(decoder: TextDecoder, tokenizer: Tokenizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    check_fixed(decoder.config, {**FIXED, "context_dim": None}, NAME)
    stated = {"architectures": ["GPT2LMHeadModel"], "dtype": "float32", "pad_token_id": decoder.config.pad_token}
    files = {
        CONFIG: {**write_gpt2(decoder.config), **stated, **_ALONE},
        **describe_vocabulary(tokenizer, decoder.config),
    }
    return _TABLE.to_theirs(decoder.state_dict()), files


LAYOUT = TextLayout(NAME, "gpt2", (TextDecoder,), _read, _describe)
