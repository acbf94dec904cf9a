"""Recordings: the lists of a split, and the level and noise of their samples."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from multiattn.data.noise import at_level, colored, with_noise
from multiattn.data.recordings import SpeechRecords, held_out, read_recordings
from multiattn.errors import InputError
from tests.tasks.tones import RATE, tone


def test_librispeechs_folders_are_read(tmp_path) -> None:
    chapter = tmp_path / "train-clean-100" / "19" / "198"
    chapter.mkdir(parents=True)
    (chapter / "19-198.trans.txt").write_text("19-198-0000 LOW HIGH\n19-198-0001 IT'S LOW\n")
    (chapter / "._19-198.trans.txt").write_bytes(b"\0\5\x16\7")  # which macOS writes beside it
    sf.write(chapter / "19-198-0000.flac", tone(["low", "high"]), RATE)
    sf.write(chapter / "19-198-0001.wav", tone(["low"]), RATE)
    records = read_recordings(tmp_path, "train", folders={"train": ["train-clean-100"]})
    expected = ((chapter / "19-198-0000.flac", "LOW HIGH"), (chapter / "19-198-0001.wav", "IT'S LOW"))
    assert records.items == expected and records.speakers == ("19", "19")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "19").symlink_to(chapter.parent)
    assert len(read_recordings(tmp_path, "linked").items) == 2
    (chapter / "19-198.trans.txt").write_text("19-198-0000\n")
    with pytest.raises(InputError, match="line 1: this must be a recording's name, a space and its words, but is"):
        read_recordings(tmp_path, "train-clean-100")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"file_name": "a.wav"}, "line 1: there must be `text`, what is said in the recording, but there is none"),
        ({"file_name": "a.wav", "text": 7}, "line 1: a transcript must be text, but is 7 instead"),
        (
            {"file_name": "a.wav", "text": "a" * 20_001},
            "must have at most 20000 characters, but has 20001 instead: 'aa",
        ),
        ({"file_name": "a.wav", "text": "\ud800"}, "a transcript must be whole characters, but is"),
    ],
)
def test_lines_that_cannot_be_used_are_named(line, message, tmp_path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match=message):
        read_recordings(tmp_path, "train")


def test_a_split_that_is_missing_is_said(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no split 'train': it has no folders. Make .*train with a metadata"):
        read_recordings(tmp_path, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(
        InputError, match="train: there are no transcripts in this folder. Put into it a metadata.jsonl"
    ):
        read_recordings(tmp_path, "train")
    with pytest.raises(InputError, match=r"`folders` must list at least one folder for 'train', but has \[\] instead"):
        read_recordings(tmp_path, "train", folders={"train": []})


def test_noise_lies_so_many_decibels_below() -> None:
    rng = np.random.default_rng(7)
    samples = torch.from_numpy(tone(["low"], seconds=1.0))
    for kind in ("white", "pink"):
        noise = colored(len(samples), rng, kind=kind)
        found = with_noise(samples, noise, snr_db=13.0) - samples
        ratio = 10 * torch.log10(samples.square().mean() / found.square().mean())
        assert float(ratio) == pytest.approx(13.0, abs=0.01)
    assert with_noise(torch.zeros(7), torch.ones(7), snr_db=0.0).abs().max() == 0
    power = torch.fft.rfft(colored(1 << 16, rng, kind="pink")).abs().square()
    assert float(power[1000:2000].mean() / power[4000:8000].mean()) == pytest.approx(4.0, rel=0.2)


def test_level_is_kept_below_full_scale() -> None:
    samples = torch.tensor([0.1, -0.4])
    torch.testing.assert_close(at_level(samples, -6.0), samples * 10 ** (-0.3))
    torch.testing.assert_close(at_level(samples, 20.0), samples / 0.4)
    assert at_level(torch.zeros(3), 20.0).tolist() == [0.0, 0.0, 0.0]


def records_of(speakers: str) -> SpeechRecords:
    return SpeechRecords(tuple((Path(f"{i}.wav"), f"text {i}") for i in range(len(speakers))), tuple(speakers))


@pytest.mark.parametrize(
    ("speakers", "share", "expected"),
    [
        ("aaaaabbbcc", 0.2, "cc"),
        ("aaaaabbbcc", 0.01, "cc"),  # one speaker at least
        ("aaaaabbbcc", 0.4, "bbbcc"),  # 5 are nearer to 4 than 2 are
        ("aaaaabbbcc", 0.9, "bbbcc"),  # and not all
        ("cbcbcacac", 0.3, "aa"),
    ],
)
def test_whole_speakers_are_held_out(speakers: str, share: float, expected: str) -> None:
    records = records_of(speakers)
    rest, part = held_out(records, share)
    assert sorted(part.speakers) == sorted(expected) and not set(part.speakers) & set(rest.speakers)
    order = {item: index for index, item in enumerate(records.items)}
    for one in (rest, part):
        places = [order[item] for item in one.items]
        assert places == sorted(places) and [records.speakers[place] for place in places] == list(one.speakers)
    assert len(rest.items) + len(part.items) == len(speakers)


@pytest.mark.parametrize(("count", "share", "expected"), [(10, 0.2, 2), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1)])
def test_recordings_of_unknown_speakers_are_held_out_evenly(count: int, share: float, expected: int) -> None:
    for speakers in ([""] * count, ["a"] * count):
        records = SpeechRecords(records_of("x" * count).items, tuple(speakers))
        rest, part = held_out(records, share)
        assert len(part.items) == expected and not set(rest.items) & set(part.items)
        assert len(rest.items) == count - expected
    with pytest.raises(InputError, match="there must be at least 2 recordings to hold a part of them out, but there"):
        held_out(records_of("a"), 0.5)
