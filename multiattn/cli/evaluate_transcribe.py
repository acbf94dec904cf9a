"""`multiattn evaluate transcribe`: how far are a model's transcripts from what was said?"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Option, not_empty
from .evaluate import Evaluator as BaseEvaluator
from .evaluate import Figures

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..pipelines import Failure, Transcript

_NORMALIZERS = ("english", "basic", "none")


class Evaluator(BaseEvaluator[Path | int, str, "Transcript"]):
    """Measures a recognizer on recordings with their texts; an input is a file, or with `--join` an index of a plan."""

    things = "recordings"
    measures = """\
figures of a recognizer
  wer    word error rate: words substituted, left out or put in, over the words
         that were said
  cer    the same for characters
  both after --normalizer: english, Whisper's rules (numbers in figures,
  contractions in full, no punctuation; but without its table of British
  spellings); basic, lower case without punctuation; none
  "one two three" is one word by the English rules: take basic for digits
"""
    data = """\
  for recordings file_name and text, or LibriSpeech's folders as published;
  --join makes 400 fixed recordings of 1 to 8 short ones each, with pauses and
  noise
"""
    examples = """\
  multiattn evaluate transcribe --data LibriSpeech --split test-clean --model M
  multiattn evaluate transcribe --data .data/fsdd --join --normalizer basic
"""
    output = """\
  {"wer": 0.0123, "cer": 0.0098, "substitutions": 9, "deletions": 7,
   "insertions": 6, "words": 1800, "normalizer": "basic", "items": 400,
   "skipped": 0, "model": "transcribe", "data": "digits", "split": "validation"}
"""
    own_options = (
        Option(
            "--normalizer",
            choices=_NORMALIZERS,
            help="what is done to texts before they are compared (see below; default: english)",
        ),
        Option("--normaliser", choices=_NORMALIZERS, help=argparse.SUPPRESS, dest="normalizer"),
        Option("--language", "CODE", not_empty, "language of the recordings, for a model of several"),
        Option("--join", action="store_const", const=True, help="join short recordings by a fixed recipe (see below)"),
    )
    options = ("num_beams", "normalizer", "language", "join")

    def read(self) -> Sequence[tuple[Path | int, Sequence[str]]]:
        """Read the recordings, each with its text; with `--join`, plan how they are joined."""
        from ..data.concat_clips import concat_text, fixed_plans
        from ..data.recordings import read_recordings

        self._records = read_recordings(self.args.data, self.args.split)
        if not self.args.join:
            return [(path, (text,)) for path, text in self._records.items]
        texts = [text for _, text in self._records.items]
        return [(index, (concat_text(plan, texts),)) for index, plan in enumerate(fixed_plans(self._records))]

    def results(self, items: Sequence[tuple[Path | int, Sequence[str]]]) -> "Iterator[Transcript | Failure]":
        """Load the model, and return its transcript of every recording."""
        import multiattn

        args = self.args
        transcribe = multiattn.load(args.model, task="transcribe", device=args.device, precision=args.precision)
        rate = transcribe.bundle.sound.sample_rate  # joined recordings are then those of a training's validation
        return transcribe.stream(
            self._sounds([item for item, _ in items], rate=rate),
            rate=rate,
            num_beams=args.num_beams,
            language=args.language,
            batch_size=args.batch_size,
        )

    def figures(self, truths: Sequence[str], results: "Sequence[Transcript]") -> Figures:
        """Compare transcripts with what was said."""
        from ..metrics.speech import normalizer_of, speech_scores

        name = self.args.normalizer or "english"
        scores = speech_scores([result.text for result in results], truths, normalize=normalizer_of(name))
        wrong = f"{scores.substitutions} others, {scores.deletions} missing, {scores.insertions} put in"
        lines = [
            f"WER  {scores.wer:7.2%}  ({wrong}, of {scores.words} words)",
            f"CER  {scores.cer:7.2%}",
            f"texts compared by the rules: {name}",
        ]
        return Figures(asdict(scores) | {"normalizer": name}, lines)

    def _sounds(self, inputs: Sequence[Path | int], *, rate: int) -> "Iterator[Path | np.ndarray | Tensor]":
        """Yield the files; with `--join` the samples, `rate` a second, of joined recordings, made as they are taken."""
        from ..data.concat_clips import fixed_strings

        yield from (one for one in inputs if isinstance(one, Path))
        if self.args.join:
            strings = enumerate(fixed_strings(self._records, rate=rate))
            yield from (string.samples for index, string in strings if index in inputs)
