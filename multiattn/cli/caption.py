"""`multiattn caption`: a sentence about each picture, and where did the model look for each word?"""

import argparse
import json
from typing import TYPE_CHECKING

from .inputs import BAD_FILES, MAP_FILES, add_paths
from .map_files import Written
from .options import WORD_METHODS, Parser, above_zero, add_model, at_least_one, length_penalty, not_blank, seed, share
from .output import printable
from .pictures import add_results, work_through

if TYPE_CHECKING:
    from ..pipelines import CaptionResult

_DESCRIPTION = """\
Write a sentence about each picture, in the order of the inputs, each as soon as
it is ready. With --maps, also writes where the model looked for each word:
pictures, numbers, and pages to explore; and says which words came from the
language model rather than from the picture.
"""

_EPILOG = f"""\
map methods
  attention         what the decoder looked at while it chose the word: its
                    cross-attention, mean of all layers and heads
  relevance         attention weighted by how much it raised the word's
                    probability, followed back through the encoder (Chefer et
                    al. 2021)
  rollout           attention followed back through the encoder (Abnar & Zuidema
                    2020)
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one page, complete in itself: the sentence; each word shows
                    its map; every layer and head
  NAME.METHOD.png   the picture again for each word, with the word's map over it
{MAP_FILES.format("picture")}

examples
  multiattn caption photo.jpg
  multiattn caption photos/ --beams 5 --max-tokens 20
  multiattn caption photo.jpg --sample --top-p 0.9 --seed 3 --candidates 5
  multiattn caption photo.jpg --prompt 'a photograph of' --model BLIP-FOLDER
  multiattn caption photos/ --format json --maps out/ --map-method all

with --format json, each line is one object ("candidates" where more than one is
asked for; "maps", "dependence" and "made_up" only with --maps)
  {{"file": "cat.jpg", "text": "a cat on a sofa", "score": 0.41,
   "words": [{{"word": "a", "start": 0, "end": 1, "probability": 0.83,
              "dependence": 0.02, "made_up": true}}, ...],
   "candidates": [{{"text": "a cat on a sofa", "score": 0.41}}, ...],
   "maps": {{"attention": {{"html": "out/cat.html", "png": ..., "npz": ...,
                          "json": ...}}, ...}}}}
score is the mean probability of the caption's tokens (geometric); start and end
are characters of the text; dependence is by how much the logarithm of the
word's probability falls when the picture is replaced by its mean color;
made_up says that it falls by next to nothing.

{BAD_FILES.format("picture")}
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn caption", description=_DESCRIPTION, epilog=_EPILOG)
    add_paths(parser)
    add_model(parser, task="caption")
    parser.add_argument(
        "--beams",
        dest="num_beams",
        metavar="N",
        type=at_least_one,
        help="texts that the search keeps at once; 1 takes the likeliest token each time (default: the model's own, "
        "or 3; 1 with --sample)",
    )
    parser.add_argument(
        "--max-tokens",
        metavar="N",
        type=at_least_one,
        help="the longest caption, in pieces of words, its end among them (default: the model's own, or 30)",
    )
    parser.add_argument(
        "--length-penalty",
        metavar="X",
        type=length_penalty,
        help="exponent of the length by which the search divides a text's score; more favors long captions "
        "(default: the model's own, or 1)",
    )
    parser.add_argument(
        "--candidates",
        metavar="N",
        dest="num_return_sequences",
        type=at_least_one,
        help="captions to give for each picture (default: 1)",
    )
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        type=not_blank,
        help="what the caption begins with (default: what the model is used to, which is left out of the caption)",
    )
    parser.add_argument(
        "--sample",
        action="store_true",
        default=None,
        help="draw each token from the model's probabilities instead of searching for the likeliest text",
    )
    parser.add_argument(
        "--temperature",
        metavar="X",
        type=above_zero,
        help="with --sample: below 1 keeps to likely tokens, above 1 spreads (default: 1)",
    )
    parser.add_argument("--top-k", metavar="K", type=at_least_one, help="with --sample: among the K likeliest tokens")
    parser.add_argument(
        "--top-p",
        metavar="P",
        type=share,
        help="with --sample: among the likeliest tokens that have this share of the probability",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=seed,
        help="with --sample: the same seed gives the same captions (default: others each time)",
    )
    add_results(parser, methods=WORD_METHODS, default_method="attention")
    return parser


_OPTIONS = (
    "num_beams",
    "max_tokens",
    "length_penalty",
    "num_return_sequences",
    "prompt",
    "sample",
    "temperature",
    "top_k",
    "top_p",
    "seed",
)
_OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")


def run(args: argparse.Namespace) -> int:
    """Captions; returns 0 when every input could be used."""
    options = {name: getattr(args, name) for name in _OPTIONS}
    if not args.sample:
        for name in _OF_SAMPLING:
            if options[name] is not None:
                parser().error(f"--{name.replace('_', '-')} says how to draw, and needs --sample")
    elif args.num_beams not in (None, 1):
        parser().error("--beams and --sample are two ways to find a caption; give one")
    if not args.sample and args.num_beams is not None and (args.num_return_sequences or 1) > args.num_beams:
        parser().error(
            f"--candidates must be at most --beams ({args.num_beams}), but is {args.num_return_sequences} instead"
        )
    return work_through(args, parser(), task="caption", options=options, as_text=as_text, as_json=as_json)


def as_text(result: "CaptionResult", written: Written | None) -> str:
    """A block to read: the file, its captions, and where the page lies."""
    lines = [printable(result.file)]
    lines += [f"  {candidate.score:6.1%}  {printable(candidate.text)}" for candidate in result.candidates]
    if written:
        ungrounded = [printable(word.text) for word in result.words if word.ungrounded]
        if ungrounded:
            lines.append(f"    as likely from the mean color: {', '.join(ungrounded)}")
        lines.append(f"    maps  {printable(written.page)}")
    return "\n".join(lines)


def as_json(result: "CaptionResult", written: Written | None) -> str:
    """One line, one object."""
    words = []
    for word in result.words:
        facts = {"word": word.text, "start": word.start, "end": word.end, "probability": word.probability}
        if word.image_dependence is not None:
            facts |= {"image_dependence": word.image_dependence, "ungrounded": word.ungrounded}
        words.append(facts)
    line: dict[str, object] = {"file": result.file, "text": result.text, "score": result.score, "words": words}
    if len(result.candidates) > 1:
        line["candidates"] = [{"text": one.text, "score": one.score} for one in result.candidates]
    if written:
        line["maps"] = written.by_method
    return json.dumps(line)
