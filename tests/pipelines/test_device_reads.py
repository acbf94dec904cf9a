"""What a transcription reads of a device: a few tensors for each batch of chunks, however many chunks it has."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from multiattn.inputs import Recording
from multiattn.pipelines.transcribe.chunked import transcribe_chunked
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.sequential import transcribe_in_order
from tests.device_reads import device_reads
from tests.fixtures import tiny_whisper_bundle
from tests.pipelines.speaking import decoding, hush, speech_model, tone

BEAMS = decoding(tiny_whisper_bundle(), max_tokens=19, num_beams=3)
_OF_SAMPLES = {"_source_of", "open", "cut_at_pauses", "is_silent", "_another", "of"}
"""Functions that read samples, which lie in the host's memory."""


def options(**changes: object) -> SpeechOptions:
    plain = SpeechOptions(
        decoding=decoding(tiny_whisper_bundle(), max_tokens=19),
        language="de",
        temperatures=(0.0,),
        compression_ratio_threshold=None,
        log_prob_threshold=None,
        no_speech_threshold=None,
    )
    return replace(plain, **changes)


def samples(count: int) -> torch.Tensor:
    """Sounds of which each is a chunk, or fills a window, of a model for two seconds."""
    return torch.cat([part for _ in range(count) for part in (tone(1.8), hush(0.4))])


def counted(reads: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in reads.items() if name not in _OF_SAMPLES}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"_languages_and_silence": 1, "step": 3}),  # after 8, 16 and 19 tokens
        ({"language": None}, {"_languages_and_silence": 3, "step": 3}),
        ({"decoding": BEAMS}, {"_languages_and_silence": 1, "step": 19}),
    ],
)
def test_chunks_of_a_batch_are_read_together(changes, expected, monkeypatch) -> None:
    monkeypatch.setattr("multiattn.generation.greedy.steps_between_looks", lambda device: 8)
    chosen = options(**changes)
    speech = speech_model(tiny_whisper_bundle())
    for count in (2, 5):
        with device_reads("multiattn.") as reads, Recording.open(samples(count)) as recording:
            segments = list(transcribe_chunked(speech, recording, chosen))
        assert max(segment.start for segment in segments) > 2 * (count - 1)  # of the last chunk
        found = counted(reads)
        decodes = found["_languages_and_silence"] // expected["_languages_and_silence"]
        assert decodes <= 2  # the chunks of a batch together, and once more those whose end was not reached
        assert found == {name: decodes * reads for name, reads in expected.items()}


def test_a_window_in_order_is_read_at_most_so_often(monkeypatch) -> None:
    monkeypatch.setattr("multiattn.generation.greedy.steps_between_looks", lambda device: 8)
    speech = speech_model(tiny_whisper_bundle())
    windows = Counter[str]()
    plain = type(speech).encode

    def encode(self, *args, **named):
        windows["all"] += 1
        return plain(self, *args, **named)

    monkeypatch.setattr(type(speech), "encode", encode)
    with device_reads("multiattn.") as reads, Recording.open(samples(5)) as recording:
        assert list(transcribe_in_order(speech, recording, options()))
    found = counted(reads)
    assert found.keys() == {"_languages_and_silence", "step"}
    assert 5 <= windows["all"] == found["_languages_and_silence"] and found["step"] <= 3 * windows["all"]
