"""A map as data (npz + JSON), as picture (PNG) and as page (one self-contained HTML file)."""

from .data import load_map, save_map
from .heat import blend
from .index import IndexEntry, write_index
from .page import PagePicture, PageWord, write_page
from .picture import overlay_png
from .strip import strip_png

__all__ = [
    "IndexEntry",
    "PagePicture",
    "PageWord",
    "blend",
    "load_map",
    "overlay_png",
    "save_map",
    "strip_png",
    "write_index",
    "write_page",
]
