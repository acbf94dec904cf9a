"""Visual question answering: a question encoder attends to a picture; a head chooses an answer, or a decoder writes it.

Notation: b pictures, r questions (r / b of each picture, side by side), n tokens of a question, t of an answer, m
picture tokens (prefix first, then patches row by row), C width of the context that the question encoder attends to, D
its own width, T that of a text encoder beside it, A answers of the closed list, V vocabulary.
Source: Li et al. 2022 (BLIP), section 4.4: the answer decoder; Kim et al. 2021 (ViLT): the classifier over a list.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import ProjectedContext, Site, Tap, probe_at
from ..checks import check_at_least, check_rules
from ..errors import ModelError
from .captioner import PRESETS as CAPTIONER_PRESETS
from .common import initialize, sites_of
from .picture_model import PictureModel, check_bridge
from .text_decoder import TextDecoder, TextDecoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig
from .vit import PRESETS as VIT_PRESETS
from .vit import ViTConfig


@dataclass(frozen=True)
class VQAConfig:
    """Configuration of a `VQA`, which has either a `decoder` or a closed list of `answers`."""

    encoder: ViTConfig
    """The vision transformer, without classes."""

    question: TextEncoderConfig
    """The question encoder, which attends to the picture."""

    decoder: TextDecoderConfig | None = None
    """The answer decoder, which attends to the question's states; None for a closed list."""

    answers: int = 0
    """Number of answers in the closed list; 0 where a decoder writes them."""

    head_dim: int = 512
    """Width inside the head that scores the closed list."""

    bridge: bool = False
    """Whether a linear layer maps the encoder's width to the question encoder's `context_dim`."""

    output_positions: bool = False
    """Whether the patches' positions (2-D sinusoids) are added once more to the picture's features: without them, a
    small model does not learn where things are. Source: Carion et al. 2020 (DETR), for the keys there."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        seen = self.question.context_dim
        must = "a width, for the question encoder attends to a picture"
        check_rules(self, ("question.context_dim", seen is not None, must))
        check_bridge(self.encoder, "question.context_dim", seen, has_bridge=self.bridge)
        if self.answers < 0 or (self.decoder is None) == (self.answers == 0):
            has = "a `decoder`" if self.decoder is not None else "no `decoder`"
            raise ValueError(f"there must be either a `decoder` or `answers`, but there are {has} and {self.answers}.")
        if self.decoder is not None:
            dim = self.question.dim
            is_fitting = dim == self.decoder.context_dim
            check_rules(self, ("decoder.context_dim", is_fitting, f"the question encoder's `dim` ({dim})"))
        check_at_least(self, 1, ("head_dim",))
        if self.output_positions and seen is not None:
            check_rules(self, ("question.context_dim", seen % 4 == 0, "a multiple of 4 with `output_positions`"))


_BLIP = CAPTIONER_PRESETS["blip_base"]

PRESETS: dict[str, VQAConfig] = {
    "blip_base": VQAConfig(
        replace(_BLIP.encoder, image_size=(480, 480)),
        TextEncoderConfig(
            vocab_size=30524,
            dim=768,
            depth=12,
            num_heads=12,
            mlp_dim=3072,
            max_length=512,
            context_dim=768,
            start_token=30523,
            end_token=102,
            pre_norm=False,
            norm_eps=1e-12,
            embed_norm=True,
            final_norm=False,
        ),
        _BLIP.decoder,
    ),
    # small enough to be trained on a CPU
    "compact": VQAConfig(
        replace(
            VIT_PRESETS["compact"],
            image_size=(64, 64),
            patch_size=8,
            num_classes=0,
            stem_channels=(48, 96, 128),
            stem_strides=(2, 2, 2),
        ),
        TextEncoderConfig(dim=128, depth=4, num_heads=4, mlp_dim=512, max_length=32, context_dim=128),
        answers=1000,
        head_dim=256,
        output_positions=True,
    ),
}
"""Configurations by name; the sizes of the vocabulary and the answer list come from the data."""


class AnswerHead(nn.Sequential):
    """Scores a closed list of answers: linear, norm, GELU, linear.

    Args:
        dim: Width of the input.
        inner: Width inside.
        answers: Number of answers.
    """

    def __init__(self, dim: int, *, inner: int, answers: int) -> None:
        super().__init__(nn.Linear(dim, inner), nn.LayerNorm(inner), nn.GELU(), nn.Linear(inner, answers))
        self.apply(initialize)


class VQA(PictureModel):
    """A vision transformer, a question encoder that attends to it, and a head or a decoder; from a `VQAConfig`."""

    def __init__(self, config: VQAConfig) -> None:
        bridge = config.question.context_dim if config.bridge else None
        super().__init__(config.encoder, bridge=bridge, output_positions=config.output_positions)
        self.config = config
        self.question = TextEncoder(config.question)
        dim, answers = config.question.dim, config.answers
        self.head = AnswerHead(dim, inner=config.head_dim, answers=answers) if answers else None
        self.decoder = None if config.decoder is None else TextDecoder(config.decoder)

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, question_tokens: int, answer_tokens: int = 0
    ) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, for a picture of this height and width and texts of so many tokens.

        With `answer_tokens` 0, the decoder's sites are left out.
        """
        encoder = self.encoder.attention_sites(image_size, of="features")
        parts = [
            ("encoder", encoder),
            ("question", self.question.attention_sites(tokens=question_tokens, context_tokens=encoder[0].k_len)),
        ]
        if self.decoder is not None and answer_tokens:
            sites = self.decoder.attention_sites(tokens=answer_tokens, context_tokens=question_tokens)
            parts.append(("decoder", sites))
        return sites_of(parts)

    def read(
        self,
        questions: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m C"] | ProjectedContext,
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        text_states: Float[Tensor, "r n T"] | None = None,
        first_only: bool = False,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r out D"]:
        """Return the states of the questions' tokens after the question encoder.

        Args:
            questions: Tokens of the questions, the same number of questions for each picture.
            context: What `encode` returned, or what `question.project_context` computed from it.
            attention_mask: False where a token is padding.
            text_states: Those of the text encoder beside the question encoder, where they have been computed before.
            first_only: Return only the first token's state, which is all that the head reads.
            tap: Captures attention weights; with `first_only`, the last block's sites have one query row.
            checkpoint_activations: See `TransformerBlock`.
        """
        return self.question(  # type: ignore[no-any-return]
            questions,
            context,
            attention_mask=attention_mask,
            text_states=text_states,
            first_only=first_only,
            tap=probe_at(tap, "question"),
            checkpoint_activations=checkpoint_activations,
        )

    def answer_logits(self, states: Float[Tensor, "r n D"]) -> Float[Tensor, "r A"]:
        """Return the logits of the closed list's answers, computed from each question's first token.

        Raises:
            ModelError: The model has no closed list.
        """
        if self.head is None:
            raise ModelError("the model must answer out of a closed list, but writes its answers: decode them instead")
        return self.head(states[:, 0])  # type: ignore[no-any-return]

    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        questions: Int64[Tensor, "r n"],
        answers: Int64[Tensor, "r t"] | None = None,
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        answer_attention_mask: Bool[Tensor, "r t"] | None = None,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r A"] | Float[Tensor, "r t V"]:
        """Return the logits of the closed list's answers, or of the token that follows each of the decoder's tokens.

        Args:
            images: Normalized pictures.
            questions: Tokens of the questions, the same number of questions for each picture.
            answers: The decoder's input tokens, the start token first; None for a closed list.
            attention_mask: False where a question's token is padding.
            answer_attention_mask: False where an answer's token is padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: `answers` are given to a model with a closed list, or missing for one with a decoder.
        """
        if (answers is None) != (self.decoder is None):
            raise ModelError(
                "`answers` must be given to a model that writes them, but are None instead"
                if answers is None
                else "`answers` must be left out for a model with a closed list, but are given"
            )
        states = self.read(
            questions,
            self.encode(images, tap=tap, checkpoint_activations=checkpoint_activations),
            attention_mask=attention_mask,
            tap=tap,
            checkpoint_activations=checkpoint_activations,
        )
        if self.decoder is None:
            return self.answer_logits(states)
        return self.decoder(  # type: ignore[no-any-return]
            answers,
            states,
            context_attention_mask=attention_mask,
            attention_mask=answer_attention_mask,
            tap=probe_at(tap, "decoder"),
            checkpoint_activations=checkpoint_activations,
        )
