"""What is missing of a file that could be read only in part."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Damage:
    """What is missing of a picture or a recording that is damaged or cut off, and was read as far as possible."""

    reason: str
    """What is wrong with the file, such as "it is cut off"."""

    place: str
    """Where, such as "from second 2.310 on" or "below row 180 of 240"."""

    share: float | None = None
    """The part of the whole that is missing, 0 to 1; None where the file does not say how long it should be."""

    def __str__(self) -> str:
        """The sentence of a warning, to follow the file's name."""
        share = "" if self.share is None else f", {self.share:.1%} of it"
        return f"is damaged ({self.reason}), and is used without what is missing {self.place}{share}"

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON values."""
        share = None if self.share is None else round(self.share, 4)
        return {"reason": self.reason, "place": self.place, "share": share}
