"""What the outputs of a classifier mean, and how they become scores.

Source: transformers, `ImageClassificationPipeline.postprocess`, whose rule for one output without a `problem_type` is
kept: a sigmoid. A softmax over one output would be 1 for every picture.
"""

from jaxtyping import Float
from torch import Tensor

from ..score_kinds import SCORE_FUNCTIONS, SCORE_KINDS, ScoreFunction, ScoreKind

__all__ = ["SCORE_FUNCTIONS", "SCORE_KINDS", "ScoreFunction", "ScoreKind", "scores_of"]


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
