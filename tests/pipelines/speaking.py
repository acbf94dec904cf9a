"""Sounds and tiny speech models for the tests of transcription."""

import torch

from multiattn.generation import GenerationConfig
from multiattn.inputs import SpeechTokens
from multiattn.pipelines.transcribe.model import SpeechModel
from multiattn.weights import ModelBundle

RATE = 16_000


def speech_model(bundle: ModelBundle, heads: tuple[tuple[int, int], ...] | None = None) -> SpeechModel:
    assert bundle.tokenizer is not None
    decoder = bundle.model.config.decoder
    tokens = SpeechTokens.of(
        bundle.tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size
    )
    return SpeechModel(bundle.model, bundle.sound, bundle.tokenizer, tokens, heads)


def decoding(bundle: ModelBundle, **changes: object) -> GenerationConfig:
    known = {name: value for name, value in bundle.decoding.items() if name != "alignment_heads"}
    return GenerationConfig(**(known | {"max_tokens": 13} | changes))


def tone(seconds: float, *, pitch: float = 440.0, level: float = 0.3) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return level * torch.sin(2 * torch.pi * pitch * time)


def hush(seconds: float, *, level: float = 0.0) -> torch.Tensor:
    noise = torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(3))
    return level * noise


def written(speech: SpeechModel, text: str) -> tuple[int, ...]:
    """Return the tokens of a text in which numbers such as "0.5" are timestamps and all else is words."""
    first, found = speech.tokens.first_timestamp, list[int]()
    assert first is not None
    for part in text.split():
        if part[0].isdigit():
            found.append(first + round(float(part) / 0.02))
        else:
            found += speech.tokenizer.encode(f" {part}")
    return tuple(found)
