"""Recordings that are damaged, cut off, empty or absurd: what can be read is, and what is missing is named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from multiattn.errors import InputError
from multiattn.inputs import Recording, load_audio
from tests.inputs.sounds import encoded, heard, noise, packed, written

RATE = 16_000


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def scratched(data: bytes, count: int = 300, *, at: float = 0.5) -> bytes:
    """Bytes in the middle replaced by ones that mean nothing."""
    place = int(len(data) * at)
    return data[:place] + bytes([0x55]) * count + data[place + count :]


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "rf64", "flac", "caf", "ogg", "opus", "mp3"])
def test_what_is_left_of_a_file_that_is_cut_off_is_read(suffix: str) -> None:
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {"format": suffix.upper()}
    # the pages of an Ogg file hold about a second
    samples = noise(RATE * 9 if kind["format"] == "OGG" else 40_009)
    whole = written(samples, RATE, **kind)
    expected = load_audio(whole)
    found, damage = heard(cut(whole))
    assert 0.2 * len(expected) < len(found) < 0.75 * len(expected)
    assert damage is not None
    assert float(damage.place.split()[-2]) == pytest.approx(len(found) / RATE, abs=0.01)
    if suffix in ("wav", "aiff", "au", "w64", "rf64", "caf", "mp3"):
        assert damage.share == pytest.approx(1 - len(found) / len(expected), abs=0.03)
    near = len(found) - 3000  # the last frame may be incomplete, and a decoder may end a block in another way
    if suffix == "opus":  # decoded at 48 kHz, and not at that of the encoder's input, which libsndfile takes
        assert torch.corrcoef(torch.stack([found[:near], expected[:near]]))[0, 1] > 0.95
    else:
        torch.testing.assert_close(found[:near], expected[:near], rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="must be a whole recording, but is damaged or cut off instead"):
        load_audio(cut(whole))
    assert heard(whole)[1] is None


@pytest.mark.parametrize("suffix", ["flac", "mp3", "ogg"])
def test_damage_in_the_middle_is_silence_and_later_times_stay_right(suffix: str) -> None:
    samples = noise(RATE * 9)
    whole = written(samples, RATE, format=suffix.upper())
    expected = load_audio(whole)
    found, damage = heard(scratched(whole))
    assert len(found) == len(expected)
    assert damage is not None and damage.place.startswith("between seconds ")
    first, last = map(float, damage.place.removeprefix("between seconds ").split(" and "))
    assert damage.share == pytest.approx((last - first) / 9, abs=0.01) and 0 < last - first < 3
    before, after = round((first - 0.1) * RATE), round((last + 0.3) * RATE)
    torch.testing.assert_close(found[:before], expected[:before], rtol=0, atol=1e-4)
    torch.testing.assert_close(found[after:-RATE], expected[after:-RATE], rtol=0, atol=1e-4)
    assert not found[round((first + 0.05) * RATE) : round((last - 0.05) * RATE)].any() or suffix == "ogg"
    with pytest.raises(InputError, match="damaged or cut off"):
        load_audio(scratched(whole))


def test_parts_of_a_damaged_file_equal_the_whole() -> None:
    for suffix in ("FLAC", "MP3"):
        data = scratched(written(noise(RATE * 5), RATE, format=suffix))
        whole, _ = heard(data)
        with Recording.open(data, strict=False) as recording:
            for start in (2.4, 0.1, 3.0):
                part = recording.read(start, start + 0.5)
                assert torch.equal(part, whole[round(start * RATE) : round((start + 0.5) * RATE)])


@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libopus"), ("mka", "flac"), ("mp4", "aac")])
def test_a_container_that_is_cut_off_is_read_as_far_as_it_goes(suffix: str, codec: str, tmp_path: Path) -> None:
    options = {"movflags": "+faststart"} if suffix == "mp4" else {}
    file = packed(tmp_path / f"a.{suffix}", noise(48_000 * 4), 48_000, codec, options)
    whole, damage = heard(file)
    assert damage is None
    file.write_bytes(cut(file.read_bytes()))
    found, damage = heard(file)
    assert 0.5 * len(whole) < len(found) < 0.75 * len(whole)
    assert damage is not None and damage.place == f"from second {len(found) / RATE:.3f} on"
    assert damage.share == pytest.approx(1 / 3, abs=0.05)
    with pytest.raises(InputError, match="damaged or cut off"):
        load_audio(file)


def test_a_lost_page_of_an_ogg_file_is_found() -> None:
    data = written(noise(RATE * 9), RATE, format="OGG", subtype="OPUS")
    places = [place for place in range(len(data)) if data[place : place + 4] == b"OggS"]
    assert len(places) > 6
    expected = load_audio(data)
    found, damage = heard(data[: places[4]] + data[places[5] :])
    assert damage is not None and damage.reason == "pages are missing"
    assert abs(len(found) - len(expected)) < 0.05 * RATE
    with pytest.raises(InputError, match="pages are missing"):
        load_audio(data[: places[4]] + data[places[5] :])


@pytest.mark.parametrize("suffix", ["FLAC", "OGG"])
def test_joined_files_are_read_to_the_end(suffix: str) -> None:
    one, two = (written(noise(RATE * 2, seed=seed), RATE, format=suffix) for seed in (1, 2))
    found, damage = heard(one + two)
    assert damage is None and abs(len(found) - RATE * 4) < 300  # where Vorbis ends inside a block
    torch.testing.assert_close(found[: RATE * 3 // 2], load_audio(one)[: RATE * 3 // 2], rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_samples_that_are_no_sound_become_silence(value: float) -> None:
    samples = noise(RATE)
    samples[4000:8000] = value
    for source in (samples, written(samples, RATE, subtype="FLOAT")):
        if source is samples and value == 1e20:
            continue  # an array is refused: it was not divided by full scale
        found, damage = heard(source)
        assert damage is not None
        assert damage.place == "between seconds 0.250 and 0.500" and damage.share == pytest.approx(0.25)
        expected = np.where((np.arange(RATE) < 4000) | (np.arange(RATE) >= 8000), samples, 0)
        assert np.array_equal(found.numpy(), expected.astype(np.float32))


def test_a_recording_without_samples_is_open_and_has_no_blocks() -> None:
    for source in (np.zeros(0, np.float32), written(noise(0), RATE)):
        with Recording.open(source) as recording:
            assert list(recording.blocks()) == [] and recording.measured == 0.0 and recording.damaged is None
            assert len(recording.read(0.0, 1.0)) == 0
        with pytest.raises(InputError, match="must have at least one sample, but has none instead"):
            load_audio(source)


@pytest.mark.parametrize(("suffix", "subtype"), [("WAV", "GSM610"), ("XI", "DPCM_16"), ("WAV", "G721_32")])
def test_formats_without_seeks_are_read(suffix: str, subtype: str) -> None:
    rate = 44_100 if suffix == "XI" else 8_000
    data = written(noise(2 * rate), rate, format=suffix, subtype=subtype)
    whole = load_audio(data)
    assert len(whole) == pytest.approx(2 * RATE, rel=0.02)
    with Recording.open(data) as recording:
        for start in (1.0, 0.2):
            expected = whole[round(start * RATE) : round(start * RATE) + 1600]
            torch.testing.assert_close(recording.read(start, start + 0.1), expected, rtol=0, atol=1e-5)


def test_ogg_is_read_alike_from_any_place() -> None:
    # libsndfile's own seeks miss by up to a block here
    data = written(noise(44_100 * 6, 2), 44_100, format="OGG")
    with Recording.open(data) as recording:
        whole = torch.cat(list(recording.blocks()))
        for at in (198_693, 233_372, 67_873, 134_027):
            start = at / 44_100
            found = recording.read(start, start + 0.2)
            assert torch.allclose(found, whole[round(start * RATE) : round((start + 0.2) * RATE)], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [0, 10, 999, 768_001, 999_983, 2**31 - 1])
def test_an_absurd_rate_is_refused_at_once(rate: int) -> None:
    data = bytearray(written(noise(4), RATE))
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(InputError, match=r"^the bytes must [^\n]* instead[^\n]*$") as error:
        load_audio(bytes(data))
    assert not rate or f"a sampling rate of 1000 to 768000 Hz, but has {rate} Hz" in str(error.value)


def test_the_filter_of_an_odd_rate_stays_small() -> None:
    with Recording.open(noise(200_000), source_rate=767_999) as recording:
        assert recording._from * recording._to <= 1 << 22
        assert abs(recording._from / recording._to / (767_999 / RATE) - 1) < 1e-5
        assert sum(map(len, recording.blocks())) == pytest.approx(200_000 * RATE / 767_999, abs=2)


def test_many_channels_take_no_more_memory() -> None:
    data = bytearray(written(noise(100, 2), RATE))
    data[22:24] = (1000).to_bytes(2, "little")  # channels
    data[32:34] = (2000).to_bytes(2, "little")
    with pytest.raises(InputError), Recording.open(bytes(data)) as recording:
        assert recording._piece(1 << 20).nbytes < 1 << 20
        raise InputError("")


def test_codecs_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for suffix in ("MP3", "FLAC", "OGG", "WAV"):
        whole = written(noise(RATE * 3), RATE, format=suffix)
        for data in (cut(whole), scratched(whole), whole[777:], whole + b"\xff" * 500):
            try:
                heard(data)
            except InputError:
                pass
    heard(encoded(noise(RATE), RATE, "aac", "adts")[:-100])
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_recording_is_closed_and_named() -> None:
    for data in (b"RIFF\xff\xff\xff\xffWAVE" + bytes(9), b"fLaC" + bytes(3), b"OggS" + bytes(40), b"\xff\xfb\x90" * 3):
        with pytest.raises(InputError, match=r"^the bytes must be [^\n]*$"):
            load_audio(data)
