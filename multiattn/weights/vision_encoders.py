"""The picture encoders that transformers' VisionEncoderDecoder can have, by their `model_type`: rows, read, written."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import ModelError
from ..models.vit import ViTConfig
from . import hf_deit, hf_dinov2, hf_vit
from .hf_common import VISION, require
from .json_files import read_part
from .table import Drop, KeyTable, Row
from .unsupported import refuse


class Encoder(NamedTuple):
    """One kind of picture encoder."""

    rows: Callable[[str, str], tuple[Row | Drop, ...]]
    """Its rows without a head, for a prefix of their keys and one of ours."""

    read: Callable[..., ViTConfig]
    """Takes its configuration, the number of classes (0) and `where`."""

    write: Callable[..., Mapping[str, Any]]
    """Takes our configuration, the layout's name and `of`; returns theirs with `model_type`."""


_ENCODERS = {
    "vit": Encoder(hf_vit.rows, hf_vit.read_structure, hf_vit.write_structure),
    "deit": Encoder(hf_deit.rows, hf_deit.read_structure, hf_deit.write_structure),
    **dict.fromkeys(
        ("dinov2", "dinov2_with_registers"),
        Encoder(hf_dinov2.rows, hf_dinov2.read_structure, hf_dinov2.write_structure),
    ),
}


def tables(layout: str, decoder: tuple[Row | Drop, ...]) -> dict[str, KeyTable]:
    """Return the tables of a layout by the `model_type` of its encoder, given the rows of everything else."""
    return {
        kind: KeyTable(layout, (*encoder.rows("encoder.", "encoder."), *decoder)) for kind, encoder in _ENCODERS.items()
    }


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the `model_type` of the encoder that a `config.json` states, by which `tables` has its table."""
    encoder = config.get("encoder")
    return str(encoder.get("model_type") if isinstance(encoder, Mapping) else None)


def read_encoder(config: Mapping[str, Any], *, where: str) -> ViTConfig:
    """Return our configuration for the encoder of a VisionEncoderDecoder.

    Raises:
        ModelError: It is of no kind that is read, or ours cannot be such a model.
    """
    encoder = read_part(config, "encoder", where=where)
    kind = kind_of(config)
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
