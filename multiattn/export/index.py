"""The index of several pages: a thumbnail for each picture or recording, with its map over it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..maps.attention_map import AttentionMap
from .heatmap import blend
from .html import fill, jpeg, part, write
from .naming import check_score
from .sound import check_sound, log_mel_picture
from .speech_figure import check_time_map, gray_picture, over_sound

_THUMBNAIL = 480
"""Pixels of the longer side of a picture in the index."""

_SECONDS = 30.0
"""Of a recording in its thumbnail."""

_LETTERS = 120
"""Of a text in the index."""


@dataclass(frozen=True, eq=False)
class IndexEntry:
    """A picture in an index, and the page it links to."""

    picture: Image.Image
    """The upright source."""

    name: str
    """As the index calls it: a file name."""

    page: str
    """Where its page is, relative to the index: `cat.html`; `cat.html#question-2` opens it at its second question."""

    label: str
    """What was predicted: a class, a caption, an answer."""

    score: float | None
    """Its probability, 0 to 1; None where there is none to show."""

    map: AttentionMap
    """What lies over the thumbnail; axes (y, x), with geometry, or (word, y, x): then the mean of the words."""

    question: str = ""
    """What was asked, where the label answers a question; a long one is cut."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The score is no probability.
        """
        if self.score is not None:
            check_score(self.label, self.score)


@dataclass(frozen=True, eq=False)
class RecordingEntry:
    """A recording in an index, and the page it links to."""

    samples: Float[np.ndarray, " t"]
    """Mono; the thumbnail shows its first half minute at most."""

    rate: int
    """Samples a second."""

    name: str
    """As the index calls it: a file name."""

    page: str
    """Where its page is, relative to the index: `call.html`."""

    text: str
    """What was said; a long text is cut."""

    map: AttentionMap | None
    """What lies over the log-mel picture of the thumbnail; axes (word, time) or (token, time), from the start on."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The samples are none, or the map has other axes.
        """
        check_sound(self.samples, self.rate)
        if self.map is not None:
            check_time_map(self.map)


def write_index(path: str | Path, entries: Sequence[IndexEntry | RecordingEntry], *, title: str) -> None:
    """Write a page of thumbnails, each a link to the page of its picture or recording.

    Args:
        path: Of the HTML file; missing folders are made.
        entries: In the order shown.
        title: Of the page.
    """
    body = {
        "title": html.escape(title),
        "count": _count(entries),
        "cards": "\n".join(_card(entry) for entry in entries),
    }
    write(path, title, fill(part("index.html"), body))


def _count(entries: Sequence[IndexEntry | RecordingEntry]) -> str:
    recordings = sum(isinstance(entry, RecordingEntry) for entry in entries)
    # a picture may have been classified, captioned and asked about, each a card
    pictures = len({entry.name for entry in entries if isinstance(entry, IndexEntry)})
    counts = {"picture": pictures, "recording": recordings}
    said = [f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items() if count]
    return " and ".join(said) or "0 pictures"


def _card(entry: IndexEntry | RecordingEntry) -> str:
    if isinstance(entry, RecordingEntry):
        plain, blended = _sounds(entry)
        seconds = round(len(entry.samples) / entry.rate)
        label, score, asked = _cut(entry.text), f"{seconds // 60}:{seconds % 60:02}", ""
    else:
        plain, blended = _pictures(entry)
        label, score, asked = entry.label, "" if entry.score is None else f"{entry.score:.0%}", _cut(entry.question)
    fields = {
        "page": html.escape(entry.page),
        "name": html.escape(entry.name),
        "asked": f'<span class="question">{html.escape(asked)}</span>' if asked else "",
        "label": html.escape(label),
        "score": score,
        "width": str(plain.width),
        "height": str(plain.height),
        "plain": jpeg(plain),
        "blended": jpeg(blended),
    }
    return fill(part("card.html"), fields)


def _cut(text: str) -> str:
    return shorten(text, _LETTERS, placeholder=" …")


def _pictures(entry: IndexEntry) -> tuple[Image.Image, Image.Image]:
    """The thumbnail without and with the map."""
    plain = entry.picture.convert("RGB")
    plain.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    shown = entry.map
    if shown.names == ("word", "y", "x"):
        shown = replace(shown, values=shown.values.mean(axis=0), axes=shown.axes[1:])
    return plain, blend(plain, shown)


def _sounds(entry: RecordingEntry) -> tuple[Image.Image, Image.Image]:
    size = (_THUMBNAIL, _THUMBNAIL * 5 // 8)
    seconds = len(entry.samples) / entry.rate
    seconds = min(seconds, _SECONDS)
    if entry.map is not None:
        time = entry.map.axes[1]
        seconds = min(seconds, time.step * entry.map.values.shape[1])
    sound = entry.samples[: max(1, round(seconds * entry.rate))]
    picture = np.concatenate(list(log_mel_picture(sound, rate=entry.rate)), axis=1)
    plain = gray_picture(picture, size)
    return plain, plain if entry.map is None else over_sound(entry.map, picture, size, seconds=seconds)
