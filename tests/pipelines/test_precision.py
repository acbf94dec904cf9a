"""One option for what a model computes in, for the pipelines of all tasks."""

import warnings

import numpy as np
import pytest
import torch

import multiattn
from multiattn.attention import OPEN, Tap
from multiattn.attention.score import DotProductScore
from multiattn.blocks.int8 import Kernels
from multiattn.blocks.int8_layers import Int8Linear
from multiattn.cli.main import main
from multiattn.errors import ModelError, MultiattnWarning
from multiattn.models import int8 as models_int8
from multiattn.pipelines import (
    AnswerPipeline,
    BlipMatchPipeline,
    CaptionPipeline,
    ClassifyPipeline,
    MatchPipeline,
    TranscribePipeline,
    precision,
)
from multiattn.pipelines.precision import PRECISIONS, check_precision
from tests.fixtures import (
    draw,
    save_tiny_answerer,
    save_tiny_captioner,
    save_tiny_model,
    save_tiny_whisper,
    tiny_answer_bundle,
    tiny_blip_matcher_bundle,
    tiny_bundle,
    tiny_caption_bundle,
    tiny_match_bundle,
    tiny_whisper_bundle,
)
from tests.pipelines.test_single_stream import bundle as tiny_single_stream

QUICK = {"temperatures": [0.0], "num_beams": 1, "max_tokens": 7, "vad": "off"}
SOUND = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
needs_int8 = pytest.mark.skipif(Kernels.find() is None, reason="torch has no int8 kernels on this machine")

PIPELINES = {
    "classify": (ClassifyPipeline, tiny_bundle),
    "caption": (CaptionPipeline, tiny_caption_bundle),
    "match": (MatchPipeline, tiny_match_bundle),
    "match by BLIP": (BlipMatchPipeline, tiny_blip_matcher_bundle),
    "answer": (AnswerPipeline, lambda: tiny_answer_bundle("decoder")),
    "answer in one stream": (AnswerPipeline, tiny_single_stream),
    "transcribe": (TranscribePipeline, tiny_whisper_bundle),
}


def run(task: str, pipeline, **options):
    if task == "transcribe":
        return pipeline(SOUND, rate=16_000, **QUICK, **options)
    texts = {"answer": ["what is it?"], "match": [["a red square", "a fox"]]}.get(task.split()[0], [])
    return pipeline(draw(3), *texts, **options)


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


class OwnScores(DotProductScore):
    """Softmax weights by their definition, from the queries and keys that the kernel is given."""

    def weights(self, q, k, *, mask=OPEN, bias=None, rows=None, heads=None):
        assert rows is heads is None and mask.is_open
        return (q.float() @ k.float().transpose(-2, -1) * self.scale).softmax(dim=-1)


@pytest.mark.parametrize("name", ["bf16", pytest.param("int8", marks=needs_int8)])
@pytest.mark.parametrize("task", ["classify", "answer", "match"])
def test_a_tap_sees_the_queries_and_keys_of_the_model_that_runs(task, name, monkeypatch):
    """Not those of the model in fp32, whose maps differ."""
    kind, bundle = PIPELINES[task]
    encoder = kind(bundle(), device="cpu", precision=name).vision
    images, whole = torch.randn(2, 3, 15, 35), kind(bundle(), device="cpu").vision
    found, wanted, others = ({} for _ in range(3))
    with torch.inference_mode():
        plain = encoder.features(images.to(next(encoder.parameters()).dtype))
        for model, into in ((encoder, found), (whole, others)):
            tap = Tap(model.attention_sites((15, 35), of="features"))
            features = model.features(images, tap=tap)
            into.update(tap.weights)
            assert model is whole or torch.equal(features, plain)
        for block in encoder.blocks:
            block.attention.score = OwnScores(block.attention.inner_dim // block.attention.num_heads)
        tap = Tap(encoder.attention_sites((15, 35), of="features"))
        encoder.features(images, tap=tap)
        wanted.update(tap.weights)
    for site, weights in found.items():
        assert weights.dtype == torch.float32
        torch.testing.assert_close(weights, wanted[site], rtol=1e-5, atol=1e-6)
    assert any((found[site] - others[site]).abs().max() > 1e-3 for site in found)


@needs_int8
def test_words_and_maps_come_from_a_model_in_int8():
    pipeline = TranscribePipeline(tiny_whisper_bundle(), device="cpu", precision="int8")
    result = run("transcribe", pipeline, words=True, maps="attention")
    assert result.text and result.words and result.maps


METHODS = {"transcribe": {"words": True, "maps": "all"}, "match by BLIP": {}}


@pytest.mark.parametrize("name", ["bf16", pytest.param("int8", marks=needs_int8)])
@pytest.mark.parametrize("task", PIPELINES)
def test_maps_of_all_methods_their_check_and_embeddings(task, name):
    kind, bundle = PIPELINES[task]
    pipeline = kind(bundle(), device="cpu", precision=name)
    result = run(task, pipeline, **METHODS.get(task, {"maps": "all", "check": True}))
    plain = run(task, kind(bundle(), device="cpu"), **METHODS.get(task, {"maps": "all", "check": True}))
    if task != "match by BLIP":  # which has none
        assert len(result.maps) == len(plain.maps) > 1
    if task not in METHODS:
        assert len(result.verdicts) == len(plain.verdicts) > 1
    if task != "answer in one stream":
        source = (SOUND, {"rate": 16_000}) if task == "transcribe" else (draw(3), {})
        found, wanted = (one.embed(source[0], **source[1]).values for one in (pipeline, kind(bundle(), device="cpu")))
        assert found.dtype == np.float32
        assert 0 < np.square(found - wanted).mean() ** 0.5 < 0.15 * np.square(wanted).mean() ** 0.5


@needs_int8
@pytest.mark.parametrize("method", ["relevance", "lrp"])
def test_maps_by_gradients_are_those_of_the_rounded_weights(method):
    """The model in fp32 with the same rounded weights has nearly the same map."""
    pipeline = ClassifyPipeline(tiny_bundle(), device="cpu", precision="int8")
    rounded = tiny_bundle()
    rounded.model.load_state_dict(models_int8.widened(pipeline.bundle.model.state_dict()))
    found, wanted = (
        one(draw(3), maps=method, target="bee").maps[0].map.values
        for one in (pipeline, ClassifyPipeline(rounded, device="cpu"))
    )
    assert np.corrcoef(np.ravel(found), np.ravel(wanted))[0, 1] > 0.97


@needs_int8
def test_labels_of_ones_own_in_int8():
    match = MatchPipeline(tiny_match_bundle(), device="cpu", precision="int8")
    result = match.classify(draw(3), ["red square", "fox", "blue disc"], maps="relevance")
    assert len(result.predictions) == 3 and result.maps


def test_a_model_in_int8_is_asked_for_in_no_other_precision():
    pipeline = ClassifyPipeline(tiny_bundle(), device="cpu", precision="int8")
    assert ClassifyPipeline(pipeline.bundle, device="cpu", precision="int8")(draw(3)).label == pipeline(draw(3)).label
    for name in ("fp32", "bf16"):
        with pytest.raises(ModelError, match=f"must be int8 for a model whose weights are, but is '{name}' instead"):
            ClassifyPipeline(pipeline.bundle, device="cpu", precision=name)


@pytest.mark.parametrize("task", PIPELINES)
def test_half_precision_passes_through_every_model(task):
    kind, bundle = PIPELINES[task]
    pipeline = kind(bundle(), device="cpu", precision="bf16")
    result = run(task, pipeline)
    assert {parameter.dtype for parameter in pipeline.bundle.model.parameters()} == {torch.bfloat16}
    assert type(result) is type(run(task, kind(bundle(), device="cpu")))


@pytest.mark.parametrize("has_products", [True, False])
def test_bf16_on_a_processor_that_does_not_multiply_in_it_says_that_it_is_slower(has_products, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16_products", lambda: has_products)
    model = save_tiny_model(tmp_path / "model")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        multiattn.load(model, device="cpu", precision="bf16")
    said = [str(one.message) for one in caught if one.category is MultiattnWarning]
    assert [one[:43] for one in said] == ["bf16 is slower than fp32 on this processor,"] * (not has_products)


def test_the_command_prints_the_warning_as_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16_products", lambda: False)
    draw(3).save(tmp_path / "a.png")
    model = str(save_tiny_model(tmp_path / "model"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["classify", str(tmp_path / "a.png"), "--model", model, "--precision", "bf16"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("multiattn: bf16 is slower than fp32 on this processor")


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
            "fp16",
            "cpu",
            "`precision` must be fp32, bf16 or int8 on a CPU, but is 'fp16' instead: use bf16, which is as small, or a "
            "GPU",
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
    with pytest.raises(ModelError, match="`precision` must be fp32, bf16 or int8 on a CPU"):
        multiattn.load("no-such-model", device="cpu", precision="fp16")


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
    assert main([task, *arguments, "--model", model, "--device", "cpu", "--precision", "fp16"]) != 0
    assert "`precision` must be fp32, bf16 or int8 on a CPU" in capsys.readouterr().err
    assert set(PRECISIONS) == {"fp32", "bf16", "fp16", "int8"}
