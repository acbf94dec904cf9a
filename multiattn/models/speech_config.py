"""What a speech recognizer is made of, and the ones that have names."""

from dataclasses import dataclass
from typing import Literal

from ..blocks import Activation
from .ranges import check_at_least, check_choices, check_epsilon, check_heads, check_shares
from .text_decoder import TextDecoderConfig


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """What a `SpeechEncoder` is made of."""

    mels: int = 80
    """Features a frame."""

    dim: int = 384
    """Width of the tokens."""

    depth: int = 4
    """Number of blocks."""

    num_heads: int = 6
    mlp_dim: int = 1536
    """Width inside the feedforward."""

    strides: tuple[int, int] = (1, 2)
    """Step of the stem's two convolutions; their product is the feature frames in an encoder frame."""

    max_frames: int = 1500
    """Encoder frames a recording may have: the rows of the position table. With rotary positions, which have no table,
    those that a piece is cut to where nobody says otherwise."""

    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    """Rotary ones tell the encoder how far apart frames are, and the decoder nothing about where one is: a decoder then
    cannot tell a word from the same word said again."""

    output_positions: bool = False
    """Add the positions once more to what comes out, so that the decoder finds them in what it attends to however much
    the blocks made of the sounds. Source: DETR (Carion et al. 2020), section A.4."""

    window: int | None = None
    """Frames each way that a frame attends to, at a cost linear in the length; all where None."""

    norm_eps: float = 1e-5
    """Added to the variance in each LayerNorm."""

    activation: Activation = "gelu"
    dropout: float = 0.0
    """Share of each branch's results, and of the stem's, dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    stochastic_depth: float = 0.0
    """Probability that the last block's branches are dropped in training; falls linearly to 0 at the first."""

    masked: bool = False
    """Whether nothing attends to what fills a short recording up. Whisper reads it as silence."""

    def __post_init__(self) -> None:
        """Check that there can be such an encoder.

        Raises:
            ValueError: There can be none; the message names the field.
        """
        check_choices(self)
        check_at_least(self, 1, ("mels", "dim", "depth", "num_heads", "mlp_dim", "max_frames"))
        check_heads(self)
        check_epsilon(self)
        check_shares(self, ("dropout", "attention_dropout", "stochastic_depth"))
        if len(self.strides) != 2 or min(self.strides) < 1:
            raise ValueError(f"`strides` must be two whole numbers of at least 1, but is {self.strides} instead.")
        if self.window is not None and self.window < 0:
            raise ValueError(f"`window` must be at least 0, but is {self.window} instead.")
        if self.positions == "sinusoidal" and (self.dim % 2 or self.dim < 4):
            raise ValueError(f"`dim` must be even for sinusoidal positions, and at least 4, but is {self.dim} instead.")
        if self.positions == "rotary" and self.output_positions:
            raise ValueError("`output_positions` must be False with rotary positions, which have no table to add.")
        if self.positions == "rotary" and self.dim // self.num_heads % 2:
            raise ValueError(
                f"`dim` must be an even number of times `num_heads` ({self.num_heads}) for rotary positions, but is "
                f"{self.dim} instead."
            )


@dataclass(frozen=True)
class SpeechConfig:
    """What a `SpeechRecognizer` is made of."""

    encoder: SpeechEncoderConfig
    decoder: TextDecoderConfig
    ctc: bool = False
    """Whether there is a CTC head over the encoder; its blank is the decoder's padding token."""

    context: Literal["all", "real"] = "all"
    """What the decoder attends to: all encoder frames, as Whisper does, or only those of the recording itself."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        check_choices(self)
        if self.decoder.context_dim != self.encoder.dim:
            raise ValueError(
                f"`decoder.context_dim` must be the encoder's `dim` ({self.encoder.dim}), but is "
                f"{self.decoder.context_dim} instead."
            )
        if self.encoder.masked and self.context == "all":
            raise ValueError('`context` must be "real" where the encoder is `masked`, but is "all" instead.')


_MULTILINGUAL, _ENGLISH, _VERSION_3 = 51865, 51864, 51866  # entries of Whisper's vocabularies


def _whisper(
    dim: int, depth: int, *, vocabulary: int = _MULTILINGUAL, mels: int = 80, decoder_depth: int | None = None
) -> SpeechConfig:
    """A Whisper model; its heads are 64 wide. Source: Radford et al. 2022, table 1."""
    end = vocabulary - _MULTILINGUAL + 50257 if vocabulary == _ENGLISH else 50257
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
    # small enough to be trained on a CPU; a frame of 40 ms, which sees 0.4 s each way in each block
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
"""The models one can ask for by name."""
