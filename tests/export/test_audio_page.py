import base64
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from multiattn.errors import InputError
from multiattn.export import IndexEntry, PageRecording, RecordingEntry, audio_page, write_audio_page, write_index
from tests.export.pictures import picture_map, whole
from tests.export.sounds import DURATION, LABELS, RATE, SEGMENTS, WORDS, Part, time_map, tones, word_values
from tests.export.test_page import NASTY, Elements, data_of

LAYERS, HEADS = 2, 3
STACK = np.random.default_rng(11).random((LAYERS, HEADS, len(WORDS), 155))


def recording(**fields: object) -> PageRecording:
    facts: dict = {"samples": tones(), "rate": RATE, "name": "call.wav", "segments": SEGMENTS}
    return PageRecording(**{**facts, **fields})


def rows_of(window: dict) -> np.ndarray:
    """The values of a window as the page's script unpacks them."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(window["steps"])), dtype=np.uint8)
    steps = steps.reshape(-1, window["frames"]).astype(float)
    return np.array(window["low"])[:, None] + np.array(window["scale"])[:, None] * steps


def test_values_are_there_for_each_layer_head_and_word(tmp_path):
    maps = [time_map(word_values(), LABELS), time_map(STACK, LABELS)]
    write_audio_page(tmp_path / "new" / "page.html", recording(maps=maps), title="Call")
    one, stack = data_of(tmp_path / "new" / "page.html")["maps"]
    assert (one["name"], one["layers"], stack["name"], stack["heads"]) == ("attention", None, "layer and head", HEADS)
    assert one["meaning"] == "attention weight per 20 ms" and len(stack["layers"]) == LAYERS
    for facts, values in ((one, word_values()), (stack, STACK.reshape(-1, 155))):
        (window,) = facts["windows"]
        assert (window["start"], window["step"], window["words"]) == (0, 0.02, 4)
        height = np.ptp(values, axis=1, keepdims=True)
        assert (np.abs(rows_of(window) - values) <= height / 509).all()


def test_windows_of_one_method_stand_together(tmp_path):
    parts = [
        time_map(word_values(WORDS[:1], 0.8), LABELS[:1]),
        time_map(STACK[:, :, :1, :40], LABELS[:1]),
        time_map(word_values(WORDS[1:], start=0.8), LABELS[1:], start=0.8),
        time_map(STACK[:, :, 1:, 40:], LABELS[1:], start=0.8),
    ]
    write_audio_page(tmp_path / "page.html", recording(maps=parts), title="Call")
    one, stack = data_of(tmp_path / "page.html")["maps"]
    for facts in (one, stack):
        assert [(window["start"], window["words"]) for window in facts["windows"]] == [(0, 1), (0.8, 3)]


def test_the_sound_and_its_pictures_are_in_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("multiattn.export.sound._BLOCK_SECONDS", 1.3)
    write_audio_page(tmp_path / "page.html", recording(language="en"), title="Call")
    data = data_of(tmp_path / "page.html")
    assert data["sound"].startswith("data:audio/flac;base64,") and data["seconds"] == DURATION
    assert [one["frames"] for one in data["pictures"]] == [130, 130, 50] and data["frame"] == 0.01
    wave = np.frombuffer(base64.b64decode(data["wave"]), dtype=np.int8).reshape(2, -1)
    loud = np.abs(wave).max(axis=0) > 60
    middles = (np.arange(wave.shape[1]) + 0.5) / 100
    inside = np.any([(middles > word.start + 0.01) & (middles < word.end - 0.01) for word in WORDS], axis=0)
    assert wave.shape[1] == 310 and loud[inside].all() and loud.sum() <= inside.sum() + 8
    assert data["maps"] == [] and data["language"] == "en"


def test_flags_say_what_they_mean(tmp_path):
    segments = [replace(SEGMENTS[0], flags=("stalled", "novel")), SEGMENTS[1]]
    write_audio_page(tmp_path / "page.html", recording(segments=segments), title="Call")
    flags = data_of(tmp_path / "page.html")["segments"][0]["flags"]
    assert flags[0][0] == "stalled" and "repeating itself" in flags[0][1] and flags[1] == ["novel", ""]


def test_nothing_in_a_text_can_leave_its_place(tmp_path):
    segments = [Part(0, 1, NASTY, (replace(WORDS[0], text=NASTY),), flags=(NASTY,))]
    maps = [time_map(word_values(WORDS[:1]), (NASTY,), note=NASTY)]
    given = recording(segments=segments, maps=maps, name=NASTY, language=NASTY)
    write_audio_page(tmp_path / "page.html", given, title=NASTY)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(Elements(text).scripts) == 2 and "alert(1)</script>" not in text
    assert data_of(tmp_path / "page.html")["segments"][0]["words"][0]["text"] == " ".join(NASTY.split())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert (
        policy
        == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; media-src data:; script-src 'unsafe-inline'"
    )


def test_the_page_is_json_and_small(tmp_path):
    write_audio_page(tmp_path / "page.html", recording(maps=[time_map(STACK, LABELS)]), title="Call")
    json.dumps(data_of(tmp_path / "page.html"), allow_nan=False)
    assert (tmp_path / "page.html").stat().st_size < 300_000


def test_wrong_fields_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"`maps` must have the words of the segments, \['three', .*, but have \['a'"):
        recording(maps=[time_map(word_values(), ("a", "b", "c", "d"))])
    with pytest.raises(
        ValueError, match="but have \\['three', 'one', 'four,', 'one', 'three', 'one', 'four,', 'one'\\]"
    ):
        recording(maps=[time_map(word_values(), LABELS)] * 2)
    with pytest.raises(
        ValueError, match=r"`maps` must have the axes .*, but one has \('y', 'x'\), the last in the unit 'p"
    ):
        recording(maps=[picture_map(np.eye(3), whole(Image.new("RGB", (9, 9))))])
    with pytest.raises(
        ValueError, match="of a segment must be seconds from 0, in this order, but are 2.0 and 1.0 inst"
    ):
        recording(segments=[Part(2, 1, "")])
    with pytest.raises(ValueError, match="of a word must be seconds from 0"):
        recording(segments=[replace(SEGMENTS[0], words=(replace(WORDS[0], start=-1.0),))])
    with pytest.raises(ValueError, match="`samples` must be finite"):
        recording(samples=np.full(9, np.inf, dtype=np.float32))
    monkeypatch.setattr(audio_page, "LONGEST_SECONDS", 3.0)
    with pytest.raises(
        InputError, match=r"call.wav: a page holds a recording of at most 0 minutes, but this one has 0"
    ):
        recording()


# --- the index ---


def test_recordings_and_pictures_share_an_index(tmp_path, photo):
    entries = [
        RecordingEntry(
            tones(),
            RATE,
            "call.wav",
            "call.html",
            "three one " + "and so on " * 20,
            time_map(word_values(), LABELS),
            "weak",
        ),
        RecordingEntry(tones(duration=61.2), RATE, "quiet.wav", "quiet.html", "", None),
        IndexEntry(photo, "fox.jpg", "fox.html", "fox", 0.5, picture_map(np.eye(5), whole(photo))),
    ]
    write_index(tmp_path / "index.html", entries, title="What was said")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "1 picture and 2 recordings; choose" in text
    assert re.findall(r'class="card" href="([^"]*)"', text) == ["call.html", "quiet.html", "fox.html"]
    said = re.findall(r"<strong>(.*?)</strong><span>(.*?)</span>", text)
    assert said[1:] == [("", "1:01"), ("fox", "50%")]
    assert said[0][0].startswith("three one and so on") and said[0][0].endswith(" …") and said[0][1] == "0:03"
    assert len(said[0][0]) <= 120
    assert re.findall(r'data-verdict="(\d?)"', text) == ["1", "", ""] and text.count("map: weak") == 1
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', text)
    assert len(sources) == 6 and sources[0] != sources[1] and sources[2] == sources[3]


def test_an_index_of_recordings_counts_them(tmp_path):
    entry = RecordingEntry(tones(), RATE, "call.wav", "call.html", "three", None)
    write_index(tmp_path / "index.html", [entry], title="Call")
    assert '<p class="soft">1 recording; choose' in (tmp_path / "index.html").read_text(encoding="utf-8")
    write_index(tmp_path / "none.html", [], title="Nothing")
    assert "0 pictures; choose" in (tmp_path / "none.html").read_text(encoding="utf-8")


def test_a_wrong_entry_is_named(photo):
    with pytest.raises(ValueError, match="`verdict` must be of strong, weak, no better than chance, or empty"):
        RecordingEntry(tones(), RATE, "a", "a.html", "", None, "good")
    with pytest.raises(ValueError, match="`time_map` must have the axes"):
        RecordingEntry(tones(), RATE, "a", "a.html", "", picture_map(np.eye(5), whole(photo)))
    with pytest.raises(ValueError, match="`samples` must be a mono recording"):
        RecordingEntry(np.zeros(0, dtype=np.float32), RATE, "a", "a.html", "", None)
