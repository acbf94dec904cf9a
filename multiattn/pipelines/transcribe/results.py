"""What the transcription pipeline gives back: frozen results that know how to save themselves and their maps."""

from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from ...alignment import SpokenWord
from ...alignment.word_grouping import UNSPACED
from ...errors import InputError
from ...maps import AttentionMap
from .config import Segment

Format = Literal["srt", "vtt", "textgrid", "ctm"]


@dataclass(frozen=True, eq=False)
class SpeechMap:
    """What was listened to for each word of a window, with the recording, so that it can be saved in one call."""

    map: AttentionMap
    """The map, axes ("word", "time"), the time in seconds of the recording."""

    samples: Float32[np.ndarray, " t"] = field(repr=False)
    """The whole recording, mono."""

    rate: int
    """Samples a second (Hz)."""

    words: tuple[SpokenWord, ...] = field(repr=False)
    """Those that the map is of."""

    stack: AttentionMap = field(repr=False)
    """Attention of every layer and head, axes ("layer", "head", "word", "time"), for the page's choice of both."""

    def save(self, path: str | Path) -> None:
        """Writes the numbers: an npz file and, beside it, a JSON file that says what they are."""
        from ...export import save_map

        save_map(self.map, path)

    def save_png(self, path: str | Path) -> None:
        """Writes the waveform with the words over it, and the words over the time on the picture of the sound."""
        from ...export import alignment_png  # matplotlib takes a second to import

        alignment_png(self.map, self.samples, path, rate=self.rate, words=self.words)


@dataclass(frozen=True, eq=False)
class Transcript:
    """What is said in a recording. Times are in seconds from its start."""

    file: str | None
    """The path as it was given; None for bytes, an array or a tensor."""

    segments: tuple[Segment, ...]
    """What is said, in order; none where nothing is."""

    duration: float
    """Of the recording."""

    language: str | None = None
    """Code of what is spoken; None of a model for one language, and where nothing is said."""

    maps: tuple[SpeechMap, ...] = ()
    """Of each window with words in turn, one map for each method asked for, in that order."""

    @property
    def text(self) -> str:
        """All of it."""
        parts = [segment.text for segment in self.segments if segment.text.strip()]
        if self.language not in UNSPACED:
            # a vocabulary that has its spaces before the words begins a segment with one; others begin without
            parts = [part if part[0].isspace() else f" {part}" for part in parts]
        return "".join(parts).strip()

    @property
    def words(self) -> tuple[SpokenWord, ...]:
        """All words, in order; none where their times were not asked for."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def flags(self) -> tuple[str, ...]:
        """What may be wrong with some of its segments, each once."""
        return tuple(dict.fromkeys(flag for segment in self.segments for flag in segment.flags))

    @property
    def error(self) -> None:
        """None: the input was fine. A `Failure` has the reason here."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the file and the maps, as JSON values."""
        from ...export.subtitles import transcript_fields

        fields = transcript_fields(self.segments)
        facts: dict[str, Any] = {"text": self.text, "duration": round(self.duration, 3)}
        if self.language is not None:
            facts["language"] = self.language
        facts["segments"] = [
            shown
            | {
                "score": round(score_of(segment), 4),
                "no_speech": None if segment.no_speech_prob is None else round(segment.no_speech_prob, 4),
                "temperature": segment.temperature,
            }
            for shown, segment in zip(fields["segments"], self.segments, strict=True)
        ]
        return facts | {"words": fields["words"], "flags": list(self.flags)}

    def formatted(self, kind: Format) -> str:
        """The transcript as another program reads it.

        Args:
            kind: "srt" or "vtt": subtitles; "textgrid": for Praat; "ctm": a line a word, for scoring tools.

        Raises:
            InputError: "ctm" of a transcript whose words have no times.
        """
        from ...export import subtitles

        if kind == "textgrid":
            return subtitles.textgrid(self.segments, duration=self.duration)
        if kind == "ctm":
            return subtitles.ctm(self.segments, recording=self.name)
        return subtitles.srt(self.segments) if kind == "srt" else subtitles.vtt(self.segments)

    @property
    def name(self) -> str:
        """What a page or another program calls the recording: the file's name without its suffix."""
        return "recording" if self.file is None else Path(self.file).stem

    def save_srt(self, path: str | Path) -> None:
        """Writes subtitles as SubRip."""
        self._write(path, self.formatted("srt"))

    def save_vtt(self, path: str | Path) -> None:
        """Writes subtitles as WebVTT."""
        self._write(path, self.formatted("vtt"))

    def save_textgrid(self, path: str | Path) -> None:
        """Writes interval tiers for Praat."""
        self._write(path, self.formatted("textgrid"))

    def save_ctm(self, path: str | Path) -> None:
        """Writes a line a word, for scoring tools.

        Raises:
            InputError: The words have no times.
        """
        self._write(path, self.formatted("ctm"))

    def save_json(self, path: str | Path) -> None:
        """Writes everything but the maps, as one JSON object."""
        import json

        facts = {"file": self.file, **self.to_dict()}
        self._write(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")

    def save_html(self, path: str | Path) -> None:
        """Writes one page, complete in itself: it plays the recording, and the word being spoken lights up.

        Raises:
            InputError: The result has no maps.
        """
        from ...export import PageRecording, write_audio_page

        if not self.maps:
            raise InputError('the result has no maps to save; ask for some: transcribe(recording, maps="attention")')
        first, title = self.maps[0], "recording" if self.file is None else Path(self.file).name
        stacks = {id(one.stack): one.stack for one in self.maps}  # the methods of a window share one
        page = PageRecording(
            samples=first.samples,
            rate=first.rate,
            name=title,
            segments=self.segments,
            maps=(*(one.map for one in self.maps), *stacks.values()),
            language=self.language,
        )
        write_audio_page(path, page, title=title)

    def _write(self, path: str | Path, text: str) -> None:
        from ...export.subtitles import write_text

        write_text(path, text)


def score_of(segment: Segment) -> float:
    """The probability of its tokens: their geometric mean, 0 to 1."""
    log_probs = segment.log_probs
    return min(1.0, exp(sum(log_probs) / len(log_probs))) if log_probs else 0.0
