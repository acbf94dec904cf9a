"""Recordings of minutes with a published model: no text depends on what is asked for beside it, and none is lost."""

import io
import json
import tarfile
from itertools import islice
from pathlib import Path

import pytest
import torch

import multiattn
from multiattn.inputs import load_audio
from multiattn.metrics.speech import normalizer_of, speech_scores
from multiattn.pipelines import TranscribePipeline
from tests.fixtures import real_whisper

LIBRISPEECH = Path(__file__).parents[2] / "../shared/data/librispeech-dev-clean.tar"


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> TranscribePipeline:
    pytest.importorskip("silero_vad", reason="needs silero-vad: pip install 'multiattn[speech]'")
    directory = real_whisper("tiny.en", tmp_path_factory.mktemp("long") / "tiny.en")
    return multiattn.load(directory, task="transcribe", device="cpu")


def read(count: int, *, pause: float = 0.0) -> tuple[torch.Tensor, str]:
    """The first recordings of the validation split, joined, with what is said in them."""
    if not LIBRISPEECH.is_file():
        pytest.skip("needs ../shared/data/librispeech-dev-clean.tar")
    parts, texts = [], []
    with tarfile.open(LIBRISPEECH) as tar:
        rows = tar.extractfile("validation/metadata.jsonl")
        assert rows is not None
        for line in islice(rows, count):
            row = json.loads(line)
            file = tar.extractfile(f"validation/{row['file_name']}")
            assert file is not None
            parts += [load_audio(io.BytesIO(file.read()).getvalue()), torch.zeros(round(pause * 16_000))]
            texts.append(row["text"])
    return torch.cat(parts), " ".join(texts)


def check(whisper: TranscribePipeline, samples: torch.Tensor, text: str, *, num_beams: int, most: float) -> None:
    for batch_size in (1, 8):
        plain = whisper(samples, num_beams=num_beams, batch_size=batch_size)
        timed = whisper(samples, num_beams=num_beams, batch_size=batch_size, words=True)
        assert plain.text == timed.text
        assert plain.uncovered == timed.uncovered == ()
        assert " ".join(word.text for word in timed.words).split() == timed.text.split()
        assert [one.tokens for one in plain.segments] == [one.tokens for one in timed.segments]
        scores = speech_scores([plain.text], [text], normalize=normalizer_of("english"))
        assert scores.wer <= most
        starts = [one.start for one in plain.segments]
        assert starts == sorted(starts)


def test_words_do_not_change_the_text(whisper: TranscribePipeline) -> None:
    """38 s: two windows, and two chunks."""
    samples, text = read(6)
    check(whisper, samples, text, num_beams=1, most=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 4.0])
@pytest.mark.parametrize("num_beams", [1, 5])
def test_nothing_changes_the_text_of_minutes(whisper: TranscribePipeline, pause: float, num_beams: int) -> None:
    samples, text = read(29, pause=pause)
    check(whisper, samples, text, num_beams=num_beams, most=0.05)
    for batch_size in (1, 8):
        plain = whisper(samples, num_beams=num_beams, batch_size=batch_size)
        mapped = whisper(samples, num_beams=num_beams, batch_size=batch_size, maps="all")
        assert plain.text == mapped.text
        for one in mapped.maps:
            axis = one.map.axes[-1]
            assert axis.start + axis.step * one.map.values.shape[-1] <= plain.duration + 30.0


@pytest.mark.slow
def test_joins_of_a_window_keep_their_last_phrase(whisper: TranscribePipeline) -> None:
    """Joins of 25 to 30 s: the last words of each are written, in batches as in order."""
    samples, _ = read(40)
    starts = range(0, len(samples) - 30 * 16_000, 23 * 16_000)
    for start in starts:
        part = samples[start : start + 27 * 16_000]
        in_order, batched = (whisper(part, num_beams=1, batch_size=size).text for size in (1, 2))
        scores = speech_scores([batched], [in_order], normalize=normalizer_of("english"))
        assert scores.deletions <= 3, (in_order, batched)
