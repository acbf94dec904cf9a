"""Sound: every container and codec that is read."""

import io
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import torch

from multiattn.errors import MultiattnError
from multiattn.inputs import AudioPreprocessing, Recording

from .headers import with_ogg_number
from .sample import Sample

_MEL = AudioPreprocessing(pad_to=None)


def samples() -> list[Sample]:
    wanted: list[tuple[str, str, str, int, int]] = [
        ("plain.wav", "WAV", "PCM_16", 8000, 1),
        ("stereo.wav", "WAV", "PCM_24", 11025, 2),
        ("bytes.wav", "WAV", "PCM_U8", 8000, 1),
        ("float.wav", "WAV", "FLOAT", 16000, 1),
        ("double.wav", "WAVEX", "DOUBLE", 8000, 2),
        ("ulaw.wav", "WAV", "ULAW", 8000, 1),
        ("alaw.wav", "WAV", "ALAW", 8000, 1),
        ("ima.wav", "WAV", "IMA_ADPCM", 8000, 1),
        ("ms.wav", "WAV", "MS_ADPCM", 8000, 1),
        ("gsm.wav", "WAV", "GSM610", 8000, 1),
        ("g721.wav", "WAV", "G721_32", 8000, 1),
        ("sixty-four.wav", "RF64", "PCM_16", 8000, 1),
        ("plain.w64", "W64", "PCM_16", 8000, 1),
        ("plain.flac", "FLAC", "PCM_16", 8000, 1),
        ("stereo.flac", "FLAC", "PCM_24", 16000, 2),
        ("vorbis.ogg", "OGG", "VORBIS", 16000, 1),
        ("speech.opus", "OGG", "OPUS", 16000, 1),
        ("plain.mp3", "MP3", "MPEG_LAYER_III", 16000, 1),
        ("stereo.mp3", "MP3", "MPEG_LAYER_III", 44100, 2),
        ("plain.aiff", "AIFF", "PCM_16", 8000, 1),
        ("float.aifc", "AIFF", "FLOAT", 8000, 1),
        ("gsm.aifc", "AIFF", "GSM610", 8000, 1),
        ("plain.au", "AU", "PCM_16", 8000, 1),
        ("g721.au", "AU", "G721_32", 8000, 1),
        ("plain.caf", "CAF", "PCM_16", 8000, 1),
        ("alac.caf", "CAF", "ALAC_16", 8000, 1),
        ("instrument.wav", "XI", "DPCM_16", 44100, 1),
        ("tracker.wav", "VOC", "PCM_16", 8000, 1),
        ("sphere.wav", "NIST", "PCM_16", 8000, 1),
    ]
    found = []
    for name, form, kind, rate, channels in wanted:
        written = io.BytesIO()
        soundfile.write(written, _sound(rate, channels), rate, format=form, subtype=kind)
        # without the time at which it was written
        content = re.sub(rb"(PEAK.{8}).{4}", rb"\1\0\0\0\0", written.getvalue(), count=1, flags=re.S)
        found.append(Sample.single(name, with_ogg_number(content, 7) if form == "OGG" else content))
    by_name = {sample.name: sample.files[sample.name] for sample in found}
    found += [
        Sample.single("tagged.mp3", b"ID3\4\0\0\0\0\1\0" + bytes(128) + by_name["plain.mp3"] + b"TAG" + bytes(125)),
        Sample.single("no-header.mp3", by_name["plain.mp3"][200:]),
        *(Sample.single(name, _by_ffmpeg(*how)) for name, how in _FFMPEG.items()),
        Sample.single("surround.mkv", _by_ffmpeg("matroska", "pcm_s16le", 8000, {}, layout="7.1")),
    ]
    return found


_FFMPEG = {
    "talk.m4a": ("mp4", "aac", 16000, {}),
    "stream.mp4": ("mp4", "aac", 16000, {"movflags": "frag_keyframe+empty_moov"}),
    "old.mov": ("mov", "pcm_s16le", 8000, {}),
    "opus.webm": ("webm", "libopus", 48000, {}),
    "opus.mkv": ("matroska", "libopus", 16000, {}),
    "raw.aac": ("adts", "aac", 16000, {}),
    "windows.wma": ("asf", "wmav2", 16000, {}),
    "phone.3gp": ("3gp", "aac", 16000, {}),
    "mp3.wav": ("wav", "libmp3lame", 16000, {}),
    "variable.mp3": ("mp3", "libmp3lame", 16000, {"write_xing": "0"}),
}


def _sound(rate: int, channels: int, seconds: float = 0.3) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    tones = [0.3 * np.sin(2 * np.pi * (220 + 90 * c) * time) * np.exp(-2 * time) for c in range(channels)]
    noise = np.random.default_rng(5).standard_normal((len(time), channels))
    return (np.stack(tones, axis=1) + 0.01 * noise).astype(np.float32)


def _by_ffmpeg(form: str, codec: str, rate: int, options: dict[str, str], *, layout: str = "mono") -> bytes:
    written = io.BytesIO()
    with av.open(written, "w", format=form, options={"fflags": "+bitexact", **options}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = layout, 32_000
        frame = av.AudioFrame.from_ndarray(_sound(rate, 1).T.copy(), format="fltp", layout="mono")
        frame.rate = rate
        mixer = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate, frame_size=stream.frame_size)
        for even in [*mixer.resample(frame), *mixer.resample(None)]:
            container.mux(stream.encode(even))
        container.mux(stream.encode(None))
    return written.getvalue()


def read(path: Path) -> None:
    """To the end, leniently and strictly; what both take has the same samples."""
    with Recording.open(path, strict=False) as recording:
        count, start = _to_the_end(recording)
        damaged = getattr(recording, "damaged", None)
        if count:
            assert bool(_MEL.features(start[:16000]).isfinite().all()), "the model's input is not finite"
    try:
        with Recording.open(path, strict=True) as recording:
            again, _ = _to_the_end(recording)
    except MultiattnError as error:
        assert damaged is not None, f"strict refuses what is not marked as damaged: {error}"
        return
    assert damaged is None, f"strict takes what is marked as damaged: {damaged}"
    assert again == count, f"{again} samples strictly, {count} leniently"


def _to_the_end(recording: Recording) -> tuple[int, torch.Tensor]:
    """The number of samples, and the first block."""
    count, first = 0, torch.zeros(0)
    for block in recording.blocks():
        assert bool(block.isfinite().all()), "samples that are not finite"
        first = first if count else block
        count += len(block)
    return count, first
