"""`multiattn caption`: a sentence about each picture, and where did the model look for each word?"""

import argparse
from typing import TYPE_CHECKING

from ..inputs.files import PICTURES
from .arguments import Option, Parser, UsageError, above_zero, at_least_one, length_penalty, not_empty, seed, share
from .map_files import Written
from .map_options import CHECK, MAP_FILES, results_of
from .options import BAD_FILES, INPUTS, MANY, RECORDS, WRITING, beams, listed_files, model_of, paths_of, writing
from .output import printable
from .predict import Predictor
from .records import Column
from .result_lines import block, score_line, verdict_lines
from .runtime import RUNTIME

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
                    probability, followed back through both stacks (Chefer et
                    al. 2021)
  lrp               the contribution of each patch to the word's probability,
                    through every operation (Achtibat et al. 2024); slower
  rollout           attention followed back through the encoder (Abnar & Zuidema
                    2020)
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one self-contained page: the sentence; each word shows its
                    map; every layer and head
  NAME.METHOD.png   the picture again for each word, with the word's map over it
{MAP_FILES.format("picture")}

{CHECK}

examples
  multiattn caption photo.jpg
  multiattn caption photos/ --beams 5 --max-tokens 20
  multiattn caption photo.jpg --sample --top-p 0.9 --seed 3 --candidates 5
  multiattn caption photo.jpg --prompt 'a photograph of' --model BLIP-FOLDER
  multiattn caption photo.jpg --no-prompt --model BLIP-FOLDER
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

{RECORDS.format("file, text, score, candidates, words")}

{INPUTS.format("picture", "256 MiB")}

{MANY.format("picture")}

{BAD_FILES.format("picture")}
"""


def _prompt(text: str) -> str:
    if not not_empty(text).strip():
        raise argparse.ArgumentTypeError(
            f"must have more than spaces, but is {text!r} instead; --no-prompt is for none"
        )
    return text


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(PICTURES, nargs="*"),
        listed_files(),
        model_of("caption"),
        beams(
            "beams of the search; 1 takes the most likely token each time (default: the model's own, or 3; 1 with "
            "--sample)"
        ),
        Option(
            "--max-tokens",
            "N",
            at_least_one,
            "the longest caption, in tokens with the one for its end (default: the model's own, or 30)",
        ),
        *writing("caption"),
        Option(
            "--length-penalty",
            "X",
            length_penalty,
            "exponent of the length by which the search divides the score of a text; more favors long captions "
            "(default: the model's own, or 1)",
        ),
        Option(
            "--candidates",
            "N",
            at_least_one,
            "captions to give for each picture (default: 1)",
            dest="num_return_sequences",
        ),
        Option(
            "--prompt",
            "TEXT",
            _prompt,
            "what the caption begins with (default: the model's own prompt, which is left out of the caption)",
        ),
        Option(
            "--no-prompt",
            action="store_true",
            help="leave out the model's own prompt: the model writes from the first word on",
        ),
        Option(
            "--sample",
            action="store_const",
            const=True,
            help="draw each token from the model's probabilities instead of searching for the most likely text",
        ),
        Option(
            "--temperature",
            "X",
            above_zero,
            "with --sample: below 1 favors likely tokens, above 1 unlikely ones (default: 1)",
        ),
        Option("--top-k", "K", at_least_one, "with --sample: among the K most likely tokens"),
        Option(
            "--top-p",
            "P",
            share,
            "with --sample: among the most likely tokens that together have this probability",
        ),
        Option(
            "--seed",
            "N",
            seed,
            "with --sample: the same seed gives the same captions (default: different ones each time)",
        ),
        *results_of("caption"),
        RUNTIME,
        prog="multiattn caption",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


_FOR_SAMPLING = ("temperature", "top_k", "top_p", "seed")


def run(args: argparse.Namespace) -> int:
    """Caption; return 0 where every input could be used."""
    return Caption(args).run()


class Caption(Predictor["CaptionResult"]):
    """One run of the command."""

    task = "caption"
    columns = (Column("text"), Column("score", is_number=True), Column("candidates"), Column("words"))
    options = (
        "num_beams",
        "max_tokens",
        *WRITING,
        "length_penalty",
        "num_return_sequences",
        "prompt",
        "sample",
        *_FOR_SAMPLING,
    )

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
        elif args.resume:
            raise UsageError("--resume gives what a run without interruption gives, and --sample what chance gives")
        if args.no_prompt:
            if args.prompt is not None:
                raise UsageError("--prompt says what captions begin with, and --no-prompt that nothing; give one")
            args.prompt = ""
        super().__init__(args)

    @staticmethod
    def as_text(result: "CaptionResult", written: Written | None) -> str:
        """Return the file, its captions, and the path of the page."""
        lines = [score_line(candidate.score, candidate.text) for candidate in result.candidates]
        ungrounded = [printable(word.text) for word in result.words if word.ungrounded]
        if written and ungrounded:
            lines.append(f"  the picture did not matter: {', '.join(ungrounded)}")
        return block(str(result.file), [*lines, *verdict_lines(result)], written)
