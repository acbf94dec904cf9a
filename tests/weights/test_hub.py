"""Model names to directories. Nothing here uses the network: the Hub's answers are faked."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.weights import load_bundle, locate, recognize, save_bundle
from multiattn.weights.hub_cache import cached_models
from tests.fixtures import tiny_bundle, tiny_whisper_bundle


def answer(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[dict[str, Any]]:
    """Let the Hub answer with a path, or raise; returns the requests made."""
    requests: list[dict[str, Any]] = []

    def play(repo_id: str, **arguments: Any) -> str:
        requests.append({"repo_id": repo_id, **arguments})
        if isinstance(result, Exception):
            raise result
        return str(result)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", play)
    return requests


def refusal(kind: type[errors.HfHubHTTPError], status: int) -> Exception:
    # no real response: which library makes those differs between versions of huggingface_hub
    response: Any = SimpleNamespace(headers={}, request=None, status_code=status)
    return kind("Client Error.\n\nRead the docs.", response=response)


def test_a_hub_id_is_downloaded_without_what_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_bundle(tiny_bundle(), tmp_path / "cache")
    requests = answer(monkeypatch, tmp_path / "cache")
    bundle = load_bundle("some/model", revision="v1")
    assert bundle.source == "some/model"
    assert [(request["repo_id"], request["revision"]) for request in requests] == [("some/model", "v1")]
    assert not any(name.endswith((".bin", ".msgpack", ".h5")) for name in requests[0]["allow_patterns"])


def test_the_weights_are_downloaded_in_one_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_bundle(tiny_bundle(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    requests = answer(monkeypatch, tmp_path)
    load_bundle("some/model")
    assert len(requests) == 2 and "pytorch_model.bin" not in requests[0]["allow_patterns"]
    assert set(requests[1]["allow_patterns"]) - set(requests[0]["allow_patterns"]) == {
        *("pytorch_model.bin", "model.bin", "model.bin.*")
    }
    names = {key: f"model-0000{index % 2 + 1}-of-00002.safetensors" for index, key in enumerate(state)}
    for name in set(names.values()):
        save_file({key: tensor for key, tensor in state.items() if names[key] == name}, tmp_path / name)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    requests.clear()
    load_bundle("some/model")
    assert set(requests[1]["allow_patterns"]) - set(requests[0]["allow_patterns"]) == set(names.values())
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../secret.safetensors"}})
    )
    with pytest.raises(ModelError, match="must be one that ends in .safetensors and lies beside the index, but is"):
        load_bundle("some/model")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            refusal(errors.RepositoryNotFoundError, 401),
            "there is no model some/model: .*check the spelling; .*hf auth login",
        ),
        (
            refusal(errors.GatedRepoError, 403),
            "some/model is gated: accept its terms at https://.*some/model, then log in",
        ),
        (refusal(errors.RevisionNotFoundError, 404), "some/model has no revision v1: see https://"),
        (errors.LocalEntryNotFoundError("no"), "not in the local cache, and the Hugging Face Hub cannot be reached"),
        (
            refusal(errors.HfHubHTTPError, 500),
            r"could not be downloaded: .* answers 500 \(an error of its own\): try again",
        ),
        (
            RuntimeError("peer closed the\nconnection"),
            r"some/model could not be downloaded \(peer closed the connection\)",
        ),
        (OSError("No space left on device"), r"some/model could not be downloaded \(No space left on device\)"),
    ],
    ids=["not found", "gated", "revision", "unreachable", "server", "connection", "disk"],
)
def test_one_clear_line(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    answer(monkeypatch, error)
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle("some/model", revision="v1")
    assert "\n" not in str(caught.value)


def test_offline_without_a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="not in the local cache, and HF_HUB_OFFLINE is set: unset it") as caught:
        load_bundle("some/model")
    assert "\n" not in str(caught.value)


def test_not_even_an_id() -> None:
    with pytest.raises(ModelError, match="there is no model --/..: .*check the spelling"):
        locate("--/..")


@pytest.mark.parametrize("name", ["clasify", "./some/model", "/no/where", "a/b/c", Path("some/model")], ids=str)
def test_what_cannot_be_an_id_is_not_looked_up(name: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = answer(monkeypatch, AssertionError("looked up"))
    with pytest.raises(
        ModelError, match=r"no directory here, no task \(classify, caption, transcribe, answer, match\) and no"
    ):
        locate(name)
    assert not requests


@pytest.mark.parametrize("name", ["base.pth", "some/base.pth", "/no/where/base.pth", Path("some/base.pth")], ids=str)
def test_a_file_that_is_not_there_is_not_looked_up(name: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = answer(monkeypatch, AssertionError("looked up"))
    with pytest.raises(ModelError, match=rf"^{name}: there is no such file: check the path$"):
        locate(name)
    assert not requests


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="a model's directory, a .pth file .* or a .pt file .*, but is another file"):
        locate(tmp_path / "model.safetensors")
    (tmp_path / "model.pth").touch()
    assert locate(tmp_path / "model.pth") == tmp_path / "model.pth"


def test_revision_is_for_hub_ids(tmp_path: Path) -> None:
    for name in ("classify", str(tmp_path)):
        with pytest.raises(ModelError, match="`revision` must be None unless the model is a hub id, but is 'v1' for"):
            locate(name, revision="v1")


def test_a_task_is_the_shipped_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from multiattn.weights import hub

    save_bundle(tiny_bundle(), tmp_path / "classify")
    monkeypatch.setattr(hub, "shipped", lambda kind, name: tmp_path / name)
    assert load_bundle("classify").source == "classify"
    monkeypatch.setattr(hub, "shipped", lambda kind, name: tmp_path / "absent")
    with pytest.raises(ModelError, match="the model for classify is missing from this installation"):
        locate("classify")


def test_a_short_name_is_a_hub_id_unless_a_folder_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_bundle(tiny_bundle(), tmp_path / "cache")
    requests = answer(monkeypatch, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for short, name in (
        ("tiny.en", "openai/whisper-tiny.en"),
        ("large-v3", "openai/whisper-large-v3"),
        ("turbo", "openai/whisper-large-v3-turbo"),
        ("distil-large-v3", "distil-whisper/distil-large-v3"),
        ("vilt", "dandelin/vilt-b32-finetuned-vqa"),
    ):
        requests.clear()
        assert locate(short, revision="v1") == tmp_path / "cache"
        assert [(request["repo_id"], request["revision"]) for request in requests] == [(name, "v1")]
    requests.clear()
    save_bundle(tiny_bundle(), tmp_path / "tiny.en")
    assert load_bundle("tiny.en").source == "tiny.en" and not requests
    with pytest.raises(ModelError, match=r"there is no model tiny.eh: .* and no hub id; did you mean tiny.en\?$"):
        locate("tiny.eh")


def test_a_short_name_without_the_hub_is_one_line_with_the_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    answer(monkeypatch, errors.LocalEntryNotFoundError("no"))
    message = (
        "turbo stands for openai/whisper-large-v3-turbo: openai/whisper-large-v3-turbo is no directory here and not in "
        "the local cache, and the Hugging Face Hub cannot be reached"
    )
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle("turbo")
    assert "\n" not in str(caught.value)


def cached(cache: Path, name: str, *, commit: str = "abc1", main: str = "abc1") -> Path:
    """The files of a snapshot as the Hub's library and faster-whisper keep them: links to blobs."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for part in (snapshot, folder / "refs", folder / "blobs"):
        part.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(main)
    save_bundle(tiny_whisper_bundle(), cache / "made", layout="ct2-whisper")
    for number, file in enumerate((cache / "made").iterdir()):
        blob = folder / "blobs" / f"{commit}{number}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


def test_the_cache_of_faster_whisper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    name = "Systran/faster-whisper-tiny.en"
    cached(tmp_path, name, commit="old", main="abc1")
    snapshot = cached(tmp_path, name)
    expected = tiny_whisper_bundle().model.state_dict()
    folder = tmp_path / "models--Systran--faster-whisper-tiny.en"
    for named in (snapshot, str(folder), folder):
        bundle = load_bundle(named)
        assert bundle.layout == "ct2-whisper"
        assert all(torch.equal(value, expected[key]) for key, value in bundle.model.state_dict().items())
        assert locate(named) == snapshot
    assert [(model.name, model.directory) for model in cached_models()] == [(name, snapshot)]
    (folder / "refs" / "main").write_text("gone")
    assert locate(folder) in (snapshot, folder / "snapshots" / "old")
    assert recognize(snapshot) == ("ct2-whisper", ("transcribe",))
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text('{"model_type": "llama"}')
    assert recognize(snapshot) is None
