"""`multiattn caption`: a sentence about each picture, and where did the model look for each word?"""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .map_files import Written
from .options import (
    BAD_FILES,
    MAP_FILES,
    Parser,
    UsageError,
    above_zero,
    add_model,
    add_paths,
    add_results,
    at_least_one,
    length_penalty,
    not_blank,
    seed,
    share,
)
from .output import printable
from .predict import Job, Predictor, block, score_line

if TYPE_CHECKING:
    from ..pipelines import CaptionResult, Failure

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
  NAME.html         one self-contained page: the sentence; each word shows its
                    map; every layer and head
  NAME.METHOD.png   the picture again for each word, with the word's map over it
{MAP_FILES.format("picture")}

examples
  multiattn caption photo.jpg
  multiattn caption photos/ --beams 5 --max-tokens 20
  multiattn caption photo.jpg --sample --top-p 0.9 --seed 3 --candidates 5
  multiattn caption photo.jpg --prompt 'a photograph of' --model BLIP-FOLDER
  multiattn caption photos/ --format json --maps out/ --map-method all

with --format json, each line is one object ("candidates" where more than one is
asked for; "maps", "image_dependence" and "ungrounded" only with --maps)
  {{"file": "cat.jpg", "text": "a cat on a sofa", "score": 0.41,
   "words": [{{"word": "a", "start": 0, "end": 1, "probability": 0.83,
              "image_dependence": 0.02, "ungrounded": true}}, ...],
   "candidates": [{{"text": "a cat on a sofa", "score": 0.41}}, ...],
   "maps": {{"attention": {{"html": "out/cat.html", "png": ..., "npz": ...,
                          "json": ...}}, ...}}}}
score is the geometric mean of the probabilities of the caption's tokens; start
and end are indices of characters in the text; image_dependence is how much the
logarithm of the word's probability falls when the picture is replaced by its
mean color; ungrounded says that it hardly falls: the word came from the
language model rather than from the picture.

{BAD_FILES.format("picture")}
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn caption", description=_DESCRIPTION, epilog=_EPILOG)
    add_paths(parser)
    add_model(parser, "caption")
    parser.add_argument(
        "--beams",
        dest="num_beams",
        metavar="N",
        type=at_least_one,
        help="beams of the search; 1 takes the most likely token each time (default: the model's own, or 3; 1 with "
        "--sample)",
    )
    parser.add_argument(
        "--max-tokens",
        metavar="N",
        type=at_least_one,
        help="the longest caption, in tokens with the one for its end (default: the model's own, or 30)",
    )
    parser.add_argument(
        "--length-penalty",
        metavar="X",
        type=length_penalty,
        help="exponent of the length by which the search divides the score of a text; more favors long captions "
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
        help="what the caption begins with (default: the model's own prompt, which is left out of the caption)",
    )
    parser.add_argument(
        "--sample",
        action="store_true",
        default=None,
        help="draw each token from the model's probabilities instead of searching for the most likely text",
    )
    parser.add_argument(
        "--temperature",
        metavar="X",
        type=above_zero,
        help="with --sample: below 1 favors likely tokens, above 1 unlikely ones (default: 1)",
    )
    parser.add_argument("--top-k", metavar="K", type=at_least_one, help="with --sample: among the K most likely tokens")
    parser.add_argument(
        "--top-p",
        metavar="P",
        type=share,
        help="with --sample: among the most likely tokens that together have this probability",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=seed,
        help="with --sample: the same seed gives the same captions (default: different ones each time)",
    )
    add_results(parser, "caption")
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
_FOR_SAMPLING = ("temperature", "top_k", "top_p", "seed")


def run(args: argparse.Namespace) -> int:
    """Caption; return 0 where every input could be used."""
    return Caption(args).run()


class Caption(Predictor["CaptionResult"]):
    """One run of the command."""

    task = "caption"

    def __init__(self, args: argparse.Namespace) -> None:
        if not args.sample:
            for name in _FOR_SAMPLING:
                if getattr(args, name) is not None:
                    raise UsageError(f"--{name.replace('_', '-')} says how to draw, and needs --sample")
            if args.num_beams is not None and (args.num_return_sequences or 1) > args.num_beams:
                raise UsageError(
                    f"--candidates must be at most --beams ({args.num_beams}), but is {args.num_return_sequences} "
                    "instead"
                )
        elif args.num_beams not in (None, 1):
            raise UsageError("--beams and --sample are two ways to find a caption; give one")
        super().__init__(args)

    def results(self, jobs: Sequence[Job]) -> "Iterator[CaptionResult | Failure]":
        """Load the model, and return the results for all jobs in order, computed as they are taken."""
        import multiattn

        args = self.args
        pipeline = multiattn.load(args.model, task="caption", device=args.device)
        options = {name: getattr(args, name) for name in _OPTIONS}
        return pipeline.stream([job.file for job in jobs], maps=self.methods, batch_size=args.batch_size, **options)

    @staticmethod
    def as_text(result: "CaptionResult", written: Written | None) -> str:
        """Return the file, its captions, and the path of the page."""
        lines = [score_line(candidate.score, candidate.text) for candidate in result.candidates]
        ungrounded = [printable(word.text) for word in result.words if word.ungrounded]
        if written and ungrounded:
            lines.append(f"  as likely from the mean color: {', '.join(ungrounded)}")
        return block(str(result.file), lines, written)
