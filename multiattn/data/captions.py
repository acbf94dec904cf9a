r"""Pictures with captions, read from metadata, COCO or Flickr8k. Nothing here opens a picture.

    root/train/metadata.jsonl            {"file_name": "1.jpg", "text": "a dog"} or {..., "texts": ["a dog", "it runs"]}
    root/train/metadata.csv              file_name,text
    annotations/captions_train2017.json  COCO: lists of `images` (id, file_name) and `annotations` (image_id, caption)
    Flickr8k.token.txt                   `1.jpg#0\ta dog`, with Flickr_8k.{train,dev,test}Images.txt beside it

A picture that is listed several times has all of those captions.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .metadata import (
    checked_name,
    checked_text,
    lists_of,
    one_or_several,
    require_folder,
    required_rows,
    shortened,
    some,
    split_file,
    split_folder,
    split_path,
    text_lines,
)
from .packed import bytes_of, grouped, text_of

LONGEST_CAPTION = 1000
"""The largest number of characters of a caption: a longer text is not a caption, or a quote is missing."""

_LAYOUT = "a metadata.jsonl with `file_name` and `text` or `texts`"
_FLICKR = {"train": "train", "validation": "dev", "test": "test"}  # split -> its name in Flickr8k's lists
_KEPT = "'-"  # the punctuation that `clean_caption` keeps


@dataclass(frozen=True)
class CaptionRecords:
    """The pictures of one split, not opened yet."""

    items: Sequence[tuple[Path, tuple[str, ...]]]
    """The path of each picture and its captions, at least one, as they were written; in a fixed order."""


def read_captions(
    root: str | Path, split: str, *, captions: str | None = None, pictures: str | None = None
) -> CaptionRecords:
    """List the pictures of a split with their captions.

    Args:
        root: The folder that holds the data.
        split: `train`, `validation` or `test`, or any other name.
        captions: A file in the format of COCO (it ends in .json) or Flickr8k, relative to `root`; `{split}` in it is
            replaced by the name of the split, or by `val` for `validation`. None reads the metadata in `root/split`.
        pictures: The folder with the pictures, in the same way; required with `captions`, and only then.

    Raises:
        InputError: A file is missing; a line cannot be read or is too long; a caption is empty, too long or not text;
            or the file does not list the picture of a caption. A listed picture that is missing is no error here:
            like a damaged one, it is skipped, named and counted when it is opened.
    """
    root = Path(root)
    if captions is None:
        if pictures is not None:
            raise InputError("`pictures` must come with `captions`, but there is none. Give both, or leave both out.")
        return _records(_metadata(split_folder(root, split, layout=_LAYOUT)))
    if pictures is None:
        raise InputError(f"`captions` ({captions}) must come with `pictures`, the folder of the pictures.")
    require_folder(root, split, layout=_LAYOUT)
    file = split_file(root, captions, split, option="captions")
    folder = split_path(root, pictures, split)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Check `pictures`.")
    rows = _coco(file) if file.suffix.lower() == ".json" else _flickr(file, split)
    return _records((folder / name, caption, location) for name, caption, location in rows)


def clean_caption(text: str) -> str:
    """Put a caption in lower case, with single spaces, and without punctuation other than apostrophes and hyphens.

    Letters, accents and digits of all scripts are kept; a word has at least one of them.
    """
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = "".join(c if c in _KEPT or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(word for word in kept.split() if word.strip(_KEPT))


def _records(rows: Iterator[tuple[Path, Any, str]]) -> CaptionRecords:
    """Join the captions of each picture, and check every one."""
    checked = (
        (path, checked_text(caption, location, kind="a caption", longest=LONGEST_CAPTION))
        for path, caption, location in rows
    )
    return CaptionRecords(grouped(((path, bytes_of(text)) for path, text in checked), text_of))


def _metadata(folder: Path) -> Iterator[tuple[Path, Any, str]]:
    """Path, caption and location of each caption of a split's metadata."""
    for path, row, location in required_rows(folder, ("text",), layout=_LAYOUT):
        texts = one_or_several(row, "text", "texts", location)
        if not isinstance(texts, list) or not texts:
            raise InputError(f"{location}: `texts` must be a list of captions, but is {shortened(texts)} instead.")
        for text in texts:
            yield path, text, location


def _coco(file: Path) -> Iterator[tuple[str, Any, str]]:
    """Picture, caption and location of each annotation."""
    images, annotations = lists_of(file, "images", "annotations", source="COCO")
    names: dict[Any, str] = {}
    for number, image in enumerate(images, start=1):
        name, key = image.get("file_name"), image.get("id")
        location = f"{file}, image {number}"
        if not isinstance(name, str) or not name or not isinstance(key, str | int):
            raise InputError(f"{location}: there must be an `id` and a `file_name`, but there is {shortened(image)}.")
        names[key] = checked_name(name, location)
    if not annotations:
        raise InputError(f"{file}: the file has no captions.")
    for number, annotation in enumerate(annotations, start=1):
        location, key = f"{file}, annotation {number}", annotation.get("image_id")
        if not isinstance(key, str | int) or key not in names:
            raise InputError(
                f"{location}: the picture {shortened(key)} is unknown: `images` does not list this `image_id`."
            )
        yield names[key], annotation.get("caption"), location


def _flickr(file: Path, split: str) -> Iterator[tuple[str, str, str]]:
    """Picture, caption and location of each line of the split."""
    split_list = file.parent / f"Flickr_8k.{_FLICKR.get(split, split)}Images.txt"
    if not split_list.is_file():
        raise InputError(f"{split_list}: there is no such list of the split {split!r}. Put it beside {file.name}.")
    captions: dict[str, list[tuple[str, str]]] = {}
    for line, location in text_lines(file):
        key, tab, caption = line.partition("\t")
        name, mark, number = key.rpartition("#")
        if not (tab and mark and name and number.isdecimal()):
            raise InputError(
                f"{location}: this must be `picture.jpg#0`, a tab and a caption, but is {line[:60]!r} instead."
            )
        captions.setdefault(name, []).append((caption, location))
    names = [(line.strip(), location) for line, location in text_lines(split_list)]
    if not names:
        raise InputError(f"{split_list}: the file names no picture.")
    missing = [(name, location) for name, location in names if name not in captions]
    if missing:
        unknown = some([name for name, _ in missing])
        raise InputError(f"{missing[0][1]}: the pictures {unknown} are unknown: {file.name} has no captions of them.")
    for name in dict.fromkeys(name for name, _ in names):
        for caption, location in captions[name]:
            yield checked_name(name, location), caption, location
