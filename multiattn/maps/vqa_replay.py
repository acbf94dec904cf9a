"""Questions and their answers, laid out for one pass: what the maps of both are computed from.

A question is read by an encoder, so a word's rows are those of its own tokens. An answer is either an entry of a closed
list, read off the question's first token; or a text that a decoder wrote, which predicts it again.

Notation: b pictures, r questions (g = r / b of each picture, side by side), n tokens of a question, m picture tokens, w
words of a question, v words of an answer, t rows of an answer, V vocabulary, A answers of the closed list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..alignment.replay import Replay, predicting_rows, word_labels
from ..attention import ProjectedContext, Tap
from ..checks import check_one_each
from ..errors import ModelError
from ..inputs.text import Word
from ..models import VQA, SingleStream
from .building import check_pictures, image_size
from .word_to_word import question_word_attention


class QuestionReading(NamedTuple):
    """Questions that were read once with a tap: for their answers, and for the maps of both."""

    states: Float[Tensor, "r n D"]
    """The question encoder's output, from which the closed list is scored."""

    projected: ProjectedContext | None
    """The decoder's `project_context` of the states; None for a model with a closed list."""

    weights: Mapping[str, Tensor]
    """The attention weights of the question encoder (r, h, n, k), by site: k tokens of the question or the picture."""


def read_questions(
    model: VQA,
    images: Float[Tensor, "b c H W"],
    questions: Int64[Tensor, "r n"],
    context: Float[Tensor, "b m C"] | ProjectedContext,
    *,
    attention_mask: Bool[Tensor, "r n"] | None = None,
) -> QuestionReading:
    """Read questions as `VQA.read` does, and keep what `answer_attention_stack` needs.

    Args:
        model: In eval mode.
        images: The pictures that the questions are about.
        questions: As many of each picture as of the others, special tokens included.
        context: `model.encode(images)`, or `model.question.project_context` of that.
        attention_mask: False where a token is padding; None where none is.
    """
    sites = model.attention_sites(image_size(images), question_tokens=questions.shape[1])
    tap = Tap(sites, select="question.*")
    states = model.read(questions, context, attention_mask=attention_mask, tap=tap)
    projected = None if model.decoder is None else model.decoder.project_context(states, attention_mask)
    return QuestionReading(states, projected, tap.weights)


class WordRows(NamedTuple):
    """Rows over picture tokens for the words of a question and of its answer; or for each layer and head of both."""

    question: Float[Tensor, "w m"] | Float[Tensor, "l h w m"]
    answer: Float[Tensor, "v m"] | Float[Tensor, "l h v m"]

    words: Float[Tensor, "l h q k"] | None = None
    """Where every layer and head is asked for: the self-attention among the words of the question, as
    `question_word_attention` merges it."""


@dataclass(frozen=True, eq=False)
class QuestionReplay:
    """Questions and answers, laid out for one pass."""

    questions: Replay
    answers: Replay | Int64[Tensor, " r"]
    """The texts that a decoder wrote; or indices in the closed list."""

    answer_labels: tuple[tuple[str, ...], ...]
    """Of each answer: its words, each with the space before it."""

    each: int
    """Questions of each picture, g."""

    versus: Int64[Tensor, " r"] | None = None
    """Other answers of the closed list, whose scores are subtracted; None where none are."""

    @classmethod
    def of(
        cls,
        model: VQA | SingleStream,
        images: Float[Tensor, "b c H W"],
        questions: Sequence[Sequence[int]],
        question_words: Sequence[Sequence[Word]],
        *,
        answers: Sequence[int] | Sequence[Sequence[int]],
        answer_words: Sequence[Sequence[Word]],
        versus: Sequence[int] | None = None,
    ) -> "QuestionReplay":
        """Check questions and answers as `explain_answer` takes them, and lay them out.

        Raises:
            ModelError: There are no pictures; or questions, answers and words do not fit them, the model or each other.
        """
        count, pictures, device = len(questions), len(images), images.device
        check_pictures(images)
        if not count or count % pictures:
            raise ModelError(f"`questions` must be as many for each of {pictures} pictures, but are {count}.")
        check_one_each(count, "questions", answers=answers, versus=versus)
        read = Replay.of(
            questions,
            [slice(1, len(question) - 1) for question in questions],
            question_words,
            pad_token=model.config.question.pad_token,
            device=device,
            kind="question",
        )
        said: Replay | Tensor
        against: Tensor | None = None
        if versus is not None and isinstance(model, VQA) and model.decoder is not None:
            raise ModelError("`versus` must be None for a model that writes its answers, but is given instead.")
        if isinstance(model, VQA) and model.decoder is not None:
            texts = [_text(answer) for answer in answers]
            rows = predicting_rows(texts, [1] * count)
            pad = model.decoder.config.pad_token
            said = Replay.of(texts, rows, answer_words, pad_token=pad, device=device, kind="answer", predicts=True)
        else:
            indices = _indices(answers, answer_words, size=model.config.answers)
            with torch.inference_mode(False):
                said = torch.tensor(indices, device=device)
                if versus is not None:
                    others = _indices(versus, answer_words, size=model.config.answers)
                    against = torch.tensor(others, device=device)
        return cls(read, said, tuple(word_labels(words) for words in answer_words), count // pictures, against)

    def tap(
        self, model: VQA | SingleStream, images: Tensor, *, select: str | Sequence[str], gradients: bool = False
    ) -> Tap:
        """Make a tap for this pass."""
        size, tokens = image_size(images), self.questions.tokens.shape[1]
        if isinstance(model, VQA):
            answer_tokens = self.answers.inputs.shape[1] if isinstance(self.answers, Replay) else 0
            sites = model.attention_sites(size, question_tokens=tokens, answer_tokens=answer_tokens)
        else:
            sites = model.attention_sites(size, question_tokens=tokens)
        return Tap(sites, select=select, gradients=gradients)

    def read(
        self, model: VQA | SingleStream, context: Float[Tensor, "b m C"] | ProjectedContext, tap: Tap
    ) -> Float[Tensor, "r ..."]:
        """Run the model after its image encoder, once.

        Returns:
            The logits of the closed list (r, A); or of the token after each one of the answers (r, t, V).
        """
        if isinstance(model, SingleStream):
            assert isinstance(context, Tensor)
            return model.answer_logits(model.read(self.questions.tokens, context, attention_mask=self.mask, tap=tap))
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        states = model.question.forward(
            self.questions.tokens, context, attention_mask=self.mask, tap=tap.at("question")
        )
        return self.write(model, states, tap) if model.head is None else model.answer_logits(states)

    def write(
        self, model: VQA, states: Float[Tensor, "r n D"] | ProjectedContext, tap: Tap, *, last_only: bool = False
    ) -> Float[Tensor, "r t V"]:
        """Run the decoder of a model that writes its answers, once.

        Args:
            model: The model.
            states: The question encoder's output, or the decoder's `project_context` of that.
            tap: What to capture.
            last_only: Compute the logits of the last row alone, for callers that do not need any.
        """
        assert model.decoder is not None
        assert isinstance(self.answers, Replay)
        return model.decoder.forward(
            self.answers.inputs, states, context_attention_mask=self.mask, last_only=last_only, tap=tap.at("decoder")
        )

    def word_to_word(self, index: int, weights: Float[Tensor, "l h n m"]) -> Float[Tensor, "l h q k"]:
        """Merge the self-attention of a question's tokens, by layer and head, into that of its words."""
        length = int(self.questions.attention_mask[index].sum())
        return question_word_attention(weights, self.questions.shares[index], length=length)

    @property
    def mask(self) -> Bool[Tensor, "r n"] | None:
        """False where a question is padded; None where none is."""
        return None if bool(self.questions.attention_mask.all()) else self.questions.attention_mask

    def word_scores(self, logits: Float[Tensor, "r ..."]) -> list[Float[Tensor, " v"]]:
        """Return the logit of each word of each answer; a probability near 1 has no gradient left, its logit has."""
        if isinstance(self.answers, Replay):
            return self.answers.word_scores(logits.float())
        scores = logits.float().gather(1, self.answers[:, None])
        if self.versus is not None:
            scores = scores - logits.float().gather(1, self.versus[:, None])
        return list(scores)

    def question_shares(self) -> Float[Tensor, "r w n"]:
        """Return the weight of each row of a question in each of its words, 1 in all; 0 beyond its words."""
        return pad_sequence(list(self.questions.shares), batch_first=True)

    def answer_shares(self) -> Float[Tensor, "r v n"]:
        """Return the weight of each row that an answer is read off in each of its words, 1 in all; 0 beyond its words.

        The rows are the decoder's; or the question's, of which the first is read.
        """
        if isinstance(self.answers, Replay):
            return pad_sequence(list(self.answers.shares), batch_first=True)
        shares = torch.zeros(*self.questions.tokens.shape, device=self.answers.device)[:, None]  # (r, 1, n)
        shares[..., 0] = 1.0
        return shares

    def split(self, rows: Float[Tensor, "r wv m"]) -> list[WordRows]:
        """Split rows, those of all words of the longest question and then of the longest answer, and drop padding."""
        longest = max(map(len, self.questions.labels))
        return [
            WordRows(row[: len(of_question)], row[longest : longest + len(of_answer)])
            for row, of_question, of_answer in zip(rows, self.questions.labels, self.answer_labels, strict=True)
        ]


def _text(answer: int | Sequence[int]) -> Sequence[int]:
    """The tokens of an answer that a decoder wrote."""
    if isinstance(answer, int):
        raise ModelError(
            "`answers` must be tokens, from the start token on, for a model that writes them, "
            f"but one is {answer} instead."
        )
    return answer


def _indices(answers: Sequence[object], answer_words: Sequence[Sequence[Word]], *, size: int) -> list[int]:
    """The answers as indices in the closed list."""
    indices = []
    for answer in answers:
        if not isinstance(answer, int) or not 0 <= answer < size:
            raise ModelError(
                f"`answers` must be indices in the closed list, from 0 to {size - 1}, but one is {answer} instead."
            )
        indices.append(answer)
    if len(answer_words) != len(indices) or any(len(words) != 1 for words in answer_words):
        raise ModelError("`answer_words` must be one for each question: an answer from a closed list is a single word.")
    return indices
