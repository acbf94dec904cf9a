"""Attention from moment to moment on the page of a recording, and what is saved from it, in Chromium."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PageRecording, write_audio_page
from multiattn.export.page_tokens import moments_data
from multiattn.maps.attention_map import AttentionMap, Axis
from multiattn.maps.concentration import concentration
from tests.export.sounds import LABELS, RATE, SEGMENTS, time_map, tones, word_values
from tests.export.test_browser import choose
from tests.export.test_browser_audio import opened, show, until
from tests.export.test_browser_saving import saved

pytestmark = pytest.mark.browser

LAYERS, HEADS, STEP = 2, 3, 0.1
SIZES, STARTS = (17, 14), (0.0, 1.7)  # moments of two windows, of 3.1 s together
_RANDOM = np.random.default_rng(47)
VALUES = [_RANDOM.random((LAYERS, HEADS, size, size)) ** 4 for size in SIZES]
VALUES = [one / one.sum(axis=-1, keepdims=True) for one in VALUES]


def windows() -> list[AttentionMap]:
    return [
        AttentionMap(
            values.astype(np.float32),
            (
                Axis("layer", "index"),
                Axis("head", "index"),
                *(Axis(name, "second", start=start, step=STEP) for name in ("query", "key")),
            ),
            "self_attention",
            ("encoder.blocks.0.self", "encoder.blocks.1.self"),
            None,
            None,
            None,
            "From moment to moment.",
        )
        for values, start in zip(VALUES, STARTS, strict=True)
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording = PageRecording(tones(), RATE, "call.wav", SEGMENTS, [time_map(word_values(), LABELS)], moments=windows())
    path = tmp_path_factory.mktemp("audio") / "page.html"
    write_audio_page(path, recording, title="A call")
    return path


def row(time: float, layer: int, head: int, *, to: bool) -> tuple[np.ndarray, float]:
    """What the page shows for a time, and where the window begins: rows in 255 steps; head 0 is the mean."""
    window = int(time >= STARTS[1])
    known = VALUES[window]
    highest = known.max(axis=-1, keepdims=True)
    known = np.round(known / highest * 255) * highest / 255
    of_layer = known[layer].mean(axis=0) if head == 0 else known[layer, head - 1]
    moment = int((time - STARTS[window]) / STEP + 1e-6)
    return of_layer[:, moment] if to else of_layer[moment], STARTS[window]


def told(page) -> str:
    return page.locator("#token-text").inner_text()


def expected(time: float, layer: int, head: int, *, to: bool) -> str:
    values, start = row(time, layer, head, to=to)
    best = np.argsort(-values, kind="stable")[:3]

    def span(moment: int) -> str:
        return f"{start + moment * STEP:.2f} to {start + (moment + 1) * STEP:.2f} s"

    verb = "is looked at most by" if to else "looks most at"
    own = span(int((time - start) / STEP + 1e-6))
    return f"{own} {verb} {'; '.join(f'{span(i)}: {100 * values[i]:.1f} %' for i in best)}."


def test_a_click_on_a_time_shows_where_it_looks_and_who_looks_at_it(visit, path):
    page = opened(visit, path)
    assert not page.locator("#tokens").is_visible()
    show(page, "moment to moment")
    assert page.locator("#note").inner_text() == "From moment to moment."
    assert not page.locator("#rows-help").is_visible()
    box = page.locator("#map").bounding_box()
    for time in (0.65, 2.45):
        page.mouse.click(box["x"] + box["width"] * time / 3.1, box["y"] + box["height"] / 2)
        until(page, f"Math.abs(sound.currentTime - {time}) < 0.03 && !sound.seeking")
        for way, to in (("who looks at it", True), ("where it looks", False)):
            choose(page, way)
            for layer, head in ((0, 0), (1, 3)):
                page.get_by_label("Layer", exact=True).fill(str(layer))
                page.get_by_label("Head", exact=True).fill(str(head))
                assert told(page) == expected(time, layer, head, to=to)
    assert page.evaluate("sound.paused")
    values, _ = row(2.45, 1, 3, to=False)
    facts = concentration(values.astype(np.float32))
    assert f"has {100 * facts.top_tenth:.1f} % of the map" in page.locator("#spread").inner_text()
    page.mouse.move(box["x"] + box["width"] * 2.05 / 3.1, box["y"] + box["height"] / 2)
    assert page.locator("#readout").inner_text().split("\n")[-1] == f"{100 * values[3]:.1f} % of the attention"
    page.locator("#timeline").focus()
    page.keyboard.press("ArrowLeft")
    until(page, "!sound.seeking && sound.currentTime < 2.4")
    until(page, f"element('token-text').textContent === {expected(2.35, 1, 3, to=False)!r}")
    page.keyboard.press("Space")  # it follows while the recording plays
    until(page, f"element('token-text').textContent === {expected(2.75, 1, 3, to=False)!r}")


def test_a_link_leads_to_a_moment_which_is_saved(visit, path):
    page = visit(path, "#map=moment%20to%20moment&layer=0&head=1&time=1.15&way=to")
    until(page, "sound.readyState >= 2 && isMoments() && !sound.seeking")
    assert told(page) == expected(1.15, 0, 2, to=True)
    name, content = saved(page, "npz")
    assert name == "call moment to moment.npz"
    with np.load(io.BytesIO(content)) as found:
        values = [[row(1.15, layer, head + 1, to=True)[0] for head in range(HEADS)] for layer in range(LAYERS)]
        np.testing.assert_allclose(found["values"], values, atol=1e-6)
    page.wait_for_timeout(200)
    assert page.evaluate("location.hash") == "#word=2&map=moment%20to%20moment&layer=0&head=1&time=1.15&way=to"


def test_the_map_of_words_is_saved_and_says_how_concentrated_it_is(visit, path):
    page = opened(visit, path)
    page.locator(".word").nth(1).focus()
    page.keyboard.press("ArrowRight")
    top = concentration(word_values()[2].astype(np.float32)).top_tenth
    assert f"The brightest tenth of the moments has {100 * top:.1f} %" in page.locator("#spread").inner_text()
    name, content = saved(page, "npz")
    assert name == "call attention.npz"
    with np.load(io.BytesIO(content)) as found:
        np.testing.assert_allclose(found["values"], word_values(), atol=word_values().max() / 255)
    name, content = saved(page, "PNG")
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    assert name == "call attention.png" and picture.width >= 900
    colors = {color for _, color in picture.getcolors(1 << 24) or ()}
    assert len(colors) > 100 and (255, 255, 255) in colors


def test_two_windows_are_two_arrays(visit, tmp_path):
    halves = [time_map(word_values()[part], LABELS[part]) for part in (slice(0, 2), slice(2, 4))]
    write_audio_page(tmp_path / "page.html", PageRecording(tones(), RATE, "call.wav", SEGMENTS, halves), title="A call")
    page = opened(visit, tmp_path / "page.html")
    with np.load(io.BytesIO(saved(page, "npz")[1])) as found:
        for name, part in (("values", slice(0, 2)), ("values_2", slice(2, 4))):
            np.testing.assert_allclose(found[name], word_values()[part], atol=word_values().max() / 255)


def test_what_does_not_fit_is_left_out_and_said(monkeypatch):
    said = []
    for most in (10**6, 3 * 17**2 * 2, 200):
        monkeypatch.setattr("multiattn.export.page_tokens.MOST_OF_TOKENS", most)
        data, left_out = moments_data(windows())
        said.append((data and (len(data["layers"]), data["heads"]), left_out[:67]))
    assert said == [
        ((2, 3), ""),
        ((2, 0), "From moment to moment this page has the mean of the heads, of all l"),
        (None, "The attention from moment to moment is not on this page: that of on"),
    ]


def test_other_maps_are_named():
    with pytest.raises(ValueError, match=r"`moments` must be self-attention over seconds, but is \('word', 'time'\)"):
        PageRecording(tones(), RATE, "call.wav", SEGMENTS, moments=[time_map(word_values(), LABELS)])
