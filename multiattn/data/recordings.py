r"""Recordings with transcripts, read from metadata or LibriSpeech's folders. Nothing here opens a recording.

The files of a split:

    root/train/metadata.jsonl       {"file_name": "1.flac", "text": "two seven"}; `speaker` and `seconds` are optional
    root/train/metadata.csv         file_name,text
    root/train-clean-100/19/198/19-198.trans.txt      LibriSpeech: `19-198-0001 TWO SEVEN`, beside 19-198-0001.flac
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..inputs.files import RECORDINGS, Kind
from .captions import clean_caption
from .metadata import checked_name, checked_text, metadata_rows, split_folder, text_lines
from .packed import Chosen, NamesBuilder, Numbers, Pairs, PathsBuilder, RowsBuilder, bytes_of, text_of

LONGEST_TRANSCRIPT = 20_000
"""The largest number of characters of a transcript: in a longer text a quote is missing."""

_TRANSCRIPTS = Kind("transcript", frozenset({".trans.txt"}), 1 << 30)

_LAYOUT = "a metadata.jsonl with `file_name` and `text`, or LibriSpeech's folders"


@dataclass(frozen=True)
class SpeechRecords:
    """The recordings of one split, not opened yet."""

    items: Sequence[tuple[Path, str]]
    """The path of each recording and its transcript, as it was written; empty where there is no speech."""

    speakers: Sequence[str]
    """The speaker of each recording; empty where the data does not state it."""

    seconds: Sequence[float] = ()
    """The length of each recording; empty where the data does not state it."""


def read_recordings(
    root: str | Path, split: str, *, folders: Mapping[str, Sequence[str]] | None = None
) -> SpeechRecords:
    """List the recordings of a split with their transcripts.

    Args:
        root: The folder that holds the data.
        split: `train`, `validation` or `test`, or any other name.
        folders: The folders in `root` that make up a split, for splits that are not a folder of their own name:
            `{"train": ["train-clean-100", "train-clean-360"]}`.

    Raises:
        InputError: A file is missing; a line cannot be read or is too long; or a transcript is too long or not text.
            A listed recording that is missing is no error here: like a damaged one, it is skipped, named and counted
            when it is opened.
    """
    names = (folders or {}).get(split, (split,))
    if isinstance(names, str) or not names:
        raise InputError(f"`folders` must list at least one folder for {split!r}, but has {names!r} instead.")
    files, texts, speakers, lengths = PathsBuilder(), RowsBuilder(text_of), NamesBuilder(), array("f")
    for name in names:
        for path, text, speaker, seconds in _rows(split_folder(Path(root), name, layout=_LAYOUT)):
            files.add(path)
            texts.add(bytes_of(text))
            speakers.add(speaker)
            if seconds is not None:
                lengths.append(seconds)
    items = Pairs(files.build(), texts.build())
    return SpeechRecords(items, speakers.build(), Numbers(lengths) if len(lengths) == len(items) else ())


def held_out(records: SpeechRecords, share: float) -> tuple[SpeechRecords, SpeechRecords]:
    """Divide recordings, so that a part can be listened to while a model is trained on the rest.

    Whole speakers are held out, those with the fewest recordings first, so that the part has several: as many as come
    nearest to the share, one at least and not all. Where fewer than two speakers are known, it is every n-th recording.

    Args:
        records: The recordings.
        share: Of the recordings, above 0 and below 1.

    Returns:
        The rest, and the part that is held out.

    Raises:
        InputError: There are fewer than two recordings.
    """
    size = len(records.items)
    if size < 2:
        raise InputError(f"there must be at least 2 recordings to hold a part of them out, but there are {size}.")
    counts = Counter(records.speakers)
    if len(counts) > 1 and "" not in counts:
        names = sorted(counts, key=lambda name: (counts[name], name))
        totals = list(accumulate(counts[name] for name in names[:-1]))
        number = min(range(len(totals)), key=lambda index: abs(totals[index] - share * size))
        chosen = {index for index, name in enumerate(records.speakers) if name in names[: number + 1]}
    else:
        count = min(max(1, round(share * size)), size - 1)
        chosen = {(2 * turn + 1) * size // (2 * count) for turn in range(count)}
    return _part(records, [i for i in range(size) if i not in chosen]), _part(records, sorted(chosen))


def _part(records: SpeechRecords, indices: Sequence[int]) -> SpeechRecords:
    """The recordings at these indices."""
    seconds = Chosen(records.seconds, indices) if records.seconds else ()
    return SpeechRecords(_chosen(records.items, indices), Chosen(records.speakers, indices), seconds)


def _chosen(items: Sequence[Any], indices: Sequence[int]) -> Sequence[Any]:
    """The files of these indices, with their transcripts."""
    if isinstance(items, Pairs):
        return Pairs(Chosen(items.files, indices), Chosen(items.labels, indices))
    return Chosen(items, indices)


def clean_transcript(text: str) -> str:
    """Clean a transcript like a caption: lower case, no punctuation other than apostrophes and hyphens."""
    return clean_caption(text)


def _rows(folder: Path) -> Iterator[tuple[Path, str, str, float | None]]:
    """Path, transcript, speaker and length of each recording of a folder."""
    rows = metadata_rows(folder, ("text",))
    if rows is not None:
        for path, row, location in rows:
            if "text" not in row:
                raise InputError(f"{location}: there must be `text`, what is said in the recording, but there is none.")
            speaker = row.get("speaker")
            yield path, _checked(row["text"], location), "" if speaker is None else str(speaker), _seconds(row)
        return
    files = _TRANSCRIPTS.under(folder)
    if not files:
        raise InputError(f"{folder}: there are no transcripts in this folder. Put into it {_LAYOUT}.")
    for file in files:
        with os.scandir(file.parent) as entries:  # which tells files apart without looking at each
            there = sorted(entry.name for entry in entries if RECORDINGS.matches(entry.name) and entry.is_file())
        beside = {os.path.splitext(name)[0]: name for name in there}
        for line, location in text_lines(file):
            key, space, text = line.partition(" ")
            if not (space and text.strip()):
                raise InputError(
                    f"{location}: this must be a recording's name, a space and its words, but is {line[:60]!r} instead."
                )
            yield (
                file.parent / (beside.get(key) or f"{checked_name(key, location)}.flac"),
                _checked(text.strip(), location),
                key.split("-")[0],
                None,
            )


def _seconds(row: Mapping[str, Any]) -> float | None:
    """The length of a recording, where its row states it."""
    try:
        seconds = float(row.get("seconds", "none"))
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 1e9 else None


def _checked(text: Any, location: str) -> str:
    return checked_text(text, location, kind="a transcript", longest=LONGEST_TRANSCRIPT, may_be_empty=True)


def seconds_of(path: Path) -> float:
    """The length of a recording in seconds; 0 where it cannot be read, which is told when it is used."""
    from ..inputs import Recording  # torch

    try:
        with Recording.open(path) as recording:
            return recording.measure() if recording.duration is None else recording.duration
    except InputError:
        return 0.0
