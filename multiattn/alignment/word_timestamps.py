"""Word times of a finished transcript: decoder pass -> alignment path -> words -> corrections.

Notation: b recordings, m encoder frames, C width of what the decoder attends to, t samples.

Without its corrections, `word_times` computes what openai-whisper's `find_alignment` (timing.py) does.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..attention import Head, ProjectedContext
from ..checks import check_one_each
from ..errors import ModelError
from ..inputs.text import Word
from ..models import SpeechRecognizer
from .dtw import begin_frames, monotonic_frames
from .silence import exclude_pauses
from .teacher_forcing import TokenAttention, token_attention
from .word_grouping import SpokenWord, merge_punctuation


def word_times(
    model: SpeechRecognizer,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_lengths: Sequence[int],
    frames: Sequence[int],
    heads: Sequence[Head] | None = None,
    frame_seconds: float = 0.02,
    log_probs: Sequence[Sequence[float]] | None = None,
    special_ids: Collection[int] = (),
    attention: Sequence[TokenAttention] | None = None,
    merge: bool = True,
    samples: Sequence[Float[Tensor, " _"]] | None = None,
    sample_rate: int = 16_000,
    min_seconds: float = 0.0,
) -> list[list[SpokenWord]]:
    """Compute when each word of each transcript was spoken, in one decoder pass.

    `merge`, `samples` and `min_seconds` switch the corrections on, which are applied in this order.

    Args:
        model: A recognizer in eval mode.
        context: The encoder's output for the recordings, or the decoder's `project_context` of it. A recording may have
            several transcripts, which must follow each other.
        tokens: For each transcript, its tokens from the start token on, prompt included; the end token may follow.
        words: For each transcript, its words in order, from `Tokenizer.words` or `group_words`; their pieces count from
            the first token after the prompt. May be empty.
        prompt_lengths: For each transcript, the number of tokens before its text, the start token included; at least 1.
        frames: For each transcript, the number of encoder frames of its recording, padding excluded; at least 1.
        heads: The alignment heads, (layer, head); None: all heads of the later half of the layers.
        frame_seconds: Time from one encoder frame to the next, in seconds.
        log_probs: For each transcript, the log-probabilities of its text's tokens, where they are known from decoding;
            None: they are computed.
        special_ids: Tokens that are no text, as `Tokenizer.special_ids`: computed probabilities exclude them.
        attention: For each transcript, what `token_attention` returned for it; None: `token_attention` is called.
        merge: Whether punctuation becomes part of the word that it belongs to, without changing the word's times.
        samples: For each transcript, its recording, mono, from the first frame on. Pauses are then excluded from the
            words: the alignment path gives the time of each pause to a neighboring word. None: times stay as they are.
        sample_rate: Sampling rate of `samples` in Hz.
        min_seconds: The shortest duration of a word: shorter words take time from their neighbors. 0: none does.

    Returns:
        For each transcript, its words in order and without overlap.

    Raises:
        ModelError: The arguments do not fit each other, a head does not exist, or a transcript is longer than the
            decoder can read.
    """
    check_one_each(len(tokens), "transcripts", words=words, log_probs=log_probs, samples=samples, attention=attention)
    if attention is None:
        attention = token_attention(
            model,
            context,
            tokens,
            prompt_lengths=prompt_lengths,
            frames=frames,
            heads=heads,
            scored=log_probs is None,
            special_ids=special_ids,
        )
    found = []
    for i, of_tokens in enumerate(attention):
        known = of_tokens.log_probs if log_probs is None else np.asarray(log_probs[i], dtype=np.float64)
        timed = _on_path(words[i], of_tokens, known, frame_seconds=frame_seconds)
        if merge:
            timed = merge_punctuation(timed)
        if samples is not None:
            timed = _outside_pauses(timed, of_tokens, samples[i], rate=sample_rate, frame_seconds=frame_seconds)
        if min_seconds:
            end = frames[i] * frame_seconds if samples is None else len(samples[i]) / sample_rate
            timed = with_min_duration(timed, min_seconds, end=end)
        found.append(timed)
    return found


def _on_path(
    words: Sequence[Word], attention: TokenAttention, log_probs: np.ndarray | None, *, frame_seconds: float
) -> list[SpokenWord]:
    """Return words with the times of the alignment path: each lasts until its next token begins.

    Raises:
        ModelError: The words or the log-probabilities do not fit the attention.
    """
    if not words:
        return []
    count = len(attention.evidence) - 1  # tokens of the text; the last row is that of the end token
    if log_probs is None or len(log_probs) < count:
        given = "none" if log_probs is None else len(log_probs)
        raise ModelError(f"`log_probs` must be of all {count} tokens of the text, but are {given} instead.")
    for word in words:
        if not word.pieces or min(word.pieces) < 0 or max(word.pieces) >= count:
            raise ModelError(
                f"`pieces` of the word {word.text!r} must be from 0 to {count - 1}, but are {word.pieces} instead."
            )
    begins = begin_frames(attention.evidence) * frame_seconds  # (count + 1,)
    return [
        SpokenWord(
            text=word.text,
            start=float(begins[min(word.pieces)]),
            end=float(begins[max(word.pieces) + 1]),
            score=float(np.exp(log_probs[list(word.pieces)]).mean()),
            start_char=word.start,
            end_char=word.end,
            pieces=word.pieces,
        )
        for word in words
    ]


def _outside_pauses(
    words: Sequence[SpokenWord], attention: TokenAttention, samples: Tensor, *, rate: int, frame_seconds: float
) -> list[SpokenWord]:
    """Return words with the recording's pauses excluded; the attention tells which pauses lie between two words."""
    if not words:
        return []
    times = (monotonic_frames(attention.mean[:-1]) + 0.5) * frame_seconds
    spans = exclude_pauses(
        [(word.start, word.end) for word in words],
        samples.cpu().numpy(),
        rate=rate,
        attended=[(float(times[min(word.pieces)]), float(times[max(word.pieces)])) for word in words],
    )
    return [word._replace(start=start, end=end) for word, (start, end) in zip(words, spans, strict=True)]


def with_min_duration(words: Sequence[SpokenWord], seconds: float, *, end: float) -> list[SpokenWord]:
    """Return words that last at least `seconds` each, so that each can be seen and heard; neighbors lose that time.

    The alignment path may pass several tokens in one frame, and then all but one of them have no duration.

    Args:
        words: In order and without overlap.
        seconds: The shortest duration; less where the recording is too short for it.
        end: The latest time, in seconds, at which a word may end.
    """
    if not words:
        return []
    seconds = min(seconds, end / len(words))
    bounds = [(word.start, word.end) for word in words]
    for i, (start, stop) in enumerate(bounds):
        start = max(start, bounds[i - 1][1] if i else 0.0)
        bounds[i] = (start, max(stop, start + seconds))
    for i in reversed(range(len(bounds))):
        stop = min(bounds[i][1], bounds[i + 1][0] if i + 1 < len(bounds) else end)
        bounds[i] = (min(bounds[i][0], max(0.0, stop - seconds)), stop)
    return [word._replace(start=start, end=stop) for word, (start, stop) in zip(words, bounds, strict=True)]
