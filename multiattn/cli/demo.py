"""`multiattn demo`: pictures classified and captioned, scenes asked about, recordings transcribed, with their maps.

Each input gets a page with its maps, and an index links them. The shipped models are small: each is shown what it has
learned, and a photograph or two outside of it, marked as such. Models of the user's own are shown everything.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputError
from ..registry import task_spec
from ..resources import shipped
from .options import Parser, add_model, model_or_shipped, not_empty
from .output import Report, make_folder, printable, say, spinner

if TYPE_CHECKING:
    from ..export import IndexEntry, RecordingEntry
    from ..pipelines import Answer, CaptionResult, ClassifyResult, Failure, Result, Transcript

_DESCRIPTION = """\
Classify pictures, answer questions about drawn scenes, transcribe recordings
and caption photographs, and write pages that show where the models looked.
Needs no network: the drawn pictures and the recordings, which a synthesizer
speaks, come with this package, the photographs with scikit-image (pip install
'multiattn[demo]'; without it, only the drawn pictures are used).

The models shipped with this package are small. They are shown what they have
learned, and a photograph or two that is outside of it, marked as such. A model
of your own is shown all pictures.
"""

_EPILOG = """\
examples
  multiattn demo
  multiattn demo --out pages/ --model runs/mine/model
  multiattn demo --captioner runs/my-captions/model
  multiattn demo --answerer runs/my-answers/model
  multiattn demo --recognizer runs/my-digits/model
"""

_FEW = 20  # the most labels that are listed in a message
_LABEL_WIDTH = 20  # characters; a longer label moves what follows
_ON_INDEX = "relevance"  # the method whose map is on the thumbnails: it explains the prediction below them

# name -> file in scikit-image's data folder; only those in its wheel, so that no network is needed
_PHOTOGRAPHS = {
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "astronaut": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}

# task -> the photographs that a shipped model is shown, and how they are marked where it has not learned such
_SHOWN = {
    "classify": {"cat": "", "astronaut": "not one of its ten classes: "},
    "caption": {"astronaut": "not outdoors: ", "cat": "not people or dogs: "},
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

# option -> task
_MODELS = {"model": "classify", "answerer": "answer", "recognizer": "transcribe", "captioner": "caption"}

_Result = TypeVar("_Result", bound="Result")
_Pictured = TypeVar("_Pictured", "ClassifyResult", "CaptionResult")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn demo", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--out", metavar="DIR", type=not_empty, default="demo", help="where to write the pages (default: demo)"
    )
    for option, task in _MODELS.items():
        add_model(parser, task, f"--{option}")
    parser.add_argument("--recogniser", dest="recognizer", type=not_empty, help=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace) -> int:
    """Classify, answer, transcribe and caption, and write the pages; return 0 where everything could be used."""
    found = photographs()
    if missing := [name for name in _PHOTOGRAPHS if name not in found]:
        say(
            f"without the photographs {', '.join(missing)}: pip install 'multiattn[demo]' brings them with scikit-image"
        )
    drawn, asked, spoken = drawn_pictures(), scenes(), recordings()
    if not drawn or not asked or not spoken:
        raise InputError(
            f"{shipped('inputs')} must hold the drawn pictures and the recordings, but some are missing instead: "
            "install again"
        )
    names = {task: model_or_shipped(getattr(args, option), task, f"--{option} ") for option, task in _MODELS.items()}
    pictures = found | drawn
    labeled, captioned = (_marks(task, names[task], found, drawn) for task in ("classify", "caption"))
    with spinner("loading the models"):
        import multiattn

        from ..export import write_index

        pages = _Pages(args.out, width=max(map(len, [*pictures, *asked, *spoken])))
        classify = multiattn.load(names["classify"], task="classify")
        answer = multiattn.load(names["answer"], task="answer")
        transcribe = multiattn.load(names["transcribe"], task="transcribe")
        caption = multiattn.load(names["caption"], task="caption")
    if names["classify"] != "classify" and len(classify.labels) <= _FEW:
        say(
            f"the classifier knows only {', '.join(classify.labels)}: "
            "a picture of anything else is given the label that comes nearest"
        )
    total = len(labeled) + len(asked) + len(spoken) + len(captioned)
    with Report(total, doing="looking") as pages.report:
        predictions = classify.stream([pictures[name] for name in labeled], maps=_maps("classify"), batch_size=2)
        for (name, mark), prediction in zip(labeled.items(), predictions, strict=True):
            pages.add_prediction(name, prediction, lambda one: one.label, page=f"{name}.html", mark=mark)
        questions = [(file, _QUESTIONS[name]) for name, file in asked.items()]
        answers = answer.stream(questions, maps=_maps("answer"))
        for name, (_, texts) in zip(asked, questions, strict=True):
            pages.add_answers(name, list(islice(answers, len(texts))))
        transcripts = transcribe.stream(spoken.values(), maps=_maps("transcribe"))
        for name, transcript in zip(spoken, transcripts, strict=True):
            pages.add_recording(name, transcript)
        captions = caption.stream([pictures[name] for name in captioned], maps=_maps("caption"), batch_size=2)
        for (name, mark), sentence in zip(captioned.items(), captions, strict=True):
            pages.add_prediction(name, sentence, lambda one: one.text, page=f"{name}.caption.html", mark=mark)
    index = pages.out / "index.html"
    write_index(index, pages.entries, title="Where the models looked")
    say("each picture and recording has pages with its maps; open this one first:")
    print(printable(index))
    return 1 if pages.failures else 0


class _Pages:
    """Writes a page for each input, and keeps what the index needs.

    Args:
        out: The folder, made where it is missing.
        width: The width of the longest name, in characters.
    """

    report: Report

    def __init__(self, out: str, *, width: int) -> None:
        self.out = make_folder(out, subject=f"--out {out}")
        self.entries: list[IndexEntry | RecordingEntry] = []
        self.failures = 0
        self._width = width

    def add_prediction(
        self, name: str, result: "_Pictured | Failure", said: Callable[[_Pictured], str], *, page: str, mark: str
    ) -> None:
        """Add a classified or captioned picture; `mark` is put before what the model said of it."""
        from ..export import IndexEntry

        def entry(result: _Pictured, link: str) -> IndexEntry:
            shown = result.maps[0]
            return IndexEntry(shown.picture, name, link, mark + printable(said(result)), result.score, shown.map)

        for one, where in self._add(page, [result], lambda done, path: done[0].save_html(path), entry):
            self._line(name, f"{one.score:6.1%}", mark + printable(said(one)), where)

    def add_answers(self, name: str, results: "Sequence[Answer | Failure]") -> None:
        """Add one page for all questions about a picture."""
        from ..export import IndexEntry
        from ..pipelines import save_answers

        def entry(result: "Answer", link: str) -> IndexEntry:
            first = result.maps[0]
            answer = printable(result.answer)
            return IndexEntry(first.picture, name, link, answer, result.score, first.map, result.question)

        for one, where in self._add(f"{name}.html", results, save_answers, entry, anchor="#question-{}"):
            self._line(name, f"{one.score:6.1%}", printable(f"{one.question} {one.answer}"), where)

    def add_recording(self, name: str, result: "Transcript | Failure") -> None:
        """Add a transcribed recording."""
        from ..export import RecordingEntry

        def entry(result: "Transcript", link: str) -> RecordingEntry:
            shown = result.maps[0]
            return RecordingEntry(shown.samples, shown.rate, name, link, printable(result.text), shown.map)

        for one, where in self._add(f"{name}.html", [result], lambda done, path: done[0].save_html(path), entry):
            self._line(name, f"{one.duration:5.1f}s", printable(one.text), where)

    def _add(
        self,
        page: str,
        results: "Sequence[_Result | Failure]",
        save: Callable[[Sequence[_Result], Path], None],
        entry: "Callable[[_Result, str], IndexEntry | RecordingEntry]",
        *,
        anchor: str = "",
    ) -> Iterable[tuple[_Result, str]]:
        """Write the page of an input, and name and count what could not be used.

        Args:
            page: The file's name.
            results: All for the input.
            save: Writes the page.
            entry: Makes the card of the index from a result and the link to it.
            anchor: What follows the page in the link, with {} for the number of the result.

        Returns:
            The results that there are, each with the path of the page; empty where they have no words and so no maps.
        """
        good = [result for result in results if result.error is None]
        for message in dict.fromkeys(str(result.error) for result in results if result.error is not None):
            self.failures += 1
            self.report.message(message)
        path = self.out / page
        has_page = any(result.maps for result in good)
        if has_page:
            save(good, path)
        for number, result in enumerate(good, 1):
            if result.maps:
                self.entries.append(entry(result, page + anchor.format(number)))
        self.report.advance()
        return [(result, printable(path) if has_page else "") for result in good]

    def _line(self, name: str, measure: str, said: str, where: str) -> None:
        self.report.result(f"{name:{self._width}}  {measure}  {said:{_LABEL_WIDTH}}  {where}")


def _marks(task: str, model: str, photos: Iterable[str], drawn: Iterable[str]) -> dict[str, str]:
    """Return the names of the pictures that a model is shown, each with the mark to put before what it says of it."""
    if model != task:
        return dict.fromkeys([*photos, *drawn], "")
    marks = {name: mark for name, mark in _SHOWN[task].items() if name in photos}
    known = [name for name, mark in marks.items() if not mark] + [*drawn] * (task == "classify")
    return dict.fromkeys(known, "") | marks  # the drawn pictures are of the shipped classifier's classes


def _maps(task: str) -> list[str]:
    """Return all map methods of a task; first the one of the index, with which a page opens."""
    return sorted(task_spec(task).map_methods, key=lambda method: method != _ON_INDEX)


def drawn_pictures() -> dict[str, Path]:
    """Return the drawn pictures that come with the package, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png")) if path.stem not in _QUESTIONS}


def scenes() -> dict[str, Path]:
    """Return the drawn scenes that come with the package and are asked about, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png")) if path.stem in _QUESTIONS}


def recordings() -> dict[str, Path]:
    """Return the recordings that come with the package, by name: digits, spoken by a synthesizer."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.flac"))}


def photographs() -> dict[str, Path]:
    """Return the photographs in scikit-image's wheel, by name; none where it is not installed."""
    package = find_spec("skimage")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        return {}
    folder = Path(package.submodule_search_locations[0]) / "data"
    return {name: folder / file for name, file in _PHOTOGRAPHS.items() if (folder / file).is_file()}
