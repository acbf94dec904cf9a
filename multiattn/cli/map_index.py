"""The index of the pages in the folder of `--maps`: a card for each result, to search and to sort."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .map_files import INDEX, Written
from .output import printable

if TYPE_CHECKING:
    from ..export import Card
    from ..pipelines import Result

_MOST = 500
"""Results with a card; a page with many more thumbnails opens slowly."""

_THUMBNAIL = 240
"""Pixels of the longer side of a thumbnail."""

_CARD = re.compile(r'<a class="card" href="([^"]*)".*?</a>', re.DOTALL)


def card_of(result: "Result", number: int, *, several: bool) -> "Card | None":
    """Return the card of a result, whose page is not named yet; None where it has no maps.

    Args:
        result: The result.
        number: Which of the results of its input it is, from 1.
        several: Whether its page has several questions, of which the link opens this one.
    """
    from ..export import make_card
    from ..pipelines.index_entry import Shown, index_entry, said_by

    if not isinstance(result, Shown) or not result.maps:
        return None
    said = printable(" ".join(said_by(result).split()))
    name = printable(Path(str(result.file)).name)
    place = f"#question={number}" if several else ""
    return make_card(index_entry(result, name=name, page=place, said=said), size=_THUMBNAIL)


class MapIndex:
    """Collects the cards of a run, and writes the index where there are several.

    Args:
        directory: The folder of `--maps`.
        resume: Whether the run goes on with an earlier one, whose cards stay.
    """

    def __init__(self, directory: str | Path, *, resume: bool) -> None:
        self._path = Path(directory) / INDEX
        self._earlier: dict[str, str] = {}
        if resume and self._path.is_file():
            text = self._path.read_text(encoding="utf-8", errors="replace")
            self._earlier = {found[1]: found[0] for found in _CARD.finditer(text)}
        self._cards: list[Card] = []

    def add(self, card: "Card", written: Written) -> None:
        """Add the card of a result, whose page has its name now."""
        if len(self._cards) < _MOST:
            self._cards.append(card._replace(page=Path(written.page).name + card.page))

    def write(self) -> None:
        """Write the index, unless it would lead to one page only."""
        from ..export import write_index

        pages = {card.page.partition("#")[0] for card in self._cards}
        if self._cards and len(pages | {place.partition("#")[0] for place in self._earlier}) > 1:
            write_index(self._path, self._cards, title="Where the model looked", earlier=self._earlier)
