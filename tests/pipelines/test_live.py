"""Sound that comes in: settled words never change, memory is bounded, silence costs nothing."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from multiattn.errors import InputError, ModelError
from multiattn.inputs import load_audio
from multiattn.pipelines import TranscribePipeline, load
from multiattn.pipelines.transcribe import live as live_module
from multiattn.pipelines.transcribe.agreement import LocalAgreement
from multiattn.pipelines.transcribe.live import LiveRules, LiveTranscriber, LiveUpdate
from multiattn.pipelines.transcribe.live_gate import BEFORE_SECONDS, Loudness, Sound, SpeechGate
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, hush, tone

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"


def play(live: LiveTranscriber, samples: torch.Tensor, blocks: list[int]) -> list[LiveUpdate]:
    """Feed samples in blocks of these sizes, in turn, and finish."""
    updates, at = [], 0
    while at < len(samples):
        size = blocks[len(updates) % len(blocks)]
        updates.append(live.feed(samples[at : at + size]))
        at += size
    return [*updates, live.finish()]


def test_what_two_decodes_begin_with_is_settled() -> None:
    agreement = LocalAgreement()
    assert agreement.agreed(["a", "b", "c"]) == 0
    assert agreement.agreed(["a", "b", "d", "e"]) == 2
    agreement.settled(2)
    assert agreement.agreed(["d", "e", "f"]) == 2
    agreement.reset()
    assert agreement.agreed(["d"]) == 0


@pytest.mark.parametrize("bundle", [tiny_speech_bundle, tiny_whisper_bundle], ids=["own", "whisper"])
@pytest.mark.parametrize("seed", range(2))
def test_settled_words_never_change(bundle, seed: int) -> None:
    """Of random weights, which write something else at every step."""
    pipeline = TranscribePipeline(bundle(seed=seed), device="cpu")
    rules = LiveRules(step=0.5, trim=2.0, longest=3.0)
    live = pipeline.live(rules=rules, no_speech_threshold=None, compression_ratio_threshold=None, max_tokens=5)
    live._gate = SpeechGate(Loudness(RATE), RATE, pause=0.5)
    parts = [tone(2.9, pitch=300), hush(1.1), tone(3.3, pitch=500), hush(0.2), tone(1.1, pitch=400)]
    updates = play(live, torch.cat(parts), [1600, 4800, 700])
    settled = [word for update in updates for word in update.settled]
    result = live.transcript()
    assert settled, "something is written"
    assert [word.text for word in result.words] == [word.text for word in settled]
    assert [(word.start, word.end) for word in result.words] == [(word.start, word.end) for word in settled]
    bounds = [time for word in settled for time in (word.start, word.end)]
    assert bounds == sorted(bounds) and bounds[0] >= 0 and bounds[-1] <= 8.7
    assert "".join(update.text for update in updates).split() == result.text.split()
    for segment in result.segments:
        assert [segment.text[word.start_char : word.end_char] for word in segment.words] == [
            word.text for word in segment.words
        ]


def test_the_digits_are_heard_live() -> None:
    pipeline = load("transcribe", device="cpu")
    assert isinstance(pipeline, TranscribePipeline)
    samples = load_audio(DIGITS, rate=pipeline.bundle.sound.sample_rate)
    live = pipeline.live()
    updates = play(live, samples, [800])
    assert updates[-1].seconds == pytest.approx(len(samples) / live.rate)
    whole = pipeline(samples.numpy()).text.split()
    words = live.transcript().text.split()
    assert set(words) <= set("zero one two three four five six seven eight nine".split())
    assert abs(len(words) - len(whole)) <= 2


def test_samples_are_taken_in_any_size_and_checked() -> None:
    pipeline = TranscribePipeline(tiny_speech_bundle(), device="cpu")
    live = pipeline.live()
    assert live.feed(np.zeros(0, np.float32)).seconds == 0
    assert live.feed(np.full(RATE, np.nan, np.float32)).settled == ()
    assert live.feed(np.zeros(RATE, np.int16)).seconds == 2
    for wrong in (np.zeros((2, 5), np.float32), np.zeros(5, np.int32)):
        with pytest.raises(InputError, match="`samples` must be one row of floats or int16, but are of shape"):
            live.feed(wrong)
    live.finish()
    assert live.finish().settled == ()
    with pytest.raises(InputError, match="`feed` must not follow `finish`"):
        live.feed(np.zeros(5, np.float32))
    with pytest.raises(ModelError, match="`clips` must be None for live sound"):
        TranscribePipeline(tiny_whisper_bundle(), device="cpu").live(clips=[(0, 1)])
    with pytest.raises(ModelError, match="`step` must be from 0.1 to 10 s"):
        LiveRules(step=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_gate_lets_all_speech_through_in_place(seed: int) -> None:
    """However the sound is cut into blocks, what comes out lies where it came in, and has all that is loud."""
    rng = np.random.default_rng(seed)
    parts = [hush(0.9), tone(1.3), hush(0.3), tone(0.5), hush(2.1), tone(0.7)]
    samples, gate = torch.cat(parts), SpeechGate(Loudness(RATE), RATE, pause=0.6)
    found, at = list[Sound](), 0
    while at < len(samples):
        size = int(rng.integers(1, 3000))
        found += gate.feed(samples[at : at + size])
        at += size
    found += gate.finish()
    passed = torch.zeros(len(samples), dtype=torch.bool)
    for sound in found:
        first = round(sound.start * RATE)
        assert torch.equal(sound.samples, samples[first : first + len(sound.samples)])
        assert not passed[first : first + len(sound.samples)].any(), "nothing comes twice"
        passed[first : first + len(sound.samples)] = True
    assert passed[samples.abs() > 0].all()
    assert [sound.is_last for sound in found].count(True) == 2
    assert found[0].start == pytest.approx(0.9 - BEFORE_SECONDS, abs=0.05)
    assert not passed[round(3.7 * RATE) : round(4.7 * RATE)].any(), "the pause is dropped"


def test_silence_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    live = TranscribePipeline(tiny_whisper_bundle(), device="cpu").live()

    def decode(*args: object, **kwargs: object) -> None:
        raise AssertionError("silence was decoded")

    monkeypatch.setattr(live_module, "read_on", decode)
    updates = play(live, hush(30.0, level=0.0), [16_000])
    assert all(update == LiveUpdate((), (), "", "", update.seconds, False) for update in updates)
    assert len(live._buffer) == 0


def _fed_for(seconds: int, live: LiveTranscriber) -> list[int]:
    """Feed tones and pauses in turn; return the traced memory after each tenth."""
    block = torch.cat([tone(4.1, pitch=300), hush(0.9)])
    sizes, count = list[int](), seconds // 5
    tracemalloc.start()
    for i in range(count):
        live.feed(block)
        assert len(live._buffer) <= live._rules.longest * live.rate + len(block)
        if i % (count // 10) == count // 10 - 1:
            live._segments.clear()  # the text itself grows
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [150, 3600])
def test_memory_does_not_grow(seconds: int) -> None:
    pipeline = TranscribePipeline(tiny_speech_bundle(), device="cpu")
    live = pipeline.live(rules=LiveRules(step=5.0, trim=6.0, longest=9.0), max_tokens=3)
    live._gate = SpeechGate(Loudness(RATE), RATE, pause=2.0)  # no utterance ever ends: only trimming bounds the buffer
    sizes = _fed_for(seconds, live)
    assert max(sizes[5:]) < max(sizes[:5]) + 500_000
    assert len(live._context) <= 200
