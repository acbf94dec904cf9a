"""A map as data (npz + JSON), picture (PNG) and page (one self-contained HTML file); a transcript as subtitles."""

from .alignment import alignment_png
from .audio_page import PageRecording, write_audio_page
from .data import load_map, save_map
from .heat import blend
from .index import IndexEntry, RecordingEntry, write_index
from .page import write_page
from .page_parts import AskedPicture, PagePicture, PageQuestion, PageText, PageWord
from .picture import overlay_png
from .strip import question_png, strip_png
from .subtitles import ctm, srt, textgrid, transcript_fields, vtt, write_text

__all__ = [
    "AskedPicture",
    "IndexEntry",
    "PagePicture",
    "PageQuestion",
    "PageRecording",
    "PageText",
    "PageWord",
    "RecordingEntry",
    "alignment_png",
    "blend",
    "ctm",
    "load_map",
    "overlay_png",
    "question_png",
    "save_map",
    "srt",
    "strip_png",
    "textgrid",
    "transcript_fields",
    "vtt",
    "write_audio_page",
    "write_index",
    "write_page",
    "write_text",
]
