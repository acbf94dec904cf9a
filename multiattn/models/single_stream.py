"""The single stream: one stack of blocks over a question's tokens and a picture's, and a head over a list of answers.

Notation: b pictures, r questions (r / b of each picture, side by side), n tokens of a question, m picture tokens (class
token first, then patches row by row), D width, A answers.

Nothing is read of a picture before its question: each question goes through all blocks with the picture's tokens anew.
Source: Kim et al. 2021, "ViLT: vision-and-language transformer without convolution or region supervision".
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import LearnedPositions, Mask, Site, Tap, probe_at
from ..blocks import PatchStem
from ..errors import ModelError
from .initial import initialize
from .ranges import check_at_least, check_image_size
from .text_encoder import TextEncoderConfig
from .text_stack import TextStack, places, too_long
from .vqa import AnswerHead

_QUESTION, _PICTURE = 0, 1
"""What kind of token it is: the rows of the type table."""


@dataclass(frozen=True)
class SingleStreamConfig:
    """What a `SingleStream` is made of."""

    question: TextEncoderConfig
    """Of the question's tokens, and of the blocks, which read the picture's as well; without a context."""

    answers: int
    """How many answers the closed list has."""

    head_dim: int = 512
    """Width inside the head that scores them."""

    image_size: tuple[int, int] = (384, 384)
    """Height and width the picture's positions were learned at, in pixels; other sizes run too."""

    patch_size: int = 32
    """Side of a patch, in pixels."""

    def __post_init__(self) -> None:
        """Check that there can be such a model.

        Raises:
            ValueError: There can be none; the message names the field.
        """
        object.__setattr__(self, "image_size", tuple(self.image_size))  # a list where it came from JSON or YAML
        if self.question.context_dim is not None:
            raise ValueError(
                "`question.context_dim` must be None, for the picture is in the same stack, but is "
                f"{self.question.context_dim} instead."
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
"""The models one can ask for by name."""


class SingleStream(nn.Module):
    """One transformer over a question and a picture, and a head, built from a `SingleStreamConfig`.

    It answers by the same calls as a `VQA` with a closed list: `encode`, `read`, `answer_logits`.
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
        """Tokens of a picture before its patches: the class token."""
        return 1

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches in a picture of this height and width."""
        return image_size[0] // self.config.patch_size, image_size[1] // self.config.patch_size

    def attention_sites(self, image_size: tuple[int, int] | None = None, *, question_tokens: int) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, for a picture of this height and width and a question of so many tokens.

        Keys are the question's tokens, then the picture's. The last block computes the question's rows only, for
        nothing reads the others.
        """
        rows, cols = self.grid(image_size or self.config.image_size)
        tokens = question_tokens + self.num_prefix_tokens + rows * cols
        depth, heads = self.config.question.depth, self.config.question.num_heads
        return tuple(
            Site(f"blocks.{i}.self", heads, question_tokens if i == depth - 1 else tokens, tokens) for i in range(depth)
        )

    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b m D"]:
        """A picture's tokens as they enter the stack.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
        """
        grid = self.grid((images.shape[-2], images.shape[-1]))
        x = torch.cat([self.class_token.expand(len(images), -1, -1), self.stem(images)], dim=1)  # (b, m, D)
        return self._typed(self._dropped(x + self.positions(grid)), _PICTURE)

    def read(
        self,
        questions: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m D"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r n D"]:
        """The states of the questions' tokens.

        Args:
            questions: As many of each picture as of the others, special tokens included.
            context: What `encode` gave.
            attention_mask: False where a token is padding, which nothing attends to and no position counts; None where none is.
            tap: What to capture of the attention.

        Raises:
            ModelError: A question is longer than the position table, or the questions are not as many of each picture.
        """
        rows, count = questions.shape
        if count > (limit := self.config.question.max_length):
            raise ModelError(too_long(limit, count))
        if not len(context) or rows % len(context):
            raise ModelError(f"`questions` must be as many of each of {len(context)} pictures, but are {rows} instead")
        positions = (
            torch.arange(count, device=questions.device)[None] if attention_mask is None else places(attention_mask)
        )
        picture = context.repeat_interleave(rows // len(context), dim=0)  # (r, m, D)
        x = torch.cat([self._typed(self.stack.embed(questions, positions), _QUESTION), picture], dim=1)  # (r, n + m, D)
        mask = Mask(keys=None if attention_mask is None else F.pad(attention_mask, (0, picture.shape[1]), value=True))
        last = len(self.stack.blocks) - 1
        for i, block in enumerate(self.stack.blocks):
            x = block(x, rows=slice(0, count) if i == last else None, mask=mask, probe=probe_at(tap, f"blocks.{i}"))
        return x if self.stack.norm is None else self.stack.norm(x)

    def answer_logits(self, states: Float[Tensor, "r n D"]) -> Float[Tensor, "r A"]:
        """The scores (logits) of the closed list's answers, read off the first token of each question."""
        return self.head(self.pooler(states[:, 0]).tanh())  # type: ignore[no-any-return]

    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        questions: Int64[Tensor, "r n"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r A"]:
        """The scores (logits) of the closed list's answers.

        Args:
            images: Normalized pictures.
            questions: As many of each picture as of the others, special tokens included.
            attention_mask: False where a question's token is padding.
            tap: What to capture of the attention.
        """
        return self.answer_logits(self.read(questions, self.encode(images), attention_mask=attention_mask, tap=tap))

    def _dropped(self, x: Tensor) -> Tensor:
        return x if self.stack.dropout is None else self.stack.dropout(x)

    def _typed(self, x: Tensor, kind: int) -> Tensor:
        return x + self.types.weight[kind]
