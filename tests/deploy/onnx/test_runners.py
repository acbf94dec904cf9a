"""What runs exported models gives the results of the pipelines on torch: the same tokens, and scores to rounding."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multiattn.deploy.onnx.answer import OnnxAnswerer
from multiattn.deploy.onnx.caption import OnnxCaptioner
from multiattn.deploy.onnx.classify import OnnxClassifier
from multiattn.deploy.onnx.transcribe import OnnxRecognizer
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.inputs.geometry import Fit
from multiattn.models import SingleStream, SingleStreamConfig, SpeechRecognizer, TextEncoderConfig, ViT
from multiattn.models.domain import Domain
from multiattn.pipelines import AnswerPipeline, CaptionPipeline, ClassifyPipeline, TranscribePipeline
from multiattn.weights import ModelBundle
from tests.deploy.onnx.eager import eager_model
from tests.fixtures import (
    draw,
    tiny_answer_bundle,
    tiny_bundle,
    tiny_caption_bundle,
    tiny_speech_bundle,
    tiny_whisper_bundle,
)

PICTURES = [draw(seed) for seed in range(5)]
QUESTIONS = ["what is the red square?", "is it small?", "fox"]


def assert_same(found: Any, wanted: Any) -> None:
    """The same JSON, but for the rounding of numbers."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert_same(found[name], wanted[name])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-4, rel=1e-4)
    else:
        assert found == wanted


def same(found: Any, wanted: Any) -> None:
    found, wanted = list(found), list(wanted)
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert_same(one.to_dict(), other.to_dict())


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "identity"])
def test_a_classifier_with_a_domain(tmp_path: Path, function: Any) -> None:
    bundle = tiny_bundle()
    mean = torch.zeros(bundle.config.dim)
    points = torch.randn(3, len(mean), generator=torch.Generator().manual_seed(3))
    domain = Domain(mean, torch.eye(len(mean)), points)
    with torch.no_grad():
        pooled = bundle.require(ViT).pooled(torch.stack([bundle.pictures(picture)[0] for picture in PICTURES]))
    domain = replace(domain, threshold=float(domain.distances(pooled[:, None]).median()) * 1.01)
    bundle = replace(bundle, score_function=function, domain=domain)
    found = OnnxClassifier(eager_model(bundle, tmp_path)).stream(PICTURES, batch_size=2, top_k=3)
    wanted = list(ClassifyPipeline(bundle, device="cpu").stream(PICTURES, batch_size=2, top_k=3))
    assert {one.out_of_domain is None for one in wanted} == {True, False}
    same(found, wanted)


@pytest.mark.parametrize("changes", [{}, {"pool": "mean"}, {"pool": "attention"}, {"num_registers": 2}])
def test_maps_of_a_classifier(tmp_path: Path, changes: dict[str, Any]) -> None:
    torch.manual_seed(3)
    bundle = replace(tiny_bundle(), model=ViT(replace(tiny_bundle().config, **changes)).eval())
    runner = OnnxClassifier(eager_model(bundle, tmp_path, sites=["*"]))
    found = list(runner.stream(PICTURES[:2], maps=["attention", "rollout"]))
    wanted = ClassifyPipeline(bundle, device="cpu")(PICTURES[:2], maps=["attention", "rollout"])
    for one, other in zip(found, wanted, strict=True):
        for mine, theirs in zip(one.maps, other.maps, strict=True):
            np.testing.assert_allclose(mine.map.values, theirs.map.values, atol=1e-6)
            np.testing.assert_allclose(mine.stack.values, theirs.stack.values, atol=1e-6)
            assert replace(mine.map, values=theirs.map.values).to_dict() == theirs.map.to_dict()


def test_maps_need_the_weights_that_were_exported(tmp_path: Path) -> None:
    runner = OnnxClassifier(eager_model(tiny_bundle(), tmp_path, sites=["blocks.2.*"]))
    assert len(next(runner.stream(PICTURES, maps="attention")).maps) == 1
    with pytest.raises(ModelError, match="need the attention weights of blocks.0.self, which were not exported"):
        runner.stream(PICTURES, maps="rollout")  # before a picture is read
    with pytest.raises(ModelError, match="`maps` must be attention or rollout on onnxruntime, but is 'lrp' instead"):
        runner.stream(PICTURES, maps=["attention", "lrp"])


def test_what_a_config_lacks_is_told(tmp_path: Path) -> None:
    whole = eager_model(tiny_bundle(), tmp_path, sites=["*"])

    def outcome(config: Any) -> Any:
        try:
            model = replace(whole, config=config)
            object.__setattr__(model, "graphs", whole.graphs)
            runner = OnnxClassifier(model)
            return [one.to_dict() for one in runner.stream(PICTURES[:1], maps="rollout")]
        except ModelError as error:
            return str(error)

    wanted, architecture = outcome(whole.config), whole.config["architecture"]
    assert isinstance(wanted, list)
    told = set()
    for name in whole.config.keys() | architecture.keys():
        less = {key: value for key, value in architecture.items() if key != name}
        config = {key: value for key, value in (whole.config | {"architecture": less}).items() if key != name}
        found = outcome(config)
        if found != wanted:
            assert found == f"`{tmp_path / 'config.json'}` must have `{name}`, but lacks it: export the model again"
            told.add(name)
    assert {"architecture", "preprocessing", "labels", "patch_size", "depth"} <= told


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {},
        {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 0.0},
        {"num_beams": 1, "repetition_penalty": 2.5, "no_repeat_ngram": 2, "max_tokens": 17},
        {"num_beams": 3, "min_tokens": 5, "no_repeat_ngram": 2, "max_tokens": 13, "prompt": "a red"},
    ],
)
def test_captions(tmp_path: Path, options: dict[str, Any]) -> None:
    bundle = tiny_caption_bundle()
    found = OnnxCaptioner(eager_model(bundle, tmp_path)).stream(PICTURES, batch_size=3, **options)
    same(found, CaptionPipeline(bundle, device="cpu").stream(PICTURES, batch_size=3, **options))


def test_captions_are_not_sampled(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`sample` must be False on onnxruntime"):
        OnnxCaptioner(eager_model(tiny_caption_bundle(), tmp_path)).stream(PICTURES, sample=True)


@pytest.mark.parametrize("kind", ["closed", "decoder"])
@pytest.mark.parametrize("options", [{}, {"top_k": 2}])
def test_answers(tmp_path: Path, kind: Any, options: dict[str, Any]) -> None:
    bundle = tiny_answer_bundle(kind)
    asked = [(PICTURES[0], QUESTIONS), (PICTURES[1], QUESTIONS[1]), (PICTURES[2], ["", *QUESTIONS[:2]])]
    found = list(OnnxAnswerer(eager_model(bundle, tmp_path)).stream(asked, batch_size=2, **options))
    assert found[4].error is not None
    same(found, AnswerPipeline(bundle, device="cpu").stream(asked, batch_size=2, **options))


def test_answers_of_a_part_of_the_list(tmp_path: Path) -> None:
    bundle = tiny_answer_bundle()
    choices, asked = list(bundle.labels[1:4]), [(PICTURES[0], QUESTIONS)]
    runner = OnnxAnswerer(eager_model(bundle, tmp_path))
    same(runner.stream(asked, answers=choices), AnswerPipeline(bundle, device="cpu").stream(asked, answers=choices))
    with pytest.raises(ModelError, match="`answers` needs torch"):
        OnnxAnswerer(eager_model(tiny_answer_bundle("decoder"), tmp_path)).stream(asked, answers=choices)


def single_stream_bundle() -> ModelBundle:
    """A model that reads pictures of any size with a question in one stack."""
    base = tiny_answer_bundle()
    question = TextEncoderConfig(
        vocab_size=base.tokenizer.vocab_size if base.tokenizer else 0,
        dim=24,
        depth=2,
        num_heads=2,
        mlp_dim=37,
        max_length=29,
        context_dim=None,
        embed_norm=True,
    )
    config = SingleStreamConfig(question, answers=len(base.labels), head_dim=11, image_size=(40, 40), patch_size=8)
    torch.manual_seed(5)
    fit = Fit(40, 64, 8)
    preprocessing = ImagePreprocessing(
        size=fit.size((1, 1)), resize_to=fit, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    return replace(base, model=SingleStream(config).eval(), preprocessing=preprocessing)


def test_answers_of_a_single_stream(tmp_path: Path) -> None:
    bundle = single_stream_bundle()
    asked = [(draw(1), QUESTIONS), (draw(2, size=(90, 50)), QUESTIONS[:1])]
    found = OnnxAnswerer(eager_model(bundle, tmp_path)).stream(asked)
    same(found, AnswerPipeline(bundle, device="cpu").stream(asked))


def sound(seed: int, seconds: float) -> np.ndarray:
    """Noise of changing loudness, with a silent second in it."""
    samples = np.random.default_rng(seed).standard_normal(round(16_000 * seconds)).astype(np.float32)
    samples *= 0.1 * (1 + np.sin(np.arange(len(samples), dtype=np.float32) / 3000))
    samples[16_000:32_000] = 0
    return samples


@pytest.mark.parametrize(
    "english, options",
    [
        (False, {"num_beams": 2, "prefix": "the", "prompt": "red"}),
        pytest.param(True, {"num_beams": 1}, marks=pytest.mark.slow),
        pytest.param(False, {}, marks=pytest.mark.slow),
    ],
)
def test_transcripts(tmp_path: Path, english: bool, options: dict[str, Any]) -> None:
    bundle = tiny_whisper_bundle(english=english)
    recordings = [sound(seed, seconds) for seed, seconds in ((1, 4.3), (2, 0.004), (4, 1.0))]
    recordings += [np.zeros(40_000, np.float32)]
    asked = {**options, "log_prob_threshold": "none", "max_tokens": 5}
    found = list(OnnxRecognizer(eager_model(bundle, tmp_path)).stream(recordings, **asked))
    wanted = TranscribePipeline(bundle, device="cpu").stream(recordings, **asked, vad="off", temperatures=[0.0])
    assert len(found[0].segments) > 1
    same(found, wanted)


@pytest.mark.parametrize(
    "name, value", [("words", True), ("vad", "on"), ("temperatures", [0.2]), ("batch_size", 2), ("clips", [(0, 1)])]
)
def test_what_needs_torch_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    runner = OnnxRecognizer(eager_model(tiny_whisper_bundle(), tmp_path))
    with pytest.raises(ModelError, match=f"`{name}` needs torch"):
        runner.stream([sound(1, 1.0)], **{name: value})


def test_a_recognizer_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tiny|must write times, as Whisper does"):
        OnnxRecognizer(eager_model(tiny_speech_bundle(), tmp_path))


def test_a_recognizer_that_is_told_how_long_a_recording_is_is_refused(tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    config = replace(bundle.require(SpeechRecognizer).config, context="real")
    with pytest.raises(ModelError, match="must read windows of one length, as Whisper does, to be run without torch"):
        OnnxRecognizer(eager_model(replace(bundle, model=SpeechRecognizer(config)), tmp_path))
