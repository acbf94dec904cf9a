"""Options of a task that are fields of a text encoder's or decoder's configuration."""

from collections.abc import Sequence
from typing import Any

from multiattn.checks import require_fields
from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.models.text_decoder import TextDecoderConfig

TEXT_TRAINING_ONLY = ("dropout", "attention_dropout")
"""Fields that change no weight: they can be chosen anew for a trained model."""

OF_THE_DATA = ("vocab_size", "start_token", "end_token", "pad_token")
"""Fields that the tokenizer decides about."""


def check_text_fields(values: dict[str, Any], config: type, name: str, *, but: Sequence[str]) -> None:
    """Make sure that a text encoder or decoder can have these fields.

    Args:
        values: The fields.
        config: Whose they are.
        name: Of the option.
        but: Fields that somebody else decides about.

    Raises:
        ModelError: A field is unknown, of another kind, or no such part can be.
    """
    require_fields(values, config, name, but=but)
    try:
        config(**values)
    except ValueError as error:
        raise ModelError(f"`{name}` cannot be used: {error}") from error


def special_tokens(tokenizer: Tokenizer) -> dict[str, Any]:
    """The fields that `OF_THE_DATA` names, for a tokenizer that was learnt here."""
    special = {f"{name.lower()}_token": tokenizer.id_of(f"[{name}]") for name in ("START", "END", "PAD")}
    return {"vocab_size": tokenizer.vocab_size} | special


def new_decoder(values: dict[str, Any], tokenizer: Tokenizer, *, context_dim: int) -> TextDecoderConfig:
    """A decoder for the tokenizer's texts, whose cross-attention is so wide where nothing else is said."""
    return TextDecoderConfig(**{"context_dim": context_dim} | special_tokens(tokenizer) | values)
