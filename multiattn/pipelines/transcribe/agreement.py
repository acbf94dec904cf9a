"""Local agreement: of a text that is decoded again as sound comes in, the words that will not change any more.

Source: Macháček et al. 2023, "Turning Whisper into a Real-Time Transcription System" (LocalAgreement-2).
"""

from collections.abc import Sequence


class LocalAgreement:
    """Keeps the last hypothesis, and settles what the next one begins with, too.

    A hypothesis is what follows the words that are settled.
    """

    def __init__(self) -> None:
        self._last: list[str] = []

    def agreed(self, keys: Sequence[str]) -> int:
        """Take the next hypothesis; return how many of its first words the last one had, too.

        Args:
            keys: Its words as they are compared, such as without case and punctuation.
        """
        count = 0
        while count < min(len(keys), len(self._last)) and keys[count] == self._last[count]:
            count += 1
        self._last = list(keys)
        return count

    def settled(self, count: int) -> None:
        """Take the first words of the last hypothesis off it: they are settled now."""
        del self._last[:count]

    def reset(self) -> None:
        """Forget the last hypothesis."""
        self._last = []
