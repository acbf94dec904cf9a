"""A map as data (npz + JSON), as picture (PNG) and as page (one self-contained HTML file)."""

from .data import load_map, save_map
from .heat import blend
from .page import IndexEntry, PagePicture, write_index, write_page
from .picture import overlay_png

__all__ = ["IndexEntry", "PagePicture", "blend", "load_map", "overlay_png", "save_map", "write_index", "write_page"]
