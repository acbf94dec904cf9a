"""Recordings of minutes: word error rate, processor time and peak memory of ours beside the peers.

    python -m tests.benchmarks.speech_long --data FOLDER --ct2 DIR [--openai FILE] [--split validation] [--minutes 10]
        [--pauses 1.5 8] [--beams 5] [--ways "in order" batched ...]

FOLDER holds short recordings with their speakers (LibriSpeech). Those of one speaker are joined to a few minutes, in
order, without a gap or with pauses of faint noise whose lengths are drawn (seeded) from `--pauses`. `--ct2` names the
weights in CTranslate2's layout, which ours and faster-whisper read; `--openai` the same weights for openai-whisper,
which is left out without it. Each way runs in its own process, on one thread; loading is not in the time, but in the
memory (the process' largest resident set).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from .speech_long_worker import WAYS

RATE = 16_000
ROOM_TONE = 1e-4  # standard deviation of the noise in pauses: -80 dB
TOGETHER = 160  # seconds of one speaker's recordings that are joined at least, where there are as many


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--ct2", required=True)
    parser.add_argument("--openai")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--minutes", type=float, default=10.0, help="of speech, at the most")
    parser.add_argument("--pauses", type=float, nargs=2, default=(0.0, 0.0), metavar="SECONDS")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--words", action="store_true", help="with word times")
    parser.add_argument("--texts", type=Path, help="a folder to write the texts of each way to")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        files, said = _join(args, Path(folder))
        print(f"{len(files)} recordings, {sum(len(one.split()) for one in said)} words, {args.beams} beams")
        print(f"  {'':28} {'WER %':>6} {'sub':>4} {'del':>4} {'ins':>4} {'processor s':>12} {'peak MB':>8}")
        for way in args.ways:
            if "openai" not in way or args.openai:
                _report(way, args, files, said)


def _join(args: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """Write the joined recordings to a folder; return their paths and what is said in each."""
    import soundfile

    from multiattn.data.recordings import read_recordings
    from multiattn.inputs import load_audio

    records, draw = read_recordings(args.data, args.split), np.random.default_rng(0)
    rows = sorted(zip(records.speakers, records.items, strict=True))
    files, said, left = [], [], 60 * args.minutes
    for speaker, own in groupby(rows, key=lambda row: row[0]):
        parts, texts, seconds = [], [], 0.0
        for _, (path, text) in own:
            if seconds >= min(TOGETHER, left):
                break
            samples = load_audio(path).numpy()
            pause = round(draw.uniform(*args.pauses) * RATE)
            parts += [samples, (ROOM_TONE * draw.standard_normal(pause)).astype(np.float32)]
            texts.append(text)
            seconds += len(samples) / RATE
        left -= seconds
        if parts:
            files.append(str(folder / f"{speaker}.wav"))
            soundfile.write(files[-1], np.concatenate(parts), RATE)
            said.append(" ".join(texts))
        if left <= 0:
            break
    return files, said


def _report(way: str, args: argparse.Namespace, files: list[str], said: list[str]) -> None:
    from multiattn.metrics.speech import normalizer_of, speech_scores

    asked = {"way": way, "ct2": args.ct2, "openai": args.openai, "beams": args.beams, "words": args.words}
    command = [sys.executable, "-m", "tests.benchmarks.speech_long_worker"]
    done = subprocess.run(command, input=json.dumps(asked | {"files": files}), text=True, stdout=subprocess.PIPE)
    if done.returncode:
        print(f"  {way:28} failed", flush=True)
        return
    found = json.loads(done.stdout.splitlines()[-1])
    scores = speech_scores(found["texts"], said, normalize=normalizer_of("english"))
    counts = f"{scores.substitutions:4} {scores.deletions:4} {scores.insertions:4}"
    print(
        f"  {way:28} {100 * scores.wer:6.2f} {counts} {found['seconds']:12.1f} {found['peak'] / 1e6:8.0f}", flush=True
    )
    if args.texts is not None:
        args.texts.mkdir(parents=True, exist_ok=True)
        (args.texts / f"{way.replace(' ', '-').replace(',', '')}.txt").write_text("\n".join(found["texts"]))


if __name__ == "__main__":
    main()
