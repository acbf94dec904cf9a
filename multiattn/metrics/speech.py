"""Word and character error rates of transcripts, by jiwer, after a stated normalization of both sides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jiwer

from ..checks import require
from ..errors import InputError
from .normalize_english import normalize_english, normalize_text

Normalizer = Literal["english", "basic", "none"]
"""`english`: Whisper's rules for English (`normalize_english`), with numbers in digits and contractions in full.
`basic`: lower case, without punctuation (`normalize_text`). `none`: unchanged texts, except for runs of spaces."""


@dataclass(frozen=True)
class SpeechScores:
    """Error rates of a set of transcripts."""

    wer: float
    """Substituted, deleted and inserted words, over the words of the references; may exceed 1."""

    cer: float
    """The same for characters, the single spaces between words included."""

    substitutions: int
    """Words that were replaced by others."""

    deletions: int
    """Words that were said and are missing."""

    insertions: int
    """Words that were not said."""

    words: int
    """Words of the references."""


def speech_scores(
    transcripts: Sequence[str], references: Sequence[str], *, normalize: Callable[[str], str]
) -> SpeechScores:
    """Compare transcripts with references: all errors of the set over all words of the set.

    Where nothing was said in a recording, all words of its transcript are insertions.

    Args:
        transcripts: One transcript per recording.
        references: What was said in each recording.
        normalize: Applied to both before they are compared; see `normalizer_of`.

    Raises:
        InputError: The numbers of transcripts and references differ, or no reference has a word.
    """
    count, must = len(transcripts), f"that of the recordings in `references` ({len(references)})"
    require(count == len(references), "len(transcripts)", must=must, value=count, error=InputError)
    said = [" ".join(normalize(text).split()) for text in references]
    written = [" ".join(normalize(text).split()) for text in transcripts]
    if not any(said):
        raise InputError("`references` must have at least one word after normalization, but have none instead.")
    silent = [text for text, reference in zip(written, said, strict=True) if not reference]
    pairs = [(reference, text) for text, reference in zip(written, said, strict=True) if reference]
    by_word = jiwer.process_words([said for said, _ in pairs], [text for _, text in pairs])
    by_letter = jiwer.process_characters([said for said, _ in pairs], [text for _, text in pairs])
    inserted = sum(len(text.split()) for text in silent)
    words = by_word.hits + by_word.substitutions + by_word.deletions
    letters = by_letter.hits + by_letter.substitutions + by_letter.deletions
    wrong = by_word.substitutions + by_word.deletions + by_word.insertions + inserted
    return SpeechScores(
        wer=wrong / words,
        cer=(by_letter.substitutions + by_letter.deletions + by_letter.insertions + sum(map(len, silent))) / letters,
        substitutions=by_word.substitutions,
        deletions=by_word.deletions,
        insertions=by_word.insertions + inserted,
        words=words,
    )


def normalizer_of(name: str) -> Callable[[str], str]:
    """Return the function for the name of a `Normalizer`.

    Raises:
        ModelError: The name is unknown.
    """
    require(name in get_args(Normalizer), "normalizer", must=f"one of {', '.join(get_args(Normalizer))}", value=name)
    known: dict[str, Callable[[str], str]] = {"english": normalize_english, "basic": normalize_text, "none": str}
    return known[name]
