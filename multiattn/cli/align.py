"""`multiattn align`: when is each word of a known text spoken, and where do text and recording differ?"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..inputs.walk import Unusable
from ..text_files import decode_text, read_bytes
from .arguments import Option, Parser, UsageError, not_blank, not_empty
from .map_files import Written
from .map_options import CHECK, MAP_FILES
from .options import BAD_FILES, RECORDS, model_of
from .output import printable
from .predict import Job
from .records import Column
from .transcribe import Transcribe, clock, segment_lines
from .transcribe_options import (
    CHOICE,
    CUES,
    DECODING,
    OUTPUT,
    PIPELINE_OPTIONS,
    SPEAKERS,
    SPEAKING,
    STEERING,
)

if TYPE_CHECKING:
    from ..pipelines import Failure, Transcript
    from ..pipelines.base import Pipeline
    from ..pipelines.transcribe import AlignedTranscript

_DESCRIPTION = """\
Say when each sentence and word of a known text is spoken in a recording, from a
minute to hours long. Words of the text that were not said are marked, and so is
what was said and is not in the text.
"""

_EPILOG = f"""\
RECORDING and TEXT
  a recording (or - for standard input) and a file with its text (or -, or
  --text 'WORDS' in its place); or a folder of recordings, and the folder with
  the text of each, NAME.txt for NAME.wav, in sub-folders like theirs or in
  none (by default beside the recordings). Texts are UTF-8, or begin with a
  byte-order mark. Each line, and each sentence of it, is a segment; case,
  punctuation, accents and figures may differ from what a model would write, but
  the order may not.

The recording is transcribed first, by default without beams and without the
text of the window before; the text is then compared with that.

formats
  those of "multiattn transcribe"; all but text, json, csv and parquet leave out
  what was not said. With --format json, there is also
    "not_written": [{{"start": 3.1, "end": 4.2, "text": "by the way",
                     "score": 0.9}}]
  and these flags of words and segments: not_said; partly_said (some words of a
  segment were not); moved (said, but elsewhere). Flags of the whole:
  not_written; mismatch (text and recording do not belong together, which is
  also said on standard error).

files in the --maps folder, for a recording NAME.wav
  NAME.html         one self-contained page that plays the recording and
                    highlights the word being spoken
  NAME.METHOD.png   the words over time, on a spectrogram
{MAP_FILES.format("recording")}

{CHECK}

examples
  multiattn align talk.mp3 talk.txt --words
  multiattn align talk.mp3 talk.txt --format srt --out talk.srt
  multiattn align talk.mp3 --text 'One two three.' --format textgrid
  multiattn align readings/ --format ctm --out readings.ctm

{RECORDS.format("file, text, duration, language, flags, segments, words, not_written")}

{BAD_FILES.format("recording")}
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        Option("recording", "RECORDING", not_empty, "a recording, a folder of them, or -"),
        Option("text_file", "TEXT", not_empty, "the file with its text, a folder of texts, or -", nargs="?"),
        Option("--text", "WORDS", not_blank, "the text itself, in place of TEXT"),
        model_of("transcribe"),
        Option("--words", action="store_true", help="with --format text: list the words, too"),
        Option("--language", "CODE", not_empty, "the language spoken; for models of several (default: detected)"),
        SPEAKERS,
        groups={
            "which part": CHOICE,
            "speech and silence": SPEAKING,
            "the transcription that comes first": (*STEERING, *DECODING),
            "subtitles (--format srt or vtt)": CUES,
            "output": [option for option in OUTPUT if option.name != "--explain-text"],
        },
        prog="multiattn align",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Align; return 0 where every recording could be used and has a text."""
    args.paths, args.files = [args.recording], None
    return Align(args).run()


_NOT_TAKEN = ("task", "multilingual", "language_threshold")
"""Options of a transcription that a given text has no use for."""


class Align(Transcribe):
    """One run of the command."""

    columns = (*Transcribe.columns, Column("not_written"))
    options = tuple(name for name in PIPELINE_OPTIONS if name not in _NOT_TAKEN)

    def __init__(self, args: argparse.Namespace) -> None:
        is_folder = Path(args.recording).is_dir()
        if args.text is not None and (args.text_file is not None or is_folder):
            raise UsageError("--text is the text of one recording, and replaces TEXT; give one of them")
        if args.text is None and args.text_file is None and not is_folder:
            raise UsageError("the following arguments are required: TEXT (or --text 'WORDS')")
        if args.recording == args.text_file == "-":
            raise UsageError("- is standard input, which can be read once only")
        if is_folder and args.text_file is not None and not Path(args.text_file).is_dir():
            raise UsageError("TEXT must be a folder where RECORDING is one; it has NAME.txt for each recording")
        self._texts: dict[str, str] = {}
        self._flat: dict[str, Path] = {}  # the recording, below its folder, to which a text without sub-folder belongs
        super().__init__(args)

    def jobs(self) -> Iterator[Job | Unusable]:
        """Find the recordings, each with its text."""
        for one in super().jobs():
            if isinstance(one, Unusable):
                yield one
                continue
            try:
                self._texts[str(one.file)] = self._text_of(str(one.file))
            except InputError as error:
                yield Unusable(str(one.file), error)
            else:
                yield one

    def _text_of(self, file: str) -> str:
        if self.args.text is not None:
            return str(self.args.text)
        if not Path(self.args.recording).is_dir():
            return read_text(self.args.text_file)
        if self.args.text_file is None:
            return read_text(Path(file).with_suffix(".txt"))
        below = Path(file).relative_to(self.args.recording).with_suffix(".txt")
        beside, flat = Path(self.args.text_file) / below, Path(self.args.text_file) / below.name
        if beside != flat and not beside.exists():
            if (other := self._flat.setdefault(below.name, below)) != below:
                names = f"{printable(other.with_suffix(''))} and {printable(below.with_suffix(''))}"
                raise InputError(
                    f"`{flat}` must be the text of one recording, but would be that of {names} instead: give each its "
                    "own text, in sub-folders like those of the recordings."
                )
            return read_text(flat)
        return read_text(beside)

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `align_stream` is given beside recordings and texts."""
        known = super().stream_options()
        names = ("maps", "check", "batch_size", "strict", "speakers", *self.options)
        return {name: known[name] for name in names if name in known}

    def stream(self, pipeline: "Pipeline[Any]", jobs: Iterable[Job]) -> "Iterator[Transcript | Failure]":
        """Return the results for all recordings in order."""
        pairs = ((job.input, self._texts.pop(str(job.file))) for job in jobs)
        transcribe: Any = pipeline
        results: Iterator[Transcript | Failure] = transcribe.align_stream(pairs, **self.stream_options())
        return results

    def write(self, result: "Transcript", written: Written | None) -> None:
        """Write the text in time, in the format that was asked for."""
        if self.args.format == "text":
            self._write_name()
            for line in self._lines(result):
                self.report.result(line)
        super().write(result, written)

    def _lines(self, result: "Transcript") -> Iterator[str]:
        for segment in result.segments:
            lines = segment_lines(segment).split("\n")
            yield "\n".join(lines if self.args.words else lines[:1])
        for one in getattr(result, "not_written", ()):
            yield f"  {clock(one.start)} - {clock(one.end)}  not in the text: {printable(one.text)}"

    def remark(self, result: "AlignedTranscript") -> str | None:  # type: ignore[override]
        """Return how many words were not said, or None."""
        words = result.words
        count = sum("not_said" in word.flags for word in words)
        if not count or result.mismatch:
            return None
        return f"{result.file}: {count} of {len(words)} words of the text are not said"


def read_text(path: str | Path) -> str:
    """Read a text from a file, or from standard input where the path is "-".

    Raises:
        InputError: It cannot be read, or is no text.
    """
    name = "standard input" if str(path) == "-" else f"`{path}`"
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else read_bytes(Path(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name} must be a file with the recording's text, but cannot be read: {reason}.") from error
    try:
        return decode_text(data)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} must be text in UTF-8, but its byte {error.start} is none. Save it in this encoding."
        ) from error
