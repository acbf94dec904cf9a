"""One option for what a model computes in, for the pipelines of all tasks."""

import warnings

import numpy as np
import pytest
import torch

import multiattn
from multiattn.attention import Tap
from multiattn.blocks.int8 import Kernels
from multiattn.blocks.int8_layers import Int8Linear
from multiattn.cli.main import main
from multiattn.errors import ModelError
from multiattn.models import int8 as models_int8
from multiattn.pipelines import AnswerPipeline, CaptionPipeline, ClassifyPipeline, TranscribePipeline, precision
from multiattn.pipelines.precision import PRECISIONS, check_precision
from multiattn.weights import save_bundle
from tests.fixtures import (
    draw,
    save_tiny_answerer,
    save_tiny_captioner,
    save_tiny_model,
    save_tiny_whisper,
    tiny_answer_bundle,
    tiny_bundle,
    tiny_caption_bundle,
    tiny_whisper_bundle,
)

QUICK = {"temperatures": [0.0], "num_beams": 1, "max_tokens": 7, "vad": "off"}
SOUND = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
needs_int8 = pytest.mark.skipif(Kernels.find() is None, reason="torch has no int8 kernels on this machine")

PIPELINES = {
    "classify": (ClassifyPipeline, tiny_bundle),
    "caption": (CaptionPipeline, tiny_caption_bundle),
    "answer": (AnswerPipeline, lambda: tiny_answer_bundle("decoder")),
    "transcribe": (TranscribePipeline, tiny_whisper_bundle),
}


def run(task: str, pipeline, **options):
    if task == "transcribe":
        return pipeline(SOUND, rate=16_000, **QUICK, **options)
    return pipeline(draw(3), *(["what is it?"] if task == "answer" else []), **options)


@needs_int8
@pytest.mark.parametrize("task", PIPELINES)
def test_every_pipeline_computes_in_int8_with_no_linear_layer_left_and_no_warning(task):
    kind, bundle = PIPELINES[task]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = kind(bundle(), device="cpu", precision="int8")
        run(task, pipeline)
    model = pipeline.bundle.model
    assert not any(isinstance(part, torch.nn.Linear) for part in model.modules())
    assert any(isinstance(part, Int8Linear) for part in model.modules())


@needs_int8
@pytest.mark.parametrize("bf16", [False, True])
def test_logits_in_int8_are_near_those_in_fp32(bf16, monkeypatch):
    monkeypatch.setattr(models_int8, "has_bf16_products", lambda: bf16)
    plain, quantized = (
        TranscribePipeline(tiny_whisper_bundle(), device="cpu", precision=name).speech.model
        for name in ("fp32", "int8")
    )
    features, tokens = torch.randn(2, 80, 40), torch.tensor([[1, 3, 5, 7]] * 2)
    with torch.inference_mode():
        wanted, found = plain(features, tokens), quantized(features, tokens)
        cache = quantized.decoder.start(quantized.encode(features), rows=4, capacity=4)
        stepped = torch.cat(
            [quantized.decoder(tokens.repeat_interleave(2, 0)[:, i : i + 1], cache=cache) for i in range(4)], dim=1
        )
    spread = wanted.std()
    assert 0 < (found - wanted).square().mean().sqrt() < 0.15 * spread
    assert (stepped[::2] - wanted).square().mean().sqrt() < 0.15 * spread


@needs_int8
def test_a_tap_sees_the_weights_of_the_model_that_runs():
    model = TranscribePipeline(tiny_whisper_bundle(), device="cpu", precision="int8").speech.model
    features, tokens = torch.randn(1, 80, 40), torch.tensor([[1, 3, 5]])
    tap = Tap(model.attention_sites(tokens=3, frames=20), select="decoder.*.cross")
    with torch.inference_mode():
        logits = model(features, tokens, tap=tap)
        assert torch.equal(logits, model(features, tokens))
    for weights in tap.weights.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@needs_int8
def test_words_and_maps_come_from_a_model_in_int8():
    pipeline = TranscribePipeline(tiny_whisper_bundle(), device="cpu", precision="int8")
    result = run("transcribe", pipeline, words=True, maps="attention")
    assert result.text and result.words and result.maps


@needs_int8
def test_a_model_in_int8_is_not_saved(tmp_path):
    pipeline = ClassifyPipeline(tiny_bundle(), device="cpu", precision="int8")
    with pytest.raises(ModelError, match="^a model in int8 has not kept the weights that would be saved: load it"):
        save_bundle(pipeline.bundle, tmp_path / "model")


@needs_int8
def test_a_map_by_gradients_is_refused_in_int8():
    pipeline = AnswerPipeline(tiny_answer_bundle("decoder"), device="cpu", precision="int8")
    with pytest.raises(ModelError, match="^a model in int8 has no gradients"):
        run("answer", pipeline, maps="relevance")


@pytest.mark.parametrize("task", PIPELINES)
def test_half_precision_passes_through_every_model(task):
    """On a CPU, which the option refuses: what a GPU would compute."""
    kind, bundle = PIPELINES[task]
    half = bundle()
    half.model.to(torch.bfloat16)
    result = run(task, kind(half, device="cpu"))
    assert all(parameter.dtype == torch.bfloat16 for parameter in half.model.parameters())
    assert type(result) is type(run(task, kind(bundle(), device="cpu")))


def test_logits_in_half_precision_are_near_those_in_fp32():
    plain, half = tiny_whisper_bundle().model, tiny_whisper_bundle().model.to(torch.bfloat16)
    features, tokens = torch.randn(2, 80, 40), torch.tensor([[1, 3, 5, 7]] * 2)
    with torch.inference_mode():
        wanted, found = plain(features, tokens), half(features, tokens)
    assert found.dtype == torch.bfloat16
    assert 0 < (found.float() - wanted).square().mean().sqrt() < 0.15 * wanted.std()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", ["bf16", "fp16"])
@pytest.mark.parametrize("task", PIPELINES)
def test_every_pipeline_computes_in_half_precision_on_a_gpu(task, name):
    kind, bundle = PIPELINES[task]
    pipeline = kind(bundle(), device="cuda", precision=name)
    run(task, pipeline)
    assert {one.dtype for one in pipeline.bundle.model.parameters()} == {precision._HALF[name]}


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("int4", "cpu", "`precision` must be one of fp32, bf16, fp16, int8, but is 'int4' instead."),
        (
            "bf16",
            "cpu",
            "`precision` must be fp32 or int8 on a CPU, but is 'bf16' instead: half precision is for a GPU",
        ),
        (
            "fp16",
            "cpu",
            "`precision` must be fp32 or int8 on a CPU, but is 'fp16' instead: half precision is for a GPU",
        ),
        (
            "int8",
            "cuda",
            "`precision` must be fp32, bf16 or fp16 on a GPU, but is 'int8' instead: use it with device cpu",
        ),
    ],
)
def test_a_precision_that_a_device_does_not_compute_in(name, device, message):
    with pytest.raises(ModelError) as caught:
        check_precision(name, torch.device(device))
    assert str(caught.value) == message


def test_a_machine_without_int8_kernels_says_so(monkeypatch):
    monkeypatch.setattr(Kernels, "find", classmethod(lambda cls: None))
    with pytest.raises(ModelError, match="^`precision` must be fp32 here, but is 'int8' instead, for which torch"):
        check_precision("int8", torch.device("cpu"))
    check_precision("fp32", torch.device("cpu"))


def test_load_checks_the_precision_before_it_looks_for_the_model():
    with pytest.raises(ModelError, match="`precision` must be fp32 or int8 on a CPU"):
        multiattn.load("no-such-model", device="cpu", precision="bf16")


@needs_int8
@pytest.mark.parametrize("task", ["classify", "caption", "answer", "transcribe"])
def test_the_commands_have_the_option(task, tmp_path, capsys):
    save = {
        "classify": save_tiny_model,
        "caption": save_tiny_captioner,
        "answer": save_tiny_answerer,
        "transcribe": save_tiny_whisper,
    }
    model = str(save[task](tmp_path / "model"))
    if task == "transcribe":
        import soundfile

        path = tmp_path / "a.wav"
        soundfile.write(path, SOUND, 16_000)
        arguments = [str(path), "--beams", "1"]
    else:
        path = tmp_path / "a.png"
        draw(3).save(path)
        arguments = [str(path), *(["--question", "what is it?"] if task == "answer" else [])]
    status = main([task, *arguments, "--model", model, "--device", "cpu", "--precision", "int8", "--format", "json"])
    assert status == 0, capsys.readouterr().err
    assert capsys.readouterr().out.startswith("{")
    assert main([task, *arguments, "--model", model, "--device", "cpu", "--precision", "bf16"]) != 0
    assert "`precision` must be fp32 or int8 on a CPU" in capsys.readouterr().err
    assert set(PRECISIONS) == {"fp32", "bf16", "fp16", "int8"}
