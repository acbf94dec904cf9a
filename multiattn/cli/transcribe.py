"""`multiattn transcribe`: what is said in each recording, when, and what did the model listen to for each word?"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..inputs.files import RECORDINGS
from ..writing import write_text
from .inputs import can_be_several
from .map_files import FreeNames, Written
from .options import (
    BAD_FILES,
    DEVICE,
    INPUTS,
    LOUDNESS,
    MAP_FILES,
    PRECISION,
    RECORDS,
    RESUME,
    STRICT,
    Option,
    Parser,
    UsageError,
    at_least_one,
    beams,
    listed_files,
    maps_of,
    model_of,
    not_blank,
    not_empty,
    out_file,
    paths_of,
    record_format,
)
from .output import make_folder, named_errors, printable
from .predict import Job, Predictor
from .records import FORMATS, Column

if TYPE_CHECKING:
    from ..pipelines import Failure, Segment, Transcript

_DESCRIPTION = """\
Write down what is said in recordings of any length, in the order of the
inputs, each segment as soon as it is ready. With --words, also says when each
word was spoken. With --maps, also writes what the model listened to for each
word: pictures, numbers, and pages that play the recording.
"""

_EPILOG = f"""\
files in the --maps folder, for a recording NAME.wav
  NAME.html         one self-contained page that plays the recording and
                    highlights the word being spoken; a click on a word plays it
  NAME.METHOD.png   the words over time, on a spectrogram
{MAP_FILES.format("recording")}
A long recording has a picture and numbers for each window of the model; those
of the second window are NAME.2.METHOD.png, and so on.

formats
  text      to read: start, end and text of each segment (default)
  json      an object for each recording, on one line (see below)
  srt, vtt  subtitles for a video or audio player, one for each segment. With
            --words, long segments are cut between words, to two lines of 42
            characters and 7 seconds, and pauses are left out; vtt then also
            says when each word is spoken
  textgrid  for Praat: a tier of the segments, and with --words one of the words
  ctm       for scoring tools: a line for each word, also without --words:
            recording, channel, start, duration, word, score
A segment is about a sentence. A file of srt, vtt or textgrid holds one
recording; for several PATHs, a folder or a pattern, --out names a folder for
the files NAME.srt, NAME.vtt or NAME.TextGrid of the recordings.

examples
  multiattn transcribe talk.mp3
  multiattn transcribe talk.mp3 --words --format srt --out talk.srt
  multiattn transcribe talks/ --words --format vtt --out subs/
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --prompt 'Zoe, Noah.'
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --language fr \\
      --task translate
  multiattn transcribe talk.mp3 --words --format json --maps out/

with --format json, each line is one object ("words" only with --words, "maps"
only with --maps, "language" only from models for several languages)
  {{"file": "talk.mp3", "text": "one two", "duration": 2.4, "language": "en",
   "segments": [{{"start": 0.0, "end": 2.4, "text": "one two", "score": 0.98,
                 "no_speech": 0.01, "temperature": 0.0, "flags": []}}, ...],
   "words": [{{"word": "one", "start": 0.3, "end": 0.8, "score": 0.99}}, ...],
   "flags": [], "maps": {{"attention": {{"html": "out/talk.html", "png": ...,
                         "npz": ..., "json": ...}}}}}}
Times are in seconds. score is the mean probability of the tokens (geometric for
a segment); no_speech is the probability that there is no speech, null for
models without it; temperature is above 0 where the most likely text failed a
check and another one was sampled. flags name what may be wrong: repeats (the
text repeats itself), stalled (the model's attention did not move on), backwards
(it moved back in time), silence (there was no sound), empty (the recording has
no samples at all).

{RECORDS.format("file, text, duration, language, flags, segments, words")}

{INPUTS.format("recording", "2 GiB")}

{BAD_FILES.format("recording")}
"""

_TRANSCRIPTS = ("srt", "vtt", "textgrid", "ctm")
_OF_ONE_RECORDING = {"srt": ".srt", "vtt": ".vtt", "textgrid": ".TextGrid"}


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(RECORDINGS, nargs="*"),
        listed_files(),
        model_of("transcribe"),
        Option("--words", action="store_true", help="say when each word was spoken, and how sure the model is"),
        Option(
            "--language",
            "CODE",
            not_empty,
            "the language spoken, such as en or fr; for models of several languages (default: detected)",
        ),
        Option(
            "--task",
            choices=("transcribe", "translate"),
            help="transcribe (default) writes in the language spoken; translate, in English, for models trained to do "
            "so",
        ),
        Option(
            "--prompt",
            "TEXT",
            not_blank,
            "text that came before, such as names and words to expect; for models that take it, such as Whisper",
        ),
        beams("beams of the search; 1 takes the most likely token each time (default: the model's own, or 5)"),
        record_format(*_TRANSCRIPTS),
        out_file("; for several recordings as srt, vtt or textgrid, FILE is the folder for their files"),
        RESUME,
        *maps_of("transcribe"),
        Option(
            "--batch-size",
            "N",
            at_least_one,
            "chunks of a recording computed at once. With 1, windows follow each other as in Whisper, each with the "
            "text before it; more is faster, and cuts the recording at its pauses (default: 1 for models that write "
            "timestamps, such as Whisper, 8 for others)",
        ),
        STRICT,
        DEVICE,
        PRECISION,
        *LOUDNESS,
        prog="multiattn transcribe",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


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
    options = ("language", "task", "prompt", "num_beams")
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
