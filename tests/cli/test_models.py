"""`multiattn models`: what is shipped, what lies in the cache, and the short names."""

import json
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from multiattn.registry import short_names, tasks
from multiattn.weights import save_bundle
from tests.fixtures import tiny_bundle, tiny_whisper_bundle


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two models that are read, one that is not, and one whose download broke off."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **more: pytest.fail("the Hub was asked"))
    folders = {
        name: tmp_path / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / "abc1"
        for name in ("openai/whisper-tiny.en", "some/vit", "some/llama", "some/half")
    }
    save_bundle(tiny_whisper_bundle(english=True), folders["openai/whisper-tiny.en"], layout="hf-whisper")
    save_bundle(tiny_bundle(), folders["some/vit"])
    folders["some/llama"].mkdir(parents=True)
    (folders["some/llama"] / "config.json").write_text('{"model_type": "llama"}')
    folders["some/half"].mkdir(parents=True)
    return tmp_path / "hub"


def test_as_json(run, cache) -> None:
    outcome = run("models", "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert [(one["name"], one["task"]) for one in found["shipped"]] == [
        (name, name) for name, spec in tasks().items() if spec.shipped
    ]
    for one in found["shipped"]:
        assert (Path(one["directory"]) / "config.json").is_file() and 1e6 < one["bytes"] < 6e6
    assert found["cache"] == str(cache) and found["unknown"] == ["some/llama"]
    whisper, vit = found["cached"]
    assert (whisper["name"], whisper["tasks"], whisper["layout"], whisper["short_names"]) == (
        "openai/whisper-tiny.en",
        ["transcribe"],
        "hf-whisper",
        ["tiny.en"],
    )
    assert (vit["name"], vit["tasks"], vit["layout"], vit["short_names"]) == ("some/vit", ["classify"], "multiattn", [])
    for one in (whisper, vit):
        folder = Path(one["directory"])
        assert folder.parent.parent.parent == cache
        assert one["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert {one["name"]: one["model"] for one in found["known"]} == short_names()
    assert {one["task"] for one in found["known"]} == {name for name, spec in tasks().items() if spec.short_names}
    assert [one["name"] for one in found["known"] if one["cached"]] == ["tiny.en"]
    families = [(one["layout"], one["task"]) for one in found["families"]]
    assert families == [(layout, name) for name, spec in tasks().items() for layout in spec.layouts]
    blip = {one["task"]: one for one in found["families"] if one["layout"] == "hf-blip"}
    assert blip["caption"]["classes"] == ["BlipForConditionalGeneration"]
    assert blip["answer"]["classes"] == ["BlipForQuestionAnswering"]
    beit = next(one for one in found["families"] if one["layout"] == "hf-beit")
    assert (beit["models"], beit["maps"][0], beit["embeds"]) == ("BEiT", "lrp", True)
    assert beit["headless"] == ["BeitModel"] and beit["classes"] == ["BeitForImageClassification", "BeitModel"]
    assert all(one["models"] for one in found["families"])
    does = {one["layout"]: one["does"] for one in found["families"]}
    assert does["hf-blip-itm"] == ["match", "embed"]
    assert does["hf-beit"] == ["classify", "maps", "embed"] and does["hf-dinov3"] == ["embed"]


def test_to_read_and_of_one_task(run, cache) -> None:
    outcome = run("models", "--task", "transcribe")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "shipped" and lines[1].startswith("  transcribe  ")
    assert lines[3] == f"in the cache {cache}"
    assert lines[4].split()[:3] == ["openai/whisper-tiny.en", "transcribe", "hf-whisper"]
    assert "  * tiny.en          transcribe  openai/whisper-tiny.en" in lines
    assert "  hf-whisper   transcribe, maps, embed  Whisper" in lines
    assert lines[-1] == "1 other in the cache multiattn does not read"
    assert "some/vit" not in outcome.out and "classify" not in outcome.out


def test_without_a_cache(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    outcome = run("models", "--task", "answer")
    assert (outcome.status, outcome.err) == (0, "")
    assert f"in the cache {tmp_path / 'none'}\n  none\n" in outcome.out
    assert "  vilt " in outcome.out and "*" not in outcome.out.splitlines()[-1]


def test_short_names_are_no_tasks_and_lead_to_hub_ids() -> None:
    names = short_names()
    assert not set(names) & set(tasks())
    assert all(model.count("/") == 1 and "/" not in name for name, model in names.items())
    assert sum(map(len, (spec.short_names for spec in tasks().values()))) == len(names), "no name stands for two models"
    for name in ("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium", "large-v3", "turbo"):
        assert names[name].startswith("openai/whisper-")


def test_the_table_in_the_documentation_is_what_the_command_prints(run) -> None:
    page = (Path(__file__).parents[2] / "docs" / "model-files.md").read_text(encoding="utf-8")
    outcome = run("models", "--format", "markdown")
    assert outcome.status == 0
    assert outcome.out.strip() in page, "docs/model-files.md must have what `multiattn models --format markdown` prints"
