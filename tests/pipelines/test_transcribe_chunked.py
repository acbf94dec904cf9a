"""Recordings cut at their pauses, and transcribed chunk by chunk."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from multiattn.alignment import SpokenWord
from multiattn.generation import GenerationConfig
from multiattn.inputs import Recording
from multiattn.pipelines.transcribe.chunked import pending_chunks, transcribe_chunked
from multiattn.pipelines.transcribe.cutting import is_silent
from multiattn.pipelines.transcribe.model import SpeechModel
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.pieces import Chunk
from multiattn.pipelines.transcribe.segments import DecodedWindow, Segment, WindowResult, cut_by_times
from multiattn.pipelines.transcribe.vad import cut_at_pauses
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, decoding, hush, speech_model, tone, written


def chunks(samples: torch.Tensor, longest: float, *, rate: int = RATE) -> list[Chunk]:
    with Recording.open(samples, rate=rate) as recording:
        return list(cut_at_pauses(recording, longest=longest))


def test_a_short_recording_is_one_chunk() -> None:
    samples = torch.cat([tone(1.1), hush(0.7), tone(0.3)])
    [chunk] = chunks(samples, 5.0)
    assert chunk.start == 0 and torch.equal(chunk.samples, samples)


@pytest.mark.parametrize("floor", [0.0, 0.001], ids=["silence", "noise"])
def test_no_chunk_extends_over_a_long_pause(floor: float) -> None:
    parts = [hush(3.1, level=floor), tone(1.3), hush(2.7, level=floor), tone(0.9), hush(0.5, level=floor), tone(1.1)]
    samples = torch.cat([*parts, hush(4.3, level=floor)])
    found = chunks(samples, 30.0)
    starts, ends = [3.1, 7.1], [4.4, 9.6]
    assert len(found) == 2
    for chunk, start, end in zip(found, starts, ends, strict=True):
        assert chunk.start == pytest.approx(start - 0.3, abs=0.08)
        assert chunk.start + len(chunk.samples) / RATE == pytest.approx(end + 0.3, abs=0.08)
        first = round(chunk.start * RATE)
        assert torch.equal(chunk.samples, samples[first : first + len(chunk.samples)])


@pytest.mark.parametrize("longest", [2.3, 3.0, 5.9])
def test_a_necessary_cut_falls_into_a_pause(longest: float) -> None:
    """Tones of 0.7 s with pauses of 0.4 s: every cut is within a pause, and nothing but silence is lost."""
    parts = [part for i in range(17) for part in (tone(0.7, pitch=200 + 50 * i), hush(0.4, level=0.0005))]
    samples = torch.cat(parts)
    found = chunks(samples, longest)
    assert len(found) > len(samples) / RATE / longest
    reached = 0
    for chunk in found:
        first = round(chunk.start * RATE)
        assert first == reached and len(chunk.samples) <= longest * RATE
        assert torch.equal(chunk.samples, samples[first : first + len(chunk.samples)])
        reached = first + len(chunk.samples)
        within = reached / RATE % 1.1
        assert reached == len(samples) or within > 0.7 or within < 0.01
    assert reached == len(samples)


def test_speech_without_a_pause_is_cut_too() -> None:
    samples = tone(11.3)
    found = chunks(samples, 3.0)
    assert torch.equal(torch.cat([chunk.samples for chunk in found]), samples)
    assert all(1.4 * RATE < len(chunk.samples) <= 3 * RATE for chunk in found[:-1])


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
def test_chunks_have_their_start_at_any_rate(rate: int) -> None:
    samples = torch.randn(7 * rate + 77, generator=torch.Generator().manual_seed(5)) * 0.1
    found = chunks(samples, 2.0, rate=rate)
    assert torch.equal(torch.cat([chunk.samples for chunk in found]), samples)
    reached = 0
    for chunk in found:
        assert chunk.start == pytest.approx(reached / rate, abs=1e-9)
        reached += len(chunk.samples)


@pytest.mark.parametrize("samples", [torch.zeros(1), torch.zeros(77_777), hush(5.0, level=1e-5)], ids=len)
def test_silence_is_no_chunk(samples: torch.Tensor) -> None:
    assert chunks(samples, 2.0) == []


@pytest.mark.parametrize("count", [1, 7, 159, 161])
def test_a_few_samples_are_a_chunk(count: int) -> None:
    [chunk] = chunks(torch.full((count,), 0.5), 2.0)
    assert len(chunk.samples) == count


def test_the_threshold_of_silence() -> None:
    assert is_silent(torch.zeros(0)) and is_silent(torch.full((7,), 0.0003)) and not is_silent(torch.full((7,), 0.0004))


class Counted(Recording):
    """A long recording of tones and pauses that counts the blocks that are read of it."""

    def __init__(self) -> None:
        self.rate = RATE
        self.read_so_far = 0

    def blocks(self, seconds: float = 30.0) -> Iterator[torch.Tensor]:
        block = torch.cat([tone(0.8), hush(0.4)])
        for _ in range(97):
            self.read_so_far += 1
            yield block


def test_only_a_chunk_and_a_block_are_in_memory() -> None:
    recording = Counted()
    for chunk in cut_at_pauses(recording, longest=3.0):
        reached = chunk.start + len(chunk.samples) / RATE
        assert recording.read_so_far * 1.2 <= reached + 3.0 + 1.2
    assert recording.read_so_far == 97


@pytest.fixture(scope="module")
def ours() -> SpeechModel:
    bundle = tiny_speech_bundle()
    return speech_model(replace(bundle, preprocessing=replace(bundle.sound, max_seconds=2.0)))


@pytest.fixture(scope="module")
def whisper() -> SpeechModel:
    return speech_model(tiny_whisper_bundle())


def spoken() -> torch.Tensor:
    """Three chunks or more for windows of two seconds."""
    parts = [tone(1.3, pitch=300), hush(0.3), tone(0.9, pitch=900), hush(2.9), tone(0.7, pitch=2000), hush(0.4)]
    return torch.cat([*parts, tone(1.7, pitch=500)]) + hush(8.2, level=0.0001)


def transcribed(speech: SpeechModel, options: SpeechOptions, **asked: object) -> list[Segment]:
    with Recording.open(spoken()) as recording:
        return list(transcribe_chunked(speech, recording, options, **asked))


OURS = SpeechOptions(decoding=GenerationConfig(max_tokens=7), temperatures=(0.0,), log_prob_threshold=None)


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
def test_a_batch_gives_the_texts_of_its_chunks(ours: SpeechModel, ctc_weight: float) -> None:
    options = replace(OURS, ctc_weight=ctc_weight)
    alone = transcribed(ours, options, batch_size=1)
    assert len(alone) >= 3 and len({one.text for one in alone}) > 1
    for batch_size in (2, 7):
        together = transcribed(ours, options, batch_size=batch_size)
        assert [(one.start, one.end, one.text, one.tokens) for one in together] == [
            (one.start, one.end, one.text, one.tokens) for one in alone
        ]
        for one, other in zip(together, alone, strict=True):
            assert one.avg_log_prob == pytest.approx(other.avg_log_prob, abs=1e-4)


def test_segments_of_a_model_without_times_are_the_chunks(ours: SpeechModel) -> None:
    found = transcribed(ours, OURS)
    cut = chunks(spoken(), 2.0)
    spans = {(chunk.start, chunk.start + len(chunk.samples) / RATE) for chunk in cut}
    assert {(one.start, one.end) for one in found} <= spans
    assert [one.start for one in found] == sorted(one.start for one in found)
    for one in found:
        assert one.no_speech_prob is None and one.text == ours.text_of(one.tokens)


def test_segments_are_cut_at_times_and_end_with_the_recording(whisper: SpeechModel) -> None:
    def spans(text: str) -> list[tuple[float, float, str]]:
        tokens = written(whisper, text)
        result = replace(some, tokens=tokens, log_probs=(-0.5,) * (len(tokens) + 1))
        cut = cut_by_times(whisper, result, offset=3.0, duration=1.7, to_the_end=True, limit=1.7)
        assert all(len(one.tokens) == len(one.log_probs) for one in cut.segments)
        return [(round(one.start, 3), round(one.end, 3), one.text) for one in cut.segments]

    some = WindowResult((), (), "", -0.5, 1.0, None, 0.0, 0.0, None)
    assert spans("0.1 red 0.9 0.9 the 1.4") == [(3.1, 3.9, " red"), (3.9, 4.4, " the")]
    assert spans("0.1 red 0.9 1.1 the") == [(3.1, 3.9, " red"), (4.1, 4.7, " the")]
    assert spans("0.1 red 0.9 0.9") == [(3.1, 3.9, " red"), (3.9, 4.7, "")]
    assert spans("0.1 red 1.9 1.9 the 1.98") == [(3.1, 4.7, " red"), (4.7, 4.7, " the")]
    assert spans("0.2 red") == [(3.2, 4.7, " red")]
    assert spans("red the") == [(3.0, 4.7, " red the")]
    assert spans("") == [(3.0, 4.7, "")]


@pytest.mark.parametrize("timestamps", [True, False])
def test_whisper_transcribes_chunks_too(whisper: SpeechModel, timestamps: bool) -> None:
    options = SpeechOptions(
        decoding=decoding(tiny_whisper_bundle(), max_tokens=17),
        timestamps=timestamps,
        temperatures=(0.0,),
        log_prob_threshold=None,
        no_speech_threshold=None,
        compression_ratio_threshold=None,
    )
    found = transcribed(whisper, options)
    cut = [(chunk.start, chunk.start + len(chunk.samples) / RATE) for chunk in chunks(spoken(), 2.0)]
    assert len(found) >= len(cut) - 1
    for one in found:
        assert any(start <= one.start < one.end <= end + 1e-9 for start, end in cut)
        assert timestamps or (one.start, one.end) in cut


WORD = SpokenWord("word", 0.1, 0.2, 0.5, 0, 4, (0,))


def test_words_are_added_to_every_chunk_with_text(ours: SpeechModel) -> None:
    seen: list[DecodedWindow] = []

    def add_words(window: DecodedWindow) -> tuple[Segment, ...]:
        seen.append(window)
        return tuple(replace(one, words=(WORD,)) for one in window.segments)

    found = transcribed(ours, OURS, add_words=add_words)
    assert [one.words for one in found] == [(WORD,)] * len(found)
    assert sum(len(window.segments) for window in seen) == len(found)
    for window in seen:
        assert len(window.context) == 1 and window.result.language is None and window.task == "transcribe"
        assert window.frames == ours.model.encoder.frames(ours.preprocessing.frames(len(window.samples)))
        first = round(window.start * RATE)
        np.testing.assert_allclose(window.samples, spoken()[first : first + len(window.samples)])


def test_a_silent_recording_has_no_segments(ours: SpeechModel, whisper: SpeechModel) -> None:
    for speech in (ours, whisper):
        with Recording.open(torch.zeros(5 * RATE)) as recording:
            assert list(transcribe_chunked(speech, recording, replace(OURS, timestamps=False))) == []


def test_a_chunk_too_short_for_speech_is_left_out(ours: SpeechModel) -> None:
    frame = ours.stride * ours.preprocessing.hop
    for samples, count in ((frame - 1, 0), (frame, 1)):
        with Recording.open(torch.full((samples,), 0.5)) as recording:
            assert len(list(pending_chunks(ours, recording, OURS, generator=torch.Generator()))) == count


def test_sampling_for_a_chunk_does_not_depend_on_the_batch(ours: SpeechModel) -> None:
    options = replace(OURS, temperatures=(1.0, 1.3), log_prob_threshold=-0.1)
    by_size = [
        [
            (one.start, one.text, one.temperature)
            for one in transcribed(ours, options, batch_size=size, generator=torch.Generator().manual_seed(seed))
        ]
        for size, seed in ((1, 5), (3, 5), (7, 5), (1, 6))
    ]
    assert by_size[0] == by_size[1] == by_size[2] != by_size[3]


def test_text_without_speech_is_left_out(whisper: SpeechModel) -> None:
    options = SpeechOptions(
        decoding=decoding(tiny_whisper_bundle()), timestamps=True, temperatures=(0.0,), log_prob_threshold=0.0
    )
    assert transcribed(whisper, replace(options, no_speech_threshold=0.0)) == []
    assert transcribed(whisper, replace(options, no_speech_threshold=1.0)) != []
