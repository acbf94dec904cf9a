"""Word times of digits: strings of spoken digits whose boundaries are known, against where the model says they are.

    python -m tests.benchmarks.word_times --data FOLDER [--model M] [--split validation] [--pictures DIR]

FOLDER holds one digit a recording (FSDD). The strings are the fixed ones of
`multiattn.data.concat_clips.fixed_strings`, so that the true start and end of each word are those of its clip. The text
is given to the model, so that every word has a time, and recognition errors do not mix with errors of the times.
`--pictures` draws ten strings: the waveform with the true words above and the found ones below.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import multiattn
from multiattn.alignment import SpokenWord, group_words, word_times
from multiattn.data.concat_clips import ConcatRecording, fixed_strings
from multiattn.data.recordings import read_recordings
from multiattn.inputs.speech_tokens import SpeechTokens

TOLERANCES = (0.05, 0.1, 0.2)  # seconds
DRAWN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--model", default="transcribe")
    parser.add_argument("--count", type=int, default=200, help="strings")
    parser.add_argument("--heads", choices=("own", "later"), default="own", help="the model's own, or the later half")
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args(arguments)
    pipeline = multiattn.load(args.model, task="transcribe", device="cpu")
    records = read_recordings(args.data, args.split)
    strings = list(fixed_strings(records, rate=pipeline.bundle.sound.sample_rate, count=args.count))
    print(f"{args.count} strings, {sum(len(string.words) for string in strings)} words; errors of starts and ends")
    for name, snap in (("attention alone", False), ("and the recording's loudness", True)):
        found = [timed(pipeline, string, snap=snap, own=args.heads == "own") for string in strings]
        print(f"{name:30} {report(strings, found)}")
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
        for i in range(0, len(strings), max(1, len(strings) // DRAWN)):
            draw(strings[i], found[i], args.pictures / f"{i:03}.png", rate=pipeline.bundle.sound.sample_rate)


@torch.inference_mode()
def timed(pipeline, string: ConcatRecording, *, snap: bool, own: bool) -> list[SpokenWord]:
    """The words of one string, with what is said given."""
    bundle, model = pipeline.bundle, pipeline.bundle.model
    sound, decoder, tokenizer = bundle.sound, model.config.decoder, bundle.tokenizer
    special = SpeechTokens.of(
        tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size
    )
    prompt = special.prompt(language="en" if special.languages else None)
    ids = tokenizer.encode(f" {string.text}")
    lengths = torch.tensor([sound.frames(len(string.samples))])
    encoded = model.encode(sound.features(string.samples)[None], lengths=lengths)
    context = model.decoder.project_context(
        encoded, attention_mask=model.context_attention_mask(encoded.shape[1], lengths)
    )
    (found,) = word_times(
        model,
        context,
        [[*prompt, *ids]],
        [group_words(tokenizer, ids)],
        prompt_lengths=[len(prompt)],
        frames=[min(int(model.encoder.frames(int(lengths))), encoded.shape[1])],
        heads=bundle.decoding.get("alignment_heads") if own else None,
        frame_seconds=sound.frame_seconds * math.prod(model.config.encoder.strides),
        samples=[string.samples] if snap else None,
        sample_rate=sound.sample_rate,
    )
    assert [word.text for word in found] == string.text.split(), "the tokenizer's words must be the string's"
    return found


def errors(string: ConcatRecording, found: list[SpokenWord]) -> np.ndarray:
    """Seconds by which each word's start and end are off, (w, 2); late is above 0."""
    return np.array(
        [(one.start - true.start, one.end - true.end) for one, true in zip(found, string.words, strict=True)]
    )


def report(strings: list[ConcatRecording], found: list[list[SpokenWord]]) -> str:
    """Mean absolute error, bias, and F1: a word is found where both of its ends are within the tolerance.

    There are as many words as there truly are, so that precision, recall and F1 are one number.
    """
    off = np.concatenate([errors(string, words) for string, words in zip(strings, found, strict=True)])
    size = np.abs(off)
    ends = "  ".join(f"{(size < limit).mean():.3f}" for limit in TOLERANCES)
    words = "  ".join(f"{(size.max(axis=1) < limit).mean():.3f}" for limit in TOLERANCES)
    names = ", ".join(f"{1000 * limit:.0f}" for limit in TOLERANCES)
    return (
        f"mean {1000 * size.mean():.0f} ms, median {1000 * np.median(size):.0f} ms, bias of starts "
        f"{1000 * off[:, 0].mean():+.0f} ms, of ends {1000 * off[:, 1].mean():+.0f} ms; F1 at {names} ms: boundaries "
        f"{ends}, whole words {words}"
    )


def draw(string: ConcatRecording, found: list[SpokenWord], path: Path, *, rate: int) -> None:
    """The waveform, with the true words above it and the found ones below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    axes = figure.subplots()
    seconds = np.arange(len(string.samples)) / rate
    top = float(string.samples.abs().max())
    axes.plot(seconds, string.samples / top, linewidth=0.3, color="#555555")
    for words, low, high, color in ((string.words, 0.0, 1.3, "#2a7f3f"), (found, -1.3, 0.0, "#a8325e")):
        for word in words:
            axes.axvspan(word.start, word.end, low / 2.6 + 0.5, high / 2.6 + 0.5, alpha=0.25, color=color)
            axes.text((word.start + word.end) / 2, 1.15 if high else -1.25, word.text, ha="center", color=color)
    axes.set(ylim=(-1.3, 1.3), xlim=(0, seconds[-1]), xlabel="seconds; above: true, below: found", yticks=())
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
