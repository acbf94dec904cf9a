"""OpenAI's tiny.en, from a package of the extra `parity`, on a sentence of our own synthesis: the texts are theirs."""

from pathlib import Path

import pytest
import torch

import multiattn
from multiattn.resources import shipped
from multiattn.weights import convert, load_bundle
from tests.fixtures import real_whisper

whisper = pytest.importorskip("whisper", reason="the reference is in the `parity` extra")

TEXT = "My sister bought three red apples and a loaf of bread."
RECORDING = shipped("inputs", "sentence.flac")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real_whisper("tiny.en", tmp_path_factory.mktemp("real") / "tiny.en")


# openai-whisper leaves the file of its vocabulary open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_text_is_theirs_greedy_and_with_beams(directory: Path, tmp_path: Path) -> None:
    ours = multiattn.load(directory, device="cpu")
    convert(directory, tmp_path / "openai", to="whisper")
    theirs = whisper.load_model(str(tmp_path / "openai" / "model.pt"), device="cpu")
    samples = torch.from_numpy(whisper.load_audio(str(RECORDING)))
    for beams in (None, 5):
        wanted = theirs.transcribe(samples.numpy(), beam_size=beams, temperature=0.0, fp16=False)
        found = ours(RECORDING, num_beams=beams or 1, vad="off", keep_flagged=True)
        assert found.text.strip() == wanted["text"].strip() == TEXT
        assert [(one.start, one.end) for one in found.segments] == [
            (pytest.approx(one["start"], abs=0.021), pytest.approx(one["end"], abs=0.021)) for one in wanted["segments"]
        ]


def test_words_lie_one_after_the_other_within_the_sound(directory: Path) -> None:
    words = multiattn.load(directory, device="cpu")(RECORDING, words=True).words
    assert [word.text for word in words] == TEXT.split()
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times) and 0.15 < times[0] < 0.4 and 3.1 < times[-1] < 3.6


@pytest.mark.slow
def test_base_is_read_in_its_parts(tmp_path: Path) -> None:
    whole = real_whisper("base", tmp_path / "whole")
    parts = tmp_path / "parts"
    parts.mkdir()
    for file in whole.iterdir():
        if file.name != "model.bin":
            (parts / file.name).symlink_to(file)
    data = (whole / "model.bin").read_bytes()
    (parts / "model.bin.part1").write_bytes(data[:94_371_840])
    (parts / "model.bin.part2").write_bytes(data[94_371_840:])
    expected, found = (load_bundle(one).model.state_dict() for one in (whole, parts))
    assert all(torch.equal(found[key], value) for key, value in expected.items())
