"""What the answer pipeline returns: an answer to each question about an image, with its maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..export import (
    AskedPicture,
    PageQuestion,
    PageText,
    PageWord,
    question_png,
    save_map,
    write_page,
)
from ..export.canvas import PNGFile
from ..inputs.damage import Damage
from ..inputs.text import Word
from ..maps import AnswerMaps, AttentionMap, Checked
from .image_results import ImageMap, page_words, verdicts_of
from .out_of_domain import OutOfDomain
from .results import Candidate, Result, WrittenWord, first_map


@dataclass(frozen=True, eq=False)
class AnswerMap(ImageMap):
    """Maps by one method for each word of an answer (`map`) and of its question, axes ("word", "y", "x")."""

    question: AttentionMap
    """Where the model looked for each word of the question; `map` is for the answer, by way of the question."""

    question_stack: AttentionMap = field(repr=False)
    """As `stack`, for the words of the question."""

    asked: str
    """The question."""

    words: tuple[WrittenWord, ...] = field(repr=False)
    """The words of the answer."""

    word_to_word: AttentionMap | None = field(default=None, repr=False)
    """Which words of the question each of them attended to: axes (layer, head, query, key)."""

    by_label: tuple[AnswerMaps, ...] = field(default=(), repr=False)
    """The maps of each of the first answers of a closed list, for the page; empty for a method whose map is the same
    for all of them."""

    def save(self, path: str | Path) -> None:
        """Write the numbers: an npz file and, beside it, a JSON file that describes them.

        Those of the question lie beside them: for `cat.npz`, in `cat.question.npz`.
        """
        super().save(path)
        save_map(self.question, Path(path).with_suffix(".question.npz"))

    def save_png(self, path: PNGFile) -> None:
        """Write the image and, for each word of question and answer, the image with the map of the word over it."""
        question_png(self.question, self.map, self.picture, path, remarks=self.remarks)

    def _page(self, shown: Sequence[ImageMap]) -> AskedPicture:
        del shown  # the page of one map
        questions = [_page_question(self.asked, [self])]
        return AskedPicture(picture=self.picture, name=self.name, questions=questions, sinks=self.sinks)


@dataclass(frozen=True, eq=False)
class Answer(Result):
    """The answer to a question about an image."""

    file: str | None
    question: str
    """The question as it was asked."""

    candidates: tuple[Candidate, ...]
    """The answers found, best first; the first is `answer`."""

    question_words: tuple[Word, ...]
    """The words of `question`, with punctuation; their pieces count from its first token after the special one."""

    words: tuple[WrittenWord, ...]
    """The words of `answer`; an answer from a closed list is one word. Empty where the model wrote nothing."""

    first_token: str
    """The special token that the question began with, such as "[ENC]"; its number where the vocabulary has no name
    for it."""

    maps: tuple[AnswerMap, ...] = ()
    """One for each method asked for, in that order; empty where the answer has no words."""

    unknown_words: tuple[str, ...] = ()
    """The words of `question` that the model's vocabulary lacks, at least in part: the model read [UNK] there."""

    damaged: Damage | None = None
    remark: str | None = None
    out_of_domain: OutOfDomain | None = None
    verdicts: tuple[Checked, ...] = ()

    @property
    def answer(self) -> str:
        """The answer."""
        return self.candidates[0].text

    @property
    def score(self) -> float:
        """The probability of the answer, 0 to 1."""
        return self.candidates[0].score

    @property
    def stacks(self) -> tuple[AttentionMap, ...]:
        """With maps: attention of every layer and head for the words of the question, and for those of the answer."""
        return (self.maps[0].question_stack, self.maps[0].stack) if self.maps else ()

    def to_dict(self) -> dict[str, object]:
        """Everything but the maps and the unknown words, as JSON values."""
        return {
            "file": self.file,
            "question": self.question,
            "answer": self.answer,
            "score": self.score,
            "candidates": [{"answer": one.text, "score": one.score} for one in self.candidates],
            "question_words": [
                {"word": word.text, "start": word.start, "end": word.end} for word in self.question_words
            ],
            "words": [word.to_dict() for word in self.words],
            "first_token": self.first_token,
            **self.judged,
            **self.marks,
        }

    def save_html(self, path: str | Path, *, tokens: AttentionMap | None = None) -> None:
        """Write one self-contained page: question and answer with a map for every word, by all methods.

        Args:
            path: The HTML file.
            tokens: As for `ClassifyResult.save_html`.

        Raises:
            InputError: The answer has no maps.
        """
        save_answers([self], path, tokens=tokens)


def save_answers(answers: Sequence[Answer], path: str | Path, *, tokens: AttentionMap | None = None) -> None:
    """Write one self-contained page about one image, with a choice of the questions asked about it.

    Args:
        answers: All about the same image; those without maps are shown as text.
        path: The HTML file.
        tokens: As for `ClassifyResult.save_html`.

    Raises:
        InputError: None of them has maps.
    """
    shown = first_map([one for answer in answers for one in answer.maps], 'answer(picture, question, maps="relevance")')
    questions = []
    for answer in answers:
        scores = tuple((one.text, one.score) for one in answer.candidates)
        if answer.maps:
            questions.append(_page_question(answer.question, answer.maps, scores))
        else:
            texts = PageText((), (), answer.question), PageText((), (), answer.answer)
            questions.append(PageQuestion(*texts, candidates=scores))
    page = AskedPicture(picture=shown.picture, name=shown.name, questions=questions, sinks=shown.sinks, tokens=tokens)
    write_page(path, pictures=[page], title=shown.name)


def _page_question(
    asked: str, maps: Sequence[AnswerMap], candidates: tuple[tuple[str, float], ...] = ()
) -> PageQuestion:
    first = maps[0]
    question_words = tuple(PageWord(label) for label in first.question.axes[0].labels or ())
    verdicts = verdicts_of(maps)
    return PageQuestion(
        question=PageText(
            question_words,
            [*(one.question for one in maps), first.question_stack],
            asked,
            verdicts=[Checked(one.method, one.question, one.words) for one in verdicts if one.question is not None],
            word_to_word=first.word_to_word,
        ),
        answer=PageText(
            page_words(first.map, first.words),
            [*(one.map for one in maps), first.stack],
            verdicts=[replace(one, words=(), question=None) for one in verdicts],
        ),
        candidates=candidates,
        label_maps=_by_label(maps)[: len(candidates)],
    )


def _by_label(maps: Sequence[AnswerMap]) -> list[tuple[list[AttentionMap], list[AttentionMap]]]:
    """Return the maps of each answer, of its question and its own, by all methods that have them."""
    most = max(len(one.by_label) for one in maps)
    of_rank = [[one.by_label[rank] for one in maps if rank < len(one.by_label)] for rank in range(most)]
    return [([one.question for one in found], [one.answer for one in found]) for found in of_rank]
