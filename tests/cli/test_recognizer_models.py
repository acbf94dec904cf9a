"""info and convert for recognizers."""

import json
from pathlib import Path

import pytest

from multiattn.weights import load_bundle
from tests.fixtures import save_tiny_captioner, save_tiny_recognizer, save_tiny_whisper, tiny_whisper_bundle


@pytest.fixture
def whisper(tmp_path: Path) -> str:
    return str(save_tiny_whisper(tmp_path / "tiny"))


def test_info_as_json(run, whisper) -> None:
    outcome = run("info", whisper, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    facts = json.loads(outcome.out)
    bundle = tiny_whisper_bundle()
    assert (facts["task"], facts["layout"], facts["model"]) == ("transcribe", "hf-whisper", whisper)
    assert facts["parameters"] == sum(parameter.numel() for parameter in bundle.model.parameters())
    assert (facts["vocabulary"], facts["input_seconds"]) == (382, 2.0)
    assert facts["decoding"]["alignment_heads"] == [[1, 0], [2, 1]]
    assert facts["architecture"]["encoder"]["max_frames"] == 100
    assert facts["preprocessing"] == bundle.sound.to_dict()
    assert not {"labels", "input_size"} & facts.keys()
    sites = {site["name"]: (site["heads"], site["queries"], site["keys"]) for site in facts["attention_sites"]}
    assert sites["encoder.blocks.1.self"] == (2, 100, 100)
    assert sites["decoder.blocks.2.self"] == (2, 53, 53)
    assert sites["decoder.blocks.2.cross"] == (2, 53, 100)
    assert len(sites) == 2 + 3 * 2


def test_info_to_read(run, whisper) -> None:
    outcome = run("info", whisper)
    assert (outcome.status, outcome.err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert found["input"] == "pieces of at most 2 s at 16,000 Hz"
    assert found["preprocessing"] == "80 mels of 400 samples every 10 ms, whisper scale, filled up to 2 s"
    assert found["encoder"] == "width 26, depth 2, 2 heads, mlp 104, sinusoidal positions, frames of 20 ms"
    assert found["decoder"] == "width 26, depth 3, 2 heads, mlp 104, pre-norm, learned positions for 53 tokens"
    assert found["attention"] == (
        "8 sites: encoder.blocks.N.self of 2 heads, decoder.blocks.N.self and decoder.blocks.N.cross of 2; "
        "at most 100 frames are looked at"
    )
    assert found["vocabulary"] == "382 tokens, 3 languages, timestamps every 0.02 s"
    assert found["decoding"] == (
        "num_beams 5, max_tokens 26, suppress (271, 275, 276, 277, 278, 279), suppress_first (32, 270), "
        "alignment_heads ((1, 0), (2, 1))"
    )


def test_info_of_our_own_kind(run, tmp_path) -> None:
    outcome = run("info", save_tiny_recognizer(tmp_path / "m"))
    assert (outcome.status, outcome.err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert found["preprocessing"] == "13 mels of 400 samples every 10 ms, whisper scale"
    assert found["encoder"] == (
        "width 28, depth 2, 2 heads, mlp 31, rotary positions, frames of 40 ms, each seeing 11 each way, CTC head"
    )
    assert (found["vocabulary"], found["decoding"]) == ("83 tokens", "num_beams 5, max_tokens 7")


def test_a_long_list_of_tokens_is_counted(run, tmp_path) -> None:
    directory = save_tiny_whisper(tmp_path / "m")
    (directory / "generation_config.json").write_text(json.dumps({"suppress_tokens": list(range(17))}))
    found = dict(line.split(maxsplit=1) for line in run("info", directory).out.splitlines())
    assert found["decoding"] == "num_beams 5, max_tokens 26, suppress (17 of them)"


def test_info_of_a_directory_without_the_table_of_the_vocabulary(run, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    directory = save_tiny_whisper(tmp_path / "m")
    state = load_file(directory / "model.safetensors")
    del state["model.decoder.embed_tokens.weight"]
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    outcome = run("info", directory)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"multiattn: {directory} lacks the tensor model.decoder.embed_tokens.weight, ")
    assert outcome.err.count("\n") == 1 and "`vocabulary: new`" in outcome.err


@pytest.mark.parametrize("layout", ["multiattn", "whisper", "hf-whisper"])
def test_convert_to_each_layout(run, whisper, tmp_path, layout) -> None:
    outcome = run("convert", whisper, tmp_path / "copy", "--to", layout)
    assert (outcome.status, outcome.out) == (0, f"{tmp_path}/copy\n")
    loaded = load_bundle(tmp_path / "copy")
    assert (loaded.layout, loaded.model.config) == (layout, tiny_whisper_bundle().model.config)
    assert loaded.decoding == tiny_whisper_bundle().decoding


def test_convert_an_original_file(run, tmp_path) -> None:
    source = save_tiny_whisper(tmp_path / "m", layout="whisper") / "model.pt"
    assert run("convert", source, tmp_path / "copy", "--to", "hf-whisper").status == 0
    assert load_bundle(tmp_path / "copy").model.config == tiny_whisper_bundle().model.config


@pytest.mark.parametrize(
    ("save", "layout", "reason"),
    [
        (save_tiny_recognizer, "hf-whisper", "`ctc` to be False, but it is True instead"),
        (
            save_tiny_captioner,
            "whisper",
            "`layout` must be one for caption (multiattn, hf-blip, blip, trocr, vit-gpt2), but",
        ),
        (
            save_tiny_whisper,
            "vit-gpt2",
            "`layout` must be one for transcribe (multiattn, hf-whisper, whisper, ct2-whisper), but",
        ),
    ],
)
def test_convert_to_a_layout_that_cannot_express_it(run, save, layout, reason, tmp_path) -> None:
    outcome = run("convert", save(tmp_path / "m"), tmp_path / "out", "--to", layout)
    assert (outcome.status, outcome.out) == (1, "")
    assert reason in outcome.err
    assert not (tmp_path / "out").exists()
