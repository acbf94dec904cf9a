"""Real Whispers where nobody speaks, and the language of what follows; skipped where their packages are absent."""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import multiattn
from multiattn.inputs import load_audio
from multiattn.pipelines import TranscribePipeline
from multiattn.resources import shipped
from tests.benchmarks.silence_sounds import RATE, sounds
from tests.fixtures import real_whisper

VOICES = {
    "de": "Guten Tag, heute sprechen wir über das Wetter.",
    "fr": "Bonjour, il fait très beau aujourd'hui à Paris.",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TranscribePipeline:
    directory = real_whisper("tiny.en", tmp_path_factory.mktemp("tiny") / "tiny.en")
    return multiattn.load(str(directory), task="transcribe", device="cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TranscribePipeline:
    directory = real_whisper("base", tmp_path_factory.mktemp("base") / "base")
    return multiattn.load(str(directory), task="transcribe", device="cpu")


def test_sounds_without_speech_have_no_text_and_cost_little(tiny: TranscribePipeline) -> None:
    found = sounds(40.0)
    chosen = [found[name] for name in ("white noise", "bell", "chords", "clicks", "two tones", "engine")]
    start = time.process_time()
    results = tiny(chosen, rate=RATE)
    assert time.process_time() - start < 5 * len(chosen)
    assert [(result.text, result.dropped) for result in results] == [("", ())] * len(chosen)


def test_what_is_said_between_sounds_is_all_there(tiny: TranscribePipeline) -> None:
    spoken = load_audio(shipped("inputs", "digits.flac"), rate=RATE).numpy()
    alone = tiny(spoken, rate=RATE, num_beams=1)
    bell, noise = sounds(8.0)["bell"], sounds(8.0)["white noise"]
    result = tiny(np.concatenate([bell, spoken, noise]), rate=RATE, num_beams=1)
    digits = [character for character in result.text if character.isdigit()]
    assert digits == [character for character in alone.text if character.isdigit()] and len(digits) == 8
    assert all(7.0 < one.start and one.end < 8.5 + len(spoken) / RATE for one in result.segments)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("code", VOICES)
def test_the_language_is_that_of_the_speech_after_a_long_nothing(
    base: TranscribePipeline, tmp_path: Path, code: str, batch_size: int
) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng")
    file = tmp_path / "spoken.wav"
    subprocess.run(["espeak-ng", "-v", code, "-s", "140", "-w", file, VOICES[code]], check=True)
    spoken = load_audio(file, rate=RATE)
    generator = torch.Generator().manual_seed(5)
    for nothing in (torch.zeros(35 * RATE), 0.002 * torch.randn(35 * RATE, generator=generator)):
        result = base(torch.cat([nothing, spoken]), rate=RATE, num_beams=1, batch_size=batch_size)
        assert result.language == code and result.language_probability is not None
        assert result.language_probability > 0.5 and result.remark is None
        assert result.segments and result.segments[0].start > 34.0 and result.dropped == ()
        assert {one.language for one in result.segments} == {code}


@pytest.mark.slow
def test_a_recording_of_two_languages(base: TranscribePipeline, tmp_path: Path) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng")
    parts = []
    for code, text in VOICES.items():
        file = tmp_path / f"{code}.wav"
        subprocess.run(["espeak-ng", "-v", code, "-s", "140", "-w", file, text], check=True)
        parts += [load_audio(file, rate=RATE), torch.zeros(30 * RATE)]
    result = base(torch.cat(parts), rate=RATE, num_beams=1, multilingual=True)
    assert [one.language for one in result.segments][:: len(result.segments) - 1] == list(VOICES)
    assert "Bonjour" in result.text and "Guten Tag" in result.text
