"""Model directories and published weights: our own layout, and a key table, used both ways, for each published one."""

from .adapt import adapt
from .bundle import VOCABULARY, ModelBundle
from .directory import LAYOUTS, convert, load_bundle, save_bundle
from .hf_bert import load_text_encoder
from .hub import TASKS, locate
from .state import load_into
from .table import CONCAT, SAME, TRANSPOSE, Drop, KeyTable, Row, Transform

__all__ = [
    "CONCAT",
    "LAYOUTS",
    "SAME",
    "TASKS",
    "TRANSPOSE",
    "VOCABULARY",
    "Drop",
    "KeyTable",
    "ModelBundle",
    "Row",
    "Transform",
    "adapt",
    "convert",
    "load_bundle",
    "load_into",
    "load_text_encoder",
    "locate",
    "save_bundle",
]
