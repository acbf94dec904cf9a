"""A speech model with its preprocessing and vocabulary: features -> encoder -> context; the language of a window.

Notation: b windows, t samples or feature frames, n encoder frames, m encoder frames with padding, D width of the
encoder, V vocabulary, L languages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...attention import ProjectedContext
from ...generation.decoder_loop import pad_left
from ...inputs import AudioPreprocessing, SpeechTokens, Tokenizer
from ...inputs.text import Word
from ...maps import AttentionMap, speech_lrp
from ...models.speech import SpeechRecognizer


class Encoded(NamedTuple):
    """Windows as the decoder attends to them."""

    projected: ProjectedContext
    frames: list[int]
    """For each window, its encoder frames without padding; at least 1."""

    ctc_log_probs: Tensor | None
    """(b, n, V) from the CTC head; None where it is not used."""


@dataclass(frozen=True, eq=False)
class SpeechModel:
    """A recognizer with all that is needed to run it on samples."""

    model: SpeechRecognizer
    """In eval mode, on the device where it computes."""

    preprocessing: AudioPreprocessing
    tokenizer: Tokenizer
    tokens: SpeechTokens
    """The tokenizer's special tokens."""

    heads: tuple[tuple[int, int], ...] | None = None
    """Layer and head of the alignment heads; None: unknown, and loops are not detected from attention."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    @property
    def window_frames(self) -> int:
        """Feature frames of the longest window."""
        return self.preprocessing.frames(self.preprocessing.max_samples)

    @property
    def max_length(self) -> int:
        """The most tokens of a text, prompt included."""
        return self.model.config.decoder.max_length

    @property
    def stride(self) -> int:
        """Feature frames of one encoder frame."""
        return math.prod(self.model.config.encoder.strides)

    @property
    def frame_seconds(self) -> float:
        """Time from one encoder frame to the next, in seconds."""
        return self.stride * self.preprocessing.frame_seconds

    @torch.inference_mode()
    def encode(self, features: Float[Tensor, "b mels t"], lengths: Sequence[int], *, with_ctc: bool = False) -> Encoded:
        """Compute what the decoder attends to.

        Args:
            features: Features of each window, padded to the same length.
            lengths: Feature frames of each window without padding.
            with_ctc: Whether to compute the scores of the CTC head.
        """
        of_each = torch.tensor(lengths, device=self.device)
        encoded = self.model.encode(features.to(self.device), lengths=of_each)  # (b, n, D)
        attention_mask = self.model.context_attention_mask(encoded.shape[1], of_each)
        return Encoded(
            self.model.decoder.project_context(encoded, attention_mask=attention_mask),
            [max(1, min(self.model.encoder.frames(length), encoded.shape[1])) for length in lengths],
            self.model.ctc_log_probs(encoded) if with_ctc else None,
        )

    def language_log_probs(self, samples: Float[Tensor, " t"]) -> Float[Tensor, " L"]:
        """Return the log-probability (natural) of each language of the model, on the CPU, for a window of samples."""
        length = self.preprocessing.frames(len(samples))
        encoded = self.encode(self.preprocessing.features(samples)[None], [length])
        return self.languages_of(self.next_token_logits(encoded.projected, [[self.tokens.start]]))[0].cpu()

    def languages_of(self, logits: Float[Tensor, "b V"]) -> Float[Tensor, "b L"]:
        """Return the log-probabilities (natural) of the languages from the logits after the start token."""
        ids = torch.tensor(list(self.tokens.languages.values()), device=logits.device)
        return logits[:, ids].log_softmax(dim=-1)

    def likeliest_languages(self, logits: Float[Tensor, "b V"]) -> list[str]:
        """Return the code of the most probable language of each window from the logits after the start token."""
        codes = list(self.tokens.languages)
        return [codes[i] for i in self.languages_of(logits).argmax(dim=-1).tolist()]

    @torch.inference_mode()
    def next_token_logits(self, projected: ProjectedContext, prompts: Sequence[Sequence[int]]) -> Float[Tensor, "b V"]:
        """Return the logits of the token after each window's prompt."""
        decoder, longest = self.model.decoder, max(map(len, prompts))
        tokens, mask = pad_left(prompts, longest, pad_token=decoder.config.pad_token, device=projected.device)
        logits = decoder(tokens, projected, attention_mask=mask, last_only=True)
        return logits[:, -1].float()  # type: ignore[no-any-return]

    def lrp(
        self,
        samples: Float[Tensor, " t"],
        tokens: Sequence[int],
        words: Sequence[Word],
        *,
        prompt_length: int,
        start: float,
    ) -> AttentionMap:
        """Return the contributions of a window's sound to each word: `speech_lrp` of one transcript.

        Args:
            samples: Of the window, without padding.
            tokens: Of the text, with the prompt.
            words: Of the text.
            prompt_length: Tokens of the prompt.
            start: Start of the window in the recording, in seconds.
        """
        (found,) = speech_lrp(
            self.model,
            self.preprocessing.features(samples)[None].to(self.device),
            [tokens],
            [words],
            prompt_lengths=[prompt_length],
            lengths=[self.preprocessing.frames(len(samples))],
            frame_seconds=self.frame_seconds,
            starts=[start],
        )
        return found

    def text_of(self, tokens: Sequence[int]) -> str:
        """Decode tokens without their timestamps; a space before the text is kept."""
        return self.tokenizer.decode([token for token in tokens if not self.tokens.is_timestamp(token)])
