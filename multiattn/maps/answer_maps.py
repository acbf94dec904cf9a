"""The maps of a question and its answer, and what every layer and head attended to for them."""

from typing import NamedTuple

from .attention_map import AttentionMap


class AnswerMaps(NamedTuple):
    """The maps of a question and its answer over one picture, by one method."""

    question: AttentionMap
    """Of each word of the question."""

    answer: AttentionMap
    """Of each word of the answer; of the whole answer, where it is one of a closed list."""


class AnswerStacks(NamedTuple):
    """What every layer and head attended to for a question and its answer."""

    question: AttentionMap
    """As in `AnswerMaps`, after the axes (layer, head)."""

    answer: AttentionMap
    """As in `AnswerMaps`, after the axes (layer, head)."""

    words: AttentionMap
    """Self-attention among the words of the question, axes (layer, head, query, key). The queries are the first token,
    the words and the end token; so are the keys, and of a single stream also the picture."""
