"""The decoding loop: the one way in which every model here writes.

Notation: b items (each with its context), r rows (texts that are decoded), n tokens, m context tokens, C the context's
width, V vocabulary. Rows of one item stand together.
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
from .search import Ending, Scorer, Search, StopWhen


@runtime_checkable
class DecoderSizes(Protocol):
    """What the loop reads of a decoder's configuration."""

    @property
    def vocab_size(self) -> int:
        """Tokens there are."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens a text may have."""
        ...

    @property
    def end_token(self) -> int:
        """What ends a text."""
        ...

    @property
    def pad_token(self) -> int:
        """What stands where a text is shorter than others."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """A model that writes, as `TextDecoder` is one."""

    @property
    def config(self) -> DecoderSizes:
        """Its sizes and special tokens."""
        ...

    def start(self, context: Float[Tensor, "b m C"] | ProjectedContext, *, rows: int, capacity: int) -> DecoderCache:
        """The state in which a decode begins."""
        ...

    def __call__(
        self,
        tokens: Int64[Tensor, "r n"],
        *,
        cache: DecoderCache,
        attention_mask: Bool[Tensor, "r n"] | None,
        last_only: bool,
    ) -> Float[Tensor, "r 1 V"]:
        """The logits of what follows the last of these tokens, which are added to the state."""
        ...


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

    An item's texts do not depend on the other items, but for rounding, and in one case: where the longest prompt and
    `max_tokens` together are more than the decoder has positions for, all items get what remains after that prompt.

    Args:
        decoder: Who writes. Whether it is in training mode is the caller's business.
        context: What each item's texts are about, or what the decoder's `project_context` made of it.
        prompts: What each item's texts go on from, the start token included; of any lengths but 0.
        options: How.
        generator: Where all chance comes from; for sampling only. Each text takes one number from it, in order: a
            batch samples what its items would, one call after the other with the same generator. Or one for each item,
            which then samples what it would alone.
        logits_processors: Further rules about what may follow. They apply after those of the options, but for forced tokens,
            which no rule overrides.
        scorer: A second opinion on what follows, after all rules; for `options.renormalize`.
        stop: Tokens that end a text, and are no part of it; the decoder's end token where None.
        stop_when: Ends further texts; the last token is a part of those.

    Returns:
        The texts of each item, best first: as many as `options.num_return_sequences`, or fewer where there are no more.

    Raises:
        ModelError: The prompts do not fit the contexts, the vocabulary or the decoder's positions, an option names an
            unknown token, sampling has no generator, a scorer nothing that is renormalized, or the model's scores are
            no numbers.
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
    longest = min(options.max_tokens, config.max_length - length)
    tokens, attention_mask = _filled(prompts, length, pad_token=config.pad_token, device=device)
    if scorer is not None and not options.renormalize:
        raise ModelError(
            "`renormalize` must be True with a scorer, which adds to log-probabilities, but is False instead"
        )
    rules = _Rules(
        options,
        logits_processors,
        scorer,
        prompts=tokens,
        attention_mask=attention_mask,
        stop=stop,
        vocab_size=config.vocab_size,
    )
    ending = Ending(frozenset(stop), longest, stop_when)
    search: Search
    if options.num_beams > 1:
        search = BeamSearch(options, items=len(prompts), ending=ending)
    else:
        search = SingleSearch(
            options, items=len(prompts), ending=ending, pad_token=config.pad_token, generator=generator
        )
    # a text's last token is not read; the prompts are read once for all texts of an item
    cache = decoder.start(context, rows=len(prompts), capacity=length + longest - 1)
    while True:
        logits = decoder(tokens, cache=cache, attention_mask=attention_mask, last_only=True)[:, -1].float()  # (r, V)
        step = search.step(logits, rules.apply)
        if step is None:
            return search.results()
        rows = None if step.rows is None else torch.tensor(step.rows, device=device)
        items = None if step.items is None else torch.tensor(step.items, device=device)
        if rows is not None:
            cache.select(rows, items=items)
        tokens, attention_mask = torch.tensor(step.tokens, device=device)[:, None], None  # (r, 1)
        rules.follow(tokens, rows, items)


class _Rules:
    """All rules of a decode, and the texts so far, which are kept only where there are rules."""

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
        before, last = logits_processors_of(options, prompt_length=prompts.shape[1], stop=stop, vocab_size=vocab_size)
        self._rules = (*before, *further, *last)
        self._renormalize, self._scorer = options.renormalize, scorer
        self._texts = prompts if attention_mask is None else prompts.masked_fill(~attention_mask, -1)  # (r, n)

    def apply(self, scores: Tensor) -> Tensor:
        """Scores (r, V) as the rules leave them."""
        for rule in self._rules:
            scores = rule(self._texts, scores)
        if self._renormalize:
            total = scores.logsumexp(dim=-1, keepdim=True)
            scores = scores - total.masked_fill(total == -math.inf, 0.0)  # where all is forbidden, it stays so
        return scores if self._scorer is None else self._scorer(scores)

    def follow(self, tokens: Tensor, rows: Tensor | None, items: Tensor | None) -> None:
        """Add the next tokens (r, 1) to the texts, after `rows` and `items` of them were kept."""
        if self._scorer is not None:
            self._scorer.follow(tokens[:, 0], rows, items)
        if self._rules:
            texts = self._texts if rows is None else self._texts[rows]
            self._texts = torch.cat([texts, tokens], dim=1)


def _check(prompts: Sequence[Sequence[int]], *, items: int, vocab_size: int, stop: Sequence[int]) -> None:
    if len(prompts) != items:
        raise ModelError(f"`prompts` must be one for each context ({items}), but are {len(prompts)} instead")
    for place, prompt in enumerate(prompts):
        if not prompt:
            raise ModelError(f"`prompts[{place}]` must have a token, but has none: begin it with the start token")
    for name, tokens in (*((f"prompts[{i}]", prompt) for i, prompt in enumerate(prompts)), ("stop", stop)):
        if unknown := [token for token in tokens if not 0 <= token < vocab_size]:
            raise ModelError(f"`{name}` must have tokens from 0 to {vocab_size - 1}, but has {unknown[0]} instead")


def _filled(
    prompts: Sequence[Sequence[int]], length: int, *, pad_token: int, device: torch.device
) -> tuple[Int64[Tensor, "b n"], Bool[Tensor, "b n"] | None]:
    """Prompts filled up on their left, and where they are real, unless all of it is."""
    tokens = torch.tensor([[pad_token] * (length - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    if all(len(prompt) == length for prompt in prompts):
        return tokens, None
    attention_mask = torch.tensor(
        [[i >= length - len(prompt) for i in range(length)] for prompt in prompts], device=device
    )
    return tokens, attention_mask
