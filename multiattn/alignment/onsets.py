"""From the attention of onset heads to the time at which each token begins and each word ends.

Notation: n tokens (rows: the attention with which each was predicted), m encoder frames, k steps of 10 ms.

The attention of the heads is shifted by their lags and added up, between the frames too. Of all paths that never run
backwards, the one on which the product of these sums is greatest gives the onset of each token. Where a pause follows
a word, the boundary heads still attend to where the word ends, and the others already to where the next begins.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from ..attention import Head, ProjectedContext
from ..inputs.text import Word
from ..models import SpeechRecognizer
from .dtw import monotonic_frames
from .onset_heads import BOUNDARY_BEFORE, KNOWN, MOST_HEADS, OnsetHead, Peaks, choose_onset_heads, peaks, score
from .teacher_forcing import SpeechReplay, check_heads, replayed_log_probs

STEP_SECONDS = 0.01
"""Resolution of the times."""

_CHANCE = 1e-3  # attention that any frame may have: one row without a peak does not bend the whole path
_LEAST_SECONDS = 0.04  # from the onset of a word to its end
_LEAST_OF_LETTER = 0.02  # seconds: nobody speaks faster
_SMOOTH_STEPS = 5  # over which the attention to a word's end is averaged


@dataclass(frozen=True, eq=False)
class TokenOnsets:
    """When the tokens of one transcript begin. Row i is that of token i of the text; the last is the end token's."""

    begins: Float[np.ndarray, " n"]
    """The onset of each token in seconds, never falling."""

    ends: Float32[np.ndarray, "n k"] | None
    """How strongly the boundary heads point to each step as the end of what comes before token i; None without any."""

    log_probs: Float32[np.ndarray, " tokens"] | None = None
    """The log-probability of each token of the text; None where they were not requested."""

    def word_end(self, following: int, *, after: float, before: float) -> float:
        """Return the end, in seconds, of the word before token `following`, between two onsets.

        Without boundary heads, which mark it, the word lasts until the next onset.
        """
        if self.ends is None:
            return before
        first, last = round((after + _LEAST_SECONDS) / STEP_SECONDS), round(before / STEP_SECONDS)
        last = min(last, self.ends.shape[1] - 1)
        if last <= first:
            return before
        smooth = np.convolve(self.ends[following], np.ones(_SMOOTH_STEPS) / _SMOOTH_STEPS, mode="same")
        return (first + int(smooth[first : last + 1].argmax())) * STEP_SECONDS


def known_onset_heads(heads: Sequence[Head] | None) -> tuple[OnsetHead, ...] | None:
    """Return the onset heads of the published model that has these alignment heads; None if there is no such model."""
    return None if heads is None else KNOWN.get(frozenset(heads))


def token_onsets(
    model: SpeechRecognizer,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_lengths: Sequence[int],
    frames: Sequence[int],
    frame_seconds: float,
    onset_heads: Sequence[OnsetHead] | None = None,
    scored: bool = False,
    special_ids: Collection[int] = (),
) -> list[TokenOnsets]:
    """Replay transcripts, one decoder pass for all of them, and find when each token begins.

    Args:
        model: A recognizer in eval mode.
        context: As `word_times` takes it, like the next four.
        tokens: Of each transcript.
        words: Of each transcript.
        prompt_lengths: Of each transcript.
        frames: Of each transcript.
        frame_seconds: Time from one encoder frame to the next, in seconds.
        onset_heads: The model's; None: they are found in each transcript, among the heads of the later half of the
            layers.
        scored: Whether the log-probabilities are wanted, which needs the logits of the whole vocabulary.
        special_ids: Tokens that no text consists of, which `log_probs` counts as impossible.

    Raises:
        ModelError: The arguments do not fit each other, or a transcript is longer than the decoder can read.
    """
    replay = SpeechReplay.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames)
    firsts = [
        _first_rows(of_text, rows.stop - rows.start - 1) for of_text, rows in zip(words, replay.rows, strict=True)
    ]
    kept = [_Kept(len(onset_heads) if onset_heads else MOST_HEADS, frame_seconds, rows) for rows in firsts]

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        kept[item].add(head, weights[replay.rows[item]])

    named = [(one.layer, one.head) for one in onset_heads] if onset_heads else check_heads(model, None)
    logits = replay.read(model, named, fold, last_only=not scored)
    found = []
    for i, (item, of_text) in enumerate(zip(kept, words, strict=True)):
        chosen = onset_heads or choose_onset_heads({head: [one] for head, one in item.peaks.items()}, [firsts[i]])
        log_probs = replayed_log_probs(replay.transcripts, i, logits, special_ids) if scored else None
        found.append(TokenOnsets(*_path(item.weights, chosen, frame_seconds, of_text), log_probs))
    return found


class _Kept:
    """The attention of the best heads of one transcript; of the others nothing is kept."""

    def __init__(self, most: int, frame_seconds: float, rows: Sequence[int]) -> None:
        self.weights: dict[Head, np.ndarray] = {}
        self.peaks: dict[Head, Peaks] = {}
        self._scores: dict[Head, float] = {}
        self._most, self._frame_seconds, self._rows = most, frame_seconds, rows

    def add(self, head: Head, weights: np.ndarray) -> None:
        found = peaks(weights[:-1], frame_seconds=self._frame_seconds)  # the end token says nothing of a head
        self.weights[head], self.peaks[head], self._scores[head] = weights, found, score(found, self._rows)
        if len(self.weights) > self._most:
            worst = min(self._scores, key=lambda one: (self._scores[one], one))
            del self.weights[worst], self.peaks[worst], self._scores[worst]


def _path(
    weights: Mapping[Head, np.ndarray], heads: Sequence[OnsetHead], frame_seconds: float, words: Sequence[Word]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Find the onset of each token, (n,), and the attention to the end before it, (n, k), from that of each head."""
    together = _shifted(weights, heads, frame_seconds)
    at = monotonic_frames(together + _CHANCE, gaps=_least_gaps(words, len(together)))
    boundary = [one for one in heads if one.lag < BOUNDARY_BEFORE]
    return at * STEP_SECONDS, _shifted(weights, boundary, frame_seconds) if boundary else None


def _first_rows(words: Sequence[Word], count: int) -> list[int]:
    """Return the rows, below `count`, that predict the first token of each word that is not punctuation."""
    rows = [min(word.pieces, default=-1) for word in words if word.text[:1].isalnum()]
    return [row for row in rows if 0 <= row < count]


def _least_gaps(words: Sequence[Word], count: int) -> list[int]:
    """Return how many steps the onset of each of `count` tokens is at least behind that of the token before."""
    gaps = [0] * count
    for word in words:
        letters = sum(map(str.isalnum, word.text))
        if letters and word.pieces and max(word.pieces) + 1 < count:
            seconds = max(_LEAST_SECONDS, letters * _LEAST_OF_LETTER)
            gaps[max(word.pieces) + 1] = round(seconds / STEP_SECONDS / len(word.pieces))
    return gaps


def _shifted(weights: Mapping[Head, np.ndarray], heads: Sequence[OnsetHead], frame_seconds: float) -> np.ndarray:
    """Return the weighted mean of the heads' attention at each step, (n, k), each head shifted by its lag."""
    n, m = weights[heads[0].layer, heads[0].head].shape
    steps = np.arange(max(1, round(m * frame_seconds / STEP_SECONDS))) * STEP_SECONDS
    total = np.zeros((n, len(steps)), dtype=np.float32)
    for one in heads:
        place = np.clip((steps + one.lag) / frame_seconds, 0, m - 1)  # frame j is centered at j frame_seconds
        low = np.minimum(place.astype(np.int64), max(m - 2, 0))
        high = np.minimum(low + 1, m - 1)
        part = (place - low).astype(np.float32)
        own = weights[one.layer, one.head]
        total += np.float32(one.weight) * (own[:, low] * (1 - part) + own[:, high] * part)
    return total / np.float32(sum(one.weight for one in heads))
