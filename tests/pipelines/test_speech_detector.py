"""How probable it is that somebody speaks: block by block, at other rates."""

import pytest
import torch

from multiattn.inputs import Recording
from multiattn.inputs.resampling import resampled
from multiattn.inputs.stream_resampler import StreamResampler
from multiattn.models.voice_activity import CHUNK, VOICE_RATE
from multiattn.pipelines.transcribe.speech_detector import SpeechProbabilities
from multiattn.resources import shipped


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("block", [0.05, 1.0])
def test_a_stream_equals_the_whole(rate: int, block: float) -> None:
    with Recording.open(shipped("inputs", "digits.flac"), rate=rate) as recording:
        samples = torch.cat(list(recording.blocks()))[: 5 * rate]
    want = SpeechProbabilities(rate).feed(samples, is_last=True)
    assert len(want) == -(-len(samples) * VOICE_RATE // rate // CHUNK)
    assert want.max() > 0.9 and want.min() < 0.1
    with Recording.open(samples, rate=rate) as recording:
        stream = SpeechProbabilities(rate)
        parts = [stream.feed(part) for part in recording.blocks(block)]
    found = torch.cat([*parts, stream.feed(torch.zeros(0), is_last=True)])
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
    assert len(resampled(samples.numpy(), 1, 1)) == len(samples)


def test_silence_has_no_speech_and_an_empty_recording_no_steps() -> None:
    assert SpeechProbabilities().feed(torch.zeros(3 * VOICE_RATE), is_last=True).max() < 0.1
    assert len(SpeechProbabilities().feed(torch.zeros(0), is_last=True)) == 0
    assert len(SpeechProbabilities().feed(torch.zeros(CHUNK - 1))) == 0
