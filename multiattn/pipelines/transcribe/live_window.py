"""One decode of a live buffer: the text after the words that are settled, with the times of its words.

Notation: t samples.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor

from ...alignment import SpokenWord, group_words, word_times
from ...alignment.word_grouping import UNSPACED
from ...generation import Generated, generate
from ...inputs.text import Word
from .cutting import compression_ratio, repeats
from .model import Encoded, SpeechModel
from .options import SpeechOptions

_TOKENS_A_SECOND, _MORE_TOKENS = 10, 4  # the longest text of new sound; fast speech has 6 a second


class LiveWord(NamedTuple):
    """A word of a decode."""

    word: SpokenWord
    """With its punctuation; times in seconds since the first sample of the stream."""

    tokens: tuple[int, ...]

    space: str
    """What stands between it and the word before it: a space, or nothing."""


class Hypothesis(NamedTuple):
    """What follows the settled words."""

    words: tuple[LiveWord, ...]
    language: str | None
    is_loop: bool = False
    """Whether the text repeats itself; there are no words then."""


@torch.inference_mode()
def read_on(
    speech: SpeechModel,
    options: SpeechOptions,
    samples: Float32[Tensor, " t"],
    *,
    start: float,
    settled: Sequence[LiveWord],
    reached: float,
    context: Sequence[int],
    language: str | None,
) -> Hypothesis:
    """Continue the settled words of a buffer, greedily.

    Args:
        speech: The model.
        options: The task, suppressed tokens and thresholds.
        samples: The buffer; at most a window of the model.
        start: Of the buffer, in seconds since the first sample of the stream.
        settled: The words that its sound begins with; they are forced.
        reached: Where the last settled word ends; no word begins before.
        context: Tokens of the text before the buffer.
        language: Code of the language; None: detected.
    """
    preprocessing, tokens = speech.preprocessing, speech.tokens
    encoded = speech.encode(preprocessing.features(samples)[None], [preprocessing.frames(len(samples))])
    silence = 0.0
    if not settled:
        logits = speech.next_token_logits(encoded.projected, [[tokens.start]])
        if language is None and tokens.languages:
            [language] = speech.likeliest_languages(logits)
        if tokens.no_speech is not None:
            silence = float(logits.softmax(dim=-1)[0, tokens.no_speech])
    before = list(chain.from_iterable(one.tokens for one in settled))
    found = _continued(
        speech,
        options,
        encoded,
        before,
        context,
        language,
        seconds=start + len(samples) / preprocessing.sample_rate - reached,
    )
    text = speech.text_of(found.tokens).strip()
    if repeats(text, compression_ratio(text), options):
        return Hypothesis((), language, is_loop=True)
    if _has_no_speech(found, silence, options) or not text:
        return Hypothesis((), language)
    return Hypothesis(
        _timed(speech, encoded, samples, settled, found, language, options.task, start=start, reached=reached), language
    )


def _continued(
    speech: SpeechModel,
    options: SpeechOptions,
    encoded: Encoded,
    before: Sequence[int],
    context: Sequence[int],
    language: str | None,
    *,
    seconds: float,
) -> Generated:
    longest = speech.model.config.decoder.max_length
    prompt = speech.tokens.prompt(language=language, task=options.task, previous=context, max_length=longest)
    if len(prompt) + len(before) > longest - 2:  # the settled words need the room
        prompt = speech.tokens.prompt(language=language, task=options.task)
    room = longest - len(prompt) - len(before) - 1
    config = replace(
        options.decoding,
        max_tokens=max(1, min(room, options.decoding.max_tokens, round(_TOKENS_A_SECOND * seconds) + _MORE_TOKENS)),
        min_tokens=0,
        num_beams=1,
        num_return_sequences=1,
        patience=None,
        sample=False,
        temperature=1.0,
        # after settled words the text may be at its end
        suppress_first=() if before else options.decoding.suppress_first,
        renormalize=True,
        count_end=False,
    )
    [[found]] = generate(
        speech.model.decoder, encoded.projected, [[*prompt, *before]], config, stop=(speech.tokens.end,)
    )
    return found


def _has_no_speech(found: Generated, silence: float, options: SpeechOptions) -> bool:
    if options.no_speech_threshold is None or silence <= options.no_speech_threshold:
        return False
    likely = sum(found.log_probs) / max(1, len(found.log_probs))
    return options.log_prob_threshold is None or likely <= options.log_prob_threshold


def _timed(
    speech: SpeechModel,
    encoded: Encoded,
    samples: Float32[Tensor, " t"],
    settled: Sequence[LiveWord],
    found: Generated,
    language: str | None,
    task: str,
    *,
    start: float,
    reached: float,
) -> tuple[LiveWord, ...]:
    """Return the words of a text, by one more decoder pass over the whole buffer."""
    prompt = speech.tokens.prompt(language=language, task=task)
    new = [token for token in found.tokens if not speech.tokens.is_timestamp(token)]
    words, at, chars = list[Word](), 0, 0
    for one in settled:
        count = len(one.tokens)
        words.append(Word(one.word.text, chars, chars + len(one.word.text), tuple(range(at, at + count))))
        at, chars = at + count, chars + len(one.word.text) + 1
    for word in group_words(speech.tokenizer, new, language=language):
        words.append(Word(word.text, word.start + chars, word.end + chars, tuple(piece + at for piece in word.pieces)))
    if len(words) == len(settled):
        return ()
    before = [token for one in settled for token in one.tokens]
    scored = zip(found.tokens, found.log_probs, strict=False)  # the last is that of the end
    (spoken,) = word_times(
        speech.model,
        encoded.projected,
        [[*prompt, *before, *new]],
        [words],
        prompt_lengths=[len(prompt)],
        frames=encoded.frames,
        heads=speech.heads,
        frame_seconds=speech.frame_seconds,
        # those of settled words are not needed any more
        log_probs=[[0.0] * len(before) + [known for token, known in scored if not speech.tokens.is_timestamp(token)]],
        samples=[samples],
        sample_rate=speech.preprocessing.sample_rate,
        min_seconds=speech.frame_seconds,
    )
    timed, place = list[LiveWord](), chars  # where the text so far ends
    for said in spoken:
        if min(said.pieces) < at:  # a settled one, to which a sign may have been joined
            continue
        first, end = max(reached, said.start + start), max(reached, said.end + start)
        own = tuple(new[piece - at] for piece in said.pieces)
        is_apart = said.start_char > place if timed else _is_apart(speech, before, new, language)
        space = " " if is_apart else ""
        timed.append(LiveWord(said._replace(start=round(first, 6), end=round(end, 6), pieces=()), own, space))
        reached, place = end, said.end_char
    return tuple(timed)


def _is_apart(speech: SpeechModel, before: Sequence[int], new: Sequence[int], language: str | None) -> bool:
    """Tell whether a space stands between the settled words and the text that continues them."""
    if not before:
        return language not in UNSPACED
    text, whole = speech.tokenizer.decode(before), speech.tokenizer.decode([*before, *new])
    return whole[len(text) : len(text) + 1].isspace()
