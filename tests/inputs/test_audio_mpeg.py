"""MP3 as people have them: heard to the end, whatever a header says, and alike from any place."""

import io
import struct
from functools import cache

import numpy as np
import pytest
import soundfile
import torch

from multiattn.inputs import Recording, load_audio
from multiattn.inputs.audio_mpeg_frames import frame_of, tag_length
from tests.inputs.sounds import encoded, heard, noise

RATE = 16_000
ID3V1 = b"TAG" + b"A title".ljust(124, b"\0") + b"\1"


@cache
def mp3(rate: int = 44_100, channels: int = 1, seconds: float = 1.5, xing: int = 0, seed: int = 0) -> bytes:
    """Noise by ffmpeg's encoder; without a header unless `xing`."""
    samples = noise(channels, round(rate * seconds), seed=seed)
    return encoded(samples, rate, "libmp3lame", "mp3", write_xing=str(xing), id3v2_version="0")


def seconds_of(data: bytes) -> float:
    """Counted from whole frames, without anything of the product but their sizes."""
    at, seconds = 0, 0.0
    while (frame := frame_of(data[at : at + 4])) is not None:
        at, seconds = at + frame.size, seconds + frame.samples / frame.rate
    return seconds


def ape(text: bytes, *, header: bool) -> bytes:
    item = struct.pack("<II", len(text), 0) + b"Title\0" + text
    facts = struct.pack("<III", 2000, len(item) + 32, 1)
    foot = b"APETAGEX" + facts + struct.pack("<I", header << 31) + bytes(8)
    return (b"APETAGEX" + facts + struct.pack("<I", 0xA0000000) + bytes(8) if header else b"") + item + foot


def id3(size: int) -> bytes:
    stated = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + stated + np.random.default_rng(0).bytes(size)


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_every_rate_is_heard_to_the_end(rate: int) -> None:
    for channels in (1, 2):
        data = mp3(rate, channels)
        found, damage = heard(data)
        assert damage is None
        assert len(found) / RATE == pytest.approx(seconds_of(data), abs=1e-3) and seconds_of(data) >= 1.5
        # with its header, the encoder's delay is cut away: the samples are those that were encoded
        found, damage = heard(mp3(rate, channels, xing=1))
        assert damage is None and abs(len(found) - 1.5 * RATE) < 2


SAME = {
    "an ID3v2 tag with a large picture": lambda data: id3(1_500_000) + data,
    "two ID3v2 tags": lambda data: id3(300) + id3(20) + data,
    "an ID3v1 tag": lambda data: data + ID3V1,
    "an APE tag": lambda data: data + ape(b"A title", header=True),
    "an old APE tag and ID3v1": lambda data: data + ape(b"A title", header=False) + ID3V1,
    "an APE tag in front": lambda data: ape(b"A title", header=True) + data,
    "zeros in front": lambda data: bytes(4000) + data,
    "a server's words in front": lambda data: b"ICY 200 OK\r\n\xfficy-br:64\r\n\r\n" + data,
    "text at the end": lambda data: data + b"<html>503</html>" * 99,
    "zeros at the end": lambda data: data + bytes(9000),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_around_the_sound_does_not_matter(name: str) -> None:
    expected = load_audio(mp3())
    found, damage = heard(SAME[name](mp3()))
    assert damage is None
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 2.0])
@pytest.mark.parametrize("fields", [("frames",), ("frames", "size")])
def test_a_wrong_header_does_not_matter(share: float, fields: tuple[str, ...]) -> None:
    data = bytearray(mp3(xing=1))
    place = data.index(b"Info") + 8
    for i, _ in enumerate(fields):
        [stated] = struct.unpack_from(">I", data, place + 4 * i)
        struct.pack_into(">I", data, place + 4 * i, round(stated * share))
    found, damage = heard(bytes(data))
    assert damage is None and abs(len(found) / RATE - 1.5) < 0.1


def test_a_fraunhofer_header_with_a_wrong_length_does_not_matter() -> None:
    data = mp3()
    frame = frame_of(data[:4])
    assert frame is not None
    first = bytearray(frame.size)
    first[:4], first[36:40] = data[:4], b"VBRI"
    first[46:54] = struct.pack(">II", 99_999, 7)
    torch.testing.assert_close(load_audio(bytes(first) + data), load_audio(data), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("first", "second"),
    [((44_100, 1), (44_100, 1)), ((44_100, 2), (44_100, 1)), ((44_100, 1), (16_000, 2)), ((8_000, 1), (48_000, 2))],
)
def test_joined_files_are_heard_to_the_end(first: tuple[int, int], second: tuple[int, int]) -> None:
    for xing in (0, 1):
        one, two = mp3(*first, xing=xing), mp3(*second, xing=xing, seed=1)
        for between in (b"", ID3V1, ID3V1 + id3(5000)):
            found, damage = heard(one + between + two)
            assert damage is None
            assert abs(len(found) / RATE - seconds_of(one) - seconds_of(two)) < 0.25 * xing + 0.01
            assert found[-RATE // 2 : -RATE // 4].std() > 0.02  # noise to the end


def test_a_capture_that_begins_and_ends_inside_a_frame_is_whole() -> None:
    data = mp3(16_000, seconds=3.0)
    found, damage = heard(data[777:-33])
    assert damage is None and abs(len(found) / RATE - seconds_of(data) * (1 - 777 / len(data))) < 0.08
    # but for the first frames, which use bits of those that are missing
    expected = load_audio(data)
    torch.testing.assert_close(found[9000:40_000], expected[-len(found) :][9000:40_000], rtol=0, atol=1e-4)


def test_parts_equal_the_whole_and_joints_too() -> None:
    for data in (mp3(xing=1), mp3(xing=1) + mp3(channels=2, xing=1), mp3(16_000, 2), mp3() + mp3(22_050)):
        whole = load_audio(data)
        with Recording.open(data) as recording:
            for start in (1.2, 0.1, 1.45, 2.4):
                found = recording.read(start, start + 0.3)
                expected = whole[round(start * RATE) : round((start + 0.3) * RATE)]
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("xing", [0, 1])
def test_the_samples_are_those_of_libsndfile(xing: int) -> None:
    time = np.arange(RATE * 2) / RATE
    sweep = (0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time)).astype(np.float32)
    data = encoded(sweep, RATE, "libmp3lame", "mp3", write_xing=str(xing), id3v2_version="0")
    former, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    found = load_audio(data).numpy()
    assert abs(len(found) - len(former)) <= 1  # without any shift
    assert np.abs(found[:30_000] - former[:30_000]).max() < 1e-4


def test_heads_and_tags_state_their_lengths() -> None:
    assert frame_of(b"\xff\xfb\x90\x00") == (417, 1152, 44_100, 2, 1, 3)
    assert frame_of(b"\xff\xf3\x40\xc0") == (104, 576, 22_050, 1, 2, 3)
    assert frame_of(b"\xff\xe3\x10\xc0") == (52, 576, 11_025, 1, 2, 3)
    assert frame_of(b"\xff\xfd\x80\xc0") == (417, 1152, 44_100, 1, 1, 2)
    assert frame_of(b"\xff\xff\x40\x00") == (12 * 128_000 // 44_100 * 4, 384, 44_100, 2, 1, 1)
    for other in (b"\xff\xf1\x50\x80", b"\xff\xfb\xf0\x00", b"\xff\xfb\x00\x00", b"\xff\xfb", b"RIFF"):
        assert frame_of(other) is None
    assert tag_length(id3(300)[:227], 10_000) == 310
    assert tag_length(id3(300)[:227], 100) == 10  # more than there is: its header only
    assert tag_length(b"no tag", 100) == 0
