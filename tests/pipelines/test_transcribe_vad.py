"""Where nobody speaks nothing is decoded, and what is written there is dropped; on real speech between other sounds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import Recording
from multiattn.pipelines import TranscribePipeline
from multiattn.pipelines.map_request import MapRequest
from multiattn.pipelines.transcribe import sequential
from multiattn.pipelines.transcribe.chunks import chunks_of
from multiattn.pipelines.transcribe.coverage import uncovered_speech
from multiattn.pipelines.transcribe.cutting import is_dropped
from multiattn.pipelines.transcribe.dropped import covers_speech, is_unheard
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.sequential import _Features, transcribe_in_order
from multiattn.pipelines.transcribe.speech_detector import STEP_SECONDS
from multiattn.pipelines.transcribe.voice import HEARD, Voice
from multiattn.resources import shipped
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, decoding, hush, speech_model, tone, written

OPTIONS = SpeechOptions(
    decoding=decoding(tiny_whisper_bundle(), max_tokens=5),
    language="de",
    temperatures=(0.0,),
    compression_ratio_threshold=None,
    log_prob_threshold=None,
    vad=True,
)


@pytest.fixture(scope="module")
def spoken() -> torch.Tensor:
    """1.5 s of speech."""
    with Recording.open(shipped("inputs", "digits.flac"), rate=RATE) as recording:
        return recording.read(0.3, 1.8)


@pytest.fixture(scope="module")
def between(spoken: torch.Tensor) -> torch.Tensor:
    """5 s of a tone, speech, 7 s of noise, speech, 4 s of silence."""
    return torch.cat([tone(5.0), spoken, hush(7.0, level=0.05), spoken, hush(4.0)])


SPEECH = ((5.0, 6.5), (13.5, 15.0))


def voice_of(*spans: tuple[float, float], seconds: float = 20.0, probability: float = 0.9) -> Voice:
    """What a detector would hear if somebody spoke in these spans."""
    times = np.arange(0, seconds, STEP_SECONDS)
    voice = Voice(RATE)
    heard = sum((times >= start) & (times < end) for start, end in spans) if spans else np.zeros(len(times))
    voice._parts = [np.where(heard, probability, 0.01).astype(np.float32)]
    return voice


def test_a_voice_is_looked_up_by_time() -> None:
    voice = voice_of((2.0, 3.0), (8.0, 8.5))
    assert voice.first(0.0) == pytest.approx(2.0, abs=STEP_SECONDS)
    assert voice.first(2.5) == pytest.approx(2.5, abs=STEP_SECONDS)
    assert voice.first(3.1) == pytest.approx(8.0, abs=STEP_SECONDS)
    assert voice.first(9.0) is None and voice.first(3.1, 7.9) is None and voice.first(50.0) is None
    assert voice.last(0.0, 20.0) == pytest.approx(8.5, abs=2 * STEP_SECONDS)
    assert voice.last(0.0, 7.0) == pytest.approx(3.0, abs=2 * STEP_SECONDS) and voice.last(4.0, 7.0) is None
    assert voice.hears(-1.0, 2.2) and not voice.hears(3.2, 7.9) and not voice.hears(30.0, 40.0)
    assert voice.seconds(0.0, 5.0) == pytest.approx(0.9, abs=0.1)
    assert voice.at(np.array([2.5, 5.0, 99.0])) == pytest.approx([0.9, 0.01, 0.0])
    assert not voice_of((2.0, 3.0), probability=HEARD - 0.01).hears(0.0, 20.0)


def test_windows_begin_and_end_with_speech(between: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = list[tuple[float, float]]()
    plain = _Features.next_window

    def next_window(self: _Features, seek: int, end: int, *, longest: int) -> tuple[int, int]:
        first, count = plain(self, seek, end, longest=longest)
        if count:
            windows.append((self.seconds(first), self.seconds(first + count)))
        return first, count

    monkeypatch.setattr(_Features, "next_window", next_window)
    with Recording.open(between) as recording:
        segments = list(transcribe_in_order(speech_model(tiny_whisper_bundle()), recording, OPTIONS))
    assert segments and windows
    for start, end in windows:
        [(first, last)] = [span for span in SPEECH if span[0] - 0.6 <= start and end <= span[1] + 2.7]
        assert start < last and end > first
    assert windows[0][0] == pytest.approx(4.5, abs=0.1)
    with Recording.open(tone(9.0)) as recording:
        assert list(transcribe_in_order(speech_model(tiny_whisper_bundle()), recording, OPTIONS)) == []
    with Recording.open(tone(9.0)) as recording:
        off = replace(OPTIONS, vad=False)
        assert list(transcribe_in_order(speech_model(tiny_whisper_bundle()), recording, off)) != []


def test_what_is_unheard_and_what_is_dropped() -> None:
    voice = voice_of((2.0, 4.0))
    assert is_unheard(5.0, 7.0, voice) and not is_unheard(4.3, 7.0, voice) and not is_unheard(5.0, 7.0, None)
    assert covers_speech([(1.8, 4.1)], voice, start=0.0, end=9.0)
    assert covers_speech([(2.4, 3.6)], voice, start=0.0, end=9.0)
    assert not covers_speech([(0.0, 2.2)], voice, start=0.0, end=9.0)
    assert covers_speech([(0.0, 2.2)], voice, start=0.0, end=2.5) and covers_speech([], None, start=0.0, end=9.0)
    rules = SpeechOptions()
    for flags, no_speech, is_covered, dropped in (
        ((), 0.99, True, False),
        (("unheard",), 0.01, True, True),
        (("unheard",), 0.01, False, False),
        (("unheard",), None, True, True),
        (("repeats",), 0.7, True, True),
        (("repeats",), 0.5, True, False),
        (("repeats",), None, True, False),
        (("unheard", "silence"), 0.99, False, False),
    ):
        assert is_dropped(flags, no_speech, rules, is_covered=is_covered) == dropped, flags
        assert not is_dropped(flags, no_speech, replace(rules, keep_flagged=True), is_covered=is_covered)
    assert not is_dropped(("repeats",), 0.99, replace(rules, no_speech_threshold=None), is_covered=True)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Texts of the first two windows, of which a part is flagged; returns the previous text of each window."""
    plain, previous_texts = sequential.decode_windows, list[list[int]]()

    def decode(speech: Any, encoded: Any, options: Any, *, previous: Sequence[Sequence[int]], generator: Any) -> Any:
        [result] = plain(speech, encoded, options, previous=previous, generator=generator)
        tokens = written(speech, ("0.0 red 1.0", "0.0 nine 1.0")[min(len(previous_texts), 1)])
        flags = ("repeats",) if not previous_texts else ()
        previous_texts.append(list(previous[0]))
        changes = {"tokens": tokens, "log_probs": (-0.5,) * (len(tokens) + 1), "avg_log_prob": -0.5, "flags": flags}
        return [replace(result, no_speech_prob=0.9, hottest=0.0, **changes)]

    monkeypatch.setattr(sequential, "decode_windows", decode)
    return previous_texts


@pytest.mark.parametrize("keep", [False, True])
def test_dropped_text_is_listed_and_is_no_prompt(scripted: list[list[int]], keep: bool) -> None:
    pipeline = TranscribePipeline(tiny_whisper_bundle(), device="cpu")
    asked = {"language": "en", "temperatures": [0.0], "log_prob_threshold": -1.0, "vad": "off", "keep_flagged": keep}
    passed_on = list[str]()
    [result] = pipeline.stream([tone(3.9)], on_segment=lambda one: passed_on.append(one.text.strip()), **asked)
    found = [one.text.strip() for one in result.segments]
    assert found == passed_on and found[-1] == "nine" and ("red" in found) == keep
    assert [one.text.strip() for one in result.dropped] == ([] if keep else ["red"])
    line = result.to_dict()
    assert [one["text"] for one in line["dropped"]] == ([] if keep else ["red"])
    assert all(one.keys() >= {"start", "end", "flags", "no_speech", "language"} for one in line["dropped"])
    assert line["flags"] == (["repeats"] if keep else [])
    assert not any(scripted)  # a flagged text never was one
    scripted.clear()
    assert [one.text.strip() for one in pipeline.segments(tone(3.9), **asked)] == found


def test_a_detector_is_for_models_that_write_times_unless_the_model_says_otherwise() -> None:
    whisper, ours = tiny_whisper_bundle(), tiny_speech_bundle()
    for bundle, by_model, asked, expected in (
        (whisper, None, None, True),
        (whisper, None, "off", False),
        (whisper, "off", "auto", False),
        (whisper, "off", "on", True),
        (ours, None, None, False),
        (ours, None, "on", True),
        (ours, "on", None, True),
    ):
        own = {} if by_model is None else {"vad": by_model}
        pipeline = TranscribePipeline(replace(bundle, decoding=bundle.decoding | own), device="cpu")
        options = {} if asked is None else {"vad": asked}
        assert pipeline._plan(False, MapRequest(), None, options).options.vad == expected
    with pytest.raises(ModelError, match="`vad` must be one of auto, on, off, but is 'yes' instead"):
        pipeline(tone(1.0), vad="yes")


def test_a_recording_at_another_rate_and_a_part_of_it_are_heard_too() -> None:
    with Recording.open(shipped("inputs", "digits.flac"), rate=8_000) as recording:
        spoken = recording.read(0.3, 1.8)
    silence = torch.zeros(8_000 * 3)
    with Recording.open(torch.cat([silence, spoken, silence]), rate=8_000) as recording:
        [chunk] = chunks_of(recording, Voice(8_000), longest=30.0)
        assert 2.5 < chunk.pieces[0].start < 3.2 and len(chunk.samples) / 8_000 < 3.0
        voice = Voice(8_000, start=2.0)
        [part] = chunks_of(recording.part(2.0, 7.0), voice, longest=30.0, start=2.0)
    assert part.pieces[0].start == pytest.approx(chunk.pieces[0].start, abs=0.1)
    assert voice.hears(3.1, 4.4) and not voice.hears(0.0, 2.7) and not voice.hears(5.2, 7.0)
    assert voice.first(0.0) == pytest.approx(3.0, abs=0.2)
    [missing] = uncovered_speech(voice, (), 2.0, 7.0)
    assert missing[0] < 3.1 and missing[1] > 4.2


def test_the_end_of_a_recording_within_speech_is_its_end(spoken: torch.Tensor) -> None:
    for count in (len(spoken) - 7, len(spoken) - 301, len(spoken) // 2):
        with Recording.open(spoken[:count]) as recording:
            chunks = list(chunks_of(recording, Voice(RATE), longest=1.0))
        assert chunks and all(len(chunk.samples) <= 1.0 * RATE + 1 for chunk in chunks)
        assert max(piece.start + piece.seconds for piece in chunks[-1].pieces) <= count / RATE + 1e-6
