"""The mark of a result whose picture or question is unlike those that the model was trained on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OutOfDomain:
    """How an input differs from those that the model was trained on; what the model says of it may mean nothing."""

    picture: float | None = None
    """How far the picture is from the training pictures, above 1: in units of the distance that a few of a hundred
    pictures like those exceed. None for a picture like those."""

    words: tuple[str, ...] = ()
    """The content words of the question that no training question had."""

    def __str__(self) -> str:
        """The reasons, to follow the file's name."""
        reasons = []
        if self.picture is not None:
            reasons.append(f"the picture is unlike the training pictures ({self.picture:.2f} times the threshold)")
        if self.words:
            noun = "word" if len(self.words) == 1 else "words"
            reasons.append(f"no training question has the {noun} {', '.join(self.words)}")
        return " and ".join(reasons)

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON values, without those that say nothing."""
        fields: dict[str, object] = {} if self.picture is None else {"picture": round(self.picture, 3)}
        return fields | ({"words": list(self.words)} if self.words else {})


def far_pictures(distances: Iterable[float]) -> list[OutOfDomain | None]:
    """Return the mark of each picture by its distance from the training pictures: None up to the threshold, 1."""
    return [OutOfDomain(distance) if distance > 1 else None for distance in distances]


def with_words(mark: OutOfDomain | None, words: Sequence[str]) -> OutOfDomain | None:
    """Return the mark of a picture with the new words of a question about it."""
    return OutOfDomain(None if mark is None else mark.picture, tuple(words)) if words else mark
