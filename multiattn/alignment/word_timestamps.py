"""Word times of a finished transcript: decoder pass -> onsets of tokens -> words -> edges of the sound.

Notation: b recordings, m encoder frames, C width of what the decoder attends to, t samples.

With the recording at hand, words are timed by the model's onset heads and by the edges of the sound. Without it,
`word_times` computes what openai-whisper's `find_alignment` (timing.py) does.
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
from .dtw import begin_frames
from .onsets import TokenOnsets, known_onset_heads, token_onsets
from .silence import exclude_pauses
from .teacher_forcing import TokenAttention, check_heads, token_attention
from .word_grouping import SpokenWord, merge_punctuation

LEAST_SECONDS = 0.04
"""The shortest duration of a word that is timed by its sound, in seconds: shorter ones cannot be seen or heard."""

REACH_FRAMES = 5
"""How far a start or an end may move to an edge of the sound, in encoder frames: attention is less precise than one."""

LONGEST_MEDIANS, LONGEST_MEDIAN_SECONDS = 2.0, 0.7
"""At the ends of sentences a word lasts at most this many times the median duration of a word, which counts as at most
so many seconds; or the same of the median duration of a letter, if that is longer.

Source: openai-whisper, timing.py."""

SENTENCE_ENDS = ".。!！?？…"


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

    With `samples`, words begin where the model's onset heads and the sound say, and last at least `LEAST_SECONDS`;
    without, they are timed by the alignment path alone, as in openai-whisper.

    Args:
        model: A recognizer in eval mode.
        context: The encoder's output for the recordings, or the decoder's `project_context` of it. A recording may have
            several transcripts, which must follow each other.
        tokens: For each transcript, its tokens from the start token on, prompt included; the end token may follow.
        words: For each transcript, its words in order, from `Tokenizer.words` or `group_words`; their pieces count from
            the first token after the prompt. May be empty.
        prompt_lengths: For each transcript, the number of tokens before its text, the start token included; at least 1.
        frames: For each transcript, the number of encoder frames of its recording, padding excluded; at least 1.
        heads: The alignment heads, (layer, head); None: all heads of the later half of the layers. With `samples`, they
            tell whether the model is a published one with known onset heads (`onset_heads.KNOWN`); those of other
            models are found in each transcript, among the heads of the later half of the layers.
        frame_seconds: Time from one encoder frame to the next, in seconds.
        log_probs: For each transcript, the log-probabilities of its text's tokens, where they are known from decoding;
            None: they are computed.
        special_ids: Tokens that are no text, as `Tokenizer.special_ids`: computed probabilities exclude them.
        attention: For each transcript, what `token_attention` returned for it; None: `token_attention` is called. Not
            used with `samples`.
        merge: Whether punctuation becomes part of the word that it belongs to, without changing the word's times.
        samples: For each transcript, its recording, mono, from the first frame on; pauses then belong to no word. None:
            the recording is not looked at.
        sample_rate: Sampling rate of `samples` in Hz.
        min_seconds: The shortest duration of a word: shorter words take time from their neighbors. 0: none does.

    Returns:
        For each transcript, its words in order and without overlap.

    Raises:
        ModelError: The arguments do not fit each other, a head does not exist, or a transcript is longer than the
            decoder can read.
    """
    check_one_each(len(tokens), "transcripts", words=words, log_probs=log_probs, samples=samples, attention=attention)
    given = [None] * len(tokens) if log_probs is None else [np.asarray(one, dtype=np.float64) for one in log_probs]
    if samples is None:
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
        found = [
            _on_path(of_text, of_tokens, of_tokens.log_probs if own is None else own, frame_seconds=frame_seconds)
            for of_text, of_tokens, own in zip(words, attention, given, strict=True)
        ]
        found = [merge_punctuation(timed) if merge else timed for timed in found]
        ends = [count * frame_seconds for count in frames]
    else:
        check_heads(model, heads)
        onsets = token_onsets(
            model,
            context,
            tokens,
            words,
            prompt_lengths=prompt_lengths,
            frames=frames,
            frame_seconds=frame_seconds,
            onset_heads=known_onset_heads(heads),
            scored=log_probs is None,
            special_ids=special_ids,
        )
        found = [
            _by_onsets(
                of_text,
                of_tokens,
                of_tokens.log_probs if own is None else own,
                sound,
                sample_rate,
                frame_seconds=frame_seconds,
                merge=merge,
            )
            for of_text, of_tokens, own, sound in zip(words, onsets, given, samples, strict=True)
        ]
        ends = [len(sound) / sample_rate for sound in samples]
    return [
        with_min_duration(timed, min_seconds, end=end) if min_seconds else timed
        for timed, end in zip(found, ends, strict=True)
    ]


def _on_path(
    words: Sequence[Word], attention: TokenAttention, log_probs: np.ndarray | None, *, frame_seconds: float
) -> list[SpokenWord]:
    """Return words with the times of the alignment path: each lasts until its next token begins.

    Raises:
        ModelError: The words or the log-probabilities do not fit the attention.
    """
    if not words:
        return []
    _check_words(words, log_probs, count=len(attention.evidence) - 1)  # the last row is that of the end token
    begins = begin_frames(attention.evidence) * frame_seconds  # (count + 1,)
    spans = [(float(begins[min(word.pieces)]), float(begins[max(word.pieces) + 1])) for word in words]
    return _spoken(words, spans, log_probs)


def _by_onsets(
    words: Sequence[Word],
    onsets: TokenOnsets,
    log_probs: np.ndarray | None,
    samples: Tensor,
    rate: int,
    *,
    frame_seconds: float,
    merge: bool,
) -> list[SpokenWord]:
    """Return words that begin and end where their tokens and the sound do.

    Raises:
        ModelError: The words or the log-probabilities do not fit the onsets.
    """
    if not words:
        return []
    _check_words(words, log_probs, count=len(onsets.begins) - 1)
    spoken = _spoken(words, [(float(onsets.begins[min(word.pieces)]),) * 2 for word in words], log_probs)
    timed = merge_punctuation(spoken) if merge else spoken
    sounding = [_sounding(word, words) for word in timed]  # without their punctuation, which takes no time
    starts = [float(onsets.begins[first]) for first, _ in sounding]
    seconds = len(samples) / rate
    spans = [
        (start, onsets.word_end(last + 1, after=start, before=following))
        for (_, last), start, following in zip(sounding, starts, [*starts[1:], seconds], strict=True)
    ]
    spans = exclude_pauses(
        spans,
        samples.cpu().numpy(),
        rate=rate,
        reach=REACH_FRAMES * frame_seconds,
        ends_known=onsets.ends is not None,
    )
    timed = [word._replace(start=start, end=end) for word, (start, end) in zip(timed, spans, strict=True)]
    return with_min_duration(_plausible(timed), LEAST_SECONDS, end=seconds)


def _sounding(word: SpokenWord, words: Sequence[Word]) -> tuple[int, int]:
    """Return the first and the last token of a word without its punctuation; of all of it, if it is nothing else."""
    own = [one for one in words if word.start_char <= one.start and one.end <= word.end_char]
    own = [one for one in own if any(character.isalnum() for character in one.text)] or own
    return min(own[0].pieces), max(own[-1].pieces)


def _plausible(words: Sequence[SpokenWord]) -> list[SpokenWord]:
    """Shorten words at the ends of sentences that last much longer than the others, for their letters too."""
    durations = np.array([word.end - word.start for word in words])
    letters = np.array([max(1, sum(map(str.isalnum, word.text))) for word in words])
    is_timed = durations > 0
    if not is_timed.any():
        return list(words)
    median = min(float(np.median(durations[is_timed])), LONGEST_MEDIAN_SECONDS)
    of_letter = min(float(np.median((durations / letters)[is_timed])), LONGEST_MEDIAN_SECONDS)
    found = list(words)
    for i, word in enumerate(words):
        longest = LONGEST_MEDIANS * max(median, of_letter * float(letters[i]))
        if word.text[-1:] in SENTENCE_ENDS and word.end - word.start > longest:
            found[i] = word._replace(end=word.start + longest)
        elif i and words[i - 1].text[-1:] in SENTENCE_ENDS and word.end - word.start > longest:
            found[i] = word._replace(start=word.end - longest)
    return found


def _check_words(words: Sequence[Word], log_probs: np.ndarray | None, *, count: int) -> None:
    """Check words and log-probabilities against the `count` tokens of a text."""
    if log_probs is None or len(log_probs) < count:
        given = "none" if log_probs is None else len(log_probs)
        raise ModelError(f"`log_probs` must be of all {count} tokens of the text, but are {given} instead.")
    for word in words:
        if not word.pieces or min(word.pieces) < 0 or max(word.pieces) >= count:
            raise ModelError(
                f"`pieces` of the word {word.text!r} must be from 0 to {count - 1}, but are {word.pieces} instead."
            )


def _spoken(
    words: Sequence[Word], spans: Sequence[tuple[float, float]], log_probs: np.ndarray | None
) -> list[SpokenWord]:
    assert log_probs is not None  # checked
    return [
        SpokenWord(
            text=word.text,
            start=start,
            end=end,
            score=float(np.exp(log_probs[list(word.pieces)]).mean()),
            start_char=word.start,
            end_char=word.end,
            pieces=word.pieces,
        )
        for word, (start, end) in zip(words, spans, strict=True)
    ]


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
