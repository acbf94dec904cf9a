"""`multiattn demo`: pictures classified, captioned and asked about, recordings transcribed, and pages of attention."""

import argparse
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..resources import shipped
from .options import ANSWER_METHODS, MAP_METHODS, SPEECH_METHODS, WORD_METHODS, Parser, add_model, not_empty
from .output import Report, make_folder, printable, say, spinner

if TYPE_CHECKING:
    from ..export import IndexEntry, RecordingEntry
    from ..pipelines import Answer, Failure, Transcript

_DESCRIPTION = """\
Classify and caption a few pictures, answer questions about drawn scenes,
transcribe recordings, and write pages that show where the models looked. Needs
no network: the drawn pictures and the recordings, which a synthesizer speaks,
come with this package, the photographs with scikit-image (pip install
'multiattn[demo]'; without it, only the drawn ones are done).
"""

_EPILOG = """\
examples
  multiattn demo
  multiattn demo --out pages/ --model runs/mine/model
  multiattn demo --captioner runs/my-captions/model
  multiattn demo --answerer runs/my-answers/model
  multiattn demo --recognizer runs/my-digits/model
"""

_FEW = 20  # labels of a model whose labels can be told in a line
_LABEL_WIDTH = 20  # characters; a longer label moves what follows
_ON_INDEX = "relevance"  # the method whose map lies over the thumbnails: it explains what stands below them

# name -> file in scikit-image's data folder; those that its wheel holds, so that no network is asked
_PHOTOGRAPHS = {
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "astronaut": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}

# name of a drawn scene -> what is asked about it
_QUESTIONS = {
    "scene": (
        "what color is the large circle?",
        "how many circles are there?",
        "is there a blue square?",
        "is the cross left of the blue square?",
    ),
    "scene_count": (
        "how many red objects are there?",
        "is there a yellow circle?",
        "what shape is the small red object?",
    ),
}


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn demo", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--out", metavar="DIR", type=not_empty, default="demo", help="where to write the pages (default: demo)"
    )
    add_model(parser)
    add_model(parser, task="caption", option="--captioner")
    add_model(parser, task="answer", option="--answerer")
    add_model(parser, task="transcribe", option="--recognizer")
    return parser


def run(args: argparse.Namespace) -> int:
    """Classifies, captions, answers and transcribes, and writes the pages; returns 0 when all went well."""
    photographs_there = photographs()
    if len(photographs_there) < len(_PHOTOGRAPHS):
        missing = [name for name in _PHOTOGRAPHS if name not in photographs_there]
        say(
            f"without the photographs {', '.join(missing)}: pip install 'multiattn[demo]' brings them with scikit-image"
        )
    pictures, asked, spoken = photographs_there | drawn_pictures(), scenes(), recordings()
    if not pictures or not asked or not spoken:
        raise InputError(
            f"{shipped('inputs')} must hold the drawn pictures and the recordings, but some are missing instead: "
            "install again"
        )
    with spinner("loading the models"):
        import multiattn

        from ..export import write_index

        out = make_folder(args.out, subject=f"--out {args.out}")
        classifier = multiattn.load(args.model, task="classify")
        captioner = multiattn.load(args.captioner, task="caption")
        answerer = multiattn.load(args.answerer, task="answer")
        recognizer = multiattn.load(args.recognizer, task="transcribe")
    if len(classifier.labels) <= _FEW:
        say(
            f"the classifier knows only {', '.join(classifier.labels)}: "
            "a picture of anything else is given the label that comes nearest"
        )
    if args.captioner == "caption":
        say(
            "the captioner knows photographs of people and dogs out of doors: "
            "of anything else it says what comes nearest"
        )
    if args.recognizer == "transcribe":
        say("the recognizer knows the ten digits: anything else it hears is written as those that come nearest")
    pages = _Pages(out, width=max(map(len, [*pictures, *asked, *spoken])))
    with Report(2 * len(pictures) + len(asked) + len(spoken), doing="looking") as report:
        labeled = classifier.stream(pictures.values(), maps=_first(_ON_INDEX, MAP_METHODS), batch_size=2)
        for name, result in zip(pictures, labeled, strict=True):
            pages.add(report, name, result, suffix="", text=lambda result: result.label)
        written = captioner.stream(pictures.values(), maps=_first(_ON_INDEX, WORD_METHODS), batch_size=2)
        for name, result in zip(pictures, written, strict=True):
            pages.add(report, name, result, suffix=".caption", text=lambda result: result.text)
        questions = [(file, _QUESTIONS[name]) for name, file in asked.items()]
        answered = answerer.stream(questions, maps=_first(_ON_INDEX, ANSWER_METHODS))
        for name, (_, of_scene) in zip(asked, questions, strict=True):
            pages.add_answers(report, name, list(islice(answered, len(of_scene))))
        heard = recognizer.stream(spoken.values(), maps=SPEECH_METHODS)
        for name, result in zip(spoken, heard, strict=True):
            pages.add_recording(report, name, result)
    index = out / "index.html"
    write_index(index, pages.entries, title="Where the models looked")
    say("each picture and recording has pages with its maps; open this one first:")
    print(printable(index))
    return 1 if pages.failures else 0


class _Pages:
    """Writes a page for each result, and keeps what the index needs."""

    def __init__(self, out: Path, *, width: int) -> None:
        self.entries: list[IndexEntry | RecordingEntry] = []
        self.failures = 0
        self._out, self._width = out, width

    def add(self, report: Report, name: str, result: Any, *, suffix: str, text: Callable[[Any], str]) -> None:
        """Writes the page of a result; one that could not be had is named and counted."""
        from ..export import IndexEntry

        if result.error is not None:
            self.failures += 1
            report.message(str(result.error))
        else:
            said, where = printable(text(result)), ""
            if result.maps:  # a caption without words has none
                page = self._out / f"{name}{suffix}.html"
                result.save_html(page)
                where = printable(page)
                shown = result.maps[0]
                self.entries.append(IndexEntry(shown.picture, name, page.name, said, result.score, shown.map))
            report.result(f"{name:{self._width}}  {result.score:6.1%}  {said:{_LABEL_WIDTH}}  {where}")
        report.advance()

    def add_answers(self, report: Report, name: str, results: "Sequence[Answer | Failure]") -> None:
        """Writes one page for all questions about a picture; what could not be had is named, once, and counted."""
        from ..export import IndexEntry
        from ..pipelines import save_answers

        answers = [result for result in results if result.error is None]
        has_page = any(answer.maps for answer in answers)
        page = self._out / f"{name}.html"
        if has_page:
            save_answers(answers, page)
        for message in dict.fromkeys(str(result.error) for result in results if result.error is not None):
            self.failures += 1
            report.message(message)
        for number, result in enumerate(answers, 1):
            where = printable(page) if has_page else ""
            if result.maps:  # an answer without words has none
                at = f"{page.name}#question-{number}"
                first = result.maps[0]
                self.entries.append(
                    IndexEntry(
                        first.picture, name, at, printable(result.answer), result.score, first.map, result.question
                    )
                )
            said = printable(f"{result.question} {result.answer}")
            report.result(f"{name:{self._width}}  {result.score:6.1%}  {said:{_LABEL_WIDTH}}  {where}")
        report.advance()

    def add_recording(self, report: Report, name: str, result: "Transcript | Failure") -> None:
        """Writes the page of a transcript; one that could not be had is named and counted."""
        from ..export import RecordingEntry

        if result.error is not None:
            self.failures += 1
            report.message(str(result.error))
        else:
            said, where = printable(result.text), ""
            if result.maps:  # a transcript without words has none
                page = self._out / f"{name}.html"
                result.save_html(page)
                where = printable(page)
                shown = result.maps[0]
                self.entries.append(RecordingEntry(shown.samples, shown.rate, name, page.name, said, shown.map))
            report.result(f"{name:{self._width}}  {result.duration:5.1f}s  {said:{_LABEL_WIDTH}}  {where}")
        report.advance()


def _first(method: str, methods: Sequence[str]) -> tuple[str, ...]:
    """All methods, and this one first: a page opens with it."""
    return (method, *(other for other in methods if other != method))


def drawn_pictures() -> dict[str, Path]:
    """The drawn pictures that come with the package, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png")) if path.stem not in _QUESTIONS}


def scenes() -> dict[str, Path]:
    """The drawn scenes that come with the package and are asked about, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png")) if path.stem in _QUESTIONS}


def recordings() -> dict[str, Path]:
    """The recordings that come with the package, by name: digits, spoken by a synthesizer."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.flac"))}


def photographs() -> dict[str, Path]:
    """The photographs that scikit-image's wheel brings, by name; none where it is not installed."""
    package = find_spec("skimage")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        return {}
    folder = Path(package.submodule_search_locations[0]) / "data"
    return {name: folder / file for name, file in _PHOTOGRAPHS.items() if (folder / file).is_file()}
