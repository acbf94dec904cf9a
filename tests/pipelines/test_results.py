"""What all results and maps have in common, and the exact text of what is saved."""

import json
from pathlib import Path

import numpy as np
import pytest

from multiattn.alignment import SpokenWord
from multiattn.errors import InputError
from multiattn.export import load_map
from multiattn.pipelines import (
    Answer,
    AnswerPipeline,
    Candidate,
    CaptionResult,
    ClassifyResult,
    Failure,
    Prediction,
    Result,
    SavedMap,
    Segment,
    SpeechMap,
    Transcript,
    WrittenWord,
)
from tests.export.sounds import DURATION, LABELS, RATE, WORDS, time_map, tones, word_values
from tests.fixtures import draw, tiny_answer_bundle

SPOKEN = tuple(
    SpokenWord(word.text, word.start, word.end, word.score, 6 * i, 6 * i + len(word.text), (i,))
    for i, word in enumerate(WORDS)
)
TRANSCRIPT = Transcript(
    "talks/my talk.wav",
    (
        Segment(0.3, 1.25, " three one", (7, 8), (-0.5, -1.0), -0.75, 1.1, 0.015625, 0.0, words=SPOKEN[:2]),
        Segment(1.5, 2.7, " four, one", (9, 8), (), -0.75, 1.1, None, 0.2, ("stalled",), SPOKEN[2:]),
    ),
    3.1,
    "en",
)

SRT = """\
1
00:00:00,300 --> 00:00:01,300
three one

2
00:00:01,500 --> 00:00:02,700
four, one
"""

VTT = """\
WEBVTT

00:00:00.300 --> 00:00:01.300
three <00:00:00.950>one

00:00:01.500 --> 00:00:02.700
four, <00:00:02.400>one
"""

CTM = """\
my_talk 1 0.300 0.400 three 0.750
my_talk 1 0.950 0.300 one 0.750
my_talk 1 1.500 0.600 four, 0.750
my_talk 1 2.400 0.300 one 0.750
"""

JSON = """\
{
  "file": "talks/my talk.wav",
  "text": "three one four, one",
  "duration": 3.1,
  "language": "en",
  "segments": [
    {
      "start": 0.3,
      "end": 1.25,
      "text": "three one",
      "flags": [],
      "score": 0.4724,
      "no_speech": 0.0156,
      "temperature": 0.0
    },
    {
      "start": 1.5,
      "end": 2.7,
      "text": "four, one",
      "flags": [
        "stalled"
      ],
      "score": 0.0,
      "no_speech": null,
      "temperature": 0.2
    }
  ],
  "words": [
    {
      "word": "three",
      "start": 0.3,
      "end": 0.7,
      "score": 0.75
    },
    {
      "word": "one",
      "start": 0.95,
      "end": 1.25,
      "score": 0.75
    },
    {
      "word": "four,",
      "start": 1.5,
      "end": 2.1,
      "score": 0.75
    },
    {
      "word": "one",
      "start": 2.4,
      "end": 2.7,
      "score": 0.75
    }
  ],
  "dropped": [],
  "flags": [
    "stalled"
  ]
}
"""


def interval(index: int, start: str, end: str, text: str) -> str:
    return (
        f"        intervals [{index}]:\n            xmin = {start}\n            xmax = {end}\n"
        f'            text = "{text}"\n'
    )


def tier(index: int, name: str, *intervals: tuple[str, str, str]) -> str:
    head = f'    item [{index}]:\n        class = "IntervalTier"\n        name = "{name}"\n'
    head += f"        xmin = 0\n        xmax = 3.100\n        intervals: size = {len(intervals)}\n"
    return head + "".join(interval(i, *one) for i, one in enumerate(intervals, start=1))


TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 3.100\n'
    "tiers? <exists>\nsize = 2\nitem []:\n"
    + tier(
        1,
        "segments",
        ("0.000", "0.300", ""),
        ("0.300", "1.250", "three one"),
        ("1.250", "1.500", ""),
        ("1.500", "2.700", "four, one"),
        ("2.700", "3.100", ""),
    )
    + tier(
        2,
        "words",
        ("0.000", "0.300", ""),
        ("0.300", "0.700", "three"),
        ("0.700", "0.950", ""),
        ("0.950", "1.250", "one"),
        ("1.250", "1.500", ""),
        ("1.500", "2.100", "four,"),
        ("2.100", "2.400", ""),
        ("2.400", "2.700", "one"),
        ("2.700", "3.100", ""),
    )
)


@pytest.mark.parametrize(
    ("kind", "text"), [("srt", SRT), ("vtt", VTT), ("textgrid", TEXTGRID), ("ctm", CTM), ("json", JSON)]
)
def test_a_saved_transcript_is_this_text(kind, text, tmp_path) -> None:
    file = tmp_path / "new folder" / f"talk.{kind}"
    getattr(TRANSCRIPT, f"save_{kind}")(file)
    assert file.read_bytes() == text.encode()
    if kind != "json":
        assert TRANSCRIPT.formatted(kind) == text


def test_ctm_needs_words(tmp_path) -> None:
    wordless = Transcript(None, (Segment(0.0, 1.0, " one", (7,), (-0.5,), -0.5, 1.0, None, 0.0),), 1.0)
    with pytest.raises(InputError, match="CTM has a line for each word"):
        wordless.save_ctm(tmp_path / "a.ctm")
    assert not (tmp_path / "a.ctm").exists()


WORD = WrittenWord("a dog", 0, 5, 0.5, 1.25, False)


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            ClassifyResult("a.png", (Prediction("cat", 0.75), Prediction("dog", 0.25))),
            '{"file": "a.png", "predictions": [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]}',
        ),
        (
            CaptionResult(None, (WORD,), (Candidate("a dog", 0.5),)),
            '{"file": null, "text": "a dog", "score": 0.5, "words": [{"word": "a dog", "start": 0, "end": 5, '
            '"probability": 0.5, "image_dependence": 1.25, "ungrounded": false}]}',
        ),
        (
            CaptionResult("a.png", (), (Candidate("a", 0.5), Candidate("", 0.25))),
            '{"file": "a.png", "text": "a", "score": 0.5, "words": [], '
            '"candidates": [{"text": "a", "score": 0.5}, {"text": "", "score": 0.25}]}',
        ),
        (
            Answer("a.png", "who?", (Candidate("a", 0.5),), (), (WrittenWord("a", 0, 1, 0.5),), "[ENC]"),
            '{"file": "a.png", "question": "who?", "answer": "a", "score": 0.5, '
            '"candidates": [{"answer": "a", "score": 0.5}], "question_words": [], '
            '"words": [{"word": "a", "start": 0, "end": 1, "probability": 0.5}], "first_token": "[ENC]"}',
        ),
        (TRANSCRIPT, json.dumps(json.loads(JSON))),
        (
            Transcript(None, (), 0.5),
            '{"file": null, "text": "", "duration": 0.5, "segments": [], "words": [], "dropped": [], "flags": []}',
        ),
    ],
)
def test_a_result_as_json(result, line, tmp_path) -> None:
    assert isinstance(result, Result) and result.error is None
    assert json.dumps(result.to_dict()) == line
    with pytest.raises(InputError, match="there are no maps to save; ask for some: (classify|caption|answer|transcr)"):
        result.save_html(tmp_path / "a.html")


def test_a_failure_as_json() -> None:
    assert Failure("a.png", InputError("a.png: gone")).to_dict() == {"file": "a.png", "error": "a.png: gone"}


def speech_map() -> SpeechMap:
    layers = np.stack([word_values()] * 2)[:, None]
    words = tuple(word._replace(text=word.text.strip()) for word in SPOKEN)
    return SpeechMap(time_map(word_values(), LABELS), tones(), RATE, words, time_map(layers, LABELS))


@pytest.fixture(params=["classify", "caption", "answer", "transcribe"])
def saved(request: pytest.FixtureRequest) -> SavedMap:
    if request.param == "transcribe":
        return speech_map()
    if request.param == "answer":
        return AnswerPipeline(tiny_answer_bundle(), device="cpu")(draw(1), "is it?", maps="attention").maps[0]
    return request.getfixturevalue(request.param)(draw(1), maps="attention").maps[0]


def test_a_map_is_saved_shown_and_read_as_an_array(saved: SavedMap, tmp_path: Path) -> None:
    saved.save(tmp_path / "a.npz")
    assert load_map(tmp_path / "a.npz").equals(saved.map)
    saved.save_png(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    saved.save_html(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '"layer and head"' in page and "http-equiv" in page
    shown = saved._repr_html_()
    assert shown.startswith('<img src="data:image/jpeg;base64,') and shown.endswith('alt="attention map">')
    assert len(shown) < 150_000
    np.testing.assert_array_equal(np.asarray(saved), saved.map.values)
    assert np.asarray(saved, dtype=np.float64).dtype == np.float64
    assert not np.asarray(saved).flags.writeable and np.array(saved).flags.writeable


def test_the_page_of_a_map_over_time_plays_the_whole_recording(tmp_path: Path) -> None:
    speech_map().save_html(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    facts = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert facts["seconds"] == pytest.approx(DURATION)
    (segment,) = facts["segments"]
    assert segment["text"] == "three one four, one"
    assert [word["text"].strip() for word in segment["words"]] == [word.strip() for word in LABELS]
