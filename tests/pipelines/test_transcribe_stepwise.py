"""Segments taken one at a time: the same as at once, and given up wherever the caller says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multiattn.errors import InputError, ModelError, MultiattnError
from multiattn.inputs.audio import Recording
from multiattn.pipelines import TranscribePipeline, load
from multiattn.pipelines.transcribe import transcribe_stepwise
from multiattn.pipelines.transcribe.options import TranscribeOptions
from multiattn.pipelines.transcribe.results import Transcript
from multiattn.pipelines.transcribe.segments import Segment
from multiattn.weights import ModelBundle
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, hush, tone

SENTENCE = Path(__file__).parents[2] / "assets" / "inputs" / "sentence.flac"


class GivenUpError(MultiattnError):
    """What a watch raises: others would be taken for damage."""


def sound_file(path: Path, seconds: float = 65.0) -> Path:
    """Tones of different pitch with pauses between them, 16 bits."""
    parts = [part for i in range(round(seconds / 5)) for part in (tone(4.1, pitch=300 + 40 * i), hush(0.9))]
    soundfile.write(path, np.concatenate([part.numpy() for part in parts]), RATE)
    return path


@pytest.mark.parametrize(
    ("bundle", "seconds"),
    [(tiny_speech_bundle, 40), pytest.param(tiny_whisper_bundle, 5, marks=pytest.mark.slow)],
    ids=["own", "whisper"],
)
def test_the_transcript_is_that_of_the_call(bundle: Callable[[], ModelBundle], seconds: float, tmp_path: Path) -> None:
    pipeline = TranscribePipeline(bundle(), device="cpu")
    file = sound_file(tmp_path / "tones.wav", seconds)
    options: TranscribeOptions = {"num_beams": 1, "max_tokens": 5, "temperatures": (0.0,), "vad": "off"}
    reached = list[float]()
    *segments, last = transcribe_stepwise(pipeline, file, words=True, watch=reached.append, **options)
    whole = pipeline(file, words=True, **options)
    assert isinstance(last, Transcript) and all(isinstance(one, Segment) for one in segments)
    assert tuple(segments) == last.segments == whole.segments and len(segments) > 1
    assert last.to_dict() == whole.to_dict() and last.words
    assert 0 in reached and max(reached) == pytest.approx(seconds)


def test_a_watch_ends_the_reading(tmp_path: Path) -> None:
    """Long before the end of the recording, and the file is closed."""
    pipeline = TranscribePipeline(tiny_whisper_bundle(), device="cpu")
    file, reached = sound_file(tmp_path / "tones.wav"), list[float]()

    def watch(seconds: float) -> None:
        reached.append(seconds)
        if seconds > 20:
            raise GivenUpError

    with pytest.raises(GivenUpError):
        list(transcribe_stepwise(pipeline, file, vad="off", watch=watch))
    assert reached[-1] < 40 and len([one for one in reached if one > 20]) == 1


def test_errors_come_as_from_the_call(tmp_path: Path) -> None:
    pipeline = load("transcribe", device="cpu")
    assert isinstance(pipeline, TranscribePipeline)
    with pytest.raises(ModelError, match="knows one language only"):
        transcribe_stepwise(pipeline, SENTENCE, language="en")  # without being asked for the first segment
    with pytest.raises(InputError, match="the bytes must be a recording"):
        next(transcribe_stepwise(pipeline, b"no sound at all"))
    broken = SENTENCE.read_bytes()[:-3000]
    with pytest.raises(InputError, match="damaged or cut off"):
        list(transcribe_stepwise(pipeline, broken, strict=True))
    *_, last = transcribe_stepwise(pipeline, broken)
    assert isinstance(last, Transcript) and last.damaged is not None


def test_every_view_of_a_recording_is_watched(tmp_path: Path) -> None:
    """A channel, a part, and the search for the number of channels."""
    stereo, reached = tmp_path / "stereo.wav", list[float]()
    soundfile.write(stereo, np.zeros((3 * RATE, 2)), RATE)
    with Recording.open(stereo, rate=RATE, watch=reached.append) as recording:
        assert recording.channels == 2 and len(reached) == 1
        assert len(recording.channel(1).read(1.0, 2.0)) == RATE and len(reached) > 1
        count = len(reached)
        assert recording.part(1.0, 2.0).measure() == pytest.approx(1) and len(reached) > count
        assert min(reached[count:]) >= 0.9
