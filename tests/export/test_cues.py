"""Cues: their times and their lines, for texts of all kinds."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.errors import InputError
from multiattn.export import CueStyle, lrc, srt, tsv, vtt
from multiattn.export.cues import _NO_END, _NO_START, cues_of, width_of, wrapped
from multiattn.inputs.graphemes import within_cluster
from tests.export.sounds import DURATION, SEGMENTS, Part, Said
from tests.export.test_subtitles import read_srt, read_vtt

JAPANESE = "「今日はいい天気です。」散歩に行きましょうか、それとも家で本を読みますか？"
KOREAN = "오늘은 날씨가 좋습니다. 산책하러 갈까요, 아니면 집에서 책을 읽을까요?"
MIXED = "昨日は Whisper を使って 30 分の会議を書き起こしました（とても速い）。"

quickly = settings(max_examples=60, deadline=None, derandomize=True)
TEXTS = st.sampled_from(
    [JAPANESE, KOREAN, MIXED, "the lights went out, (again) and we stayed: for a while!"]
) | st.text(st.sampled_from("aé 。、「」ーっ漢字あいうえお한국어\u0301\u200d"), max_size=80)


def joined(line: list[tuple[int | None, str]]) -> str:
    return "".join(text for _, text in line)


@quickly
@given(TEXTS, st.integers(4, 60))
def test_lines_are_as_wide_as_asked_and_begin_with_no_closing_mark(text, width):
    text = " ".join(text.split())
    lines = [joined(line) for line in wrapped(text, width)]
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for before, line in zip(["", *lines], lines, strict=False):
        if before and not text.startswith(line):
            # a mark may follow a space of the text itself
            assert line[0] not in _NO_START or f" {line[0]}" in text
            assert before[-1] not in _NO_END or f"{before[-1]} " in text
        if width_of(line) > width:  # one word, or one character with its marks
            inside = line[1:-1].strip(_NO_START + _NO_END)
            assert " " not in line
            assert sum(unicodedata.east_asian_width(one) in "WF" and not "가" <= one <= "힣" for one in inside) <= width


def test_a_line_of_wide_characters_has_half_as_many():
    def lines(text: str) -> list[str]:
        return [joined(line) for line in wrapped(text, 20)]

    assert lines(JAPANESE) == ["「今日はいい天気で", "す。」散歩に行きま", "しょうか、それとも家", "で本を読みますか？"]
    assert lines(MIXED) == ["昨日は Whisper を", "使って 30 分の会議を", "書き起こしました（と", "ても速い）。"]
    korean = ["오늘은 날씨가", "좋습니다. 산책하러", "갈까요, 아니면", "집에서 책을", "읽을까요?"]
    assert lines(KOREAN) == korean  # words are not broken


@st.composite
def spoken(draw) -> list[Part]:
    parts, time = [], 0.0
    for _ in range(draw(st.integers(0, 4))):
        words = []
        for word in draw(
            st.lists(st.sampled_from([" one", " two,", " (three", " four)", " five."]), min_size=1, max_size=30)
        ):
            time += draw(st.sampled_from([0.0, 0.1, 1.3]))
            length = draw(st.sampled_from([0.04, 0.3, 0.9]))
            words.append(Said(word, time, time + length))
            time += length
        parts.append(Part(words[0].start, words[-1].end, "".join(word.text for word in words), tuple(words)))
    return parts


@quickly
@given(spoken(), st.integers(8, 50), st.integers(1, 3), st.none() | st.integers(1, 9))
def test_cues_keep_to_their_style(parts, line_width, max_lines, max_words):
    style = CueStyle(line_width=line_width, max_lines=max_lines, max_words=max_words)
    end = max([part.end for part in parts], default=0.0)
    cues = cues_of(parts, style, duration=end + 0.4)
    assert [text for cue in cues for line in cue.lines for text in joined(line).split()] == [
        word.text.strip() for part in parts for word in part.words
    ]
    for cue, following in zip(cues, [*cues[1:], *([None] if cues else [])], strict=True):
        assert len(cue.lines) <= max_lines and all(width_of(joined(line)) <= line_width for line in cue.lines)
        assert max_words is None or sum(len(joined(line).split()) for line in cue.lines) <= max_words
        limit = round(1000 * (end + 0.4)) if following is None else following.start
        assert cue.end <= limit or following is None
        assert cue.end - cue.start >= 1000 or cue.end == limit


def test_the_words_of_a_cue_are_underlined_in_turn():
    style = CueStyle(highlight=True)
    cues = read_srt(srt(SEGMENTS, style, duration=DURATION))
    assert [lines for _, _, lines in cues] == [
        ["<u>three</u> one"],
        ["three <u>one</u>"],
        ["<u>four,</u> one"],
        ["four, <u>one</u>"],
    ]
    assert [(start, end) for start, end, _ in cues] == [(300, 950), (950, 1300), (1500, 2400), (2400, 2700)]
    text = vtt([Part(0, 1, "a& b", (Said("a&", 0.0, 0.4), Said(" b", 0.5, 1.0)))], style)
    assert "<u>a&amp;</u> b" in text and "a&amp; <u>b</u>" in text and "<00:" not in text


class Spoken(Part):
    """A segment of a channel."""

    channel = "left"


class Other(Part):
    """A segment of the other one."""

    channel = "right"


def test_two_channels_may_speak_at_once():
    parts = [Spoken(0.0, 4.0, "one two three"), Other(1.0, 2.0, "four & five"), Spoken(4.0, 4.2, "six")]
    cues = read_srt(srt(parts, duration=9.0))
    assert cues == [
        (0, 4000, ["left: one two three"]),
        (1000, 2000, ["right: four & five"]),
        (4000, 5000, ["left: six"]),
    ]
    assert "<v right>four &amp; five" in vtt(parts)
    assert tsv(parts).splitlines() == [
        "start\tend\ttext\tspeaker",
        "0\t4000\tone two three\tleft",
        "1000\t2000\tfour & five\tright",
        "4000\t4200\tsix\tleft",
    ]


def test_a_table_is_as_openai_whisper_writes_it():
    parts = [*SEGMENTS, Part(3.0005, 3.1, " a\ttab")]
    assert tsv(parts) == "start\tend\ttext\n300\t1250\tthree one\n1500\t2700\tfour, one\n3000\t3100\ta tab\n"
    assert tsv([]) == "start\tend\ttext\n"


def test_lyrics_have_the_times_of_lines_and_words():
    parts = [*SEGMENTS, Part(61.239, 66.0, "without words")]
    assert lrc(parts, duration=6001.5).splitlines() == [
        "[length:100:01.50]",
        "[00:00.30]<00:00.30>three <00:00.95>one <00:01.25>",
        "[00:01.50]<00:01.50>four, <00:02.40>one <00:02.70>",
        "[00:02.70]",
        "[01:01.24]without words",
        "[01:06.00]",
    ]
    assert lrc([], duration=1.0) == "[length:00:01.00]\n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"line_width": 3}, "`line_width` must be a whole number of at least 4, but is 3 instead"),
        ({"max_lines": 0}, "`max_lines` must be a whole number of at least 1, but is 0 instead"),
        ({"max_words": 0}, "`max_words` must be a whole number of at least 1, but is 0 instead"),
        ({"min_seconds": -0.5}, "`min_seconds` must be a number of seconds from 0, but is -0.5 instead"),
    ],
)
def test_styles_that_cannot_be_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        CueStyle(**fields)


def test_a_voice_is_the_voice_of_its_cue():
    assert read_vtt(vtt(SEGMENTS))[0][2] == "three one"


def test_no_line_begins_within_an_emoji():
    family, thumb = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd"
    for width in range(4, 12):
        for text in (f"我们好吗谢{family}再见", f"today ok{thumb} yes{thumb}{thumb}"):
            lines = [joined(line) for line in wrapped(text, width)]
            whole = "".join(lines).replace(" ", "")
            assert whole == text.replace(" ", "")
            ends = np.cumsum([len(line.replace(" ", "")) for line in lines])
            assert not any(within_cluster(whole, int(end)) for end in ends)
