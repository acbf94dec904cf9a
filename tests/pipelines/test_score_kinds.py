"""Classifiers whose scores are no softmax, and models of one and four channels: results, maps and pages."""

from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.errors import InputError
from multiattn.inputs.files import Kind
from multiattn.inputs.streams import NamedStream
from multiattn.maps import METHODS
from multiattn.models import ViT
from multiattn.pipelines import ClassifyPipeline
from multiattn.weights import ModelBundle
from tests.fixtures import CONFIG, LABELS, draw, tiny_bundle


def bundle_of(*, classes: int = len(LABELS), channels: int = 3, **fields: Any) -> ModelBundle:
    model = ViT(replace(CONFIG, num_classes=classes, in_channels=channels)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    numbers = {"mean": (0.5, 0.4, 0.3, 0.6)[:channels], "std": (0.2, 0.3, 0.4, 0.5)[:channels]}
    plain = tiny_bundle()
    return replace(
        plain, model=model, labels=LABELS[:classes], preprocessing=replace(plain.preprocessing, **numbers), **fields
    )


@pytest.mark.parametrize(
    ("function", "kind"), [("sigmoid", "independent probability"), ("identity", "value"), ("softmax", "probability")]
)
def test_scores(function: Any, kind: str) -> None:
    bundle = bundle_of(score_function=function)
    result = ClassifyPipeline(bundle, device="cpu")(draw(0), top_k=7)
    with torch.no_grad():
        outputs = bundle.model(bundle.pictures(draw(0))[0][None])[0]
    apply = {"sigmoid": torch.sigmoid, "identity": torch.clone, "softmax": lambda x: x.softmax(-1)}[function]
    wanted = dict(zip(LABELS, apply(outputs).tolist(), strict=True))
    assert {one.label: one.score for one in result.predictions} == pytest.approx(wanted, abs=1e-6)
    assert result.score_kind == kind
    assert result.label == LABELS[int(outputs.argmax())]
    assert ("score_kind" in result.to_dict()) == (kind != "probability")


@pytest.mark.parametrize("function", ["sigmoid", "identity"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_maps_of_one_output_explain_it(function: Any, channels: int, tmp_path: Path) -> None:
    """A gradient through a softmax over one output would be 0 everywhere."""
    classify = ClassifyPipeline(bundle_of(classes=1, channels=channels, score_function=function), device="cpu")
    result = classify(draw(0), maps=METHODS)
    for one in result.maps:
        assert one.map.values.max() > 0, one.map.method
        assert one.picture.mode == "RGB"
    relevance = next(one for one in result.maps if one.map.method == "relevance")
    assert relevance.map.target == "ant"
    result.save_html(tmp_path / "a.html")
    relevance.save_png(tmp_path / "a.png")
    page = (tmp_path / "a.html").read_text()
    assert ('"values": true' in page or '"values":true' in page) == (function == "identity")
    heading = "Values" if function == "identity" else "Labels, each with a probability of its own"
    assert heading in page


def test_relevance_is_of_what_raised_the_value() -> None:
    bundle = bundle_of(classes=1, score_function="identity")
    plain = ClassifyPipeline(bundle, device="cpu")(draw(0), maps="relevance")
    with torch.no_grad():
        bundle.model.head.weight.neg_()
        bundle.model.head.bias.neg_()
    turned = ClassifyPipeline(bundle, device="cpu")(draw(0), maps="relevance")
    assert turned.score == pytest.approx(-plain.score, abs=1e-5)
    assert not np.allclose(plain.maps[0].map.values, turned.maps[0].map.values)


def test_narrowed() -> None:
    classify = ClassifyPipeline(bundle_of(score_function="sigmoid"), device="cpu")
    result = classify(draw(0), top_k=7, maps="rollout")
    scores = [one.score for one in result.predictions]
    some = result.narrowed(threshold=scores[3])
    assert some.predictions == result.predictions[:4]
    assert some.maps[0].predictions == result.predictions[:4]
    assert result.narrowed(threshold=scores[3], top_k=2).predictions == result.predictions[:2]
    none = result.narrowed(threshold=1.0)
    assert none.predictions == () and none.to_dict()["predictions"] == []
    assert none.maps[0].predictions == result.predictions[:1]
    for name in ("label", "score"):
        with pytest.raises(InputError, match="`predictions` must have a label, but none is left"):
            getattr(none, name)


def test_one_channel_is_the_luminance(tmp_path: Path) -> None:
    bundle = bundle_of(channels=1)
    classify = ClassifyPipeline(bundle, device="cpu")
    color, gray = draw(0), draw(0).convert("L")
    pixels = bundle.pictures(color)[0]
    size = bundle.pictures.size
    expected = np.asarray(gray.resize((size[1], size[0]), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(pixels[0].numpy(), (expected - 0.5) / 0.2, atol=1e-6)
    assert classify(color).predictions == classify(gray).predictions


class Streamed(NamedStream):
    """A file that can be read once."""

    def __init__(self, file: Path) -> None:
        super().__init__(file.name)
        self._chunks = iter([file.read_bytes()])

    def open(self, kind: Kind) -> BinaryIO:
        return self._kept([next(self._chunks)], kind)


def test_four_channels_see_what_lies_below_transparency(tmp_path: Path) -> None:
    classify = ClassifyPipeline(bundle_of(channels=4), device="cpu")
    layer = draw(0).convert("RGBA")
    opaque = classify(layer)
    layer.putalpha(0)
    assert classify(draw(0)).predictions == opaque.predictions
    result = classify(layer, maps="rollout")
    assert result.predictions != opaque.predictions
    assert result.maps[0].picture.getpixel((0, 0)) == (255, 255, 255)  # as people see it
    file = tmp_path / "a b.png"
    layer.save(file)
    for source in (file, file.as_uri(), file.read_bytes(), Streamed(file), np.asarray(layer)):
        assert classify(source).predictions == result.predictions, type(source)
