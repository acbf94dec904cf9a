"""One teacher-forced pass over transcripts that are there already: where each attention head looked for each token.

Notation: b recordings, r transcripts (r / b of each recording, side by side), n tokens of a transcript that are read, m
encoder frames, C width of what is attended to, V vocabulary.

The decoder has its transcript in front of it and predicts each token again, so that what comes out does not depend on
how the transcript was found (greedy, beams, sampling, cached or not), and generation does not know of it. The row that
predicts a token is the one of the token before it. Source: openai-whisper, timing.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..attention import Mask, ProjectedContext, Site, Tap
from ..attention.heads import Head
from ..attention.heads import check_heads as checked_heads
from ..attention.score import Score
from ..attention.tap import ungrouped
from ..errors import ModelError
from ..models import SpeechRecognizer

Fold = Callable[[Head, int, np.ndarray], None]
"""Takes in where a head looked for a transcript (its place in the batch): (n, m) of its own rows and frames."""


FOUND_BY = "`multiattn align-heads`"
"""What finds the heads that follow the speech, for messages."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Transcripts of one batch, ready to be read again."""

    context: ProjectedContext
    tokens: Int64[Tensor, "r n"]
    """All transcripts, filled up on the right. Nothing attends to what follows it, so the filling changes nothing."""

    sizes: tuple[tuple[int, int], ...]
    """Of each transcript: its own tokens, the end token among them, and the frames of its recording."""

    rows: tuple[slice, ...]
    """Of each transcript: the rows that predict its text, and last the one that predicts the end."""

    texts: tuple[list[int], ...]
    """Of each transcript: its tokens without prompt and end."""

    @classmethod
    def of(
        cls,
        model: SpeechRecognizer,
        context: Float[Tensor, "b m C"] | ProjectedContext,
        tokens: Sequence[Sequence[int]],
        *,
        prompt_lengths: Sequence[int],
        frames: Sequence[int],
    ) -> "Reading":
        """Check transcripts and lay them out.

        Args:
            model: Who is to read them.
            context: What its encoder made of the recordings, or what the decoder's `project_context` made of that;
                each may have several transcripts, which then stand together.
            tokens: Of each transcript, from the start token on, prompt included; the end token may follow.
            prompt_lengths: Of each: tokens before the first of the text, the start token included; at least 1.
            frames: Of each: encoder frames of the recording itself, silence that fills it up left out; at least 1.

        Raises:
            ModelError: They do not fit each other, or there are none.
        """
        projected = context if isinstance(context, ProjectedContext) else model.decoder.project_context(context)
        width = projected.layers[0].keys.shape[2]
        _check(tokens, prompt_lengths, frames, contexts=len(projected), width=width)
        config = model.config.decoder
        # with its end, for the last word ends where the end begins
        ended = [[*text, *([] if text[-1] == config.end_token else [config.end_token])] for text in map(list, tokens)]
        filled = torch.full((len(ended), max(map(len, ended))), config.pad_token, dtype=torch.int64)
        for row, text in zip(filled, ended, strict=True):
            row[: len(text)] = torch.tensor(text)
        return cls(
            context=projected,
            tokens=filled.to(projected.device),
            sizes=tuple((len(text), count) for text, count in zip(ended, frames, strict=True)),
            rows=tuple(slice(start - 1, len(text) - 1) for start, text in zip(prompt_lengths, ended, strict=True)),
            texts=tuple(text[start:-1] for start, text in zip(prompt_lengths, ended, strict=True)),
        )

    @torch.inference_mode()
    def read(
        self, model: SpeechRecognizer, heads: Sequence[Head], fold: Fold, *, last_only: bool = True
    ) -> Float[Tensor, "r out V"]:
        """One pass of the decoder.

        Args:
            model: Who reads.
            heads: Those whose look is wanted, as `check_heads` gives them.
            fold: Called for each of them and each transcript, layer by layer; may change what it is given.
            last_only: Score only what follows the last token, which nobody needs to know.

        Returns:
            What the decoder gives.
        """
        sites = model.decoder.attention_sites(
            tokens=self.tokens.shape[1], context_tokens=self.context.layers[0].keys.shape[2]
        )
        tap = _FoldingTap(sites, heads=heads, sizes=self.sizes, fold=fold)
        return model.decoder(self.tokens, self.context, last_only=last_only, tap=tap)  # type: ignore[no-any-return]


def check_heads(model: SpeechRecognizer, heads: Sequence[Head] | None) -> tuple[Head, ...]:
    """The alignment heads that are meant: all of the later half of the layers where None, as Whisper has it.

    Raises:
        ModelError: There are none, or one does not exist.
    """
    depth, count = model.config.decoder.depth, model.config.decoder.num_heads
    if heads is None:
        return tuple((layer, head) for layer in range(depth // 2, depth) for head in range(count))
    return checked_heads(heads, depth=depth, num_heads=count, found_by=FOUND_BY)


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
    for name, given in (("prompt_lengths", prompt_lengths), ("frames", frames)):
        if len(given) != len(tokens):
            raise ModelError(f"`{name}` must be one for each of {len(tokens)} transcripts, but are {len(given)}.")
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
    """A tap that hands each head's weights on as soon as they are there, and keeps none."""

    def __init__(
        self, sites: Sequence[Site], *, heads: Sequence[Head], sizes: Sequence[tuple[int, int]], fold: Fold
    ) -> None:
        self._layers: dict[str, int] = {}
        of_site: dict[str, list[int]] = {}
        for layer, head in heads:
            name = f"blocks.{layer}.cross"
            self._layers[name] = layer
            of_site.setdefault(name, []).append(head)
        super().__init__(sites, select=list(of_site), heads=of_site)
        self._asked, self._sizes, self._fold = of_site, sizes, fold

    def record(
        self, name: str, *, q: Tensor, k: Tensor, v: Tensor, output: Tensor, mask: Mask, score: Score, group: int = 1
    ) -> None:
        del v, output  # gradients are not asked for
        if name not in self._asked:
            return
        allowed = None if mask.is_open else mask.dense(q.shape[-2], k.shape[-2], device=q.device)
        for head in self._asked[name]:
            with torch.autocast(device_type=q.device.type, enabled=False):
                weights = score.weights(q, k, heads=[head], allowed=allowed)
            looks = ungrouped(weights, group)[:, 0].cpu().numpy()  # (r, n, m)
            for item, (rows, frames) in enumerate(self._sizes):
                own = looks[item, :rows, :frames]
                # what went to the silence after the recording is left out, as if it had not been there
                own = own / np.maximum(own.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
                self._fold((self._layers[name], head), item, own)
