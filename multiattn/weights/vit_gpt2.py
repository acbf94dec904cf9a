"""The layout of transformers' VisionEncoderDecoder with a ViT as encoder and GPT-2 as decoder, read and written."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..models.captioner import Captioner, CaptionerConfig
from ..models.vit import ViTConfig
from .bundle import CONFIG, Layout, ModelBundle, build_model, states
from .hf_common import TEXT, check_fixed, check_stated, describe_text, read_decoding, read_generation, settle_tied
from .hf_gpt2 import EMBEDDING, FIXED, OUTPUT, gpt2_rows, read_gpt2, read_tokens, write_gpt2
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .json_files import read_architecture, read_part
from .model_files import ModelFiles
from .table import Row
from .vision_encoders import kind_of, read_encoder, tables, write_encoder

NAME = "vit-gpt2"

_THEIRS = "decoder."
"""The prefix of GPT-2's keys."""

TABLES = tables(NAME, (Row("bridge.{p}", "enc_to_dec_proj.{p}"), *gpt2_rows("decoder.", _THEIRS)))
"""By the `model_type` of the encoder."""

TABLE = TABLES["vit"]


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: The encoder is none that is read, the decoder is no GPT-2, or something in the directory does not
            fit.
    """
    where = files.where(CONFIG)
    encoder = read_encoder(config, where=where)
    kind = read_part(config, "decoder", where=where).get("model_type")
    if kind != "gpt2":
        raise ModelError(f"{where}: `model_type` of the decoder must be gpt2 or trocr, but is {kind} instead")
    stated = config["decoder"].get("tie_word_embeddings", True)
    state, tied = settle_tied(files.tensors(), _THEIRS + EMBEDDING, _THEIRS + OUTPUT, stated=bool(stated))
    decoder = read_gpt2(config["decoder"], where=where, of="decoder") | {"tied": tied}
    decoder |= read_tokens(read_generation(files), config, config["decoder"])
    architecture = _read_structure(config, encoder, decoder, where=where)
    return ModelBundle(
        task="caption",
        tokenizer=files.tokenizer(),
        model=build_model(architecture, files, table=TABLES[kind_of(config)], state=state),
        preprocessing=read_preprocessing(files, channels=architecture.encoder.in_channels),
        decoding=read_decoding(files, config),
        card={"architecture": "VisionEncoderDecoderModel"},
    )


def _read_structure(
    config: Mapping[str, Any], encoder: ViTConfig, decoder: Mapping[str, Any], *, where: str
) -> CaptionerConfig:
    """Return our configuration. All but the numbers of heads have transformers' defaults."""
    check_stated(config["decoder"], {"add_cross_attention": True}, where=where, of="decoder")
    width = decoder["dim"]
    fields = {"encoder": vars(encoder), "decoder": {**decoder, "context_dim": width}, "bridge": encoder.dim != width}
    return read_architecture(fields, CaptionerConfig, where=where)


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' ViT with GPT-2 cannot express the model.
    """
    architecture = bundle.require(Captioner).config
    decoder = architecture.decoder
    check_fixed(decoder, FIXED, NAME, of=TEXT)
    # transformers has a bridge exactly where the widths differ
    check_fixed(architecture, {"bridge": architecture.encoder.dim != decoder.dim}, NAME)
    check_fixed(decoder, {"context_dim": decoder.dim}, NAME, of=TEXT)
    text = {**write_gpt2(decoder), "is_decoder": True, "add_cross_attention": True}
    return {
        CONFIG: {
            "architectures": ["VisionEncoderDecoderModel"],
            "model_type": "vision-encoder-decoder",
            "is_encoder_decoder": True,
            "encoder": write_encoder(architecture.encoder, NAME),
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
    variants=TABLES,
    variant=kind_of,
    states_dtype=True,
    models="ViT-GPT2, also with DeiT, BEiT, DINOv2 or DINOv3 in place of the ViT",
    classes=("VisionEncoderDecoderModel",),
)
