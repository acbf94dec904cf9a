"""Questions and their answers, ready to be read again: what the maps of both are made from.

Notation: b pictures, r questions (g = r / b of each picture, side by side), n tokens of a question, m picture tokens, v
words of an answer, V vocabulary, A answers of the closed list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..attention import ProjectedContext, Tap
from ..errors import ModelError
from ..inputs import Geometry
from ..inputs.text import Word
from ..models import VQA, SingleStream
from .replay import Replay, check_geometries, spaced


class QuestionReading(NamedTuple):
    """Questions that were read with somebody looking on: for their answers, and for the maps of both."""

    states: Float[Tensor, "r n D"]
    """What an answer out of the closed list is found from."""

    projected: ProjectedContext | None
    """What the decoder makes of the states: what it writes the answers from; None where there is a closed list."""

    looks: Mapping[str, Tensor]
    """The attention weights of the question encoder (r, h, n, k), by site: k tokens of the question or the picture."""


def read_questions(
    model: VQA,
    images: Float[Tensor, "b c H W"],
    questions: Int64[Tensor, "r n"],
    context: Float[Tensor, "b m C"] | ProjectedContext,
    *,
    attention_mask: Bool[Tensor, "r n"] | None = None,
) -> QuestionReading:
    """Read questions as `VQA.read` does, and keep what `answer_attention_stack` needs of it.

    Args:
        model: Who reads.
        images: What the questions are about.
        questions: As many of each picture as of the others, special tokens included.
        context: What `encode` gave, or what `question.project_context` made of it.
        attention_mask: False where a token is padding; None where none is.
    """
    sites = model.attention_sites((images.shape[-2], images.shape[-1]), question_tokens=questions.shape[1])
    tap = Tap(sites, select="question.*")
    states = model.read(questions, context, attention_mask=attention_mask, tap=tap)
    projected = None if model.decoder is None else model.decoder.project_context(states, attention_mask)
    return QuestionReading(states, projected, tap.weights)


@dataclass(frozen=True, eq=False)
class QuestionReplay:
    """Questions and answers, ready to be read again."""

    questions: Replay
    answers: Replay | Int64[Tensor, " r"]
    """What the decoder writes; or places in the closed list."""

    answer_labels: tuple[tuple[str, ...], ...]
    """Of each answer: its words, each with the space before it."""

    each: int
    """Questions of each picture, g."""

    @classmethod
    def of(
        cls,
        model: VQA | SingleStream,
        images: Tensor,
        questions: Sequence[Sequence[int]],
        question_words: Sequence[Sequence[Word]],
        *,
        answers: Sequence[int] | Sequence[Sequence[int]],
        answer_words: Sequence[Sequence[Word]],
        geometries: Sequence[Geometry | None] | None,
    ) -> "QuestionReplay":
        """Check questions and answers as `explain_answer` takes them, and lay them out.

        Raises:
            ModelError: There are no pictures; or questions, answers and words do not fit them, the model or each other.
        """
        count, pictures, device = len(questions), len(images), images.device
        if not pictures:
            raise ModelError("`images` must be at least one picture, but are none.")
        check_geometries(geometries, pictures)
        if not count or count % pictures:
            raise ModelError(f"`questions` must be as many for each of {pictures} pictures, but are {count}.")
        if len(answers) != count:
            raise ModelError(f"`answers` must be one for each of {count} questions, but are {len(answers)}.")
        asked = Replay.read(
            questions, question_words, pad_token=model.config.question.pad_token, device=device, kind="question"
        )
        said: Replay | Tensor
        if not isinstance(model, VQA) or model.decoder is None:
            places = _places(answers, answer_words, there=model.config.answers)
            with torch.inference_mode(False):
                said = torch.tensor(places, device=device)
        else:
            written = [_tokens(answer) for answer in answers]
            pad = model.decoder.config.pad_token
            said = Replay.written(written, answer_words, prompt_length=1, pad_token=pad, device=device, kind="answer")
        return cls(asked, said, tuple(spaced(words) for words in answer_words), count // pictures)

    def tap(
        self, model: VQA | SingleStream, images: Tensor, *, select: str | Sequence[str], gradients: bool = False
    ) -> Tap:
        """A tap for this reading of these pictures."""
        size, tokens = (images.shape[-2], images.shape[-1]), self.questions.tokens.shape[1]
        if isinstance(model, VQA):
            written = self.answers.tokens.shape[1] - 1 if isinstance(self.answers, Replay) else 0
            sites = model.attention_sites(size, question_tokens=tokens, answer_tokens=written)
        else:
            sites = model.attention_sites(size, question_tokens=tokens)
        return Tap(sites, select=select, gradients=gradients)

    def read(
        self,
        model: VQA | SingleStream,
        context: Float[Tensor, "b m C"] | ProjectedContext,
        tap: Tap,
    ) -> Float[Tensor, "r ..."]:
        """One pass: the scores (logits) of the closed list (r, A), or of what follows each token of answers (r, t, V).

        Args:
            model: Who reads.
            context: What it reads about.
            tap: What to capture.
        """
        if isinstance(model, SingleStream):
            assert isinstance(context, Tensor)
            return model.answer_logits(model.read(self.questions.tokens, context, attention_mask=self.padded, tap=tap))
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        states = model.question.forward(
            self.questions.tokens, context, attention_mask=self.padded, tap=tap.at("question")
        )
        return self.write(model, states, tap) if model.head is None else model.answer_logits(states)

    def write(
        self, model: VQA, states: Float[Tensor, "r n D"] | ProjectedContext, tap: Tap, *, last_only: bool = False
    ) -> Float[Tensor, "r t V"]:
        """The second half of it for a model that writes its answers, from the states of the questions.

        Args:
            model: Who writes.
            states: What the question encoder gave, or what the decoder's `project_context` made of it.
            tap: What to capture.
            last_only: Score only what follows the last token of each answer, which nobody needs to know.
        """
        assert model.decoder is not None
        assert isinstance(self.answers, Replay)
        written, probe = self.answers.tokens[:, :-1], tap.at("decoder")
        return model.decoder.forward(
            written, states, context_attention_mask=self.padded, last_only=last_only, tap=probe
        )

    @property
    def padded(self) -> Bool[Tensor, "r n"] | None:
        """False where a question is filled up; None where none is."""
        return None if bool(self.questions.attention_mask.all()) else self.questions.attention_mask

    def word_scores(self, logits: Float[Tensor, "r ..."]) -> list[Float[Tensor, " v"]]:
        """The score of each word of each answer. A probability near 1 has no gradient left; the logit before it has."""
        if isinstance(self.answers, Replay):
            return self.answers.of_words(logits.float())
        return list(logits.float().gather(1, self.answers[:, None]))

    def answer_shares(self) -> Float[Tensor, "r v n"]:
        """How much each row that an answer is read off counts for each of its words, 1 in all; 0 beyond its words.

        The rows are the decoder's; or the question's, of which the first token is read.
        """
        if isinstance(self.answers, Replay):
            return pad_sequence(list(self.answers.shares), batch_first=True)
        shares = torch.zeros(*self.questions.tokens.shape, device=self.answers.device)[:, None]  # (r, 1, n)
        shares[..., 0] = 1.0
        return shares


def _tokens(answer: int | Sequence[int]) -> Sequence[int]:
    """An answer that a decoder wrote."""
    if isinstance(answer, int):
        raise ModelError(
            "`answers` must be tokens, from the start token on, for a model that writes them, "
            f"but one is {answer} instead."
        )
    return answer


def _places(answers: Sequence[object], answer_words: Sequence[Sequence[Word]], *, there: int) -> list[int]:
    """The answers as places in the closed list."""
    found = []
    for answer in answers:
        if not isinstance(answer, int) or not 0 <= answer < there:
            raise ModelError(
                f"`answers` must be places in the closed list, from 0 to {there - 1}, but one is {answer} instead."
            )
        found.append(answer)
    if len(answer_words) != len(found) or any(len(words) != 1 for words in answer_words):
        raise ModelError("`answer_words` must be one for each question: out of a closed list an answer comes whole.")
    return found
