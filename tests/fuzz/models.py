"""Model directories in every layout, with tiny random weights, loaded and used once."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from multiattn.errors import MultiattnError
from multiattn.inputs import Fit, ImagePreprocessing, Tokenizer
from multiattn.models import VQA, Captioner, CaptionerConfig, SingleStream
from multiattn.models import captioner as captioners
from multiattn.models import single_stream as streams
from multiattn.models import vqa as answerers
from multiattn.pipelines.loading import load
from multiattn.weights import ModelBundle, save_bundle
from tests.fixtures import (
    ANSWERS,
    SENTENCES,
    draw,
    tiny_answer_bundle,
    tiny_bundle,
    tiny_caption_bundle,
    tiny_speech_bundle,
    tiny_whisper_bundle,
)
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

from .archives import with_same_id
from .sample import Sample

_HEADS: dict[str, Any] = {"dim": 64, "depth": 1, "num_heads": 1, "mlp_dim": 19}  # the original BLIP's heads are of 64
_PICTURES = ImagePreprocessing((20, 20), (20, 20), "bilinear", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def samples() -> list[Sample]:
    return [_saved(name, layout, bundle()) for name, layout, bundle in _bundles()]


def _bundles() -> Iterator[tuple[str, str, Callable[[], ModelBundle]]]:
    yield "classifier", "multiattn", tiny_bundle
    yield "classifier of timm", "timm", tiny_bundle
    yield "classifier of transformers", "hf-vit", tiny_bundle
    yield "captioner", "multiattn", tiny_caption_bundle
    yield "captioner of transformers", "hf-blip", lambda: _captioner("blip_base")
    yield "captioner of BLIP", "blip", lambda: _captioner("blip_base")
    yield "captioner of GPT-2", "vit-gpt2", lambda: _captioner("vit_gpt2")
    yield "answerer", "multiattn", tiny_answer_bundle
    yield "answerer that writes", "multiattn", lambda: tiny_answer_bundle("decoder")
    yield "answerer of transformers", "hf-blip", _blip_answerer
    yield "answerer of BLIP", "blip", _blip_answerer
    yield "ViLT", "hf-vilt", _vilt
    yield "recognizer", "multiattn", tiny_speech_bundle
    yield "Whisper of transformers", "hf-whisper", tiny_whisper_bundle
    yield "Whisper", "whisper", lambda: tiny_whisper_bundle(english=True)


def _saved(name: str, layout: str, bundle: ModelBundle) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        save_bundle(bundle, Path(folder), layout=layout)
        sample = Sample.of_folder(f"{name} ({layout})", Path(folder))
    for path in ("model.pt", "model.pth"):
        if path in sample.files:
            sample.files[path] = with_same_id(sample.files[path])
    return sample


def _captioner(preset: str) -> ModelBundle:
    config = captioners.PRESETS[preset]
    tokenizer = Tokenizer.train(SENTENCES, kind="bpe", vocab_size=83)
    tokens = {"start_token": 1, "end_token": 2, "pad_token": 0}
    encoder = replace(config.encoder, image_size=(20, 20), patch_size=5, **_HEADS)
    decoder = replace(
        config.decoder, **_HEADS, **tokens, context_dim=64, max_length=23, vocab_size=tokenizer.vocab_size
    )
    model = Captioner(CaptionerConfig(encoder, decoder))
    return ModelBundle("caption", _drawn(model), _PICTURES, tokenizer=tokenizer, decoding={"max_tokens": 5})


def _wordpieces(*added: str) -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        save_wordpieces(Path(folder))
        vocabulary = json.loads(Tokenizer.load(Path(folder)).to_json())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for token, name in enumerate(added, start=len(WORDPIECES)):
        vocabulary["added_tokens"].append({"id": token, "content": name, **flags, "special": True})
    return Tokenizer.from_json(json.dumps(vocabulary))


def _blip_answerer() -> ModelBundle:
    preset, size = answerers.PRESETS["blip_base"], len(WORDPIECES) + 2
    text = {**_HEADS, "vocab_size": size, "context_dim": 64, "max_length": 23, "end_token": 3}
    assert preset.decoder is not None
    config = replace(
        preset,
        encoder=replace(preset.encoder, image_size=(20, 20), patch_size=5, **_HEADS),
        question=replace(preset.question, **text, start_token=size - 1),
        decoder=replace(preset.decoder, **text, start_token=size - 2),
    )
    return ModelBundle("answer", _drawn(VQA(config)), _PICTURES, tokenizer=_wordpieces("[DEC]", "[ENC]"))


def _vilt() -> ModelBundle:
    preset = streams.PRESETS["vilt_base"]
    sizes = {"dim": 26, "depth": 2, "num_heads": 2, "mlp_dim": 104, "vocab_size": len(WORDPIECES), "max_length": 13}
    question = replace(preset.question, **sizes, start_token=2, end_token=3)
    config = replace(preset, question=question, answers=len(ANSWERS), head_dim=52, image_size=(20, 20), patch_size=5)
    fit = Fit(shorter=20, longer=33, multiple=5)
    pictures = replace(_PICTURES, resize_to=fit, size=fit.size((1, 1)))
    return ModelBundle("answer", _drawn(SingleStream(config)), pictures, labels=ANSWERS, tokenizer=_wordpieces())


@torch.no_grad()
def _drawn(model: torch.nn.Module) -> Any:
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.normal_(std=0.2, generator=generator)
    return model.eval()


def read(path: Path) -> None:
    """Loaded, and used on a picture or half a second of noise."""
    (single,) = found if len(found := sorted(path.iterdir())) == 1 and found[0].suffix in (".pt", ".pth") else (path,)
    pipeline: Any = load(single, device="cpu")
    try:
        _use(pipeline)
    except MultiattnError as error:  # of what it is used on; its message need not name the model
        raise MultiattnError(f"{path}: {error}") from error


def _use(pipeline: Any) -> None:
    if pipeline.bundle.task == "answer":
        pipeline(
            draw(3),
            "is the fox on the wall?",
            maps="attention",
            **({"max_tokens": 2} if not pipeline.bundle.labels else {}),
        )
    elif pipeline.bundle.task == "transcribe":
        pipeline(0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(3)), max_tokens=2, num_beams=1)
    else:
        pipeline(draw(3), maps="attention")
