"""A training's vocabulary in its checkpoints: a state of another one would load, and mean nothing."""

from typing import Any

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer


def keep_vocabulary(checkpoint: dict[str, Any], tokenizer: Tokenizer | None) -> None:
    """Put the vocabulary into a checkpoint that is about to be written."""
    assert tokenizer is not None
    checkpoint["tokenizer"] = tokenizer.to_json()


def require_vocabulary(checkpoint: dict[str, Any], tokenizer: Tokenizer | None, *, texts: str) -> None:
    """Make sure that a checkpoint is of this vocabulary.

    Args:
        checkpoint: As it was read.
        tokenizer: Of the training that goes on from it.
        texts: What the vocabulary was learnt from, for the message.

    Raises:
        ModelError: It is of another.
    """
    assert tokenizer is not None
    if checkpoint.get("tokenizer") != tokenizer.to_json():
        raise ModelError(
            f"the state must be of a training with the same vocabulary, but is of another: the {texts} or "
            "the options of the tokenizer have changed. Restore them, or train anew."
        )
