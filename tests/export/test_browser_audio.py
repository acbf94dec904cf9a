"""The page of a recording as a reader has it: in Chromium, from the file system, with the sound playing."""

import base64
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PageRecording, write_audio_page
from multiattn.export.heatmap import palette
from multiattn.export.scale import times
from multiattn.pipelines import TranscribePipeline
from tests.export.sounds import LABELS, RATE, SEGMENTS, WORDS, Part, Said, time_map, tones, word_values
from tests.export.test_browser import choose, slide
from tests.export.test_page import NASTY
from tests.fixtures import tiny_speech_bundle

pytestmark = pytest.mark.browser

LAYERS, HEADS = 2, 3
STACK = np.random.default_rng(29).random((LAYERS, HEADS, len(WORDS), 155))
for _layer, _head, _word in np.ndindex(STACK.shape[:3]):
    STACK[_layer, _head, _word, 7 + 31 * _layer + 37 * _head + 5 * _word] += 2 + _head  # one clear peak in each row
OTHER = np.random.default_rng(43).random((len(WORDS), 155))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    maps = [
        time_map(word_values(), LABELS),
        time_map(OTHER, LABELS, method="relevance", note="What spoke for the word."),
        time_map(STACK, LABELS),
    ]
    path = tmp_path_factory.mktemp("audio") / "page.html"
    write_audio_page(path, PageRecording(tones(), RATE, "call.wav", SEGMENTS, maps, "en"), title="A call")
    return path


def until(page, condition: str) -> None:
    """Waits for it; the page's policy forbids Playwright's own way, which evaluates text inside the page."""
    for _ in range(1500):
        if page.evaluate(f"Boolean({condition})"):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"never came true: {condition}")


def opened(visit, path: Path, **options: object):
    page = visit(path, **options)
    until(page, "sound.readyState >= 2 && (!data.maps.length || chosen.map)")
    return page


def facts(page) -> list[str]:
    return page.locator("#word > *").all_inner_texts()


def colors(page, rows: int) -> np.ndarray:
    """RGB of the map's canvas along the middle of each row."""
    png = page.evaluate("document.getElementById('map').toDataURL()").split(",")[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)
    return pixels[((np.arange(rows) + 0.5) * pixels.shape[0] / rows).astype(int)]


def lit(page) -> list[str]:
    return page.locator(".word.lit").all_inner_texts()


def show(page, name: str) -> None:
    """Choose a map; its numbers are unpacked before it is shown."""
    choose(page, name)
    until(page, f"chosen.map.name === {name!r}")


def test_a_click_on_a_word_plays_it_and_nothing_more(visit, path):
    page = opened(visit, path)
    assert page.locator(".word").all_inner_texts() == ["three", "one", "four,", "one"]
    page.evaluate("sound.addEventListener('playing', () => (window.from = sound.currentTime))")
    page.locator(".word").nth(2).click()
    until(page, "document.querySelector('.word.lit')?.textContent === 'four,'")
    assert page.evaluate("sound.paused") is False
    until(page, "sound.paused")
    assert page.evaluate("window.from") == pytest.approx(WORDS[2].start, abs=0.05)
    assert WORDS[2].end <= page.evaluate("sound.currentTime") < WORDS[3].start
    assert facts(page)[:3] == ["four,", "1.50 to 2.10 s", "75.0 % likely"]
    assert float(facts(page)[3].split()[-2]) == pytest.approx(1.8, abs=0.02)


def test_each_word_lights_up_while_it_is_spoken(visit, path):
    page = opened(visit, path)
    page.evaluate("""() => {
      window.seen = [];
      const note = () => {
        const text = document.querySelector(".word.lit")?.textContent ?? "";
        if (seen.at(-1)?.[0] !== text) seen.push([text, sound.currentTime]);
        if (!sound.ended) requestAnimationFrame(note);
      };
      note();
      sound.play();
    }""")
    until(page, "sound.ended")
    seen = [(text, time) for text, time in page.evaluate("seen") if text]
    assert [text for text, _ in seen] == ["three", "one", "four,", "one"]
    for (_, time), word in zip(seen, WORDS, strict=True):
        assert word.start <= time <= word.end
    assert lit(page) == []


def test_the_keyboard_goes_from_word_to_word_and_plays(visit, path):
    page = opened(visit, path)
    page.locator(".word").first.focus()
    for key, index in (("ArrowRight", 1), ("ArrowDown", 2), ("ArrowLeft", 1), ("End", 3), ("Home", 0), ("ArrowUp", 0)):
        page.keyboard.press(key)
        assert page.evaluate("units.findIndex((one) => one.button === document.activeElement)") == index
        assert facts(page)[0] == LABELS[index].strip()
        assert page.locator("[aria-current]").count() == 1
    assert page.evaluate("sound.paused")
    assert page.locator('.word[tabindex="0"]').count() == 1  # Tab passes the transcript in one step
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.word.lit')?.textContent === 'one'")
    until(page, "sound.paused")
    assert WORDS[1].end <= page.evaluate("sound.currentTime") < WORDS[2].start


def test_the_timeline_seeks(visit, path):
    page = opened(visit, path)
    box = page.locator("#timeline").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 1.8 / 3.1, box["y"] + box["height"] * 0.75)
    shown = page.locator("#readout > *").all_inner_texts()
    assert shown[0] == "1.80 s" and shown[1] == "four," and shown[3].endswith(" attention weight per 20 ms")
    value, even = float(shown[3].split()[0]), word_values()[2].mean()
    assert shown[2] == f"{times(value / even)} even"
    peak = word_values()[2].max()
    assert value == pytest.approx(peak, rel=0.02)
    page.mouse.down()
    page.mouse.up()
    until(page, "!sound.paused && sound.currentTime >= 1.75")
    page.locator("#timeline").focus()
    page.keyboard.press("Space")
    until(page, "sound.paused")
    page.keyboard.press("Home")
    until(page, "sound.currentTime === 0")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    until(page, "Math.abs(sound.currentTime - 0.4) < 0.001 && !sound.seeking")
    until(page, "document.querySelector('.word.lit')?.textContent === 'three'")
    left = page.locator("#playhead").evaluate("(one) => parseFloat(one.style.left)")
    assert left == pytest.approx(100 * 0.4 / 3.1, abs=0.2)
    assert page.locator("#timeline").get_attribute("aria-valuenow") == "0.40"


def test_rows_have_the_colors_of_their_values(visit, path):
    page = opened(visit, path)
    slide(page, "Opacity", 0)
    plain = colors(page, 4)
    slide(page, "Opacity", 100)
    for name, values in (("attention", word_values()), ("relevance", OTHER)):
        show(page, name)
        seen = colors(page, 4)
        at = (np.arange(seen.shape[1]) + 0.5) / seen.shape[1] * 155 - 0.5
        for row, word in enumerate(values):
            wide = np.interp(at, np.arange(155), (word - word.min()) / np.ptp(word))
            around = np.pad(wide, 2, mode="edge")  # a cell is at least so wide
            wide = np.lib.stride_tricks.sliding_window_view(around, 5).max(axis=1)
            color = palette()[np.round(255 * wide).astype(int)].astype(float)
            alpha = color[:, 3:] / 255
            expected = plain[row] * (1 - alpha) + color[:, :3] * alpha
            # steps of 8 bits, of the value and of the color
            assert np.abs(seen[row] - expected).mean() < 3


def test_layer_and_head_are_chosen(visit, path):
    page = opened(visit, path)
    assert not page.get_by_label("Layer", exact=True).is_visible()
    show(page, "layer and head")
    page.locator(".word").nth(1).focus()
    page.keyboard.press("ArrowRight")  # the word four
    for layer in range(LAYERS):
        for head in range(HEADS + 1):
            slide(page, "Layer", layer)
            slide(page, "Head", head)
            values = (STACK[layer].mean(axis=0) if head == 0 else STACK[layer, head - 1])[2]
            assert facts(page)[3] == f"attention peak: {0.02 * (values.argmax() + 0.5):.2f} s"
            name = "mean of heads" if head == 0 else f"head {head - 1}"
            assert page.locator("#origin").inner_text() == f"layer {layer} · {name}"
    box = page.locator("#atlas").bounding_box()
    page.locator("#atlas").click(position={"x": 0.5 * box["width"] / LAYERS, "y": 1.5 * box["height"] / (HEADS + 1)})
    assert page.locator("#origin").inner_text() == "layer 0 · head 0"
    show(page, "relevance")
    assert page.locator("#note").inner_text() == "What spoke for the word."
    assert not page.locator("#overview").is_visible()


def test_a_long_recording_is_shown_in_stretches_that_follow(visit, tmp_path):
    words = tuple(Said(f" w{i}", 0.5 * i + 0.1, 0.5 * i + 0.4) for i in range(140))
    segments = [
        Part(10.0 * i, 10.0 * i + 10, "".join(w.text for w in words[20 * i : 20 * i + 20]), words[20 * i : 20 * i + 20])
        for i in range(7)
    ]
    halves = [(words[:60], 0.0, 30.0), (words[60:120], 30.0, 60.0), (words[120:], 60.0, 70.0)]
    maps = [
        time_map(word_values(part, end, start), tuple(w.text for w in part), start=start) for part, start, end in halves
    ]
    write_audio_page(
        tmp_path / "page.html", PageRecording(tones(words, 70.0), RATE, "long.wav", segments, maps), title="Long"
    )
    page = opened(visit, tmp_path / "page.html")
    assert page.locator("#span-value").inner_text() == "12 s"
    page.locator(".word").nth(97).click()
    until(page, "sound.paused && sound.currentTime >= units[97].end")
    assert facts(page)[1] == "48.60 to 48.90 s" and facts(page)[-1] in (
        "attention peak: 48.75 s",
        "attention peak: 48.74 s",
    )
    assert page.evaluate("chosen.from <= units[97].start && units[97].end <= till()")
    box, inside = page.locator(".word").nth(97).bounding_box(), page.locator("#transcript").bounding_box()
    assert inside["y"] <= box["y"] <= inside["y"] + inside["height"]
    slide(page, "Seconds shown", 0)
    page.evaluate("seek(61)")
    until(page, "chosen.from <= 61 && 61 <= till() && !sound.seeking")
    assert page.evaluate("chosen.span") == 2
    assert page.locator("#clock span").first.inner_text().startswith("1:0")


def test_segments_without_words_and_without_maps_can_be_played(visit, tmp_path):
    segments = [Part(0.3, 1.25, "three one", flags=("silence",)), Part(1.5, 2.7, NASTY)]
    write_audio_page(tmp_path / "page.html", PageRecording(tones(), RATE, "call.wav", segments), title="call.wav")
    page = opened(visit, tmp_path / "page.html")
    assert not page.locator("#choice").is_visible() and page.locator("#name").inner_text() == "0:03.1"
    assert page.locator(".flag").inner_text() == "silence" and "made up" in page.locator(".flag").get_attribute("title")
    page.locator(".word").nth(0).click()
    until(page, "document.querySelector('.word.lit')?.textContent === 'three one'")
    until(page, "sound.paused")
    assert 1.25 <= page.evaluate("sound.currentTime") < 1.5
    assert page.locator(".word").nth(1).text_content() == " ".join(NASTY.split())


def test_words_of_no_time_have_rows_and_none_stands_apart_from_its_text(visit, tmp_path):
    times = ((0.0, 0.0), (0.0, 0.0), (0.5, 1.0), (3.1, 3.1))
    words = tuple(Said(text, *span) for text, span in zip(("ine", "-", "-en's", " theef"), times, strict=True))
    texts = tuple(word.text for word in words)
    given = PageRecording(
        tones(), RATE, "call.wav", [Part(0.0, 3.1, "ine--en's theef", words)], [time_map(OTHER, texts)]
    )
    write_audio_page(tmp_path / "page.html", given, title="A call")
    page = opened(visit, tmp_path / "page.html")
    assert page.evaluate("shownUnits().map((one) => one.text.trim())") == ["ine", "-", "-en's", "theef"]
    assert page.locator("#transcript p").text_content().endswith(" ine--en's theef")
    letters = page.evaluate("""() => units.map(({ button }) => {
      const range = document.createRange();
      range.selectNodeContents(button);
      const { left, right } = range.getBoundingClientRect();
      return [left, right];
    })""")
    gaps = [following[0] - before[1] for before, following in pairwise(letters)]
    assert gaps[:2] == pytest.approx([0, 0], abs=0.5) and 2 < gaps[2] < 8


def test_a_page_of_the_pipeline_plays_its_words(visit, tmp_path):
    result = TranscribePipeline(tiny_speech_bundle(), device="cpu")(
        tones(), rate=RATE, maps="attention", temperatures=[0.0], num_beams=1, max_tokens=11
    )
    result.save_html(tmp_path / "page.html")
    page = opened(visit, tmp_path / "page.html")
    shown = page.evaluate("units.map((one) => [one.text.trim(), one.start, one.end])")
    assert shown == [[word.text, word.start, word.end] for word in result.words] and len(shown) > 1
    assert page.evaluate("shownUnits().length") == len(shown)
    page.evaluate("sound.addEventListener('seeking', () => (window.from ??= sound.currentTime))")
    last = result.words[-1]
    page.locator(".word").last.click()
    until(page, "window.from !== undefined && sound.paused")
    assert page.evaluate("window.from") == pytest.approx(last.start, abs=1e-3)
    assert page.evaluate("sound.currentTime") >= last.end - 0.01
    assert facts(page)[0] == last.text


def test_nothing_said_is_said(visit, tmp_path):
    write_audio_page(tmp_path / "page.html", PageRecording(tones(), RATE, "call.wav", ()), title="Silence")
    page = opened(visit, tmp_path / "page.html")
    assert page.locator("#transcript").inner_text() == "No speech was found."
    assert not page.locator("#words-help").is_visible()
    page.evaluate("sound.play()")
    until(page, "sound.currentTime > 0.2")


def test_sound_that_cannot_be_played_is_named(visit, tmp_path, path):
    broken = path.read_text(encoding="utf-8").replace("data:audio/flac;base64,", "data:audio/flac;base64,AAAA")
    (tmp_path / "page.html").write_text(broken, encoding="utf-8")
    page = visit(tmp_path / "page.html")
    page.wait_for_selector("#unplayable", state="visible")
    assert page.locator(".word").count() == 4


@pytest.mark.parametrize("width", [320, 768, 1100])
def test_the_page_is_no_wider_than_the_window(visit, tmp_path, width):
    texts = ("Donaudampfschifffahrt" * 9, NASTY, "one")
    words = tuple(Said(text, i, i + 0.9) for i, text in enumerate(texts))
    segments = [Part(0, 3, " ".join(texts), words, flags=("stalled", "backwards", "repeats"))]
    maps = [time_map(np.random.default_rng(3).random((2, 16, 3, 155)), texts, note=NASTY)]
    given = PageRecording(tones(), RATE, "Reptiliomorpha" * 12, segments, maps)
    write_audio_page(tmp_path / "page.html", given, title="x" * 300)
    page = opened(visit, tmp_path / "page.html", viewport={"width": width, "height": 640})
    page.locator(".word").nth(0).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_address_leads_back_to_word_map_layer_and_head(visit, path):
    page = opened(visit, path)
    show(page, "layer and head")
    slide(page, "Layer", 0)
    slide(page, "Head", 2)
    page.locator(".word").nth(0).focus()
    page.keyboard.press("ArrowRight")
    fragment = "#word=2&map=layer%20and%20head&layer=0&head=1"
    page.wait_for_function(f"() => location.hash === '{fragment}'")
    again = visit(path, fragment)
    again.wait_for_function("() => document.getElementById('origin').textContent === 'layer 0 · head 1'")
    again.wait_for_function("() => document.querySelector('.word[aria-current]')?.textContent === 'one'")
    again = visit(path, "#word=99&map=nothing&layer=99&head=%E0%A4%A")
    again.wait_for_function("() => document.getElementById('origin').textContent !== ''")
    assert again.locator("#methods input:checked + span").inner_text() == "attention"
