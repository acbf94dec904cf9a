"""`multiattn evaluate caption`: how alike are a model's captions and what people wrote?"""

import argparse
import json
from dataclasses import asdict

from ..errors import InputError
from ..metrics import CaptionScores, caption_scores, self_retrieval
from .output import Report, say, spinner
from .report import EvaluationReport, evenly_spread

_POOL = 100


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns 0 when every picture could be used."""
    with spinner("loading the model"):
        import multiattn

        from ..data.captions import read_captions

        records = read_captions(args.data, args.split, captions=args.captions, pictures=args.pictures)
        items = evenly_spread(records.items, args.limit)
        captioner = multiattn.load(args.model, task="caption", device=args.device)
    captions: list[str] = []
    references: list[tuple[str, ...]] = []
    skipped = 0
    with Report(len(items)) as report:
        results = captioner.stream((path for path, _ in items), num_beams=args.num_beams, batch_size=args.batch_size)
        for (_, texts), result in zip(items, results, strict=True):
            if result.error is not None:
                skipped += 1
                report.message(f"skipped: {result.error}")
            else:
                captions.append(result.text)
                references.append(texts)
            report.advance()
        if not captions:
            raise InputError(f"{args.data}: none of the {skipped} pictures of the split {args.split!r} could be read")
        scores = caption_scores(captions, references)
        found = self_retrieval(captions, references, pool=_POOL)
        evaluated = EvaluationReport.of(args, items=len(captions), skipped=skipped)
        if args.format == "json":
            report.result(json.dumps(asdict(scores) | {"self_retrieval": found} | asdict(evaluated)))
        else:
            report.result(as_text(scores, found, evaluated))
    if skipped:
        say(f"{skipped} of {len(items)} pictures could not be used")
    return 1 if skipped else 0


def as_text(scores: CaptionScores, found: float, evaluated: EvaluationReport) -> str:
    """A few lines to read; `found` is how often a caption leads to its own picture, 0 to 1."""
    pool = min(_POOL, evaluated.items)
    return "\n".join(
        (
            f"BLEU-1   {scores.bleu1:.3f}",
            f"BLEU-2   {scores.bleu2:.3f}",
            f"BLEU-3   {scores.bleu3:.3f}",
            f"BLEU-4   {scores.bleu4:.3f}",
            f"METEOR   {scores.meteor:.3f}  (words and stems; no synonyms)",
            f"ROUGE-L  {scores.rouge_l:.3f}",
            f"CIDEr-D  {scores.cider:.3f}",
            f"own picture found  {found:.1%} of the time among {pool} (by chance {1 / pool:.1%})",
            evaluated.line("pictures"),
        )
    )
