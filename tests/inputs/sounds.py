"""Sound for tests: noise, written by soundfile or encoded by PyAV, and how it is read back."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf
import torch

from multiattn.inputs import Recording
from multiattn.inputs.damage import Damage


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def written(samples: np.ndarray, rate: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, samples, rate, **({"format": "WAV"} | options))
    return stream.getvalue()


def encoded(samples: np.ndarray, rate: int, codec: str, kind: str, **options: Any) -> bytes:
    """Samples (t,) or (channels, t) as a file; options are those of the container."""
    stream = io.BytesIO()
    _encode(stream, samples, rate, codec, {"format": kind, "options": options})
    return stream.getvalue()


def packed(path: Path, samples: np.ndarray, rate: int, codec: str, options: dict[str, str] | None = None) -> Path:
    _encode(str(path), samples, rate, codec, {"options": options or {}})
    return path


def heard(source: Any) -> tuple[torch.Tensor, Damage | None]:
    """What can be read of a recording, at 16 kHz, and what is missing; its measured duration is checked."""
    with Recording.open(source, strict=False) as recording:
        blocks = list(recording.blocks())
        found = torch.cat(blocks) if blocks else torch.zeros(0)
        assert recording.measured is not None and abs(recording.measured - len(found) / 16_000) < 1e-3
        return found, recording.damaged


def _encode(file: Any, samples: np.ndarray, rate: int, codec: str, opening: dict[str, Any]) -> None:
    samples = np.atleast_2d(samples)
    layout = "stereo" if len(samples) == 2 else "mono"
    with av.open(file, "w", **opening) as container:
        track = container.add_stream(codec, rate=rate, layout=layout)
        kind = "fltp" if codec in ("aac", "libmp3lame", "pcm_f32le") else "flt" if codec == "libopus" else "s16"
        mixer = av.AudioResampler(format=kind, layout=layout, rate=rate)
        size = 1152 if codec == "libmp3lame" else 960
        for start in range(0, samples.shape[1], size):
            part = np.ascontiguousarray(samples[:, start : start + size])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            for even in mixer.resample(frame):
                container.mux(track.encode(even))
        container.mux(track.encode(None))
