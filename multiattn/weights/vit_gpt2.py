"""The layout of transformers' VisionEncoderDecoder with a ViT as encoder and GPT-2 as decoder, read and written."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..models.captioner import Captioner, CaptionerConfig
from . import hf_vit
from .bundle import CONFIG, Layout, ModelBundle, build_model, states
from .hf_common import (
    TEXT,
    VISION,
    check_fixed,
    check_stated,
    describe_text,
    read_activation,
    read_decoding,
    require,
    settle_tied,
)
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .json_files import read_architecture, read_part
from .model_files import ModelFiles
from .table import TRANSPOSE, Drop, KeyTable, Row, is_causal

NAME = "vit-gpt2"

_TABLE, _OUTPUT = "decoder.transformer.wte.weight", "decoder.lm_head.weight"
_LAYER, _BLOCK = "decoder.transformer.h.{i}.", "decoder.blocks.{i}."
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

TABLE = KeyTable(
    NAME,
    (
        *hf_vit.rows("encoder.", "encoder."),
        Row("bridge.{p}", "enc_to_dec_proj.{p}"),
        Row("decoder.embedding.weight", _TABLE),
        Row("decoder.positions.weight", "decoder.transformer.wpe.weight"),
        Row(f"{_BLOCK}norm1.{{p}}", f"{_LAYER}ln_1.{{p}}"),
        Row(f"{_BLOCK}cross_norm.{{p}}", f"{_LAYER}ln_cross_attn.{{p}}"),
        Row(f"{_BLOCK}norm2.{{p}}", f"{_LAYER}ln_2.{{p}}"),
        *(Row(f"{_BLOCK}{ours}.weight", f"{_LAYER}{theirs}.weight", TRANSPOSE) for ours, theirs in _LINEAR.items()),
        *(Row(f"{_BLOCK}{ours}.bias", f"{_LAYER}{theirs}.bias") for ours, theirs in _LINEAR.items()),
        Row("decoder.norm.{p}", "decoder.transformer.ln_f.{p}"),
        Row("decoder.head.weight", _OUTPUT),  # of an untied model
        Drop(_OUTPUT, "the embedding's table once more, to which it is tied", equals=_TABLE),
        Drop(f"{_LAYER}attn.bias", "the causal mask, which is always the same", equals=is_causal),
        Drop(f"{_LAYER}crossattention.bias", "a causal mask, which a cross-attention does not use"),
        *(
            Drop(f"{_LAYER}{part}.masked_bias", "the score of what is masked", equals=lambda value: bool(value <= -1e4))
            for part in ("attn", "crossattention")
        ),
    ),
)

# fields of ours that GPT-2 cannot express, and their values in all its models
_FIXED = {
    "positions": "learned",
    "pre_norm": True,
    "embed_norm": False,
    "final_norm": True,
    "head": "plain",
    "head_bias": False,
}
# keys of theirs, and the only values that ours can have
_UNUSUAL = {
    "add_cross_attention": True,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The encoder is no ViT, the decoder is no GPT-2, or something in the directory does not fit.
    """
    where = files.where(CONFIG)
    for part, wanted in (("encoder", "vit"), ("decoder", "gpt2")):
        kind = read_part(config, part, where=where).get("model_type")
        if kind != wanted:
            raise ModelError(f"{where}: `model_type` of the {part} must be {wanted}, but is {kind} instead")
    stated = config["decoder"].get("tie_word_embeddings", True)
    state, tied = settle_tied(files.tensors(), _TABLE, _OUTPUT, stated=bool(stated))
    architecture = _read_structure(config, tied=tied, where=where)
    return ModelBundle(
        task="caption",
        tokenizer=files.tokenizer(),
        model=build_model(architecture, files, table=TABLE, state=state),
        preprocessing=read_preprocessing(files, channels=architecture.encoder.in_channels),
        decoding=read_decoding(files, config),
        card={"architecture": "VisionEncoderDecoderModel"},
    )


def _read_structure(config: Mapping[str, Any], *, tied: bool, where: str) -> CaptionerConfig:
    """Return our configuration. All but the numbers of heads have transformers' defaults."""
    text, vision = config["decoder"], config["encoder"]
    check_stated(text, _UNUSUAL, where=where, of="decoder")
    require(vision, "num_attention_heads", where=f"{where}, encoder")
    encoder = hf_vit.read_structure(vision, 0, where=where)
    width = text.get("n_embd", 768)
    decoder = {
        **_FIXED,
        "tied": tied,
        "vocab_size": text.get("vocab_size", 50257),
        "dim": width,
        "depth": text.get("n_layer", 12),
        "num_heads": require(text, "n_head", where=f"{where}, decoder"),
        "mlp_dim": text.get("n_inner") or 4 * width,
        "max_length": text.get("n_positions", 1024),
        "context_dim": width,
        **_read_tokens(config, text),
        "activation": read_activation(text.get("activation_function", "gelu_new"), "activation_function", where=where),
        "norm_eps": text.get("layer_norm_epsilon", 1e-5),
        "dropout": text.get("resid_pdrop", 0.1),
        "attention_dropout": text.get("attn_pdrop", 0.1),
    }
    fields = {"encoder": vars(encoder), "decoder": decoder, "bridge": encoder.dim != width}
    return read_architecture(fields, CaptionerConfig, where=where)


def _read_tokens(config: Mapping[str, Any], text: Mapping[str, Any]) -> dict[str, int]:
    """Return the special tokens, which the model's configuration or its decoder's may state."""
    end = config.get("eos_token_id", text.get("eos_token_id", 50256))
    start = config.get("decoder_start_token_id", text.get("bos_token_id", end))
    pad = config.get("pad_token_id", text.get("pad_token_id"))
    # GPT-2 has no padding token; any will do, since nothing attends to it
    return {"start_token": start, "end_token": end, "pad_token": end if pad is None else pad}


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' ViT with GPT-2 cannot express the model.
    """
    architecture = bundle.require(Captioner).config
    decoder = architecture.decoder
    check_fixed(decoder, _FIXED, NAME, of=TEXT)
    # transformers has a bridge exactly where the widths differ
    check_fixed(architecture, {"bridge": architecture.encoder.dim != decoder.dim}, NAME)
    check_fixed(decoder, {"context_dim": decoder.dim}, NAME, of=TEXT)
    activation = {"gelu": "gelu", "gelu_tanh": "gelu_new", "gelu_quick": "quick_gelu"}[decoder.activation]
    text = {
        "model_type": "gpt2",
        "vocab_size": decoder.vocab_size,
        "n_embd": decoder.dim,
        "n_layer": decoder.depth,
        "n_head": decoder.num_heads,
        "n_inner": decoder.mlp_dim,
        "n_positions": decoder.max_length,
        "activation_function": activation,
        "layer_norm_epsilon": decoder.norm_eps,
        "resid_pdrop": decoder.dropout,
        "embd_pdrop": decoder.dropout,
        "attn_pdrop": decoder.attention_dropout,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "is_decoder": True,
        "add_cross_attention": True,
        "tie_word_embeddings": decoder.tied,
    }
    return {
        CONFIG: {
            "architectures": ["VisionEncoderDecoderModel"],
            "model_type": "vision-encoder-decoder",
            "is_encoder_decoder": True,
            "encoder": hf_vit.write_structure(architecture.encoder, NAME, of=VISION),
            "decoder": text,
            "decoder_start_token_id": decoder.start_token,
            "eos_token_id": decoder.end_token,
            "pad_token_id": decoder.pad_token,
            "tie_word_embeddings": False,  # between encoder and decoder, of which the encoder has none
            "prompt": bundle.decoding.get("prompt", ""),  # a key of ours: transformers leaves it to the caller
        },
        PREPROCESSOR: write_preprocessing(bundle.pictures, "ViTImageProcessor"),
        **describe_text(bundle, decoder, NAME),
    }


LAYOUT = Layout(
    NAME,
    '"model_type": "vision-encoder-decoder"',
    states("model_type", "vision-encoder-decoder"),
    load,
    describe,
    TABLE,
    states_dtype=True,
)
