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
from .initial import initialise
from .ranges import check_at_least
from .text_stack import TextConfig, TextStack, places, too_long
from .vqa import AnswerHead

_QUESTION, _PICTURE = 0, 1
"""What kind of token it is: the rows of the type table."""


@dataclass(frozen=True)
class SingleStreamConfig(TextConfig):
    """What a `SingleStream` is made of: a `TextConfig` for the one stack, and what the picture needs beside it."""

    context_dim: None = None
    """The picture is in the stack, and nothing stands beside it to be attended to."""

    embed_norm: bool = True
    """Normalise the embedded tokens of the question, as BERT does; the picture's are not."""

    image_size: tuple[int, int] = (384, 384)
    """Height and width the picture's positions were learned at, in pixels; other sizes run too."""

    patch_size: int = 32
    """Side of a patch, in pixels."""

    answers: int = 1000
    """How many answers the closed list has."""

    head_dim: int = 512
    """Width inside the head that scores them."""

    def __post_init__(self) -> None:
        """Check that there can be such a model.

        Raises:
            ValueError: There can be none; the message names the field.
        """
        object.__setattr__(self, "image_size", tuple(self.image_size))  # a list where it came from JSON or YAML
        super().__post_init__()
        if self.context_dim is not None:
            raise ValueError(f"`context_dim` must be None in a single stream, but is {self.context_dim} instead.")
        check_at_least(self, 1, ("patch_size", "answers", "head_dim"))
        if len(self.image_size) != 2 or min(self.image_size) < self.patch_size:
            raise ValueError(
                f"`image_size` must be a height and a width of at least a patch ({self.patch_size}), "
                f"but is {self.image_size} instead."
            )

    @property
    def question(self) -> TextConfig:
        """Of what reads the question, as in a `VQAConfig`: here the one stack."""
        return self


PRESETS: dict[str, SingleStreamConfig] = {
    "vilt_base": SingleStreamConfig(
        vocab_size=30522,
        dim=768,
        depth=12,
        num_heads=12,
        mlp_dim=3072,
        max_length=40,
        start_token=101,
        end_token=102,
        norm_eps=1e-12,
        answers=3129,
        head_dim=1536,
    ),
}
"""The models one can ask for by name."""


class SingleStream(TextStack):
    """One transformer over a question and a picture, and a head, built from a `SingleStreamConfig`.

    It answers with the same calls as a `VQA` with a closed list: `encode`, `read`, `answer_logits`.
    """

    config: SingleStreamConfig

    def __init__(self, config: SingleStreamConfig) -> None:
        super().__init__(config)
        c = config
        self.stem = PatchStem(3, c.dim, patch_size=c.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, c.dim))
        self.picture_positions = LearnedPositions(
            self.grid(c.image_size), c.dim, prefix=self.num_prefix_tokens, resampling="bilinear"
        )
        self.types = nn.Embedding(2, c.dim)
        self.pooler = nn.Linear(c.dim, c.dim)
        self.head = AnswerHead(c.dim, inner=c.head_dim, answers=c.answers)
        self.apply(initialise)
        nn.init.normal_(self.class_token, std=0.02)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens of a picture before its patches: the class token."""
        return 1

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches in a picture of this height and width."""
        return image_size[0] // self.config.patch_size, image_size[1] // self.config.patch_size

    def picture_sites(self, image_size: tuple[int, int] | None = None, *, question_tokens: int) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, for a picture of this height and width and a question of so many tokens.

        Keys are the question's tokens, then the picture's. The last block computes the question's rows only, for
        nothing reads the others.
        """
        rows, cols = self.grid(image_size or self.config.image_size)
        tokens = question_tokens + self.num_prefix_tokens + rows * cols
        last = self.config.depth - 1
        return tuple(
            Site(f"blocks.{i}.self", self.config.num_heads, question_tokens if i == last else tokens, tokens)
            for i in range(self.config.depth)
        )

    def encode(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b m D"]:
        """A picture's tokens as they enter the stack.

        Args:
            images: Normalised pictures; height and width must be multiples of the patch size.
        """
        grid = self.grid((images.shape[-2], images.shape[-1]))
        x = torch.cat([self.class_token.expand(len(images), -1, -1), self.stem(images)], dim=1)  # (b, m, D)
        return self._typed(self._dropped(x + self.picture_positions(grid)), _PICTURE)

    def read(
        self,
        questions: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m D"],
        *,
        real: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r n D"]:
        """The states of the questions' tokens.

        Args:
            questions: As many of each picture as of the others, special tokens included.
            context: What `encode` gave.
            real: False where a token is padding, which nothing attends to and no position counts; None where none is.
            tap: What to capture of the attention.

        Raises:
            ModelError: A question is longer than the position table, or the questions are not as many of each picture.
        """
        rows, count = questions.shape
        if count > self.config.max_length:
            raise ModelError(too_long(self.config.max_length, count))
        if not len(context) or rows % len(context):
            raise ModelError(f"`questions` must be as many of each of {len(context)} pictures, but are {rows} instead")
        positions = torch.arange(count, device=questions.device)[None] if real is None else places(real)
        picture = context.repeat_interleave(rows // len(context), dim=0)  # (r, m, D)
        x = torch.cat([self._typed(self._embed(questions, positions), _QUESTION), picture], dim=1)  # (r, n + m, D)
        mask = Mask(keys=None if real is None else F.pad(real, (0, picture.shape[1]), value=True))
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x = block(x, rows=slice(0, count) if i == last else None, mask=mask, probe=probe_at(tap, f"blocks.{i}"))
        return x if self.norm is None else self.norm(x)  # type: ignore[no-any-return]

    def answer_logits(self, states: Float[Tensor, "r n D"]) -> Float[Tensor, "r A"]:
        """The scores (logits) of the closed list's answers, read off the first token of each question."""
        return self.head(self.pooler(states[:, 0]).tanh())  # type: ignore[no-any-return]

    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        questions: Int64[Tensor, "r n"],
        *,
        real: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r A"]:
        """The scores (logits) of the closed list's answers.

        Args:
            images: Normalised pictures.
            questions: As many of each picture as of the others, special tokens included.
            real: False where a question's token is padding.
            tap: What to capture of the attention.
        """
        return self.answer_logits(self.read(questions, self.encode(images), real=real, tap=tap))

    def _dropped(self, x: Tensor) -> Tensor:
        return x if self.dropout is None else self.dropout(x)  # type: ignore[no-any-return]

    def _typed(self, x: Tensor, kind: int) -> Tensor:
        return x + self.types.weight[kind]
