"""The options that `evaluate`, `evaluate maps` and `evaluate heads` share: what is measured, on which data."""

from .arguments import Option, not_empty

DATA = Option("--data", "FOLDER", not_empty, "the files (see below)", required=True)

SPLIT = Option("--split", "NAME", not_empty, "sub-folder to use (default: validation)", "validation")

MODEL = Option(
    "--model",
    "M",
    not_empty,
    "a model directory, a hub id or its short name, or a task's name; default: the small "
    "model for TASK that is shipped with this package",
)
