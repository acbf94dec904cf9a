"""What came of an input, ready to be written: made where the model is, and written by the process that was called."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .map_files import Written

if TYPE_CHECKING:
    from ..errors import InputError
    from ..export import Card
    from ..pipelines import Result

__all__ = ["Outcome"]


class Outcome(NamedTuple):
    """What came of one question about an input, or of the input where nothing is asked about it."""

    messages: Sequence[str] = ()
    """What must be said about it on standard error."""

    error: "InputError | None" = None
    """Why the input could not be used; None where it could."""

    is_damaged: bool = False
    """Whether a part of the input was missing."""

    shown: "Result | None" = None
    """What is written of the result; None where it is left out."""

    written: Written | None = None
    """The files with its maps."""

    card: "Card | None" = None
    """Its card in the index of the pages, if it has a page."""
