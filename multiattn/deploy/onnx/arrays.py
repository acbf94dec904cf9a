"""The few functions of arrays that torch has and NumPy has not."""

import numpy as np
from jaxtyping import Float


def log_softmax(logits: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Return the log-probabilities of the last axis; of a row that is all -inf, NaN, as torch does."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # type: ignore[no-any-return]


def softmax(logits: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Return the probabilities of the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def sigmoid(logits: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Return the probability of each number by itself."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))  # type: ignore[no-any-return]
