"""Self-attention among the moments of a recording, in every layer and head of the encoder of speech.

Encoder frames are merged into moments of about a tenth of a second as soon as a layer has run: the 1500 frames of
Whisper's window would take 9 MB for each head. A value is the share of the attention of a moment's frames that went to
another moment.

Notation: t feature frames, n encoder frames, m moments, h heads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import Site, Tap
from ..models import SpeechRecognizer
from .attention_map import AttentionMap, Axis
from .building import STACK_AXES
from .masking import MOMENT_SECONDS

_NOTE = "The share of each moment's attention, in the encoder, that went to each other moment."


class _MomentsTap(Tap):
    """A tap of an encoder that keeps, in place of frames, moments; its weights are (1, h, m, m)."""

    def __init__(self, sites: Sequence[Site], members: Float[Tensor, "m n"]) -> None:
        super().__init__(sites, select="encoder.*")
        self._members = members

    def record(self, name: str, **tensors: Any) -> None:
        """Keep the weights of one site, merged."""
        super().record(name, **tensors)
        if name in self._weights:
            weights, members = self._weights[name], self._members
            self._weights[name] = (members / members.sum(dim=1, keepdim=True)) @ weights @ members.T


@torch.no_grad()
def moment_attention(
    model: SpeechRecognizer,
    features: Float[Tensor, "mels t"],
    *,
    length: int,
    frame_seconds: float = 0.02,
    start: float = 0.0,
) -> AttentionMap:
    """Compute which moments each moment of a recording attends to: axes (layer, head, query, key), in seconds.

    Rows sum to what did not go to the padding.

    Args:
        model: In eval mode.
        features: Log-mel features of one recording with their padding.
        length: Feature frames without the padding.
        frame_seconds: From one encoder frame to the next, in seconds.
        start: When the first frame begins, in seconds.
    """
    lengths = torch.tensor([length], device=features.device)
    frames = int(model.encoder.frames(features.shape[1]))
    own = max(1, min(int(model.encoder.frames(length)), frames))
    each = max(1, round(MOMENT_SECONDS / frame_seconds))
    members = torch.zeros(-(-own // each), frames, device=features.device)
    for moment, of_moment in enumerate(members):
        of_moment[each * moment : min(own, each * (moment + 1))] = 1
    tap = _MomentsTap(model.attention_sites(tokens=1, frames=frames), members)
    model.encode(features[None], lengths=lengths, tap=tap)
    values = torch.stack([weights[0] for weights in tap.weights.values()]).cpu().numpy()  # (l, h, m, m)
    padding = 1 - float(values.sum(axis=-1).mean())
    note = _NOTE + (f" {padding:.0%} of it went to the silence that fills up the window." if padding > 5e-3 else "")
    time = {"unit": "second", "start": start, "step": each * frame_seconds}
    return AttentionMap(
        values=np.ascontiguousarray(values, dtype=np.float32),
        axes=(*STACK_AXES, Axis("query", **time), Axis("key", **time)),  # type: ignore[arg-type]
        method="self_attention",
        sites=tuple(site.name for site in tap.sites),
        heads=None,
        geometry=None,
        target=None,
        note=note,
    )
