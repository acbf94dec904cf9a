"""Windows of speech to text: a search, and where its text does not hold, samples at rising temperatures.

Source: openai-whisper, decoding.py (`DecodingTask`) and transcribe.py (`decode_with_fallback`). Beyond it: where no
temperature gives a text that holds, the best is taken and not the last.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...attention import ProjectedContext
from ...errors import ModelError
from ...generation import GenerationConfig, generate
from ...generation.ctc import CtcScorer
from ...generation.logits_processors import TimestampRules
from ...inputs.speech_tokens import SpeechTokens
from ...inputs.text import Tokenizer
from ...models.speech import SpeechRecognizer
from .config import Segment, SpeechOptions, WindowResult
from .fallback import Attempt, attempt_of, failures_of, listened, result_of

__all__ = ["Segment", "SpeechOptions", "WindowResult", "decode_window", "detect_languages"]


@torch.inference_mode()
def decode_window(
    model: SpeechRecognizer,
    projected: ProjectedContext,
    tokens: SpeechTokens,
    tokenizer: Tokenizer,
    options: SpeechOptions,
    *,
    previous: Sequence[Sequence[int]] | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    heads: Sequence[tuple[int, int]] | None = None,
    frames: Sequence[int] | None = None,
    frame_seconds: float = 0.02,
    ctc_log_probs: Float[Tensor, "b n V"] | None = None,
) -> list[WindowResult]:
    """The text of each window.

    Args:
        model: Who writes, in eval mode.
        projected: What the decoder makes of the windows: `model.decoder.project_context(encoded, attention_mask=...)`.
        tokens: The vocabulary's tokens with a meaning of their own.
        tokenizer: The vocabulary.
        options: How.
        previous: Of each window, the tokens of the text before it; none where None.
        generator: Where all chance comes from, or one for each window; needed where `options.temperatures` has one
            above 0.
        heads: Layer and head of the cross-attentions that follow the speech, by which loops are noticed; None: they
            are not, and no time goes into it.
        frames: Encoder frames of each window that hold something of the recording; all where None.
        frame_seconds: From one encoder frame to the next.
        ctc_log_probs: `model.ctc_log_probs(encoded)`, where `options.ctc_weight` is above 0.

    Raises:
        InputError: The model has no token for the language, the task or what else is asked for.
        ModelError: An option does not fit the model, or there is no generator where one is needed.
    """
    count = len(projected)
    if not count:
        return []
    if options.ctc_weight and ctc_log_probs is None:
        raise ModelError("`ctc_log_probs` must be given with a `ctc_weight` above 0, but are None instead")
    if generator is None and max(options.temperatures) > 0:
        raise ModelError("`generator` must be given where `temperatures` has one above 0, but is None instead")
    width = projected.layers[0].keys.shape[2]
    frames = [width] * count if frames is None else frames
    before = [()] * count if previous is None else previous
    languages, no_speech = _first_look(model, projected, tokens, options, before)
    # as `WordTimestamper` reads them: without times, and without what came before
    short = [tokens.prompt(language=language, task=options.task) for language in languages]
    prompts = [
        _prompt(model, tokens, options, language, previous=text)
        for language, text in zip(languages, before, strict=True)
    ]
    attempts: list[list[Attempt]] = [[] for _ in range(count)]
    left = list(range(count))
    for temperature in options.temperatures:
        chosen = torch.tensor(left, device=projected.device)
        some = projected if len(left) == count else projected.select(chosen)
        scorer = None
        if options.ctc_weight and ctc_log_probs is not None:
            scorer = CtcScorer(
                ctc_log_probs[chosen],
                torch.tensor([frames[i] for i in left], device=projected.device),
                weight=options.ctc_weight,
                blank=model.config.decoder.pad_token,
                end=tokens.end,
            )
        some_prompts = [prompts[i] for i in left]
        search = _search(options, temperature, room=model.config.decoder.max_length - max(map(len, short)) - 1)
        found = generate(
            model.decoder,
            some,
            some_prompts,
            search,
            generator=_of_some(generator, left) if search.sample else None,
            logits_processors=_rules(tokens, options, prompts=some_prompts),
            scorer=scorer,
            stop=(tokens.end,),
        )
        texts = [attempt_of(texts[0], search, temperature, tokens=tokens, tokenizer=tokenizer) for texts in found]
        if heads is not None:
            of_short = [(short[i], frames[i]) for i in left]
            texts = listened(texts, model, some, of_short, heads, frame_seconds=frame_seconds)
        for i, text in zip(left, texts, strict=True):
            attempts[i].append(text._replace(failures=failures_of(text, options, no_speech[i])))
        left = [i for i in left if attempts[i][-1].failures]
        if not left:
            break
    return [
        result_of(attempts[i], no_speech_prob=no_speech[i], language=languages[i], options=options)
        for i in range(count)
    ]


@torch.inference_mode()
def detect_languages(model: SpeechRecognizer, projected: ProjectedContext, tokens: SpeechTokens) -> list[str | None]:
    """The language that the model holds likeliest in each window; None for a model of one language."""
    if not tokens.languages:
        return [None] * len(projected)
    return _likeliest(_logits_at_start(model, projected, [[tokens.start]] * len(projected)), tokens)


def _of_some(
    generator: torch.Generator | Sequence[torch.Generator] | None, places: Sequence[int]
) -> torch.Generator | Sequence[torch.Generator] | None:
    """The generators of these windows; one for all remains so."""
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    return [generator[i] for i in places]


def _first_look(
    model: SpeechRecognizer,
    projected: ProjectedContext,
    tokens: SpeechTokens,
    options: SpeechOptions,
    previous: Sequence[Sequence[int]],
) -> tuple[list[str | None], list[float | None]]:
    """Of each window its language, and the probability that nobody speaks: what may follow the start token."""
    count = len(projected)
    languages: list[str | None] = [options.language] * count
    at_start = None
    if tokens.languages and options.language is None:
        at_start = _logits_at_start(model, projected, [[tokens.start]] * count)
        languages = _likeliest(at_start, tokens)
    if tokens.no_speech is None:
        return languages, [None] * count
    if at_start is None or any(map(len, previous)):
        # the language does not matter, for what follows the start is asked
        any_language = next(iter(tokens.languages), None)
        begins = []
        for text in previous:
            prompt = _prompt(model, tokens, options, options.language or any_language, previous=text)
            begins.append(prompt[: prompt.index(tokens.start) + 1])
        at_start = _logits_at_start(model, projected, begins)
    return languages, at_start.softmax(dim=-1)[:, tokens.no_speech].tolist()


def _logits_at_start(
    model: SpeechRecognizer, projected: ProjectedContext, prompts: Sequence[Sequence[int]]
) -> Float[Tensor, "b V"]:
    """The scores of what follows each prompt."""
    decoder, longest = model.decoder, max(map(len, prompts))
    filled = [[decoder.config.pad_token] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    attention_mask = torch.tensor([[i >= longest - len(prompt) for i in range(longest)] for prompt in prompts])
    logits = decoder(
        torch.tensor(filled, device=projected.device),
        projected,
        attention_mask=None if bool(attention_mask.all()) else attention_mask.to(projected.device),
        last_only=True,
    )
    return logits[:, -1].float()  # type: ignore[no-any-return]


def _likeliest(logits: Float[Tensor, "b V"], tokens: SpeechTokens) -> list[str | None]:
    codes = list(tokens.languages)
    of_languages = logits[:, torch.tensor(list(tokens.languages.values()), device=logits.device)]
    return [codes[i] for i in of_languages.argmax(dim=-1).tolist()]


def _prompt(
    model: SpeechRecognizer,
    tokens: SpeechTokens,
    options: SpeechOptions,
    language: str | None,
    *,
    previous: Sequence[int] = (),
) -> list[int]:
    return tokens.prompt(
        language=language,
        task=options.task,
        timestamps=options.timestamps,
        previous=previous,
        max_length=model.config.decoder.max_length,
    )


def _search(options: SpeechOptions, temperature: float, *, room: int) -> GenerationConfig:
    """How to find texts at a temperature, no longer than can be read again. They are compared as Whisper does it."""
    most = max(1, min(options.decoding.max_tokens, room))
    asked = replace(
        options.decoding,
        max_tokens=most,
        min_tokens=min(options.decoding.min_tokens, most),
        renormalize=True,
        count_end=False,
    )
    if temperature == 0:
        patience = (asked.patience or 1.0) if asked.num_beams > 1 else None
        return replace(asked, sample=False, temperature=1.0, num_return_sequences=1, patience=patience)
    return replace(
        asked, sample=True, temperature=temperature, num_beams=1, num_return_sequences=options.best_of, patience=None
    )


def _rules(
    tokens: SpeechTokens, options: SpeechOptions, *, prompts: Sequence[Sequence[int]]
) -> tuple[TimestampRules, ...]:
    if not options.timestamps or tokens.first_timestamp is None:
        return ()
    latest = options.max_initial_time
    return (
        TimestampRules(
            tokens.first_timestamp,
            tokens.end,
            max(map(len, prompts)),
            no_timestamps=tokens.no_timestamps,
            latest_start=None if latest is None else round(latest / tokens.timestamp_step),
        ),
    )
