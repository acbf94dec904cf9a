"""The decoding loop, with which every model of the package generates text.

Notation: b items of the batch (each with its context), r rows (texts that are decoded), n tokens, m context tokens, C
the context's width, V vocabulary. Rows of one item stand together.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..attention import DecoderCache, ProjectedContext
from ..errors import ModelError
from .beam_search import BeamSearch
from .config import Generated, GenerationConfig
from .greedy import SingleSearch
from .logits_processors import LogitsProcessor, logits_processors_of
from .search import Scorer, Search
from .texts import StoppingCriteria, StopWhen


@runtime_checkable
class DecoderSizes(Protocol):
    """The fields of a decoder's configuration that the loop uses."""

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary."""

    @property
    def max_length(self) -> int:
        """The most tokens of a text, prompt included."""

    @property
    def end_token(self) -> int:
        """The token that ends a text."""

    @property
    def pad_token(self) -> int:
        """The token that pads shorter texts."""


@runtime_checkable
class Decoder(Protocol):
    """A model that generates text, such as `TextDecoder`."""

    @property
    def config(self) -> DecoderSizes:
        """Its sizes and special tokens."""

    def start(self, context: Float[Tensor, "b m C"] | ProjectedContext, *, rows: int, capacity: int) -> DecoderCache:
        """Return the cache with which a generation begins."""

    def __call__(
        self,
        tokens: Int64[Tensor, "r n"],
        *,
        cache: DecoderCache,
        attention_mask: Bool[Tensor, "r n"] | None,
        last_only: bool,
    ) -> Float[Tensor, "r 1 V"]:
        """Return the logits of the next token, and add the given tokens to the cache."""


@torch.inference_mode()
def generate(
    decoder: Decoder,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    prompts: Sequence[Sequence[int]],
    options: GenerationConfig,
    *,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    logits_processors: Sequence[LogitsProcessor] = (),
    scorer: Scorer | None = None,
    stop: Sequence[int] | None = None,
    stop_when: StopWhen | None = None,
) -> list[list[Generated]]:
    """Continue each prompt, with attention to its context.

    Apart from rounding, an item's texts depend on the other items in one case only: where the longest prompt and
    `max_tokens` together exceed the decoder's positions, all items get the positions that remain after that prompt.

    Args:
        decoder: The decoder. The caller decides whether it is in training mode.
        context: The context of each item, or what the decoder's `project_context` returned for it.
        prompts: The prompt of each item, with the start token; of any lengths but 0.
        options: The options of the generation.
        generator: The source of randomness, for sampling only. Each text takes one number from it, in order, so that a
            batch samples what its items would in one call after the other. Or one generator for each item, which then
            samples what it would alone.
        logits_processors: Further rules for the next token. They apply after those of the options, except for forced
            tokens, which no rule overrides.
        scorer: A second opinion on the next token, applied after all rules; needs `options.renormalize`.
        stop: Tokens that end a text and do not belong to it; the decoder's end token where None.
        stop_when: Ends further texts, whose last token belongs to them.

    Returns:
        The texts of each item, best first: `options.num_return_sequences`, or fewer where no more were found.

    Raises:
        ModelError: The prompts do not fit the contexts, the vocabulary or the decoder's positions; an option names an
            unknown token; sampling has no generator; a scorer is given without `renormalize`; or the logits are NaN.
    """
    config, device = decoder.config, context.device
    stop = (config.end_token,) if stop is None else stop
    _check(prompts, items=len(context), vocab_size=config.vocab_size, stop=stop)
    if not prompts:
        return []
    length = max(map(len, prompts))
    if length >= config.max_length:
        raise ModelError(
            f"a text may have {config.max_length} tokens, special ones included, but the prompt alone has {length}: "
            "shorten it, so that a token fits after it"
        )
    max_tokens = min(options.max_tokens, config.max_length - length)
    tokens, attention_mask = pad_left(prompts, length, pad_token=config.pad_token, device=device)
    if scorer is not None and not options.renormalize:
        raise ModelError(
            "`renormalize` must be True with a scorer, which adds to log-probabilities, but is False instead"
        )
    processors = _Processors(
        options,
        logits_processors,
        scorer,
        prompts=tokens,
        attention_mask=attention_mask,
        stop=stop,
        vocab_size=config.vocab_size,
    )
    stopping = StoppingCriteria(frozenset(stop), max_tokens, stop_when)
    search: Search
    if options.num_beams > 1:
        search = BeamSearch(options, items=len(prompts), stopping=stopping)
    else:
        search = SingleSearch(
            options, items=len(prompts), stopping=stopping, pad_token=config.pad_token, generator=generator
        )
    # a text's last token is never an input; the prompts are read once for all texts of an item
    cache = decoder.start(context, rows=len(prompts), capacity=length + max_tokens - 1)
    while True:
        logits = decoder(tokens, cache=cache, attention_mask=attention_mask, last_only=True)[:, -1].float()  # (r, V)
        step = search.step(logits, processors.apply)
        if step is None:
            return search.results()
        rows = None if step.rows is None else torch.tensor(step.rows, device=device)
        items = None if step.items is None else torch.tensor(step.items, device=device)
        if rows is not None:
            cache.select(rows, items=items)
        tokens, attention_mask = step.tokens[:, None], None  # (r, 1)
        processors.follow(tokens, rows, items)


class _Processors:
    """The logits processors and the scorer of a generation, with the texts so far if a processor needs them."""

    def __init__(
        self,
        options: GenerationConfig,
        further: Sequence[LogitsProcessor],
        scorer: Scorer | None,
        *,
        prompts: Tensor,
        attention_mask: Tensor | None,
        stop: Sequence[int],
        vocab_size: int,
    ) -> None:
        before, last = logits_processors_of(
            options, prompt_length=prompts.shape[1], stop=stop, vocab_size=vocab_size, device=prompts.device
        )
        self._processors = (*before, *further, *last)
        self._renormalize, self._scorer = options.renormalize, scorer
        self._texts = prompts if attention_mask is None else prompts.masked_fill(~attention_mask, -1)  # (r, n)

    def apply(self, scores: Tensor) -> Tensor:
        """Return scores (r, V) after all processors and the scorer."""
        for processor in self._processors:
            scores = processor(self._texts, scores)
        if self._renormalize:
            total = scores.logsumexp(dim=-1, keepdim=True)
            scores = scores - total.masked_fill(total == -math.inf, 0.0)  # where all tokens are forbidden, they stay so
        return scores if self._scorer is None else self._scorer(scores)

    def follow(self, tokens: Tensor, rows: Tensor | None, items: Tensor | None) -> None:
        """Add the next tokens (r, 1) to the texts, after selecting `rows` and `items`."""
        if self._scorer is not None:
            self._scorer.follow(tokens[:, 0], rows, items)
        if self._processors:
            self._texts = torch.cat([self._texts if rows is None else self._texts[rows], tokens], dim=1)


def _check(prompts: Sequence[Sequence[int]], *, items: int, vocab_size: int, stop: Sequence[int]) -> None:
    if len(prompts) != items:
        raise ModelError(f"`prompts` must be one for each context ({items}), but are {len(prompts)} instead")
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ModelError(f"`prompts[{index}]` must have a token, but has none: begin it with the start token")
    for name, tokens in (*((f"prompts[{i}]", prompt) for i, prompt in enumerate(prompts)), ("stop", stop)):
        if unknown := [token for token in tokens if not 0 <= token < vocab_size]:
            raise ModelError(f"`{name}` must have tokens from 0 to {vocab_size - 1}, but has {unknown[0]} instead")


def pad_left(
    prompts: Sequence[Sequence[int]], length: int, *, pad_token: int, device: torch.device
) -> tuple[Int64[Tensor, "b n"], Bool[Tensor, "b n"] | None]:
    """Pad prompts on their left. The mask is False at padding; None where there is none."""
    tokens = torch.tensor([[pad_token] * (length - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    if all(len(prompt) == length for prompt in prompts):
        return tokens, None
    attention_mask = torch.tensor(
        [[i >= length - len(prompt) for i in range(length)] for prompt in prompts], device=device
    )
    return tokens, attention_mask
