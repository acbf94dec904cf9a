"""What the transcription pipeline returns: a transcript, which other programs can read, and the maps of its words."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from ...export import (
    CueStyle,
    PageRecording,
    alignment_png,
    ctm,
    lrc,
    srt,
    textgrid,
    transcript_fields,
    tsv,
    vtt,
    write_audio_page,
)
from ...export.canvas import PNGFile
from ...export.timed_text import TimedSegment
from ...inputs.damage import Damage
from ...inputs.spoken_words import UNSPACED, SpokenWord
from ...maps import AttentionMap, Checked, time_profile
from ...writing import write_json, write_text
from ..results import Result, SavedMap, first_map, probability
from .cutting import UNCOVERED, Segment
from .verbose_json import verbose_json

Format = Literal["srt", "vtt", "textgrid", "ctm", "tsv", "lrc", "verbose_json"]
_CUES = CueStyle()


@dataclass(frozen=True, eq=False)
class SpeechMap(SavedMap):
    """Where the model attended in time for each word of a window, axes ("word", "time"), with the recording.

    By `lrp` it says which sound made the word, axes ("word", "mel", "time"); figure and page show sums over the bands.
    """

    samples: Float32[np.ndarray, " t"] = field(repr=False)
    """The whole recording, mono."""

    rate: int
    """Samples a second (Hz)."""

    words: tuple[SpokenWord, ...] = field(repr=False)
    """The words of the map."""

    stack: AttentionMap = field(repr=False)
    """Attention of every layer and head, axes ("layer", "head", "word", "time"), for the page's choice of both."""

    def save_png(self, path: PNGFile) -> None:
        """Write the waveform with the words over it, and the map over the log-mel spectrogram."""
        shown = time_profile(self.map)
        alignment_png(shown, self.samples, path, rate=self.rate, words=self.words, remarks=self.remarks)

    def save_html(self, path: str | Path) -> None:
        """Write one self-contained page that plays the recording; its transcript is the words of this map."""
        text = "".join(self.map.axes[0].labels or ())  # unlike those of `words`, with the spaces between them
        window = _Window(self.words[0].start, self.words[-1].end, text, self.words)
        _write_page(path, "recording", [self], [window])


class _Window(NamedTuple):
    """The words of a map as one segment of a page."""

    start: float
    end: float
    text: str
    words: tuple[SpokenWord, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Transcript(Result):
    """The transcript of a recording. Times are in seconds from its start."""

    file: str | None
    segments: tuple[Segment, ...]
    """The segments in order; none where nothing is said."""

    duration: float
    """The length of the recording in seconds, as it was decoded; 0 for one without samples."""

    language: str | None = None
    """Code of the language spoken; None for a model of one language, and where nothing is said. Where it was decided
    for every window, that of the longest time."""

    maps: tuple[SpeechMap, ...] = ()
    """For each window with words in turn, one map for each method asked for, in that order."""

    damaged: Damage | None = None
    """What is missing of a damaged recording; silence is in its place where its length is known."""

    remark: str | None = None
    """That the channels of the recording cancel each other or have voices of their own, or that the language is
    uncertain; None for most."""

    task: str = "transcribe"
    """What the text is: "transcribe" for the language spoken, "translate" for English."""

    language_probability: float | None = None
    """The model's probability of `language`; None where the language was given, or is None."""

    dropped: tuple[Segment, ...] = ()
    """In order, the texts that the model wrote where nobody speaks, which are no part of the transcript."""

    uncovered: tuple[tuple[float, float], ...] = ()
    """Start and end, in seconds, of each part in which somebody speaks, as the voice activity detector hears it, and
    that no segment covers although it was decoded twice; none without the detector."""

    verdicts: tuple[Checked, ...] = ()

    @property
    def text(self) -> str:
        """The text of all segments."""
        parts = [segment.text for segment in self.segments if segment.text.strip()]
        if self.language not in UNSPACED:
            # some vocabularies have the space before a word in its token, others have not
            parts = [part if part[0].isspace() else f" {part}" for part in parts]
        return "".join(parts).strip()

    @property
    def words(self) -> tuple[SpokenWord, ...]:
        """All words in order; none where their times were not asked for."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of all segments, each once: what may be wrong with their text.

        "empty": there are no samples; "uncovered": there is speech that no segment covers.
        """
        found = [flag for segment in self.segments for flag in segment.flags]
        found = found if self.duration else ["empty", *found]
        return tuple(dict.fromkeys([*found, UNCOVERED] if self.uncovered else found))

    @property
    def name(self) -> str:
        """The file's name without its suffix, as another program calls the recording."""
        return "recording" if self.file is None else Path(self.file).stem

    def to_dict(self) -> dict[str, object]:
        """Everything but the maps, as JSON values."""
        fields = transcript_fields(self.segments)
        facts: dict[str, object] = {"file": self.file, "text": self.text, "duration": round(self.duration, 3)}
        if self.language is not None:
            facts["language"] = self.language
        if self.language_probability is not None:
            facts["language_probability"] = round(self.language_probability, 4)
        facts["segments"] = [
            shown | _facts_of(segment) for shown, segment in zip(fields["segments"], self.segments, strict=True)
        ]
        if self.uncovered:
            facts["uncovered"] = [{"start": round(start, 3), "end": round(end, 3)} for start, end in self.uncovered]
        dropped = [
            {"start": round(one.start, 3), "end": round(one.end, 3), "text": one.text.strip(), "flags": list(one.flags)}
            | _facts_of(one)
            for one in self.dropped
        ]
        return (
            facts | {"words": fields["words"], "dropped": dropped, "flags": list(self.flags)} | self.judged | self.marks
        )

    def formatted(self, kind: Format, *, cues: CueStyle = _CUES) -> str:
        """The transcript as another program reads it.

        Args:
            kind: "srt" or "vtt": subtitles; "lrc": lyrics; "tsv": a table; "textgrid": for Praat; "ctm": a line for
                each word, for scoring tools; "verbose_json": the answer of OpenAI's API.
            cues: How subtitles are cut and shown.

        Raises:
            InputError: "ctm" for a transcript whose words have no times.
        """
        writers: dict[Format, Callable[[Sequence[Segment]], str]] = {
            "srt": partial(srt, style=cues, duration=self.duration or None),
            "vtt": partial(vtt, style=cues, duration=self.duration or None),
            "textgrid": partial(textgrid, duration=self.duration),
            "ctm": partial(ctm, recording=self.name),
            "tsv": tsv,
            "lrc": partial(lrc, duration=self.duration),
            "verbose_json": self._verbose_json,
        }
        return writers[kind](self.segments)

    def _verbose_json(self, segments: Sequence[Segment]) -> str:
        found = verbose_json(segments, task=self.task, language=self.language, duration=self.duration, text=self.text)
        return json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n"

    def save_srt(self, path: str | Path, *, cues: CueStyle = _CUES) -> None:
        """Write subtitles as SubRip, cut as `cues` says."""
        write_text(path, self.formatted("srt", cues=cues))

    def save_vtt(self, path: str | Path, *, cues: CueStyle = _CUES) -> None:
        """Write subtitles as WebVTT, cut as `cues` says."""
        write_text(path, self.formatted("vtt", cues=cues))

    def save_textgrid(self, path: str | Path) -> None:
        """Write interval tiers for Praat."""
        write_text(path, self.formatted("textgrid"))

    def save_ctm(self, path: str | Path) -> None:
        """Write a line for each word, for scoring tools.

        Raises:
            InputError: The words have no times.
        """
        write_text(path, self.formatted("ctm"))

    def save_tsv(self, path: str | Path) -> None:
        """Write a table of start, end (ms) and text, as openai-whisper does."""
        write_text(path, self.formatted("tsv"))

    def save_lrc(self, path: str | Path) -> None:
        """Write lyrics with the times of segments, and of words where they are known."""
        write_text(path, self.formatted("lrc"))

    def save_verbose_json(self, path: str | Path) -> None:
        """Write the answer that OpenAI's API would give."""
        write_text(path, self.formatted("verbose_json"))

    def save_json(self, path: str | Path) -> None:
        """Write everything but the maps, as one JSON object."""
        write_json(path, self.to_dict())

    def save_html(self, path: str | Path, *, tokens: Sequence[AttentionMap] = ()) -> None:
        """Write one self-contained page that plays the recording and highlights the word being spoken.

        Args:
            path: The HTML file.
            tokens: What `recording_attention` returned for it: each moment can be chosen, to see where it looks.

        Raises:
            InputError: The result has no maps.
        """
        first_map(self.maps, 'transcribe(recording, maps="attention")')
        title = "recording" if self.file is None else Path(self.file).name
        _write_page(path, title, self.maps, self.segments, language=self.language, moments=tokens)


def _write_page(
    path: str | Path,
    title: str,
    maps: Sequence[SpeechMap],
    segments: Sequence[TimedSegment],
    *,
    language: str | None = None,
    moments: Sequence[AttentionMap] = (),
) -> None:
    first = maps[0]
    stacks = {id(one.stack): one.stack for one in maps}  # the methods of a window share one
    page = PageRecording(
        samples=first.samples,
        rate=first.rate,
        name=title,
        segments=segments,
        maps=(*(time_profile(one.map) for one in maps), *stacks.values()),
        language=language,
        verdicts=[one.checked for one in maps if one.checked is not None],
        moments=moments,
    )
    write_audio_page(path, page, title=title)


def _facts_of(segment: Segment) -> dict[str, object]:
    """What JSON says of a segment beside its time, text and flags."""
    facts: dict[str, object] = {
        "score": round(score_of(segment), 4),
        "no_speech": None if segment.no_speech_prob is None else round(segment.no_speech_prob, 4),
        "temperature": segment.temperature,
    }
    return facts if segment.language is None else facts | {"language": segment.language}


def score_of(segment: Segment) -> float:
    """The geometric mean of the probabilities of the segment's tokens, 0 to 1; 0 where it has none."""
    log_probs = segment.log_probs
    return probability(sum(log_probs) / len(log_probs)) if log_probs else 0.0
