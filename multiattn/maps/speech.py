"""Maps of a recognizer: which moments of a recording each word was read from, as `AttentionMap`s over (word, time).

`speech_contributions` has the method that says which sound made a word.

Notation: b recordings, m encoder frames, C width of the context, l layers, h heads, w words, n rows of a transcript.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..alignment.teacher_forcing import FOUND_BY, SpeechReplay
from ..attention import Head, ProjectedContext
from ..checks import check_one_each
from ..inputs.text import Word
from ..models import SpeechRecognizer
from ..registry import task_spec
from .attention_map import AttentionMap, Axis
from .building import STACK_AXES, mean_of_heads

SPEECH_METHOD_NOTES = {
    "attention": "The share of the decoder's attention, while it predicted the word, that went to each moment. "
    "It shows where the model listened, not what for.",
    "lrp": "The contribution of each moment and mel band to the word's log-probability, followed back from it through "
    "every operation. What is above 0 raised the probability of the word, what is below 0 lowered it.",
}
"""How to read a map, by method."""

SPEECH_METHODS = task_spec("transcribe").map_methods
"""The map methods for speech."""


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
    """Compute what every layer and head attended to: one stack a transcript, axes (layer, head, word, time).

    Args:
        model: A recognizer in eval mode.
        context: As `SpeechReplay.of` takes it, as are `tokens`, `prompt_lengths` and `frames`.
        tokens: Of each transcript.
        words: Of each transcript, at least one; their pieces count from the first token after the prompt.
        prompt_lengths: Of each transcript.
        frames: Of each transcript.
        frame_seconds: From one encoder frame to the next, in seconds.
        starts: Of each: when its first frame begins, in seconds; 0 where None.

    Raises:
        ModelError: The arguments do not fit each other, or a transcript is longer than the decoder can read.
    """
    check_one_each(len(tokens), "transcripts", words=words, starts=starts)
    replay = SpeechReplay.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames, words=words)
    depth, num_heads = model.config.decoder.depth, model.config.decoder.num_heads
    shares = [
        share[:, :rows].cpu().numpy()  # (w, n)
        for share, (rows, _) in zip(replay.transcripts.shares, replay.sizes, strict=True)
    ]
    stacks = [
        np.zeros((depth, num_heads, len(share), count), dtype=np.float32)
        for share, count in zip(shares, replay.frames, strict=True)
    ]

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        stacks[item][head] = shares[item] @ weights

    replay.read(model, [(layer, head) for layer in range(depth) for head in range(num_heads)], fold)
    return [
        AttentionMap(
            values=stack,
            axes=(
                *STACK_AXES,
                Axis("word", "word", labels=labels),
                Axis("time", "second", start=start, step=frame_seconds),
            ),
            method="attention",
            sites=tuple(f"decoder.blocks.{layer}.cross" for layer in range(depth)),
            heads=None,
            geometry=None,
            target="".join(labels).strip(),
            note="The share of each head's attention, while it predicted the word, that went to each moment.",
        )
        for stack, labels, start in zip(stacks, replay.transcripts.labels, starts or [0.0] * len(stacks), strict=True)
    ]


def speech_attention(
    stack: AttentionMap,
    *,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[Head] | None = None,
) -> AttentionMap:
    """Average a stack of `speech_attention_stack`: the map by the method `attention`, axes (word, time).

    Args:
        stack: Axes (layer, head, word, time).
        layer: Negative from the end; all where None.
        head: All where None.
        heads: These alone, in place of `layer` and `head`: such as the alignment heads.

    Raises:
        ModelError: There is no such layer or head, or `heads` is given with one of the others or is empty.
    """
    found = mean_of_heads(stack, layer=layer, head=head, heads=heads, found_by=FOUND_BY)
    return replace(found, note=SPEECH_METHOD_NOTES["attention"])
