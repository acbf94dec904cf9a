"""What the outputs of a classifier mean, and how they become scores.

Source: transformers, `ImageClassificationPipeline.postprocess`, whose rule for one output without a `problem_type` is
kept: a sigmoid. A softmax over one output would be 1 for every picture.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

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


def scores_of(outputs: Float[Tensor, "b n"], function: ScoreFunction) -> Float[Tensor, "b n"]:
    """Compute the scores of a batch, in float32.

    Args:
        outputs: What the model's head gives, one number for each label.
        function: How they become scores.
    """
    outputs = outputs.float()
    if function == "softmax":
        return outputs.softmax(dim=-1)
    return outputs.sigmoid() if function == "sigmoid" else outputs
