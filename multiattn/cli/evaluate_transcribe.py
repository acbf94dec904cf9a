"""`multiattn evaluate transcribe`: how far are a model's transcripts from what was said?"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..metrics.speech import SpeechScores, normalizer_of, speech_scores
from .output import Report, say, spinner
from .report import EvaluationReport, evenly_spread

if TYPE_CHECKING:
    from ..data.recordings import SpeechRecords


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns 0 when every recording could be used."""
    normalizer = args.normalizer or "english"
    with spinner("loading the model"):
        import multiattn

        from ..data.recordings import read_recordings

        records = read_recordings(args.data, args.split)
        recognizer = multiattn.load(args.model, task="transcribe", device=args.device)
    rate = recognizer.bundle.sound.sample_rate  # joined recordings are then those of a training's validation
    sounds, texts = _joined(records, args.limit, rate=rate) if args.join else _files(records, args.limit)
    written: list[str] = []
    said: list[str] = []
    skipped = 0
    with Report(len(texts)) as report:
        results = recognizer.stream(
            sounds, rate=rate, num_beams=args.num_beams, language=args.language, batch_size=args.batch_size
        )
        for text, result in zip(texts, results, strict=True):
            if result.error is not None:
                skipped += 1
                report.message(f"skipped: {result.error}")
            else:
                written.append(result.text)
                said.append(text)
            report.advance()
        if not written:
            raise InputError(f"{args.data}: none of the {skipped} recordings of the split {args.split!r} could be read")
        scores = speech_scores(written, said, normalize=normalizer_of(normalizer))
        evaluated = EvaluationReport.of(args, items=len(written), skipped=skipped)
        if args.format == "json":
            report.result(json.dumps(asdict(scores) | {"normalizer": normalizer} | asdict(evaluated)))
        else:
            report.result(as_text(scores, normalizer, evaluated))
    if skipped:
        say(f"{skipped} of {len(texts)} recordings could not be used")
    return 1 if skipped else 0


def as_text(scores: SpeechScores, normalizer: str, evaluated: EvaluationReport) -> str:
    """A few lines to read."""
    wrong = f"{scores.substitutions} others, {scores.deletions} missing, {scores.insertions} put in"
    return "\n".join(
        (
            f"WER  {scores.wer:7.2%}  ({wrong}, of {scores.words} words)",
            f"CER  {scores.cer:7.2%}",
            f"texts compared by the rules: {normalizer}",
            evaluated.line("recordings"),
        )
    )


def _files(records: "SpeechRecords", limit: int | None) -> tuple[Iterable[Any], list[str]]:
    """Recordings as they lie there, and what is said in them."""
    items = evenly_spread(records.items, limit)
    return (path for path, _ in items), [text for _, text in items]


def _joined(records: "SpeechRecords", limit: int | None, *, rate: int) -> tuple[Iterable[Any], list[str]]:
    """Strings of them by the fixed recipe at so many samples a second (Hz), made one by one, and what they say."""
    from ..data.concat_clips import concat_text, fixed_plans, fixed_strings

    said = [text for _, text in records.items]
    plans = fixed_plans(records)
    places = evenly_spread(range(len(plans)), limit)

    def made() -> Iterator[Any]:
        wanted = set(places)
        for place, string in enumerate(fixed_strings(records, rate=rate)):
            if place in wanted:
                yield string.samples

    return made(), [concat_text(plans[place], said) for place in places]
