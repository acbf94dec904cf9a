"""What the outputs of a classifier mean. Importing this imports no torch: results state it, too."""

from collections.abc import Mapping
from typing import Literal, get_args

ScoreFunction = Literal["softmax", "sigmoid", "identity"]
"""`softmax`: one of the labels is right. `sigmoid`: each label is right or not by itself, as in a multi-label model, or
in a model with one output. `identity`: the outputs are values, as in a regression."""

ScoreKind = Literal["probability", "independent probability", "value"]
"""What a score is: its share of 1, which all labels have together; 0 to 1 for each label by itself; any number."""

SCORE_FUNCTIONS: tuple[ScoreFunction, ...] = get_args(ScoreFunction)

SCORE_KINDS: Mapping[ScoreFunction, ScoreKind] = {
    "softmax": "probability",
    "sigmoid": "independent probability",
    "identity": "value",
}
"""The kind of score that each function gives."""
