"""What the alignment heads saw in transcripts that are there already: evidence of when tokens are spoken, and scores.

Notation: b recordings, n tokens of a transcript that are read, m encoder frames, C width of what is attended to.

A head's look is folded into two pictures of tokens and frames as soon as its layer has run: what stays in memory is as
much as one head's, however many there are.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ..attention import ProjectedContext
from ..attention.heads import Head
from ..models import SpeechRecognizer
from .dtw import FILTER_WIDTH, evidence
from .teacher_forcing import Reading, check_heads


@dataclass(frozen=True, eq=False)
class Listening:
    """Where the alignment heads looked while one transcript was read; row i was to predict token i of the text."""

    evidence: Float32[np.ndarray, "rows m"]
    """What their look says about when each token is spoken, for `begin_frames`. Its last row is the end's."""

    look: Float32[np.ndarray, "rows m"]
    """The mean of their looks, each row 1 in all: for `progress`."""

    log_probs: Float32[np.ndarray, " tokens"] | None
    """Of each token of the text, given what came before; None where they were not asked for. One less than rows."""


@torch.inference_mode()
def listen(
    model: SpeechRecognizer,
    context: Float[Tensor, "b m C"] | ProjectedContext,
    tokens: Sequence[Sequence[int]],
    *,
    prompt_lengths: Sequence[int],
    frames: Sequence[int],
    heads: Sequence[Head] | None = None,
    scored: bool = False,
    special_ids: Collection[int] = (),
    filter_width: int = FILTER_WIDTH,
) -> list[Listening]:
    """Read transcripts again, one decoder pass for all of them.

    Args:
        model: A recognizer in eval mode.
        context: What its encoder made of the recordings, or what the decoder's `project_context` made of that; each
            may have several transcripts, which then stand together.
        tokens: Of each transcript, from the start token on, prompt included; the end token may follow.
        prompt_lengths: Of each: tokens before the first of the text, the start token included; at least 1.
        frames: Of each: encoder frames of the recording itself, silence that fills it up left out; at least 1.
        heads: The alignment heads; all of the later half of the layers where None, as Whisper's models without stated
            ones have it.
        scored: Whether the tokens' probabilities are wanted, which costs a look at the whole vocabulary.
        special_ids: Tokens that no text is made of: `scored` then is among the others.
        filter_width: Frames of the median filter; odd.

    Raises:
        ModelError: What is given does not fit each other, there is no such head, or a transcript is longer than the
            decoder can read.
    """
    reading = Reading.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames)
    chosen = check_heads(model, heads)
    told = [np.zeros(size, dtype=np.float32) for size in reading.sizes]
    seen = [np.zeros(size, dtype=np.float32) for size in reading.sizes]

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        del head
        seen[item] += weights / len(chosen)
        told[item] += evidence(weights, filter_width=filter_width) / len(chosen)

    logits = reading.read(model, chosen, fold, last_only=not scored)
    return [
        Listening(
            told[i][rows],
            seen[i][rows],
            _log_probs(logits[i, rows][:-1], reading.texts[i], special_ids) if scored else None,
        )
        for i, rows in enumerate(reading.rows)
    ]


def _log_probs(logits: Tensor, text: list[int], special_ids: Collection[int]) -> np.ndarray:
    """The log-probability of each token of a text; special ones get no share."""
    logits = logits.float()
    if special_ids:
        logits = logits.index_fill(-1, torch.tensor(sorted(special_ids), device=logits.device), -torch.inf)
    chosen = torch.tensor(text, dtype=torch.int64, device=logits.device)[:, None]
    made: np.ndarray = logits.log_softmax(dim=-1).gather(-1, chosen)[:, 0].cpu().numpy()
    return made
