"""`multiattn transcribe`: what is said in each recording, when, and what did the model listen to for each word?"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..inputs.files import RECORDINGS
from ..registry import load_part
from ..writing import write_text
from .arguments import UsageError
from .inputs import can_be_several
from .map_files import FreeNames, Written
from .output import make_folder, named_errors, printable
from .predict import Job, Predictor
from .records import FORMATS, Column
from .result_lines import verdict_lines
from .runtime import check_runtime
from .transcribe_options import CUE_OPTIONS, PIPELINE_OPTIONS, parser

if TYPE_CHECKING:
    from ..pipelines import Segment, Transcript
    from ..pipelines.transcribe.results import Format

__all__ = ["parser", "run"]

_SUFFIXES = {
    "srt": ".srt",
    "vtt": ".vtt",
    "textgrid": ".TextGrid",
    "lrc": ".lrc",
    "tsv": ".tsv",
    "verbose_json": ".json",
    "ctm": ".ctm",
}
"""Of the files in a folder."""

_OF_SEVERAL = "ctm"
"""The one of these formats that can hold several recordings."""


def run(args: argparse.Namespace) -> int:
    """Transcribe; return 0 where every input could be used."""
    check_runtime(args, "transcribe")
    if args.live is not None:
        from .live import run as transcribe_live

        return transcribe_live(args)
    if args.rate is not None:
        raise UsageError("--rate is that of samples on standard input, and needs --live -")
    return Transcribe(args).run()


class Transcribe(Predictor["Transcript"]):
    """One run of the command. As text, each segment is written as soon as it is decoded."""

    task = "transcribe"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text"),
        Column("duration", is_number=True),
        Column("language"),
        Column("flags"),
        Column("segments"),
        Column("words"),
    )
    options = PIPELINE_OPTIONS
    kind = RECORDINGS

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._named: Job | None = None  # the recording whose name is written last
        self._folder: Path | None = None
        self._formats: list[str] = args.format.split(",")
        self._cues: dict[str, Any] = {
            field: value for field in CUE_OPTIONS if (value := getattr(args, field)) is not None
        }
        if self._cues and not {"srt", "vtt"} & set(self._formats):
            option = CUE_OPTIONS[next(iter(self._cues))]
            raise UsageError(f"{option} is for subtitles, and needs --format srt or vtt")
        several = can_be_several(args.paths, args.files) and args.format != _OF_SEVERAL
        if self._formats[0] in _SUFFIXES and (several or len(self._formats) > 1):
            if not args.out:
                holds = (
                    "each format is a file" if len(self._formats) > 1 else f"--format {args.format} holds one recording"
                )
                raise UsageError(f"{holds}; for several, --out DIR says in which folder each is written")
            self._folder, self._names = Path(args.out), FreeNames()
            self.out = None
        args.clips = sorted(args.clips) if args.clips else None
        if any(before[1] > after[0] for before, after in pairwise(args.clips or ())):
            raise UsageError("--clip names parts that overlap; join them to one")
        if args.carry_prompt and args.prompt is None:
            raise UsageError("--carry-prompt puts a prompt before every window, and needs --prompt TEXT")
        if args.channel == "each" and args.maps:
            raise UsageError("--maps shows one channel, and --channel each has several; name one")

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs."""
        return super().stream_options() | {
            # a format of words only, and cuts between words
            "words": self.args.words or "ctm" in self._formats or bool(self._cues.keys() - {"min_seconds"}),
            "on_segment": self._write_segment if self._writes_segments else None,
            "speakers": self._speakers(),
        }

    @property
    def _writes_segments(self) -> bool:
        """Whether each segment is written as soon as it is decoded."""
        return self.args.format == "text" and not self.is_distributed

    def _speakers(self) -> object:
        if self.args.speakers is None:
            return None
        is_only = not can_be_several(self.args.paths, self.args.files)
        return load_part("multiattn.pipelines.transcribe.speakers:GivenSpeakers")(self.args.speakers, is_only=is_only)

    def remark(self, result: "Transcript") -> str | None:
        """Return how many segments are dropped, and where there is speech without text; None without either."""
        count, told = len(result.dropped), []
        if count:
            what = f"{count} segment{'s' if count > 1 else ''}"
            told.append(f"{what} dropped, where nobody speaks; --keep-flagged keeps them")
        if result.uncovered:
            where = ", ".join(f"{clock(start)} - {clock(end)}" for start, end in result.uncovered)
            told.append(f"somebody speaks, and no text came of it: {where}")
        return f"{result.file}: {'; '.join(told)}" if told else None

    def page_options(self, results: "Sequence[Transcript]") -> dict[str, Any]:
        """What `save_html` is given: with `--tokens`, the attention among the moments of the recording."""
        if not self.args.tokens:
            return {}
        return {"tokens": load_part("multiattn.pipelines:recording_attention")(self._pipeline, results[0])}

    def prepare(self) -> None:
        """Make the folder for the results where several are asked for."""
        if self._folder:
            make_folder(self._folder, subject=f"--out {self._folder}")

    def write(self, result: "Transcript", written: Written | None) -> None:
        """Write a transcript in the format that was asked for; as text, what follows its segments."""
        kind = self.args.format
        if kind == "text":
            self._write_name()
            for segment in () if self._writes_segments else result.segments:
                self.report.result(segment_lines(segment))
            text = self.as_text(result, written)
        elif kind in FORMATS:
            super().write(result, written)
            return
        else:
            texts = [self._formatted(result, one).removesuffix("\n") for one in self._formats]
            if self._folder is not None:
                name = self._names.of(str(result.file))
                texts = [
                    self._save(f"{name}{_SUFFIXES[one]}", text) for one, text in zip(self._formats, texts, strict=True)
                ]
            text = "\n".join(texts)
        if text or kind != "text":
            self.report.result(text)

    def _formatted(self, result: "Transcript", kind: str) -> str:
        from ..export import CueStyle

        return result.formatted(cast("Format", kind), cues=CueStyle(**self._cues))

    def _save(self, name: str, text: str) -> str:
        """Write a file into the folder of `--out`, and return its path as it is printed."""
        file = Path(self.args.out) / name
        with named_errors(f"--out {file}:"):
            write_text(file, text + "\n")
        return printable(file)

    @staticmethod
    def as_text(result: "Transcript", written: Written | None) -> str:
        """Return what is written after the segments: that there are none, and the path of the page."""
        lines = [] if result.segments else ["  nothing is said"]
        lines += [f"    {line}" for line in verdict_lines(result)]
        return "\n".join(lines + ([f"    maps  {printable(written.page)}"] if written else []))

    def _write_segment(self, segment: "Segment") -> None:
        self._pass_others()
        self._write_name()
        self.report.result(segment_lines(segment))

    def _write_name(self) -> None:
        if self._named is not self.job:
            self.report.result(printable(self.job.file))
            self._named = self.job


def segment_lines(segment: "Segment") -> str:
    """Return start, end, text and flags of a segment, and below it the words, where their times are known."""
    flags = f"  [{', '.join(segment.flags)}]" if segment.flags else ""
    who = [printable(one) for one in (segment.channel, segment.speaker) if one is not None]
    said_by = f"{', '.join(who)}: " if who else ""
    lines = [f"  {clock(segment.start)} - {clock(segment.end)}  {said_by}{printable(segment.text.strip())}{flags}"]
    lines += [
        f"    {clock(word.start)} - {clock(word.end)}  {word.score:6.1%}  {printable(word.text.strip())}"
        for word in segment.words
    ]
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Return a time as `0:02.35`, and from an hour on as `1:00:02.35`."""
    hundredths = round(100 * seconds)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{rest // 100:02}.{rest % 100:02}"
