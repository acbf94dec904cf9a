"""From encoded windows to text: a search, and where its text fails the thresholds, samples at rising temperatures.

Source: openai-whisper, decoding.py (`DecodingTask`, `DecodingResult`) and transcribe.py (`decode_with_fallback`).
Beyond it: loops are detected from the attention too, a short text may repeat itself, and where no temperature gives a
text that passes, the best is taken and not the last.

Notation: b windows, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from ...alignment import progress, token_attention
from ...alignment.loops import STALL_TOKENS
from ...attention import ProjectedContext
from ...errors import ModelError
from ...generation import Generated, GenerationConfig, generate
from ...generation.ctc import CtcScorer
from ...generation.logits_processors import TimestampRules
from ...generation.search import Scorer
from .cutting import has_no_speech
from .model import Encoded, SpeechModel
from .options import SpeechOptions
from .reach import ReachSpeech
from .segments import WindowResult
from .steering import context_of, prefix_of
from .window_search import judged, prompt_of, search_at

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One random generator for all windows, or one for each; None where nothing is sampled."""


@torch.inference_mode()
def decode_windows(
    speech: SpeechModel,
    encoded: Encoded,
    options: SpeechOptions,
    *,
    previous: Sequence[Sequence[int]] | None = None,
    with_prefix: Sequence[bool] | None = None,
    generator: Generators = None,
    least_ends: Sequence[float] | None = None,
) -> list[WindowResult]:
    """Find the text of each window.

    Args:
        speech: The model; with alignment heads, loops are detected from attention.
        encoded: The windows; with CTC scores, where `options.ctc_weight` is above 0.
        options: How to decode.
        previous: For each window, the tokens of the text before it; None: there are none.
        with_prefix: For each window, whether its text begins with `options.prefix`; None: all do.
        generator: The source of randomness; needed where `options.temperatures` has one above 0.
        least_ends: For each window, the earliest time (s) at which its text may end; None: any.

    Raises:
        InputError: The model has no token for the language, the task or what else is asked for.
        ModelError: An option does not fit the model, or an argument that it needs is missing.
    """
    count = len(encoded.projected)
    if not count:
        return []
    if options.ctc_weight and encoded.ctc_log_probs is None:
        raise ModelError("`ctc_log_probs` must be given with a `ctc_weight` above 0, but are None instead")
    if generator is None and max(options.temperatures) > 0:
        raise ModelError("`generator` must be given where `temperatures` has one above 0, but is None instead")
    if options.prefix and with_prefix is not None and len(set(with_prefix)) > 1:
        return _with_and_without(speech, encoded, options, previous, with_prefix, generator, least_ends)
    if with_prefix is not None and not any(with_prefix):
        options = replace(options, prefix=None)
    previous = [context_of(speech, options, text) for text in ([()] * count if previous is None else previous)]
    languages, no_speech = _languages_and_silence(speech, encoded.projected, options, previous)
    # as for word times and loop detection: without timestamps and previous text
    short = [speech.tokens.prompt(language=language, task=options.task) for language in languages]
    prompts = [prompt_of(speech, options, language, text) for language, text in zip(languages, previous, strict=True)]
    attempts: list[list[WindowResult]] = [[] for _ in range(count)]
    left = list(range(count))
    for temperature in options.temperatures:
        room = speech.model.config.decoder.max_length - max(map(len, short)) - 1
        config = search_at(options, temperature, room=room, forced=prefix_of(speech, options))
        some = _select(encoded, left)
        candidates = _generate(
            speech,
            some,
            options,
            config,
            [prompts[i] for i in left],
            _select_generators(generator, left),
            None if least_ends is None else [least_ends[i] for i in left],
        )
        results = [
            WindowResult(**vars(judged(speech, texts[0], options, config, temperature, no_speech[i], languages[i])))
            for i, texts in zip(left, candidates, strict=True)
        ]
        for i, result in zip(left, _detect_loops(results, speech, some, [short[i] for i in left]), strict=True):
            attempts[i].append(result)
        left = [i for i in left if _failures(attempts[i][-1], options)]
        if not left:
            break
    return [_best(of_window, options) for of_window in attempts]


def _with_and_without(
    speech: SpeechModel,
    encoded: Encoded,
    options: SpeechOptions,
    previous: Sequence[Sequence[int]] | None,
    with_prefix: Sequence[bool],
    generator: Generators,
    least_ends: Sequence[float] | None,
) -> list[WindowResult]:
    """Decode the windows whose text begins with the prefix apart from the others."""
    found: dict[int, WindowResult] = {}
    for has_prefix in (True, False):
        some = [i for i, one in enumerate(with_prefix) if one == has_prefix]
        results = decode_windows(
            speech,
            _select(encoded, some),
            options if has_prefix else replace(options, prefix=None),
            previous=None if previous is None else [previous[i] for i in some],
            generator=_select_generators(generator, some),
            least_ends=None if least_ends is None else [least_ends[i] for i in some],
        )
        found |= zip(some, results, strict=True)
    return [found[i] for i in range(len(found))]


def _languages_and_silence(
    speech: SpeechModel, projected: ProjectedContext, options: SpeechOptions, previous: Sequence[Sequence[int]]
) -> tuple[list[str | None], list[float | None]]:
    """Return the language of each window and its probability of silence, both predicted after the start token."""
    count, tokens = len(projected), speech.tokens
    languages: list[str | None] = [options.language] * count
    logits = None
    if tokens.languages and (options.language is None or options.multilingual):
        logits = speech.next_token_logits(projected, [[tokens.start]] * count)
        codes, best = list(tokens.languages), speech.languages_of(logits).max(dim=-1)
        languages = [
            codes[i] if options.language is None or value > math.log(options.language_threshold) else options.language
            for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
    if tokens.no_speech is None:
        return languages, [None] * count
    if logits is None or any(map(len, previous)):
        # any language will do: the prompt is cut off after the start token
        language = options.language or next(iter(tokens.languages), None)
        prompts = [prompt_of(speech, options, language, text) for text in previous]
        prompts = [prompt[: prompt.index(tokens.start) + 1] for prompt in prompts]
        logits = speech.next_token_logits(projected, prompts)
    return languages, logits.softmax(dim=-1)[:, tokens.no_speech].tolist()


def _select(encoded: Encoded, indices: Sequence[int]) -> Encoded:
    """Return the windows with these indices, in rising order."""
    if len(indices) == len(encoded.projected):
        return encoded
    chosen = torch.tensor(indices, device=encoded.projected.device)
    log_probs = None if encoded.ctc_log_probs is None else encoded.ctc_log_probs[chosen]
    return Encoded(encoded.projected.part(chosen), [encoded.frames[i] for i in indices], log_probs)


def _select_generators(generator: Generators, indices: Sequence[int]) -> Generators:
    """Return the generators of the windows with these indices; one for all windows stays as it is."""
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    return [generator[i] for i in indices]


def _generate(
    speech: SpeechModel,
    encoded: Encoded,
    options: SpeechOptions,
    config: GenerationConfig,
    prompts: Sequence[Sequence[int]],
    generator: Generators,
    least_ends: Sequence[float] | None,
) -> list[list[Generated]]:
    """Return the candidate texts of each window, best first."""
    tokens, rules = speech.tokens, list[TimestampRules]()
    scorer: Scorer | None = None
    if options.ctc_weight and encoded.ctc_log_probs is not None:
        scorer = CtcScorer(
            encoded.ctc_log_probs,
            torch.tensor(encoded.frames, device=encoded.projected.device),
            weight=options.ctc_weight,
            blank=speech.model.config.decoder.pad_token,
            end=tokens.end,
        )
    if options.timestamps and tokens.first_timestamp is not None:
        latest = options.max_initial_time
        rules = [
            TimestampRules(
                tokens.first_timestamp,
                tokens.end,
                max(map(len, prompts)),
                no_timestamps=tokens.no_timestamps,
                latest_start=None if latest is None else round(latest / tokens.timestamp_step),
            )
        ]
        if least_ends is not None:
            least = torch.tensor([round(end / tokens.timestamp_step) for end in least_ends])
            scorer = ReachSpeech(
                least.to(encoded.projected.device),
                first_timestamp=tokens.first_timestamp,
                end=tokens.end,
                inner=scorer,
            )
    return generate(
        speech.model.decoder,
        encoded.projected,
        prompts,
        config,
        generator=generator if config.sample else None,
        logits_processors=rules,
        scorer=scorer,
        stop=(tokens.end,),
    )


def _detect_loops(
    results: Sequence[WindowResult], speech: SpeechModel, encoded: Encoded, prompts: Sequence[list[int]]
) -> list[WindowResult]:
    """Flag texts whose attention does not move forward; texts too short for a loop stay as they are."""
    texts = [[token for token in result.tokens if not speech.tokens.is_timestamp(token)] for result in results]
    long = [i for i, text in enumerate(texts) if len(text) >= STALL_TOKENS]
    checked = list(results)
    if speech.heads is None or not long:
        return checked
    for i in long:  # one at a time: several at once are not faster on a CPU, and are the peak of the memory
        some = _select(encoded, [i])
        [attention] = token_attention(
            speech.model,
            some.projected,
            [[*prompts[i], *texts[i]]],
            prompt_lengths=[len(prompts[i])],
            frames=some.frames,
            heads=speech.heads,
        )
        moved = progress(attention.mean[None, :-1], frame_seconds=speech.frame_seconds)
        flags = tuple(name for name in ("stalled", "backwards") if getattr(moved, name))
        checked[i] = replace(results[i], flags=(*flags, *results[i].flags), attention=attention)
    return checked


def _failures(result: WindowResult, options: SpeechOptions) -> int:
    """Count the thresholds that a text fails; none if it will be dropped because the window is silent."""
    improbable = options.log_prob_threshold is not None and result.avg_log_prob < options.log_prob_threshold
    return 0 if improbable and has_no_speech(result, options) else improbable + len(result.flags)


def _best(attempts: Sequence[WindowResult], options: SpeechOptions) -> WindowResult:
    """Return the last attempt if it passes, or else the one that fails least, and of several the most probable."""

    def rank(result: WindowResult) -> tuple[int, float]:
        failures = _failures(result, options)
        return failures, -result.avg_log_prob if failures else 0.0

    return replace(min(reversed(attempts), key=rank), hottest=attempts[-1].temperature)
