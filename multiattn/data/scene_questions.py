"""Questions about a scene (`scenes.py`), each with exactly one correct answer.

A thing is only described in words that fit no other thing, and there are no questions about positions that are nearly
in line with each other or nearly in the middle of the picture. Answers are balanced, so that the words of a question
tell next to nothing about its answer.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import permutations, product
from random import Random
from typing import NamedTuple

from .questions import Question
from .scenes import COLORS, SHAPES, SIDE, SIZES, Scene, Thing

CLEARLY = 6.0  # pixels: from this distance of the centers on, one thing is left of, above, ... the other
HARDLY = 2.0  # pixels: up to this distance it is not; in between there are no questions
OFF_MIDDLE = 5.0  # pixels: from this distance to the picture's center on, a thing is left or right, top or bottom

TYPES = {"color": 2, "shape": 1, "size": 1, "exist": 2, "count": 2, "relation": 3, "position": 1}
"""The types of questions, and the number of each type among twelve."""

PHRASINGS = {
    "color": ("what color is the {}?", "what is the color of the {}?", "which color does the {} have?"),
    "shape": ("what shape is the {}?", "what is the shape of the {}?", "which shape does the {} have?"),
    "size": ("what size is the {}?", "is the {} small or large?", "what is the size of the {}?"),
    "exist": (
        "is there a {}?",
        "is there a {} in the picture?",
        "does the picture contain a {}?",
        "can you see a {}?",
    ),
    "count": ("how many {} are there?", "how many {} are in the picture?", "what is the number of {}?"),
    "color beside": ("what color is the object {} the {}?", "what is the color of the object {} the {}?"),
    "shape beside": ("what shape is the object {} the {}?", "what is the shape of the object {} the {}?"),
    "is beside": ("is the {1} {0} the {2}?", "does the {1} lie {0} the {2}?"),
    "corner": ("where is the {}?", "in which part of the picture is the {}?"),
    "across": ("is the {} on the left or on the right?", "where is the {}, on the left or on the right?"),
    "down": ("is the {} at the top or at the bottom?", "where is the {}, at the top or at the bottom?"),
}
_BESIDE = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below", "under"),
}
_ATTRIBUTE_SETS: tuple[tuple[str, ...], ...] = (
    (),
    *(("shape",), ("color",), ("size",)),
    *(("color", "shape"), ("size", "shape"), ("size", "color"), ("size", "color", "shape")),
)
_VALUES = {"size": tuple(SIZES), "color": tuple(COLORS), "shape": SHAPES}


class Description(NamedTuple):
    """A description of things by some attributes, such as size and shape; "" for an attribute that it leaves out."""

    size: str = ""
    color: str = ""
    shape: str = ""


class SceneDescriptions:
    """The descriptions that fit the things of a scene."""

    def __init__(self, scene: Scene) -> None:
        self.things = scene.things
        self._fitting: dict[Description, tuple[Thing, ...]] = {}
        for attributes in _ATTRIBUTE_SETS:
            for thing in scene.things:
                named = _described(thing, attributes)
                self._fitting[named] = (*self._fitting.get(named, ()), thing)
        self._names = {
            thing: [
                named
                for attributes in _ATTRIBUTE_SETS[1:]
                if self.fitting(named := _described(thing, attributes)) == (thing,)
            ]
            for thing in scene.things
        }

    def fitting(self, named: Description) -> tuple[Thing, ...]:
        """The things that fit a description."""
        return self._fitting.get(named, ())

    def names(self, thing: Thing, *, without: str = "") -> list[Description]:
        """The descriptions that fit this thing and no other, `without` an attribute."""
        return [named for named in self._names[thing] if not without or not getattr(named, without)]

    def count(self, attributes: tuple[str, ...]) -> Iterator[tuple[Description, tuple[Thing, ...], int]]:
        """Every description by some attributes, the things that fit it, and its weight among the candidates.

        A description that fits nothing weighs more where things of the scene have one of its attributes.
        """
        there = {(attribute, getattr(thing, attribute)) for thing in self.things for attribute in attributes}
        for named in _every(attributes):
            found = self.fitting(named)
            nearly = any((attribute, getattr(named, attribute)) in there for attribute in attributes)
            yield named, found, 4 if nearly and not found else 1


class Candidate(NamedTuple):
    """A possible question about a scene."""

    form: str
    """A key of `PHRASINGS`."""

    family: tuple[object, ...]
    """The group of questions in which answers are balanced."""

    slots: tuple[str, ...]
    """The words for the gaps of the phrasing."""

    answer: str
    about: tuple[Thing, ...]
    """The things that the answer is about: the one that is asked for, those that are counted, or both of "is this left
    of that?", first the one that the question places further left, or higher."""

    named: tuple[Thing, ...] | None = None
    """The things that the slots describe, in the order of the words: none where it asks whether there are any, or how
    many; None where these are the things of `about`."""


class Questioner:
    """Makes questions about one scene after the other, and balances their types and answers."""

    def __init__(self, types: Sequence[str] = tuple(TYPES)) -> None:
        """Choose the types of the questions, among `TYPES`."""
        self._kinds = tuple(types)
        self._types: Counter[str] = Counter()
        self._answers: defaultdict[tuple[object, ...], Counter[str]] = defaultdict(Counter)

    def ask(self, scene: Scene, count: int, random: Random) -> list[Question]:
        """Make different questions about a scene.

        Args:
            scene: A scene with at least one thing.
            count: The number of questions; fewer are returned where the scene does not allow as many.
            random: Chooses among types, families and answers that were equally rare so far.
        """
        descriptions = SceneDescriptions(scene)
        left = {kind: _by_family(_MAKERS[kind](descriptions, random)) for kind in self._kinds}
        asked: list[Question] = []
        while len(asked) < count and (kinds := [kind for kind in self._kinds if left[kind]]):
            used = {kind: (self._types[kind] + 0.5) / TYPES[kind] for kind in kinds}
            kind = random.choice([kind for kind in kinds if used[kind] == min(used.values())])
            family = random.choice(list(left[kind]))
            chosen = self._rarest(family, left[kind][family], random)
            same = (chosen.form, chosen.slots)
            remaining = [c for c in left[kind][family] if (c.form, c.slots) != same]
            if remaining:
                left[kind][family] = remaining
            else:
                del left[kind][family]
            self._types[kind] += 1
            self._answers[family][chosen.answer] += 1
            text = random.choice(PHRASINGS[chosen.form]).format(*chosen.slots)
            things = (chosen.about, chosen.about if chosen.named is None else chosen.named)
            boxes, named = (tuple(thing.box for thing in part) for part in things)
            asked.append(Question(text, (chosen.answer,), kind, boxes=boxes, named=named))
        return asked

    def _rarest(self, family: tuple[object, ...], choice: Sequence[Candidate], random: Random) -> Candidate:
        """One of the candidates with the least frequent answer so far."""
        counts = self._answers[family]
        answers = sorted({candidate.answer for candidate in choice})
        least = min(counts[answer] for answer in answers)
        answer = random.choice([answer for answer in answers if counts[answer] == least])
        return random.choice([candidate for candidate in choice if candidate.answer == answer])


def beside(thing: Thing, other: Thing, side: str) -> bool | None:
    """Whether a thing lies left of, right of, above or below another; None where it is not clear."""
    along = {"left": other.x - thing.x, "right": thing.x - other.x, "above": other.y - thing.y}
    distance = along.get(side, thing.y - other.y)
    return True if distance >= CLEARLY else False if distance <= HARDLY else None


def _attribute(attribute: str) -> "_Maker":
    """Questions about one attribute of a thing that its other attributes describe."""

    def make(scene: SceneDescriptions, random: Random) -> Iterator[Candidate]:
        for thing in scene.things:
            for named in scene.names(thing, without=attribute):
                yield Candidate(
                    attribute, (attribute, *_family(named)), (_words(named),), getattr(thing, attribute), (thing,)
                )

    return make


def _exist(scene: SceneDescriptions, random: Random) -> Iterator[Candidate]:
    for attributes in (("shape",), ("color",), ("color", "shape"), ("size", "shape"), ("size", "color")):
        for named, found, weight in scene.count(attributes):
            answer = "yes" if found else "no"
            yield from [Candidate("exist", ("exist", *_family(named)), (_words(named),), answer, found, ())] * weight


def _count(scene: SceneDescriptions, random: Random) -> Iterator[Candidate]:
    for attributes in ((), ("shape",), ("color",), ("size",), ("color", "shape")):
        for named, found, weight in scene.count(attributes):
            slots = (_words(named, many=True),)
            yield from [Candidate("count", ("count", *_family(named)), slots, str(len(found)), found, ())] * weight


def _relation(scene: SceneDescriptions, random: Random) -> Iterator[Candidate]:
    for thing, side in product(scene.things, _BESIDE):
        lies = {other: beside(other, thing, side) for other in scene.things if other is not thing}
        there = [other for other, is_there in lies.items() if is_there]
        names = scene.names(thing)
        if names and len(there) == 1 and None not in lies.values():
            for attribute in ("color", "shape"):
                form = f"{attribute} beside"
                slots = (random.choice(_BESIDE[side]), _words(random.choice(names)))
                yield Candidate(form, (form, side), slots, getattr(there[0], attribute), (there[0],), (thing,))
    for thing, other in permutations(scene.things, 2):
        names, others = scene.names(thing), scene.names(other)
        for side in _BESIDE if names and others else ():
            if (is_there := beside(thing, other, side)) is not None:
                words = (random.choice(_BESIDE[side]), _words(random.choice(names)), _words(random.choice(others)))
                about = (thing, other) if side in ("left", "above") else (other, thing)
                answer = "yes" if is_there else "no"
                yield Candidate("is beside", ("is beside", side), words, answer, about, (thing, other))


def _position(scene: SceneDescriptions, random: Random) -> Iterator[Candidate]:
    for thing in scene.things:
        across = _part(thing.x, "left", "right")
        down = _part(thing.y, "top", "bottom")
        for named in scene.names(thing):
            slots = (_words(named),)
            if across:
                yield Candidate("across", ("across",), slots, across, (thing,))
            if down:
                yield Candidate("down", ("down",), slots, down, (thing,))
            if across and down:
                yield Candidate("corner", ("corner",), slots, f"{down} {across}", (thing,))


_Maker = Callable[[SceneDescriptions, Random], Iterator[Candidate]]
_MAKERS: dict[str, _Maker] = {attribute: _attribute(attribute) for attribute in ("color", "shape", "size")} | {
    "exist": _exist,
    "count": _count,
    "relation": _relation,
    "position": _position,
}


def _described(thing: Thing, attributes: Sequence[str]) -> Description:
    return Description(**{attribute: getattr(thing, attribute) for attribute in attributes})


@cache
def _every(attributes: tuple[str, ...]) -> tuple[Description, ...]:
    """All descriptions by some attributes."""
    values = product(*(_VALUES[attribute] for attribute in attributes))
    return tuple(Description(**dict(zip(attributes, chosen, strict=True))) for chosen in values)


@cache
def _words(named: Description, *, many: bool = False) -> str:
    """A description in words, such as "large red circle"; in the plural with `many`."""
    noun = named.shape or "object"
    if many:
        noun += "es" if noun.endswith("s") else "s"
    return " ".join(word for word in (named.size, named.color, noun) if word)


def _family(named: Description) -> tuple[object, ...]:
    """The family of a description. Sizes differ in frequency, for fewer large things have room than small ones."""
    return (named.size, bool(named.color), bool(named.shape))


def _part(position: float, near: str, far: str) -> str:
    """The half of the picture, `near` or `far`; "" where it is not clear."""
    off = position - SIDE / 2
    return "" if abs(off) < OFF_MIDDLE else near if off < 0 else far


def _by_family(found: Iterable[Candidate]) -> dict[tuple[object, ...], list[Candidate]]:
    families: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in found:
        families.setdefault(candidate.family, []).append(candidate)
    return families
