"""The picture encoders that transformers' VisionEncoderDecoder can have, by their `model_type`: rows, read, written."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..errors import ModelError
from ..models.vit import ViTConfig
from . import hf_beit, hf_deit, hf_dinov2, hf_dinov3, hf_vit
from .hf_common import VISION, require
from .json_files import read_part
from .table import Drop, KeyTable, Row
from .unsupported import refuse


class Encoder(NamedTuple):
    """One kind of picture encoder."""

    rows: Callable[[str, str, str], tuple[Row | Drop, ...]]
    """Its rows without a head, for a prefix of their keys, one of ours, and a variant."""

    read: Callable[..., ViTConfig]
    """Takes its configuration, the number of classes (0) and `where`."""

    write: Callable[..., Mapping[str, Any]]
    """Takes our configuration, the layout's name and `of`; returns theirs with `model_type`."""

    variants: Collection[str] = ("",)
    """The variants of its rows."""

    variant_of: Callable[[Mapping[str, Any]], str] = lambda config: ""
    """Which of them a configuration of theirs means."""


def _encoder(module: Any) -> Encoder:
    has_variants = hasattr(module, "VARIANTS")
    return Encoder(
        module.rows if has_variants else lambda theirs, ours, variant: module.rows(theirs, ours),
        module.read_structure,
        module.write_structure,
        *((module.VARIANTS, module.variant_of) if has_variants else ()),
    )


_ENCODERS = {
    "vit": _encoder(hf_vit),
    "deit": _encoder(hf_deit),
    "beit": _encoder(hf_beit),
    "dinov2": _encoder(hf_dinov2),
    "dinov2_with_registers": _encoder(hf_dinov2),
    "dinov3_vit": _encoder(hf_dinov3),
}


def tables(layout: str, decoder: tuple[Row | Drop, ...]) -> dict[str, KeyTable]:
    """Return the tables of a layout by what `kind_of` returns, given the rows of everything but the encoder."""
    return {
        kind + variant: KeyTable(layout, (*encoder.rows("encoder.", "encoder.", variant), *decoder))
        for kind, encoder in _ENCODERS.items()
        for variant in encoder.variants
    }


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the `model_type` of the encoder that a `config.json` states, and the variant of its rows."""
    encoder = config.get("encoder")
    if not isinstance(encoder, Mapping):
        return ""
    kind = str(encoder.get("model_type"))
    return kind + (_ENCODERS[kind].variant_of(encoder) if kind in _ENCODERS else "")


def read_encoder(config: Mapping[str, Any], *, where: str) -> ViTConfig:
    """Return our configuration for the encoder of a VisionEncoderDecoder.

    Raises:
        ModelError: It is of no kind that is read, or ours cannot be such a model.
    """
    encoder = read_part(config, "encoder", where=where)
    kind = str(encoder.get("model_type"))
    if kind not in _ENCODERS:
        refuse(kind, where=f"{where}, encoder")
        raise ModelError(
            f"{where}: `model_type` of the encoder must be one of {', '.join(_ENCODERS)}, but is {kind} instead"
        )
    require(encoder, "num_attention_heads", where=f"{where}, encoder")
    return _ENCODERS[kind].read(encoder, 0, where=where)


def write_encoder(architecture: ViTConfig, layout: str) -> dict[str, Any]:
    """Return the configuration of an encoder, in the words of the first kind that can express it.

    Raises:
        ModelError: None can; the message is that of a ViT.
    """
    first: ModelError | None = None
    for encoder in _ENCODERS.values():
        try:
            return dict(encoder.write(architecture, layout, of=VISION))
        except ModelError as error:
            first = first or error
    assert first is not None
    raise first
