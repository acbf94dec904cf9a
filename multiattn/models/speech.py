"""The speech recognizer: an encoder reads a recording's features, a text decoder writes what was said.

In here: its configuration, the presets, the recognizer; the encoder is in `speech_encoder.py`.

Notation: b recordings, t feature frames, n encoder frames (tokens of the encoder), r texts (r / b of each recording,
side by side), k tokens of a text, D width, V vocabulary.
Source: Radford et al. 2022 (Whisper), section 2.2; the CTC head: Watanabe et al. 2017, section II.
"""

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Site, Tap, probe_at
from ..checks import check_choices, check_rules
from ..errors import ModelError
from .common import initialize, sites_of
from .speech_encoder import SpeechEncoder, SpeechEncoderConfig, frames_up_to
from .text_decoder import TextDecoder, TextDecoderConfig


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
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "b n D"]:
        """Encode recordings for the decoder; the arguments are those of `SpeechEncoder.forward`."""
        return self.encoder(  # type: ignore[no-any-return]
            features,
            lengths=lengths,
            tap=probe_at(tap, "encoder"),
            checkpoint_activations=checkpoint_activations,
        )

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
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r k V"]:
        """Return the logits of the token that follows each token.

        Args:
            features: Log-mel features.
            tokens: Texts, the same number for each recording.
            lengths: Feature frames of each recording; None where no recording is padded.
            attention_mask: False where a token is padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.
        """
        context = self.encode(features, lengths=lengths, tap=tap, checkpoint_activations=checkpoint_activations)
        return self.decoder(  # type: ignore[no-any-return]
            tokens,
            context,
            context_attention_mask=self.context_attention_mask(context.shape[1], lengths),
            attention_mask=attention_mask,
            tap=probe_at(tap, "decoder"),
            checkpoint_activations=checkpoint_activations,
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
