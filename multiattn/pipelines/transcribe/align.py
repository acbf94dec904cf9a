"""When each word of a known text is spoken, which of its words were not said, and what was said beyond it.

1. The recording is transcribed freely, with the times of its words (by the caller).
2. Words that the text and that transcript have in common, in order, take the transcript's times (`text_match`).
3. Between them, the text is replayed for a window of the recording, once with the words of the text and once with
   those of the transcript: the text was not said where it is far less probable (`forced`).
4. What remains is timed from the attention of that replay.

Times are in seconds of the recording.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...alignment import SpokenWord
from ...alignment.text_match import ALIKE, Match, match_words
from ...alignment.word_grouping import UNSPACED
from .align_pieces import Gap, Piece, cannot_be_said, gaps_of, pieces_of
from .cutting import is_silent
from .forced import ForcedText, ForcedWindow, ForcedWord
from .given_text import GivenText, key_of
from .model import SpeechModel

NOT_SAID = -4.0
"""The text of a gap was not said if it makes the window's text less probable than what the model wrote there by more
than this (natural logarithm) for each of its tokens and one more."""

NOT_EVEN_ALIKE = 3.0
"""The factor to that for words that are spelled like what the model wrote."""

SAME = 0.95
"""Words that are spelled as nearly alike as this are the same, divided in another way ("any one", "anyone")."""

_LEAST_SHARE = 0.2
"""Where less of the text and less of the transcript is in the other, the two do not belong together. Texts of one
language share about a tenth by chance."""

_MOST_TOKENS = 220  # of a piece: Whisper was trained with texts of up to 224
_WINDOW_SHARE = 0.93  # of the model's window that a piece may fill
_AFTER = 3  # words after a gap whose probabilities tell, too, whether the words in it belong there

Read = Callable[[float, float], Float[Tensor, " t"]]
"""Returns the samples between two times."""


class AlignedWord(NamedTuple):
    """A word of the text; as many as the text has."""

    start: float
    end: float
    score: float
    """Mean probability of its tokens, 0 to 1; 0 for a word that was not said."""

    is_said: bool


@dataclass
class Alignment:
    """A text in time."""

    words: list[AlignedWord]
    unwritten: list[int] = field(default_factory=list)
    """Indices of the words of the transcript that are not in the text."""

    mismatch: bool = False
    """Whether text and recording have hardly a word in common; no word of the text then counts as said."""

    texts: list[tuple[float, ForcedText, list[int]]] = field(default_factory=list)
    """Where maps are wanted, of each piece its start, its replay, and for each replayed word its index in the text, or
    a negative number."""


class FreeWords:
    """The words of a free transcript, as they are compared with a text."""

    def __init__(self, words: Sequence[SpokenWord], *, language: str | None) -> None:
        if language in UNSPACED:
            words = [letter for word in words for letter in _letters(word)]
        keyed = [(word, key) for word in words if (key := key_of(word.text, language))]
        self.words = [word for word, _ in keyed]
        self.keys = [key for _, key in keyed]


def _letters(word: SpokenWord) -> list[SpokenWord]:
    """Divide a word of several characters evenly."""
    count = len(word.text)
    step = (word.end - word.start) / max(1, count)
    return [
        word._replace(text=letter, start=word.start + i * step, end=word.start + (i + 1) * step)
        for i, letter in enumerate(word.text)
    ]


class TextAligner:
    """Aligns one text with one recording.

    Args:
        speech: The model.
        read: Reads the recording.
        duration: Of the recording.
        given: The text.
        free: The words of a free transcript, with times.
        language: The code of the language; None for a model of one.
        keep_texts: Whether to replay all of the text, for maps, and not only what is in gaps.
    """

    def __init__(
        self,
        speech: SpeechModel,
        read: Read,
        *,
        duration: float,
        given: GivenText,
        free: FreeWords,
        language: str | None,
        keep_texts: bool = False,
    ) -> None:
        self._speech, self._read, self._duration = speech, read, duration
        self._keep_texts = keep_texts
        self._given, self._found, self._language = given, free.words, language
        self.match: Match = match_words([word.key for word in given.words], free.keys)
        self._letters = [len(word.key) for word in given.words]
        self._found_letters = [len(key) for key in free.keys]
        upper = "".join(given.sentences)
        self._is_shouted = upper.isupper()
        spaced = language not in UNSPACED and speech.tokens.first_timestamp is not None
        self._space = " " if spaced else ""
        self._partner = {pair.given: pair.found for pair in self.match.pairs}
        self._given_tokens: dict[int, tuple[int, ...]] = {}
        self._found_tokens: dict[int, tuple[int, ...]] = {}

    def align(self) -> Alignment:
        """Align the text."""
        if self._is_mismatch():
            words = [AlignedWord(0.0, 0.0, 0.0, False)] * len(self._given.words)
            return Alignment(words, list(range(len(self._found))), mismatch=True)
        gaps = gaps_of(self.match, self._found, count=len(self._given.words), duration=self._duration)
        unsaid = set[int]()
        for gap in gaps:
            if gap.is_open and cannot_be_said(gap, self._letters):
                unsaid.update(i for i in gap.given if self.match.alike[i] < ALIKE)
        result = Alignment([self._as_found(i) for i in range(len(self._given.words))])
        for piece in self._pieces(gaps):
            inside = [part for gap in gaps if (part := _clipped(gap, piece)).is_open]
            if inside or self._keep_texts:
                self._force(piece, inside, unsaid, result)
        self._place_unsaid(result)
        for gap in gaps:
            # words of the text that were said there account for as much that the model wrote in another way
            others = [j for j in gap.found if self.match.alike_found[j] < ALIKE]
            misheard = [i for i in gap.given if result.words[i].is_said and self.match.alike[i] < ALIKE]
            if sum(self._found_letters[j] for j in others) > 2 * sum(self._letters[i] for i in misheard):
                result.unwritten += others
        return result

    def _is_mismatch(self) -> bool:
        shares = [
            sum(size for size, alike in zip(sizes, likeness, strict=True) if alike >= ALIKE) / max(1, sum(sizes))
            for sizes, likeness in (
                (self._letters, self.match.alike),
                (self._found_letters, self.match.alike_found),
            )
        ]
        return len(self._found) > 0 and max(shares) < _LEAST_SHARE

    def _pieces(self, gaps: Sequence[Gap]) -> list[Piece]:
        def fits(given: range, found: range) -> bool:
            tokens = sum(len(self._tokens_given(i)) for i in given) + sum(len(self._tokens_found(j)) for j in found)
            return tokens <= 2 * most  # of a word that both have, one is used

        prompt = len(self._speech.tokens.prompt(language=self._language))
        most = min(_MOST_TOKENS, self._speech.model.config.decoder.max_length - prompt - 1)
        return pieces_of(
            self.match,
            gaps,
            self._found,
            count=len(self._given.words),
            letters=self._letters,
            duration=self._duration,
            longest=_WINDOW_SHARE * self._speech.preprocessing.max_seconds,
            fits=fits,
        )

    def _as_found(self, index: int) -> AlignedWord:
        found = self._partner.get(index)
        if found is None:
            return AlignedWord(0.0, 0.0, 0.0, False)
        word = self._found[found]
        return AlignedWord(word.start, word.end, word.score, True)

    def _force(self, piece: Piece, gaps: Sequence[Gap], unsaid: set[int], result: Alignment) -> None:
        """Find which words in the gaps of a piece were said, and their times."""
        end = min(piece.end, piece.start + self._speech.preprocessing.max_seconds)
        window = ForcedWindow.of(self._speech, self._read(piece.start, end), language=self._language)
        for gap in gaps:
            if is_silent(self._read(gap.start, min(gap.end, gap.start + self._speech.preprocessing.max_seconds))):
                unsaid.update(gap.given)
        in_doubt = [gap for gap in gaps if any(i not in unsaid and self.match.alike[i] < SAME for i in gap.given)]
        if in_doubt:
            scored = self._scored(window, piece, gaps, in_doubt, unsaid)
            for gap, gain in zip(in_doubt, scored, strict=True):
                for i in gap.given:
                    alike = self.match.alike[i]
                    if alike < SAME and gain < (NOT_EVEN_ALIKE * NOT_SAID if alike >= ALIKE else NOT_SAID):
                        unsaid.add(i)
        text, owners = self._text(window, piece, gaps, unsaid, prefer_given=True)
        if text is None:
            return
        if self._keep_texts:
            result.texts.append((piece.start, text, owners))
        for word, owner in zip(text.times(), owners, strict=True):
            if owner >= 0 and owner not in self._partner:
                start, end = piece.start + word.start, piece.start + word.end
                result.words[owner] = AlignedWord(round(start, 6), round(end, 6), word.score, True)

    def _scored(
        self, window: ForcedWindow, piece: Piece, gaps: Sequence[Gap], in_doubt: Sequence[Gap], unsaid: set[int]
    ) -> list[float]:
        """Return, for each gap in doubt, by how much its text changes the log-probability, a token and one more."""
        with_text, owners = self._text(window, piece, gaps, unsaid, prefer_given=True)
        without, others = self._text(window, piece, gaps, unsaid, prefer_given=False)
        if with_text is None:
            return [-np.inf] * len(in_doubt)
        gains = []
        for gap in in_doubt:
            tokens = sum(len(self._tokens_given(i)) for i in gap.given if i not in unsaid)
            likely = _around(with_text.log_probs, owners, gap)
            base = 0.0 if without is None else _around(without.log_probs, others, gap)
            gains.append((likely - base) / (tokens + 1))
        return gains

    def _text(
        self, window: ForcedWindow, piece: Piece, gaps: Sequence[Gap], unsaid: set[int], *, prefer_given: bool
    ) -> tuple[ForcedText | None, list[int]]:
        """Replay a piece: words that both texts have as the model wrote them, and in gaps those of one of the two.

        Returns:
            The replayed text, None where it has no word; and for each of its words the index in the text, or -1 - j
            for word j of the transcript that is not in the text.
        """
        words, owners, found = list[ForcedWord](), list[int](), piece.found.start
        of_gap = {gap.given.start: gap for gap in gaps}
        index = piece.given.start

        def add(text: str, tokens: tuple[int, ...], owner: int) -> None:
            if tokens and sum(len(word.tokens) for word in words) + len(tokens) <= window.room:
                words.append(ForcedWord(text, tokens))
                owners.append(owner)

        def add_found(stop: int) -> None:
            nonlocal found
            while found < stop:
                add(self._found[found].text, self._tokens_found(found), -1 - found)
                found += 1

        while index < piece.given.stop:
            gap = of_gap.get(index)
            if gap is None:
                partner = self._partner[index]
                add_found(partner)  # said, but not in the text
                add(self._found[partner].text, self._tokens_found(partner), index)
                found, index = partner + 1, index + 1
                continue
            said = [i for i in gap.given if i not in unsaid]
            if said and prefer_given:
                for i in said:
                    add(self._given.words[i].text, self._tokens_given(i), i)
                found = max(found, gap.found.stop)
            else:
                add_found(gap.found.stop)
            index = min(gap.given.stop, piece.given.stop)
        add_found(piece.found.stop)
        return (window.read(words) if words else None), owners

    def _tokens_given(self, index: int) -> tuple[int, ...]:
        known = self._given_tokens.get(index)
        if known is None:
            text = self._given.words[index].text
            known = self._encoded(text.lower() if self._is_shouted else text)
            self._given_tokens[index] = known
        return known

    def _tokens_found(self, index: int) -> tuple[int, ...]:
        known = self._found_tokens.get(index)
        if known is None:
            known = self._found_tokens[index] = self._encoded(self._found[index].text)
        return known

    def _encoded(self, text: str) -> tuple[int, ...]:
        return tuple(self._speech.tokenizer.encode(f"{self._space}{text}"))

    def _place_unsaid(self, result: Alignment) -> None:
        """Let words that were not said stand, without duration, where the word before them ends."""
        at = 0.0
        for i, word in enumerate(result.words):
            if word.is_said:
                start = max(at, word.start)
                at = max(start, word.end)
                result.words[i] = word._replace(start=start, end=at)
            else:
                result.words[i] = word._replace(start=at, end=at)


def _clipped(gap: Gap, piece: Piece) -> Gap:
    """Return the part of a gap that lies in a piece."""

    def common(one: range, other: range) -> range:
        start = max(one.start, other.start)
        return range(start, max(start, min(one.stop, other.stop)))

    return gap._replace(given=common(gap.given, piece.given), found=common(gap.found, piece.found))


def _around(log_probs: np.ndarray, owners: Sequence[int], gap: Gap) -> float:
    """Return the log-probability of the words in a gap and of some after it."""
    inside = [k for k, owner in enumerate(owners) if (owner in gap.given if owner >= 0 else -1 - owner in gap.found)]
    first = inside[0] if inside else next((k for k, owner in enumerate(owners) if owner >= gap.given.stop), len(owners))
    stop = inside[-1] + 1 if inside else first
    return float(log_probs[first : stop + _AFTER].sum())
