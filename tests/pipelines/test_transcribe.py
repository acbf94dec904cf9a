"""The transcription pipeline over what people pass to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from multiattn.alignment import SpokenWord, word_timestamps
from multiattn.errors import InputError, ModelError
from multiattn.inputs import Recording
from multiattn.pipelines import Failure, TranscribePipeline, Transcript
from multiattn.pipelines.transcribe import chunked, decode
from multiattn.pipelines.transcribe.segments import Segment
from tests.fixtures import tiny_bundle, tiny_speech_bundle, tiny_whisper_bundle

RATE = 16_000  # Hz
QUICK = {"temperatures": [0.0], "num_beams": 1, "max_tokens": 7, "vad": "off"}
"""Options that keep random weights, whose texts fail every threshold, from being run at six temperatures, and sounds
that are no speech from being left out."""


@pytest.fixture(scope="module")
def ours() -> TranscribePipeline:
    return TranscribePipeline(tiny_speech_bundle(), device="cpu")


@pytest.fixture(scope="module")
def whisper() -> TranscribePipeline:
    return TranscribePipeline(tiny_whisper_bundle(), device="cpu")


def bursts(count: int, *, rate: int = RATE, pause: float = 0.4, seed: int = 0) -> np.ndarray:
    """Chirps of a third of a second, with pauses of faint noise before, between and after them."""
    random = np.random.default_rng(seed)
    times = np.arange(round(0.31 * rate)) / rate
    quiet = np.zeros(round(pause * rate))
    parts = [quiet]
    for i in range(count):
        low = 200 + 150 * ((7 * i + seed) % 11)
        parts += [0.5 * np.sin(2 * np.pi * (low + 600 * times) * times) * np.hanning(len(times)), quiet]
    samples = np.concatenate(parts)
    return (samples + random.normal(scale=1e-3, size=len(samples))).astype(np.float32)


def save(path: Path, samples: np.ndarray, *, rate: int = RATE, subtype: str | None = None) -> Path:
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return path


def facts(result: Transcript) -> dict:
    """All fields but the file."""
    assert isinstance(result, Transcript)
    fields = result.to_dict()
    del fields["file"]
    return fields


def test_one_recording_gives_the_same_in_every_form(ours, tmp_path) -> None:
    samples = bursts(3)
    samples = np.round(samples * 32768).clip(-32768, 32767).astype(np.int16)  # what the file holds
    file = save(tmp_path / "a.wav", samples)
    result = ours(file, **QUICK)
    assert (result.file, result.error, result.name) == (str(file), None, "a")
    assert result.text and result.segments
    assert result.duration == pytest.approx(len(samples) / RATE)
    for source in (str(file), file.read_bytes(), samples, torch.from_numpy(samples), np.stack([samples, samples])):
        assert facts(ours(source, **QUICK)) == facts(result)
    assert ours(samples, **QUICK).file is None
    assert ours(samples, **QUICK).name == "recording"
    assert facts(ours(samples, rate=RATE, **QUICK)) == facts(result)


def test_the_rate_of_an_array_is_used(ours) -> None:
    samples = bursts(2)
    result = ours(samples, rate=8000, **QUICK)
    assert result.duration == pytest.approx(2 * len(samples) / RATE)


def test_a_list_keeps_its_order_and_has_failures(ours, tmp_path) -> None:
    good = [save(tmp_path / f"{i}.wav", bursts(i + 1, seed=i)) for i in range(2)]
    (tmp_path / "words.wav").write_text("no recording")
    found = ours([good[1], tmp_path / "words.wav", good[0]], **QUICK)
    assert [type(one) for one in found] == [Transcript, Failure, Transcript]
    assert found[1].file == str(tmp_path / "words.wav")
    assert isinstance(found[1].error, InputError)
    assert [facts(found[0]), facts(found[2])] == [facts(ours(good[1], **QUICK)), facts(ours(good[0], **QUICK))]
    with pytest.raises(InputError, match="words.wav"):
        ours(tmp_path / "words.wav")
    assert ours([]) == []


def test_the_stream_reads_no_further_than_it_is_asked_to(ours) -> None:
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield bursts(1, seed=len(asked))

    stream = ours.stream(endless(), batch_size=1, **QUICK)
    assert asked == []
    assert isinstance(next(stream), Transcript)
    assert asked == [0]
    stream = ours.stream(endless(), batch_size=3, **QUICK)
    for count in (4, 4, 4, 7):  # a batch, and then what is in the next
        assert isinstance(next(stream), Transcript)
        assert len(asked) == count


def test_chunks_of_several_recordings_share_batches(ours, tmp_path, monkeypatch) -> None:
    (tmp_path / "words.wav").write_text("no recording")
    recordings = [bursts(count, pause=2.1, seed=count) for count in (1, 3, 1)]
    inputs = [recordings[0], np.zeros(RATE), tmp_path / "words.wav", recordings[1], np.full(1, 0.7), recordings[2]]
    hot = {"temperatures": [0.8], "num_beams": 1, "max_tokens": 7}  # each chunk has a generator of its own
    alone = [ours(one, words=True, batch_size=1, **hot) if not isinstance(one, Path) else None for one in inputs]
    sizes, plain = [], chunked.decode_windows

    def counted(speech, encoded, *arguments, **options):
        sizes.append(len(encoded.projected))
        return plain(speech, encoded, *arguments, **options)

    monkeypatch.setattr(chunked, "decode_windows", counted)
    for batch_size, expected in ((1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (9, [5])):
        sizes.clear()
        events: list = []
        for result in ours.stream(inputs, words=True, batch_size=batch_size, on_segment=events.append, **hot):
            events.append(result)
        assert sizes == expected
        results = [one for one in events if not isinstance(one, Segment)]
        assert [type(one) for one in results] == [Transcript, Transcript, Failure, Transcript, Transcript, Transcript]
        passed: list[Segment] = []
        for event in events:
            if isinstance(event, Segment):
                passed.append(event)
            else:
                assert tuple(passed) == (event.segments if isinstance(event, Transcript) else ())
                passed = []
        for one, expected_one in zip(results, alone, strict=True):
            if expected_one is not None:
                assert (one.text, one.duration) == (expected_one.text, expected_one.duration)
                assert [word.start for word in one.words] == pytest.approx([word.start for word in expected_one.words])
        assert [bool(one.text) for one in results if isinstance(one, Transcript)] == [True, False, True, False, True]


def test_a_damaged_recording_is_a_failure_between_its_neighbors(ours, monkeypatch) -> None:
    long, short = bursts(2, pause=2.1), bursts(1)
    blocks = Recording.blocks

    def broken(self, seconds=30.0):
        yield from blocks(self, seconds)
        if self.duration > 5:
            raise InputError("cut off")

    monkeypatch.setattr(Recording, "blocks", broken)
    for batch_size in (1, 9):
        found = list(ours.stream([short, long, short], batch_size=batch_size, **QUICK))
        assert [type(one) for one in found] == [Transcript, Failure, Transcript]
        assert str(found[1].error) == "cut off" and found[0].text == found[2].text


@pytest.mark.parametrize("kind", ["ours", "whisper"])
@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_click_has_no_text(kind, count, batch_size, request) -> None:
    result = request.getfixturevalue(kind)(np.full(count, 0.7), batch_size=batch_size, **QUICK)
    assert (result.text, result.segments) == ("", ())


def test_words_do_not_depend_on_the_detection_of_loops(monkeypatch) -> None:
    bundle = tiny_speech_bundle()
    bundle.decoding["alignment_heads"] = [[0, 1], [1, 0]]
    pipeline, samples = TranscribePipeline(bundle, device="cpu"), bursts(3)
    asked = {"temperatures": [0.0], "num_beams": 1, "max_tokens": 23}
    once = pipeline(samples, words=True, **asked)
    assert len(once.segments[0].tokens) >= 12 and once.segments[0].words
    monkeypatch.setattr(decode, "_detect_loops", lambda results, *arguments: list(results))
    twice = pipeline(samples, words=True, **asked)
    assert [replace(one, flags=()) for one in once.segments] == list(twice.segments)


@pytest.mark.parametrize("seed", range(7))
def test_every_word_has_a_duration(seed) -> None:
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 9, 26)) / 5  # many alike
    words = [SpokenWord("a", start, end, 1.0, 0, 1, (0,)) for start, end in times.reshape(-1, 2).tolist()]
    for least, end in ((0.02, 1.8), (0.02, 1.65), (0.3, 1.8)):
        found = word_timestamps.with_min_duration(words, least, end=end)
        bounds = np.array([(word.start, word.end) for word in found])
        assert (np.diff(bounds.ravel()) >= -1e-9).all()
        assert (bounds[:, 1] - bounds[:, 0] >= min(least, end / 13) - 1e-9).all()
        assert bounds[0, 0] >= -1e-9 and bounds[-1, 1] <= end + 1e-9
    apart = [SpokenWord("a", i, i + 0.5, 1.0, 0, 1, (0,)) for i in range(5)]
    assert word_timestamps.with_min_duration(apart, 0.02, end=5.0) == apart
    assert word_timestamps.with_min_duration([], 0.02, end=1.0) == []


@pytest.mark.parametrize("kind", ["ours", "whisper"])
def test_segments_are_passed_on_when_ready_and_are_those_of_the_result(kind, request) -> None:
    pipeline = request.getfixturevalue(kind)
    recordings = [bursts(count, pause=2.1, seed=count) for count in (3, 2)]
    events = []
    stream = pipeline.stream(recordings, on_segment=events.append, batch_size=1, **QUICK)
    for result in stream:
        events.append(result)
    ends = [i for i, event in enumerate(events) if isinstance(event, Transcript)]
    assert len(ends) == 2 and ends[1] == len(events) - 1
    first, second = events[: ends[0]], events[ends[0] + 1 : -1]
    assert tuple(first) == events[ends[0]].segments and len(first) > 1
    assert tuple(second) == events[-1].segments and len(second) > 1
    one_by_one = pipeline.segments(recordings[0], batch_size=1, **QUICK)
    assert isinstance(next(one_by_one), Segment)
    assert list(one_by_one) == first[1:]


@pytest.mark.parametrize("kind", ["ours", "whisper"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_words_lie_in_their_segments_in_order(kind, batch_size, request) -> None:
    pipeline = request.getfixturevalue(kind)
    samples = bursts(2, pause=2.1)
    result = pipeline(samples, words=True, batch_size=batch_size, **QUICK)
    assert result.words
    reached = 0.0
    for segment in result.segments:
        assert "".join(segment.text.split()) == "".join("".join(word.text.split()) for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        for word in segment.words:
            assert reached <= word.start <= word.end <= result.duration + 1e-6
            assert 0 <= word.score <= 1
            assert segment.text[word.start_char : word.end_char] == word.text
            reached = word.end
            assert pipeline.bundle.tokenizer.decode([segment.tokens[i] for i in word.pieces]).strip() == word.text
    plain = pipeline(samples, batch_size=batch_size, **QUICK)
    assert plain.words == () and plain.text
    assert plain.text == result.text


def test_a_recording_in_chunks_is_the_same_for_every_batch_size(ours) -> None:
    samples = bursts(7, pause=2.6)
    found = [ours(samples, words=True, batch_size=size, **QUICK) for size in (1, 2, 5)]
    assert len(found[0].segments) == 7
    for other in found[1:]:
        assert [one.text for one in other.segments] == [one.text for one in found[0].segments]
        for word, expected in zip(other.words, found[0].words, strict=True):
            assert (word.start, word.end) == pytest.approx((expected.start, expected.end), abs=1e-3)


def test_sampling_gives_the_same_text_for_the_same_seed(ours) -> None:
    samples = bursts(2)
    hot = {"temperatures": [1.0], "log_prob_threshold": None}
    first, again = ours(samples, **hot), ours(samples, **hot)
    assert facts(first) == facts(again)
    assert {ours(samples, seed=seed, **hot).text for seed in range(1, 6)} != {first.text}


def test_a_language_is_given_or_detected(whisper) -> None:
    samples = bursts(2)
    found = whisper(samples, **QUICK)
    assert found.language in ("en", "de", "zh")
    assert found.to_dict()["language"] == found.language
    assert whisper(samples, language="de", **QUICK).language == "de"
    with pytest.raises(ModelError, match="`language` must be of de, en, zh, or its name, but is 'fr' instead"):
        whisper(samples, language="fr")


def test_clips_of_a_recording(ours, whisper) -> None:
    samples, clips = bursts(7), [(1.0, 1.9), (3.5, 60.0)]
    for words in (False, True):
        result = whisper(samples, clips=clips, words=words, language="en", **QUICK)
        assert result.duration == pytest.approx(len(samples) / RATE)
        starts = [segment.start for segment in result.segments]
        assert any(start < 2 for start in starts) and any(start > 3 for start in starts)
        for segment in result.segments:
            assert any(start <= segment.start < min(end, result.duration) for start, end in clips)
    assert list(whisper.segments(samples, clips=clips, words=True, language="en", **QUICK)) == list(result.segments)
    whole = whisper(samples, clips=[(0, 60)], language="en", **QUICK)
    assert facts(whole) == facts(whisper(samples, language="en", **QUICK))
    for pipeline, batch_size in ((whisper, 3), (ours, None)):
        options = {"language": "en"} if pipeline is whisper else {}
        result = pipeline(samples, clips=clips, batch_size=batch_size, **options, **QUICK)
        assert result.duration == pytest.approx(len(samples) / RATE)
        starts = [segment.start for segment in result.segments]
        assert any(start < 2 for start in starts) and any(start > 3 for start in starts)
        for segment in result.segments:
            assert any(start <= segment.start < min(end, result.duration) for start, end in clips)
    with pytest.raises(ModelError, match="`clips` must be pairs of start and end in seconds, in order"):
        whisper.stream([samples], clips=[(2.0, 1.0)])


def test_the_prompt_changes_the_text(whisper) -> None:
    samples = bursts(2)
    texts = {
        whisper(samples, language="en", prompt=prompt, **QUICK).text for prompt in (None, "the red", "nine. nine.")
    }
    assert len(texts) > 1


def test_a_model_without_languages_has_none(ours) -> None:
    result = ours(bursts(1), **QUICK)
    assert result.language is None
    assert "language" not in result.to_dict()


def test_options_that_cannot_be_used_are_named_at_once(ours, whisper) -> None:
    samples = bursts(1)
    for options, error, message in (
        ({"maps": "glow"}, ModelError, "`maps` must be of attention.* or all, but is 'glow' instead"),
        ({"batch_size": 0}, ModelError, "`batch_size` must be at least 1, but is 0 instead"),
        ({"beam": 3}, TypeError, "there is no option 'beam'"),
        ({"prompt": "x"}, ModelError, "tiny has no token for text that came before"),
    ):
        with pytest.raises(error, match=message):
            ours(samples, **options)
        with pytest.raises(error, match=message):
            ours.stream([samples], **options)  # at once, not with the first result
        if "maps" not in options:
            with pytest.raises(error, match=message):
                ours.segments(samples, **options)
    with pytest.raises(ModelError, match="CTC"):
        whisper(samples, ctc_weight=0.3)


def test_a_model_of_another_task_or_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="tiny must be a model for transcribe, but is one for classify instead"):
        TranscribePipeline(tiny_bundle(), device="cpu")
    bundle = tiny_speech_bundle()
    bundle.tokenizer = None
    with pytest.raises(ModelError, match="tiny must have a tokenizer, but has none instead"):
        TranscribePipeline(bundle, device="cpu")


def test_alignment_heads_that_do_not_exist_are_refused() -> None:
    bundle = tiny_speech_bundle()
    bundle.decoding["alignment_heads"] = [[5, 0]]
    with pytest.raises(ModelError, match=r"\(5, 0\)"):
        TranscribePipeline(bundle, device="cpu")
