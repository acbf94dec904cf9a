"""Self-attention among the words of a text: which words each word attends to, in every layer and head.

A map of it has the axes (layer, head, query, key). The value of two words is the share of the first one's attention
that went to the tokens of the second, in the mean over the tokens of the first. Tokens that are no words of the text
(a start token, a prompt, the picture in the same sequence) are queries and keys under names of their own.

Notation: n tokens that attend, m tokens attended to, l layers, h heads, w words, q queries, k keys.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .attention_map import AttentionMap, Axis
from .building import STACK_AXES

START, PROMPT, FIRST, END, PICTURE = "start token", "prompt", "first token", "end token", "picture"
"""Names of tokens that are no words."""

WORD_NOTES = {
    "caption": "The share of the decoder's attention, while it predicted the word, that went to each word before it.",
    "question": "The share of the word's attention, while the question was read, that went to each other word.",
}
"""How to read such a map."""


def among_words(
    weights: Float[Tensor, "l h n m"], queries: Float[Tensor, "q n"], keys: Float[Tensor, "k m"]
) -> Float[Tensor, "l h q k"]:
    """Merge tokens into words.

    Args:
        weights: Self-attention, each row 1 in sum.
        queries: The weight of each token in each query, 1 in sum.
        keys: 1 where a token belongs to a key, else 0.
    """
    return queries.to(weights) @ weights @ keys.to(weights).T


def words_map(
    values: Float[Tensor, "l h q k"],
    queries: Sequence[str],
    keys: Sequence[str],
    *,
    sites: Sequence[str],
    target: str,
    note: str,
) -> AttentionMap:
    """Build the map of merged self-attention, axes (layer, head, query, key)."""
    return AttentionMap(
        values=np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32),
        axes=(
            *STACK_AXES,
            Axis("query", "word", labels=tuple(queries)),
            Axis("key", "word", labels=tuple(keys)),
        ),
        method="self_attention",
        sites=tuple(sites),
        heads=None,
        geometry=None,
        target=target,
        note=note,
    )


def question_word_attention(
    weights: Float[Tensor, "l h n m"], shares: Float[Tensor, "w n"], *, length: int
) -> Float[Tensor, "l h q k"]:
    """Merge the self-attention of a question into its first token, its words and its end token.

    Args:
        weights: Of the question's tokens, padded on the right; in a single stream the picture's tokens follow as keys,
            and are one key more.
        shares: The weight of each token in each word, 1 in sum.
        length: Tokens of the question, without padding.
    """
    n, m = weights.shape[-2:]
    ends = torch.zeros(2, n, device=weights.device)
    ends[0, 0] = ends[1, length - 1] = 1
    queries = torch.cat([ends[:1], shares.to(ends), ends[1:]])
    keys = (queries > 0).float()
    if m > n:
        keys = F.pad(keys, (0, m - n, 0, 1))
        keys[-1, n:] = 1
    return among_words(weights, queries, keys)
