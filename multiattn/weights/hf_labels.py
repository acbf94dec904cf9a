"""The labels of transformers' classifiers, and how their outputs become scores: read and written."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from ..models.scores import ScoreFunction
from .json_files import check_value, read_part, short
from .sizes import check_count

PROBLEMS: dict[str, ScoreFunction] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "identity",
}
"""transformers' `problem_type`, and how the outputs become scores there, in `ImageClassificationPipeline`."""


def read_labels(config: Mapping[str, Any], *, where: str) -> tuple[str, ...]:
    """Return the labels of a classifier, in the order of its scores."""
    if config.get("id2label") is None:
        # before names are made for so many labels, which are transformers' own defaults
        count = check_count(config.get("num_labels", 2), "num_labels", where=where)
        return tuple(f"LABEL_{index}" for index in range(count))
    names = read_part(config, "id2label", where=where)
    try:
        return tuple(str(names[str(index)]) for index in range(len(names)))
    except KeyError as error:
        raise ModelError(
            f"{where}: `id2label` must have all of 0 to {len(names) - 1}, but lacks {error} instead"
        ) from error


def write_labels(labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys that `read_labels` reads."""
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def read_score_function(config: Mapping[str, Any], num_labels: int, *, where: str) -> ScoreFunction:
    """Return how the outputs become scores, by the `problem_type`.

    Raises:
        ModelError: It is unknown, or states one label out of one, which transformers refuses too.
    """
    problem = config.get("problem_type") or "single_label_classification"
    check_value(
        problem in PROBLEMS, "problem_type", must=f"one of {', '.join(PROBLEMS)}", value=short(problem), where=where
    )
    if config.get("problem_type") and PROBLEMS[problem] == "softmax" and num_labels == 1:
        raise ModelError(
            f"{where}: `problem_type` must be multi_label_classification or regression for one label, but is "
            f"{problem} instead"
        )
    return PROBLEMS[problem]


def write_score_function(score_function: ScoreFunction) -> dict[str, Any]:
    """Return the key that `read_score_function` reads; nothing for a softmax."""
    words = {ours: theirs for theirs, ours in PROBLEMS.items()}
    return {} if score_function == "softmax" else {"problem_type": words[score_function]}
