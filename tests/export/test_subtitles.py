"""Subtitles and tiers, read back by parsers of their formats written here, and by ffmpeg's."""

import json
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.errors import InputError
from multiattn.export import ctm, srt, textgrid, transcript_fields, vtt, write_text
from multiattn.export.timed_text import in_order, pieces_of
from tests.export.sounds import DURATION, SEGMENTS, Part, Said

NASTY = 'a <b>bold</b> & "said" --> --->\n\n7\r\x0b\x00\x85\u2028 end;; \\N {an8}'


# --- readers ---


def milliseconds(clock: str, mark: str) -> int:
    hours, minutes, seconds = clock.split(":")
    whole, part = seconds.split(mark)
    assert len(hours) >= 2 and all(len(one) == 2 for one in (minutes, whole)) and len(part) == 3
    assert int(minutes) < 60 and int(whole) < 60
    return ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1000 + int(part)


def read_srt(text: str) -> list[tuple[int, int, list[str]]]:
    """Blocks of a number that counts up, a line of times and lines of text, each ended by one empty line."""
    cues, lines = [], text.split("\n")
    assert lines.pop() == ""
    while lines:
        assert lines.pop(0) == str(len(cues) + 1)
        start, arrow, end = lines.pop(0).split(" ")
        assert arrow == "-->"
        said = []
        while lines and lines[0]:
            said.append(lines.pop(0))
        assert said and not any("-->" in line for line in said)
        if lines:
            assert lines.pop(0) == ""
        cues.append((milliseconds(start, ","), milliseconds(end, ","), said))
    return cues


def read_vtt(text: str) -> list[tuple[int, int, str, list[int]]]:
    """Start, end, text without tags, and the times within the text. Source: W3C, WebVTT, sections 4.1 and 4.2.2."""
    assert text.endswith("\n")
    header, *blocks = text.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    cues = []
    for block in blocks:
        first, *lines = block.strip("\n").split("\n")
        start, arrow, end = first.split(" ")
        assert arrow == "-->" and lines and all(lines)
        said = "\n".join(lines)
        assert "-->" not in said
        times = [milliseconds(one, ".") for one in re.findall(r"<([\d:.]+)>", said)]
        bare = re.sub(r"<[\d:.]+>", "", said)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", bare)
        bare = bare.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append((milliseconds(start, "."), milliseconds(end, "."), bare, times))
    return cues


def read_textgrid(text: str) -> tuple[float, dict[str, list[tuple[float, float, str]]]]:
    """As Praat does: whatever is no number, no flag and no quoted text is for people. Source: Praat's manual, TextGrid
    file formats, whose short form is the same values in the same order."""
    tokens = re.findall(r'"(?:[^"]|"")*"|<[a-z]+>|(?<![\w\[])-?\d+(?:\.\d+)?(?![\w\]])', text)
    take = iter(tokens).__next__
    quoted = lambda: take()[1:-1].replace('""', '"')  # noqa: E731
    assert (quoted(), quoted()) == ("ooTextFile", "TextGrid")
    start, end = float(take()), float(take())
    assert (start, take()) == (0, "<exists>")
    tiers = {}
    for _ in range(int(take())):
        assert quoted() == "IntervalTier"
        name = quoted()
        assert (float(take()), float(take())) == (start, end)
        tiers[name] = [(float(take()), float(take()), quoted()) for _ in range(int(take()))]
    with pytest.raises(StopIteration):
        take()
    return end, tiers


def bare(text: str) -> str:
    """What of a text must be found again: its characters without spaces and controls."""
    return "".join(one for one in text if not one.isspace() and (ord(one) > 159 or one.isprintable()))


# --- transcripts ---

TIMES = st.floats(0, 4e5, allow_nan=False) | st.sampled_from([0.0, 0.0004, 0.0005, 59.9996, 3599.9996, 360_000.0])
LETTERS = st.characters(codec="utf-8") | st.sampled_from(NASTY)
TEXTS = st.text(LETTERS, max_size=60) | st.just(NASTY) | st.text(st.sampled_from("one two, three. "), max_size=300)


@st.composite
def spans(draw, most: int) -> list[tuple[float, float]]:
    times = sorted(draw(st.lists(TIMES, min_size=0, max_size=2 * most)))
    pairs = list(zip(times[::2], times[1::2], strict=False))
    # an overlap now and then, as words of two windows may have
    return [(start, end + draw(st.sampled_from([0.0, 0.0, 5.0]))) for start, end in pairs]


@st.composite
def transcripts(draw) -> list[Part]:
    parts = []
    for start, end in draw(spans(4)):
        text = draw(TEXTS)
        words: tuple[Said, ...] = ()
        if draw(st.booleans()):
            spelled = draw(st.sampled_from([text.split(), [f" {one}" for one in text.split()], list(text), ["other"]]))
            step = (end - start) / max(1, len(spelled))
            words = tuple(Said(one, start + i * step, start + (i + 1) * step, 0.5) for i, one in enumerate(spelled))
        parts.append(Part(start, end, text, words))
    return parts


quickly = settings(max_examples=40, deadline=None, derandomize=True)


def texts_of(parts: list[Part]) -> str:
    return bare("".join("".join(piece.text for piece in pieces_of(one)) if one.words else one.text for one in parts))


@quickly
@given(transcripts())
def test_srt_reads_back(parts):
    cues = read_srt(srt(parts))
    assert all(start < end for start, end, _ in cues)
    assert all(one[1] <= two[0] for one, two in zip(cues, cues[1:], strict=False))
    said = bare("".join(line for _, _, lines in cues for line in lines))
    assert said.replace("-", "") == texts_of(parts).replace("-", "")  # an arrow is one shorter


@quickly
@given(transcripts())
def test_vtt_reads_back_and_has_its_words_in_order(parts):
    cues = read_vtt(vtt(parts))
    assert all(one[1] <= two[0] for one, two in zip(cues, cues[1:], strict=False))
    assert bare("".join(said for _, _, said, _ in cues)) == texts_of(parts)
    for start, end, _, times in cues:
        assert all(one < two for one, two in zip([start, *times], [*times, end], strict=True))


@quickly
@given(transcripts(), st.floats(0, 5e5, allow_nan=False))
def test_textgrid_reads_back_without_gaps(parts, duration):
    end, tiers = read_textgrid(textgrid(parts, duration=duration))
    assert end >= round(duration, 3) - 1e-9
    assert list(tiers) == (["segments", "words"] if any(one.words for one in parts) else ["segments"])
    for intervals in tiers.values():
        assert intervals[0][0] == 0 and intervals[-1][1] == end
        assert all(one[1] == two[0] for one, two in zip(intervals, intervals[1:], strict=False))
        assert all(start < end for start, end, _ in intervals)
    assert bare("".join(text for _, _, text in tiers["segments"])) == bare("".join(one.text for one in parts))


@quickly
@given(transcripts())
def test_ctm_has_five_spaces_a_line(parts):
    words = [word for part in parts for word in part.words]
    parts = [part for part in parts if part.words]
    lines = ctm(parts, recording=" my call;;.wav").splitlines()
    spelled = [text for text in ("_".join(bare(one) for one in word.text.split()) for word in words) if bare(text)]
    assert len(lines) == len([word for word in words if bare(word.text)])
    for line, text in zip(lines, spelled, strict=True):
        name, channel, start, length, word, score = line.split(" ")
        assert (name, channel, float(score)) == ("my_call__.wav", "1", 0.5) and float(length) > 0 <= float(start)
        assert bare(word).replace("_", "") == bare(text).replace("_", "")


@quickly
@given(transcripts())
def test_pieces_are_the_text(parts):
    for part in parts:
        pieces = pieces_of(part)
        assert [piece.word for piece in pieces] == list(part.words)
        text = " ".join("".join(one if ord(one) > 159 or one.isprintable() else " " for one in part.text).split())
        if pieces and [bare(word.text) for word in part.words] != ["other"] and "\x00" not in part.text:
            assert bare("".join(piece.text for piece in pieces)) == bare(text)


@quickly
@given(spans(9))
def test_spans_are_put_in_order_and_move_no_more_than_they_must(pairs):
    placed = in_order(pairs)
    assert all(start < end for start, end in placed)
    assert all(one[1] <= two[0] for one, two in zip(placed, placed[1:], strict=False))
    apart = all(one[1] + 0.002 < two[0] for one, two in zip(pairs, pairs[1:], strict=False))
    if apart and all(start + 0.002 < end for start, end in pairs):
        assert placed == [(round(1000 * start), round(1000 * end)) for start, end in pairs]


# --- examples ---


def test_words_and_silence_stand_in_the_tiers():
    end, tiers = read_textgrid(textgrid(SEGMENTS, duration=DURATION))
    assert end == DURATION
    assert tiers["segments"] == [
        (0, 0.3, ""),
        (0.3, 1.25, "three one"),
        (1.25, 1.5, ""),
        (1.5, 2.7, "four, one"),
        (2.7, 3.1, ""),
    ]
    assert tiers["words"][1:4] == [(0.3, 0.7, "three"), (0.7, 0.95, ""), (0.95, 1.25, "one")]
    _, tiers = read_textgrid(textgrid([Part(0, 1, 'say "no"')], duration=0.5))  # it ends after the recording
    assert tiers == {"segments": [(0, 1, 'say "no"')]}
    assert read_textgrid(textgrid([], duration=2.0)) == (2.0, {"segments": [(0, 2, "")]})


def test_ctm_of_the_example():
    assert ctm(SEGMENTS, recording="a call.wav").splitlines()[:2] == [
        "a_call.wav 1 0.300 0.400 three 0.750",
        "a_call.wav 1 0.950 0.300 one 0.750",
    ]
    assert ctm([Part(0, 1, " ")], recording="") == ""


def test_a_hundred_hours_need_three_digits():
    part = Part(359_999.9994, 362_439.25, "late")
    assert read_srt(srt([part])) == [(359_999_999, 362_439_250, ["late"])]
    assert "99:59:59.999 --> 100:40:39.250\n" in vtt([part])


def test_nothing_said_is_an_empty_file_that_players_take():
    assert srt([]) == "" and read_vtt(vtt([])) == []
    assert srt([Part(0, 1, " \n")]) == ""


def test_arrows_tags_and_empty_lines_of_a_text_end_no_cue():
    parts = [Part(0, 1, NASTY), Part(1, 2, "next")]
    assert [" ".join(lines) for _, _, lines in read_srt(srt(parts))] == [
        'a <b>bold</b> & "said" -> -> 7 end;; \\N {an8}',
        "next",
    ]
    assert read_vtt(vtt(parts))[0][2].split() == 'a <b>bold</b> & "said" --> ---> 7 end;; \\N {an8}'.split()


def sentence(text: str, seconds: float = 0.3, pause_before: str = "") -> Part:
    words, time = [], 0.0
    for one in text.split():
        time += 1.5 if one == pause_before else 0.0
        words.append(Said(f" {one}", time, time + seconds - 0.05))
        time += seconds
    return Part(0.0, time, text, tuple(words))


def test_long_segments_are_cut_where_people_would():
    text = "when the lights went out we stayed at the table for a while, then one of us went to look for a candle"
    cues = read_srt(srt([sentence(text)]))
    assert [" ".join(lines) for _, _, lines in cues] == [
        "when the lights went out we stayed at the table for a while,",
        "then one of us went to look for a candle",
    ]
    assert all(len(lines) <= 2 and all(len(line) <= 42 for line in lines) for _, _, lines in cues)
    assert [len(lines) for _, _, lines in read_srt(srt([sentence("one two three four", 3.0)]))] == [1, 1]  # 12 seconds
    paused = read_srt(srt([sentence("one two three", pause_before="three")]))
    assert [lines for _, _, lines in paused] == [["one two"], ["three"]]
    assert paused[1][:2] == (2100, 3100)  # shown for a second
    assert read_srt(srt([sentence("one two three", pause_before="three")], duration=2.5))[1][:2] == (2100, 2500)


def test_a_segment_without_times_of_its_words_stays_whole():
    (cue,) = read_srt(srt([Part(1.0, 31.0, "word " * 40)]))
    assert cue[:2] == (1000, 31000) and " ".join(cue[2]) == ("word " * 40).strip()
    assert max(map(len, cue[2])) <= 42
    assert read_srt(srt([Part(0, 1, "x" * 60)]))[0][2] == ["x" * 60]


def test_words_of_a_language_without_spaces_are_joined_as_they_were():
    text = "今日はいい天気です。" * 6
    words = tuple(Said(one, i * 0.1, i * 0.1 + 0.1) for i, one in enumerate(text))
    cues = read_srt(srt([Part(0, 6, text, words)]))
    assert "".join(line for _, _, lines in cues for line in lines) == text
    lines = [line for _, _, lines in cues for line in lines]
    assert all(len(lines) <= 2 for _, _, lines in cues) and all(
        2 * len(line) <= 42 and line[0] != "。" for line in lines
    )
    assert len(lines) == 4
    assert all(unicodedata.category(one)[0] in "LP" for one in text)


def test_text_between_words_stays():
    part = Part(0, 2, "— three (one)!", (Said("three", 0, 1), Said("one", 1, 2)))
    assert [piece.text for piece in pieces_of(part)] == ["— three (", "one)!"]
    other = Part(0, 2, "quite another", (Said(" three", 0, 1), Said(" one", 1, 2)))
    assert [piece.text for piece in pieces_of(other)] == ["three", " one"]


def test_fields_are_json():
    fields = json.loads(json.dumps(transcript_fields(SEGMENTS), allow_nan=False))
    assert fields["segments"][1] == {"start": 1.5, "end": 2.7, "text": "four, one", "flags": ["stalled"]}
    assert fields["words"][2] == {"word": "four,", "start": 1.5, "end": 2.1, "score": 0.75}
    assert transcript_fields([]) == {"segments": [], "words": []}


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_ffmpeg_reads_the_same(tmp_path, kind):
    av = pytest.importorskip("av")
    parts = [*SEGMENTS, Part(7300.0, 7301.5, "two hours later")]
    path = tmp_path / "new" / f"said.{kind}"
    write_text(path, {"srt": srt, "vtt": vtt}[kind](parts))
    with av.open(str(path)) as file:
        stream = file.streams.subtitles[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        seen = [(float(one.pts * stream.time_base), float(one.duration * stream.time_base)) for one in packets]
    assert sum(seen, ()) == pytest.approx((0.3, 1.0, 1.5, 1.2, 7300.0, 1.5))
    assert bytes(packets[2]).decode() == "two hours later"


def test_files_are_utf8_with_plain_line_ends(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "größer\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "größer\n".encode()


@pytest.mark.parametrize(("start", "end"), [(-0.1, 1.0), (2.0, 1.0), (0.0, float("nan")), (float("inf"), float("inf"))])
def test_times_that_are_none_are_named(start, end):
    message = "of a {} must be seconds from 0, in this order, but are {} and {} instead"
    segment, word = replace(SEGMENTS[0], start=start, end=end), Said("one", start, end)
    spoken = replace(SEGMENTS[0], words=(word,))
    for make, what, parts in [
        (srt, "segment", [replace(segment, words=())]),
        (vtt, "word", [spoken]),
        (lambda parts: textgrid(parts, duration=5.0), "segment", [segment]),
        (lambda parts: textgrid(parts, duration=5.0), "word", [spoken]),
        (lambda parts: ctm(parts, recording="a"), "word", [spoken]),
        (transcript_fields, "segment", [segment]),
        (transcript_fields, "word", [spoken]),
    ]:
        with pytest.raises(ValueError, match=re.escape(message.format(what, start, end))):
            make(parts)


def test_ctm_needs_words():
    with pytest.raises(InputError, match="words of the segment at 1.5 s have no times: transcribe with words"):
        ctm([SEGMENTS[0], replace(SEGMENTS[1], words=())], recording="a")
