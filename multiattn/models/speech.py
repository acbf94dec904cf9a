"""The speech recognizer: an encoder reads a recording's features, a text decoder writes what was said.

Notation: b recordings, t feature frames, n encoder frames (tokens of the encoder), r texts (r / b of each recording,
side by side), k tokens of a text, D width, V vocabulary.
Source: Radford et al. 2022 (Whisper), section 2.2; the CTC head: Watanabe et al. 2017, section II.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Attention, Mask, Rotary, Site, Tap, probe_at, rotary, sinusoidal
from ..attention.tap import Probe
from ..blocks import FeedForward, MelStem, TransformerBlock, activation
from ..blocks.stems import Count
from ..errors import ModelError
from .initial import initialize
from .speech_config import PRESETS, SpeechConfig, SpeechEncoderConfig
from .text_decoder import TextDecoder

__all__ = ["PRESETS", "SpeechConfig", "SpeechEncoder", "SpeechEncoderConfig", "SpeechRecognizer"]


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
            # in the state, for published checkpoints hold the rounded values that their weights were trained with
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
        """Encoder frames that come of so many feature frames."""
        return self.stem.frames(lengths)

    def attention_sites(self, frames: int | None = None) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, with their sizes for so many encoder frames; `max_frames` where None."""
        count = self.config.max_frames if frames is None else frames
        return tuple(Site(f"blocks.{i}.self", self.config.num_heads, count, count) for i in range(self.config.depth))

    def forward(
        self,
        features: Float[Tensor, "b mels t"],
        *,
        lengths: Int64[Tensor, " b"] | None = None,
        tap: Tap | Probe | None = None,
    ) -> Float[Tensor, "b n D"]:
        """One vector an encoder frame.

        Args:
            features: Of each recording, by time.
            lengths: Feature frames of each recording, for an encoder whose configuration is `masked`: what follows is
                attended to by nothing. Another encoder reads everything, and does not look at them.
            tap: What to capture of the attention.

        Raises:
            ModelError: There are more frames than the position table has rows.
        """
        c = self.config
        lengths = lengths if c.masked else None
        x = self.stem(features, lengths=lengths)  # (b, n, D)
        count = x.shape[1]
        positions = None
        if self.positions is not None:
            if count > c.max_frames:
                raise ModelError(
                    f"a recording may have {c.max_frames} encoder frames, but has {count} instead: cut it into pieces"
                )
            positions = self.positions[:count].to(x.dtype)
            x = x + positions
        if self.dropout is not None:
            x = self.dropout(x)
        keys = None if lengths is None else frames_up_to(self.frames(lengths), count)
        mask, turned = Mask(window=c.window, keys=keys), self._rotary(count, x)
        for i, block in enumerate(self.blocks):
            x = block(x, mask=mask, rotary=turned, probe=probe_at(tap, f"blocks.{i}"))
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
        """The attentions a `Tap` may ask for, for a text of `tokens` about so many encoder frames.

        Args:
            tokens: Of the text, as the decoder reads it.
            frames: Of the encoder; `max_frames` where None.
        """
        encoder = self.encoder.attention_sites(frames)
        decoder = self.decoder.attention_sites(tokens=tokens, context_tokens=encoder[0].k_len)
        return tuple(
            replace(site, name=f"{part}.{site.name}")
            for part, sites in (("encoder", encoder), ("decoder", decoder))
            for site in sites
        )

    def encode(
        self,
        features: Float[Tensor, "b mels t"],
        *,
        lengths: Int64[Tensor, " b"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "b n D"]:
        """What the decoder attends to, as `SpeechEncoder.forward`."""
        return self.encoder(features, lengths=lengths, tap=probe_at(tap, "encoder"))  # type: ignore[no-any-return]

    def context_attention_mask(self, frames: int, lengths: Int64[Tensor, " b"] | None) -> Bool[Tensor, "b n"] | None:
        """Which encoder frames the decoder attends to; None where to all of them.

        Args:
            frames: That the encoder gave, of each recording.
            lengths: Feature frames of each recording; None where all have as many as there are.
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
        """The scores (logits) of the token that follows each token.

        Args:
            features: Of each recording, by time.
            tokens: Texts, as many of each recording as of the others.
            lengths: Feature frames of each recording; None where all have as many as there are.
            attention_mask: False where a token is padding.
            tap: What to capture of the attention.
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
        """The log-probability of each token at each encoder frame; that of the padding token is the blank's.

        Raises:
            ModelError: The model has no CTC head.
        """
        if self.ctc_head is None:
            raise ModelError("the model has no CTC head: train one with `ctc`, or decode without it")
        return self.ctc_head(encoded).float().log_softmax(dim=-1)  # type: ignore[no-any-return]

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay must leave alone, as timm's optimizers ask."""
        return {"encoder.positions", "decoder.positions.weight"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How parameters group into layers, as timm's layer-wise decay asks: the encoder's, then all the rest."""
        del coarse  # part of timm's protocol; the blocks are the only grouping here
        return {
            "stem": r"^encoder\.(?:stem|positions)\b",
            "blocks": [(r"^encoder\.blocks\.(\d+)\.", None), (r"^encoder\.norm\b", (99_999,))],
            "rest": r"^(?:decoder|ctc_head)\b",
        }


def frames_up_to(lengths: Int64[Tensor, " b"], count: int) -> Bool[Tensor, "b n"]:
    """True at the first `lengths` of `count` frames."""
    return torch.arange(count, device=lengths.device) < lengths[:, None]
