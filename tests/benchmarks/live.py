"""Live transcription with a simulated clock: word error rate, delay of settled words, and share of the time used.

    python -m tests.benchmarks.live --data FOLDER --model DIR [--only NAME] [--minutes 10] [--step 1.0] [--no-prompt]

FOLDER has `metadata.jsonl`, each line a recording with `file_name` and `text`. Sound comes in as in real time; each
call takes all that has come in, and the processor time of the call moves the clock. The delay of a word is the time
at which it is settled, less the end of its last sound: the end that the model gives it. `offline` is the same model in
order, greedy. One thread.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import multiattn
from multiattn.inputs import load_audio
from multiattn.metrics.normalize_english import normalize_english
from multiattn.metrics.speech import speech_scores
from multiattn.pipelines.transcribe.live import LiveRules, LiveTranscriber

RATE, BLOCK = 16_000, 0.1  # seconds that a microphone hands over at once


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--only", nargs="*", default=[""], help="only files whose name begins so")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--step", type=float, nargs="+", default=[1.0])
    parser.add_argument("--pause", type=float, default=LiveRules().pause)
    parser.add_argument("--prompt", choices=("both", "on", "off"), default="both", help="text before as a prompt")
    parser.add_argument("--texts", type=Path, help="a file to write the texts to")
    parser.add_argument("--offline", action="store_true", help="also in order")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pipeline = multiattn.load(args.model, task="transcribe", device="cpu")
    lines = [json.loads(line) for line in (args.data / "metadata.jsonl").read_text().splitlines()]
    lines = [line for line in lines if any(line["file_name"].startswith(name) for name in args.only)]
    recordings, said, left = list[np.ndarray](), list[str](), args.minutes * 60
    for line in lines:
        if left > 0:
            recordings.append(load_audio(args.data / line["file_name"]).numpy())
            said.append(line["text"])
            left -= len(recordings[-1]) / RATE
    print(f"{len(recordings)} recordings, {sum(map(len, recordings)) / RATE / 60:.1f} minutes")
    if args.offline:
        begun = time.process_time()
        texts = [pipeline(one, num_beams=1).text for one in recordings]
        _report("offline", texts, said, [], (time.process_time() - begun) / sum(len(one) / RATE for one in recordings))
    for step in args.step:
        for prompt in {"both": (True, False), "on": (True,), "off": (False,)}[args.prompt]:
            texts, delays, busy = [], list[float](), 0.0
            for one in recordings:
                live = pipeline.live(
                    rules=LiveRules(step=step, pause=args.pause), num_beams=1, condition_on_previous=prompt
                )
                text, own, used = played(live, one)
                texts.append(text)
                delays += own
                busy += used
            if args.texts:
                args.texts.write_text("\n".join(texts) + "\n")
            share = busy / sum(len(one) / RATE for one in recordings)
            _report(f"step {step:g} s, prompt {'on' if prompt else 'off'}", texts, said, delays, share)


def played(live: LiveTranscriber, samples: np.ndarray) -> tuple[str, list[float], float]:
    """Play a recording in simulated real time; return the text, the delay of each word, and the processor time."""
    clock = busy = 0.0
    done = 0
    delays = list[float]()
    while done < len(samples):
        clock = max(clock, min((done / RATE) + BLOCK, len(samples) / RATE))
        there = min(len(samples), int(clock * RATE))
        begun = time.process_time()
        update = live.feed(samples[done:there])
        spent = time.process_time() - begun
        done, clock, busy = there, clock + spent, busy + spent
        delays += [clock - word.end for word in update.settled]
    begun = time.process_time()
    update = live.finish()
    spent = time.process_time() - begun
    delays += [clock + spent - word.end for word in update.settled]
    return live.transcript().text, delays, busy + spent


def _report(name: str, texts: Sequence[str], said: Sequence[str], delays: Sequence[float], share: float) -> None:
    scores = speech_scores(texts, said, normalize=normalize_english)
    line = (
        f"  {name:24} WER {scores.wer:6.2%} (sub {scores.substitutions}, del {scores.deletions}, "
        f"ins {scores.insertions})"
    )
    if delays:
        middle, late, last = np.percentile(delays, (50, 95, 100))
        line += f", delay median {middle:.2f} s, 95 % {late:.2f} s, longest {last:.2f} s"
    print(f"{line}, {share:.0%} of one core", flush=True)


if __name__ == "__main__":
    main()
