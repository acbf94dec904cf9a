"""The speech recognizer: an encoder reads a recording's features, a text decoder writes what was said.

In here: the two configurations, the presets, the encoder, the recognizer.

Notation: b recordings, t feature frames, n encoder frames (tokens of the encoder), r texts (r / b of each recording,
side by side), k tokens of a text, D width, V vocabulary.
Source: Radford et al. 2022 (Whisper), section 2.2; the CTC head: Watanabe et al. 2017, section II.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Attention, Mask, Probe, Rotary, Site, Tap, probe_at, rotary, sinusoidal
from ..blocks import Activation, FeedForward, MelStem, TransformerBlock, activation, applied
from ..blocks.stems import Count
from ..checks import check_at_least, check_choices, check_rules
from ..errors import ModelError
from .common import check_transformer, initialize, sites_of
from .text_decoder import TextDecoder, TextDecoderConfig


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

    window: int | None = None
    """Frames that a frame attends to on each side, at a cost linear in the length; all frames where None."""

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
        if self.window is not None:
            check_at_least(self, 0, ("window",))
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


@dataclass(frozen=True)
class SpeechConfig:
    """Configuration of a `SpeechRecognizer`."""

    encoder: SpeechEncoderConfig
    decoder: TextDecoderConfig
    ctc: bool = False
    """Whether there is a CTC head over the encoder; its blank is the decoder's padding token."""

    context: Literal["all", "real"] = "all"
    """The encoder frames that the decoder attends to: all, as in Whisper, or only those of the recording itself."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        check_choices(self)
        dim = self.encoder.dim
        check_rules(
            self,
            ("decoder.context_dim", dim == self.decoder.context_dim, f"the encoder's `dim` ({dim})"),
            ("context", not self.encoder.masked or self.context == "real", "'real' where the encoder is `masked`"),
        )


_MULTILINGUAL, _ENGLISH, _VERSION_3 = 51865, 51864, 51866  # sizes of Whisper's vocabularies


def _whisper(
    dim: int, depth: int, *, vocabulary: int = _MULTILINGUAL, mels: int = 80, decoder_depth: int | None = None
) -> SpeechConfig:
    """Return the configuration of a Whisper model, whose heads are 64 wide. Source: Radford et al. 2022, table 1."""
    end = 50256 if vocabulary == _ENGLISH else 50257
    return SpeechConfig(
        SpeechEncoderConfig(mels=mels, dim=dim, depth=depth, num_heads=dim // 64, mlp_dim=4 * dim),
        TextDecoderConfig(
            vocab_size=vocabulary,
            dim=dim,
            depth=decoder_depth or depth,
            num_heads=dim // 64,
            mlp_dim=4 * dim,
            max_length=448,
            context_dim=dim,
            start_token=end + 1,
            end_token=end,
            pad_token=end,
        ),
    )


PRESETS: dict[str, SpeechConfig] = {
    "whisper_tiny": _whisper(384, 4),
    "whisper_tiny_en": _whisper(384, 4, vocabulary=_ENGLISH),
    "whisper_base": _whisper(512, 6),
    "whisper_base_en": _whisper(512, 6, vocabulary=_ENGLISH),
    "whisper_small": _whisper(768, 12),
    "whisper_small_en": _whisper(768, 12, vocabulary=_ENGLISH),
    "whisper_medium": _whisper(1024, 24),
    "whisper_medium_en": _whisper(1024, 24, vocabulary=_ENGLISH),
    "whisper_large": _whisper(1280, 32),
    "whisper_large_v3": _whisper(1280, 32, vocabulary=_VERSION_3, mels=128),
    "whisper_large_v3_turbo": _whisper(1280, 32, vocabulary=_VERSION_3, mels=128, decoder_depth=4),
    # small enough to be trained on a CPU; a frame is 40 ms and attends to 0.4 s on each side in each block
    "compact": SpeechConfig(
        SpeechEncoderConfig(
            mels=80,
            dim=144,
            depth=4,
            num_heads=4,
            mlp_dim=576,
            strides=(2, 2),
            max_frames=375,
            output_positions=True,
            window=10,
            dropout=0.1,
            masked=True,
        ),
        TextDecoderConfig(
            vocab_size=64, dim=144, depth=2, num_heads=4, mlp_dim=576, max_length=64, context_dim=144, dropout=0.1
        ),
        ctc=True,
        context="real",
    ),
}
"""Configurations by name."""


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
            attention=Attention(c.dim, c.num_heads, dropout=c.attention_dropout),
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
    ) -> Float[Tensor, "b n D"]:
        """Encode recordings, one vector per encoder frame.

        Args:
            features: Log-mel features.
            lengths: Feature frames of each recording. A `masked` encoder masks the frames after them; another encoder
                ignores them.
            tap: Captures attention weights.

        Raises:
            ModelError: There are more frames than rows in the position table.
        """
        c = self.config
        lengths = lengths if c.masked else None
        x = self.stem(features, lengths=lengths)  # (b, n, D)
        count = x.shape[1]
        positions = None
        if self.positions is not None:
            if count > c.max_frames:
                raise ModelError(
                    f"a recording may have {c.max_frames} encoder frames, but has {count} instead: cut it into chunks"
                )
            positions = self.positions[:count].to(x.dtype)
            x = x + positions
        x = applied(self.dropout, x)
        keys = None if lengths is None else frames_up_to(self.frames(lengths), count)
        mask, angles = Mask(window=c.window, keys=keys), self._rotary(count, x)
        for i, block in enumerate(self.blocks):
            x = block(x, mask=mask, rotary=angles, probe=probe_at(tap, f"blocks.{i}"))
        x = self.norm(x)
        return x + positions if c.output_positions else x  # type: ignore[no-any-return]

    def _rotary(self, count: int, x: Tensor) -> Rotary | None:
        if self.config.positions != "rotary":
            return None
        angles = rotary(count, self.config.dim // self.config.num_heads, device=x.device)
        return Rotary(angles.cos.to(x.dtype), angles.sin.to(x.dtype))


class SpeechRecognizer(nn.Module):
    """A speech encoder and a text decoder, built from a `SpeechConfig`."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpeechEncoder(config.encoder)
        self.decoder = TextDecoder(config.decoder)
        self.ctc_head = nn.Linear(config.encoder.dim, config.decoder.vocab_size) if config.ctc else None
        if self.ctc_head is not None:
            initialize(self.ctc_head)

    def attention_sites(self, *, tokens: int, frames: int | None = None) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, with their sizes for one pass.

        Args:
            tokens: Tokens of the text that the decoder is given.
            frames: Encoder frames; `max_frames` where None.
        """
        encoder = self.encoder.attention_sites(frames)
        decoder = self.decoder.attention_sites(tokens=tokens, context_tokens=encoder[0].k_len)
        return sites_of([("encoder", encoder), ("decoder", decoder)])

    def encode(
        self,
        features: Float[Tensor, "b mels t"],
        *,
        lengths: Int64[Tensor, " b"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "b n D"]:
        """Encode recordings for the decoder; the arguments are those of `SpeechEncoder.forward`."""
        return self.encoder(features, lengths=lengths, tap=probe_at(tap, "encoder"))  # type: ignore[no-any-return]

    def context_attention_mask(self, frames: int, lengths: Int64[Tensor, " b"] | None) -> Bool[Tensor, "b n"] | None:
        """Return the mask of the encoder frames that the decoder attends to; None where it attends to all of them.

        Args:
            frames: Encoder frames of the batch.
            lengths: Feature frames of each recording; None where no recording is padded.
        """
        if self.config.context == "all" or lengths is None:
            return None
        return frames_up_to(self.encoder.frames(lengths), frames)

    def forward(
        self,
        features: Float[Tensor, "b mels t"],
        tokens: Int64[Tensor, "r k"],
        *,
        lengths: Int64[Tensor, " b"] | None = None,
        attention_mask: Bool[Tensor, "r k"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r k V"]:
        """Return the logits of the token that follows each token.

        Args:
            features: Log-mel features.
            tokens: Texts, the same number for each recording.
            lengths: Feature frames of each recording; None where no recording is padded.
            attention_mask: False where a token is padding.
            tap: Captures attention weights.
        """
        context = self.encode(features, lengths=lengths, tap=tap)
        return self.decoder(  # type: ignore[no-any-return]
            tokens,
            context,
            context_attention_mask=self.context_attention_mask(context.shape[1], lengths),
            attention_mask=attention_mask,
            tap=probe_at(tap, "decoder"),
        )

    def ctc_log_probs(self, encoded: Float[Tensor, "b n D"]) -> Float[Tensor, "b n V"]:
        """Return the log-probability of each token at each encoder frame; the padding token is the CTC blank.

        Raises:
            ModelError: The model has no CTC head.
        """
        if self.ctc_head is None:
            raise ModelError("the model has no CTC head: train one with `ctc`, or decode without it")
        return self.ctc_head(encoded).float().log_softmax(dim=-1)  # type: ignore[no-any-return]

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay, a method that timm's optimizers call."""
        return {"encoder.positions", "decoder.positions.weight"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters into layers, for timm's layer-wise decay: the encoder's, then the rest.

        `coarse` is part of timm's protocol and ignored: blocks are the only grouping here.
        """
        return {
            "stem": r"^encoder\.(?:stem|positions)\b",
            "blocks": [(r"^encoder\.blocks\.(\d+)\.", None), (r"^encoder\.norm\b", (99_999,))],
            "rest": r"^(?:decoder|ctc_head)\b",
        }


def frames_up_to(lengths: Int64[Tensor, " b"], count: int) -> Bool[Tensor, "b n"]:
    """Return a mask of `count` frames, True for the first `lengths` of each row."""
    return torch.arange(count, device=lengths.device) < lengths[:, None]
