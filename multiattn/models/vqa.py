"""Visual question answering: a question is read while looking at a picture, then answered out of a list or in words.

Notation: b pictures, r questions (r / b of each picture, side by side), n tokens of a question, t of an answer, m
picture tokens (prefix first, then patches row by row), C width of what the question encoder attends to, D its own
width, A answers of the closed list, V vocabulary.
Source: Li et al. 2022 (BLIP), section 4.4: the answer decoder; Kim et al. 2021 (ViLT): the classifier over a list.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import ProjectedContext, Site, Tap, probe_at
from ..errors import ModelError
from .captioner import PRESETS as CAPTIONER_PRESETS
from .initial import initialize
from .picture_model import PictureModel, sites_of
from .ranges import check_at_least
from .text_decoder import TextDecoder, TextDecoderConfig
from .text_encoder import TextEncoder, TextEncoderConfig
from .vit import PRESETS as VIT_PRESETS
from .vit import ViTConfig


@dataclass(frozen=True)
class VQAConfig:
    """What a `VQA` is made of. It answers in one of two ways: `decoder`, or one of `answers`."""

    encoder: ViTConfig
    """Of the vision transformer; without classes."""

    question: TextEncoderConfig
    """Of the question encoder, which looks at the picture."""

    decoder: TextDecoderConfig | None = None
    """Of the answer decoder, which looks at the question's states; None for a closed list."""

    answers: int = 0
    """How many answers the closed list has; 0 where a decoder writes them."""

    head_dim: int = 512
    """Width inside the head that scores the closed list."""

    bridge: bool = False
    """Whether a linear map leads from the encoder's width to the question encoder's `context_dim`."""

    output_positions: bool = False
    """Whether the places of the patches (2-D sinusoids) are added once more to what the question encoder looks at: a
    small model does not learn otherwise where things are. Source: Carion et al. 2020 (DETR), for the keys there."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        if self.encoder.num_classes:
            raise ValueError(f"`encoder.num_classes` must be 0, but is {self.encoder.num_classes} instead.")
        if self.question.context_dim is None:
            raise ValueError(
                "`question.context_dim` must be a width, for the question looks at a picture, but is None."
            )
        if not self.bridge and self.question.context_dim != self.encoder.dim:
            raise ValueError(
                f"`question.context_dim` must be the encoder's `dim` ({self.encoder.dim}) without a `bridge`, but is "
                f"{self.question.context_dim} instead."
            )
        if self.answers < 0 or (self.decoder is None) == (self.answers == 0):
            has = "a `decoder`" if self.decoder is not None else "no `decoder`"
            raise ValueError(f"there must be either a `decoder` or `answers`, but there are {has} and {self.answers}.")
        if self.decoder is not None and self.decoder.context_dim != self.question.dim:
            raise ValueError(
                f"`decoder.context_dim` must be the question encoder's `dim` ({self.question.dim}), but is "
                f"{self.decoder.context_dim} instead."
            )
        check_at_least(self, 1, ("head_dim",))
        if self.output_positions and self.question.context_dim % 4:
            raise ValueError(
                "`question.context_dim` must be a multiple of 4 with `output_positions`, but is "
                f"{self.question.context_dim} instead."
            )


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
"""The models one can ask for by name; the sizes of vocabulary and answer list are the data's."""


class AnswerHead(nn.Sequential):
    """Scores a closed list of answers: dense, norm, GELU, dense.

    Args:
        dim: Width of the state it reads.
        inner: Width inside.
        answers: How many there are.
    """

    def __init__(self, dim: int, *, inner: int, answers: int) -> None:
        super().__init__(nn.Linear(dim, inner), nn.LayerNorm(inner), nn.GELU(), nn.Linear(inner, answers))
        self.apply(initialize)


class VQA(PictureModel):
    """A vision transformer, a question encoder that looks at it, and a head or a decoder, built from a `VQAConfig`."""

    def __init__(self, config: VQAConfig) -> None:
        bridge = config.question.context_dim if config.bridge else None
        super().__init__(config.encoder, bridge=bridge, output_positions=config.output_positions)
        self.config = config
        self.question = TextEncoder(config.question)
        self.head = None
        if config.answers:
            self.head = AnswerHead(config.question.dim, inner=config.head_dim, answers=config.answers)
        self.decoder = None if config.decoder is None else TextDecoder(config.decoder)

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, question_tokens: int, answer_tokens: int = 0
    ) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, for a picture of this height and width and texts of so many tokens.

        Without tokens of an answer, none of the decoder's.
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
        first_only: bool = False,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r out D"]:
        """The states of the questions' tokens.

        Args:
            questions: As many of each picture as of the others, special tokens included.
            context: What `encode` gave, or what `question.project_context` made of it.
            attention_mask: False where a token is padding.
            first_only: Give the first token's state alone, which is what the closed list's scores are read off.
            tap: What to capture of the attention; with `first_only`, the last block's sites have one row.
        """
        probe = probe_at(tap, "question")
        return self.question(questions, context, attention_mask=attention_mask, first_only=first_only, tap=probe)  # type: ignore[no-any-return]

    def answer_logits(self, states: Float[Tensor, "r n D"]) -> Float[Tensor, "r A"]:
        """The scores (logits) of the closed list's answers, read off the first token of each question.

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
    ) -> Float[Tensor, "r A"] | Float[Tensor, "r t V"]:
        """The scores (logits) of the closed list; or, with a decoder, of the token that follows each of the answers'.

        Args:
            images: Normalized pictures.
            questions: As many of each picture as of the others, special tokens included.
            answers: For a decoder: what it is given, the start token first.
            attention_mask: False where a question's token is padding.
            answer_attention_mask: False where an answer's token is padding.
            tap: What to capture of the attention.

        Raises:
            ModelError: `answers` are given to a model with a closed list, or none to one with a decoder.
        """
        if (answers is None) != (self.decoder is None):
            raise ModelError(
                "`answers` must be given to a model that writes them, but are None instead"
                if answers is None
                else "`answers` must be left out for a model with a closed list, but are given"
            )
        states = self.read(questions, self.encode(images, tap=tap), attention_mask=attention_mask, tap=tap)
        if self.decoder is None:
            return self.answer_logits(states)
        probe = probe_at(tap, "decoder")
        return self.decoder(
            answers, states, context_attention_mask=attention_mask, attention_mask=answer_attention_mask, tap=probe
        )  # type: ignore[no-any-return]
