"""Questions about a scene (`scenes.py`), each with one answer that nobody can doubt.

Words that do not single out a thing are not used for it, and a place that is nearly in line with another, or nearly in
the middle of the picture, is not asked for. The answers are balanced: from a question's words alone there is next to
nothing to guess.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import permutations, product
from random import Random
from typing import NamedTuple

from .scenes import COLORS, SHAPES, SIDE, SIZES, Scene, Thing

CLEARLY = 6.0  # pixels between two middles from which on one thing is left of, above, ... the other
HARDLY = 2.0  # and up to which it is not; in between nothing is asked
OFF_MIDDLE = 5.0  # pixels from the picture's middle from which on a place is left or right, top or bottom

Box = tuple[float, float, float, float]

TYPES = {"color": 2, "shape": 1, "size": 1, "exist": 2, "count": 2, "relation": 3, "position": 1}
"""The types of questions, and how many of twelve are of each."""

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
_LOOKS: tuple[tuple[str, ...], ...] = (
    (),
    *(("shape",), ("color",), ("size",)),
    *(("color", "shape"), ("size", "shape"), ("size", "color"), ("size", "color", "shape")),
)
_VALUES = {"size": tuple(SIZES), "color": tuple(COLORS), "shape": SHAPES}


class Question(NamedTuple):
    """A question about a scene."""

    text: str
    answer: str
    type: str
    boxes: tuple[Box, ...]
    """Of the things that the answer is about: those asked for or counted; both of "is this left of that?", the one
    first that is said to lie further left, or higher: so whether that is true is seen, whatever the words."""

    named: tuple[Box, ...]
    """Of the things that the question's words single out, in the order of the words; none where they ask for how many:
    a look that is shared out among all of them cannot tell."""


class Description(NamedTuple):
    """Looks by which things are named, such as the size and the shape; what is "" is left out."""

    size: str = ""
    color: str = ""
    shape: str = ""


class Seen:
    """What can be said of the things of a scene."""

    def __init__(self, scene: Scene) -> None:
        self.things = scene.things
        self._fitting: dict[Description, tuple[Thing, ...]] = {}
        for looks in _LOOKS:
            for thing in scene.things:
                named = _described(thing, looks)
                self._fitting[named] = (*self._fitting.get(named, ()), thing)
        self._names = {
            thing: [named for looks in _LOOKS[1:] if self.fitting(named := _described(thing, looks)) == (thing,)]
            for thing in scene.things
        }

    def fitting(self, named: Description) -> tuple[Thing, ...]:
        """The things that a description fits."""
        return self._fitting.get(named, ())

    def names(self, thing: Thing, *, without: str = "") -> list[Description]:
        """What fits this thing and no other, `without` a look."""
        return [named for named in self._names[thing] if not without or not getattr(named, without)]

    def count(self, looks: tuple[str, ...]) -> Iterator[tuple[Description, tuple[Thing, ...], int]]:
        """Every description by some looks, the things it fits, and how often it is to be considered.

        What is not there is more of a question where some of its looks are.
        """
        there = {(look, getattr(thing, look)) for thing in self.things for look in looks}
        for named in _every(looks):
            found = self.fitting(named)
            nearly = any((look, getattr(named, look)) in there for look in looks)
            yield named, found, 4 if nearly and not found else 1


class Candidate(NamedTuple):
    """A question that may be asked of a scene."""

    form: str
    """A key of `PHRASINGS`."""

    family: tuple[object, ...]
    """Questions among whose answers the words must not help to choose: balanced in themselves."""

    slots: tuple[str, ...]
    """What the phrasing leaves out."""

    answer: str
    about: tuple[Thing, ...]
    named: tuple[Thing, ...] | None = None
    """What the slots single out; None where that is what the answer is about."""


class Questioner:
    """Asks of one scene after the other; what it asked before decides which answer is due."""

    def __init__(self, types: Sequence[str] = tuple(TYPES)) -> None:
        """Say of which of `TYPES` the questions are to be."""
        self._kinds = tuple(types)
        self._types: Counter[str] = Counter()
        self._answers: defaultdict[tuple[object, ...], Counter[str]] = defaultdict(Counter)

    def ask(self, scene: Scene, count: int, random: Random) -> list[Question]:
        """Different questions about a scene.

        Args:
            scene: Of at least one thing.
            count: How many; fewer come back where the scene has not that many.
            random: Chooses among those that are equally due.
        """
        seen = Seen(scene)
        left = {kind: _by_family(_MAKERS[kind](seen, random)) for kind in self._kinds}
        asked: list[Question] = []
        while len(asked) < count and (kinds := [kind for kind in self._kinds if left[kind]]):
            due = min((self._types[kind] + 0.5) / TYPES[kind] for kind in kinds)
            kind = random.choice([kind for kind in kinds if (self._types[kind] + 0.5) / TYPES[kind] == due])
            family = random.choice(list(left[kind]))
            chosen = self._due(family, left[kind][family], random)
            same = (chosen.form, chosen.slots)
            remaining = [c for c in left[kind][family] if (c.form, c.slots) != same]
            left[kind] = {**left[kind], family: remaining} if remaining else _without(left[kind], family)
            self._types[kind] += 1
            self._answers[family][chosen.answer] += 1
            text = random.choice(PHRASINGS[chosen.form]).format(*chosen.slots)
            named = chosen.about if chosen.named is None else chosen.named
            about = tuple(thing.box for thing in chosen.about)
            asked.append(Question(text, chosen.answer, kind, about, tuple(thing.box for thing in named)))
        return asked

    def _due(self, family: tuple[object, ...], choice: Sequence[Candidate], random: Random) -> Candidate:
        """One of those whose answer came least often so far."""
        seen = self._answers[family]
        answers = sorted({candidate.answer for candidate in choice})
        least = min(seen[answer] for answer in answers)
        answer = random.choice([answer for answer in answers if seen[answer] == least])
        return random.choice([candidate for candidate in choice if candidate.answer == answer])


def beside(thing: Thing, other: Thing, side: str) -> bool | None:
    """Whether a thing lies left of, right of, above or below another; `None` where that is in doubt."""
    along = {"left": other.x - thing.x, "right": thing.x - other.x, "above": other.y - thing.y}
    distance = along.get(side, thing.y - other.y)
    return True if distance >= CLEARLY else False if distance <= HARDLY else None


def _look(look: str) -> "_Maker":
    """Asks for a look of the one thing that its other looks single out."""

    def make(seen: Seen, random: Random) -> Iterator[Candidate]:
        for thing in seen.things:
            for named in seen.names(thing, without=look):
                yield Candidate(look, (look, *_family(named)), (_words(named),), getattr(thing, look), (thing,))

    return make


def _exist(seen: Seen, random: Random) -> Iterator[Candidate]:
    for looks in (("shape",), ("color",), ("color", "shape"), ("size", "shape"), ("size", "color")):
        for named, found, weight in seen.count(looks):
            answer = "yes" if found else "no"
            yield from [Candidate("exist", ("exist", *_family(named)), (_words(named),), answer, found, ())] * weight


def _count(seen: Seen, random: Random) -> Iterator[Candidate]:
    for looks in ((), ("shape",), ("color",), ("size",), ("color", "shape")):
        for named, found, weight in seen.count(looks):
            slots = (_words(named, many=True),)
            yield from [Candidate("count", ("count", *_family(named)), slots, str(len(found)), found, ())] * weight


def _relation(seen: Seen, random: Random) -> Iterator[Candidate]:
    for thing, side in product(seen.things, _BESIDE):
        places = {other: beside(other, thing, side) for other in seen.things if other is not thing}
        there = [other for other, place in places.items() if place]
        names = seen.names(thing)
        if names and len(there) == 1 and None not in places.values():
            for look in ("color", "shape"):
                form = f"{look} beside"
                slots = (random.choice(_BESIDE[side]), _words(random.choice(names)))
                yield Candidate(form, (form, side), slots, getattr(there[0], look), (there[0],), (thing,))
    for thing, other in permutations(seen.things, 2):
        names, others = seen.names(thing), seen.names(other)
        for side in _BESIDE if names and others else ():
            if (place := beside(thing, other, side)) is not None:
                words = (random.choice(_BESIDE[side]), _words(random.choice(names)), _words(random.choice(others)))
                about = (thing, other) if side in ("left", "above") else (other, thing)
                answer = "yes" if place else "no"
                yield Candidate("is beside", ("is beside", side), words, answer, about, (thing, other))


def _position(seen: Seen, random: Random) -> Iterator[Candidate]:
    for thing in seen.things:
        across = _part(thing.x, "left", "right")
        down = _part(thing.y, "top", "bottom")
        for named in seen.names(thing):
            slots = (_words(named),)
            if across:
                yield Candidate("across", ("across",), slots, across, (thing,))
            if down:
                yield Candidate("down", ("down",), slots, down, (thing,))
            if across and down:
                yield Candidate("corner", ("corner",), slots, f"{down} {across}", (thing,))


_Maker = Callable[[Seen, Random], Iterator[Candidate]]
_MAKERS: dict[str, _Maker] = {look: _look(look) for look in ("color", "shape", "size")} | {
    "exist": _exist,
    "count": _count,
    "relation": _relation,
    "position": _position,
}


def _described(thing: Thing, looks: Sequence[str]) -> Description:
    return Description(**{look: getattr(thing, look) for look in looks})


@cache
def _every(looks: tuple[str, ...]) -> tuple[Description, ...]:
    """All descriptions by some looks."""
    values = product(*(_VALUES[look] for look in looks))
    return tuple(Description(**dict(zip(looks, chosen, strict=True))) for chosen in values)


@cache
def _words(named: Description, *, many: bool = False) -> str:
    """Such as "large red circle"; plural where there are `many`."""
    noun = named.shape or "object"
    if many:
        noun += "es" if noun.endswith("s") else "s"
    return " ".join(word for word in (named.size, named.color, noun) if word)


def _family(named: Description) -> tuple[object, ...]:
    """Descriptions that are alike: sizes are not, for less large things find room than small ones."""
    return (named.size, bool(named.color), bool(named.shape))


def _part(place: float, near: str, far: str) -> str:
    """Which half of the picture, or "" where that is in doubt."""
    off = place - SIDE / 2
    return "" if abs(off) < OFF_MIDDLE else near if off < 0 else far


def _by_family(found: Iterable[Candidate]) -> dict[tuple[object, ...], list[Candidate]]:
    families: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in found:
        families.setdefault(candidate.family, []).append(candidate)
    return families


def _without(
    families: dict[tuple[object, ...], list[Candidate]], family: tuple[object, ...]
) -> dict[tuple[object, ...], list[Candidate]]:
    return {key: value for key, value in families.items() if key != family}
