"""Given texts: word times, marks and processor time of `align` beside stable-ts.

    python -m tests.benchmarks.align --data FOLDER [--ct2 DIR] [--openai FILE] [--edits none cut added] [--limit N]

FOLDER has `metadata.jsonl`, each line a recording with `file_name`, `text`, and what is known of its times: `words`
([word, start, end]; the recordings are then joined to minutes, with pauses of 0.3 to 2 s of faint noise) or `clips`
([start, end, text] of each utterance). `--ct2` names the weights for ours and `--openai` the same ones for stable-ts;
either is left out without them. Edits of the text: `cut` leaves out every fifth word (drawn, seeded), `added` puts in a
sentence of another recording after every fourth utterance.

Starts are compared with the truth where words are known; else it is counted how many words lie more than 0.2 s outside
their utterance. Marks: for words that were not said, and for stretches that are not in the text (a word counts as found
if half of it is in such a stretch), precision and recall. stable-ts marks nothing; its words without duration are
counted instead.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from multiattn.inputs import load_audio

RATE = 16_000
OUTSIDE = 0.2


class Said(NamedTuple):
    """A word of a recording."""

    text: str
    start: float  # of the word, or of its utterance
    end: float
    utterance: int


class Sample(NamedTuple):
    samples: np.ndarray
    said: list[Said]
    is_exact: bool


class Found(NamedTuple):
    start: float
    end: float
    is_said: bool


Way = Callable[[np.ndarray, str], tuple[list[Found], list[tuple[float, float]]]]
"""Returns the times of each word of a text, and stretches that are not in it."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--ct2")
    parser.add_argument("--openai")
    parser.add_argument("--edits", nargs="+", choices=("none", "cut", "added"), default=["none", "cut", "added"])
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--only", default="", help="only files whose name begins so")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    samples = _samples(args.data, args.only)[: args.limit]
    print(
        f"{len(samples)} recordings, {sum(len(one.said) for one in samples)} words, "
        f"{sum(len(one.samples) for one in samples) / RATE / 60:.1f} minutes"
    )
    ways = ({"multiattn": _ours(args.ct2)} if args.ct2 else {}) | (
        {"stable-ts": _theirs(args.openai)} if args.openai else {}
    )
    for edit in args.edits:
        for name, way in ways.items():
            _report(edit, name, way, samples)


def _report(edit: str, name: str, way: Way, samples: Sequence[Sample]) -> None:
    errors, outside, total, seconds = list[float](), 0, 0, 0.0
    marks, gaps = np.zeros(3, int), np.zeros(3, int)
    others = [one.said for one in samples]
    for index, one in enumerate(samples):
        text, truth, missing = _edited(one, edit, others[index - 1], random.Random(index))
        begun = time.process_time()
        found, stretches = way(one.samples, text)
        seconds += time.process_time() - begun
        for said, got in zip(truth, found, strict=True):
            marks += [
                said is None and not got.is_said,
                said is not None and not got.is_said,
                said is None and got.is_said,
            ]
            if said is None or not got.is_said:
                continue
            total += 1
            errors.append(got.start - said.start)
            outside += got.start < said.start - OUTSIDE or got.end > said.end + OUTSIDE
        covered = [any(min(b, w.end) - max(a, w.start) >= (w.end - w.start) / 2 for a, b in stretches) for w in missing]
        wrong = sum(
            not any(a <= (w.start + w.end) / 2 <= b or a < w.end and b > w.start for w in missing) for a, b in stretches
        )
        gaps += [sum(covered), wrong, len(covered) - sum(covered)]
    line = f"  {edit:6} {name:10} {seconds:7.1f} s"
    if samples[0].is_exact:
        sizes = np.abs(errors)
        line += (
            f"  starts: mean {1000 * sizes.mean():4.0f} ms, median {1000 * statistics.median(errors):+4.0f}, "
            f"within 50 ms {np.mean(sizes <= 0.05):4.0%}, 200 ms {np.mean(sizes <= 0.2):4.0%}, "
            f"worst {sizes.max():.2f} s"
        )
    else:
        line += f"  {outside} of {total} words outside their utterance"
    line += f"; not said: {_rates(marks)}; not written: {_rates(gaps)}"
    print(line, flush=True)


def _rates(counts: np.ndarray) -> str:
    right, wrong, missed = counts.tolist()
    if not right + missed:
        return f"{wrong} wrong"
    return f"precision {right / max(1, right + wrong):4.0%} recall {right / (right + missed):4.0%} ({right + missed})"


def _edited(
    one: Sample, edit: str, other: Sequence[Said], draw: random.Random
) -> tuple[str, list[Said | None], list[Said]]:
    """Return a text, for each of its words what was said (None: nothing), and what was said and is not in it."""
    truth, texts, missing = list[Said | None](), list[str](), list[Said]()
    for i, word in enumerate(one.said):
        if edit == "cut" and draw.random() < 0.2:
            missing.append(word)
            continue
        truth.append(word)
        texts.append(word.text)
        is_last = i + 1 == len(one.said) or one.said[i + 1].utterance != word.utterance
        if edit == "added" and is_last and word.utterance % 4 == 3:
            strange = draw.choice(sorted({two.utterance for two in other}))
            added = [two.text for two in other if two.utterance == strange]
            texts += added
            truth += [None] * len(added)
    return " ".join(texts), truth, missing


def _samples(folder: Path, only: str) -> list[Sample]:
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["file_name"].startswith(only)]
    if "clips" in lines[0]:
        return [
            Sample(
                load_audio(folder / line["file_name"]).numpy(),
                [
                    Said(word, start, end, i)
                    for i, (start, end, text) in enumerate(line["clips"])
                    for word in text.split()
                ],
                False,
            )
            for line in lines
        ]
    draw, joined = np.random.default_rng(0), list[Sample]()
    for first in range(0, len(lines), 20):
        parts, said, at = list[np.ndarray](), list[Said](), 0
        for i, line in enumerate(lines[first : first + 20]):
            samples = load_audio(folder / line["file_name"]).numpy()
            said += [
                Said(word, start + at / RATE, end + at / RATE, i)
                for word, start, end in line["words"]
                if word.strip("-'")
            ]
            pause = round(draw.uniform(0.3, 2.0) * RATE)
            parts += [samples, (1e-3 * draw.standard_normal(pause)).astype(np.float32)]
            at += len(samples) + pause
        joined.append(Sample(np.concatenate(parts), said, True))
    return joined


def _ours(path: str) -> Way:
    import multiattn

    pipeline = multiattn.load(path, task="transcribe", device="cpu")

    def way(samples: np.ndarray, text: str) -> tuple[list[Found], list[tuple[float, float]]]:
        result = pipeline.align(samples, text)
        words = [Found(word.start, word.end, not word.flags) for word in result.words]
        return words, [(one.start, one.end) for one in result.not_written]

    return way


def _theirs(path: str) -> Way:
    import stable_whisper

    model = stable_whisper.load_model(path, device="cpu")

    def way(samples: np.ndarray, text: str) -> tuple[list[Found], list[tuple[float, float]]]:
        shown = text.capitalize() if text.isupper() else text
        result = model.align(samples, shown, language="en", verbose=None)
        letters = [(word.start, word.end) for word in result.all_words() for _ in word.word.strip().replace(" ", "")]
        found, at = list[Found](), 0
        for word in text.split():
            own = letters[at : at + len(word)] or [(0.0, 0.0)]
            found.append(Found(own[0][0], own[-1][1], own[-1][1] > own[0][0]))
            at += len(word)
        return found, []

    return way


if __name__ == "__main__":
    main()
