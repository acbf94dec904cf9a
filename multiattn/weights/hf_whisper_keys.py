"""The keys of transformers' Whisper against ours."""

from .table import CONCAT, Drop, KeyTable, Row
from .whisper_common import NO_KEY_BIAS, ONLY_VALUE_BIAS

NAME = "hf-whisper"

_ENCODER, _DECODER = "model.encoder.", "model.decoder."


def _block_rows(ours: str, theirs: str) -> tuple[Row, ...]:
    """A block's self-attention and feedforward; those of encoder and decoder have the same names."""
    return (
        Row(f"{ours}norm1.{{p}}", f"{theirs}self_attn_layer_norm.{{p}}"),
        Row(f"{ours}attention.qkv.weight", tuple(f"{theirs}self_attn.{name}_proj.weight" for name in "qkv"), CONCAT),
        Row(f"{ours}attention.qkv.bias", tuple(f"{theirs}self_attn.{name}_proj.bias" for name in "qv"), NO_KEY_BIAS),
        Row(f"{ours}attention.out.{{p}}", f"{theirs}self_attn.out_proj.{{p}}"),
        Row(f"{ours}norm2.{{p}}", f"{theirs}final_layer_norm.{{p}}"),
        Row(f"{ours}feedforward.fc1.{{p}}", f"{theirs}fc1.{{p}}"),
        Row(f"{ours}feedforward.fc2.{{p}}", f"{theirs}fc2.{{p}}"),
    )


_CROSS, _LAYER = "decoder.blocks.{i}.cross_attention.", f"{_DECODER}layers.{{i}}."

TABLE = KeyTable(
    NAME,
    (
        Row("encoder.stem.convs.0.{p}", f"{_ENCODER}conv1.{{p}}"),
        Row("encoder.stem.convs.1.{p}", f"{_ENCODER}conv2.{{p}}"),
        Row("encoder.positions", f"{_ENCODER}embed_positions.weight"),
        *_block_rows("encoder.blocks.{i}.", f"{_ENCODER}layers.{{i}}."),
        Row("encoder.norm.{p}", f"{_ENCODER}layer_norm.{{p}}"),
        Row("decoder.embedding.weight", f"{_DECODER}embed_tokens.weight"),
        Row("decoder.positions.weight", f"{_DECODER}embed_positions.weight"),
        *_block_rows("decoder.blocks.{i}.", _LAYER),
        Row("decoder.blocks.{i}.cross_norm.{p}", f"{_LAYER}encoder_attn_layer_norm.{{p}}"),
        Row(f"{_CROSS}q.{{p}}", f"{_LAYER}encoder_attn.q_proj.{{p}}"),
        Row(f"{_CROSS}kv.weight", tuple(f"{_LAYER}encoder_attn.{name}_proj.weight" for name in "kv"), CONCAT),
        Row(f"{_CROSS}kv.bias", f"{_LAYER}encoder_attn.v_proj.bias", ONLY_VALUE_BIAS),
        Row(f"{_CROSS}out.{{p}}", f"{_LAYER}encoder_attn.out_proj.{{p}}"),
        Row("decoder.norm.{p}", f"{_DECODER}layer_norm.{{p}}"),
        Drop("proj_out.weight", "the embedding's table once more, to which it is tied"),
    ),
)
