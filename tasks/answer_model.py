"""The answering model that a training starts from, of parts or a whole one to fine-tune; its pass; its answers.

b pictures, m picture tokens, D the encoder's width, r questions, n tokens of a question and W their width, t tokens of
an answer, A answers of a closed list, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.attention import Tap
from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.generation import Generated, GenerationConfig, generate
from multiattn.inputs import Tokenizer
from multiattn.models.text_decoder import TextDecoderConfig
from multiattn.models.text_encoder import TextEncoder, TextEncoderConfig
from multiattn.models.vqa import VQA, VQAConfig
from multiattn.weights import load_text_encoder

from .caption_model import context_of
from .text_fields import OF_THE_DATA, TEXT_TRAINING_ONLY, check_text_fields, special_tokens
from .vision import TRAINING_ONLY, PictureStart, picture_start, require_training_only

AnswerKind = Literal["closed", "decoder"]
"""Out of a closed list, by a classifier; or in words, by a decoder."""

_DECIDED = (*OF_THE_DATA, "context_dim")
"""Fields that the tokenizer, and what is attended to, decide about."""

_LAST = ("head.3.weight", "head.3.bias")
"""The tensors with a row for each answer of the closed list."""


class VQAOutput(NamedTuple):
    """What a model makes of a batch of questions, and of the answers' tokens where it writes them."""

    scores: Float[Tensor, "r A"] | Float[Tensor, "r t V"]
    """Of the closed list, or of what follows each of the answers' tokens."""

    first: Float[Tensor, "r W"]
    """The state of each question's first token, which a closed list's scores are read off."""


@dataclass
class AnswerStart:
    """What is known of an answering model before the data is."""

    pictures: PictureStart
    question: dict[str, Any]
    """Fields of `TextEncoderConfig`."""

    reader: tuple[TextEncoder, Tokenizer] | None
    """A trained text encoder, which looks at nothing yet, to read questions; and its vocabulary."""

    answer: AnswerKind
    decoder: dict[str, Any]
    """Fields of `TextDecoderConfig`."""

    head_dim: int | None
    """Of `VQAConfig`, where it is stated."""

    output_positions: bool | None
    """Of `VQAConfig`, where it is stated."""

    @property
    def trained(self) -> VQA | None:
        """The model to fine-tune, where it is one."""
        if self.pictures.whole is None:
            return None
        assert isinstance(self.pictures.whole.model, VQA)
        return self.pictures.whole.model

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The trained model's; None where the data makes one."""
        if self.pictures.whole is not None:
            return self.pictures.whole.tokenizer
        return None if self.reader is None else self.reader[1]

    @property
    def decoding(self) -> dict[str, Any]:
        """The trained model's."""
        return {} if self.pictures.whole is None else self.pictures.whole.decoding

    def build(self, tokenizer: Tokenizer, answers: Sequence[str]) -> VQA:
        """The model for questions and answers of this tokenizer.

        Args:
            tokenizer: Of both.
            answers: The closed list, empty where a decoder answers. Those that a trained model can give too keep their
                weights.

        Raises:
            ModelError: There can be no such model.
        """
        encoder = self.pictures.config
        question = self._question(tokenizer, context_dim=encoder.dim)
        try:
            config = VQAConfig(
                encoder,
                question,
                decoder=self._decoder(question) if self.answer == "decoder" else None,
                answers=len(answers),
                head_dim=self._head_dim(),
                bridge=question.context_dim != encoder.dim,
                output_positions=self._output_positions(),
            )
        except ValueError as error:
            raise ModelError(f"there can be no such model: {error}") from error
        model = VQA(config)
        self.pictures.fill(model.encoder)
        if self.reader is not None:
            model.question.load_state_dict(model.question.state_dict() | self.reader[0].state_dict())
        if self.trained is not None:
            kept = {k: v for k, v in self._kept(self.trained, model, answers).items() if not k.startswith("encoder.")}
            model.load_state_dict(model.state_dict() | kept)
        return model

    def _output_positions(self) -> bool:
        if self.output_positions is not None:
            return self.output_positions
        return self.trained is not None and self.trained.config.output_positions

    def _question(self, tokenizer: Tokenizer, *, context_dim: int) -> TextEncoderConfig:
        if self.trained is not None:
            return replace(self.trained.config.question, **self.question)
        if self.reader is not None:
            return replace(self.reader[0].config, context_dim=context_dim, **self.question)
        return TextEncoderConfig(**{"context_dim": context_dim} | special_tokens(tokenizer) | self.question)

    def _decoder(self, question: TextEncoderConfig) -> TextDecoderConfig:
        if self.trained is not None and self.trained.config.decoder is not None:
            return replace(self.trained.config.decoder, **self.decoder)
        # one vocabulary for both
        shared = {name: getattr(question, name) for name in OF_THE_DATA}
        return TextDecoderConfig(**{"context_dim": question.dim} | shared | self.decoder)

    def _head_dim(self) -> int:
        if self.head_dim is not None:
            return self.head_dim
        return VQAConfig.head_dim if self.trained is None else self.trained.config.head_dim

    def _kept(self, trained: VQA, model: VQA, answers: Sequence[str]) -> dict[str, Tensor]:
        """What of the trained model's weights the new one has, too."""
        assert self.pictures.whole is not None
        old, new = trained.state_dict(), model.state_dict()
        kept = {key: value for key, value in old.items() if key in new and key not in _LAST}
        places = {answer: place for place, answer in enumerate(self.pictures.whole.labels)}
        rows = [(row, places[answer]) for row, answer in enumerate(answers) if answer in places]
        for key in _LAST if rows else ():
            kept[key] = new[key].clone()
            kept[key][[row for row, _ in rows]] = old[key][[place for _, place in rows]]
        return kept


def start(
    *,
    encoder: str | None,
    encoder_pretrained: str | None,
    encoder_overrides: dict[str, Any] | None,
    question: dict[str, Any] | None,
    question_pretrained: str | None,
    answer: AnswerKind | None,
    decoder: dict[str, Any] | None,
    head_dim: int | None,
    output_positions: bool | None,
    pretrained: str | None,
    image_size: int | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> AnswerStart:
    """Read what there is to read, and check the options against each other.

    Raises:
        ModelError: They do not go together, name nothing that exists, or no such model can be.
    """
    question, decoder = dict(question or {}), dict(decoder or {})
    if question_pretrained is not None and pretrained is not None:
        raise ModelError("`question_pretrained` must not come with `pretrained`, which reads already. Leave one out.")
    for source, value in (("pretrained", pretrained), ("question_pretrained", question_pretrained)):
        if value is not None:
            require_training_only(question, "question", source=source, allowed=TEXT_TRAINING_ONLY)
    check_text_fields(question, TextEncoderConfig, "question", but=_DECIDED)
    check_text_fields(decoder, TextDecoderConfig, "decoder", but=_DECIDED)
    require(head_dim is None or head_dim >= 1, "head_dim", must="at least 1", value=head_dim)
    pictures = picture_start(
        encoder=encoder,
        encoder_pretrained=encoder_pretrained,
        encoder_overrides=encoder_overrides,
        pretrained=pretrained,
        image_size=image_size,
        mean=mean,
        std=std,
        whole=VQA,
        kind="model that answers",
    )
    trained = None if pictures.whole is None else pictures.whole.require(VQA).config
    if answer is None:
        answer = "closed" if trained is None or trained.decoder is None else "decoder"
    if answer == "closed" and decoder:
        raise ModelError("`decoder` must be left out where `answer` is closed, but is given. Or set `answer: decoder`.")
    if answer == "decoder" and head_dim is not None:
        raise ModelError(
            "`head_dim` must be left out where `answer` is decoder, but is given. Or set `answer: closed`."
        )
    if trained is not None and answer == "decoder" and trained.decoder is not None:
        require_training_only(decoder, "decoder", source="pretrained", allowed=TEXT_TRAINING_ONLY)
    if trained is not None and answer == "closed" and trained.answers:
        require(
            head_dim in (None, trained.head_dim),
            "head_dim",
            must=f"left out where there is `pretrained`, which has {trained.head_dim}",
            value=head_dim,
        )
    reader = None if question_pretrained is None else load_text_encoder(question_pretrained)
    return AnswerStart(pictures, question, reader, answer, decoder, head_dim, output_positions)


def without_dropout(config: VQAConfig) -> VQAConfig:
    """The same model without what matters only in training."""
    off = dict.fromkeys(TEXT_TRAINING_ONLY, 0.0)
    return replace(
        config,
        encoder=replace(config.encoder, **dict.fromkeys(TRAINING_ONLY, 0.0)),
        question=replace(config.question, **off),
        decoder=None if config.decoder is None else replace(config.decoder, **off),
    )


def teacher_forced(
    model: VQA,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    questions: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    answers: Int64[Tensor, "r t"] | None,
    answer_attention_mask: Bool[Tensor, "r t"] | None,
    *,
    frozen: bool,
    tap: Tap | None = None,
) -> VQAOutput:
    """The pass that is trained.

    Args:
        model: Who answers.
        images: Normalized pictures; None where there are features.
        features: What `model.encoder.features` gave, in any precision.
        questions: As many of each picture as of the others.
        attention_mask: False where a question's token is padding.
        answers: What a decoder is given; None for a closed list.
        answer_attention_mask: False where an answer's token is padding.
        frozen: Whether nothing that the encoder does is to be kept for a gradient.
        tap: What to capture of the questions' attention.
    """
    context = context_of(model, images, features, frozen=frozen)
    states = model.read(questions, context, attention_mask=attention_mask, first_only=model.decoder is None, tap=tap)
    return VQAOutput(scores_of(model, states, attention_mask, answers, answer_attention_mask), states[:, 0])


def looks_of_the_answer(model: VQA, questions: Int64[Tensor, "r n"]) -> Tap:
    """A tap for the last two looks at the picture of the token that the answer is read off, to be learnt from."""
    sites = model.attention_sites(question_tokens=questions.shape[1])
    last = range(model.config.question.depth)[-2:]
    return Tap(sites, select=[f"question.blocks.{block}.cross" for block in last], rows=[0], learn=True)


def scores_of(
    model: VQA,
    states: Float[Tensor, "r n W"],
    attention_mask: Bool[Tensor, "r n"],
    answers: Int64[Tensor, "r t"] | None,
    answer_attention_mask: Bool[Tensor, "r t"] | None,
) -> Float[Tensor, "r A"] | Float[Tensor, "r t V"]:
    """The scores that `teacher_forced` gives, of questions that have been read."""
    if model.decoder is None:
        return model.answer_logits(states)
    return model.decoder(answers, states, context_attention_mask=attention_mask, attention_mask=answer_attention_mask)  # type: ignore[no-any-return]


def written_of(
    model: VQA,
    states: Float[Tensor, "r n W"],
    attention_mask: Bool[Tensor, "r n"],
    options: GenerationConfig,
) -> list[Generated]:
    """What the decoder answers to each question.

    Args:
        model: Who answers.
        states: Of the questions' tokens.
        attention_mask: False where a question's token is padding.
        options: How; nothing is drawn.
    """
    assert model.decoder is not None
    opening = [[model.decoder.config.start_token]] * len(states)
    found = generate(model.decoder, model.decoder.project_context(states, attention_mask), opening, options)
    return [candidates[0] for candidates in found]
