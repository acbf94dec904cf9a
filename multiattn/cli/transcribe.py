"""`multiattn transcribe`: what is said in each recording, when, and what did the model listen to for each word?"""

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import MultiattnError
from ..inputs.files import RECORDINGS
from .inputs import (
    BAD_FILES,
    MAP_FILES,
    add_maps,
    add_out,
    add_paths,
    can_be_several,
    find_inputs,
    status,
    why_not_replace,
)
from .map_files import FreeNames, MapFiles, Written
from .options import SPEECH_METHODS, Parser, add_device, add_map_method, add_model, at_least_one, not_blank, not_empty
from .output import Report, make_folder, printable, say, spinner

if TYPE_CHECKING:
    from ..pipelines import Segment, Transcript

_DESCRIPTION = """\
Write down what is said in recordings of any length, in the order of the
inputs, each piece as soon as it is ready. With --words, says when each word was
spoken. With --maps, also writes what the model listened to for each word:
pictures, numbers, and pages that play the recording.
"""

_EPILOG = f"""\
files in the --maps folder, for a recording NAME.wav
  NAME.html         one page, complete in itself: plays the recording; the word
                    being spoken lights up, a click on a word plays it
  NAME.METHOD.png   the words over the time, on the picture of the sound
{MAP_FILES.format("recording")}
A long recording has pictures and numbers for each of its windows; those of the
second are NAME.2.METHOD.png, and so on.

formats
  text      to read: when each piece begins and ends, and what is said (default)
  json      an object for each recording, on one line (see below)
  srt, vtt  subtitles for a video or audio player, one for each piece. With
            --words, pieces that are too long to read are cut between words, to
            two lines of 42 characters and 7 seconds, and pauses are left out;
            vtt then also says when each word is spoken
  textgrid  for Praat: a tier of the pieces, and with --words one of the words
  ctm       for scoring tools: a line for each word, --words or not: recording,
            channel, start, duration, word, score
A piece is what the model writes at once, a sentence or so. A file of srt, vtt
or textgrid holds one recording. For several PATHs, a folder or a pattern, --out
therefore names a folder, in which recording NAME gets its file: NAME.srt,
NAME.vtt or NAME.TextGrid.

examples
  multiattn transcribe talk.mp3
  multiattn transcribe talk.mp3 --words --format srt --out talk.srt
  multiattn transcribe talks/ --words --format vtt --out subs/
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --prompt 'Zoe, Noah.'
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --language fr \\
      --task translate
  multiattn transcribe talk.mp3 --words --format json --maps out/

with --format json, each line is one object ("words" only with --words, "maps"
only with --maps, "language" only of models for several)
  {{"file": "talk.mp3", "text": "one two", "duration": 2.4, "language": "en",
   "segments": [{{"start": 0.0, "end": 2.4, "text": "one two", "score": 0.98,
                 "no_speech": 0.01, "temperature": 0.0, "flags": []}}, ...],
   "words": [{{"word": "one", "start": 0.3, "end": 0.8, "score": 0.99}}, ...],
   "flags": [], "maps": {{"attention": {{"html": "out/talk.html", "png": ...,
                         "npz": ..., "json": ...}}}}}}
Segments are the pieces. Times are in seconds; score is the mean probability of
the tokens (geometric for a segment); no_speech is how likely nobody speaks,
null for models that cannot say; temperature is above 0 where the likeliest text
did not hold, and another was drawn. Flags name what may be wrong: repeats (the
text goes round in circles), stalled (the model's attention stood still),
backwards (it ran back in time), silence (nothing was to be heard).

{BAD_FILES.format("recording")}
"""

_WRITTEN = ("text", "json", "srt", "vtt", "textgrid", "ctm")
_OF_ONE = {"srt": ".srt", "vtt": ".vtt", "textgrid": ".TextGrid"}  # formats that hold one recording, and their suffix


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn transcribe", description=_DESCRIPTION, epilog=_EPILOG)
    add_paths(parser, RECORDINGS)
    add_model(parser, task="transcribe")
    parser.add_argument("--words", action="store_true", help="say when each word was spoken, and how sure the model is")
    parser.add_argument(
        "--language",
        metavar="CODE",
        type=not_empty,
        help="what is spoken, such as en or fr; for models of several languages (default: what the model hears)",
    )
    parser.add_argument(
        "--task",
        choices=("transcribe", "translate"),
        help="transcribe (default) writes what is said in its own language; translate, in English, for models that "
        "were trained to",
    )
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        type=not_blank,
        help="text that came before, such as names and words to expect; for models with a token for it, as Whisper",
    )
    parser.add_argument(
        "--beams",
        dest="num_beams",
        metavar="N",
        type=at_least_one,
        help="texts that the search keeps at once; 1 takes the likeliest token each time (default: the model's own, "
        "or 5)",
    )
    parser.add_argument(
        "--format",
        choices=_WRITTEN,
        default="text",
        help="how the results are written (see below; default: text)",
    )
    add_out(parser, more="; of several recordings as srt, vtt or textgrid, the folder for their files")
    add_maps(parser)
    add_map_method(parser, methods=SPEECH_METHODS, default="attention")
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=at_least_one,
        help="stretches of a recording computed at once. 1 goes through it in order, as Whisper does, each stretch "
        "knowing the text before it; more is quicker, and cuts it at its pauses (default: 1 for models that write "
        "times, such as Whisper, 8 for others)",
    )
    add_device(parser)
    return parser


_OPTIONS = ("words", "language", "task", "prompt", "num_beams", "batch_size")


def run(args: argparse.Namespace) -> int:
    """Transcribes; returns 0 when every input could be used."""
    if args.map_method and not args.maps:
        parser().error("--map-method says how to make maps, and needs --maps DIR to say where to")
    apart = args.format in _OF_ONE and can_be_several(args.paths)
    if apart and not args.out:
        parser().error(
            f"--format {args.format} holds one recording; for several, --out DIR says in which folder each is written"
        )
    methods = (args.map_method or [args.default_method]) if args.maps else None
    options = {name: getattr(args, name) for name in _OPTIONS}
    options["words"] = args.words or args.format == "ctm"  # which has nothing but words
    with spinner("loading the model"):
        import multiattn

        recordings, unusable = find_inputs(args.paths, RECORDINGS)
        if args.out and not apart and (reason := why_not_replace(args.out, recordings, RECORDINGS)):
            parser().error(f"--out {args.out} {reason}")
        for error in unusable:
            say(str(error))
        if not recordings:
            return 1
        folder = _Folder(args.out, args.format) if apart else None
        map_files = MapFiles(args.maps) if args.maps else None
        pipeline = multiattn.load(args.model, task="transcribe", device=args.device)
    failures = len(unusable)
    with Report(len(recordings), out=None if apart else args.out, doing="transcribing") as report:
        lines = _Lines(report, [str(recording) for recording in recordings])
        heard = lines.add if args.format == "text" else None
        for result in pipeline.stream(recordings, maps=methods, on_segment=heard, **options):
            if result.error is not None:
                failures += 1
                lines.next()
                report.message(str(result.error))
            else:
                written = map_files.write(result) if map_files and result.maps else None
                if args.format == "text":
                    lines.end(result, written)
                else:
                    report.result(folder.write(result) if folder else as_format(args.format, result, written))
            report.advance()
    return status(failures, len(unusable) + len(recordings))


class _Lines:
    """Writes the lines of each recording as they are ready: its name, its segments, and what is said at its end."""

    def __init__(self, report: Report, files: Iterable[str]) -> None:
        self._report, self._files = report, iter(files)
        self.next()

    def next(self) -> None:
        """What follows is of the next recording."""
        self._file, self._named = next(self._files, ""), False

    def add(self, segment: "Segment") -> None:
        """A segment is ready."""
        self._name()
        self._report.result(segment_lines(segment))

    def end(self, result: "Transcript", written: Written | None) -> None:
        """A recording is done."""
        self._name()
        if not result.segments:
            self._report.result("  nothing is said")
        if written:
            self._report.result(f"    maps  {printable(written.page)}")
        self.next()

    def _name(self) -> None:
        if not self._named:
            self._report.result(printable(self._file))
            self._named = True


class _Folder:
    """Writes each transcript to a file of its own, in a folder."""

    def __init__(self, directory: str, kind: str) -> None:
        self._directory, self._kind = make_folder(directory, subject=f"--out {directory}"), kind
        self._names = FreeNames()

    def write(self, result: "Transcript") -> str:
        """Writes one, and says where it lies."""
        file = self._directory / f"{self._names.of(str(result.file))}{_OF_ONE[self._kind]}"
        try:
            file.write_text(as_format(self._kind, result, None) + "\n", encoding="utf-8")
        except OSError as error:
            raise MultiattnError(f"--out {file}: cannot be written: {error.strerror}") from None
        return printable(file)


def as_format(kind: str, result: "Transcript", written: Written | None) -> str:
    """A whole transcript in one of the formats but text, without the line's end at its end."""
    if kind == "json":
        return json.dumps({"file": result.file, **result.to_dict()} | ({"maps": written.by_method} if written else {}))
    return result.formatted(kind).removesuffix("\n")


def segment_lines(segment: "Segment") -> str:
    """From when to when, what, and what may be wrong with it; below it its words, where their times are known."""
    flags = f"  [{', '.join(segment.flags)}]" if segment.flags else ""
    lines = [f"  {clock(segment.start)} - {clock(segment.end)}  {printable(segment.text.strip())}{flags}"]
    for word in segment.words:
        lines.append(f"    {clock(word.start)} - {clock(word.end)}  {word.score:6.1%}  {printable(word.text.strip())}")
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """`0:02.35`, and `1:00:02.35` from an hour on."""
    hundredths = round(100 * seconds)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{rest // 100:02}.{rest % 100:02}"
