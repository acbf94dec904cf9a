"""One channel, a part, and the comparison of channels, of recordings made here."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Recording, load_audio
from multiattn.inputs.audio_channels import check_channel, choose_channels, compare_channels

RATE = 8_000


def voice(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Noise that is loud and soft as speech is, other moments for each seed."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.02, 0.3, 1.0], size=round(5 * seconds))
    loud = np.repeat(steps, RATE // 5)
    return (0.2 * loud * rng.standard_normal(len(loud))).astype(np.float32)


def opened(*channels: np.ndarray) -> Recording:
    return Recording.open(np.stack(channels).astype(np.float32), rate=RATE)


ONE, OTHER = voice(3), voice(5)
QUIET = 1e-4 * np.random.default_rng(7).standard_normal(len(ONE)).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "cancel", "differ"),
    [
        ((ONE, ONE), False, False),
        ((ONE, 0.3 * ONE), False, False),
        ((ONE, QUIET), False, False),
        ((ONE, np.roll(ONE, 40)), False, False),  # two microphones: 5 ms apart, hardly correlated, loud together
        ((ONE, -ONE), True, False),
        ((ONE, -0.8 * ONE + QUIET), True, False),
        ((ONE, -0.3 * ONE), False, False),  # a third of it is left
        ((ONE, OTHER), False, True),
        ((ONE, QUIET, 0.5 * OTHER), False, True),
        ((ONE, -ONE, QUIET), True, False),
        ((0 * ONE, 0 * ONE), False, False),
    ],
)
def test_channels_are_compared(channels, cancel, differ) -> None:
    with opened(*channels) as recording:
        found = compare_channels(recording)
    assert (found.cancel, found.differ) == (cancel, differ)
    power = [float((one**2).sum()) for one in channels]
    assert power[found.loudest] >= 0.99 * max(power)


def test_what_is_shorter_than_a_frame_or_empty_is_compared_too() -> None:
    for count in (0, 1, 799, 801):
        with opened(ONE[:count], -ONE[:count]) as recording:
            assert compare_channels(recording).differ is False


def test_auto_takes_the_loudest_where_channels_cancel() -> None:
    with opened(0.7 * ONE, -ONE) as recording:
        chosen = choose_channels(recording, "auto")
        [(name, alone)] = chosen.voices
        assert name is None and torch.equal(torch.cat(list(alone.blocks())), torch.from_numpy(-ONE))
        assert chosen.remark == "has channels that cancel each other in their mean: channel right alone is transcribed"
        mixed = choose_channels(recording, "mix")
        assert mixed.voices[0].recording is recording and "which is transcribed: channel right" in (mixed.remark or "")
    with opened(ONE, OTHER) as recording:
        chosen = choose_channels(recording, "auto")
        assert chosen.voices[0].recording is recording and "`each` keeps them apart" in (chosen.remark or "")
    with opened(ONE) as recording:
        assert choose_channels(recording, "auto") == choose_channels(recording, "mix")
        assert choose_channels(recording, "auto").remark is None


def test_channels_are_picked_by_name_and_number(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "two.flac", np.stack([ONE, OTHER], axis=1), RATE)
    for channel, samples in (("left", ONE), ("right", OTHER), (1, ONE), (2, OTHER)):
        with Recording.open(tmp_path / "two.flac", rate=16_000) as recording:
            [(name, alone)] = choose_channels(recording, channel).voices
            found = torch.cat(list(alone.blocks(1.7)))
            again = alone.read(1.0, 2.0)
            assert alone.measure() == pytest.approx(6.0) and name is None
        expected = load_audio(np.float32(np.round(samples * 32768) / 32768), rate=16_000, source_rate=RATE)
        assert found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4)
        assert torch.allclose(again, expected[16_000:32_000], atol=1e-4)


def test_each_has_all_by_name() -> None:
    with opened(ONE, OTHER) as recording:
        voices = choose_channels(recording, "each").voices
        assert [one.channel for one in voices] == ["left", "right"]
        for (_, alone), samples in zip(voices, (ONE, OTHER), strict=True):
            assert torch.equal(torch.cat(list(alone.blocks(0.9))), torch.from_numpy(samples))
    with opened(ONE, OTHER, QUIET) as recording:
        assert [one.channel for one in choose_channels(recording, "each").voices] == ["1", "2", "3"]
    with opened(ONE) as recording:
        assert [one.channel for one in choose_channels(recording, "each").voices] == [None]


def test_a_channel_that_is_not_there_is_named() -> None:
    with (
        opened(ONE, OTHER) as recording,
        pytest.raises(InputError, match="must have the channel 3, but has 2 channels"),
    ):
        choose_channels(recording, 3)
    with (
        opened(ONE) as recording,
        pytest.raises(InputError, match="the channel right, but has one channel only instead"),
    ):
        choose_channels(recording, "right")
    assert (check_channel("2"), check_channel("left"), check_channel(7)) == (2, "left", 7)
    for wrong in ("middle", "0", 0, -1, "", True, "1.5"):
        with pytest.raises(ModelError, match="`channel` must be auto, mix, each, left, right, or a number from 1"):
            check_channel(wrong)


def test_a_channel_outlives_the_recording_it_reads_from() -> None:
    alone = opened(ONE, OTHER).channel(1)
    assert torch.equal(torch.cat(list(alone.blocks())), torch.from_numpy(OTHER))


@pytest.mark.parametrize(("start", "end"), [(0.0, 2.0), (1.3, 4.1), (5.5, 9.0), (2.0, math.inf), (7.0, 8.0)])
def test_a_part_is_read_as_a_recording(start: float, end: float) -> None:
    with opened(ONE) as recording:
        part = recording.part(start, end)
        expected = torch.from_numpy(ONE[round(start * RATE) : round(min(end, 99.0) * RATE)])
        assert torch.equal(torch.cat([torch.zeros(0), *part.blocks(0.7)]), expected)
        assert part.measure() == pytest.approx(len(expected) / RATE)
        assert torch.equal(part.read(0.25, 0.75), expected[RATE // 4 : 3 * RATE // 4])


def test_samples_that_are_none_are_silence_in_a_channel_and_said() -> None:
    broken = ONE.copy()
    broken[800:1600] = np.nan
    with Recording.open(np.stack([broken, OTHER]), rate=RATE, strict=False) as recording:
        [(_, alone)] = choose_channels(recording, "left").voices
        assert torch.cat(list(alone.blocks()))[800:1600].abs().max() == 0
        assert alone.damaged is not None and "0.100 and 0.200" in str(alone.damaged)
        compare_channels(recording)
    with Recording.open(np.stack([broken, OTHER]), rate=RATE) as recording, pytest.raises(InputError, match="finite"):
        compare_channels(recording)
