"""The layout of transformers' DeiT, read and written: distilled, as a classifier without a teacher's head, or headless.

Every DeiT there has a second token, which learned from a teacher. One class reads it, with a head of its own, and
averages the two heads; for the others it is a register.
"""

from collections.abc import Mapping
from typing import Any

from ..models.vit import ViTConfig
from .hf_common import check_fixed
from .hf_encoders import Family, Keys
from .hf_vit import KEYS as VIT_KEYS
from .hf_vit import rows as vit_rows
from .table import HALF_EACH, HALVES, Drop, KeyTable, Row

NAME = "hf-deit"

_DISTILLED, _PLAIN, _HEADLESS = "DeiTForImageClassificationWithTeacher", "DeiTForImageClassification", "DeiTModel"

KEYS = Keys(VIT_KEYS.names, derived=("num_registers", "distilled"))


def rows(theirs: str, ours: str = "") -> tuple[Row | Drop, ...]:
    """Return the rows for a DeiT without a head, whose keys have these prefixes."""
    token = f"{theirs}embeddings.distillation_token"
    return (
        *vit_rows(theirs, ours),
        Row(f"{ours}registers", token),
        Row(f"{ours}distilled_token", token),
    )


_HEADS = tuple(f"{name}_classifier." for name in ("cls", "distillation"))
_TABLES = {
    _PLAIN: KeyTable(NAME, (*rows("deit."), Row("head.{p}", "classifier.{p}"))),
    _DISTILLED: KeyTable(
        NAME,
        (
            *rows("deit."),
            Row("head.weight", tuple(f"{head}weight" for head in _HEADS), HALVES),
            Row("head.bias", tuple(f"{head}bias" for head in _HEADS), HALF_EACH),
        ),
    ),
    _HEADLESS: KeyTable(NAME, rows("")),
}


def read_structure(config: Mapping[str, Any], num_classes: int, *, where: str, distilled: bool = False) -> ViTConfig:
    """Return our configuration for theirs. A value that is not stated has the default of transformers.

    Args:
        config: Theirs.
        num_classes: Width of the head.
        where: The file, for messages.
        distilled: Whether the second token is read, and not a register.
    """
    return KEYS.read(
        config, where=where, num_classes=num_classes, distilled=distilled, num_registers=0 if distilled else 1
    )


def write_structure(architecture: ViTConfig, layout: str, *, of: str = "") -> dict[str, Any]:
    """Return the keys that `read_structure` reads; arguments and errors as for `Keys.write`."""
    check_fixed(architecture, {"num_registers": 0 if architecture.distilled else 1}, layout, of=of)
    return {"model_type": "deit", **KEYS.write(architecture, layout, of=of)}


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    return read_structure(config, num_classes, where=where, distilled=kind == _DISTILLED)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    kind = _DISTILLED if architecture.distilled else _PLAIN
    if not architecture.num_classes:
        check_fixed(architecture, {"distilled": False}, NAME)
        kind = _HEADLESS
    return {"architectures": [kind], **write_structure(architecture, NAME)}


LAYOUT = Family(
    NAME,
    models="DeiT, distilled or not",
    model_types=("deit",),
    classifiers=[_PLAIN, _DISTILLED],
    headless=[_HEADLESS],
    tables=_TABLES,
    read=_read,
    write=_write,
    processor="DeiTImageProcessor",
).layout()
