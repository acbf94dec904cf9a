"""What a recognizer listened to for each word, as `AttentionMap`s over (word, time).

Notation: b recordings, m encoder frames, C width of what the decoder attends to, l layers, h heads, w words.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..alignment.teacher_forcing import FOUND_BY, Reading
from ..attention import ProjectedContext
from ..attention.heads import Head
from ..errors import ModelError
from ..inputs.text import Word
from ..models import SpeechRecognizer
from .attention_map import AttentionMap, Axis
from .heads import mean_of_heads

SPEECH_METHOD_NOTES = {
    "attention": "The share of the decoder's look, while it chose the word, that went to each moment. "
    "It says where the model listened, not what for.",
}
SPEECH_METHODS = tuple(SPEECH_METHOD_NOTES)
"""The names of map methods for speech."""


def speech_attention_stack(
    model: SpeechRecognizer,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_lengths: Sequence[int],
    frames: Sequence[int],
    frame_seconds: float = 0.02,
    starts: Sequence[float] | None = None,
) -> list[AttentionMap]:
    """What every layer and head listened to for each word: one map a transcript, axes (layer, head, word, time).

    Args:
        model: A recognizer in eval mode.
        context: What its encoder made of the recordings, or what the decoder's `project_context` made of that; each
            may have several transcripts, which then stand together.
        tokens: Of each transcript, from the start token on, prompt included; the end token may follow.
        words: Of each transcript, at least one; their pieces count from the first token after the prompt.
        prompt_lengths: Of each: tokens before the first of the text, the start token included; at least 1.
        frames: Of each: encoder frames of the recording itself, silence that fills it up left out; at least 1.
        frame_seconds: From one encoder frame to the next, in seconds.
        starts: Of each: when its first frame begins, in seconds; 0 where None.

    Raises:
        ModelError: What is given does not fit each other, or a transcript is longer than the decoder can read.
    """
    for name, given in (("words", words), ("starts", starts)):
        if given is not None and len(given) != len(tokens):
            raise ModelError(f"`{name}` must be one for each of {len(tokens)} transcripts, but are {len(given)}.")
    reading = Reading.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames)
    shares = [
        _shares(words[i], rows, count)
        for i, (rows, (count, _)) in enumerate(zip(reading.rows, reading.sizes, strict=True))
    ]
    depth, heads = model.config.decoder.depth, model.config.decoder.num_heads
    stacks = [
        np.zeros((depth, heads, len(share), count), dtype=np.float32)
        for share, (_, count) in zip(shares, reading.sizes, strict=True)
    ]

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        stacks[item][head] = shares[item] @ weights

    reading.read(model, [(layer, head) for layer in range(depth) for head in range(heads)], fold)
    return [
        AttentionMap(
            values=stack,
            axes=(
                Axis("layer", "index"),
                Axis("head", "index"),
                *_axes(words[i], frame_seconds, None if starts is None else starts[i]),
            ),
            method="attention",
            sites=tuple(f"decoder.blocks.{layer}.cross" for layer in range(depth)),
            heads=None,
            geometry=None,
            target="".join(_labels(words[i])).strip(),
            note="The share of each attention head's look, while it chose the word, that went to each moment.",
        )
        for i, stack in enumerate(stacks)
    ]


def speech_attention(
    stack: AttentionMap,
    *,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[Head] | None = None,
) -> AttentionMap:
    """One map out of a stack of `speech_attention_stack`, axes (word, time).

    Args:
        stack: Axes (layer, head, word, time).
        layer: Negative from the end; the mean of all where None.
        head: The mean of all where None.
        heads: The mean of these instead, each a layer and a head: such as the alignment heads.

    Raises:
        ModelError: There is no such layer or head, or `heads` is given with one of the others or is empty.
    """
    found = mean_of_heads(stack, layer=layer, head=head, heads=heads, found_by=FOUND_BY)
    return replace(found, note=SPEECH_METHOD_NOTES["attention"])


def _shares(words: Sequence[Word], rows: slice, count: int) -> np.ndarray:
    """How much each of a transcript's rows counts for each word, 1 in all: (w, n)."""
    if not words:
        raise ModelError("`words` of a transcript must be at least one, but are none: it has no maps.")
    found = np.zeros((len(words), count), dtype=np.float32)
    for share, word in zip(found, words, strict=True):
        if not word.pieces or min(word.pieces) < 0 or rows.start + max(word.pieces) >= rows.stop - 1:
            raise ModelError(
                f"`pieces` of the word {word.text!r} must be from 0 to {rows.stop - rows.start - 2}, but are "
                f"{word.pieces} instead."
            )
        share[[rows.start + piece for piece in word.pieces]] = 1 / len(word.pieces)
    return found


def _labels(words: Sequence[Word]) -> tuple[str, ...]:
    ends = [0, *(word.end for word in words)]
    return tuple(" " * (word.start - end) + word.text for word, end in zip(words, ends, strict=False))


def _axes(words: Sequence[Word], frame_seconds: float, start: float | None) -> tuple[Axis, Axis]:
    return Axis("word", "word", labels=_labels(words)), Axis("time", "second", start=start or 0.0, step=frame_seconds)
