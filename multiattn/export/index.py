"""The index of several pages: a thumbnail for each picture, with its map over it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..maps.attention_map import AttentionMap
from .heat import blend
from .naming import check_score
from .shell import fill, jpeg, part, write

_THUMBNAIL = 480
"""Pixels of the longer side of a picture in the index."""


@dataclass(frozen=True, eq=False)
class IndexEntry:
    """A picture in an index, and the page it links to."""

    picture: Image.Image
    """The upright source."""

    name: str
    """As the index calls it: a file name."""

    page: str
    """Where its page is, relative to the index: `cat.html`."""

    label: str
    """What was predicted: a class, a caption."""

    score: float | None
    """Its probability, 0 to 1; None where there is none to show."""

    map: AttentionMap
    """What lies over the thumbnail; axes (y, x), with geometry, or (word, y, x): then the mean of the words."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The score is no probability.
        """
        if self.score is not None:
            check_score(self.label, self.score)


def write_index(path: str | Path, entries: Sequence[IndexEntry], *, title: str) -> None:
    """Write a page of thumbnails, each a link to the page of its picture.

    Args:
        path: Of the HTML file; missing folders are made.
        entries: In the order shown.
        title: Of the page.
    """
    body = {
        "title": html.escape(title),
        "count": f"{len(entries)} picture{'' if len(entries) == 1 else 's'}",
        "cards": "\n".join(_card(entry) for entry in entries),
    }
    write(path, title, fill(part("index.html"), body))


def _card(entry: IndexEntry) -> str:
    plain = entry.picture.convert("RGB")
    plain.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    shown = entry.map
    if shown.names == ("word", "y", "x"):
        shown = replace(shown, values=shown.values.mean(axis=0), axes=shown.axes[1:])
    fields = {
        "page": html.escape(entry.page),
        "name": html.escape(entry.name),
        "label": html.escape(entry.label),
        "score": "" if entry.score is None else f"{entry.score:.0%}",
        "width": str(plain.width),
        "height": str(plain.height),
        "plain": jpeg(plain),
        "blended": jpeg(blend(plain, shown)),
    }
    return fill(part("card.html"), fields)
