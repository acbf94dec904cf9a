"""Where somebody speaks: spans against the package's own rules, block by block, at other rates, in bounded memory."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import Recording
from multiattn.inputs.resampling import resampled
from multiattn.inputs.stream_resampler import StreamResampler
from multiattn.models.voice_activity import CHUNK, VOICE_RATE
from multiattn.pipelines.transcribe.speech_detector import (
    STEP_SECONDS,
    SpeechProbabilities,
    SpeechRules,
    SpeechSpans,
    spans_of,
    speech_probabilities,
    speech_spans,
)
from multiattn.resources import shipped


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    """The rules of the package, without the package around them, which sets the number of torch's threads."""
    package = importlib.util.find_spec("silero_vad")
    assert package is not None and package.origin is not None
    spec = importlib.util.spec_from_file_location("silero_utils", Path(package.origin).parent / "utils_vad.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RULES = (
    SpeechRules(),
    SpeechRules(padding=0.2),
    SpeechRules(min_silence=0.5, padding=0.4),
    SpeechRules(threshold=0.3, end_threshold=0.1, min_speech=0.0, min_silence=0.0, padding=0.0),
)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_spans_equal_those_of_the_package(theirs: ModuleType, rules: SpeechRules, seed: int) -> None:
    generator = np.random.default_rng(seed)
    # a walk between speech and none, with doubt at the edges
    walk = np.cumsum(generator.normal(size=997)) / 3
    probabilities = torch.from_numpy((1 / (1 + np.exp(-5 * np.sin(walk) - generator.normal(size=997)))).astype("f4"))
    length = 997 * CHUNK - 301
    want = theirs.get_speech_timestamps_from_probs(
        probabilities.tolist(),
        threshold=rules.threshold,
        neg_threshold=rules.end_threshold,
        min_speech_duration_ms=1000 * rules.min_speech,
        min_silence_duration_ms=1000 * rules.min_silence,
        speech_pad_ms=1000 * rules.padding,
        audio_length_samples=length,
    )
    for size in (1, 13, 997):  # as they come
        spans, found = SpeechSpans(rules), []
        for part in probabilities.split(size):
            found += spans.feed(part)
        found += spans.finish(length / VOICE_RATE)
        assert len(found) == len(want) > 3
        for ours, one in zip(found, want, strict=True):
            assert ours.start == pytest.approx(one["start"] / VOICE_RATE, abs=1.5 / VOICE_RATE)
            assert ours.end == pytest.approx(one["end"] / VOICE_RATE, abs=1.5 / VOICE_RATE)


def test_a_span_is_given_as_soon_as_it_is_certain() -> None:
    spans = SpeechSpans(SpeechRules(padding=0.1))
    assert spans.feed(torch.tensor([0.1, *[0.9] * 10])) == [] and spans.is_speech
    assert spans.feed(torch.tensor([0.1] * 4)) == []  # the padding of the next may still meet this one's
    [span] = spans.feed(torch.tensor([0.1] * 4))
    assert span == pytest.approx((0.0, 11 * STEP_SECONDS + 0.1)) and not spans.is_speech
    assert spans.finish(0.6) == []


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("block", [0.05, 1.0])
def test_a_stream_equals_the_whole(rate: int, block: float) -> None:
    with Recording.open(shipped("inputs", "digits.flac"), rate=rate) as recording:
        samples = torch.cat(list(recording.blocks()))[: 5 * rate]
    want = SpeechProbabilities(rate).feed(samples, is_last=True)
    assert len(want) == -(-len(samples) * VOICE_RATE // rate // CHUNK)
    assert want.max() > 0.9 and want.min() < 0.1
    with Recording.open(samples, rate=rate) as recording:
        found = torch.cat(list(speech_probabilities(recording, seconds=block)))
        assert list(speech_spans(recording)) == spans_of(samples, rate=rate)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rates", [(8_000, 16_000), (44_100, 16_000), (16_000, 16_000), (11_025, 16_000)])
def test_a_stream_is_resampled_as_if_it_came_at_once(rates: tuple[int, int]) -> None:
    samples = torch.randn(9973, generator=torch.Generator().manual_seed(1))
    with Recording.open(samples, rate=rates[1], source_rate=rates[0]) as recording:
        want = torch.cat(list(recording.blocks()))
    for size in (17, 1009, 9973):
        stream = StreamResampler(*rates)
        parts = [stream.feed(part) for part in samples.split(size)]
        parts.append(stream.feed(torch.zeros(0), is_last=True))
        torch.testing.assert_close(torch.cat(parts), want, rtol=0, atol=1e-6)
    assert len(resampled(samples, 1, 1)) == len(samples)


def test_silence_has_no_speech_and_an_empty_recording_no_steps() -> None:
    assert spans_of(torch.zeros(3 * VOICE_RATE), rate=VOICE_RATE) == []
    assert spans_of(torch.zeros(0), rate=VOICE_RATE) == []
    assert len(SpeechProbabilities().feed(torch.zeros(CHUNK - 1))) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 0.0}, "`threshold` must be above 0 and at most 1, but is 0.0 instead"),
        ({"end_threshold": 0.6}, "`end_threshold` must be from 0 to `threshold`, but is 0.6 instead"),
        ({"padding": -0.1}, "`padding` must be at least 0, but is -0.1 instead"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        SpeechRules(**wrong)
