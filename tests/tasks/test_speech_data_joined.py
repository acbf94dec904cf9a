"""Clips joined to strings: where each lies, and which strings come when."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multiattn.data.concat_clips import FIXED_STRINGS, ConcatClips, Plan, concat_text, fixed_plans, fixed_strings, join
from multiattn.data.concat_files import main as write_files
from multiattn.data.recordings import read_recordings
from multiattn.errors import InputError
from multiattn.inputs import load_audio
from multiattn.tasks.loading.audio_augmentation import AudioAugmentation

from .tones import RATE, epoch_of, make, same, speak

HOW = ConcatClips(clips=(1, 3), pause_s=(0.05, 0.2))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speak(tmp_path_factory.mktemp("clips"), single=True)


def test_each_clip_lies_where_the_string_says() -> None:
    sounds = [torch.full((count,), value) for count, value in ((811, 0.5), (0, 0.0), (503, -0.25))]
    plan = Plan((2, 0, 1), (0.1, 0.0, 0.02, 0.3), (0.0, -6.0, 0.0), "white", 90.0, 7, 0.0)
    found = join(plan, ["one", "", "three"], sounds.__getitem__, rate=1000)
    assert [word.text for word in found.words] == ["three", "one", ""] and found.text == "three one"
    bounds = [(0.1, 0.603), (0.603, 1.414), (1.434, 1.434)]
    assert [(word.start, word.end) for word in found.words] == [pytest.approx(pair) for pair in bounds]
    assert len(found.samples) == 1734
    levels = [float(found.samples[part].abs().mean()) for part in (slice(0, 100), slice(110, 590), slice(613, 1404))]
    assert levels == pytest.approx([0.0, 0.25, 0.5 * 10**-0.3], abs=1e-3)
    assert 0 < float(found.samples[1500:].square().mean()) < 1e-8  # the noise is in the pauses, too


def test_noise_and_level_are_the_plans() -> None:
    sound = torch.sin(torch.arange(4000) * 0.3) * 0.5
    plan = Plan((0,), (0.0, 0.0), (0.0,), "pink", 20.0, 7, -12.0)
    found = join(plan, ["tone"], lambda clip: sound, rate=16_000).samples * 10**0.6
    noise = (found - sound)[100:-100]
    assert 10 * torch.log10(sound.square().mean() / noise.square().mean()) == pytest.approx(20.0, abs=0.5)


def test_fixed_strings_are_the_same_each_time_and_all_lengths_come(clips) -> None:
    records = read_recordings(clips, "validation")
    plans = fixed_plans(records, HOW, count=31)
    assert plans == fixed_plans(records, HOW, count=31) == fixed_plans(records, HOW)[:31]
    assert [len(plan.clips) for plan in plans] == [1 + i % 3 for i in range(31)]
    for plan in plans:
        assert len({records.speakers[clip] for clip in plan.clips}) == 1  # one voice
        assert all(0.05 <= pause <= 0.2 for pause in plan.pauses) and len(plan.pauses) == len(plan.clips) + 1
    assert len({plan.clips for plan in plans}) > 10
    one, other = (list(fixed_strings(records, HOW, rate=RATE, count=5)) for _ in range(2))
    for a, b, plan in zip(one, other, plans, strict=False):
        assert torch.equal(a.samples, b.samples) and a.words == b.words
        assert a.text == concat_text(plan, [text for _, text in records.items])
        assert a.words[-1].end <= len(a.samples) / RATE


def test_fixed_strings_become_files_that_are_read_back(clips, tmp_path, capsys) -> None:
    write_files(["--data", str(clips), "--out", str(tmp_path), "--count", "5"])
    assert capsys.readouterr().out == f"5 recordings are in {tmp_path / 'validation'}\n"
    expected = list(fixed_strings(read_recordings(clips, "validation"), count=5))
    found = read_recordings(tmp_path, "validation")
    assert [text for _, text in found.items] == [string.text for string in expected]
    rows = [json.loads(line) for line in (tmp_path / "validation" / "metadata.jsonl").read_text().splitlines()]
    for (path, _), row, string in zip(found.items, rows, expected, strict=True):
        torch.testing.assert_close(load_audio(path), string.samples, rtol=0, atol=1 / 32768)
        assert [word["word"] for word in row["words"]] == [word.text for word in string.words]
        times = [(word["start"], word["end"]) for word in row["words"]]
        assert times == [pytest.approx((word.start, word.end), abs=1e-4) for word in string.words]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--split", "other"], "there is no split 'other'", ""),
        (["--count", "0"], 2, "argument --count: must be at least 1, but is 0 instead"),
        (["--out", "{file}"], "recordings cannot be written here", ""),
    ],
)
def test_strings_that_cannot_be_written_are_one_line(options, status, message, clips, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    options = [option.format(file=tmp_path / "file") for option in options]
    with pytest.raises(SystemExit) as stop:
        write_files(["--data", str(clips), "--out", str(tmp_path / "out"), *options])
    assert stop.value.code == status if isinstance(status, int) else status in str(stop.value.code)
    assert message in capsys.readouterr().err


def test_speakers_who_are_not_known_are_taken_for_one(clips) -> None:
    drawn = {clip for i in range(50) for clip in HOW.plan(["", "", ""], (i,), count=2).clips}
    assert drawn == {0, 1, 2}


def test_strings_grow_with_the_epochs_of_a_training(clips) -> None:
    how = ConcatClips(clips=(1, 8), strings=16, growing_epochs=4)
    longest = [max(how.count(index, epoch=epoch) for index in range(16)) for epoch in range(6)]
    assert longest == [2, 3, 5, 6, 8, 8]
    assert {how.count(index, epoch=0) for index in range(16)} == {1, 2}
    assert [how.count(index) for index in range(9)] == [1, 2, 3, 4, 5, 6, 7, 8, 1], "in full, where no epoch is named"
    assert all(ConcatClips(clips=(3, 3), growing_epochs=2).count(i, epoch=0) == 3 for i in range(5))
    short = ConcatClips(clips=(1, 3), pause_s=(0.05, 0.2), strings=9, growing_epochs=5)
    items = make(clips, join=short, batch_size=3).training_items()
    assert [max(len(items[epoch, i].label.split()) for i in range(9)) for epoch in (0, 5)] == [2, 3]


def test_a_share_of_the_strings_is_bare_clips(clips) -> None:
    how = ConcatClips(clips=(2, 4), bare_share=0.4, bare_pause_s=0.2, gain_db=(0.0, 0.0), strings=150)
    bare = [index for index in range(150) if how.is_bare(index)]
    assert len(bare) == 60
    counts = [how.count(index) for index in range(150) if index not in bare]
    assert {counts.count(number) for number in (2, 3, 4)} == {30}, "all counts are as frequent as without bare clips"
    assert all(how.count(index) == how.count(index, epoch=0) == 1 for index in bare)
    records = read_recordings(clips, "validation")
    plans = fixed_plans(records, how, count=150)
    unlike = fixed_plans(records, ConcatClips(clips=(2, 4)), count=150)
    texts = [text for _, text in records.items]
    edges = []
    for index, plan in enumerate(plans):
        if index not in bare:
            assert plan.clips == unlike[index].clips and plan.pauses == unlike[index].pauses
            continue
        (clip,) = plan.clips
        samples = load_audio(records.items[clip][0], rate=RATE)
        found = join(plan, texts, lambda number: load_audio(records.items[number][0], rate=RATE), rate=RATE)
        before, after = (round(pause * RATE) for pause in plan.pauses)
        whole = torch.cat([torch.zeros(before), samples, torch.zeros(after)])
        assert torch.equal(found.samples, whole), "the clip as it is, between digital silence"
        edges += plan.pauses
    assert 0.3 < np.mean([edge == 0 for edge in edges]) < 0.7 and max(edges) <= 0.2
    assert len({plan.clips for plan in plans if plan.noise is None}) > 3


def test_validation_hears_the_fixed_strings(clips, monkeypatch) -> None:
    monkeypatch.setattr("multiattn.tasks.transcribe_data.FIXED_STRINGS", 11)
    data = make(clips, join=HOW, augmentation=AudioAugmentation(), eval_batch_size=4)
    batches: list[Any] = list(data.val_dataloader())
    records = data.records("validation")
    assert [i for b in batches for i in b.indices.tolist()] == list(range(11)) == list(range(len(records.items)))
    texts = [text for batch in batches for text in batch.texts]
    assert texts == [text for _, text in records.items]
    expected = list(fixed_strings(data.files("validation"), HOW, rate=RATE, count=11))
    assert texts == [string.text for string in expected]
    seconds = torch.cat([batch.seconds for batch in batches])
    torch.testing.assert_close(seconds, torch.tensor([len(string.samples) / RATE for string in expected]))
    assert FIXED_STRINGS == 400


@pytest.mark.parametrize("options", [{}, {"batch_seconds": 2.0}])
def test_training_strings_are_drawn_by_seed_epoch_and_index(options, clips) -> None:
    options = {"join": HOW, "augmentation": AudioAugmentation(), "max_bad_share": 1.0} | options
    data = make(clips, **options)
    first = epoch_of(data, 0)
    assert same(first, epoch_of(make(clips, **options), 0))
    later = epoch_of(data, 1)
    assert not same(first, later)
    assert same(later[1:], epoch_of(make(clips, **options), 1, start=1))
    other = make(clips, **options)
    other.seed = 5
    assert not same(first, epoch_of(other, 0))
    texts = dict(zip(_places(first), (text for batch in first for text in batch.texts), strict=True))
    assert all(data.records("train").items[place][1] == text for place, text in texts.items())
    assert len(data.records("train").items) == round(13 / 2)  # each clip about once
    assert sorted(_places(first)) == list(range(6))


def test_the_number_of_strings_can_be_stated(clips) -> None:
    data = make(clips, join=ConcatClips(clips=(2, 2), strings=17), batch_size=17)
    (batch,) = epoch_of(data, 0)
    assert len(batch.texts) == 17 and all(len(text.split()) == 2 for text in batch.texts)


def test_a_clip_that_cannot_be_read_is_named_and_other_strings_come(tmp_path) -> None:
    root = speak(tmp_path / "odd", single=True)
    for split, name in (("train", "3.wav"), ("validation", "2.wav")):
        (root / split / name).write_bytes(b"")
    data = make(root, join=HOW, batch_size=4, max_bad_share=0.9)
    with pytest.warns(UserWarning, match=r"of 6 recordings in train: `.*3\.wav` must be a recording .*is empty"):
        batches = [batch for epoch in range(4) for batch in epoch_of(data, epoch)]
    assert all(len(batch.indices) == 4 for batch in batches)
    with pytest.warns(UserWarning, match=r"of 400 recordings in validation: `.*2\.wav` must be a recording"):
        kept = sum(len(b.indices) for b in data.val_dataloader())
    used = [2 in plan.clips for plan in fixed_plans(data.files("validation"), data.join)]
    assert kept == 400 - sum(used) < 400


def test_a_string_that_is_too_long_is_said(clips) -> None:
    data = make(clips, join=ConcatClips(clips=(9, 9), strings=1), batch_size=1, max_bad_share=1.0)
    object.__setattr__(data.batches, "max_bad_share", 99.0)  # there are more clips than strings
    with (
        pytest.raises(InputError, match="Too many recordings in a row cannot be read"),
        pytest.warns(UserWarning) as told,
    ):
        epoch_of(data, 0)
    message = str(told[0].message)
    assert "the string '" in message and "must be at most 2 s long" in message and "Lower `clips`" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clips": (0, 3)}, r"`clips` must be two rising numbers from 1 on, but is \(0, 3\) instead"),
        ({"pause_s": (0.5, 0.1)}, r"`pause_s` must be two rising seconds, but is \(0.5, 0.1\) instead"),
        ({"noise_db": (5.0, 1.0)}, r"`noise_db` must be two rising numbers, but is \(5.0, 1.0\) instead"),
        ({"strings": 0}, "`strings` must be at least 1, but is 0 instead"),
        ({"bare_share": 1.5}, "`bare_share` must be from 0 to 1, but is 1.5 instead"),
        ({"bare_pause_s": -0.1}, "`bare_pause_s` must be seconds from 0 on, but is -0.1 instead"),
        ({"growing_epochs": -1}, "`growing_epochs` must be at least 0, but is -1 instead"),
    ],
)
def test_a_join_that_cannot_be_is_refused(fields, message) -> None:
    with pytest.raises(InputError, match=message):
        ConcatClips(**fields)


def _places(batches: Any) -> list[int]:
    return [int(place) for batch in batches for place in np.asarray(batch.indices)]
