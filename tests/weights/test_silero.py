"""Silero VAD out of its package: our module against the package's own model, on noise and on speech, step by step."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.inputs import Recording
from multiattn.models.voice_activity import CHUNK, VOICE_RATE, VoiceActivity
from multiattn.resources import shipped
from multiattn.weights import silero
from multiattn.weights.silero import load_voice_activity

THEIR_NAMES = {
    **{f"conv{i + 1}": f"encoder.{i}.reparam_conv" for i in range(4)},
    "lstm_cell": "decoder.rnn",
    "final_conv": "decoder.decoder.2",
}


def folder() -> Path:
    """The installed package."""
    spec = find_spec("silero_vad")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The package's own model, in TorchScript, with the weights of its safetensors file.

    Those of its TorchScript file are of another training: it is the same network, with other numbers.
    """
    data = folder() / "data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that TorchScript is deprecated
        model = torch.jit.load(data / "silero_vad.jit")
    state = load_file(data / "silero_vad_16k.safetensors")
    own = model.state_dict()
    for key, tensor in state.items():
        name, kind = key.rsplit(".", 1)
        own[f"_model.{THEIR_NAMES[name]}.{kind}" if name in THEIR_NAMES else "_model.stft.forward_basis_buffer"].copy_(
            tensor
        )
    return model


def sounds() -> dict[str, torch.Tensor]:
    """Five kinds of 3 s at 16 kHz."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(3 * VOICE_RATE, generator=generator)
    time = torch.arange(3 * VOICE_RATE) / VOICE_RATE
    with Recording.open(shipped("inputs", "digits.flac"), rate=VOICE_RATE) as recording:
        speech = torch.cat(list(recording.blocks()))[: 3 * VOICE_RATE]
    return {
        "noise": 0.1 * noise,
        "loud": noise.clamp(-1, 1),
        "nothing": torch.zeros(VOICE_RATE),
        "tone": 0.3 * torch.sin(2 * torch.pi * 440 * time),
        "speech": speech,
    }


@pytest.mark.parametrize("kind", sounds())
def test_probabilities_equal_those_of_the_package(theirs: Any, kind: str) -> None:
    samples = sounds()[kind]
    samples = samples[: len(samples) // CHUNK * CHUNK]
    theirs.reset_states()
    with torch.inference_mode():
        want = torch.cat([theirs(chunk[None], VOICE_RATE)[0] for chunk in samples.split(CHUNK)])
    found, _ = load_voice_activity()(samples)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)
    if kind in ("nothing", "speech"):
        assert bool(want.max() > 0.5) == (kind == "speech")


def test_calls_go_on_from_state_to_state() -> None:
    samples = sounds()["speech"]
    samples = samples[: len(samples) // CHUNK * CHUNK]
    detector = load_voice_activity()
    want, _ = detector(samples)
    state, parts = None, []
    for part in samples.split(7 * CHUNK):
        found, state = detector(part, state)
        parts.append(found)
    torch.testing.assert_close(torch.cat(parts), want, rtol=0, atol=1e-6)
    none, same = detector(torch.zeros(0), state)
    assert len(none) == 0 and same is state


def test_a_part_of_a_chunk_is_refused() -> None:
    with pytest.raises(ModelError, match="`samples` must be a multiple of 512, but is 513 instead"):
        VoiceActivity()(torch.zeros(513))


def test_loading_imports_nothing_of_the_package_and_leaves_the_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "silero_vad", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        load_voice_activity.__wrapped__()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert "silero_vad" not in sys.modules


def test_a_package_that_is_absent_or_lacks_the_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = folder()
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    with pytest.raises(
        ModelError, match="needs the package silero-vad, which is not installed: pip install silero-vad"
    ):
        load_voice_activity.__wrapped__()
    package = tmp_path / "silero_vad"
    package.mkdir()
    (package / "__init__.py").touch()
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    monkeypatch.setattr(silero, "find_spec", lambda name: spec)
    with pytest.raises(ModelError, match="silero-vad must have the file data/silero_vad_16k.safetensors, but lacks it"):
        load_voice_activity.__wrapped__()
    (package / "data").mkdir()
    state = load_file(real / silero._FILE)
    state["conv1.bias"] = torch.zeros(5)
    save_file(state, package / silero._FILE)
    with pytest.raises(ModelError, match=r"- conv1.bias \[128\]\n.*\+ conv1.bias \[5\]"):
        load_voice_activity.__wrapped__()
