"""Floor 5: a map as data (npz, JSON), as a picture (PNG) and as a page (HTML); a transcript as subtitles.

Pictures: `overlay` for a map over an image, `word_figure` for the words of a text, `speech_figure` for maps over time;
they share `heatmap` and `canvas`. Pages: `page` and `page_parts` for images, `audio_page` for recordings, `index` for
several; they share `html`, whose files stand beside it. `naming` is how maps are described in all of them.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily
from ..writing import write_text

if TYPE_CHECKING:
    from .audio_page import PageRecording, write_audio_page
    from .comparison import ComparedPicture, write_comparison
    from .cues import CueStyle
    from .data import load_map, save_map
    from .heatmap import blend
    from .index import Card, IndexEntry, RecordingEntry, make_card, write_index
    from .overlay import overlay_png
    from .page import write_page
    from .page_parts import AskedPicture, PagePicture, PageQuestion, PageText, PageWord
    from .speech_figure import alignment_png
    from .subtitles import ctm, lrc, srt, textgrid, transcript_fields, tsv, vtt
    from .word_figure import question_png, strip_png

__all__ = [
    "AskedPicture",
    "CueStyle",
    "ComparedPicture",
    "Card",
    "IndexEntry",
    "make_card",
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
    "lrc",
    "overlay_png",
    "question_png",
    "save_map",
    "srt",
    "strip_png",
    "textgrid",
    "transcript_fields",
    "tsv",
    "vtt",
    "write_audio_page",
    "write_comparison",
    "write_index",
    "write_page",
    "write_text",
]

__getattr__ = lazily(
    __name__,
    {
        ".audio_page": "PageRecording write_audio_page",
        ".comparison": "ComparedPicture write_comparison",
        ".cues": "CueStyle",
        ".data": "load_map save_map",
        ".heatmap": "blend",
        ".index": "Card IndexEntry RecordingEntry make_card write_index",
        ".overlay": "overlay_png",
        ".page": "write_page",
        ".page_parts": "AskedPicture PagePicture PageQuestion PageText PageWord",
        ".speech_figure": "alignment_png",
        ".subtitles": "ctm lrc srt textgrid transcript_fields tsv vtt",
        ".word_figure": "question_png strip_png",
    },
)
