"""What could not be read of a recording: collected while it is read, and said at the end."""

from ..errors import InputError
from .damage import Damage

_MOST = 10_000  # gaps that are kept; those after them count to the end of the last one


class Losses:
    """The gaps of one recording; where it is read strictly, the first one is an error."""

    def __init__(self, name: str, *, strict: bool) -> None:
        """Begin without any.

        Args:
            name: The recording, as messages name it.
            strict: Whether to raise instead of collecting.
        """
        self.is_strict = strict
        self._name = name
        self._gaps: dict[float, float] = {}  # first and last second
        self._reason = ""
        self._end: float | None = None  # where a recording that is cut off ends
        self._stated: float | None = None
        self._is_vague = False

    def gap(self, start: float, end: float, reason: str) -> None:
        """Add a part, in seconds, that is missing.

        Raises:
            InputError: The recording is read strictly.
        """
        if self.is_strict:
            raise damaged(self._name, f"{reason}, from second {start:.3f} on")
        self._reason = self._reason or reason
        last = next(reversed(self._gaps), None)
        if start in self._gaps:  # read once more
            return
        if last is not None and (abs(self._gaps[last] - start) < 1e-3 or len(self._gaps) >= _MOST):
            self._gaps[last] = max(self._gaps[last], end)
        elif not any(first <= start < self._gaps[first] for first in self._gaps):
            self._gaps[start] = end

    def cut(self, end: float, stated: float | None, reason: str) -> None:
        """Say that the recording is cut off.

        Args:
            end: The second where it ends.
            stated: The duration it should have; None where unknown.
            reason: What is wrong.

        Raises:
            InputError: The recording is read strictly.
        """
        if self.is_strict:
            raise damaged(self._name, reason)
        self._reason = self._reason or reason
        self._end, self._stated = end, stated

    def somewhere(self, reason: str) -> None:
        """Say that something is missing at an unknown place.

        Args:
            reason: What is wrong.

        Raises:
            InputError: The recording is read strictly.
        """
        if self.is_strict:
            raise damaged(self._name, reason)
        self._reason, self._is_vague = self._reason or reason, True

    def damage(self, seconds: float | None) -> Damage | None:
        """Return what is missing so far; None where nothing is.

        Args:
            seconds: The duration of the recording, with its gaps; None where it is not known yet.
        """
        if not self._gaps and self._end is None:
            return Damage(self._reason, "at an unknown place") if self._is_vague else None
        missing = sum(end - start for start, end in self._gaps.items())
        places = []
        if self._gaps:
            first, last = min(self._gaps), max(self._gaps.values())
            several = f"in {len(self._gaps)} places " if len(self._gaps) > 1 else ""
            between = f"between seconds {first:.3f} and {last:.3f}"
            places.append(f"{several}{between}" if last > first else f"at second {first:.3f}")
        if self._end is not None:
            places.append(f"from second {self._end:.3f} on")
            if self._stated is None:
                return Damage(self._reason, " and ".join(places))
            missing += max(0.0, self._stated - self._end)
            seconds = max(self._stated, self._end)
        share = min(1.0, missing / seconds) if seconds and missing else None
        return Damage(self._reason, " and ".join(places), share)


def damaged(name: str, reason: str) -> InputError:
    """Return the error for a damaged recording."""
    return InputError(
        f"{name} must be a whole recording, but is damaged or cut off instead ({reason.strip().rstrip('.')}). "
        "Fetch or export it again."
    )
