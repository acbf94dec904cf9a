"""The contents of a page of images: images with a prediction, a caption or questions; their words and maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..checks import check_argument
from ..maps.attention_map import AttentionMap
from ..maps.verdict import Checked
from ..score_kinds import ScoreKind
from .heatmap import placed
from .naming import check_score, readable

_AXES = (("y", "x"), ("layer", "head", "y", "x"), ("word", "y", "x"), ("layer", "head", "word", "y", "x"))


@dataclass(frozen=True)
class PageWord:
    """A word of a text on a page."""

    text: str
    """The word with the space before it: the label on the maps' axis."""

    probability: float | None = None
    """Its probability after the words before it, 0 to 1; None for a word that the model did not write."""

    image_dependence: float | None = None
    """How much it depended on the image, in nats, from `measure_image_dependence`; None if that was not measured."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The probability is not one, or the dependence is not finite or comes without a probability.
        """
        check_score(self.text, self.probability)
        if self.image_dependence is None:
            return
        if not math.isfinite(self.image_dependence):
            raise ValueError(
                f"`image_dependence` of {self.text!r} must be finite, but is {self.image_dependence} instead."
            )
        if self.probability is None:
            raise ValueError(
                f"`image_dependence` of {self.text!r} must come with a `probability`, but that is None instead."
            )


@dataclass(frozen=True, eq=False)
class PageText:
    """A text on a page, with the maps of its words."""

    words: Sequence[PageWord]
    """The words in order; empty for a text without maps."""

    maps: Sequence[AttentionMap]
    """At least one if there are words: maps with the axes (word, y, x), chosen by their method, and (layer, head, word,
    y, x), with a choice of layer and head."""

    whole: str = ""
    """The whole text, with what stands between and after the words; "" if the words are all of it. Without words it is
    shown as it is and has no map."""

    verdicts: Sequence[Checked] = ()
    """The verdicts on maps, by their methods."""

    word_to_word: AttentionMap | None = None
    """Self-attention among the words, from `caption_word_attention` or the stack of an answer."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: There are words and no map, a map has other axes, other words or no geometry, two maps are by
                the same method, or a word is not in the whole text.
        """
        gaps(self.words, self.whole)
        _check_word_to_word(self.word_to_word, self.words)
        if not self.words and not self.maps:
            return
        _check_maps(self.maps, self.words)
        methods = self.methods()
        if len(set(methods)) < len(methods):
            raise ValueError(f"`maps` of a text must be one for each method, but are by {', '.join(methods)} instead.")

    def methods(self) -> list[str]:
        """Return the methods of the maps as the page names them."""
        return ["layer and head" if "layer" in one.names else readable(one.method) for one in self.maps]


@dataclass(frozen=True, eq=False)
class PageQuestion:
    """A question about an image, with its answer."""

    question: PageText
    """The question with the maps of its words."""

    answer: PageText
    """The answer with maps by the same methods in the same order."""

    candidates: Sequence[tuple[str, float]] = ()
    """Answers with their scores (0 to 1), best first; empty to show none."""

    label_maps: Sequence[tuple[Sequence[AttentionMap], Sequence[AttentionMap]]] = ()
    """Of each of the first candidates, the maps that explain it: of the words of the question, and of the answer as one
    word; by methods that are among those of the texts."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The question has no words, the maps of the two are by other methods, there are maps of more
                answers than there are candidates, or a score is no probability.
        """
        most, count = len(self.candidates), len(self.label_maps)
        check_argument(count <= most, "label_maps", must=f"of at most {most} answers", value=count)
        for of_question, of_answer in self.label_maps:
            _check_maps(of_question, self.question.words)
            _check_maps(of_answer, [PageWord(label) for label in of_answer[0].axes[0].labels or ()])
        check_argument(bool(self.question.words or self.question.whole), "question", must="at least one word", value="")
        asked, answered = self.question.methods(), self.answer.methods()
        if self.question.words and self.answer.words and asked != answered:
            raise ValueError(
                f"`answer` must have maps by the methods of the question, {', '.join(asked)}, "
                f"but has {', '.join(answered)} instead."
            )
        for label, score in self.candidates:
            check_score(label, score)


@dataclass(frozen=True, eq=False)
class PagePicture:
    """An image on a page, with its prediction or caption and the maps over it."""

    picture: Image.Image
    """The upright source of the maps."""

    name: str
    """What the page calls it: a file name."""

    predictions: Sequence[tuple[str, float]]
    """Labels with their scores, best first; empty for a caption."""

    maps: Sequence[AttentionMap]
    """At least one: maps with the axes (y, x), chosen by their method, and (layer, head, y, x), with a choice of layer
    and head. Those of a caption have the axis `word` before y."""

    words: Sequence[PageWord] = ()
    """The words of the caption, if there is one."""

    score_kind: ScoreKind = "probability"
    """What the scores are: 0 to 1, or any finite number where they are values."""

    heading: str = ""
    """What stands over the labels; what the scores are, where empty."""

    verdicts: Sequence[Checked] = ()
    """The verdicts on maps, by their methods."""

    sinks: Sequence[tuple[int, int]] = ()
    """Row and column of the patches that are sinks, from `picture_sinks`."""

    label_maps: Sequence[Sequence[AttentionMap]] = ()
    """Of each of the first labels, the maps that explain it: (y, x), by methods that are among those of `maps`."""

    texts: Sequence[AttentionMap] = ()
    """Of texts that maps explain, how much each word counts, axes (word,): beside each map by the same method that
    explains the same text, or any."""

    tokens: AttentionMap | None = None
    """Self-attention among the image's tokens, from `picture_self_attention`, of which the page stores what fits."""

    word_to_word: AttentionMap | None = None
    """Self-attention among the words of the caption, from `caption_word_attention`."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: There is no map, a map has other axes, other words or no geometry, there are maps of more labels
                than there are predictions, or a score is no probability.
        """
        _check_maps(self.maps, self.words)
        _check_word_to_word(self.word_to_word, self.words)
        most, count = len(self.predictions), len(self.label_maps)
        check_argument(count <= most, "label_maps", must=f"of at most {most} labels", value=count)
        for of_label in self.label_maps:
            _check_maps(of_label, ())
        _check_tokens(self.tokens, self.maps)
        for text in self.texts:
            check_argument(text.names == ("word",), "texts", must="maps with the axes ('word',)", value=text.names)
        for label, score in self.predictions:
            if self.score_kind != "value":
                check_score(label, score)
            elif not math.isfinite(score):
                raise ValueError(f"`score` of {label!r} must be finite, but is {score} instead.")


@dataclass(frozen=True, eq=False)
class AskedPicture:
    """An image on a page, with the questions that were asked about it."""

    picture: Image.Image
    """The upright source of the maps."""

    name: str
    """What the page calls it: a file name."""

    questions: Sequence[PageQuestion]
    """At least one; the page opens with the first."""

    sinks: Sequence[tuple[int, int]] = ()
    """Row and column of the patches that are sinks, from `picture_sinks`."""

    tokens: AttentionMap | None = None
    """Self-attention among the image's tokens, from `picture_self_attention`, of which the page stores what fits."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: There is no question.
        """
        check_argument(len(self.questions) > 0, "questions", must="at least one question", value=self.questions)
        maps = [one for asked in self.questions for text in (asked.question, asked.answer) for one in text.maps]
        _check_tokens(self.tokens, maps)


def gaps(words: Sequence[PageWord], whole: str = "") -> list[str]:
    """Return the text before each of the words, and after the last.

    Args:
        words: The words in order.
        whole: The text that they are from; "" if they and the spaces between them are all of it.

    Raises:
        ValueError: A word is not in the whole text, after the word before it.
    """
    whole = whole or "".join(word.text for word in words).strip()
    found, at = [], 0
    for word in words:
        text = word.text.strip()
        start = whole.find(text, at)
        if start < 0:
            raise ValueError(f"`whole` must hold {text!r} after the word before it, but is {whole!r} instead.")
        found.append(whole[at:start])
        at = start + len(text)
    return [*found, whole[at:]]


def _check_maps(maps: Sequence[AttentionMap], words: Sequence[PageWord]) -> None:
    check_argument(len(maps) > 0, "maps", must="at least one map", value=maps)
    texts = tuple(word.text for word in words)
    for attention_map in maps:
        if attention_map.names not in _AXES:
            raise ValueError(
                "`maps` must have the axes ('y', 'x') or ('layer', 'head', 'y', 'x'), or these with 'word' before "
                f"'y', but have {attention_map.names} instead."
            )
        for axis in attention_map.axes:
            if axis.name == "word" and axis.labels != texts:
                raise ValueError(f"`words` must be those of the maps, {axis.labels}, but are {texts} instead.")
        placed(attention_map)


def words_within(labels: Sequence[str], words: Sequence[PageWord]) -> int:
    """Return where the words stand among the queries or keys of self-attention, which has other tokens too; or -1."""
    texts = tuple(word.text for word in words)
    starts = range(len(labels) - len(texts) + 1) if texts else ()
    return next((start for start in starts if tuple(labels[start : start + len(texts)]) == texts), -1)


def _check_word_to_word(attention_map: AttentionMap | None, words: Sequence[PageWord]) -> None:
    """Check self-attention among words.

    Raises:
        ValueError: It has other axes or other words.
    """
    if attention_map is None:
        return
    names = attention_map.names
    fits = names == ("layer", "head", "query", "key")
    fits = fits and all(words_within(axis.labels or (), words) >= 0 for axis in attention_map.axes[2:])
    if not fits:
        texts = " ".join(word.text.strip() for word in words)
        raise ValueError(
            f"`word_to_word` must be self-attention among the words of the text, {texts!r}, "
            f"but has the axes {names} and is of {attention_map.target!r} instead."
        )


def _check_tokens(tokens: AttentionMap | None, maps: Sequence[AttentionMap]) -> None:
    if tokens is None:
        return
    names = tokens.names
    check_argument(names == ("layer", "head", "query", "key"), "tokens", must="self-attention", value=names)
    patches = min((one.values.shape[-2] * one.values.shape[-1] for one in maps), default=0)
    size = tokens.values.shape[-1]
    must = f"self-attention among at least the {patches} patches of the maps, of which there is one"
    check_argument(0 < patches <= size, "tokens", must=must, value=f"among {size} tokens")
