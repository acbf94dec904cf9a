"""The encoder of speech: log-mel features in, one token for each encoder frame out.

Notation: b recordings, t feature frames, n encoder frames (tokens of the encoder), D width.
Source: Radford et al. 2022 (Whisper), section 2.2.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Attention, Probe, Rotary, Site, Tap, probe_at, rotary, sinusoidal
from ..blocks import Activation, FeedForward, MelStem, TransformerBlock, activation, applied
from ..blocks.stems import Count
from ..checks import check_at_least, check_rules
from ..errors import ModelError
from .common import check_transformer, initialize
from .long_inputs import AttentionKind, attention_options, check_long_inputs, long_mask, run_two_streams, spread_tokens


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """Configuration of a `SpeechEncoder`."""

    mels: int = 80
    """Features per frame."""

    dim: int = 384
    """Width of the tokens."""

    depth: int = 4
    """Number of blocks."""

    num_heads: int = 6
    mlp_dim: int = 1536
    """Width inside the feedforward."""

    strides: tuple[int, int] = (1, 2)
    """Steps of the stem's two convolutions; their product is the number of feature frames in an encoder frame."""

    max_frames: int = 1500
    """Most encoder frames of a recording: the rows of the position table. With rotary positions, which have no table,
    the default length of the chunks that a recording is cut into."""

    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    """Rotary positions tell the encoder how far apart frames are, but not the decoder where a frame is: a decoder then
    cannot tell a word from a repetition of it."""

    output_positions: bool = False
    """Add the positions once more to the encoder's output, so that the decoder finds them in what it attends to.
    Source: DETR (Carion et al. 2020), section A.4."""

    attention: AttentionKind = "full"
    """What a token attends to: `full`: all tokens; `window`: those within `window`, and the global ones; `lsh`: those
    whose hashes are near its own. The cost of the last two grows with the number of tokens, not with its square."""

    window: int | None = None
    """Frames that a frame attends to on each side."""

    dilation: int = 1
    """Attend to every so many-th frame of the window alone, which then reaches as many times as far."""

    global_tokens: int = 0
    """Frames, at equal distances in a recording, that attend to all frames and are attended to by all."""

    lsh_chunk: int = 64
    """Tokens that are compared with each other, and with as many before them, once sorted by hash."""

    lsh_rounds: int = 2
    """Rounds of hashing: more find more of the tokens that matter, at a cost that grows with them."""

    reversible: bool = False
    """Whether a training step computes the tokens between the blocks again, so that its memory does not grow with the
    depth. The blocks then run on two streams of tokens. Source: Reformer (Kitaev et al. 2020), section 3."""

    norm_eps: float = 1e-5
    """Added to the variance in each LayerNorm."""

    activation: Activation = "gelu"
    dropout: float = 0.0
    """Share of each branch's output, and of the stem's, dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    stochastic_depth: float = 0.0
    """Probability that the last block's branches are dropped in training; falls linearly to 0 at the first."""

    masked: bool = False
    """Whether the padding of a short recording is masked. Whisper attends to it as silence."""

    def __post_init__(self) -> None:
        """Check that such an encoder can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        check_transformer(self, shares=("dropout", "attention_dropout", "stochastic_depth"))
        check_at_least(self, 1, ("mels", "max_frames"))
        check_long_inputs(self)
        is_sinusoidal, is_rotary = self.positions == "sinusoidal", self.positions == "rotary"
        has_even_heads = self.dim // self.num_heads % 2 == 0
        check_rules(
            self,
            ("strides", len(self.strides) == 2 and min(self.strides) >= 1, "two whole numbers of at least 1"),
            (
                "dim",
                not is_sinusoidal or (self.dim % 2 == 0 and self.dim >= 4),
                "even for sinusoidal positions, and at least 4",
            ),
            (
                "output_positions",
                not (is_rotary and self.output_positions),
                "False with rotary positions, which have no table to add",
            ),
            (
                "dim",
                not is_rotary or has_even_heads,
                f"an even number of times `num_heads` ({self.num_heads}) for rotary positions",
            ),
        )


class SpeechEncoder(nn.Module):
    """Convolutions over time and a pre-norm transformer, built from a `SpeechEncoderConfig`."""

    positions: Tensor | None

    def __init__(self, config: SpeechEncoderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.stem = MelStem(c.mels, c.dim, strides=c.strides)
        if c.positions == "learned":
            self.positions = nn.Parameter(torch.empty(c.max_frames, c.dim))
            nn.init.trunc_normal_(self.positions, std=0.02)
        elif c.positions == "sinusoidal":
            # a buffer: published checkpoints hold the rounded values that their weights were trained with
            self.register_buffer("positions", sinusoidal(c.max_frames, c.dim, inclusive=True))
        else:
            self.positions = None
        self.dropout = nn.Dropout(c.dropout) if c.dropout else None
        self.blocks = nn.ModuleList(self._block(index) for index in range(c.depth))
        self.norm = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.apply(initialize)

    def _block(self, index: int) -> TransformerBlock:
        c = self.config
        return TransformerBlock(
            c.dim,
            attention=Attention(c.dim, c.num_heads, dropout=c.attention_dropout, **attention_options(c, index)),
            feedforward=FeedForward(c.dim, c.mlp_dim, activation=activation(c.activation), dropout=c.dropout),
            norm_eps=c.norm_eps,
            stochastic_depth=c.stochastic_depth * index / max(c.depth - 1, 1),
            dropout=c.dropout,
        )

    def frames(self, lengths: Count) -> Count:
        """Return the number of encoder frames for a number of feature frames."""
        return self.stem.frames(lengths)

    def attention_sites(self, frames: int | None = None) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, with their sizes for this number of encoder frames (default `max_frames`)."""
        count = self.config.max_frames if frames is None else frames
        return tuple(Site(f"blocks.{i}.self", self.config.num_heads, count, count) for i in range(self.config.depth))

    def forward(
        self,
        features: Float[Tensor, "b mels t"],
        *,
        lengths: Int64[Tensor, " b"] | None = None,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "b n D"]:
        """Encode recordings, one vector per encoder frame.

        Args:
            features: Log-mel features.
            lengths: Feature frames of each recording. A `masked` encoder masks the frames after them; another encoder
                ignores them.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: There are more frames than rows in the position table.
        """
        c = self.config
        lengths = lengths if c.masked else None
        x = self.stem(features, lengths=lengths)  # (b, n, D)
        count = x.shape[1]
        positions = None
        if self.positions is not None:
            if not torch.compiler.is_exporting() and count > c.max_frames:
                raise ModelError(
                    f"a recording may have {c.max_frames} encoder frames, but has {count} instead: cut it into chunks"
                )
            positions = self.positions[:count].to(x.dtype)
            x = x + positions
        x = applied(self.dropout, x)
        keys = None if lengths is None else frames_up_to(self.frames(lengths), count)
        of_all = torch.tensor([count], device=x.device) if lengths is None else self.frames(lengths)
        mask = long_mask(c, global_tokens=spread_tokens(of_all, c.global_tokens), keys=keys)
        angles = self._rotary(count, x)
        if c.reversible:
            x = run_two_streams(self.blocks, x, mask=mask, rotary=angles, tap=tap)
        else:
            for i, block in enumerate(self.blocks):
                x = block(
                    x,
                    mask=mask,
                    rotary=angles,
                    probe=probe_at(tap, f"blocks.{i}"),
                    checkpoint_activations=checkpoint_activations,
                )
        x = self.norm(x)
        return x + positions if c.output_positions else x  # type: ignore[no-any-return]

    def _rotary(self, count: int, x: Tensor) -> Rotary | None:
        if self.config.positions != "rotary":
            return None
        angles = rotary(count, self.config.dim // self.config.num_heads, device=x.device)
        return angles.to(x.dtype)


def frames_up_to(lengths: Int64[Tensor, " b"], count: int) -> Bool[Tensor, "b n"]:
    """Return a mask of `count` frames, True for the first `lengths` of each row."""
    return torch.arange(count, device=lengths.device) < lengths[:, None]
