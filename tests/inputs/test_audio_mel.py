"""Log-mel features: Whisper's numbers, the same for a recording alone and among others."""

from dataclasses import replace
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
import torchaudio.functional as taf

from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing
from multiattn.inputs.mel import _filters

WHISPER = AudioPreprocessing()
SHORT = replace(WHISPER, pad_to=None)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def chirp(count: int) -> torch.Tensor:
    return 0.3 * torch.sin(torch.linspace(0, 60.0, count) ** 2)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [noise(16_000 * 30), noise(112_053), chirp(48_007), torch.zeros(7), noise(1)])
def test_they_are_whispers(mels: int, samples: torch.Tensor) -> None:
    audio = pytest.importorskip("whisper.audio")
    expected = audio.log_mel_spectrogram(audio.pad_or_trim(samples), n_mels=mels)
    found = replace(WHISPER, mels=mels).features(samples)
    assert found.shape == (mels, 3000)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_window_of_a_long_recording_is_whispers_with_the_recordings_peak() -> None:
    audio = pytest.importorskip("whisper.audio")
    samples = torch.cat([noise(160 * 211), 5 * noise(160 * 307, seed=1)])
    expected = audio.log_mel_spectrogram(samples)
    power = SHORT.log_power(samples)
    torch.testing.assert_close(SHORT.scaled(power), expected, rtol=0, atol=1e-5)
    window = SHORT.scaled(power[:, :211], peak=float(power.max()))
    torch.testing.assert_close(window, expected[:, :211], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rate", "window", "mels"), [(16_000, 400, 80), (16_000, 400, 128), (8_000, 200, 61)])
def test_the_bands_are_torchaudios(rate: int, window: int, mels: int) -> None:
    expected = taf.melscale_fbanks(window // 2 + 1, 0.0, rate / 2, mels, rate, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(_filters(rate, window, mels), expected.T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", ["whisper", "normalized"])
@pytest.mark.parametrize("pad_to", [None, 2.0])
def test_each_of_several_gets_what_it_gets_alone(scale: Any, pad_to: float | None) -> None:
    preprocessing = AudioPreprocessing(scale=scale, pad_to=pad_to)
    counts = [7_001, 1, 3_200, 16_007]
    alone = [noise(count, seed=count) * (count / 7_000) for count in counts]
    together = preprocessing.features(torch.nn.utils.rnn.pad_sequence(alone, batch_first=True), lengths=counts)
    for row, samples, count in zip(together, alone, counts, strict=True):
        expected = preprocessing.features(samples)
        attention_mask = preprocessing.frames(count)
        assert expected.shape[-1] == (attention_mask if pad_to is None else 200)
        torch.testing.assert_close(row[:, : expected.shape[-1]], expected, rtol=0, atol=1e-5)
        if scale == "normalized":
            assert row[:, attention_mask:].abs().max() == 0 if attention_mask < row.shape[-1] else True


def test_normalized_features_forget_the_level() -> None:
    preprocessing = replace(SHORT, scale="normalized")
    samples = noise(16_011)
    found = preprocessing.features(samples)
    torch.testing.assert_close(found.mean(-1), torch.zeros(80), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.std(-1, correction=0), torch.ones(80), rtol=0, atol=1e-3)
    torch.testing.assert_close(preprocessing.features(samples * 0.03), found, rtol=0, atol=1e-3)
    assert (SHORT.features(samples * 0.03) - SHORT.features(samples)).abs().min() > 0.5
    assert preprocessing.features(torch.zeros(1601)).abs().max() == 0  # silence is not blown up


def test_background_counts_as_if_it_stood_beside_the_recording() -> None:
    """The features of a recording with background are those that it has beside that background, by an explicit sum."""
    plain = replace(SHORT, scale="normalized")
    preprocessing = replace(plain, background_seconds=0.3)
    samples = torch.cat([noise(4_000) * 0.5, noise(16_000, seed=3), noise(8_000, seed=4) * 0.02])
    power = torch.maximum(plain.log_power(samples), plain.log_power(samples).max() - 8)
    count = power.shape[-1]
    quiet = torch.minimum(power.sort(dim=-1).values[:, count // 10], power.max() - 3)[:, None]
    beside = torch.cat([power, quiet.expand(-1, 30)], dim=1)
    expected = (power - beside.mean(1, keepdim=True)) / beside.std(1, keepdim=True, correction=0)
    torch.testing.assert_close(preprocessing.scaled(plain.log_power(samples)), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        preprocessing.features(samples * 0.5), preprocessing.features(samples), rtol=0, atol=1e-2
    )
    steady = noise(4_000)  # a sound without a pause keeps what its bands have in common; without background it is lost
    assert plain.features(steady).mean(-1).abs().max() < 1e-4 < 0.5 < preprocessing.features(steady).mean(-1).min()
    counts = [7_001, 3_200]
    alone = [noise(size, seed=size) for size in counts]
    together = preprocessing.features(torch.nn.utils.rnn.pad_sequence(alone, batch_first=True), lengths=counts)
    for row, one in zip(together, alone, strict=True):
        wanted = preprocessing.features(one)
        torch.testing.assert_close(row[:, : wanted.shape[-1]], wanted, rtol=0, atol=1e-5)


def test_frames_and_seconds() -> None:
    assert WHISPER.frame_seconds == 0.01
    assert WHISPER.max_samples == 480_000
    assert [WHISPER.frames(count) for count in (0, 1, 160, 161, 480_000)] == [1, 1, 1, 2, 3000]
    for count in (1, 159, 160, 161, 3_203):
        assert SHORT.features(noise(count)).shape == (80, SHORT.frames(count))
    assert SHORT.features(noise(2, 3, 1_601)).shape == (2, 3, 80, 11)


def test_a_loud_frame_stands_where_it_is() -> None:
    samples = torch.zeros(16_000)
    samples[8_000:8_160] = noise(160)
    assert int(SHORT.features(samples).mean(0).argmax()) in (50, 51)


def test_it_goes_through_json() -> None:
    preprocessing = AudioPreprocessing(8_000, 200, 80, 61, "normalized", None, 11.0)
    assert AudioPreprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    assert AudioPreprocessing.from_dict({}) == WHISPER
    assert AudioPreprocessing.from_dict({"scale": "normalised"}).scale == "normalized"  # as older directories spell it


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_rate": 0}, "`sample_rate` must be a whole number from 1 to 768000, but is 0 instead"),
        ({"sample_rate": 10**9}, "`sample_rate` must be a whole number from 1 to 768000, but is 1000000000 instead"),
        ({"max_seconds": 1e9}, "`max_seconds` must be at most 3600, but is 1000000000.0 instead"),
        ({"hop": 1, "max_seconds": 3600}, "`max_seconds` must be of at most 1048576 frames of `hop`"),
        ({"window": 2.5}, "`preprocessing.window` must be int, but is 2.5 instead"),
        ({"hop": 401}, r"`hop` must be at most `window` \(400 samples\), but is 401 instead"),
        ({"mels": 201}, r"`mels` must be at most half of `window` \(400\), but is 201 instead"),
        ({"scale": "db"}, "`scale` must be one of whisper, normalized, but is 'db' instead"),
        (
            {"background_seconds": -1.0, "scale": "normalized"},
            "`background_seconds` must be seconds from 0 to 3600, but is -1.0",
        ),
        ({"background_seconds": 0.5}, "`background_seconds` must be 0 unless `scale` is normalized, but is 0.5"),
        ({"pad_to": float("nan")}, "`pad_to` must be finite seconds above 0, but is nan instead"),
        ({"max_seconds": None}, "`preprocessing.max_seconds` must be float, but is None instead"),
        ({"pad_to": 31}, r"`pad_to` must be at most `max_seconds` \(30.0\), but is 31.0 instead"),
        ({"max_seconds": 0}, "`max_seconds` must be finite seconds above 0, but is 0.0 instead"),
        ({"bands": 3, "rate": 4}, "`preprocessing` must be among sample_rate, .*, but has bands, rate instead"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # whose own check comes first in tests
    with pytest.raises(ModelError, match=message):
        AudioPreprocessing.from_dict(fields)


def test_filters_share_each_frequency_between_two_bands() -> None:
    bank = _filters(16_000, 400, 80).numpy()
    assert ((bank > 0).sum(axis=0) <= 2).all() and (bank.max(axis=1) > 0).all()
    assert np.diff(bank.argmax(axis=1)).min() >= 0
