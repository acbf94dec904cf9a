"""Recordings in order: windows, the prompt of each, silence, streaming."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from multiattn.alignment import SpokenWord
from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, Recording
from multiattn.pipelines.transcribe import sequential
from multiattn.pipelines.transcribe.model import Encoded, SpeechModel
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.segments import DecodedWindow, Segment, WindowResult
from multiattn.pipelines.transcribe.sequential import _Features, transcribe_in_order
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, decoding, hush, speech_model, tone, written


@dataclass(frozen=True, eq=False)
class Spied(SpeechModel):
    """A model whose first windows have given texts and changes, and that keeps the previous text of each window."""

    texts: list[str] = field(default_factory=list)
    previous: list[list[int]] = field(default_factory=list)
    changes: list[dict[str, object]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def spy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding as a `Spied` model states it."""
    plain = sequential.decode_windows

    def decode(
        speech: SpeechModel,
        encoded: Encoded,
        options: SpeechOptions,
        *,
        previous: Sequence[Sequence[int]],
        generator: torch.Generator | None,
    ) -> list[WindowResult]:
        [result] = plain(speech, encoded, options, previous=previous, generator=generator)
        assert options.timestamps and isinstance(speech, Spied)
        index = len(speech.previous)
        speech.previous.append(list(previous[0]))
        if index < len(speech.texts):
            tokens = written(speech, speech.texts[index])
            result = replace(result, tokens=tokens, log_probs=(-0.5,) * (len(tokens) + 1))
        return [replace(result, **speech.changes[index]) if index < len(speech.changes) else result]

    monkeypatch.setattr(sequential, "decode_windows", decode)


def spied(*texts: str, changes: Sequence[dict[str, object]] = ()) -> Spied:
    plain = speech_model(tiny_whisper_bundle())
    return Spied(
        plain.model, plain.preprocessing, plain.tokenizer, plain.tokens, texts=list(texts), changes=list(changes)
    )


OPTIONS = SpeechOptions(
    decoding=decoding(tiny_whisper_bundle(), max_tokens=5),
    language="de",
    temperatures=(0.0,),
    compression_ratio_threshold=None,
    log_prob_threshold=None,
    no_speech_threshold=None,
)


def transcribed(
    speech: SpeechModel, samples: torch.Tensor, options: SpeechOptions = OPTIONS, **asked: object
) -> list[Segment]:
    with Recording.open(samples) as recording:
        return list(transcribe_in_order(speech, recording, options, **asked))


@pytest.mark.parametrize("count", [77, 160, 1_000, 16_003, 70_321, 128_000])
@pytest.mark.parametrize("block", [0.37, 30.0])
def test_windows_have_the_features_of_the_whole(count: int, block: float, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocessing = AudioPreprocessing(mels=13)
    loudness = 10 ** torch.linspace(-6, 0, count)  # so far apart that its loudest point is visible in every window
    samples = loudness * torch.randn(count, generator=torch.Generator().manual_seed(7))
    # with silence after it, which is where its last frame ends
    whole = preprocessing.scaled(preprocessing.log_power(torch.cat([samples, torch.zeros(RATE)])))
    blocks = Recording.blocks
    monkeypatch.setattr(Recording, "blocks", lambda self, seconds=30.0: blocks(self, block))
    with Recording.open(samples) as recording:
        source = _Features.of(preprocessing, recording)
        assert source.frames == count // 160
        for first in range(0, source.frames, 37):
            length = min(53, source.frames - first)
            window = source.window(first, length, size=59)
            torch.testing.assert_close(window[:, :length], whole[:, first : first + length], rtol=0, atol=1e-5)
            assert not window[:, length:].any()


def test_a_window_begins_at_the_last_complete_segment() -> None:
    """Pairs of times end a segment; an unfinished one is decoded again; a single last time ends the text."""
    speech = spied("0.1 red 0.9 0.9 the", "0.0 nine 1.0 1.2 red 1.5", "0.0 the 0.3", "0.0 red")
    samples = tone(7.3)
    found = transcribed(speech, samples)
    spans = [(round(one.start, 3), round(one.end, 3), one.text) for one in found[:5]]
    assert spans == [
        (0.1, 0.9, " red"),
        (0.9, 1.9, " nine"),
        (2.1, 2.4, " red"),  # the second window ends at 2.9, for nothing follows its last time
        (2.9, 3.2, " the"),  # without a pair, and all of the window is done
        (4.9, 6.9, " red"),  # without another time, up to the window's end
    ]
    assert [list(one.tokens) for one in found[:2]] == [
        list(written(speech, "0.1 red 0.9")),
        list(written(speech, "0.0 nine 1.0")),
    ]
    assert all(len(one.log_probs) == len(one.tokens) for one in found)


def test_the_prompt_of_each_window_is_the_text_before_it() -> None:
    texts = ("0.0 red 1.0", "0.0 nine 1.0", "0.0 the 1.0", "0.0 red 1.0")
    one, two, three, _ = (list(written(spied(), text)) for text in texts)
    start = spied().tokenizer.encode(" nine red")
    for options, changes, expected in (
        (OPTIONS, (), [[], one, one + two, one + two + three]),
        (replace(OPTIONS, initial_prompt=" nine red "), (), [start, start + one, start + one + two]),
        (replace(OPTIONS, initial_prompt="nine red", condition_on_previous=False), (), [start, [], []]),
        (OPTIONS, ({}, {"hottest": 0.6, "temperature": 0.0}), [[], one, [], three]),
        (OPTIONS, ({"hottest": 0.4}, {"flags": ("repeats",)}), [[], one, [], three]),
    ):
        speech = spied(*texts, changes=changes)
        transcribed(speech, tone(8.0), options)
        assert speech.previous[: len(expected)] == expected


def test_silence_is_skipped() -> None:
    """A silent window is skipped; a silent segment is flagged."""
    samples = torch.cat([tone(2.0), hush(6.0), tone(1.0), hush(1.0)])
    speech = spied("0.0 red 2.0", "0.0 red 0.8 1.2 nine 1.8 1.8")
    found = transcribed(speech, samples)
    assert [(round(one.start, 2), one.text, one.flags) for one in found[:3]] == [
        (0.0, " red", ()),
        (8.0, " red", ()),
        (9.2, " nine", ("silence",)),
    ]
    assert transcribed(spied("0.0 red 2.0"), torch.zeros(5 * RATE)) == []
    assert transcribed(spied("0.0 red 2.0"), torch.full((77,), 0.5)) == []  # shorter than a frame


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("0.2 nine 1.88", [(2.0, 3.0)]),
        ("0.0 nine 0.5 0.5 red 1.9 1.9", [(2.0, 2.5), (2.5, 3.0)]),
        ("0.0 nine 0.5 1.0 red 1.9 1.9", [(2.0, 2.5)]),  # begins when all is over
        ("0.0 nine 0.5 0.5 red 0.9", [(2.0, 2.5), (2.5, 2.9)]),
    ],
)
def test_no_segment_ends_after_the_recording(text: str, spans: list[tuple[float, float]]) -> None:
    """Later times belong to the padding of the last window; earlier ones stay as written."""
    found = transcribed(spied("0.0 red 2.0", text), tone(3.0))
    assert [(round(one.start, 3), round(one.end, 3)) for one in found] == [(0.0, 2.0), *spans]


def test_a_window_shorter_than_an_encoder_frame_is_skipped() -> None:
    for seconds, count in ((0.01, 0), (0.02, 1), (2.01, 1), (2.02, 2)):
        speech = spied("0.0 red 2.0", "0.0 red 2.0")
        transcribed(speech, tone(seconds))
        assert len(speech.previous) == count


def test_segments_are_yielded_when_their_window_is_decoded() -> None:
    speech = spied(*["0.0 red 1.0 1.0 nine 2.0"] * 3)
    with Recording.open(tone(6.0)) as recording:
        found = transcribe_in_order(speech, recording, OPTIONS)
        assert speech.previous == []
        next(found), next(found)
        assert len(speech.previous) == 1
        next(found)
        assert len(speech.previous) == 2


def test_a_window_that_the_model_takes_for_silence_is_left_out() -> None:
    changes = ({"no_speech_prob": 0.7, "avg_log_prob": -2.0}, {"no_speech_prob": 0.7, "avg_log_prob": -0.5})
    texts = ("0.0 red 1.0", "0.0 nine 1.0", "0.0 the 1.0")
    options = replace(OPTIONS, no_speech_threshold=0.6, log_prob_threshold=-1.0)
    speech = spied(*texts, changes=(*changes, {"no_speech_prob": 0.5, "avg_log_prob": -2.0}))
    assert [one.text for one in transcribed(speech, tone(6.0), options)] == [" nine", " the"]
    speech = spied(*texts, changes=changes)
    assert len(transcribed(speech, tone(4.0), replace(options, log_prob_threshold=None))) == 0
    speech = spied(*texts, changes=changes)
    assert len(transcribed(speech, tone(4.0), replace(options, no_speech_threshold=None))) == 2


def test_words_do_not_change_where_the_next_window_begins() -> None:
    seen: list[DecodedWindow] = []

    def add_words(window: DecodedWindow) -> tuple[Segment, ...]:
        seen.append(window)
        return tuple(replace(one, words=(word(one.start, one.end + 0.25),)) for one in window.segments)

    speech = spied("0.0 red 1.0 1.0 nine", "0.0 the 1.0 1.0 red 2.0", "0.0 red 2.0")
    found = transcribed(speech, tone(4.5), add_words=add_words)
    # the second window says that nothing follows, and is done with
    assert [round(window.start, 2) for window in seen[:3]] == [0.0, 1.0, 3.0]
    assert [(one.words[0].start, one.words[0].end) for one in found][:2] == [(0.0, 1.0), (1.0, 2.25)]
    assert [len(window.samples) for window in seen[:3]] == [2 * RATE, 2 * RATE, round(1.5 * RATE)]
    assert [window.frames for window in seen[:3]] == [100, 100, 75]
    assert {(len(window.context), window.result.language, window.task) for window in seen} == {(1, "de", "transcribe")}


def word(start: float, end: float) -> SpokenWord:
    return SpokenWord("word", start, end, 0.5, 0, 4, (0,))


def test_the_language_is_detected_once() -> None:
    speech = spied("0.0 red 1.0", "0.0 red 1.0")
    languages = []

    def add_words(window: DecodedWindow) -> tuple[Segment, ...]:
        languages.append(window.result.language)
        return window.segments

    transcribed(speech, tone(4.0), replace(OPTIONS, language=None), add_words=add_words)
    [best] = speech.language_log_probs(tone(2.0)).topk(1).indices.tolist()
    assert languages == [list(speech.tokens.languages)[best]] * 2
    assert languages[0] in speech.tokens.languages


def test_clips_of_a_recording() -> None:
    speech = spied("0.0 red 0.4", "0.0 nine 1.0 1.0 the", "0.0 red 0.5")
    found = transcribed(speech, tone(9.0), replace(OPTIONS, clips=((1.0, 1.5), (5.0, 99.0))))
    assert [(one.start, one.text) for one in found[:3]] == [(1.0, " red"), (5.0, " nine"), (6.0, " red")]


def test_a_model_without_times_is_refused() -> None:
    with pytest.raises(ModelError, match="must have timestamp tokens to go through a recording in order: cut it at"):
        transcribed(speech_model(tiny_speech_bundle()), tone(1.0))
