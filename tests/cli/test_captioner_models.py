"""info and convert for captioners."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import CONFIG, save_tiny_captioner, tiny_caption_bundle


@pytest.fixture
def captioner(tmp_path: Path) -> str:
    return str(save_tiny_captioner(tmp_path / "tiny"))


def test_info_as_json(run, captioner) -> None:
    outcome = run("info", captioner, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    facts = json.loads(outcome.out)
    bundle = tiny_caption_bundle()
    assert (facts["task"], facts["layout"], facts["model"]) == ("caption", "multiattn", captioner)
    assert facts["parameters"] == sum(parameter.numel() for parameter in bundle.model.parameters())
    assert (facts["vocabulary"], facts["decoding"]) == (83, {"max_tokens": 7})
    assert facts["architecture"]["encoder"]["dim"] == CONFIG.dim
    assert facts["architecture"]["decoder"]["vocab_size"] == 83
    assert "labels" not in facts
    sites = {site["name"]: (site["heads"], site["queries"], site["keys"]) for site in facts["attention_sites"]}
    assert sites["encoder.blocks.2.self"] == (2, 22, 22)
    assert sites["decoder.blocks.1.self"] == (2, 41, 41)
    assert sites["decoder.blocks.1.cross"] == (2, 41, 22)
    assert len(sites) == 3 + 2 * 2


def test_info_to_read(run, captioner) -> None:
    outcome = run("info", captioner)
    assert (outcome.status, outcome.err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert found["input"] == "15 x 35 pixels (height x width)"
    assert found["encoder"] == (
        "ViT, width 22, depth 3, 2 heads, mlp 13, patches of 5 px, patch stem, learned positions"
    )
    assert found["decoder"] == "width 26, depth 2, 2 heads, mlp 37, pre-norm, learned positions for 41 tokens"
    assert found["attention"] == (
        "7 sites: encoder.blocks.N.self of 2 heads, decoder.blocks.N.self and decoder.blocks.N.cross of 2; "
        "22 tokens are looked at, of which 3 x 7 are patches"
    )
    assert (found["vocabulary"], found["decoding"]) == ("83 tokens", "num_beams 3, max_tokens 7")


@pytest.mark.parametrize(
    ("decoding", "told"),
    [
        ({}, "num_beams 3, max_tokens 30"),  # what `multiattn caption` does where the model says nothing
        ({"prompt": "a "}, "num_beams 3, max_tokens 30, prompt 'a '"),
        ({"sample": True}, "num_beams 1, max_tokens 30, sample True"),
        ({"num_beams": 1, "length_penalty": 2}, "num_beams 1, max_tokens 30, length_penalty 2"),
    ],
)
def test_info_tells_how_the_pipeline_would_search(run, tmp_path, decoding, told) -> None:
    save_bundle(replace(tiny_caption_bundle(), decoding=decoding, card={"tag": "", "data": "drawn"}), tmp_path / "m")
    outcome = run("info", tmp_path / "m")
    assert (outcome.status, outcome.err) == (0, "")
    found = outcome.out.splitlines()
    assert found[-2:] == [f"decoding       {told}", "data           drawn"]


def test_convert_to_our_own_layout(run, captioner, tmp_path) -> None:
    outcome = run("convert", captioner, tmp_path / "copy", "--to", "multiattn")
    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/copy\n")
    assert load_bundle(tmp_path / "copy").model.config == tiny_caption_bundle().model.config


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("hf-blip", "`pre_norm` of the text decoder to be False, but it is True instead"),
        ("blip", "`pre_norm` of the text decoder to be False, but it is True instead"),
        ("vit-gpt2", "`bridge` to be True, but it is False instead"),
    ],
)
def test_convert_to_a_layout_that_cannot_express_it(run, captioner, tmp_path, layout, reason) -> None:
    outcome = run("convert", captioner, tmp_path / "out", "--to", layout)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: the {layout} layout needs {reason}, which it has no way to say: choose the layout multiattn\n"
    )
    assert not (tmp_path / "out").exists()


def test_convert_to_a_layout_of_classifiers(run, captioner, tmp_path) -> None:
    outcome = run("convert", captioner, tmp_path / "timm", "--to", "timm")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "multiattn: `layout` must be one for caption (multiattn, hf-blip, blip, trocr, vit-gpt2), but timm is one for "
        "classify instead\n"
    )
    assert not (tmp_path / "timm").exists()
