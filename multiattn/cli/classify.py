"""`multiattn classify`: what is in these pictures, and where did the model look?"""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .map_files import Written
from .options import BAD_FILES, MAP_FILES, Parser, add_model, add_paths, add_results, at_least_one
from .predict import Job, Predictor, block, score_line

if TYPE_CHECKING:
    from ..pipelines import ClassifyResult, Failure

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
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn classify", description=_DESCRIPTION, epilog=_EPILOG)
    add_paths(parser)
    add_model(parser, "classify")
    parser.add_argument(
        "--top-k", metavar="K", type=at_least_one, default=5, help="labels to give for each picture (default: 5)"
    )
    add_results(parser, "classify")
    return parser


def run(args: argparse.Namespace) -> int:
    """Classify; return 0 where every input could be used."""
    return Classify(args).run()


class Classify(Predictor["ClassifyResult"]):
    """One run of the command."""

    task = "classify"

    def results(self, jobs: Sequence[Job]) -> "Iterator[ClassifyResult | Failure]":
        """Load the model, and return the results for all jobs in order, computed as they are taken."""
        import multiattn

        args = self.args
        pipeline = multiattn.load(args.model, task="classify", device=args.device)
        files = [job.file for job in jobs]
        return pipeline.stream(files, top_k=args.top_k, maps=self.methods, batch_size=args.batch_size)

    @staticmethod
    def as_text(result: "ClassifyResult", written: Written | None) -> str:
        """Return the file, its labels, and the path of the page."""
        lines = [score_line(prediction.score, prediction.label) for prediction in result.predictions]
        return block(str(result.file), lines, written)
