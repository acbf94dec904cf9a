"""The layout of transformers' picture tower of CLIP alone, as a classifier or headless: read and written.

The classifier reads the mean of the patches before the last norm, which only the class token has.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..models.vit import ViTConfig
from .hf_clip import KEYS as TOWER_KEYS
from .hf_clip import PROCESSOR, vision_rows
from .hf_common import check_fixed
from .hf_encoders import Family, class_of
from .json_files import read_part
from .table import Drop, KeyTable, Row

NAME = "hf-clip-vision"

_CLASSIFIER, _HEADLESS = "CLIPForImageClassification", "CLIPVisionModel"
_TYPE = "clip_vision_model"  # of the tower; the classifier's is that of both towers

KEYS = replace(TOWER_KEYS, derived=("pool", "pool_norm"), values={**TOWER_KEYS.values, "final_norm": False})


def _tower(theirs: str) -> tuple[Row | Drop, ...]:
    """Return the rows of the tower but for its last norm."""
    return tuple(row for row in vision_rows(theirs, "") if not (isinstance(row, Row) and row.ours == "norm.{p}"))


_NORM = "post_layernorm.{p}"
_TABLES = {
    _CLASSIFIER: KeyTable(
        NAME,
        (
            *_tower("vision_model."),
            Row("head.{p}", "classifier.{p}"),
            Drop(f"vision_model.{_NORM}", "norms the class token, which this head does not read"),
        ),
    ),
    _HEADLESS: KeyTable(NAME, (*_tower(""), Row("pool_norm.{p}", _NORM))),
}


def _pooling(num_classes: int) -> dict[str, Any]:
    return {"pool": "mean" if num_classes else "class", "pool_norm": not num_classes}


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    tower = config if kind == _HEADLESS else read_part(config, "vision_config", where=where)
    return KEYS.read(tower, where=where, num_classes=num_classes, **_pooling(num_classes))


def _write(architecture: ViTConfig) -> dict[str, Any]:
    check_fixed(architecture, _pooling(architecture.num_classes), NAME)
    tower = {"model_type": _TYPE, **KEYS.write(architecture, NAME)}
    if not architecture.num_classes:
        return {"architectures": [_HEADLESS], **tower}
    return {"architectures": [_CLASSIFIER], "model_type": "clip", "vision_config": tower}


LAYOUT = Family(
    NAME,
    models="the picture tower of CLIP",
    model_types=(_TYPE, "clip"),
    classifiers=[_CLASSIFIER],
    headless=[_HEADLESS],
    tables=_TABLES,
    read=_read,
    write=_write,
    processor=PROCESSOR,
    recognizes=lambda config: config["model_type"] == _TYPE or class_of(config) == _CLASSIFIER,
    older="vision_model.",
).layout()
