"""The encoder-decoder of texts: a bidirectional encoder reads one, and a decoder that attends to it writes another.

Notation: r rows (texts), n tokens read, t tokens written, D width, V vocabulary.
Source: Vaswani et al. 2017; Raffel et al. 2020 (T5).
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import ProjectedContext, Site, Tap, probe_at
from ..checks import check_rules
from .common import sites_of
from .text_decoder import TextDecoder, TextDecoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig


@dataclass(frozen=True)
class TextToTextConfig:
    """Configuration of a `TextToText`."""

    encoder: TextEncoderConfig
    """The text encoder, without a context."""

    decoder: TextDecoderConfig

    shared: bool = True
    """Whether both have one table of embedded tokens."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        dim, vocab_size = self.encoder.dim, self.encoder.vocab_size
        check_rules(
            self,
            ("encoder.context_dim", self.encoder.context_dim is None, "None, for it reads a text alone"),
            ("decoder.context_dim", self.decoder.context_dim == dim, f"the encoder's `dim` ({dim})"),
        )
        if self.shared:
            check_rules(
                self,
                ("decoder.dim", self.decoder.dim == dim, f"the encoder's `dim` ({dim}) with a `shared` table"),
                (
                    "decoder.vocab_size",
                    self.decoder.vocab_size == vocab_size,
                    f"the encoder's `vocab_size` ({vocab_size}) with a `shared` table",
                ),
            )


class TextToText(nn.Module):
    """A text encoder and a text decoder that attends to what it read; built from a `TextToTextConfig`.

    `generation.generate` writes texts with its `decoder` and what `read` returns.
    """

    def __init__(self, config: TextToTextConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TextEncoder(config.encoder)
        self.decoder = TextDecoder(config.decoder)
        if config.shared:
            self.decoder.embedding = self.encoder.embedding

    def attention_sites(self, *, tokens: int, written: int) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, for so many tokens that are read, and so many that are written."""
        return sites_of(
            [
                ("encoder", self.encoder.attention_sites(tokens=tokens, context_tokens=0)),
                ("decoder", self.decoder.attention_sites(tokens=written, context_tokens=tokens)),
            ]
        )

    def read(
        self, tokens: Int64[Tensor, "r n"], *, attention_mask: Bool[Tensor, "r n"] | None = None
    ) -> ProjectedContext:
        """Return what the decoder attends to: keys and values of the texts for all its blocks.

        Args:
            tokens: The texts, special tokens included.
            attention_mask: False where a token is padding; None without padding.

        Raises:
            ModelError: A text has too many tokens.
        """
        return self.decoder.project_context(self.encoder(tokens, attention_mask=attention_mask), attention_mask)

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        written: Int64[Tensor, "r t"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        written_attention_mask: Bool[Tensor, "r t"] | None = None,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r t V"]:
        """Return the logits of the token that follows each written token.

        Args:
            tokens: The texts that are read, special tokens included.
            written: The tokens written so far, the start token first.
            attention_mask: False where a token that is read is padding; None without padding.
            written_attention_mask: False where a written token is padding; None without padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: A text has too many tokens.
        """
        states = self.encoder(
            tokens,
            attention_mask=attention_mask,
            tap=probe_at(tap, "encoder"),
            checkpoint_activations=checkpoint_activations,
        )
        return self.decoder(  # type: ignore[no-any-return]
            written,
            states,
            context_attention_mask=attention_mask,
            attention_mask=written_attention_mask,
            tap=probe_at(tap, "decoder"),
            checkpoint_activations=checkpoint_activations,
        )
