"""Word and character error rates of transcripts, by jiwer, after a stated normalization of both sides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jiwer

from ..errors import InputError, ModelError
from .normalize_english import normalize_english
from .normalize_text import normalize_text

Normalizer = Literal["english", "basic", "none"]
"""`english`: Whisper's rules for English (`normalize_english`), which write numbers in figures and undo contractions.
`basic`: lower case, without punctuation (`normalize_text`). `none`: texts as they are, but for runs of spaces."""


@dataclass(frozen=True)
class SpeechScores:
    """How far a set of transcripts is from what was said."""

    wer: float
    """Words substituted, left out and put in, over the words that were said; above 1 where far too many are put in."""

    cer: float
    """The same of characters, the single spaces between words included."""

    substitutions: int
    """Words that are others."""

    deletions: int
    """Words that were said and are missing."""

    insertions: int
    """Words that were not said."""

    words: int
    """Words that were said."""


def speech_scores(
    transcripts: Sequence[str], references: Sequence[str], *, normalize: Callable[[str], str]
) -> SpeechScores:
    """Compare transcripts with what was said; all errors together over all words together.

    A recording in which nothing was said counts, too: what is written about it is put in.

    Args:
        transcripts: One a recording.
        references: What was said in each.
        normalize: What is done to both first; one of `normalizer_of`.

    Raises:
        InputError: There are not as many transcripts as references, or no word was said in any recording.
    """
    if len(transcripts) != len(references):
        raise InputError(
            f"`transcripts` must be one for each of the {len(references)} recordings of `references`, but are "
            f"{len(transcripts)} instead."
        )
    said = [" ".join(normalize(text).split()) for text in references]
    written = [" ".join(normalize(text).split()) for text in transcripts]
    if not any(said):
        raise InputError("`references` must have a word left once they are normalized, but have none instead.")
    silent = [text for text, reference in zip(written, said, strict=True) if not reference]
    pairs = [(reference, text) for text, reference in zip(written, said, strict=True) if reference]
    by_word = jiwer.process_words([said for said, _ in pairs], [text for _, text in pairs])
    by_letter = jiwer.process_characters([said for said, _ in pairs], [text for _, text in pairs])
    put_in = sum(len(text.split()) for text in silent)
    words = by_word.hits + by_word.substitutions + by_word.deletions
    letters = by_letter.hits + by_letter.substitutions + by_letter.deletions
    wrong = by_word.substitutions + by_word.deletions + by_word.insertions + put_in
    wrong_letters = by_letter.substitutions + by_letter.deletions + by_letter.insertions + sum(map(len, silent))
    return SpeechScores(
        wer=wrong / words,
        cer=wrong_letters / letters,
        substitutions=by_word.substitutions,
        deletions=by_word.deletions,
        insertions=by_word.insertions + put_in,
        words=words,
    )


def normalizer_of(name: str) -> Callable[[str], str]:
    """The function that a `Normalizer` names.

    Raises:
        ModelError: It names none.
    """
    if name not in get_args(Normalizer):
        raise ModelError(f"`normalizer` must be one of {', '.join(get_args(Normalizer))}, but is {name!r} instead.")
    known: dict[str, Callable[[str], str]] = {"english": normalize_english, "basic": normalize_text, "none": str}
    return known[name]
