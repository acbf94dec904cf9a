"""Words where nobody speaks, and words lost where somebody does: ours, openai-whisper's and faster-whisper's.

    python -m tests.benchmarks.silence --model CT2-FOLDER [--openai FILE.pt] [--data FOLDER] [--kinds sounds,clean]

CT2-FOLDER is a Whisper in CTranslate2's layout, which faster-whisper reads, too; FILE.pt holds the same weights for
openai-whisper (`multiattn convert CT2-FOLDER DIR --to whisper`). FOLDER holds recordings of speech with their texts
(LibriSpeech). Without `--data`, only sounds without speech are transcribed.

sounds   twenty kinds of 40 s: silence, noise, tones, a bell, music, clicks, hum ...
between  three recordings of speech with 12 s of each sound between them
clean, quiet, distant, whispered   recordings of speech, as they are and made harder

Every engine searches with `--beams` and its other defaults; faster-whisper with and without its own detector.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

import multiattn
from multiattn.data.recordings import read_recordings
from multiattn.inputs import load_audio
from multiattn.metrics.normalize_english import normalize_english
from multiattn.metrics.speech import speech_scores

from .silence_sounds import RATE, distant, quiet, sounds, whispered

SPEECH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda samples: samples,
    "quiet": quiet,
    "distant": distant,
    "whispered": whispered,
}
Engine = Callable[[np.ndarray], str]


ENGINES = ("ours", "off", "openai", "faster", "faster+vad")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--openai")
    parser.add_argument("--data")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--kinds", default="sounds,between,clean,quiet,distant,whispered")
    parser.add_argument("--engines", default=",".join(ENGINES), help="(default: %(default)s)")
    parser.add_argument("--count", type=int, default=50, help="recordings of speech")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--beams", type=int, default=1)
    args = parser.parse_args(arguments)
    if unknown := set(args.engines.split(",")) - set(ENGINES):
        parser.error(f"--engines: there is no {', '.join(sorted(unknown))}, but {', '.join(ENGINES)}")
    torch.set_num_threads(1)
    chosen = engines(args.model, args.openai, beams=args.beams, names=args.engines.split(","))
    speech = (
        [] if args.data is None else read_recordings(args.data, args.split).items[args.first : args.first + args.count]
    )
    for kind in args.kinds.split(","):
        if kind != "sounds" and not speech:
            continue
        items = list(cases(kind, speech))
        minutes = sum(len(samples) for _, samples, _ in items) / RATE / 60
        for name, engine in chosen.items():
            start = time.process_time()
            texts = [engine(samples) for _, samples, _ in items]
            seconds = time.process_time() - start
            if kind == "sounds":
                written = {case: text.strip() for (case, _, _), text in zip(items, texts, strict=True) if text.strip()}
                words = sum(len(normalize_english(text).split()) for text in written.values())
                shown = f"{words / minutes:6.1f} words/min, text in {len(written)} of {len(items)}"
                shown += "".join(f"\n{'':22}{case}: {text[:60]}" for case, text in written.items())
            else:
                scores = speech_scores(texts, [text for _, _, text in items], normalize=normalize_english)
                shown = (
                    f"{scores.insertions / minutes:6.1f} inserted/min, {scores.deletions} of {scores.words} deleted, "
                )
                shown += f"WER {scores.wer:.1%}"
            print(f"{kind:10} {name:11} {shown}, {seconds:.0f} s of processor time", flush=True)


def cases(kind: str, speech: Sequence) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yield the name, samples and text of each recording of a kind."""
    if kind == "sounds":
        yield from ((name, samples, "") for name, samples in sounds(40).items())
        return
    loaded = ((str(path), load_audio(path, rate=RATE).numpy(), text) for path, text in speech)
    if kind in SPEECH:
        yield from ((name, SPEECH[kind](samples), text) for name, samples, text in loaded)
        return
    spoken = list(loaded)
    for i, (name, sound) in enumerate(sounds(12, seed=7).items()):
        parts = [spoken[(3 * i + k) % len(spoken)] for k in range(3)]
        samples = np.concatenate([parts[0][1], sound, parts[1][1], sound, parts[2][1]])
        yield name, samples, " ".join(text for _, _, text in parts)


def engines(model: str, openai: str | None, *, beams: int, names: Sequence[str]) -> dict[str, Engine]:
    """What transcribes English samples, by name."""
    found: dict[str, Engine] = {}
    pipeline = multiattn.load(model, task="transcribe", device="cpu")
    languages = {"language": "en"} if pipeline.speech.tokens.languages else {}
    if "ours" in names:
        found["ours"] = lambda samples: pipeline(samples, rate=RATE, num_beams=beams, **languages).text
    if "off" in names:
        options = {"vad": "off", "keep_flagged": True, "num_beams": beams, **languages}
        found["ours, off"] = lambda samples: pipeline(samples, rate=RATE, **options).text
    if "openai" in names and openai is not None:
        import whisper

        theirs = whisper.load_model(openai, device="cpu")
        search = {"beam_size": beams} if beams > 1 else {}
        found["openai"] = lambda samples: whisper.transcribe(
            theirs, samples, language="en", fp16=False, verbose=None, **search
        )["text"]
    for name, with_detector in (("faster", False), ("faster+vad", True)):
        if name in names:
            from faster_whisper import WhisperModel

            fast = WhisperModel(model, device="cpu", compute_type="float32", cpu_threads=1)
            found[name] = lambda samples, fast=fast, vad=with_detector: "".join(
                one.text for one in fast.transcribe(samples, language="en", beam_size=beams, vad_filter=vad)[0]
            )
    return found


if __name__ == "__main__":
    main()
