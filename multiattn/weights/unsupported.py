"""Published kinds of models about pictures that are refused on purpose, each with the part that no model here has."""

from ..errors import ModelError

_SHIFTED = "windows that shift from block to block, with patches merged in between"
_CONVOLUTIONS = "convolutions in place of attention"
_MIXED = "convolutions between its attention blocks"
_LANGUAGE = "a language model that continues the picture's tokens"

PARTS: dict[str, str] = {
    "blip-2": "a Q-Former (learned queries between the picture and a language model)",
    "instructblip": "a Q-Former (learned queries between the picture and a language model)",
    "git": "a decoder whose self-attention runs over picture and text together",
    "donut-swin": f"a Swin encoder ({_SHIFTED})",
    "swin": _SHIFTED,
    "swinv2": _SHIFTED,
    "maxvit": _SHIFTED,
    "hiera": "attention inside units of patches that are pooled from stage to stage",
    "pix2struct": "patches of a picture whose height and width vary, with positions by row and column",
    "vit_mae": "an encoder of a random part of the patches, and a decoder that paints the others",
    "resnet": _CONVOLUTIONS,
    "bit": _CONVOLUTIONS,
    "convnext": _CONVOLUTIONS,
    "convnextv2": _CONVOLUTIONS,
    "efficientnet": _CONVOLUTIONS,
    "mobilenet_v2": _CONVOLUTIONS,
    "regnet": _CONVOLUTIONS,
    "cvt": _MIXED,
    "levit": _MIXED,
    "mobilevit": _MIXED,
    "pvt": _MIXED,
    "segformer": _MIXED,
    "poolformer": "pooling in place of attention",
    "perceiver": "learned latents in place of patches",
    "flava": "a third encoder over the joined picture and text",
    "llava": _LANGUAGE,
    "paligemma": _LANGUAGE,
    "kosmos-2": _LANGUAGE,
    "idefics2": _LANGUAGE,
    "qwen2_vl": _LANGUAGE,
    "florence2": f"a DaViT encoder, and {_LANGUAGE}",
    "owlvit": "boxes of objects in place of labels",
    "detr": "boxes of objects in place of labels",
    "sam": "masks of objects in place of labels",
    "lxmert": "regions that another model has found, in place of patches",
    "visual_bert": "regions that another model has found, in place of patches",
}
"""The part that is missing, by transformers' `model_type`."""


TEXTS = ("bert", "gpt2", "longformer", "t5")
"""The `model_type` of models of texts alone, which `load_text_model` loads."""


def refuse(model_type: object, *, where: str) -> None:
    """Raise ModelError for a `model_type` of `PARTS` or `TEXTS`; return for any other.

    Args:
        model_type: What the file states.
        where: The file, for the message.

    Raises:
        ModelError: It is one of those; the message names the part.
    """
    if model_type in TEXTS:
        raise ModelError(
            f"{where}: a model of the type {model_type} reads texts alone, which is no task: give another, or load it "
            "by `multiattn.weights.load_text_model`"
        )
    if isinstance(model_type, str) and model_type in PARTS:
        raise ModelError(f"{where}: a model of the type {model_type} is not supported: it has {PARTS[model_type]}")
