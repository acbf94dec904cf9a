"""A map as data (npz + JSON), picture (PNG) and page (one self-contained HTML file); a transcript as subtitles."""

from .audio_page import PageRecording, write_audio_page
from .data import load_map, save_map
from .heatmap import blend
from .index import IndexEntry, RecordingEntry, write_index
from .overlay import overlay_png
from .page import write_page
from .page_parts import AskedPicture, PagePicture, PageQuestion, PageText, PageWord
from .speech_figure import alignment_png
from .subtitles import ctm, srt, textgrid, transcript_fields, vtt, write_text
from .word_figure import question_png, strip_png

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
