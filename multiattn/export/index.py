"""The index of several pages: a thumbnail for each image or recording, with its map over it."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..checks import check_argument
from ..maps.attention_map import AttentionMap
from ..maps.verdict import VerdictWord
from .heatmap import blend
from .html import SCRIPT_POLICY, fill, jpeg, part, write
from .naming import check_score
from .sound import check_sound, log_mel_picture
from .speech_figure import check_time_map, gray_picture, over_sound

VERDICTS = get_args(VerdictWord)
"""The words of verdicts, best first."""

_THUMBNAIL = 480
"""Pixels of the longer side of a thumbnail."""

_SECONDS = 30.0
"""The most seconds of a recording in its thumbnail."""

_LETTERS = 120
"""The most characters of a text in the index."""


@dataclass(frozen=True, eq=False)
class IndexEntry:
    """An image in an index, and the page it links to."""

    picture: Image.Image
    """The upright source."""

    name: str
    """What the index calls it: a file name."""

    page: str
    """The address of its page relative to the index: `cat.html`; `cat.html#question=2` opens its second question."""

    label: str
    """The prediction: a class, a caption or an answer."""

    score: float | None
    """Its probability, 0 to 1; None to show none."""

    map: AttentionMap
    """The map over the thumbnail, with the axes (y, x) or (word, y, x), of which the mean is shown, and a geometry."""

    question: str = ""
    """The question that the label answers; a long one is cut. "" if there is none."""

    verdict: str = ""
    """The word of the map's verdict: one of `VERDICTS`; "" if it was not checked."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The score is no probability, or there is no such verdict.
        """
        check_score(self.label, self.score)
        _check_verdict(self.verdict)


def _check_verdict(verdict: str) -> None:
    must = f"of {', '.join(VERDICTS)}, or empty"
    check_argument(verdict in ("", *VERDICTS), "verdict", must=must, value=verdict)


@dataclass(frozen=True, eq=False)
class RecordingEntry:
    """A recording in an index, and the page it links to."""

    samples: Float[np.ndarray, " t"]
    """The recording, mono; the thumbnail shows at most its first half minute."""

    rate: int
    """Samples a second (Hz)."""

    name: str
    """What the index calls it: a file name."""

    page: str
    """The address of its page relative to the index: `call.html`."""

    text: str
    """The transcript; a long text is cut."""

    map: AttentionMap | None
    """The map over the spectrogram, with the axes (word, time) or (token, time), from the recording's start on."""

    verdict: str = ""
    """The word of the map's verdict: one of `VERDICTS`; "" if it was not checked."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: The samples cannot be used, the map has other axes, or there is no such verdict.
        """
        check_sound(self.samples, self.rate)
        _check_verdict(self.verdict)
        if self.map is not None:
            check_time_map(self.map)


class Card(NamedTuple):
    """An entry with its thumbnails made: it takes some kilobytes, and needs the image and the map no more."""

    name: str
    """What the index calls it."""

    page: str
    """The address of its page relative to the index."""

    is_recording: bool
    """Whether it is a recording, and not an image."""

    fields: Mapping[str, str]
    """The other places of `card.html`, as HTML."""


def write_index(
    path: str | Path,
    entries: Sequence[IndexEntry | RecordingEntry | Card],
    *,
    title: str,
    earlier: Mapping[str, str] | None = None,
) -> None:
    """Write a page of thumbnails, each a link to the page of its image or recording.

    They can be searched, and sorted by confidence and by verdict.

    Args:
        path: The HTML file; missing folders are made.
        entries: The images and recordings, in the order shown.
        title: The title of the page.
        earlier: Cards of an earlier index, as HTML by the address of their page; those of other pages come first.
    """
    cards = [entry if isinstance(entry, Card) else make_card(entry) for entry in entries]
    places = [html.escape(card.page) for card in cards]
    drawn = [fill(part("card.html"), {**card.fields, "page": place}) for card, place in zip(cards, places, strict=True)]
    kept = [text for place, text in (earlier or {}).items() if place not in places]
    body = {
        "title": html.escape(title),
        "count": _count(cards) if not kept else f"{len(kept) + len(cards)} results",
        "cards": "\n".join([*kept, *drawn]),
        "script": part("index.js"),
    }
    write(path, title, fill(part("index.html"), body), policy=SCRIPT_POLICY)


def _count(cards: Sequence[Card]) -> str:
    recordings = sum(card.is_recording for card in cards)
    # an image that was classified, captioned and asked about has several entries
    pictures = len({card.name for card in cards if not card.is_recording})
    counts = {"picture": pictures, "recording": recordings}
    said = [f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items() if count]
    return " and ".join(said) or "0 pictures"


def make_card(entry: IndexEntry | RecordingEntry, *, size: int = _THUMBNAIL) -> Card:
    """Draw the thumbnails of an entry.

    Args:
        entry: The image or recording.
        size: Pixels of the longer side of a thumbnail.
    """
    if isinstance(entry, RecordingEntry):
        plain, blended = _sounds(entry, size)
        seconds = round(len(entry.samples) / entry.rate)
        label, score, asked = _cut(entry.text), f"{seconds // 60}:{seconds % 60:02}", ""
        whole, confidence = entry.text, ""
    else:
        plain, blended = _pictures(entry, size)
        label, score, asked = entry.label, "" if entry.score is None else f"{entry.score:.0%}", _cut(entry.question)
        whole = f"{entry.question} {label}"
        confidence = "" if entry.score is None else f"{entry.score:.6f}"
    verdict = entry.verdict
    fields = {
        "name": html.escape(entry.name),
        "asked": f'<span class="question">{html.escape(asked)}</span>' if asked else "",
        "label": html.escape(label),
        "score": score,
        "search": html.escape(f"{entry.name} {whole} {verdict}".casefold()),
        "confidence": confidence,
        "rank": str(VERDICTS.index(verdict)) if verdict else "",
        "verdict": f'<span class="small">map: {html.escape(verdict)}</span>' if verdict else "",
        "width": str(plain.width),
        "height": str(plain.height),
        "plain": jpeg(plain),
        "blended": jpeg(blended),
    }
    return Card(entry.name, entry.page, isinstance(entry, RecordingEntry), fields)


def _cut(text: str) -> str:
    return shorten(text, _LETTERS, placeholder=" …")


def _pictures(entry: IndexEntry, size: int) -> tuple[Image.Image, Image.Image]:
    """Return the thumbnail without and with the map."""
    plain = entry.picture.convert("RGB")
    plain.thumbnail((size, size), Image.Resampling.LANCZOS)
    shown = entry.map
    if shown.names == ("word", "y", "x"):
        shown = replace(shown, values=shown.values.mean(axis=0), axes=shown.axes[1:])
    return plain, blend(plain, shown)


def _sounds(entry: RecordingEntry, longest: int) -> tuple[Image.Image, Image.Image]:
    size = (longest, longest * 5 // 8)
    seconds = min(len(entry.samples) / entry.rate, _SECONDS)
    if entry.map is not None:
        time = entry.map.axes[1]
        seconds = min(seconds, time.step * entry.map.values.shape[1])
    sound = entry.samples[: max(1, round(seconds * entry.rate))]
    picture = np.concatenate(list(log_mel_picture(sound, rate=entry.rate)), axis=1)
    plain = gray_picture(picture, size)
    return plain, plain if entry.map is None else over_sound(entry.map, picture, size, seconds=seconds)
