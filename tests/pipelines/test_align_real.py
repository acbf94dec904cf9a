"""Given texts and live sound with a published Whisper, on the recording of digits that comes with the package."""

from pathlib import Path

import pytest

from multiattn.inputs import load_audio
from multiattn.pipelines import TranscribePipeline, load
from tests.fixtures import real_whisper

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> TranscribePipeline:
    found = load(str(real_whisper("tiny.en", tmp_path_factory.mktemp("whisper"))), task="transcribe", device="cpu")
    assert isinstance(found, TranscribePipeline)
    return found


def test_own_text_and_a_sentence_that_was_not_said(whisper: TranscribePipeline) -> None:
    plain = whisper(str(DIGITS), words=True, num_beams=1, condition_on_previous=False)
    own = whisper.align(str(DIGITS), plain.text)
    assert own.flags == () and own.not_written == ()
    assert [(word.start, word.end) for word in own.words] == [(word.start, word.end) for word in plain.words]
    words = plain.text.split()
    strange = "The committee will meet again on Thursday afternoon."
    more = whisper.align(str(DIGITS), " ".join([*words[:2], strange, *words[2:]]))
    unsaid = [word.text for word in more.words if word.flags]
    assert unsaid == strange.split()
    less = whisper.align(str(DIGITS), " ".join(words[:-1]))
    assert [one.text.strip(".,") for one in less.not_written] == [words[-1].strip(".,")]


def test_live_writes_what_is_written_offline(whisper: TranscribePipeline) -> None:
    samples = load_audio(DIGITS).numpy()
    live = whisper.live()
    for first in range(0, len(samples), 4000):
        live.feed(samples[first : first + 4000])
    live.finish()

    def letters(text: str) -> list[str]:
        return [word.strip(".,-!?").lower() for word in text.replace("-", " ").split()]

    offline = whisper(samples, num_beams=1).text
    same = set(letters(offline)) & set(letters(live.transcript().text))
    assert len(same) >= 0.7 * len(set(letters(offline)))
