"""The page of a recording, where its transcript is corrected and saved: in Chromium, by mouse and by keyboard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multiattn.export import PageRecording, srt, vtt, write_audio_page
from tests.export.sounds import DURATION, LABELS, RATE, SEGMENTS, WORDS, Part, Said, time_map, tones, word_values
from tests.export.test_browser_audio import opened, until

pytestmark = pytest.mark.browser

DOUBTED = (replace(WORDS[0], score=0.97), replace(WORDS[1], score=0.45), replace(WORDS[2], score=0.12), WORDS[3])
SPOKEN = (replace(SEGMENTS[0], words=DOUBTED[:2]), replace(SEGMENTS[1], words=DOUBTED[2:]))


def saved(page, kind: str) -> str:
    with page.expect_download() as download:
        page.locator(f"#save-{kind}").click()
    assert download.value.suggested_filename == f"call.{kind}"
    return Path(download.value.path()).read_text(encoding="utf-8")


def page_of(tmp_path: Path, segments, maps=(), seconds: float = DURATION) -> Path:
    given = PageRecording(tones(duration=seconds), RATE, "call.wav", segments, maps)
    write_audio_page(tmp_path / "page.html", given, title="A call")
    return tmp_path / "page.html"


def test_less_likely_words_are_marked_by_more_than_color(visit, tmp_path):
    page = opened(visit, page_of(tmp_path, SPOKEN))
    line = "(one) => getComputedStyle(one).textDecorationStyle + ' ' + getComputedStyle(one).textDecorationLine"
    styles = [page.locator(".word").nth(i).evaluate(line) for i in range(4)]
    assert styles == ["solid none", "dotted underline", "wavy underline", "solid none"]
    assert page.locator(".word").nth(2).get_attribute("title") == "12.0 % likely"
    assert page.locator("#sure-help").is_visible() and not page.locator("#changed-help").is_visible()


def test_a_transcript_is_corrected_by_keyboard_and_saved(visit, tmp_path):
    page = opened(visit, page_of(tmp_path, SPOKEN, [time_map(word_values(), LABELS)]))
    page.locator("#correct").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "field"
    page.keyboard.press("End")
    page.keyboard.type(" and two")
    page.keyboard.press("Enter")  # to the next line
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("four, won")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "correct" and page.locator(".field").count() == 0
    texts = page.locator(".word").all_inner_texts()
    assert texts == ["three", "one", "and", "two", "four,", "won"]
    units = page.evaluate("units.map(({ start, end, word, score, changed }) => [start, end, word, score, changed])")
    assert units[0] == [0.30, 0.70, 0, 0.97, False] and units[4] == [1.50, 2.10, 2, 0.12, False]
    assert units[5] == [2.40, 2.70, 3, None, True]  # one for one: in its time, with its map
    added = units[1:4]
    assert (added[0][0], added[-1][1]) == (0.95, 1.25) and all(one[4] for one in added)
    assert all(one[1] == pytest.approx(two[0]) for one, two in zip(added, added[1:], strict=False))
    cues = saved(page, "srt").split("\n\n")
    assert cues[0] == "1\n00:00:00,300 --> 00:00:01,300\nthree one and two"
    assert cues[1].startswith("2\n00:00:01,500 --> 00:00:02,700\nfour, won")
    assert saved(page, "txt") == "three one and two\nfour, won\n"
    assert "<00:00:02.400>won" in saved(page, "vtt")
    assert page.evaluate("isDirty") is False
    page.locator(".word").nth(5).click()  # what was typed is played where it was said
    until(page, "sound.paused && sound.currentTime >= 2.7")
    assert page.locator("#word > *").all_inner_texts()[2] == "corrected here"


def test_a_line_is_played_while_it_is_typed_in(visit, tmp_path):
    page = opened(visit, page_of(tmp_path, SPOKEN))
    page.locator("#correct").click()
    page.locator("button.time").nth(1).click()
    until(page, "!sound.paused && sound.currentTime > 1.5")
    until(page, "sound.paused")
    assert 2.7 <= page.evaluate("sound.currentTime") < 3.1
    page.locator(".field").first.evaluate("(one) => (one.textContent = '')")
    page.locator("#correct").click()
    assert page.locator(".word").all_inner_texts() == ["four,", "one"]


def many() -> list[Part]:
    """Sentences of two channels, with pauses, long lines, marks and a language without spaces."""
    rng = np.random.default_rng(3)
    parts, time = [], 0.2
    for i in range(9):
        texts = [str(one) for one in rng.choice(["the", "harbor,", "(was", "closed)", "for", "years.", "&", "<i>"], 29)]
        texts = [f" {one}" for one in texts]
        if i % 3 == 2:
            texts = list("今日は「いい天気」です。" * 5)
        words = []
        for text in texts:
            length = float(rng.uniform(0.05, 0.4))
            words.append(Said(text, round(time, 3), round(time + length, 3)))
            time += length + float(rng.choice([0.0, 0.1, 1.2], p=[0.7, 0.25, 0.05]))
        parts.append(Part(words[0].start, words[-1].end, "".join(texts), tuple(words)))
    return [*parts, Part(time + 0.1, time + 0.4, "And a sentence without words, which is shown for a while. " * 2)]


def test_what_is_saved_is_what_the_package_writes(visit, tmp_path):
    parts = many()
    seconds = parts[-1].end + 0.3
    page = opened(visit, page_of(tmp_path, parts, seconds=seconds))
    assert saved(page, "srt") == srt(parts, duration=seconds)
    assert saved(page, "vtt") == vtt(parts, duration=seconds)


def test_no_word_is_left_out_over_the_waveform_without_a_sign(visit, tmp_path):
    words = tuple(Said(f" word{i}", 0.05 * i, 0.05 * i + 0.05) for i in range(60))
    page = opened(visit, page_of(tmp_path, [Part(0.0, 3.0, "".join(word.text for word in words), words)]))
    placed = page.evaluate("placeNames(element('wave').getContext('2d'), element('wave').width, devicePixelRatio)")
    assert len(placed["names"]) + sum(one["count"] for one in placed["more"]) == 60
    assert len(placed["names"]) > 20 and len(placed["more"]) > 1
    for line in range(3):
        lefts = [one["left"] for one in placed["names"] if one["line"] == line]
        assert all(after - before > 30 for before, after in zip(lefts, lefts[1:], strict=False))
