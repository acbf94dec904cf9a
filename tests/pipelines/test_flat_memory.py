"""The memory of a long run is that of a short one. `pytest -s` prints the figures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multiattn.pipelines.loading import load
from tests.fixtures import save_tiny_model, save_tiny_recognizer

pytestmark = pytest.mark.slow


def peak(run: Callable[[], object]) -> float:
    """The megabytes by which the process grows at most while this runs."""

    def megabytes(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    run()
    return megabytes("VmHWM") - before


def test_20000_pictures_from_a_generator(tmp_path: Path) -> None:
    classify = load(save_tiny_model(tmp_path / "model"), task="classify", device="cpu")
    random = np.random.default_rng(3)

    def pictures(count: int) -> Iterator[np.ndarray]:
        for _ in range(count):
            yield random.integers(0, 256, (224, 224, 3), dtype=np.uint8)

    def run(count: int) -> int:
        return sum(result.error is None for result in classify.stream(pictures(count)))

    run(500)  # libraries and buffers are there
    short, long = peak(lambda: run(500)), peak(lambda: run(20_000))
    print(f"\n500 pictures: {short:.0f} MB over base, 20,000: {long:.0f} MB")
    assert long < short + 60


def test_a_recording_of_three_hours(tmp_path: Path) -> None:
    transcribe = load(save_tiny_recognizer(tmp_path / "model"), task="transcribe", device="cpu")
    random = np.random.default_rng(3)

    def recording(minutes: int) -> Path:
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", 16_000, 1, format="FLAC") as file:
            for _ in range(minutes):
                noise = random.standard_normal(16_000 * 60) * np.repeat(random.random(60), 16_000)
                file.write((0.1 * noise).astype(np.float32))
        return path

    def run(path: Path) -> float:
        return transcribe(path, max_tokens=3, num_beams=1).duration

    short_file, long_file = recording(10), recording(180)
    run(short_file)
    short, long = peak(lambda: run(short_file)), peak(lambda: run(long_file))
    print(f"\n10 minutes: {short:.0f} MB over base, 3 hours: {long:.0f} MB")
    assert run(short_file) == pytest.approx(600)
    assert long < short + 60
