"""The words of a transcript with the times at which they were spoken. Importing this imports no torch."""

from typing import NamedTuple

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces between words, by Whisper's codes: there each character is timed by itself."""

NOT_SAID = "not_said"
"""The flag of a word that is in a given text, but was not said."""


class SpokenWord(NamedTuple):
    """A word of a transcript and the time at which it was spoken."""

    text: str
    """The word as in the transcript, with its punctuation."""

    start: float
    """Start in seconds."""

    end: float
    """End in seconds; never before `start`."""

    score: float
    """Mean probability of the word's tokens; 0 to 1."""

    start_char: int
    """Index of the word's first character in the transcript."""

    end_char: int
    """Index of the character after its last."""

    pieces: tuple[int, ...]
    """Indices of the word's tokens, counted from the first token after the prompt."""

    flags: tuple[str, ...] = ()
    """`NOT_SAID` for a word of a given text that is not in the recording; it then has no duration."""

    speaker: str | None = None
    """Who says it, where speaker turns were given."""
