"""Small things that several test folders make: a tiny random model directory, and drawn pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models import Captioner, CaptionerConfig, TextDecoderConfig, ViT, ViTConfig
from multiattn.weights import ModelBundle, save_bundle

LABELS = ("ant", "bee", "cow", "dog", "elk", "fox", "gnu")

CONFIG = ViTConfig(image_size=(15, 35), patch_size=5, num_classes=len(LABELS), dim=22, depth=3, num_heads=2, mlp_dim=13)


def tiny_bundle(*, labels: tuple[str, ...] = LABELS) -> ModelBundle:
    """A model with random weights, large enough that different pictures get different labels."""
    generator = torch.Generator().manual_seed(7)
    model = ViT(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    preprocessing = ImagePreprocessing(
        size=(15, 35), resize_to=(15, 35), interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    return ModelBundle(task="classify", model=model, preprocessing=preprocessing, labels=labels, source="tiny")


def save_tiny_model(directory: Path) -> Path:
    """A model directory of `tiny_bundle`."""
    save_bundle(tiny_bundle(), directory)
    return directory


SENTENCES = (
    "a red square above a blue disc",
    "two green rings near a white line",
    "the dog's ball is left of a half-drawn tree",
    "a very small fox jumps over an old grey wall",
    "nothing but a plain yellow sky",
)
"""Invented; what the tiny captioner's vocabulary is made from."""


def tiny_caption_bundle(*, seed: int = 7) -> ModelBundle:
    """A captioner with random weights, large enough that different pictures get different captions."""
    tokenizer = Tokenizer.train(SENTENCES, kind="bpe", vocab_size=83)
    config = CaptionerConfig(
        encoder=replace(CONFIG, num_classes=0),
        decoder=TextDecoderConfig(
            vocab_size=tokenizer.vocab_size,
            dim=26,
            depth=2,
            num_heads=2,
            mlp_dim=37,
            max_length=41,
            context_dim=CONFIG.dim,
        ),
    )
    generator = torch.Generator().manual_seed(seed)
    model = Captioner(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return ModelBundle(
        task="caption",
        model=model,
        preprocessing=tiny_bundle().preprocessing,
        tokenizer=tokenizer,
        decoding={"max_tokens": 7},
        source="tiny",
    )


def save_tiny_captioner(directory: Path) -> Path:
    """A model directory of `tiny_caption_bundle`."""
    save_bundle(tiny_caption_bundle(), directory)
    return directory


def draw(seed: int, *, size: tuple[int, int] = (53, 37)) -> Image.Image:
    """A picture of blotches; `size` is width and height."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save_drawing(path: Path, seed: int, *, size: tuple[int, int] = (53, 37)) -> Path:
    """`draw` written to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(seed, size=size).save(path)
    return path
