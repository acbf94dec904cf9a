"""What the pipelines over images return: labels, captions and answers, with their maps."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..export import (
    AskedPicture,
    PagePicture,
    PageQuestion,
    PageText,
    PageWord,
    overlay_png,
    question_png,
    save_map,
    strip_png,
    write_page,
)
from ..export.canvas import PNGFile
from ..inputs.damage import Damage
from ..inputs.text import Word
from ..maps import AttentionMap, Checked
from ..models import ScoreKind
from .out_of_domain import OutOfDomain
from .results import Candidate, Result, SavedMap, WrittenWord, first_map

LIKELY = 0.5
"""The probability from which on a label of several counts as found, where no threshold is given."""


@dataclass(frozen=True, eq=False)
class ImageMap(SavedMap):
    """A map over an image; the base of the three kinds."""

    picture: Image.Image = field(repr=False)
    """The source image, upright RGB."""

    name: str
    """What a page calls the image."""

    stack: AttentionMap = field(repr=False)
    """Attention of every layer and head: the axes of `map` after ("layer", "head")."""

    sinks: tuple[tuple[int, int], ...] = field(default=(), kw_only=True, repr=False)
    """Row and column of the patches that are sinks: most others attend to them in many layers, whatever they show.
    `multiattn.maps.without_sinks` takes them out of a map."""

    def save_html(self, path: str | Path) -> None:
        """Write one self-contained page to explore the map and every layer and head."""
        write_page(path, pictures=[self._page((self,))], title=self.name)

    @abstractmethod
    def _page(self, shown: "Sequence[ImageMap]") -> PagePicture | AskedPicture:
        """The image as a page shows it, with these maps of it and the stack."""


@dataclass(frozen=True)
class Prediction:
    """A label with its score."""

    label: str
    """The name of the class."""

    score: float
    """Its probability, 0 to 1, by softmax; or what `ClassifyResult.score_kind` says instead."""


def score_text(score: float, kind: ScoreKind) -> str:
    """Return a score to read: `97.6%`, or `+3.214` for a value."""
    return f"{score:+.4g}" if kind == "value" else f"{score:.1%}"


@dataclass(frozen=True, eq=False)
class PictureMap(ImageMap):
    """A map of a classified image, axes ("y", "x")."""

    predictions: tuple[Prediction, ...] = field(repr=False)
    """The most likely classes, for the heading and the page; empty for a backbone without a head."""

    score_kind: ScoreKind = "probability"
    """What their scores are."""

    by_label: tuple[AttentionMap, ...] = field(default=(), repr=False)
    """The map of each of the first of `predictions`, for the page; empty for a method whose map is the same for all."""

    def save_png(self, path: PNGFile) -> None:
        """Write the image with the map over it, a color bar and a caption."""
        method = self.map.method.replace("_", " ")
        scores = [f"{one.label} {score_text(one.score, self.score_kind)}" for one in self.predictions[:1]]
        caption = " · ".join([*scores, method])  # a backbone without a head has no labels
        overlay_png(self.map, self.picture, path, caption=caption, remarks=self.remarks)

    def _page(self, shown: Sequence[ImageMap]) -> PagePicture:
        scores = tuple((one.label, one.score) for one in self.predictions)
        return PagePicture(
            self.picture,
            self.name,
            predictions=scores,
            maps=(*(one.map for one in shown), self.stack),
            score_kind=self.score_kind,
            verdicts=_verdicts(shown),
            sinks=self.sinks,
            label_maps=_by_label([one for one in shown if isinstance(one, PictureMap)]),
        )


def _by_label(shown: Sequence[PictureMap]) -> list[list[AttentionMap]]:
    """Return the maps of each label, by all methods that have one for it."""
    most = max((len(one.by_label) for one in shown), default=0)
    return [[one.by_label[rank] for one in shown if rank < len(one.by_label)] for rank in range(most)]


@dataclass(frozen=True, eq=False)
class ClassifyResult(Result):
    """The labels of an image."""

    file: str | None
    predictions: tuple[Prediction, ...]
    """The classes with the highest scores, best first; never empty, unless `narrowed` left none."""

    maps: tuple[PictureMap, ...] = ()
    damaged: Damage | None = None
    remark: str | None = None

    score_kind: ScoreKind = "probability"
    """What the scores are. "probability": 0 to 1, and 1 in sum over all labels of the model (softmax). "independent
    probability": 0 to 1 for each label by itself, of which several may be right, or none (sigmoid). "value": what a
    regression estimates, any number."""
    out_of_domain: OutOfDomain | None = None
    verdicts: tuple[Checked, ...] = ()

    @property
    def label(self) -> str:
        """The class with the highest score."""
        return self._best.label

    @property
    def score(self) -> float:
        """Its score: the probability, 0 to 1, of the most likely class, unless `score_kind` says otherwise."""
        return self._best.score

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the image has: of a multi-label model those with a probability of at least 0.5, else one."""
        if self.score_kind == "independent probability":
            return tuple(one.label for one in self.predictions if one.score >= LIKELY)
        return tuple(one.label for one in self.predictions[:1])

    @property
    def _best(self) -> Prediction:
        if not self.predictions:
            raise InputError("`predictions` must have a label, but none is left instead: lower the threshold.")
        return self.predictions[0]

    def narrowed(self, *, threshold: float | None = None, top_k: int | None = None) -> "ClassifyResult":
        """Return the result with fewer predictions, perhaps none; the heading of its maps keeps the best.

        Args:
            threshold: The least score of a prediction that is kept.
            top_k: The most predictions to keep.
        """
        kept = [one for one in self.predictions if threshold is None or one.score >= threshold]
        predictions = tuple(kept[:top_k])
        shown = predictions or self.predictions[:1]
        maps = tuple(replace(one, predictions=shown, by_label=one.by_label[: len(shown)]) for one in self.maps)
        return replace(self, predictions=predictions, maps=maps)

    def to_dict(self) -> dict[str, object]:
        """`file`, `predictions`, and `score_kind` where it is no "probability", as JSON values."""
        return {
            "file": self.file,
            "predictions": [{"label": one.label, "score": one.score} for one in self.predictions],
            **({} if self.score_kind == "probability" else {"score_kind": self.score_kind}),
            **self.judged,
            **self.marks,
        }

    def save_html(self, path: str | Path, *, tokens: AttentionMap | None = None) -> None:
        """Write one self-contained page with all maps to choose from.

        Args:
            path: The HTML file.
            tokens: What `token_attention` returned for the image: each patch can be chosen, to see where it looks.

        Raises:
            InputError: The result has no maps.
        """
        first = first_map(self.maps, 'classify(picture, maps="relevance")')
        page = replace(first._page(self.maps), tokens=tokens)
        write_page(path, pictures=[page], title=first.name)


@dataclass(frozen=True, eq=False)
class CaptionMap(ImageMap):
    """A map for every word of a caption, axes ("word", "y", "x")."""

    text: str
    """The caption."""

    words: tuple[WrittenWord, ...] = field(repr=False)
    """Its words."""

    def save_png(self, path: PNGFile) -> None:
        """Write the image and, for each word, the image with the map of the word over it."""
        dependence = [word.image_dependence for word in self.words if word.image_dependence is not None]
        caption = f"{self.text} · {self.map.method}"
        strip_png(self.map, self.picture, path, caption=caption, image_dependence=dependence, remarks=self.remarks)

    def _page(self, shown: Sequence[ImageMap]) -> PagePicture:
        words = _page_words(self.map, self.words)
        return PagePicture(
            picture=self.picture,
            name=self.name,
            predictions=(),
            maps=(*(one.map for one in shown), self.stack),
            words=words,
            verdicts=_verdicts(shown),
            sinks=self.sinks,
        )


@dataclass(frozen=True, eq=False)
class CaptionResult(Result):
    """The caption of an image."""

    file: str | None
    words: tuple[WrittenWord, ...]
    """The words of `text` that the model wrote, in order, with punctuation and without those of a prompt."""

    candidates: tuple[Candidate, ...]
    """The captions found, as many as were asked for, best first; the first is `text`."""

    maps: tuple[CaptionMap, ...] = ()
    """One map for each method asked for, in that order; empty where there are no words."""

    damaged: Damage | None = None
    remark: str | None = None
    verdicts: tuple[Checked, ...] = ()

    @property
    def text(self) -> str:
        """The caption."""
        return self.candidates[0].text

    @property
    def score(self) -> float:
        """The geometric mean of the probabilities of its tokens, 0 to 1."""
        return self.candidates[0].score

    def to_dict(self) -> dict[str, object]:
        """`file`, `text`, `score`, `words`, and `candidates` where there are several, as JSON values."""
        words = [word.to_dict() for word in self.words]
        facts: dict[str, object] = {"file": self.file, "text": self.text, "score": self.score, "words": words}
        if len(self.candidates) > 1:
            facts["candidates"] = [{"text": one.text, "score": one.score} for one in self.candidates]
        return facts | self.judged | self.marks

    def save_html(self, path: str | Path, *, tokens: AttentionMap | None = None) -> None:
        """Write one self-contained page: the caption with a map for every word, by all methods.

        Args:
            path: The HTML file.
            tokens: As for `ClassifyResult.save_html`.

        Raises:
            InputError: The result has no maps.
        """
        first = first_map(self.maps, 'caption(picture, maps="relevance")')
        page = replace(first._page(self.maps), tokens=tokens)
        write_page(path, pictures=[page], title=first.name)


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
    verdicts = _verdicts(maps)
    return PageQuestion(
        question=PageText(
            question_words,
            [*(one.question for one in maps), first.question_stack],
            asked,
            verdicts=[Checked(one.method, one.question, one.words) for one in verdicts if one.question is not None],
        ),
        answer=PageText(
            _page_words(first.map, first.words),
            [*(one.map for one in maps), first.stack],
            verdicts=[replace(one, words=(), question=None) for one in verdicts],
        ),
        candidates=candidates,
    )


def _verdicts(shown: Sequence[SavedMap]) -> list[Checked]:
    return [one.checked for one in shown if one.checked is not None]


def _page_words(word_map: AttentionMap, words: Sequence[WrittenWord]) -> tuple[PageWord, ...]:
    labels = word_map.axes[0].labels or ()
    return tuple(
        PageWord(label, word.probability, word.image_dependence) for label, word in zip(labels, words, strict=True)
    )
