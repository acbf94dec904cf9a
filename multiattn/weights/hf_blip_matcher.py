"""The layout of transformers' BLIP for matching pictures and texts, read and written without transformers."""

from collections.abc import Mapping
from typing import Any

from ..models.blip_matcher import BlipMatcher, BlipMatcherConfig, MatcherTextConfig
from .blip_text import ALONE, FIXED_QUESTION, FIXED_VISION, read_bert, text_rows, write_bert
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model
from .hf_blip import MATCHER, PROCESSOR, VOCABULARY_SIZE, read_vision, vision_rows, write_vision
from .hf_common import (
    TEXT,
    VISION,
    around_questions,
    check_fixed,
    describe_roles,
    read_roles,
    square_side,
)
from .hf_encoders import class_of
from .hf_pictures import PREPROCESSOR, read_preprocessing, write_preprocessing
from .json_files import read_architecture, read_part
from .model_files import ModelFiles
from .table import KeyTable, Row

NAME = "hf-blip-itm"

TABLE = KeyTable(
    NAME,
    (
        *vision_rows("vision."),
        *text_rows("text.", "text_encoder."),
        Row("vision_projection.{p}", "vision_proj.{p}"),
        Row("text_projection.{p}", "text_proj.{p}"),
        Row("head.{p}", "itm_head.{p}"),
    ),
)

_ALONE: dict[str, Any] = {**ALONE, "has_start": True, "fixed_length": False}


def load(files: ModelFiles, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory that transformers saved, or such a repository of the hub.

    Raises:
        ModelError: Something in the directory does not fit.
    """
    where = files.where(CONFIG)
    text = read_part(config, "text_config", where=where)
    tokenizer = files.tokenizer()
    vision = read_vision(config, where=where)
    fields = {
        "vision": vision,
        "text": {
            **FIXED_QUESTION,
            **_ALONE,
            **read_bert(text, where=where, of="text_config"),
            **read_roles(files, tokenizer),
            "vocab_size": text.get("vocab_size", VOCABULARY_SIZE),
            "context_dim": vision["dim"],
        },
        "dim": config.get("image_text_hidden_size", 256),
    }
    return ModelBundle(
        task="match",
        tokenizer=tokenizer,
        model=build_model(read_architecture(fields, BlipMatcherConfig, where=where), files, table=TABLE),
        preprocessing=read_preprocessing(files, PROCESSOR),
        card={"architecture": MATCHER},
    )


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout.

    Raises:
        ModelError: transformers' BLIP cannot express the model.
    """
    architecture = bundle.require(BlipMatcher).config
    text: MatcherTextConfig = architecture.text
    check_fixed(architecture.vision, FIXED_VISION, NAME, of=VISION)
    square_side(architecture.vision.image_size, NAME)
    check_fixed(text, FIXED_QUESTION | _ALONE, NAME, of=TEXT)
    return {
        CONFIG: {
            "architectures": [MATCHER],
            "model_type": "blip",
            "image_text_hidden_size": architecture.dim,
            "vision_config": write_vision(architecture.vision),
            "text_config": {
                "model_type": "blip_text_model",
                **write_bert(text),
                "encoder_hidden_size": text.context_dim,
                "sep_token_id": text.end_token,
                "is_decoder": True,  # as in every published file: its blocks have a cross-attention
            },
        },
        PREPROCESSOR: {**write_preprocessing(bundle.pictures, PROCESSOR), "processor_class": "BlipProcessor"},
        TOKENIZER: around_questions(bundle.vocabulary, text.start_token, text.end_token, NAME),
        **describe_roles(bundle.vocabulary, text, NAME),
    }


LAYOUT = Layout(
    NAME,
    f'"model_type": "blip" with the class {MATCHER}',
    lambda config: config.get("model_type") == "blip" and class_of(config) == MATCHER,
    load,
    describe,
    TABLE,
    states_dtype=True,
    models="BLIP for matching (image-text matching, retrieval)",
    classes=(MATCHER,),
    has_maps=False,
)
