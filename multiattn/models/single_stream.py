"""The single stream: one stack of blocks over the tokens of a question and a picture, and a head over the answers.

The picture alone is only embedded: each question goes through all blocks together with the picture's tokens.

Notation: b pictures, r questions (r / b of each picture, side by side), n tokens of a question, m picture tokens (class
token first, then patches row by row), D width, A answers.
Source: Kim et al. 2021, "ViLT: vision-and-language transformer without convolution or region supervision".
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import LearnedPositions, Mask, Site, Tap
from ..blocks import PatchStem, applied
from ..checks import check_at_least, check_rules
from ..errors import ModelError
from .common import check_image_size, initialize
from .text_encoder import TextEncoderConfig
from .text_stack import TextStack, positions_of
from .vqa import AnswerHead

_QUESTION, _PICTURE = 0, 1
"""Rows of the table of token types."""


@dataclass(frozen=True)
class SingleStreamConfig:
    """Configuration of a `SingleStream`."""

    question: TextEncoderConfig
    """The question's embeddings, and the blocks, through which the picture's tokens go too; without a context."""

    answers: int
    """Number of answers in the closed list."""

    head_dim: int = 512
    """Width inside the head that scores the answers."""

    image_size: tuple[int, int] = (384, 384)
    """Height and width that the picture's positions were learned at, in pixels; other sizes work too."""

    patch_size: int = 32
    """Side of a patch, in pixels."""

    def __post_init__(self) -> None:
        """Check that such a model can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        object.__setattr__(self, "image_size", tuple(self.image_size))  # a list where it came from JSON or YAML
        is_alone = self.question.context_dim is None
        check_rules(
            self,
            ("question.context_dim", is_alone, "None, for the picture is in the same stack"),
            ("question.text", self.question.text is None, "None, for the question is read once"),
            ("question.pairs", self.question.pairs == 0, "0, for the tokens alone are in the stack"),
            ("question.summary", not self.question.summary, "false, for the tokens alone are in the stack"),
        )
        check_at_least(self, 1, ("answers", "head_dim", "patch_size"))
        check_image_size(self)


PRESETS: dict[str, SingleStreamConfig] = {
    "vilt_base": SingleStreamConfig(
        TextEncoderConfig(
            vocab_size=30522,
            dim=768,
            depth=12,
            num_heads=12,
            mlp_dim=3072,
            max_length=40,
            context_dim=None,
            start_token=101,
            end_token=102,
            norm_eps=1e-12,
            embed_norm=True,
        ),
        answers=3129,
        head_dim=1536,
    ),
}
"""Configurations by name."""


class SingleStream(nn.Module):
    """One transformer over a question and a picture, and a head, built from a `SingleStreamConfig`.

    It has the methods of a `VQA` with a closed list: `encode`, `read`, `answer_logits`.
    """

    def __init__(self, config: SingleStreamConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.question.dim
        self.stem = PatchStem(3, dim, patch_size=config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = LearnedPositions(
            self.grid(config.image_size), dim, prefix=self.num_prefix_tokens, resampling="bilinear"
        )
        self.types = nn.Embedding(2, dim)
        self.stack = TextStack(config.question)
        self.pooler = nn.Linear(dim, dim)
        self.head = AnswerHead(dim, inner=config.head_dim, answers=config.answers)
        self.apply(initialize)
        nn.init.normal_(self.class_token, std=0.02)

    @property
    def num_prefix_tokens(self) -> int:
        """Number of a picture's tokens before its patches: the class token."""
        return 1

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of patches in a picture of this height and width."""
        return image_size[0] // self.config.patch_size, image_size[1] // self.config.patch_size

    def attention_sites(self, image_size: tuple[int, int] | None = None, *, question_tokens: int) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, for a picture of this height and width and a question of so many tokens.

        Keys are the question's tokens, then the picture's. The last block computes only the question's rows.
        """
        rows, cols = self.grid(image_size or self.config.image_size)
        tokens = question_tokens + self.num_prefix_tokens + rows * cols
        depth, heads = self.config.question.depth, self.config.question.num_heads
        return tuple(
            Site(f"blocks.{i}.self", heads, question_tokens if i == depth - 1 else tokens, tokens) for i in range(depth)
        )

    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b m D"]:
        """Embed pictures as the tokens that enter the stack.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
        """
        grid = self.grid((images.shape[-2], images.shape[-1]))
        x = torch.cat([self.class_token.expand(images.shape[0], -1, -1), self.stem(images)], dim=1)  # (b, m, D)
        return self._typed(applied(self.stack.dropout, x + self.positions(grid)), _PICTURE)

    def read(
        self,
        questions: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m D"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r n D"]:
        """Return the states of the questions' tokens after the last block.

        Args:
            questions: Tokens of the questions, the same number of questions for each picture.
            context: The pictures' tokens from `encode`.
            attention_mask: False where a token is padding; None without padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: A question is longer than the position table, or the number of questions is no multiple of the
                number of pictures.
        """
        rows, count = questions.shape
        positions = positions_of(questions, attention_mask, max_length=self.config.question.max_length)
        pictures = context.shape[0]
        if not torch.compiler.is_exporting() and (not pictures or rows % pictures):
            raise ModelError(f"`questions` must be as many of each of {pictures} pictures, but are {rows} instead")
        picture = context.repeat_interleave(rows // pictures, dim=0)  # (r, m, D)
        x = torch.cat([self._typed(self.stack.embed(questions, positions), _QUESTION), picture], dim=1)  # (r, n + m, D)
        mask = Mask(keys=None if attention_mask is None else F.pad(attention_mask, (0, picture.shape[1]), value=True))
        x = self.stack.run(
            x, mask=mask, last_rows=slice(0, count), tap=tap, checkpoint_activations=checkpoint_activations
        )
        return x if self.stack.norm is None else self.stack.norm(x)

    def answer_logits(self, states: Float[Tensor, "r n D"]) -> Float[Tensor, "r A"]:
        """Return the logits of the closed list's answers, computed from each question's first token."""
        return self.head(self.pooler(states[:, 0]).tanh())  # type: ignore[no-any-return]

    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        questions: Int64[Tensor, "r n"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r A"]:
        """Return the logits of the closed list's answers.

        Args:
            images: Normalized pictures.
            questions: Tokens of the questions, the same number of questions for each picture.
            attention_mask: False where a question's token is padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.
        """
        states = self.read(
            questions,
            self.encode(images),
            attention_mask=attention_mask,
            tap=tap,
            checkpoint_activations=checkpoint_activations,
        )
        return self.answer_logits(states)

    def _typed(self, x: Tensor, kind: int) -> Tensor:
        return x + self.types.weight[kind]
