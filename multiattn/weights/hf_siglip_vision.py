"""The layout of transformers' picture tower of SigLIP alone, as a classifier or headless: read and written.

The classifier reads the mean of the patches, and so has no use for the tower's learned query. SigLIP 2 for pictures of
one size is the same.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..models.vit import ViTConfig
from .hf_common import check_fixed
from .hf_encoders import Family, class_of
from .hf_siglip import KEYS as TOWER_KEYS
from .hf_siglip import PROCESSOR, vision_rows
from .json_files import check_value, read_part
from .table import Drop, KeyTable, Row

NAME = "hf-siglip-vision"

_CLASSIFIER, _HEADLESS = "SiglipForImageClassification", "SiglipVisionModel"
_TYPE = "siglip_vision_model"  # of the tower; the classifier's is that of both towers

KEYS = replace(TOWER_KEYS, derived=("pool",), values={"class_token": False})

_TABLES = {
    _CLASSIFIER: KeyTable(
        NAME,
        (
            *(
                row
                for row in vision_rows("vision_model.", "")
                if not (isinstance(row, Row) and row.ours.startswith("pool."))
            ),
            Row("head.{p}", "classifier.{p}"),
            Drop("vision_model.head.{rest}", "the learned query, which this head does not read"),
        ),
    ),
    _HEADLESS: KeyTable(NAME, vision_rows("", "")),
}


def _read(config: Mapping[str, Any], *, kind: str, num_classes: int, where: str) -> ViTConfig:
    tower = config if kind == _HEADLESS else read_part(config, "vision_config", where=where)
    has_query = tower.get("vision_use_head", True)
    check_value(isinstance(has_query, bool), "vision_use_head", must="true or false", value=has_query, where=where)
    pool = "mean" if num_classes or not has_query else "attention"
    return KEYS.read(tower, where=where, num_classes=num_classes, pool=pool)


def _write(architecture: ViTConfig) -> dict[str, Any]:
    has_query = architecture.pool == "attention" and not architecture.num_classes
    check_fixed(architecture, {"pool": "attention" if has_query else "mean"}, NAME)
    tower = {"model_type": _TYPE, **KEYS.write(architecture, NAME), "vision_use_head": has_query}
    if not architecture.num_classes:
        return {"architectures": [_HEADLESS], **tower}
    return {"architectures": [_CLASSIFIER], "model_type": "siglip", "vision_config": tower}


LAYOUT = Family(
    NAME,
    models="the picture tower of SigLIP",
    model_types=(_TYPE, "siglip"),
    classifiers=[_CLASSIFIER],
    headless=[_HEADLESS],
    tables=_TABLES,
    read=_read,
    write=_write,
    processor=PROCESSOR,
    recognizes=lambda config: config["model_type"] == _TYPE or class_of(config) == _CLASSIFIER,
    older="vision_model.",
).layout()
