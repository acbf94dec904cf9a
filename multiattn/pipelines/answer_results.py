"""What the answering pipeline gives back: frozen results that know how to save their maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import InputError
from ..inputs.text import Word
from ..maps import AttentionMap
from .results import Candidate, WrittenWord

if TYPE_CHECKING:
    from ..export import PageQuestion


@dataclass(frozen=True, eq=False)
class AnswerMap:
    """Maps by one method for each word of an answer and of its question, with the picture they lie on."""

    map: AttentionMap
    """Where the model looked for each word of the answer, by way of the question; axes ("word", "y", "x")."""

    question: AttentionMap
    """Where it looked for each word of the question; axes ("word", "y", "x")."""

    picture: Image.Image = field(repr=False)
    """The source picture, upright RGB."""

    name: str
    """What the picture is called in a page's heading."""

    def save(self, path: str | Path) -> None:
        """Writes the numbers: an npz file and, beside it, a JSON file that says what they are.

        Those of the question lie beside them: for `cat.npz`, in `cat.question.npz`.
        """
        from ..export import save_map

        save_map(self.map, path)
        save_map(self.question, Path(path).with_suffix(".question.npz"))

    def save_png(self, path: str | Path) -> None:
        """Writes the picture and, for each word of the question and the answer, the picture with the word's map."""
        from ..export import question_png  # matplotlib takes a second to import, which an answer need not wait for

        question_png(self.question, self.map, self.picture, path)


@dataclass(frozen=True, eq=False)
class Answer:
    """What was answered to a question about a picture."""

    file: str | None
    """The picture's path as it was given; None for bytes, a PIL image, an array or a tensor."""

    question: str
    """As it was asked."""

    candidates: tuple[Candidate, ...]
    """The answers found, best first; the first is `answer`."""

    question_words: tuple[Word, ...]
    """The words of `question`, punctuation among them; their pieces count from its first token that is text."""

    words: tuple[WrittenWord, ...]
    """The words of `answer`; one of a closed list is one word. Empty where the model had nothing to say."""

    first_token: str
    """The special token that the model's reading of the question began with, such as "[ENC]"; or its number, where
    the vocabulary has no name for it."""

    maps: tuple[AnswerMap, ...] = ()
    """One for each method asked for, in that order; none where the answer has no words."""

    stacks: tuple[AttentionMap, ...] = field(default=(), repr=False)
    """With maps: attention of every layer and head for the words of the question, and for those of the answer, axes
    ("layer", "head", "word", "y", "x"), for the page's choice of both."""

    unknown_words: tuple[str, ...] = ()
    """The words of `question` of which the model's vocabulary lacks at least a part: it read [UNK] there."""

    @property
    def answer(self) -> str:
        """The answer."""
        return self.candidates[0].text

    @property
    def score(self) -> float:
        """How likely the model held it, 0 to 1."""
        return self.candidates[0].score

    @property
    def error(self) -> None:
        """None: the input was fine. A `Failure` has the reason here."""
        return None

    def save_html(self, path: str | Path) -> None:
        """Writes one page, complete in itself: question and answer with a map for every word, by all methods.

        Raises:
            InputError: The answer has no maps.
        """
        save_answers([self], path)


def save_answers(answers: Sequence[Answer], path: str | Path) -> None:
    """Writes one page, complete in itself, about one picture, with a choice of the questions asked about it.

    Args:
        answers: About the same picture; those without maps stand there without.
        path: Of the page.

    Raises:
        InputError: None of them has maps.
    """
    from ..export import AskedPicture, write_page

    shown = next((answer.maps[0] for answer in answers if answer.maps), None)
    if shown is None:
        raise InputError('there are no maps to save; ask for some: answer(picture, question, maps="attention")')
    page = AskedPicture(picture=shown.picture, name=shown.name, questions=[_on_page(answer) for answer in answers])
    write_page(path, pictures=[page], title=shown.name)


def _on_page(answer: Answer) -> "PageQuestion":
    from ..export import PageQuestion, PageText, PageWord

    candidates = tuple((candidate.text, candidate.score) for candidate in answer.candidates)
    if not answer.maps:
        return PageQuestion(
            question=PageText((), (), answer.question), answer=PageText((), (), answer.answer), candidates=candidates
        )
    of_question, of_answer = answer.stacks
    asked = tuple(PageWord(label) for label in of_question.axes[2].labels or ())
    labels = of_answer.axes[2].labels or ()
    said = tuple(PageWord(label, word.probability) for label, word in zip(labels, answer.words, strict=True))
    return PageQuestion(
        question=PageText(asked, [*(one.question for one in answer.maps), of_question], answer.question),
        answer=PageText(said, [*(one.map for one in answer.maps), of_answer]),
        candidates=candidates,
    )
