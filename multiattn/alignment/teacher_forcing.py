"""Transcripts replayed: one decoder pass, and what each attention head attended to for each token.

`SpeechReplay` runs the pass and hands each head's weights to a callback as soon as its layer has run; `token_attention`
collects what word times are computed from.

Notation: r transcripts, n tokens of a transcript, V vocabulary; b recordings (r / b transcripts of each, side by side),
m encoder frames, C width of the context.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ..attention import Head, Mask, ProjectedContext, Site, Tap, valid_heads
from ..attention.score import Score
from ..attention.tap import ungrouped
from ..checks import check_one_each
from ..errors import ModelError
from ..inputs.text import Word
from ..models import SpeechRecognizer
from .dtw import FILTER_WIDTH, evidence
from .replay import Replay, predicting_rows

HeadCallback = Callable[[Head, int, np.ndarray], None]
"""Takes a head, the index of a transcript, and the head's weights for it: (n, m), without padding. It may change the
array."""

FOUND_BY = "`multiattn align-heads`"
"""The command that finds the alignment heads, for messages."""


@dataclass(frozen=True, eq=False)
class SpeechReplay:
    """Transcripts of one batch of recordings, laid out for one pass of a recognizer's decoder."""

    context: ProjectedContext
    transcripts: Replay
    """With the end token. Its `rows` predict the text, without the end token."""

    frames: tuple[int, ...]
    """Of each transcript: the frames of its recording, without the silence that pads it."""

    @classmethod
    def of(
        cls,
        model: SpeechRecognizer,
        context: Float[Tensor, "b m C"] | ProjectedContext,
        tokens: Sequence[Sequence[int]],
        *,
        prompt_lengths: Sequence[int],
        frames: Sequence[int],
        words: Sequence[Sequence[Word]] | None = None,
    ) -> "SpeechReplay":
        """Check transcripts and lay them out.

        Args:
            model: The recognizer that is to run.
            context: The encoder's output for the recordings, or the decoder's `project_context` of that. Each recording
                may have several transcripts, side by side.
            tokens: Of each transcript, from the start token on, prompt included; the end token may follow.
            prompt_lengths: Of each: tokens before the first of the text, the start token included; at least 1.
            frames: Of each: encoder frames of the recording itself, without the silence that pads it; at least 1.
            words: Of each, at least one, where `transcripts.shares` is needed.

        Raises:
            ModelError: They do not fit each other, or there are none.
        """
        projected = context if isinstance(context, ProjectedContext) else model.decoder.project_context(context)
        _check(tokens, prompt_lengths, frames, contexts=len(projected), width=projected.layers[0].keys.shape[2])
        end, pad = model.config.decoder.end_token, model.config.decoder.pad_token
        texts = [[*text[:-1]] if text[-1] == end else [*text] for text in tokens]
        replay = Replay.of(
            [[*text, end] for text in texts],
            predicting_rows(texts, prompt_lengths),
            words,
            pad_token=pad,
            device=projected.device,
            kind="transcript",
        )
        return cls(projected, replay, tuple(frames))

    @property
    def rows(self) -> tuple[slice, ...]:
        """Of each transcript: the rows that predict its text, and last the one that predicts the end token."""
        return tuple(slice(rows.start, rows.stop + 1) for rows in self.transcripts.rows)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Of each transcript: its tokens, and the frames of its recording."""
        return list(zip(self.transcripts.attention_mask.sum(dim=1).tolist(), self.frames, strict=True))

    @torch.inference_mode()
    def read(
        self, model: SpeechRecognizer, heads: Sequence[Head], fold: HeadCallback, *, last_only: bool = True
    ) -> Float[Tensor, "r out V"]:
        """Run the decoder once.

        Args:
            model: The recognizer.
            heads: The heads of the cross-attention whose weights are wanted, as `check_heads` returns them.
            fold: Called for each of these and each transcript, layer by layer.
            last_only: Compute the logits of the last row alone, for callers that do not need any.

        Returns:
            The logits.
        """
        sites = model.decoder.attention_sites(
            tokens=self.transcripts.inputs.shape[1], context_tokens=self.context.layers[0].keys.shape[2]
        )
        tap = _FoldingTap(sites, heads=heads, sizes=self.sizes, fold=fold)
        return model.decoder(self.transcripts.inputs, self.context, last_only=last_only, tap=tap)  # type: ignore[no-any-return]


def check_heads(model: SpeechRecognizer, heads: Sequence[Head] | None) -> tuple[Head, ...]:
    """Check alignment heads against a model; without any, return all heads of the later half of its layers.

    Source: openai-whisper, model.py, which does the same where a model states none.

    Raises:
        ModelError: There are none, or one does not exist.
    """
    depth, count = model.config.decoder.depth, model.config.decoder.num_heads
    if heads is None:
        return tuple((layer, head) for layer in range(depth // 2, depth) for head in range(count))
    return valid_heads(heads, depth=depth, num_heads=count, found_by=FOUND_BY)


@dataclass(frozen=True, eq=False)
class TokenAttention:
    """The alignment heads' attention during the replay of one transcript. Row i predicts token i of the text."""

    evidence: Float32[np.ndarray, "rows m"]
    """How strongly the attention points to each frame for each token, for `begin_frames`. The last row is that of the
    end token."""

    mean: Float32[np.ndarray, "rows m"]
    """The mean attention of the heads, each row 1 in all, for `progress`."""

    log_probs: Float32[np.ndarray, " tokens"] | None
    """The log-probability of each token of the text, one fewer than rows; None where they were not requested."""


@torch.inference_mode()
def token_attention(
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
) -> list[TokenAttention]:
    """Replay transcripts, one decoder pass for all of them, and collect what their word times are computed from.

    Each head's weights are added up as soon as its layer has run, so memory does not grow with the number of heads.

    Args:
        model: A recognizer in eval mode.
        context: As `SpeechReplay.of` takes it, as are the next three.
        tokens: Of each transcript.
        prompt_lengths: Of each transcript.
        frames: Of each transcript.
        heads: The alignment heads; where None, all of the later half of the layers.
        scored: Whether the log-probabilities are wanted, which needs the logits of the whole vocabulary.
        special_ids: Tokens that no text consists of, which `log_probs` counts as impossible.
        filter_width: Frames of the median filter; odd.

    Raises:
        ModelError: The arguments do not fit each other, there is no such head, or a transcript is longer than the
            decoder can read.
    """
    replay = SpeechReplay.of(model, context, tokens, prompt_lengths=prompt_lengths, frames=frames)
    chosen = check_heads(model, heads)
    pointed = [np.zeros(size, dtype=np.float32) for size in replay.sizes]
    attended = [np.zeros(size, dtype=np.float32) for size in replay.sizes]

    def fold(head: Head, item: int, weights: np.ndarray) -> None:
        del head
        attended[item] += weights / len(chosen)
        pointed[item] += evidence(weights, filter_width=filter_width) / len(chosen)

    logits = replay.read(model, chosen, fold, last_only=not scored)
    log_probs = [
        replayed_log_probs(replay.transcripts, i, logits, special_ids) if scored else None for i in range(len(tokens))
    ]
    return [TokenAttention(pointed[i][rows], attended[i][rows], log_probs[i]) for i, rows in enumerate(replay.rows)]


def replayed_log_probs(
    replay: Replay, item: int, logits: Float[Tensor, "r n V"], special_ids: Collection[int]
) -> Float32[np.ndarray, " tokens"]:
    """The log-probability of each token of one text, without a share for special tokens."""
    rows = replay.rows[item]
    of_text = logits[item, rows].float()
    if special_ids:
        of_text = of_text.index_fill(-1, torch.tensor(sorted(special_ids), device=logits.device), -torch.inf)
    chosen = replay.tokens[item, 1:][rows, None]
    return np.asarray(of_text.log_softmax(dim=-1).gather(-1, chosen)[:, 0].cpu().numpy())


def _check(
    tokens: Sequence[Sequence[int]],
    prompt_lengths: Sequence[int],
    frames: Sequence[int],
    *,
    contexts: int,
    width: int,
) -> None:
    if not tokens or not contexts or len(tokens) % contexts:
        raise ModelError(
            f"`tokens` must be of as many transcripts for each of {contexts} recordings, but are of {len(tokens)}."
        )
    check_one_each(len(tokens), "transcripts", prompt_lengths=prompt_lengths, frames=frames)
    for i, (text, start, count) in enumerate(zip(tokens, prompt_lengths, frames, strict=True)):
        if not 1 <= start <= len(text):
            raise ModelError(
                f"`prompt_lengths` of transcript {i} must be from 1 to its {len(text)} tokens, for nothing predicts "
                f"the start token, but is {start} instead."
            )
        if not 1 <= count <= width:
            raise ModelError(
                f"`frames` of transcript {i} must be from 1 to the {width} the encoder gave, but is {count} instead."
            )


class _FoldingTap(Tap):
    """A tap that passes each head's weights to a callback as soon as they are computed, and keeps none."""

    def __init__(
        self, sites: Sequence[Site], *, heads: Sequence[Head], sizes: Sequence[tuple[int, int]], fold: HeadCallback
    ) -> None:
        self._heads_at: dict[str, list[Head]] = {}
        for layer, head in heads:
            self._heads_at.setdefault(f"blocks.{layer}.cross", []).append((layer, head))
        super().__init__(sites, select=list(self._heads_at))
        self._sizes, self._fold = sizes, fold

    def record(
        self,
        name: str,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        output: Tensor,
        mask: Mask,
        score: Score,
        bias: Tensor | None = None,
        group: int = 1,
    ) -> None:
        del v, output  # needed for gradients alone
        if name not in self._heads_at:
            return
        for head in self._heads_at[name]:
            with torch.autocast(device_type=q.device.type, enabled=False):
                weights = score.weights(q, k, mask=mask, bias=bias, heads=[head[1]])
            of_head = ungrouped(weights, group)[:, 0].cpu().numpy()  # (r, n, m)
            for item, (rows, frames) in enumerate(self._sizes):
                own = of_head[item, :rows, :frames]
                # attention to the silence that pads the recording is left out, and the rest scaled to 1
                own = own / np.maximum(own.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
                self._fold(head, item, own)
