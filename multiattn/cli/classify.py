"""`multiattn classify`: what is on these pictures, and where did the model look?"""

import argparse
import json
from typing import TYPE_CHECKING

from .inputs import BAD_FILES, MAP_FILES, add_paths
from .map_files import Written
from .options import MAP_METHODS, Parser, add_model, at_least_one
from .output import printable
from .pictures import add_results, work_through

if TYPE_CHECKING:
    from ..pipelines import ClassifyResult

_DESCRIPTION = """\
Say what is on pictures. Prints the most likely labels of each with their
probabilities, in the order of the inputs, each as soon as it is ready. With
--maps, also writes where the model looked: pictures, numbers, and pages to
explore.
"""

_EPILOG = f"""\
map methods
  attention         what the model read out last: attention of the last layer,
                    mean of its heads; the same for every label
  rollout           attention followed back through all layers (Abnar & Zuidema
                    2020); the same for every label
  relevance         attention weighted by what it did for the label that came
                    first (Chefer et al. 2021)
  gradient_x_input  how the label's score changes with each pixel; uses no
                    attention: a contrast to judge the others by
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one page, complete in itself: the picture with the maps over
                    it, every layer and head, the value under the mouse
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
    add_model(parser)
    parser.add_argument(
        "--top-k", metavar="K", type=at_least_one, default=5, help="labels to give for each picture (default: 5)"
    )
    add_results(parser, methods=MAP_METHODS, default_method="relevance")
    return parser


def run(args: argparse.Namespace) -> int:
    """Classifies; returns 0 when every input could be used."""
    options = {"top_k": args.top_k}
    return work_through(args, parser(), task="classify", options=options, as_text=as_text, as_json=as_json)


def as_text(result: "ClassifyResult", written: Written | None) -> str:
    """A block to read: the file, its labels, and where the page lies."""
    lines = [printable(result.file)]
    lines += [f"  {prediction.score:6.1%}  {printable(prediction.label)}" for prediction in result.predictions]
    if written:
        lines.append(f"    maps  {printable(written.page)}")
    return "\n".join(lines)


def as_json(result: "ClassifyResult", written: Written | None) -> str:
    """One line, one object."""
    line: dict[str, object] = {
        "file": result.file,
        "predictions": [{"label": prediction.label, "score": prediction.score} for prediction in result.predictions],
    }
    if written:
        line["maps"] = written.by_method
    return json.dumps(line)
