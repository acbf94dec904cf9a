"""`multiattn classify`: what is in these pictures, and where did the model look?"""

import argparse
from typing import TYPE_CHECKING

from ..inputs.files import PICTURES
from .map_files import Written
from .options import BAD_FILES, MAP_FILES, Option, Parser, at_least_one, model_of, paths_of, results_of
from .predict import Predictor, block, domain_line, score_line

if TYPE_CHECKING:
    from ..pipelines import ClassifyResult

_DESCRIPTION = """\
Say what is in pictures. Prints the most likely labels of each with their
probabilities, in the order of the inputs, each as soon as it is ready. With
--maps, also writes where the model looked: pictures, numbers, and pages to
explore.
"""

_EPILOG = f"""\
map methods
  attention         attention of the last layer, mean of its heads; the same for
                    every label
  rollout           attention followed back through all layers (Abnar & Zuidema
                    2020); the same for every label
  relevance         attention weighted by how much it raised the score of the
                    first label (Chefer et al. 2021)
  gradient_x_input  how the label's score changes with each pixel; uses no
                    attention, for comparison
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one self-contained page: the picture with the maps over it,
                    every layer and head, the value under the mouse
  NAME.METHOD.png   the map over the picture
{MAP_FILES.format("picture")}

examples
  multiattn classify cat.jpg
  multiattn classify photos/ 'holiday/*.jpg' --top-k 1
  multiattn classify cat.jpg --maps out/ --map-method relevance,rollout
  multiattn classify photos/ --format json --out results.jsonl \\
      --model timm/vit_base_patch16_224.augreg2_in21k_ft_in1k

with --format json, each line is one object ("maps" only with --maps)
  {{"file": "cat.jpg", "predictions": [{{"label": "cat", "score": 0.97}}, ...],
   "maps": {{"relevance": {{"html": "out/cat.html", "png": ..., "npz": ...,
                          "json": ...}}, ...}}}}

{BAD_FILES.format("picture")}
A picture unlike the training pictures is marked, where the model states what it
was trained on: "out of domain" in a line there and in the text, "out_of_domain"
in JSON.
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(PICTURES),
        model_of("classify"),
        Option("--top-k", "K", at_least_one, "labels to give for each picture (default: 5)", 5),
        *results_of("classify"),
        prog="multiattn classify",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Classify; return 0 where every input could be used."""
    return Classify(args).run()


class Classify(Predictor["ClassifyResult"]):
    """One run of the command."""

    task = "classify"
    options = ("top_k",)

    @staticmethod
    def as_text(result: "ClassifyResult", written: Written | None) -> str:
        """Return the file, its labels, and the path of the page."""
        lines = [score_line(prediction.score, prediction.label) for prediction in result.predictions]
        return block(str(result.file), [*lines, *domain_line(result)], written)
