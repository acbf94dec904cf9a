r"""Recordings with what is said in them, read into a list. Nothing here opens a recording.

root/train/metadata.jsonl       {"file_name": "1.flac", "text": "two seven"}; `speaker` may stand there, too
root/train/metadata.csv         file_name,text
root/train-clean-100/19/198/19-198.trans.txt      LibriSpeech: `19-198-0001 TWO SEVEN`, and 19-198-0001.flac beside
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..inputs.files import RECORDINGS
from .captions import clean_caption
from .metadata import checked_text, metadata_rows, split_folder, text_lines

LONGEST_TRANSCRIPT = 20_000
"""Characters a transcript may have: where it is longer, it is no transcript, or a quote is missing."""

_LAYOUT = "a metadata.jsonl with `file_name` and `text`, or LibriSpeech's folders"


@dataclass(frozen=True)
class SpeechRecords:
    """The recordings of one split, not opened yet."""

    items: tuple[tuple[Path, str], ...]
    """Each recording's path and what is said in it, as it was written; empty where nothing is said."""

    speakers: tuple[str, ...]
    """Who speaks in each; empty where that is not known."""


def read_recordings(
    root: str | Path, split: str, *, folders: Mapping[str, Sequence[str]] | None = None
) -> SpeechRecords:
    """List the recordings of a split with what is said in them.

    Args:
        root: The folder that holds the data.
        split: `train`, `validation` or `test`, or any other name.
        folders: The folders in `root` that make up a split, for splits that are not a folder of their own name:
            `{"train": ["train-clean-100", "train-clean-360"]}`.

    Raises:
        InputError: Something is missing, a line cannot be read or is too long, or a transcript is too long or no
            text. A recording that is listed and not there is no error here: whoever opens it skips, names and counts
            it, as with a damaged one.
    """
    names = (folders or {}).get(split, (split,))
    if isinstance(names, str) or not names:
        raise InputError(f"`folders` must list at least one folder for {split!r}, but has {names!r} instead.")
    rows = [row for name in names for row in _rows(split_folder(Path(root), name, layout=_LAYOUT))]
    return SpeechRecords(tuple((path, text) for path, text, _ in rows), tuple(speaker for _, _, speaker in rows))


def clean_transcript(text: str) -> str:
    """A transcript in lower case, with single spaces, and of the punctuation only apostrophes and hyphens."""
    return clean_caption(text)


def _rows(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, transcript and speaker of each recording of a folder."""
    rows = metadata_rows(folder, ("text",))
    if rows is not None:
        for path, row, place in rows:
            if "text" not in row:
                raise InputError(f"{place}: there must be `text`, what is said in the recording, but there is none.")
            speaker = row.get("speaker")
            yield path, _checked(row["text"], place), "" if speaker is None else str(speaker)
        return
    files = sorted(folder.rglob("*.trans.txt"))
    if not files:
        raise InputError(f"{folder}: there are no transcripts in this folder. Put into it {_LAYOUT}.")
    for file in files:
        beside = {path.stem: path for path in sorted(file.parent.iterdir()) if RECORDINGS.matches(path)}
        for line, place in text_lines(file):
            key, space, text = line.partition(" ")
            if not (space and text.strip()):
                raise InputError(
                    f"{place}: this must be a recording's name, a space and its words, but is {line[:60]!r} instead."
                )
            yield beside.get(key, file.parent / f"{key}.flac"), _checked(text.strip(), place), key.split("-")[0]


def _checked(text: Any, place: str) -> str:
    return checked_text(text, place, kind="a transcript", longest=LONGEST_TRANSCRIPT, may_be_empty=True)
