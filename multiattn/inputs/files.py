"""Which files count as pictures, by their names. Nothing here opens one, or waits for torch."""

import os
from pathlib import Path

SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def is_picture(file: Path) -> bool:
    """Whether this is a visible file with a picture's suffix (macOS leaves `._photo.jpg` beside `photo.jpg`)."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def pictures_under(folder: Path) -> list[Path]:
    """The pictures in a folder and its visible sub-folders, sorted."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # `os.walk` goes into what is left here
        found += [file for file in (Path(parent, name) for name in names) if is_picture(file)]
    return sorted(found)
