"""The waveform, the log-mel picture and the embedded sound, and the figure of an alignment."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image

from multiattn.export import alignment_png, load_map, save_map, sound
from multiattn.export.canvas import Canvas
from multiattn.export.heatmap import palette
from multiattn.export.sound import envelope, log_mel_picture, sound_uri
from multiattn.export.speech_figure import _figure, gray_picture, over_sound
from tests.export.pictures import picture_map, whole
from tests.export.sounds import DURATION, LABELS, RATE, STEP, WORDS, Said, time_map, tones, word_values


def picture(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    return np.concatenate(list(log_mel_picture(samples, rate=rate)), axis=1)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000])
def test_the_log_mel_picture_is_bright_where_there_is_sound(rate):
    shown = picture(tones(rate=rate), rate)
    frame = rate // 100 / rate
    assert shown.shape[1] == -(-round(DURATION * rate) // (rate // 100)) and shown.max() == 255
    time = frame * (np.arange(shown.shape[1]) + 0.5)
    spoken = np.zeros(len(time), dtype=bool)
    for word in WORDS:
        spoken |= (time > word.start + 0.02) & (time < word.end - 0.02)
    quiet = np.all([(time < word.start - 0.02) | (time > word.end + 0.02) for word in WORDS], axis=0)
    assert shown[:, spoken].max(axis=0).min() > 200 > 150 > shown[:, quiet].max()
    first, last = (np.argmax(shown[:, np.searchsorted(time, at)]) for at in (0.35, 2.65))
    assert last < first  # the tones rise, and high pitch is on top


def test_blocks_join_without_a_seam(monkeypatch):
    samples = tones(duration=3.117)
    once = picture(samples)
    monkeypatch.setattr(sound, "_BLOCK_SECONDS", 0.37)
    blocks = list(log_mel_picture(samples, rate=RATE))
    assert [block.shape[1] for block in blocks] == [37] * 8 + [16]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1).astype(int), once.astype(int), atol=1)


def test_silence_and_a_single_sample_have_pictures():
    assert picture(np.zeros(4000, dtype=np.float32)).shape[1] == 25
    assert picture(np.ones(1, dtype=np.float32)).shape[1] == 1
    assert (envelope(np.zeros(7, dtype=np.float32), 3) == 0).all()
    np.testing.assert_array_equal(envelope(np.array([0.5, -0.25], dtype=np.float32), 5), [[1, 1, 1, -0.5, -0.5]] * 2)


def test_the_envelope_holds_the_extremes():
    samples = np.random.default_rng(3).standard_normal(1013).astype(np.float32)
    low, high = envelope(samples, 11)
    parts = np.split(samples, np.linspace(0, 1013, 12).astype(int)[1:-1])
    np.testing.assert_allclose(low, [part.min() / np.abs(samples).max() for part in parts], rtol=1e-6)
    np.testing.assert_allclose(high, [part.max() / np.abs(samples).max() for part in parts], rtol=1e-6)


def decoded(uri: str) -> tuple[str, np.ndarray, int]:
    kind, text = uri.split(";base64,")
    return kind, *soundfile.read(io.BytesIO(base64.b64decode(text)))


def test_sound_is_embedded_sample_for_sample_and_long_ones_small(monkeypatch):
    samples = tones() * 2.5  # beyond full scale
    kind, found, rate = decoded(sound_uri(samples, rate=RATE))
    assert (kind, rate) == ("data:audio/flac", RATE)
    np.testing.assert_allclose(found, samples.clip(-1, 1), atol=1 / 32768)
    monkeypatch.setattr(sound, "_EXACT_SECONDS", 3.0)
    monkeypatch.setattr(sound, "_BLOCK_SECONDS", 0.7)
    kind, found, rate = decoded(sound_uri(tones(), rate=RATE))
    assert (kind, rate, len(found)) == ("data:audio/ogg", 16_000, len(samples))
    levels = [np.abs(one[: round(2.7 * RATE)]).reshape(-1, 1600).mean(axis=1) for one in (found, tones())]
    assert np.corrcoef(*levels)[0, 1] > 0.95  # loud where it was loud
    assert decoded(sound_uri(tones(rate=11_025), rate=11_025))[0] == "data:audio/flac"  # Opus has no such rate


# --- the figure ---


def test_rows_lie_over_the_moments_of_their_values():
    values = np.zeros((3, 50))
    values[0, 10], values[1, 30], values[2, 49] = 0.5, 0.001, 1.0
    size = (500, 90)
    gray = np.zeros((80, 100), dtype=np.uint8)
    seen = np.asarray(over_sound(time_map(values, ("a", "b", "c")), gray, size, seconds=1.0)).astype(int)
    bright = seen.sum(axis=2)
    for row, frame in enumerate((10, 30, 49)):
        line = bright[30 * row + 15]
        assert abs(int(np.flatnonzero(line == line.max()).mean()) - (10 * frame + 5)) <= 3
        assert (bright[30 * row : 30 * row + 30] == line).all()
    top = palette()[255].astype(float)
    expected = gray_picture(gray, size).getpixel((0, 0))[0] * (1 - top[3] / 255) + top[:3] * top[3] / 255
    np.testing.assert_allclose(seen[75, 499], expected, atol=2)  # each row reaches the brightest color
    assert (seen[75, 0] == seen[15, 300]).all() and (seen[75, 499] == seen[75, 496]).all()


def test_a_window_that_is_shown_in_part_keeps_its_times():
    values = np.zeros((1, 50))
    values[0, 10] = 1.0
    seen = np.asarray(over_sound(time_map(values, ("a",)), np.zeros((8, 9), np.uint8), (250, 8), seconds=0.5)).astype(
        int
    )
    bright = seen.sum(axis=2)[4]
    assert abs(float(np.flatnonzero(bright == bright.max()).mean()) - 105) <= 3  # a cell is several pixels wide


class Written(Canvas):
    """Remembers what was written where."""

    seen: list[tuple[str, float, float]] = []

    def write(self, text, left, top, **style):
        self.seen.append((text, left, top))
        super().write(text, left, top, **style)


def test_the_figure_names_words_rows_and_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr("multiattn.export.speech_figure.Canvas", Written)
    monkeypatch.setattr(Written, "seen", [])
    path = tmp_path / "new" / "figure.png"
    alignment_png(time_map(word_values(), LABELS), tones(), path, rate=RATE, words=WORDS)
    texts = [text for text, _, _ in Written.seen]
    assert texts[0] == "attention for “three one four, one”"
    assert texts[1:5] == texts[5:9] == ["three", "one", "four,", "one"]
    assert "decoder.blocks.2.cross to decoder.blocks.3.cross · all heads" in texts
    lefts = [left for _, left, _ in Written.seen[1:5]]
    steps = np.diff(lefts) / np.diff([(word.start + word.end) / 2 for word in WORDS])
    np.testing.assert_allclose(steps, steps[0], rtol=0.01)
    with Image.open(path) as drawn:
        assert drawn.size[0] > 760


def test_words_that_would_stand_in_one_another_get_lines_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("multiattn.export.speech_figure.Canvas", Written)
    monkeypatch.setattr(Written, "seen", [])
    words = tuple(Said(f" extraordinarily{i}", 0.1 * i, 0.1 * i + 0.1) for i in range(3))
    values = word_values(words, 3.1)
    alignment_png(
        time_map(values, tuple(one.text for one in words)), tones(), tmp_path / "a.png", rate=RATE, words=words
    )
    tops = [top for text, _, top in Written.seen[1:4]]
    assert len(set(tops)) == 3 and tops == sorted(tops, reverse=True)


def test_a_window_of_a_long_recording_is_drawn_with_its_own_words(tmp_path, monkeypatch):
    monkeypatch.setattr("multiattn.export.speech_figure._figure", lambda *given: drawn.append(given) or _figure(*given))
    drawn: list[tuple] = []
    late = time_map(word_values(WORDS[2:], start=1.4), LABELS[2:], start=1.4)
    alignment_png(late, tones(), tmp_path / "a.png", rate=RATE, words=WORDS, caption="the second half")
    _, span, heard, rate, labels, words, heading, *_ = drawn[0]
    assert (span.start, span.end, rate, labels, heading) == (
        1.4,
        pytest.approx(3.1),
        RATE,
        ["four,", "one"],
        "the second half",
    )
    assert words == list(WORDS[2:]) and len(heard) == pytest.approx(1.7 * RATE, abs=1)
    assert span.pixel(1.4) == 0 and span.pixel(span.end) == span.width


def test_tokens_without_labels_long_ones_and_odd_letters_are_drawn(tmp_path):
    labels = (" $x_1$", "\n", "w" * 90, "<|0.00|>", "ü")
    values = np.random.default_rng(7).random((5, 155))
    tokens = time_map(values, labels)
    tokens = replace(tokens, axes=(replace(tokens.axes[0], name="token", unit="index"), tokens.axes[1]))
    alignment_png(tokens, tones(), tmp_path / "a.png", rate=RATE)
    alignment_png(
        replace(tokens, axes=(replace(tokens.axes[0], labels=None), tokens.axes[1])),
        tones(),
        tmp_path / "b.png",
        rate=RATE,
    )
    save_map(tokens, tmp_path / "a.npz")
    assert load_map(tmp_path / "a.npz").equals(tokens)


def test_letters_that_the_typeface_lacks_are_no_error(tmp_path):
    words = (Said("今日", 0.1, 0.9), Said("は", 0.9, 1.0))
    alignment_png(time_map(word_values(words), ("今日", "は")), tones(), tmp_path / "a.png", rate=RATE, words=words)


def test_wrong_fields_are_named(tmp_path):
    good, path = time_map(word_values(), LABELS), tmp_path / "a.png"
    with pytest.raises(ValueError, match=r"`time_map` must have the axes .* but has \('y', 'x'\), the last in"):
        alignment_png(picture_map(np.eye(3), whole(Image.new("RGB", (9, 9)))), tones(), path, rate=RATE)
    steps = replace(good, axes=(good.axes[0], replace(good.axes[1], unit="index")))
    with pytest.raises(ValueError, match="the time in seconds, but has .*, the last in the unit 'index', instead"):
        alignment_png(steps, tones(), path, rate=RATE)
    late = replace(good, axes=(good.axes[0], replace(good.axes[1], start=3.5)))
    with pytest.raises(ValueError, match=r"must lie within the recording, 0 to 3.1 seconds, but begins at 3.5 instead"):
        alignment_png(late, tones(), path, rate=RATE)
    with pytest.raises(
        ValueError, match="of a word must be seconds from 0, in this order, but are 2.0 and 1.0 instead"
    ):
        alignment_png(good, tones(), path, rate=RATE, words=[Said("one", 2, 1)])
    for samples, message in [
        (np.zeros(0, dtype=np.float32), r"a mono recording .* at least one, but has shape \(0,\) and type float32"),
        (np.zeros((2, 9), dtype=np.float32), r"but has shape \(2, 9\)"),
        (np.zeros(9, dtype=np.int16), "and type int16 instead"),
        (np.full(9, np.nan, dtype=np.float32), "`samples` must be finite, but holds NaN or infinity"),
    ]:
        with pytest.raises(ValueError, match=message):
            sound.check_sound(samples, RATE)
    with pytest.raises(
        ValueError, match="`rate` must be a whole number of samples a second from 1000, but is 0 instead"
    ):
        sound.check_sound(tones(), 0)
    assert STEP * good.values.shape[1] == pytest.approx(DURATION)
