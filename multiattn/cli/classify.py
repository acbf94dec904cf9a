"""`multiattn classify`: what is in these pictures, and where did the model look?"""

import argparse
import hashlib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ..inputs.files import PICTURES
from .arguments import Option, Parser, UsageError, at_least_one, finite, not_blank, not_empty
from .map_files import Written
from .map_options import CHECK, MAP_FILES, ON_PAGE, results_of
from .match import say_cut
from .options import BAD_FILES, INPUTS, MANY, RECORDS, listed_files, model_of, paths_of
from .output import listed, printable
from .predict import Predictor
from .questions_file import read_choices
from .records import Column, Record
from .result_lines import block, domain_line, score_line, verdict_lines
from .runtime import RUNTIME

if TYPE_CHECKING:
    from ..pipelines import ClassifyPipeline, ClassifyResult, MatchPipeline

_ALL = 2**31  # more labels than any model has
_FEW = 5  # names that a message lists

_DESCRIPTION = """\
Say what is in pictures. Prints the most likely labels of each with their
probabilities, in the order of the inputs, each as soon as it is ready. With
--maps, also writes where the model looked: pictures, numbers, and pages to
explore. The probabilities of a multi-label model are each for itself; a
regression gives values (`multiattn info M` says what the scores of M are).
"""

_EPILOG = f"""\
map methods
  attention         attention of the last layer, mean of its heads; the same for
                    every label
  rollout           attention followed back through all layers (Abnar & Zuidema
                    2020); the same for every label
  relevance         attention weighted by how much it raised the score of the
                    first label (Chefer et al. 2021)
  lrp               the contribution of each patch to that score, through every
                    operation (Achtibat et al. 2024); the most reliable one
  gradient_x_input  how the label's score changes with each pixel; uses no
                    attention, for comparison
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one self-contained page: the picture with the maps over it,
                    every layer and head, the value under the mouse
  NAME.METHOD.png   the map over the picture
{MAP_FILES.format("picture")}

{CHECK}

examples
  multiattn classify cat.jpg
  multiattn classify photos/ 'holiday/*.jpg' --top-k 1
  multiattn classify photos/ --only cat --only dog --threshold 0.8
  multiattn classify cat.jpg --maps out/ --map-method relevance,rollout
  multiattn classify cat.jpg --maps out/ --target cat --versus dog
  multiattn classify photos/ --labels 'a cat' 'a dog' 'an empty room'
  multiattn classify photos/ --format json --out results.jsonl \\
      --model timm/vit_base_patch16_224.augreg2_in21k_ft_in1k

with --format json, each line is one object ("maps" only with --maps)
  {{"file": "cat.jpg", "predictions": [{{"label": "cat", "score": 0.97}}, ...],
   "maps": {{"relevance": {{"html": "out/cat.html", "png": ..., "npz": ...,
                          "json": ...}}, ...}}}}
of a multi-label model, with "score_kind": "independent probability"; of a
regression, with "score_kind": "value"

{RECORDS.format("file, label, score, label_2, score_2, ... (as many as --top-k), score_kind")}

{INPUTS.format("picture", "256 MiB")}

{MANY.format("picture")}

{BAD_FILES.format("picture")}
A picture unlike the training pictures is marked, where the model states what it
was trained on: "out of domain" in a line there and in the text, "out_of_domain"
in JSON.
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(PICTURES, nargs="*"),
        listed_files(),
        model_of("classify"),
        Option(
            "--labels",
            "LABEL",
            not_blank,
            "labels of your own, for a model that matches pictures and texts (CLIP, SigLIP; default: match, the small "
            "one shipped with this package); after PATH, for it takes all that follows up to the next option",
            nargs="+",
            action="extend",
        ),
        Option("--labels-file", "FILE", not_empty, "the same, one label a line"),
        Option(
            "--template",
            "TEXT",
            not_blank,
            "with --labels: the text that a label is put into, with {} in its place (default: 'a photo of {}'); repeat "
            "it to average several",
            action="append",
        ),
        Option(
            "--top-k",
            "K",
            at_least_one,
            "labels to give for each picture (default: 5; with --threshold, all that reach it)",
        ),
        Option(
            "--threshold",
            "P",
            finite,
            "give only labels with at least this score: a probability from 0 to 1, or a value of a regression",
        ),
        Option(
            "--only",
            "LABEL",
            not_empty,
            "give only pictures with this label: it is their first, or, of a multi-label model, has at least the "
            "--threshold (default there: 0.5); repeat it for several labels",
            action="append",
        ),
        *results_of("classify"),
        RUNTIME,
        prog="multiattn classify",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Classify; return 0 where every input could be used."""
    return (ZeroShot if args.labels or args.labels_file else Classify)(args).run()


class Classify(Predictor["ClassifyResult"]):
    """One run of the command."""

    task = "classify"

    def __init__(self, args: argparse.Namespace) -> None:
        if args.template and not (args.labels or args.labels_file):
            raise UsageError("--template says what labels are put into, and needs --labels")
        super().__init__(args)

    def loaded(self, pipeline: Any) -> None:
        """Check `--threshold` and `--only` against the model's scores and labels."""
        model: ClassifyPipeline = pipeline
        threshold = self.args.threshold
        if threshold is not None and model.score_kind != "value" and not 0 <= threshold <= 1:
            raise UsageError(f"--threshold must be from 0 to 1 for this model, but is {threshold:g} instead")
        for name in self.args.only or ():
            if name not in model.labels:
                raise UsageError(
                    f"--only must be a label of the model, but is {name!r} instead: {_nearest(name, model)}"
                )

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs: all labels, where some are left out later."""
        filters = self.args.threshold is not None or self.args.only
        # the page has a map for each label that is shown, chosen by a click
        on_page = min(self._top_k, ON_PAGE) if self.args.maps and "html" in self.map_formats else 0
        found = super().stream_options()
        return found | {"top_k": _ALL if filters else self._top_k, "map_labels": on_page if on_page > 1 else 0}

    @property
    def _top_k(self) -> int:
        default = 5 if self.args.threshold is None else _ALL
        return default if self.args.top_k is None else int(self.args.top_k)

    def shown(self, result: "ClassifyResult") -> "ClassifyResult | None":
        """Return the labels that reach `--threshold`; None for a picture without a label of `--only`."""
        threshold = self.args.threshold
        if self.args.only:
            from ..pipelines.image_results import LIKELY

            if result.score_kind == "independent probability":
                least = LIKELY if threshold is None else threshold
                found = [one.label for one in result.predictions if one.score >= least]
            else:
                found = [one.label for one in result.narrowed(threshold=threshold, top_k=1).predictions]
            if not set(found) & set(self.args.only):
                return None
        return result.narrowed(threshold=threshold, top_k=self._top_k)

    def table(self) -> list[Column]:
        """Return `label`, `score`, for further labels `label_2`, `score_2` ..., up to --top-k; `score_kind`."""
        pairs = ((Column(f"label{end}"), Column(f"score{end}", is_number=True)) for end in self._ends)
        return [*(column for pair in pairs for column in pair), Column("score_kind")]

    @property
    def _ends(self) -> list[str]:
        return ["", *(f"_{number}" for number in range(2, (self.args.top_k or 5) + 1))]

    def flat(self, record: Record) -> Record:
        """Add the columns of `table`."""
        predictions = record.get("predictions")
        if isinstance(predictions, list):
            for end, one in zip(self._ends, predictions, strict=False):
                record |= {f"label{end}": one["label"], f"score{end}": one["score"]}
            record.setdefault("score_kind", "probability")
        return record

    @staticmethod
    def as_text(result: "ClassifyResult", written: Written | None) -> str:
        """Return the file, its labels, and the path of the page."""
        if result.score_kind == "value":
            scores = [f"{one.score:+.4g}" for one in result.predictions]
            width = max((6, *map(len, scores)))
            lines = [
                f"{score:>{width}}  {printable(one.label)}"
                for score, one in zip(scores, result.predictions, strict=True)
            ]
        else:
            lines = [score_line(one.score, one.label) for one in result.predictions]
        lines = lines or ["no label reaches the threshold"]
        return block(str(result.file), [*lines, *verdict_lines(result), *domain_line(result)], written)


class ZeroShot(Classify):
    """One run of the command with labels of the user's own."""

    task = "match"

    def __init__(self, args: argparse.Namespace) -> None:
        if args.labels and args.labels_file:
            raise UsageError("--labels and --labels-file both say what the labels are; give one")
        if args.labels and not args.paths and not args.files:
            raise UsageError(
                "the following arguments are required: PATH, before --labels, which takes all that follows"
            )
        super().__init__(args)
        self._labels: list[str] = args.labels or read_choices(args.labels_file, option="--labels-file", one="label")

    def opened(self, pipeline: Any) -> Any:
        """Return the classifier of the labels, and say which prompts are longer than the model reads."""
        match: MatchPipeline = pipeline
        template = {"template": self.args.template} if self.args.template else {}
        classifier = match.zero_shot(self._labels, **template)
        say_cut(classifier.texts, quiet=self._quiet or self._is_worker)
        return classifier

    def _settings(self) -> dict[str, str]:
        settings = super()._settings()
        if self.args.labels_file:
            settings["--labels-file"] = hashlib.sha256("\n".join(self._labels).encode()).hexdigest()[:16]
        return settings


def _nearest(name: str, model: "ClassifyPipeline") -> str:
    """Return the labels that look most like a name, as a hint."""
    plain = {label.casefold(): label for label in model.labels}
    if near := get_close_matches(name.casefold(), plain, n=1):
        return f"did you mean {plain[near[0]]!r}?"
    return f"its {len(model.labels)} labels are {listed(model.labels, _FEW)}"
