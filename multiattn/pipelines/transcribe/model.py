"""A speech model as the ways through a recording use it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...attention import ProjectedContext
from ...inputs.mel import AudioPreprocessing
from ...inputs.speech_tokens import SpeechTokens
from ...inputs.text import Tokenizer
from ...models.speech import SpeechRecognizer
from .config import Segment, SpeechOptions, WindowResult
from .decode import decode_window, detect_languages
from .word_timestamps import DecodedWindow

Annotate = Callable[[Sequence[DecodedWindow]], list[tuple[Segment, ...]]]
"""What is done with the segments of windows with text, such as giving them words."""


class Encoded(NamedTuple):
    """Windows, as the decoder reads them."""

    projected: ProjectedContext
    frames: list[int]
    """Encoder frames of each that hold something of the recording; at least 1."""

    ctc_log_probs: Tensor | None
    """(b, n, V), where they are asked for."""


@dataclass(frozen=True, eq=False)
class SpeechModel:
    """A recognizer with all that is needed to use it on samples."""

    model: SpeechRecognizer
    """In eval mode, on the device where it is to compute."""

    preprocessing: AudioPreprocessing
    tokenizer: Tokenizer
    tokens: SpeechTokens
    """The tokenizer's tokens with a meaning of their own."""

    heads: tuple[tuple[int, int], ...] | None = None
    """Layer and head of the cross-attentions that follow the speech, by which loops are noticed; None: not known."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    @property
    def stride(self) -> int:
        """Feature frames of an encoder frame."""
        return math.prod(self.model.config.encoder.strides)

    @property
    def frame_seconds(self) -> float:
        """From one encoder frame to the next."""
        return self.stride * self.preprocessing.frame_seconds

    @torch.inference_mode()
    def encode(self, features: Float[Tensor, "b mels t"], lengths: Sequence[int], options: SpeechOptions) -> Encoded:
        """What the decoder attends to.

        Args:
            features: Of each window.
            lengths: Feature frames of each that hold something of the recording.
            options: How the windows are to be decoded.
        """
        of_each = torch.tensor(lengths, device=self.device)
        encoded = self.model.encode(features.to(self.device), lengths=of_each)  # (b, n, D)
        attention_mask = self.model.context_attention_mask(encoded.shape[1], of_each)
        return Encoded(
            self.model.decoder.project_context(encoded, attention_mask=attention_mask),
            [max(1, min(self.model.encoder.frames(length), encoded.shape[1])) for length in lengths],
            self.model.ctc_log_probs(encoded) if options.ctc_weight else None,
        )

    def decode(
        self,
        encoded: Encoded,
        options: SpeechOptions,
        *,
        previous: Sequence[Sequence[int]] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> list[WindowResult]:
        """The text of each window, as `decode_window`."""
        return decode_window(
            self.model,
            encoded.projected,
            self.tokens,
            self.tokenizer,
            options,
            previous=previous,
            generator=generator,
            heads=self.heads,
            frames=encoded.frames,
            frame_seconds=self.frame_seconds,
            ctc_log_probs=encoded.ctc_log_probs,
        )

    def detect_language(self, features: Float[Tensor, "mels t"], length: int) -> str | None:
        """The language that is likeliest spoken in a window; None for a model of one language.

        Args:
            features: Of the window.
            length: Feature frames that hold something of the recording.
        """
        if not self.tokens.languages:
            return None
        encoded = self.encode(features[None], [length], SpeechOptions())
        return detect_languages(self.model, encoded.projected, self.tokens)[0]

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without timestamps; with the space before it, where the vocabulary has one."""
        return self.tokenizer.decode([token for token in tokens if not self.tokens.is_timestamp(token)])

    def first_told(self, options: SpeechOptions) -> list[int]:
        """The tokens of the text that the first window is told."""
        prompt = (options.initial_prompt or "").strip()
        return self.tokenizer.encode(f" {prompt}") if prompt else []
