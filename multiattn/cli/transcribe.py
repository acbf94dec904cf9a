"""`multiattn transcribe`: what is said in each recording, when, and what did the model listen to for each word?"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..inputs.files import RECORDINGS
from ..writing import write_text
from .inputs import can_be_several
from .map_files import FreeNames, Written
from .options import UsageError
from .output import make_folder, named_errors, printable
from .predict import Job, Predictor
from .records import FORMATS, Column
from .transcribe_options import parser

if TYPE_CHECKING:
    from ..pipelines import Failure, Segment, Transcript

__all__ = ["parser", "run"]

_OF_ONE_RECORDING = {"srt": ".srt", "vtt": ".vtt", "textgrid": ".TextGrid"}


def run(args: argparse.Namespace) -> int:
    """Transcribe; return 0 where every input could be used."""
    return Transcribe(args).run()


class Transcribe(Predictor["Transcript"]):
    """One run of the command. As text, each segment is written as soon as it is decoded."""

    task = "transcribe"
    columns = (
        Column("text"),
        Column("duration", is_number=True),
        Column("language"),
        Column("flags"),
        Column("segments"),
        Column("words"),
    )
    options = (
        "language",
        "multilingual",
        "language_threshold",
        "vad",
        "keep_flagged",
        "task",
        "prompt",
        "num_beams",
    )
    kind = RECORDINGS

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self._named: Job | None = None  # the recording whose name is written last
        self._folder: Path | None = None
        if args.format in _OF_ONE_RECORDING and can_be_several(args.paths, args.files):
            if not args.out:
                raise UsageError(
                    f"--format {args.format} holds one recording; for several, --out DIR says in which folder each is "
                    "written"
                )
            self._folder, self._names = Path(args.out), FreeNames()
            self.out = None

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs."""
        return super().stream_options() | {
            "words": self.args.words or self.args.format == "ctm",  # a format of words only
            "on_segment": self._write_segment if self.args.format == "text" else None,
        }

    def remark(self, result: "Transcript") -> str | None:
        """Return how many segments are dropped, or None."""
        count = len(result.dropped)
        what = f"{count} segment{'s' if count > 1 else ''}"
        return f"{result.file}: {what} dropped, where nobody speaks; --keep-flagged keeps them" if count else None

    def results(self, jobs: Iterable[Job]) -> "Iterator[Transcript | Failure]":
        """Make the folder for the results where several are asked for, before the model is loaded."""
        if self._folder:
            make_folder(self._folder, subject=f"--out {self._folder}")
        return super().results(jobs)

    def write(self, result: "Transcript", written: Written | None) -> None:
        """Write a transcript in the format that was asked for; as text, what follows its segments."""
        kind = self.args.format
        if kind == "text":
            self._write_name()
            text = self.as_text(result, written)
        elif kind in FORMATS:
            super().write(result, written)
            return
        else:
            text = result.formatted(kind).removesuffix("\n")
            if self._folder is not None:
                text = self._save(f"{self._names.of(str(result.file))}{_OF_ONE_RECORDING[kind]}", text)
        if text or kind != "text":
            self.report.result(text)

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
    lines = [f"  {clock(segment.start)} - {clock(segment.end)}  {printable(segment.text.strip())}{flags}"]
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
