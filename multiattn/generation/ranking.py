"""Ranking: the probabilities of given texts under a decoder, instead of a text of its own.

Notation: b items (each with its context), c candidates, k of them scored in full, t tokens of the longest candidate
with its end token, m context tokens, C the context's width, V vocabulary.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..checks import require
from ..errors import ModelError
from ..models import TextDecoder
from .config import Generated
from .texts import best_first, check_numbers

_MOST_SCORES = 2**25
"""Logits that are computed at once: 128 MB."""


@torch.inference_mode()
def rank(
    decoder: TextDecoder,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    candidates: Sequence[Sequence[int]],
    *,
    most: int | None = None,
) -> list[list[Generated]]:
    """Score given texts, with the end token after each.

    One pass over the start token selects the candidates with the likeliest first tokens; only these are scored in full.
    The unlikely part of a long list therefore costs almost nothing.

    Args:
        decoder: The decoder. The caller decides whether it is in training mode.
        context: The context of each item, or what the decoder's `project_context` returned for it.
        candidates: The texts, without start and end token; the same for all items.
        most: Number of texts to score in full for each item, k; all where None.

    Returns:
        The texts scored in full for each item, best first; equal ones in the order of the list. A text's `score` is the
        sum of its log-probabilities, whatever its length.

    Raises:
        ModelError: There are no candidates; one is empty, repeated, too long or has unknown tokens; `most` is below 1;
            or the logits are NaN.

    Source: LAVIS, `BlipVQA.rank_answers`; there the loss is smoothed by 0.1, which is left out here.
    """
    _check(decoder, candidates, most)
    if not len(context):
        return []
    projected = context if isinstance(context, ProjectedContext) else decoder.project_context(context)
    chosen = _likeliest_first(decoder, projected, candidates, most)  # (b, k)
    return [
        best_first([_ranked(candidates[index], rows) for index, rows in zip(indices, of_item, strict=True)])
        for indices, of_item in zip(chosen, _in_full(decoder, projected, candidates, chosen), strict=True)
    ]


def _ranked(candidate: Sequence[int], log_probs: list[float]) -> Generated:
    own = tuple(log_probs[: len(candidate) + 1])
    check_numbers(own)
    return Generated(tuple(candidate), own, sum(own), True)


def _likeliest_first(
    decoder: TextDecoder, context: ProjectedContext, candidates: Sequence[Sequence[int]], most: int | None
) -> list[list[int]]:
    """Return the indices of the candidates to score in full for each item, in the list's order."""
    if most is None or most >= len(candidates):
        return [list(range(len(candidates)))] * len(context)
    start = torch.full((len(context), 1), decoder.config.start_token, device=context.device)
    first = torch.tensor([candidate[0] for candidate in candidates], device=context.device)
    logits = decoder(start, context)[:, 0]  # (b, V)
    # stable: of candidates with the same first token, the first in the list
    order = logits[:, first].sort(dim=1, descending=True, stable=True).indices[:, :most]
    return order.sort(dim=1).values.tolist()  # type: ignore[no-any-return]


def _in_full(
    decoder: TextDecoder, context: ProjectedContext, candidates: Sequence[Sequence[int]], chosen: list[list[int]]
) -> list[list[list[float]]]:
    """Return the log-probabilities of the tokens and the end of each item's candidates, padded to the longest."""
    c = decoder.config
    longest = max(len(candidates[index]) for indices in chosen for index in indices) + 1
    # attention is causal: the padding on the right changes nothing before it
    texts = torch.tensor(
        [[*text, c.end_token, *[c.pad_token] * (longest - len(text) - 1)][:longest] for text in candidates],
        device=context.device,
    )  # (c, t)
    found: list[list[list[float]]] = [[] for _ in chosen]
    width = max(1, _MOST_SCORES // (len(chosen) * longest * c.vocab_size))
    for first in range(0, len(chosen[0]), width):
        indices = torch.tensor([row[first : first + width] for row in chosen], device=context.device)  # (b, w)
        following = texts[indices.flatten()]  # (b w, t)
        given = torch.cat([torch.full_like(following[:, :1], c.start_token), following[:, :-1]], dim=1)
        logits = decoder(given, context).float()  # (b w, t, V)
        own = logits.gather(2, following[..., None])[..., 0] - logits.logsumexp(dim=2)
        for item, rows in zip(found, own.unflatten(0, indices.shape).tolist(), strict=True):
            item += rows
    return found


def _check(decoder: TextDecoder, candidates: Sequence[Sequence[int]], most: int | None) -> None:
    vocab_size, room = decoder.config.vocab_size, decoder.config.max_length - 1
    require(most is None or most >= 1, "most", must="at least 1", value=most)
    if not candidates:
        raise ModelError("`candidates` must be at least one text, but are none: give some")
    seen: dict[tuple[int, ...], int] = {}
    for index, text in enumerate(candidates):
        if not text:
            raise ModelError(f"`candidates[{index}]` must have a token, but has none: leave it out")
        if len(text) > room:
            raise ModelError(
                f"`candidates[{index}]` must have at most {room} tokens, so that the start fits before them, but has "
                f"{len(text)} instead: shorten it"
            )
        if unknown := [token for token in text if not 0 <= token < vocab_size]:
            raise ModelError(
                f"`candidates[{index}]` must have tokens from 0 to {vocab_size - 1}, but has {unknown[0]} instead"
            )
        if (first := seen.setdefault(tuple(text), index)) != index:
            raise ModelError(f"`candidates` must be different texts, but {index} is the same as {first}: leave one out")
