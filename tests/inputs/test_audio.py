"""Recordings from wherever they come: the same samples whole, in blocks and in parts; and an error for what is none."""

import inspect
import io
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile as sf
import torch
import torchaudio.functional as taf

from multiattn.errors import InputError
from multiattn.inputs import Recording, find_recordings, load_audio


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def sine(seconds: float, *, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def written(samples: np.ndarray, rate: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, samples, rate, **({"format": "WAV"} | options))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [("wav", "PCM_24", 1e-6), ("flac", "PCM_16", 1e-4), ("aiff", "PCM_16", 1e-4), ("wav", "FLOAT", 0.0)],
)
def test_a_file_gives_the_mean_of_its_channels(suffix: str, subtype: str, tolerance: float, tmp_path: Path) -> None:
    channels = noise(1009, 7)
    file = tmp_path / f"seven.{suffix}"
    sf.write(file, channels, 16_000, subtype=subtype)
    expected = torch.from_numpy(channels.mean(axis=1))
    for source in (file, str(file), file.read_bytes()):
        found = load_audio(source)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance + 1e-7)


@pytest.mark.parametrize(("suffix", "rate"), [("ogg", 44_100), ("mp3", 22_050), ("opus", 48_000)])
def test_compressed_files_sound_the_same(suffix: str, rate: int, tmp_path: Path) -> None:
    file = tmp_path / f"tone.{suffix}"
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    sf.write(file, sine(0.7, rate=rate), rate, **options)
    found = load_audio(file).numpy()
    assert abs(len(found) / 16_000 - 0.7) < 0.05
    middle = found[3000:9000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == round(440 * len(middle) / 16_000)
    assert abs(np.sqrt(np.mean(middle**2)) - 0.5 / np.sqrt(2)) < 0.02


def test_arrays_and_tensors_are_taken_as_they_are() -> None:
    stereo = noise(2, 1013)
    expected = torch.from_numpy(stereo.mean(axis=0))
    for source in (stereo, torch.from_numpy(stereo), stereo.astype(np.float64), torch.from_numpy(stereo).double()):
        torch.testing.assert_close(load_audio(source), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(load_audio(stereo[0]), torch.from_numpy(stereo[0]), rtol=0, atol=0)
    whole = np.array([-32768, 0, 16384], np.int16)
    for source in (whole, torch.from_numpy(whole)):
        assert load_audio(source).tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 96_000])
def test_every_rate_is_resampled_as_torchaudio_does_it(rate: int) -> None:
    samples = torch.from_numpy(noise(rate + 31))
    expected = taf.resample(samples, rate, 16_000)
    torch.testing.assert_close(load_audio(samples, source_rate=rate), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 44_101])
def test_blocks_and_parts_equal_the_whole(rate: int) -> None:
    samples = noise(2 * rate + 57)
    whole = load_audio(samples, source_rate=rate)
    with Recording.open(samples, source_rate=rate) as recording:
        for seconds in (0.13, 0.5, 1.0, 30.0):
            blocks = list(recording.blocks(seconds))
            assert len(blocks) > 1 or seconds == 30.0 or rate == 44_101
            torch.testing.assert_close(torch.cat(blocks), whole, rtol=0, atol=1e-5)
        for start, end in ((0.0, 0.2), (1.31, 1.37), (0.7, 9.0), (0.50003, 1.9), (-1.0, 0.1)):
            expected = whole[max(0, round(start * 16_000)) : round(end * 16_000)]
            torch.testing.assert_close(recording.read(start, end), expected, rtol=0, atol=1e-5)
        assert len(recording.read(5.0, 6.0)) == len(recording.read(1.0, 1.0)) == 0


def test_parts_of_a_file_equal_the_whole(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp3", "a.ogg"):
        sf.write(tmp_path / name, noise(44_100 * 3), 44_100)
        whole = load_audio(tmp_path / name)
        with Recording.open(tmp_path / name) as recording:
            assert recording.duration == pytest.approx(3.0)
            for start in (2.5, 0.0, 1.25):  # backwards, too
                expected = whole[round(start * 16_000) : round((start + 0.4) * 16_000)]
                torch.testing.assert_close(recording.read(start, start + 0.4), expected, rtol=0, atol=1e-4)


def test_a_long_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    rate, minutes = 8_000, 20
    file = tmp_path / "long.wav"
    with sf.SoundFile(file, "w", rate, 1) as out:
        for _ in range(minutes):
            out.write(np.zeros(60 * rate, np.float32))
    tracemalloc.start()
    with Recording.open(file) as recording:
        total = sum(len(block) for block in recording.blocks(10.0))
    peak = tracemalloc.get_traced_memory()[1]  # what numpy takes; torch has as much again
    tracemalloc.stop()
    assert total == minutes * 60 * 16_000
    assert peak < 4_000_000  # bytes; the whole is 38 million


def test_the_file_is_let_go(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", noise(100), 16_000)
    recording = Recording.open(tmp_path / "a.wav")
    recording.close()
    with pytest.raises(RuntimeError, match="closed"):
        recording.read(0.0, 0.001)


@pytest.mark.parametrize("count", [1, 2, 201])
def test_one_sample_is_a_recording(count: int) -> None:
    assert len(load_audio(noise(count))) == count
    assert len(load_audio(noise(count), source_rate=8_000)) == 2 * count
    assert load_audio(written(noise(count), 16_000, subtype="FLOAT")).tolist() == noise(count).tolist()


def test_silence_is_a_recording() -> None:
    assert load_audio(written(np.zeros(1001, np.float32), 16_000)).abs().max() == 0


BAD = {
    "empty": (b"", "is empty instead"),
    "text": (b"not a sound, but words", "is text instead"),
    "numbers": (bytes(range(256)) * 20, "is something else instead"),
    "zeros": (bytes(5000), "is something else instead"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a picture instead"),
    "pdf": (b"%PDF-1.7 " + bytes(100), "is a PDF document instead"),
    "midi": (b"MThd" + bytes(100), r"is a MIDI file \(notes without sound\) instead"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", r"is a pointer of Git LFS \(run `git lfs pull`\) instead"),
    "header only": (written(noise(0), 16_000), "have at least one sample, but has none instead"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_recording_is_named(name: str, tmp_path: Path) -> None:
    data, reason = BAD[name]
    with pytest.raises(InputError, match=f"^the bytes must .*{reason}"):
        load_audio(data)
    file = tmp_path / "odd.wav"
    file.write_bytes(data)
    with pytest.raises(InputError, match=f"^`.*odd.wav` must .*{reason}"):
        load_audio(file)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>not found</html>", "is text instead. Is it the right file"),
        (b"\x89PNG" + bytes(100), "is a picture instead. Is it the right file"),
        (
            bytes(range(256)) * 20,
            r"is damaged or cut off instead \(no sound is found in it\). Fetch or export it again",
        ),
    ],
)
def test_what_is_only_called_mp3_is_named(data: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.mp3"  # libsndfile takes the suffix at its word, and says that the file does not exist
    file.write_bytes(data)
    with pytest.raises(InputError, match=reason):
        load_audio(file)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "mp3", "w64", "caf"])
def test_a_file_that_is_cut_off_is_said(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"cut.{suffix}"
    sf.write(file, noise(40_009), 16_000)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=r"cut\.\w+` must be a whole recording, but is damaged or cut off instead"):
        load_audio(file)


def test_a_wav_of_unstated_length_is_read_to_its_end() -> None:
    data = bytearray(written(noise(777), 16_000))
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    assert len(load_audio(bytes(data))) == 777


@pytest.mark.parametrize("riff", [0, 36, None])
def test_a_wav_whose_header_was_never_finished_is_read_to_its_end(riff: int | None, tmp_path: Path) -> None:
    data = bytearray(written(noise(777), 16_000))
    place = data.index(b"data") + 4
    data[place : place + 4] = bytes(4)
    if riff is not None:
        data[4:8] = riff.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    for source in (bytes(data), tmp_path / "a.wav"):
        assert len(load_audio(source)) == 777


@pytest.mark.parametrize("after", [b"", b"LIST\4\0\0\0INFO"])
def test_an_empty_wav_stays_empty(after: bytes) -> None:
    with pytest.raises(InputError, match="must have at least one sample"):
        load_audio(written(noise(0), 16_000) + after)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "RF64"])
def test_a_tag_before_a_recording_takes_nothing_off_it(kind: str, tmp_path: Path) -> None:
    data = written(noise(777), 16_000, format=kind)
    tagged = b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + data
    (tmp_path / "a").write_bytes(tagged)
    for source in (tagged, tmp_path / "a"):
        assert torch.equal(load_audio(source), load_audio(data))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_said_with_their_time(value: float) -> None:
    samples = noise(2, 16_003)
    samples[1, 12_000] = value
    message = "must have finite samples, but has NaN or infinite ones instead, from second 0.750 on"
    with pytest.raises(InputError, match=message):
        load_audio(samples)
    with pytest.raises(InputError, match=message):
        load_audio(written(samples.T, 16_000, subtype="FLOAT"))


def test_samples_whose_squares_are_infinite_are_said() -> None:
    with pytest.raises(
        InputError, match=r"must have samples from -1 to 1, but has 1e\+20 instead, from second 0.000 on. Repair"
    ):
        load_audio(written(np.full(1009, -1e20, np.float32), 16_000, subtype="FLOAT"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (noise(3, 2, 5), r"must have the shape \[t\] or \[channels, t\].*but has \[3, 2, 5\] instead"),
        (noise(1009, 2), r"but has \[1009, 2\] instead. Is it transposed"),
        (noise(0, 5), r"but has \[0, 5\] instead"),
        (noise(0), "must have at least one sample, but has none instead"),
        (np.zeros(5, np.uint8), "must be of floats or of int16, but is of uint8 instead"),
        (np.full(5, 12_000.0), "must have floats from -1 to 1, but has 12000 instead. Divide by full scale"),
        ("missing.wav", "must be a file or folder, but is missing instead"),
    ],
)
def test_other_sources_are_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_audio(source)


def test_a_source_of_another_type_is_refused() -> None:
    with pytest.raises(InputError, match="`source` must be a path, bytes, .* but is of type int instead."):
        inspect.unwrap(Recording._source_of)(7, rate=16_000, source_rate=None, strict=True)  # past the type checker


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`rate` must be at least 1 Hz, but is 0 instead"):
        load_audio(noise(5), rate=0)
    with pytest.raises(InputError, match="`source_rate` must be None for a file"):
        load_audio(written(noise(5), 8_000), source_rate=8_000)
    with pytest.raises(InputError, match="is a folder instead. `multiattn.inputs.find_recordings` lists its files"):
        load_audio(tmp_path)
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(InputError, match="is raw samples, which state neither rate nor type, instead"):
        load_audio(tmp_path / "a.raw")


def test_recordings_are_found_in_folders_and_by_patterns(tmp_path: Path) -> None:
    for name in ("b.WAV", "a.flac", "deep/c.m4a", ".hidden.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    named = [file.relative_to(tmp_path).as_posix() for file in find_recordings([tmp_path, tmp_path / "notes.txt"])]
    assert named == ["a.flac", "b.WAV", "deep/c.m4a", "notes.txt"]
    assert find_recordings([str(tmp_path / "*.flac")]) == [tmp_path / "a.flac"]
    with pytest.raises(
        InputError, match="must match at least one recording, but matches none instead. Recordings end in"
    ):
        find_recordings([str(tmp_path / "*.ogg")])
    with pytest.raises(InputError, match="`https://example.org/a.wav` must be a path, but is a web address instead"):
        find_recordings(["https://example.org/a.wav"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="must hold at least one recording, but holds none instead"):
        find_recordings([tmp_path / "bare"])


# by PyAV


def packed(path: Path, samples: np.ndarray, rate: int, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, len(samples), 1000):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1000], format="fltp", layout="mono")
            frame.rate, frame.pts = rate, start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec"), [("m4a", "aac"), ("mp4", "aac"), ("mka", "pcm_f32le"), ("webm", "libopus")]
)
def test_containers_are_read(suffix: str, codec: str, tmp_path: Path) -> None:
    rate = 48_000
    time = np.arange(2 * rate) / rate
    samples = (0.4 * np.sin(2 * np.pi * (200 + 400 * time) * time)).astype(np.float32)  # like itself nowhere else
    file = packed(tmp_path / f"a.{suffix}", samples, rate, codec)
    expected = load_audio(samples, source_rate=rate)
    for source in (file, file.read_bytes()):
        found = load_audio(source)
        assert abs(len(found) - len(expected)) < 1600  # an encoder may put some at the ends
        reach = 1600
        middle = expected[reach : len(expected) - 2 * reach]
        at = [float((found[s : s + len(middle)] - middle).square().mean()) for s in range(0, 2 * reach)]
        assert min(at) < 1e-3 and abs(int(np.argmin(at)) - reach) < 500
    with Recording.open(file) as recording:
        assert recording.duration == pytest.approx(2.0, abs=0.1)
        whole = load_audio(file)
        for start in (1.5, 0.2, 1.0):  # to a millisecond, which is how some containers count
            part, first = recording.read(start, start + 0.3), round(start * 16_000)
            near = [whole[first + s : first + s + len(part)] for s in range(-16, 17)]
            assert min(float((part - other).square().mean()) for other in near) < 1e-3


def test_a_damaged_container_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a whole recording, but is damaged or cut off instead"):
        load_audio(b"\x00\x00\x00\x18ftypM4A " + bytes(300))


def test_a_container_that_pyav_refuses_without_a_reason_of_the_system_is_named(tmp_path, monkeypatch):
    def refusing(*args, **options):
        raise ValueError("no such demuxer")

    monkeypatch.setattr(av, "open", refusing)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x0cftypM4A ")
    with pytest.raises(InputError, match=r"a\.m4a` must be a whole recording, but is damaged .* \(no such demuxer\)"):
        load_audio(tmp_path / "a.m4a")


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("late", [0, 1])
def test_sound_that_starts_late_in_a_film_keeps_its_time(suffix: str, late: int, tmp_path: Path) -> None:
    rate = 16_000
    with av.open(str(tmp_path / f"a.{suffix}"), "w") as container:
        film = container.add_stream("mpeg4", rate=10, width=16, height=16, pix_fmt="yuv420p")
        track = container.add_stream("aac", rate=rate, layout="mono")
        for at in range(20):
            image = av.VideoFrame(16, 16, "yuv420p")
            image.pts = at
            container.mux(film.encode(image))
        container.mux(film.encode(None))
        tone = np.sin(np.arange(10 * 1024, dtype=np.float32) * 0.2)[None] * 0.5
        for start in range(0, tone.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, start : start + 1024].copy(), format="fltp", layout="mono")
            frame.rate, frame.pts = rate, late * rate + start
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    with Recording.open(tmp_path / f"a.{suffix}", strict=False) as recording:
        found = torch.cat(list(recording.blocks()))
        assert recording.damaged is None
        assert recording.duration is None or recording.duration == pytest.approx(len(found) / rate, abs=0.15)
    assert int(found.abs().gt(0.05).nonzero()[0]) / rate == pytest.approx(late, abs=0.1)
