"""Word times against recordings whose word times are known, beside openai-whisper, whisper-timestamped and stable-ts.

    python -m tests.benchmarks.word_truth --data FOLDER --model DIR [--weights model.pt] [--heads tiny.en]
        [--background front|gated|floor|steps|music|even|digital] [--count N] [--peers openai-whisper ...]

FOLDER holds metadata.jsonl: on each line `file_name`, and `words` ([word, start, end] in seconds), or `text` alone.

- With words: errors of starts and ends, of the words that both texts have (difflib).
- With --background: three recordings at a time are joined with pauses of 0.2 to 3 s, on a background of that kind.
- With text alone (such as LibriSpeech): three recordings at a time are joined with pauses; the first and the last word
  of each are compared with the edges of the sound, by its energy.

Counted besides: words under 40 ms; words across a pause of 0.2 s or more; first words before the sound; words that
openai-whisper's cap would shorten (the one after a sentence's end, above twice the median duration, 0.7 s at most).

The peers run on the same weights, in their own files (`--weights`), each by its own decode; one that is not installed
is skipped. `--heads` gives openai-whisper the alignment heads that it states for the model of that name: a model loaded
from a path has none, and all heads of the later half are used.
"""

import argparse
import difflib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import multiattn
from multiattn.inputs import SpeechTokens, load_audio

RATE = 16_000
BACKGROUNDS = ("front", "gated", "floor", "steps", "music", "even", "digital")
PEERS = ("openai-whisper", "whisper-timestamped", "stable-ts")
Timed = list[tuple[str, float, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True, help="a model directory")
    parser.add_argument("--weights", type=Path, help="the same weights as OpenAI's .pt, for the peers")
    parser.add_argument("--heads", help="openai-whisper's name for the model, such as tiny.en")
    parser.add_argument("--background", choices=BACKGROUNDS)
    parser.add_argument("--count", type=int, default=60, help="recordings")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = list(recordings(args.data, args.count, args.background))
    pipeline = multiattn.load(args.model, task="transcribe", device="cpu")
    print(f"{len(rows)} recordings, {sum(len(row['samples']) for row in rows) / RATE:.0f} s")
    report("multiattn", [ours(pipeline, row["samples"]) for row in rows], rows)
    for name in args.peers if args.weights else ():
        transcribe = peer(name, args.weights, args.heads)
        if transcribe is None:
            print(f"{name:20} is not installed")
        else:
            report(name, [transcribe(row["samples"]) for row in rows], rows)


def ours(pipeline, samples: np.ndarray) -> Timed:
    """Words and their times by the pipeline, greedy."""
    bundle, decoder = pipeline.bundle, pipeline.bundle.model.config.decoder
    tokens = SpeechTokens.of(
        bundle.tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size
    )
    language = "en" if tokens.languages else None
    found = pipeline(samples, rate=RATE, words=True, temperatures=(0.0,), language=language)
    return [(word.text, word.start, word.end) for segment in found.segments for word in segment.words]


def peer(name: str, weights: Path, heads: str | None) -> Callable[[np.ndarray], Timed] | None:
    """A peer's transcription; None where it is not installed."""
    try:
        whisper = importlib.import_module("whisper")
        if name == "whisper-timestamped":
            timestamped = importlib.import_module("whisper_timestamped")
        elif name == "stable-ts":
            stable = importlib.import_module("stable_whisper")
    except ImportError:
        return None
    model = whisper.load_model(str(weights), device="cpu")
    if heads is not None:
        model.set_alignment_heads(whisper._ALIGNMENT_HEADS[heads])
    options = {"language": "en", "temperature": 0, "fp16": False}
    if name == "openai-whisper":
        return lambda samples: [
            (word["word"], word["start"], word["end"])
            for segment in model.transcribe(samples, word_timestamps=True, **options)["segments"]
            for word in segment["words"]
        ]
    if name == "whisper-timestamped":
        return lambda samples: [
            (word["text"], word["start"], word["end"])
            for segment in timestamped.transcribe(model, samples, verbose=None, **options)["segments"]
            for word in segment.get("words", ())
        ]
    stable.modify_model(model)
    return lambda samples: [
        (word.word, word.start, word.end) for word in model.transcribe(samples, verbose=None, **options).all_words()
    ]


def recordings(folder: Path, count: int, background: str | None) -> Iterator[dict]:
    """Recordings with `samples`, and what is known of them: `words`, `gaps` ([start, end]), `sound` (its start)."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    if "words" in rows[0] and background is None:
        for row in rows[:count]:
            yield row | {"samples": read(folder / row["file_name"])}
        return
    rng = np.random.default_rng(1)
    kinds: dict[str, list[dict]] = {}
    for row in rows:
        kinds.setdefault(str(row.get("voice", row.get("speaker"))), []).append(row)
    for i in range(count):
        of_voice = kinds[sorted(kinds)[i % len(kinds)]]
        taken = [of_voice[k] for k in rng.choice(len(of_voice), min(3, len(of_voice)), replace=False)]
        yield joined([row | {"samples": read(folder / row["file_name"])} for row in taken], background, rng)


def read(path: Path) -> np.ndarray:
    return load_audio(path, rate=RATE).numpy()


def joined(rows: list[dict], background: str | None, rng: np.random.Generator) -> dict:
    """Recordings one after the other, with pauses and a background."""
    lead = 3.0 if background == "front" else rng.uniform(0.2, 1.0)
    parts, words, gaps, edges, at = [np.zeros(round(lead * RATE))], [], [], [], round(lead * RATE)
    for row in rows:
        samples = row["samples"]
        if "words" in row:
            samples = samples[: round(row["words"][-1][2] * RATE)]
            words += [[word, start + at / RATE, end + at / RATE] for word, start, end in row["words"]]
            first, last = row["words"][0][1], row["words"][-1][2]
        else:
            first, last = edges_of_sound(samples)
        edges.append((at / RATE + first, at / RATE + last))
        pause = np.zeros(round(rng.uniform(0.2, 3.0) * RATE))
        parts += [samples, pause]
        at += len(samples) + len(pause)
    samples = np.concatenate(parts)
    inside = np.zeros(len(samples), dtype=bool)
    for first, last in edges:
        inside[round(first * RATE) : round(last * RATE)] = True
    gaps = [[one[1], following[0]] for one, following in zip(edges, edges[1:], strict=False)]
    level = np.sqrt(np.mean(samples[inside] ** 2))
    samples = samples + level * noise_of(background, inside, edges, rng)
    samples = (0.9 * samples / np.abs(samples).max()).astype(np.float32)
    known = {"samples": samples, "gaps": gaps, "sound": edges[0][0]}
    return known | ({"words": words} if words else {"last": edges[-1][1]})


def noise_of(background: str | None, inside: np.ndarray, edges: list, rng: np.random.Generator) -> np.ndarray:
    """The background for speech of level 1; `inside` tells where there is speech."""
    noise, index = rng.standard_normal(len(inside)), np.arange(len(inside))
    if background == "front":
        return noise * 0.01 * (index >= edges[0][0] * RATE)
    if background == "gated":
        return noise * 10**-1.5 * inside
    if background == "floor":
        return noise * 10**-1.25
    if background == "steps":
        return noise * np.where(index > (edges[1][0] - 0.1) * RATE, 0.1, 10**-2.5)
    if background == "music":
        return 10**-0.75 * music(len(inside), rng)
    return noise * (10**-2.25 if background == "even" else 0.0)


def music(count: int, rng: np.random.Generator) -> np.ndarray:
    """Decaying tones with overtones, two a second."""
    times, found = np.arange(count) / RATE, np.zeros(count)
    for start in np.arange(0, count / RATE, 0.5):
        pitch = 220 * 2 ** (rng.integers(0, 13) / 12)
        envelope = np.exp(-3 * np.maximum(times - start, 0)) * (times >= start)
        for overtone, gain in ((1, 1.0), (1.5, 0.7), (2, 0.4)):
            found += gain * envelope * np.sin(2 * np.pi * pitch * overtone * times)
    return found / np.abs(found).max()


def edges_of_sound(samples: np.ndarray) -> tuple[float, float]:
    """Where a recording's sound begins and ends in seconds, by its energy."""
    step = RATE // 100
    energy = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).mean(axis=1)
    level = 10 * np.log10(np.convolve(energy, np.ones(3) / 3, "same") + 1e-12)
    is_loud = level > max(np.percentile(level, 3) + 8, np.percentile(level, 95) - 35)
    runs = np.flatnonzero(np.convolve(is_loud, np.ones(4), "valid") >= 4)
    return float(runs[0] * 0.01), float((runs[-1] + 4) * 0.01)


def plain(word: str) -> str:
    return re.sub(r"[^a-z0-9']", "", word.lower())


def report(name: str, found: list[Timed], rows: list[dict]) -> None:
    """Print one line of errors in ms, late above 0, and one of counts."""
    starts, ends, onsets, offsets = list[float](), list[float](), list[float](), list[float]()
    counts = dict.fromkeys(("under 40 ms", "above the cap", "across a pause", "before the sound"), 0)
    for words, row in zip(found, rows, strict=True):
        words = [(word.strip(), start, end) for word, start, end in words if word.strip()]
        if not words:
            continue
        if "words" in row:
            texts = [plain(word) for word, _, _ in row["words"]], [plain(word) for word, _, _ in words]
            for block in difflib.SequenceMatcher(None, *texts, autojunk=False).get_matching_blocks():
                for i in range(block.size):
                    _, start, end = row["words"][block.a + i]
                    starts.append(words[block.b + i][1] - start)
                    ends.append(words[block.b + i][2] - end)
        middles = [(start + end) / 2 for _, start, end in words]
        durations = np.array([end - start for _, start, end in words])
        cap = 2 * min(0.7, float(np.median(durations[durations > 0]))) if (durations > 0).any() else 0.0
        counts["under 40 ms"] += int((durations < 0.0399).sum())
        counts["above the cap"] += sum(
            words[i - 1][0][-1] in ".!?" and durations[i] > cap + 0.001 for i in range(1, len(words))
        )
        for begin, stop in row.get("gaps", ()):
            if stop - begin < 0.2:
                continue
            counts["across a pause"] += sum(
                (start < begin - 0.05 and end > stop + 0.05) or min(end, stop) - max(start, begin) > 0.2
                for _, start, end in words
            )
            after = int(np.searchsorted(middles, (begin + stop) / 2))
            if 0 < after < len(words):
                onsets.append(words[after][1] - stop)
                offsets.append(words[after - 1][2] - begin)
        if "sound" in row:
            counts["before the sound"] += words[0][1] < row["sound"] - 0.1
            onsets.append(words[0][1] - row["sound"])
        if "last" in row:
            offsets.append(words[-1][2] - row["last"])
    lines = (("starts", starts), ("ends", ends), ("after pauses", onsets), ("before pauses", offsets))
    print(f"{name:20} " + "; ".join(f"{what} {described(one)}" for what, one in lines if one))
    words_in_all = sum(map(len, found))
    print(f"{'':20} of {words_in_all} words: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def described(errors: list[float]) -> str:
    off = np.array(errors)
    within = (np.abs(off) <= 0.05).mean()
    mean, median = 1000 * np.abs(off).mean(), 1000 * np.median(off)
    return f"({len(off)}) mean {mean:.0f}, median {median:+.0f}, within 50 ms {within:.2f}"


if __name__ == "__main__":
    main()
