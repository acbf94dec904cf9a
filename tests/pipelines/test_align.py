"""A given text in time: with the model that comes with the package, and parts of it with what is known to be right."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from multiattn.alignment import SpokenWord
from multiattn.alignment.text_match import match_words
from multiattn.errors import InputError, ModelError
from multiattn.inputs import load_audio
from multiattn.pipelines import Failure, TranscribePipeline, load
from multiattn.pipelines.transcribe.align import AlignedWord, Alignment, FreeWords
from multiattn.pipelines.transcribe.align_pieces import cannot_be_said, gaps_of, pieces_of
from multiattn.pipelines.transcribe.align_results import AlignedTranscript, aligned_segments
from multiattn.pipelines.transcribe.given_text import GivenText, key_of
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, tone

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"


@pytest.fixture(scope="module")
def transcribe() -> TranscribePipeline:
    found = load("transcribe", device="cpu")
    assert isinstance(found, TranscribePipeline)
    return found


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return load_audio(DIGITS, rate=RATE).numpy()


def times(words: tuple[SpokenWord, ...]) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in words]


def test_the_transcripts_own_text_has_the_transcripts_own_times(transcribe, samples) -> None:
    plain = transcribe(samples, rate=RATE, words=True, num_beams=1)
    found = transcribe.align(samples, plain.text, rate=RATE)
    assert times(found.words) == times(plain.words) and found.text == plain.text
    assert found.flags == () and found.not_written == () and found.remark is None
    shouted = transcribe.align(samples, "\n".join(plain.text.upper().split()), rate=RATE)
    assert times(shouted.words) == times(plain.words)
    assert len(shouted.segments) == len(plain.words), "each line is a segment"


def test_what_is_not_said_and_what_is_not_written_is_marked(transcribe, samples) -> None:
    plain = transcribe(samples, rate=RATE, words=True, num_beams=1)
    said = plain.text.split()
    text = " ".join([said[0], *said[2:]]) + ".\nNobody ever said this here."
    found = transcribe.align(samples, text, rate=RATE)
    first, second = found.segments[0], found.segments[-1]
    assert not any(word.flags for word in first.words)
    assert second.flags == ("not_said",) and all(word.flags == ("not_said",) for word in second.words)
    assert all(word.start == word.end for word in second.words)
    [gone] = found.not_written
    assert gone.text == said[1] and (gone.start, gone.end) == times(plain.words)[1]
    assert found.flags == ("not_said", "not_written")
    for kind in ("srt", "vtt", "textgrid", "ctm"):
        assert "Nobody" not in found.formatted(kind) and said[0] in found.formatted(kind)
    fields = json.loads(json.dumps(found.to_dict()))
    assert [word.get("flags") for word in fields["words"]] == [None] * (len(said) - 1) + [["not_said"]] * 5
    assert fields["not_written"][0]["text"] == said[1]


def test_a_text_that_does_not_belong_to_the_recording(transcribe, samples) -> None:
    found = transcribe.align(samples, "Completely other words. And more of them!", rate=RATE)
    assert found.mismatch and found.flags == ("not_said", "not_written", "mismatch")
    assert found.remark == "does not belong to this text: hardly a word of one is in the other"
    assert not any(word.score for word in found.words)
    many = transcribe.align(samples, "word " * 10_000, rate=RATE)
    assert len(many.words) == 10_000 and many.mismatch


@pytest.mark.parametrize("text", ["", " \n\t", "— ... !"])
def test_a_text_without_words(transcribe, samples, text: str) -> None:
    with pytest.raises(InputError, match="^`text` must have at least one word, but has none instead"):
        transcribe.align(samples, text, rate=RATE)
    [failure] = transcribe.align_stream([(samples, text)], rate=RATE)
    assert isinstance(failure, Failure)


def test_an_empty_recording_has_no_maps_and_stops_no_other(transcribe, samples, tmp_path: Path) -> None:
    sf.write(tmp_path / "empty.wav", np.zeros(0, np.float32), RATE)
    sf.write(tmp_path / "one.wav", np.asarray(samples), RATE)
    files = [str(tmp_path / name) for name in ("empty.wav", "one.wav")]
    empty, one = transcribe.align_stream([(file, "one two") for file in files], maps="attention")
    assert empty.text == one.text == "one two" and empty.duration == 0 and empty.maps == ()
    empty, one = transcribe(files, explain_text="one two", maps="attention")
    assert empty.maps == () and one.maps


def test_a_long_line_without_full_stops_is_divided_in_a_moment() -> None:
    line = "これはとても長い文章ですが、" * 20_000  # as the square of its length: ten minutes
    assert GivenText.of(line + "終。わり", language="ja").sentences == (line + "終。", "わり")


def test_options_that_go_with_no_given_text(transcribe, samples) -> None:
    with pytest.raises(ModelError, match="`task` must be transcribe for a given text"):
        transcribe.align(samples, "one", rate=RATE, task="translate")
    with pytest.raises(ModelError, match="`channel` must be one channel for a given text"):
        transcribe.align(samples, "one", rate=RATE, channel="each")


def test_maps_and_a_page_have_what_was_said(transcribe, samples, tmp_path: Path) -> None:
    plain = transcribe(samples, rate=RATE, words=True, num_beams=1)
    found = transcribe.align(samples, f"{plain.text}. Nobody said this.", rate=RATE, maps="all")
    for method, names in (("attention", ("word", "time")), ("lrp", ("word", "mel", "time"))):
        maps = [one.map for one in found.maps if one.map.method == method]
        labels = [label.strip() for one in maps for label in one.axes[0].labels or ()]
        assert labels == [word.text for word in found.words if not word.flags]
        assert all(one.names == names for one in maps)
    found.save_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Nobody" not in page and labels[0] in page


def test_the_maps_of_what_was_said_are_judged(transcribe, samples, tmp_path: Path) -> None:
    plain = transcribe(samples, rate=RATE, words=True, num_beams=1)
    found = transcribe.align(samples, f"{plain.text}. Nobody said this.", rate=RATE, check="words")
    said = [word for word in found.words if not word.flags]
    assert found.maps and len(found.verdicts) == len(found.maps)
    assert [text for one in found.verdicts for text, _ in one.words] == [word.text.strip() for word in said]
    for one, of_map in zip(found.verdicts, found.maps, strict=True):
        assert one.method == of_map.map.method and of_map.checked is one and one.span is not None
        assert one.span[0] == pytest.approx(of_map.map.axes[-1].start)
        # of the words alone, given what stands before them
        whole = [verdict.whole for _, verdict in one.words]
        assert all(0 < probability <= 1 for probability in whole)
        for (_, verdict), word in zip(one.words, of_map.words, strict=True):
            if len(word.pieces) == 1:
                assert verdict.whole == pytest.approx(word.score, rel=0.02)
    assert found.to_dict()["verdict"][0]["words"]
    found.save_html(tmp_path / "page.html")
    assert '"verdicts":[{' in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert transcribe.align(samples, plain.text, rate=RATE, maps="attention").verdicts == ()


def test_silence_and_nothing_at_all(transcribe) -> None:
    for quiet in (np.zeros(RATE, dtype=np.float32), np.zeros(0, dtype=np.float32)):
        found = transcribe.align(quiet, "one two", rate=RATE)
        assert [word.flags for word in found.words] == [("not_said",)] * 2
        assert found.not_written == ()


@pytest.mark.parametrize("bundle", [tiny_speech_bundle, tiny_whisper_bundle], ids=["own", "whisper"])
@pytest.mark.parametrize("seed", range(2))
def test_any_model_keeps_every_word_in_order(bundle, seed: int) -> None:
    """Random weights write anything: the text is still whole, and no time runs back."""
    pipeline = TranscribePipeline(bundle(seed=seed), device="cpu")
    text = "Red boats, 24 of them; went up.\nThe river 第 is wide"
    language = "en" if pipeline.speech.tokens.languages else None
    found = pipeline.align(
        tone(5.3, pitch=200 + 90 * seed).numpy(), text, rate=RATE, temperatures=(0,), max_tokens=7, language=language
    )
    assert isinstance(found, AlignedTranscript)
    assert [word.text for word in found.words] == text.split() and found.text == " ".join(text.split())
    bounds = [time for word in found.words for time in (word.start, word.end)]
    assert bounds == sorted(bounds) and 0 <= bounds[0] and bounds[-1] <= 5.4
    for segment in found.segments:
        assert [segment.text[word.start_char : word.end_char] for word in segment.words] == [
            word.text for word in segment.words
        ]


# --- the parts ---


def free(*words: str, gap: float = 0.1, length: float = 0.4) -> FreeWords:
    step = gap + length
    spoken = [SpokenWord(word, i * step, i * step + length, 0.9, 0, len(word), ()) for i, word in enumerate(words)]
    return FreeWords(spoken, language=None)


@pytest.mark.parametrize(
    "word, key",
    [
        ("24", "twentyfour"),
        ("1905", "nineteenohfive"),
        ("$1,250.50", "dollarsonethousandtwohundredfiftypointfivezero"),
        ("Naïve,", "naive"),
        ("Mr.", "mister"),
        ("well-kept", "wellkept"),
        ("—", ""),
    ],
)
def test_words_are_compared_by_their_letters(word: str, key: str) -> None:
    assert key_of(word) == key
    assert key_of("24", "fr") == "24"


def test_sentences_end_at_stops_and_lines() -> None:
    given = GivenText.of("Mr. Lee came (late). “Go!” he said… to J. R.\n\nNo stop here", language="en")
    assert given.sentences == ("Mr. Lee came (late).", "“Go!”", "he said…", "to J. R.", "No stop here")
    assert GivenText.of("今天。我们「走吧。」好", language="zh").sentences == ("今天。", "我们「走吧。」", "好")
    assert [word.text for word in GivenText.of("今天。", language="zh").words] == ["今", "天"]


@pytest.mark.parametrize("seed", range(8))
def test_pieces_cover_every_word_once_and_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = [f"w{number}" for number in rng.integers(0, 40, size=300)]
    given = [word for word in said if rng.random() > 0.15]
    at = int(rng.integers(0, len(given)))
    given[at:at] = [f"x{i}" for i in range(int(rng.integers(0, 90)))]
    found, letters = free(*said), [len(word) for word in given]
    match = match_words(given, found.keys)
    gaps = gaps_of(match, found.words, count=len(given), duration=151.0)
    pieces = pieces_of(
        match,
        gaps,
        found.words,
        count=len(given),
        letters=letters,
        duration=151.0,
        longest=27.9,
        fits=lambda one, other: len(one) + len(other) < 150,
    )
    assert [i for piece in pieces for i in piece.given] == list(range(len(given)))
    covered = [j for piece in pieces for j in piece.found]
    assert covered == sorted(set(covered))
    for piece in pieces:
        assert 0 <= piece.start < piece.end <= 151.0
        assert piece.end - piece.start <= 27.9 or len(piece.given) > 60  # a text that was not said has no time
    assert all(not cannot_be_said(gap, letters) for gap in gaps if len(gap.given) <= len(gap.found))


def test_a_paragraph_in_another_place_is_told() -> None:
    said = "we all went home at last . then it rained for two days without a break and nobody came".split()
    words = free(*(word for word in said if word != "."))
    text = "Then it rained for two days without a break and nobody came. We all went home at last."
    given = GivenText.of(text, language=None)
    later = [words.words[j] for j in range(6, 18)]
    spoken = [AlignedWord(word.start, word.end, word.score, True) for word in later]
    alignment = Alignment([*spoken, *([AlignedWord(9.0, 9.0, 0.0, False)] * 6)], list(range(6)))
    fit = aligned_segments(given, alignment, words)
    assert fit.segments[1].flags == ("not_said", "moved") and not fit.mismatch
    assert [one.moved for one in fit.not_written] == [True]
    assert fit.remark == (
        "says a part of the text in another place: 'we all went home at last' at 0.0 s; it is flagged moved"
    )


def test_a_long_sentence_is_cut_at_its_longest_pause() -> None:
    words = free(*[f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(70)])
    given = GivenText.of(" ".join(word.text for word in words.words), language=None)
    moved = [
        word._replace(start=word.start + 5 * (i >= 29), end=word.end + 5 * (i >= 29))
        for i, word in enumerate(words.words)
    ]
    alignment = Alignment([AlignedWord(word.start, word.end, 0.9, True) for word in moved])
    segments = aligned_segments(given, alignment, words).segments
    assert len(segments[0].words) == 29 and max(len(one.words) for one in segments) <= 40
    assert " ".join(one.text for one in segments) == given.sentences[0]
