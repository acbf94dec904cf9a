"""What is computed without torch equals what torch computes: features, resampling, rules for the next token."""

from functools import partial

import numpy as np
import pytest
import torch
import torchaudio.transforms

from multiattn.deploy.onnx.rules import no_repeated_ngram, repetition_penalty, rules_of, timestamp_rules
from multiattn.generation import GenerationConfig
from multiattn.generation.logits_processors import (
    NoRepeatedNgram,
    RepetitionPenalty,
    TimestampRules,
    logits_processors_of,
)
from multiattn.inputs import AudioPreprocessing
from multiattn.inputs.mel_settings import log_power, scaled
from multiattn.inputs.resampling import resampled

VOCABULARY = 29


def texts(seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, 5, (7, length))
    return tokens, generator.standard_normal((7, VOCABULARY)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0])
def test_features(seconds: float) -> None:
    samples = np.random.default_rng(1).standard_normal(round(16_000 * seconds)).astype(np.float32) * 0.1
    preprocessing = AudioPreprocessing(mels=80)
    mine, theirs = log_power(preprocessing, samples), preprocessing.log_power(torch.from_numpy(samples))
    np.testing.assert_allclose(mine, theirs.numpy(), atol=3e-5)
    for peak in (None, 1.5):
        np.testing.assert_allclose(scaled(mine, peak=peak), preprocessing.scaled(theirs, peak=peak).numpy(), atol=1e-5)


@pytest.mark.parametrize("rates", [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (11_025, 16_000), (3, 2)])
def test_resampling_is_torchaudios(rates: tuple[int, int]) -> None:
    samples = np.random.default_rng(2).standard_normal(9973).astype(np.float32) * 0.1
    theirs = torchaudio.transforms.Resample(*rates, lowpass_filter_width=6, rolloff=0.99)(torch.from_numpy(samples))
    np.testing.assert_allclose(resampled(samples, *rates), theirs.numpy(), atol=2e-5)


@pytest.mark.parametrize("length", [1, 2, 3, 11])
@pytest.mark.parametrize("seed", range(3))
def test_rules(length: int, seed: int) -> None:
    tokens, scores = texts(seed, length)
    pairs = (
        (partial(repetition_penalty, penalty=1.7), RepetitionPenalty(1.7)),
        (partial(no_repeated_ngram, size=2), NoRepeatedNgram(2)),
        (partial(no_repeated_ngram, size=1), NoRepeatedNgram(1)),
    )
    for mine, theirs in pairs:
        wanted = theirs(torch.from_numpy(tokens), torch.from_numpy(scores)).numpy()
        np.testing.assert_allclose(mine(tokens, scores), wanted, rtol=1e-6)
        assert np.isneginf(mine(tokens, scores)).any() == np.isneginf(wanted).any()


@pytest.mark.parametrize("length", [3, 4, 6])
def test_rules_of_options(length: int) -> None:
    tokens, scores = texts(1, length)
    options = GenerationConfig(min_tokens=2, suppress=(3, 4), suppress_first=(9,), forced=((1, 5),))
    mine = rules_of(options, prompt_length=3, stop=(7,), vocab_size=VOCABULARY)
    cpu = torch.device("cpu")
    theirs = logits_processors_of(options, prompt_length=3, stop=(7,), vocab_size=VOCABULARY, device=cpu)
    found, wanted = scores, torch.from_numpy(scores)
    for rule, processor in zip((*mine[0], *mine[1]), (*theirs[0], *theirs[1]), strict=True):
        found, wanted = rule(tokens, found), processor(torch.from_numpy(tokens), wanted)
    np.testing.assert_array_equal(found, wanted.numpy())


@pytest.mark.parametrize("length", range(2, 8))
@pytest.mark.parametrize("seed", range(4))
def test_rules_of_times(length: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(12, VOCABULARY, (9, length))
    scores = generator.standard_normal((9, VOCABULARY)).astype(np.float32) * 3
    facts = {"first": 20, "end": 15, "prompt_length": 2, "no_timestamps": 17, "latest_start": 4}
    wanted = TimestampRules(**facts)(torch.from_numpy(tokens), torch.from_numpy(scores)).numpy()  # type: ignore[arg-type]
    np.testing.assert_array_equal(timestamp_rules(tokens, scores, **facts), wanted)
    assert np.isneginf(wanted).any()
