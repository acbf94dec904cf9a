"""What reading and writing a text have in common: embedded tokens, and blocks that may look at a context.

Notation: r rows (texts), n tokens, b contexts, m context tokens, C the context's width, D width.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Attention, KeysValues, ProjectedContext, Site, sinusoidal
from ..blocks import Activation, FeedForward, TransformerBlock, activation
from .ranges import check_at_least, check_choices, check_epsilon, check_heads, check_shares


@dataclass(frozen=True)
class TextConfig:
    """What a stack of blocks over a text is made of."""

    vocab_size: int = 4000
    dim: int = 256
    """Width of the tokens."""

    depth: int = 4
    """Number of blocks."""

    num_heads: int = 4
    mlp_dim: int = 1024
    """Width inside the feedforward."""

    max_length: int = 64
    """Tokens a text may have, special ones included: the rows of the position table."""

    context_dim: int | None = 192
    """Width of what the cross-attention attends to."""

    start_token: int = 1
    """What a text begins with."""

    end_token: int = 2
    """What a text ends with."""

    pad_token: int = 0
    """What stands where a text is shorter than others of its batch."""

    positions: Literal["learned", "sinusoidal"] = "learned"
    pre_norm: bool = True
    """Norms before the branches (GPT-2, Whisper), or after the additions (BERT, BLIP)."""

    norm_eps: float = 1e-5
    """Added to the variance in each LayerNorm."""

    embed_norm: bool = False
    """Normalize the embedded tokens, as BERT does."""

    final_norm: bool = True
    """Normalize after the last block, which pre-norm needs."""

    activation: Activation = "gelu"
    dropout: float = 0.0
    """Share of each branch's results, and of the embedded tokens', dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    def __post_init__(self) -> None:
        """Check that there can be such a stack.

        Raises:
            ValueError: There can be none; the message names the field.
        """
        check_choices(self)
        check_at_least(self, 1, ("vocab_size", "dim", "depth", "num_heads", "mlp_dim", "max_length"))
        if self.context_dim is not None:
            check_at_least(self, 1, ("context_dim",))
        check_heads(self)
        check_epsilon(self)
        check_shares(self, ("dropout", "attention_dropout"))
        for name in ("start_token", "end_token", "pad_token"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(
                    f"`{name}` must be from 0 to {self.vocab_size - 1}, but is {getattr(self, name)} instead."
                )
        if self.positions == "sinusoidal" and self.dim % 2:
            raise ValueError(f"`dim` must be even for sinusoidal positions, but is {self.dim} instead.")


class TextStack(nn.Module):
    """Embeddings and blocks, built from a `TextConfig`; who derives from it says what goes in and what comes out."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocab_size, c.dim)
        self.positions = nn.Embedding(c.max_length, c.dim) if c.positions == "learned" else None
        self.embed_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.embed_norm else None
        self.dropout = nn.Dropout(c.dropout) if c.dropout else None
        self.blocks = nn.ModuleList(_block(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.final_norm else None

    def attention_sites(self, *, tokens: int, context_tokens: int) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, with their sizes for a whole text of `tokens` in one pass."""
        kinds = [("self", tokens)] + [("cross", context_tokens)] * (self.config.context_dim is not None)
        return tuple(
            Site(f"blocks.{i}.{name}", self.config.num_heads, tokens, keys)
            for i in range(self.config.depth)
            for name, keys in kinds
        )

    def project_context(
        self, context: Float[Tensor, "b m C"], attention_mask: Bool[Tensor, "b m"] | None = None
    ) -> ProjectedContext:
        """What the cross-attentions make of a context, for those who decode or read about it more than once.

        Args:
            context: What to attend to.
            attention_mask: False where a token of it is padding; None where none is.
        """
        # read whole at every step, and out of a fused projection that took twice as long
        made = (block.cross_attention.keys_values(context) for block in self.blocks)  # type: ignore[union-attr, operator]
        return ProjectedContext(
            tuple(KeysValues(one.keys.contiguous(), one.values.contiguous()) for one in made), attention_mask
        )

    def embed(self, tokens: Int64[Tensor, "r n"], positions: Int64[Tensor, "#r n"]) -> Float[Tensor, "r n D"]:
        """Tokens at positions."""
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions(positions)
        else:
            x = x + sinusoidal(self.config.max_length, self.config.dim).to(x)[positions]
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        return x if self.dropout is None else self.dropout(x)  # type: ignore[no-any-return]


def places(attention_mask: Bool[Tensor, "r n"]) -> Int64[Tensor, "r n"]:
    """The position of each token in its text, where padding, which has none, may stand anywhere."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def too_long(limit: int, length: int) -> str:
    """What is said of a text that has more tokens than the position table has rows."""
    return f"a text may have {limit} tokens, special ones and padding included, but has {length} instead: shorten it"


def _block(c: TextConfig) -> TransformerBlock:
    cross = None
    if c.context_dim is not None:
        cross = Attention(c.dim, c.num_heads, kv_dim=c.context_dim, dropout=c.attention_dropout)
    return TransformerBlock(
        c.dim,
        attention=Attention(c.dim, c.num_heads, dropout=c.attention_dropout),
        cross_attention=cross,
        feedforward=FeedForward(c.dim, c.mlp_dim, activation=activation(c.activation), dropout=c.dropout),
        pre_norm=c.pre_norm,
        norm_eps=c.norm_eps,
        dropout=c.dropout,
    )
