"""When each word of a transcript was spoken, from the attention that wrote it.

Notation: b recordings, m encoder frames, C width of what the decoder attends to, t samples.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from ..attention import ProjectedContext
from ..attention.heads import Head
from ..errors import ModelError
from ..inputs.text import Word
from ..models import SpeechRecognizer
from .dtw import begin_frames, rising_frames
from .silence import snapped
from .teacher_forcing import Listening, listen
from .word_grouping import SpokenWord, merged


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
    samples: Sequence[Float[Tensor, " _"]] | None = None,
    sample_rate: int = 16_000,
    merge: bool = True,
) -> list[list[SpokenWord]]:
    """When each word of each transcript was spoken: one decoder pass for all.

    Args:
        model: A recognizer in eval mode.
        context: What its encoder made of the recordings, or what the decoder's `project_context` made of that; each
            may have several transcripts, which then stand together.
        tokens: Of each transcript, from the start token on, prompt included; the end token may follow.
        words: Of each transcript, in the order of the text, from `Tokenizer.words` or `spoken_words`; their pieces
            count from the first token after the prompt. There may be none.
        prompt_lengths: Of each: tokens before the first of the text, the start token included; at least 1.
        frames: Of each: encoder frames of the recording itself, silence that fills it up left out; at least 1.
        heads: The alignment heads, (layer, head); all of the later half of the layers where None.
        frame_seconds: From one encoder frame to the next, in seconds.
        log_probs: Of each token of the texts, where they are known from decoding; where None they are computed.
        special_ids: Tokens that no text is made of, as `Tokenizer.special_ids`: computed scores are among the others.
        samples: Of each recording, mono, where its first frame begins. Times then move out of the silence around words:
            the path through the attention knows no pauses, and gives each to a neighbor. Left as they are where None.
        sample_rate: Of the samples, in Hz.
        merge: Whether punctuation becomes part of the word it stands at, which keeps its times.

    Returns:
        Of each transcript its words in order. None begins before the one before it ends.

    Raises:
        ModelError: What is given does not fit each other, there is no such head, or a transcript is longer than the
            decoder can read.
    """
    for name, given in (("words", words), ("log_probs", log_probs), ("samples", samples)):
        if given is not None and len(given) != len(tokens):
            raise ModelError(f"`{name}` must be one for each of {len(tokens)} transcripts, but are {len(given)}.")
    heard = listen(
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
    for i, (one, of_text) in enumerate(zip(heard, words, strict=True)):
        known = None if log_probs is None else log_probs[i]
        spoken = time_words(one, of_text, frame_seconds=frame_seconds, log_probs=known)
        if merge:
            spoken = merged(spoken)
        if samples is not None:
            spoken = out_of_silence(
                spoken, samples[i], sample_rate=sample_rate, look=one.look, frame_seconds=frame_seconds
            )
        found.append(spoken)
    return found


def out_of_silence(
    words: Sequence[SpokenWord],
    samples: Float[Tensor, " t"],
    *,
    sample_rate: int = 16_000,
    look: Float32[np.ndarray, "rows m"] | None = None,
    frame_seconds: float = 0.02,
) -> list[SpokenWord]:
    """The words of a transcript with the pauses between them left out, by the loudness of the recording (at Hz).

    Args:
        words: Of the transcript.
        samples: The recording, mono.
        sample_rate: In Hz.
        look: Where each token was looked for (`Listening.look`), which tells which pauses lie between two words.
        frame_seconds: From one encoder frame to the next, in seconds.
    """
    looks = None
    if look is not None and words:
        times = (rising_frames(look[:-1]) + 0.5) * frame_seconds
        looks = [(float(times[min(word.pieces)]), float(times[max(word.pieces)])) for word in words]
    spans = snapped([(word.start, word.end) for word in words], samples.cpu().numpy(), rate=sample_rate, looks=looks)
    return [word._replace(start=start, end=end) for word, (start, end) in zip(words, spans, strict=True)]


def time_words(
    heard: Listening,
    words: Sequence[Word],
    *,
    frame_seconds: float = 0.02,
    log_probs: Sequence[float] | None = None,
) -> list[SpokenWord]:
    """The words of one transcript that has been listened to, as `word_times` gives them without `merge` and `samples`.

    Args:
        heard: What `listen` gave.
        words: Of the transcript; their pieces count from the first token after the prompt.
        frame_seconds: From one encoder frame to the next, in seconds.
        log_probs: Of each token of the text; those of `heard` where None.

    Raises:
        ModelError: The words or the log-probabilities do not fit what was heard.
    """
    if not words:
        return []
    count = len(heard.evidence) - 1  # tokens of the text; the last row is the end's
    known = heard.log_probs if log_probs is None else np.asarray(log_probs, dtype=np.float64)
    if known is None or len(known) < count:
        given = "none" if known is None else len(known)
        raise ModelError(f"`log_probs` must be of all {count} tokens of the text, but are {given} instead.")
    for word in words:
        if not word.pieces or min(word.pieces) < 0 or max(word.pieces) >= count:
            raise ModelError(
                f"`pieces` of the word {word.text!r} must be from 0 to {count - 1}, but are {word.pieces} instead."
            )
    begins = begin_frames(heard.evidence) * frame_seconds  # (count + 1,)
    return [
        SpokenWord(
            text=word.text,
            start=float(begins[min(word.pieces)]),
            end=float(begins[max(word.pieces) + 1]),
            score=float(np.exp(known[list(word.pieces)]).mean()),
            start_char=word.start,
            end_char=word.end,
            pieces=word.pieces,
        )
        for word in words
    ]
