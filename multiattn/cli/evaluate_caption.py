"""`multiattn evaluate caption`: how similar are a model's captions to those that people wrote?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Option, not_empty
from .evaluate import Evaluator as BaseEvaluator
from .evaluate import Figures

if TYPE_CHECKING:
    from ..pipelines import CaptionResult, Failure

_NO_CIDER = "-      (of one picture it cannot be: words are weighed by how few pictures have them)"
_POOL = 100  # pictures among which a caption has to find its own


FILES = (Option("--captions", "FILE", not_empty, "a captions JSON of COCO, or Flickr8k's token file, in FOLDER"),)


class Evaluator(BaseEvaluator[Path, Sequence[str], "CaptionResult"]):
    """Measures a captioner on pictures with captions that people wrote."""

    measures = """\
figures of a captioner (by the published definitions, without Java)
  bleu1, bleu2, bleu3, bleu4
         runs of one to four words that are in a reference too
  meteor words matched with the best reference, exactly or by their stem;
         without synonyms and paraphrases, so a little below Meteor 1.5
  rouge_l   longest common subsequence with a reference
  cider  CIDEr-D: similarity to the references, where rare words count more;
         0 to 10; null for one picture, in which every word is as rare
  self_retrieval   how often a caption is more similar to its own picture's
         references than to those of 99 other pictures: 0.01 for a model that
         says the same about every picture
"""
    data = """\
  for captions file_name and text or texts; COCO and Flickr8k as published:
  --captions and --pictures ({split} in them is the name of the split)
"""
    examples = """\
  multiattn evaluate caption --data flickr8k --split test --beams 3
  multiattn evaluate caption --data coco --limit 500 --pictures {split}2017 \\
      --captions annotations/captions_{split}2017.json
"""
    output = """\
  {"bleu1": 0.61, "bleu2": 0.42, "bleu3": 0.28, "bleu4": 0.18, "meteor": 0.19,
   "rouge_l": 0.44, "cider": 0.45, "self_retrieval": 0.41, "items": 500,
   "skipped": 0, "model": "caption", "data": "flickr8k", "split": "test"}
"""
    own_options = FILES
    options = ("num_beams", "captions", "pictures")

    def read(self) -> Sequence[tuple[Path, Sequence[Sequence[str]]]]:
        """Read the pictures, each with its captions."""
        from ..data.captions import read_captions

        args = self.args
        records = read_captions(args.data, args.split, captions=args.captions, pictures=args.pictures)
        return [(path, (captions,)) for path, captions in records.items]

    def results(self, items: Sequence[tuple[Path, Sequence[Sequence[str]]]]) -> "Iterator[CaptionResult | Failure]":
        """Load the model, and return its caption for every picture."""
        import multiattn

        args = self.args
        caption = multiattn.load(args.model, task="caption", device=args.device, precision=args.precision)
        return caption.stream(
            (path for path, _ in items),
            num_beams=args.num_beams,
            batch_size=args.batch_size,
            strict=True,
            max_pixels=args.max_pixels,
        )

    def figures(self, truths: Sequence[Sequence[str]], results: "Sequence[CaptionResult]") -> Figures:
        """Compare captions with their references."""
        from ..metrics import caption_scores, self_retrieval

        captions = [result.text for result in results]
        scores = caption_scores(captions, truths)
        found = self_retrieval(captions, truths, pool=_POOL)
        pool = min(_POOL, len(captions))
        lines = [
            f"BLEU-1   {scores.bleu1:.3f}",
            f"BLEU-2   {scores.bleu2:.3f}",
            f"BLEU-3   {scores.bleu3:.3f}",
            f"BLEU-4   {scores.bleu4:.3f}",
            f"METEOR   {scores.meteor:.3f}  (words and stems; no synonyms)",
            f"ROUGE-L  {scores.rouge_l:.3f}",
            f"CIDEr-D  {scores.cider:.3f}" if scores.cider is not None else f"CIDEr-D  {_NO_CIDER}",
            f"own picture found  {found:.1%} of the time among {pool} (by chance {1 / pool:.1%})",
        ]
        return Figures(asdict(scores) | {"self_retrieval": found}, lines)
