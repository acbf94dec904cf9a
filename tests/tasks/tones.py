"""A small data set of sounds, each word a tone of its own, and the data module as a trainer has it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch

from multiattn.inputs import AudioPreprocessing
from multiattn.models.speech_encoder import SpeechEncoder, SpeechEncoderConfig
from multiattn.tasks import TranscribeData
from multiattn.tasks.contracts import TokenFormat, TranscribeNeeds
from multiattn.tasks.loading.speech_batches import SpeechBatch

from .attach import grouped, in_process

WORDS = {"low": 300.0, "middle": 700.0, "high": 1500.0}
RATE = 8_000
COUNTS = {"train": 13, "validation": 5, "test": 3}
PREPROCESSING = AudioPreprocessing(sample_rate=RATE, window=200, hop=80, mels=23, pad_to=None, max_seconds=2.0)


def tone(words: Sequence[str], *, seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    """The words one after another, with a little noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    parts = [0.3 * np.sin(2 * np.pi * WORDS[word] * time) for word in words]
    sound = np.concatenate(parts) if parts else np.zeros(round(seconds * RATE))
    return (sound + 0.01 * np.random.default_rng(seed).standard_normal(len(sound))).astype(np.float32)


def said(split: str, i: int) -> list[str]:
    """The words of a recording."""
    names = list(WORDS)
    return [names[(i + k + len(split)) % 3] for k in range(1 + i % 4)]


def speak(root: Path, *, single: bool = False) -> Path:
    """Write the splits; each recording one word, where they are to be joined."""
    for split, count in COUNTS.items():
        (root / split).mkdir(parents=True)
        rows = []
        for i in range(count):
            words = said(split, i)[: 1 if single else None]
            sf.write(root / split / f"{i}.wav", tone(words, seconds=0.2 + 0.01 * (i % 5), seed=i), RATE)
            text = words[0] if single else " ".join(words).capitalize() + "."
            rows.append({"file_name": f"{i}.wav", "text": text, "speaker": "ab"[i % 2]})
        (root / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def encoder(**changes: Any) -> SpeechEncoder:
    torch.manual_seed(3)
    sizes = {"mels": 23, "dim": 14, "depth": 1, "num_heads": 2, "mlp_dim": 11, "max_frames": 101}
    return SpeechEncoder(SpeechEncoderConfig(**(sizes | changes)))


def make(root: Path, *, task: dict[str, Any] | None = None, **options: Any) -> TranscribeData:
    """The data as a trainer and a task have it."""
    options = {"batch_size": 3, "num_workers": 0, "vocab_size": 31} | options
    data = TranscribeData(str(root), **grouped(**options))
    given = {"tokenizer": None, "opening": [1], "max_length": 43, "encoder": None, "context": "real"} | (task or {})
    data.needs = TranscribeNeeds(
        given["tokenizer"],
        TokenFormat(start=1, end=2, pad=0, max_length=given["max_length"], opening=tuple(given["opening"][1:])),
        given["encoder"] or encoder(),
        PREPROCESSING,
        keeps_padding=given["context"] == "all",
    )
    return in_process(data, rank=given.get("rank", 0), world=given.get("world", 1))


def epoch_of(data: TranscribeData, epoch: int, *, start: int = 0) -> list[SpeechBatch]:
    loader = data.train_dataloader()
    if start:
        loader.load_state_dict({"epoch": epoch, "batch": start})
    loader.sampler.set_epoch(epoch)
    return list(loader)  # type: ignore[arg-type]


def same(one: Sequence[SpeechBatch], other: Sequence[SpeechBatch]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else a == b

    return len(one) == len(other) and all(map(equal, sum(one, ()), sum(other, ())))
