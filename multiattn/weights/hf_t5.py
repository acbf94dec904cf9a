"""T5's layout of an encoder-decoder of texts: the first T5, T5 1.1 and FLAN-T5, read and written without transformers.

Source: Raffel et al. 2020; transformers, `T5ForConditionalGeneration`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.text_stack import TextConfig
from ..models.text_to_text import TextToText, TextToTextConfig
from .blip_text import ALONE
from .bundle import CONFIG, build_model, check_vocabulary
from .hf_common import PLAIN_HEAD, check_fixed, describe_vocabulary, require, settle_tied
from .json_files import check_value, read_architecture
from .model_files import ModelFiles
from .table import CONCAT, SAME, SHARED, Drop, KeyTable, Row
from .text_layout import TextLayout

NAME = "hf-t5"

_EMBEDDING, _OUTPUT = "shared.weight", "lm_head.weight"
_GATED = {"gated-gelu": "gelu_tanh", "gated-silu": "silu", "gated-relu": "relu"}
_PLAIN = {"relu": "relu", "gelu_new": "gelu_tanh", "gelu": "gelu", "silu": "silu"}

# fields of ours that T5 cannot express, and their values in all its models
_FIXED: dict[str, Any] = {
    "positions": "relative",
    "pre_norm": True,
    "norm": "rms",
    "scale_embedding": False,
    "embed_norm": False,
    "final_norm": True,
    "linear_bias": False,
    "scale_scores": False,
}
_FIXED_HEAD = {key: value for key, value in PLAIN_HEAD.items() if key != "scale_states"}
# what the encoder and the decoder have in common, as one file states it for both
_ONE_FOR_BOTH = (
    *("vocab_size", "dim", "num_heads", "head_dim", "mlp_dim", "max_length", "num_buckets", "max_distance"),
    *("norm_eps", "activation", "gated", "start_token", "end_token", "pad_token", "dropout", "attention_dropout"),
)


def _rows(part: str, *, gated: bool) -> tuple[Row, ...]:
    """Return the rows of the encoder or the decoder, whose blocks have two or three layers."""
    block, layer = f"{part}.blocks.{{i}}.", f"{part}.block.{{i}}.layer."
    last = 2 if part == "decoder" else 1
    crossing = (
        Row(f"{block}cross_norm.weight", f"{layer}1.layer_norm.weight"),
        Row(f"{block}cross_attention.q.weight", f"{layer}1.EncDecAttention.q.weight"),
        Row(
            f"{block}cross_attention.kv.weight",
            tuple(f"{layer}1.EncDecAttention.{name}.weight" for name in ("k", "v")),
            CONCAT,
        ),
        Row(f"{block}cross_attention.out.weight", f"{layer}1.EncDecAttention.o.weight"),
    )
    wide = f"{layer}{last}.DenseReluDense."
    return (
        Row(f"{part}.embedding.weight", _EMBEDDING, SHARED if part == "decoder" else SAME),
        Row(f"{part}.relative.weight", f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        Row(f"{block}norm1.weight", f"{layer}0.layer_norm.weight"),
        Row(
            f"{block}attention.qkv.weight",
            tuple(f"{layer}0.SelfAttention.{name}.weight" for name in ("q", "k", "v")),
            CONCAT,
        ),
        Row(f"{block}attention.out.weight", f"{layer}0.SelfAttention.o.weight"),
        *(crossing if part == "decoder" else ()),
        Row(f"{block}norm2.weight", f"{layer}{last}.layer_norm.weight"),
        Row(f"{block}feedforward.fc1.weight", (f"{wide}wi_0.weight", f"{wide}wi_1.weight"), CONCAT)
        if gated
        else Row(f"{block}feedforward.fc1.weight", f"{wide}wi.weight"),
        Row(f"{block}feedforward.fc2.weight", f"{wide}wo.weight"),
        Row(f"{part}.norm.weight", f"{part}.final_layer_norm.weight"),
    )


def _table(*, gated: bool) -> KeyTable:
    again = "the shared table once more"
    return KeyTable(
        NAME,
        (
            *_rows("encoder", gated=gated),
            *_rows("decoder", gated=gated),
            Row("decoder.head.weight", _OUTPUT),  # of an untied model
            Drop(_OUTPUT, "the shared table once more, to which it is tied", equals=_EMBEDDING),
            *(Drop(f"{part}.embed_tokens.weight", again, equals=_EMBEDDING) for part in ("encoder", "decoder")),
            Drop(
                "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
                "a bias of the cross-attention, which the first T5's files have and nothing uses",
            ),
        ),
    )


_TABLES = {gated: _table(gated=gated) for gated in (False, True)}


def _read(files: ModelFiles, config: Mapping[str, Any]) -> tuple[TextToText, Tokenizer]:
    where = files.where(CONFIG)
    state = files.tensors()
    for part in ("encoder", "decoder"):  # of which a file may have any
        if _EMBEDDING not in state and (one := state.get(f"{part}.embed_tokens.weight")) is not None:
            state[_EMBEDDING] = one
    # transformers ties what the file does not have twice, whatever it states: that says how the states are scaled
    state, tied = settle_tied(state, _EMBEDDING, _OUTPUT, stated=True)
    both, gated = _read_both(config, where=where)
    scale = config.get("scale_decoder_outputs", config.get("tie_word_embeddings") is not False)
    depth = config.get("num_layers", 6)
    decoder_depth = config.get("num_decoder_layers")
    fields = {
        "encoder": {**both, "depth": depth, "context_dim": None},
        "decoder": {
            **both,
            **_FIXED_HEAD,
            "depth": depth if decoder_depth is None else decoder_depth,
            "context_dim": both["dim"],
            "tied": tied,
            "scale_states": scale,
        },
    }
    architecture = read_architecture(fields, TextToTextConfig, where=where)
    tokenizer = files.tokenizer()
    check_vocabulary(tokenizer, architecture.encoder.vocab_size, where=str(files))
    model = build_model(architecture, files, table=_TABLES[gated], state=state, build=TextToText)
    assert isinstance(model, TextToText)
    return model, tokenizer


def _read_both(config: Mapping[str, Any], *, where: str) -> tuple[dict[str, Any], bool]:
    """Return the fields that the encoder and the decoder have in common, and whether the feedforward is gated."""
    kind = config.get("feed_forward_proj", "relu")
    known = {**_PLAIN, **_GATED}
    check_value(kind in known, "feed_forward_proj", must=f"one of {', '.join(known)}", value=kind, where=where)
    dropout, pad = config.get("dropout_rate", 0.1), config.get("pad_token_id", 0)
    return {
        **_FIXED,
        "vocab_size": config.get("vocab_size", 32128),
        "dim": config.get("d_model", 512),
        "num_heads": require(config, "num_heads", where=where),
        "head_dim": config.get("d_kv", 64),
        "mlp_dim": config.get("d_ff", 2048),
        "max_length": config.get("n_positions", 512),
        "num_buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128),
        "norm_eps": config.get("layer_norm_epsilon", 1e-6),
        "activation": known[kind],
        "gated": kind in _GATED,
        "start_token": config.get("decoder_start_token_id", pad),
        "end_token": config.get("eos_token_id", 1),
        "pad_token": pad,
        "dropout": dropout,
        "attention_dropout": dropout,
    }, kind in _GATED


def _describe(model: TextToText, tokenizer: Tokenizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    encoder, decoder = model.config.encoder, model.config.decoder
    check_fixed(model.config, {"shared": True}, NAME)
    check_fixed(encoder, {**_FIXED, **ALONE}, NAME, of="encoder")
    same = {field: getattr(encoder, field) for field in _ONE_FOR_BOTH}
    check_fixed(decoder, {**_FIXED, **_FIXED_HEAD, **same}, NAME, of="decoder")
    check_fixed(encoder, {"attention_dropout": encoder.dropout}, NAME, of="encoder")
    stated = {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "dtype": "float32",
        "vocab_size": encoder.vocab_size,
        "d_model": encoder.dim,
        "d_kv": encoder.head_width,
        "d_ff": encoder.mlp_dim,
        "num_layers": encoder.depth,
        "num_decoder_layers": decoder.depth,
        "num_heads": encoder.num_heads,
        "n_positions": encoder.max_length,
        "relative_attention_num_buckets": encoder.num_buckets,
        "relative_attention_max_distance": encoder.max_distance,
        "layer_norm_epsilon": encoder.norm_eps,
        "feed_forward_proj": _word(encoder),
        "dropout_rate": encoder.dropout,
        "decoder_start_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "pad_token_id": decoder.pad_token,
        # the first says to versions before 5, and to 5 where the second is not there, whether the states are scaled
        "tie_word_embeddings": decoder.scale_states,
        "scale_decoder_outputs": decoder.scale_states,
    }
    state = _TABLES[encoder.gated].to_theirs(model.state_dict())
    return state, {CONFIG: stated, **describe_vocabulary(tokenizer, decoder)}


def _word(config: TextConfig) -> str:
    """Return their word for the feedforward.

    Raises:
        ModelError: They have none.
    """
    words = {ours: theirs for theirs, ours in (_GATED if config.gated else _PLAIN).items()}
    if config.activation not in words:
        raise ModelError(
            f"the {NAME} layout needs `activation` to be one of {', '.join(words)}, but it is {config.activation} "
            "instead"
        )
    return words[config.activation]


LAYOUT = TextLayout(NAME, "t5", (TextToText,), _read, _describe)
