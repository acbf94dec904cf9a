import math

import numpy as np
import pytest
from PIL import Image

from multiattn.export import blend, question_png, strip_png
from multiattn.export.naming import likelier
from multiattn.export.word_figure import grids_of
from tests.export.pictures import make_salient, picture_map, time_map, whole, words_map

TEXTS = ("a", " red", " fox", ",", " asleep")
VALUES = np.random.default_rng(29).random((len(TEXTS), 5, 7))


def read(path) -> np.ndarray:
    with Image.open(path) as png:
        assert png.format == "PNG"
        return np.asarray(png.convert("RGB"))


def places(part: np.ndarray, png: np.ndarray) -> list[tuple[int, int]]:
    """Top and left of each place where a picture stands in another, pixel for pixel, but for a frame around it."""
    inner = part[4:-4, 4:-4]
    height, width, _ = inner.shape
    starts = np.argwhere((png[: 1 - height, : 1 - width] == inner[0, 0]).all(axis=-1))
    return [(y - 4, x - 4) for y, x in starts if (png[y : y + height, x : x + width] == inner).all()]


@pytest.mark.parametrize("size", [(301, 199), (173, 331)])
def test_each_word_has_its_overlay_in_the_order_of_the_sentence(tmp_path, size):
    picture = Image.fromarray(np.random.default_rng(11).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    word_map = words_map(VALUES, TEXTS, whole(picture))
    strip_png(word_map, picture, tmp_path / "new" / "strip.png", image_dependence=[0.0, 2.0, -1.0, 0.1, 9.0])
    png = read(tmp_path / "new" / "strip.png")
    scale = 224 / max(size)
    small = picture.resize([round(side * scale) for side in size], Image.Resampling.LANCZOS)
    shown = [small, *(blend(small, grid) for grid in grids_of(word_map))]
    found = []
    for one in shown:
        (place,) = places(np.asarray(one), png)
        found.append(place)
    assert found == sorted(found)  # rows from the top, and each from the left
    assert found[1][0] == found[0][0] < found[3][0]


def test_the_hottest_of_a_word_lies_on_what_it_saw():
    salient = make_salient("landscape, center crop")
    one = salient.map
    values = np.stack([one.values, one.values.max() - one.values])
    shown = grids_of(words_map(values, ("box", " rest"), one.geometry))
    assert [grid.names for grid in shown] == [("y", "x")] * 2
    np.testing.assert_array_equal(shown[0].values, one.values)
    assert blend(salient.picture, shown[0]).tobytes() == blend(salient.picture, one).tobytes()


def test_words_that_are_not_from_the_picture_are_marked_without_relying_on_color(tmp_path, photo):
    word_map = words_map(VALUES, TEXTS, whole(photo))
    pngs = []
    for number in (0.3, 0.1, None):
        image_dependence = None if number is None else [number] + [3.0] * (len(TEXTS) - 1)
        strip_png(word_map, photo, tmp_path / "strip.png", image_dependence=image_dependence)
        pngs.append(read(tmp_path / "strip.png").astype(int))
    seen, marked, unasked = pngs
    assert seen.shape == marked.shape and len(unasked) < len(seen)
    changed = np.argwhere((seen != marked).any(axis=-1))
    # the frame, the word and its number, of the second picture of the first row alone
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert bottom - top < 260 and right - left < 240 and left > 240
    gray = np.abs(seen.sum(axis=-1) - marked.sum(axis=-1))
    assert (gray > 120).sum() > 400  # it shows on a printer without colors


def test_caption_is_drawn_as_it_stands_and_long_words_fit(tmp_path, photo):
    word_map = words_map(VALUES, ("$x_", " \\frac{", " " + "Donaudampfschifffahrt" * 4, " 日", "."), whole(photo))
    widths = []
    for caption in (None, r"costs $5, not \frac{$9 %"):
        strip_png(word_map, photo, tmp_path / "strip.png", caption=caption)
        widths.append(read(tmp_path / "strip.png").shape[1])
    assert widths[0] == widths[1]


@pytest.mark.parametrize("count", [1, 2, 23])
def test_any_number_of_words_has_its_place(tmp_path, photo, count):
    texts = tuple(f" w{i}" for i in range(count))
    strip_png(words_map(np.ones((count, 3, 5)), texts, whole(photo)), photo, tmp_path / "strip.png")
    small = photo.resize((224, round(43 * 224 / 61)), Image.Resampling.LANCZOS)
    flat = blend(small, picture_map(np.ones((3, 5)), whole(photo)))  # all the same: muted, no heat
    assert len(places(np.asarray(flat), read(tmp_path / "strip.png"))) == count


def test_how_much_likelier():
    said = {0.0: "× 1.0", math.log(1.24): "× 1.2", math.log(14): "× 14", math.log(9.96): "× 10", math.log(0.5): "× 0.5"}
    said |= {math.log(999): "× 999", 7.0: "× more than 1000", 800.0: "× more than 1000", -800.0: "× 0"}
    assert {number: likelier(number) for number in said} == said


def test_strip_names_what_does_not_fit(tmp_path, photo):
    path = tmp_path / "strip.png"
    fitting = words_map(VALUES, TEXTS, whole(photo))
    with pytest.raises(
        ValueError, match=r"must have the axes \('word', 'y', 'x'\) and its words, but has \('y', 'x'\)"
    ):
        strip_png(picture_map(np.eye(5), whole(photo)), photo, path)
    with pytest.raises(ValueError, match=r"must have the axes .* but has \('token', 'time'\)"):
        strip_png(time_map(), photo, path)
    with pytest.raises(ValueError, match="`image_dependence` must be one for each of 5 words, but are 2"):
        strip_png(fitting, photo, path, image_dependence=[0.1, 0.2])
    with pytest.raises(ValueError, match="`picture` must be the map's source"):
        strip_png(fitting, photo.rotate(90, expand=True), path)
    with pytest.raises(ValueError, match="`geometry` of the map must say where"):
        strip_png(words_map(VALUES, TEXTS, None), photo, path)
    assert not path.exists()


ASKED, ANSWERED = ("is", " it", " $red", "?"), (" 日", " dark")


@pytest.mark.parametrize("size", [(301, 199), (173, 331)])
def test_the_words_of_a_question_come_before_those_of_its_answer(tmp_path, size):
    picture = Image.fromarray(np.random.default_rng(11).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    question = words_map(VALUES[:4], ASKED, whole(picture))
    answer = words_map(VALUES[3:], ANSWERED, whole(picture))
    question_png(question, answer, picture, tmp_path / "new" / "strip.png")
    png = read(tmp_path / "new" / "strip.png")
    small = picture.resize([round(side * 224 / max(size)) for side in size], Image.Resampling.LANCZOS)
    found = []
    for one in [small, *(blend(small, grid) for grid in [*grids_of(question), *grids_of(answer)])]:
        found.append(places(np.asarray(one), png))
    assert [len(one) for one in found] == [1, 1, 1, 1, 2, 2, 1]  # the map of the fourth word is the answer's first too
    assert found == sorted(found)


def test_the_answer_is_told_from_the_question_without_relying_on_color(tmp_path, photo):
    pngs = []
    for asked, answered in ((ASKED[:1], ASKED[1:2]), (ASKED[:1], ASKED[1:2]), (ASKED[1:2], ASKED[:1])):
        maps = [words_map(np.ones((1, 3, 5)), texts, whole(photo)) for texts in (asked, answered)]
        question_png(*maps, photo, tmp_path / "strip.png", caption="x")
        pngs.append(read(tmp_path / "strip.png").astype(int))
    np.testing.assert_array_equal(pngs[0], pngs[1])
    # both words have the same map: the frame and the words differ
    height, width = (round(side * 224 / 61) for side in (43, 61))
    top = 24 + round(2.3 * 14)
    asked, answered = (pngs[0][top - 2 : top, 24 + i * 242 :][:, :width] for i in (1, 2))  # above the pictures
    assert (asked == 255).all() and (answered < 200).any()
    assert not (pngs[0][top + height + 4 :] == pngs[2][top + height + 4 :]).all()


def test_what_a_question_was_answered_stands_above(tmp_path, photo, monkeypatch):
    drawn = []
    monkeypatch.setattr("multiattn.export.word_figure.Canvas.write", lambda canvas, text, *_, **__: drawn.append(text))
    question = words_map(VALUES[:4], ASKED, whole(photo), method="relevance", note="How the question looked.")
    answer = words_map(VALUES[3:], ANSWERED, whole(photo), method="relevance", note="How the answer looked.")
    question_png(question, answer, photo, tmp_path / "strip.png")
    assert drawn[0] == "is it $red? → 日 dark · relevance"
    assert [text for text in drawn if text.startswith("→")] == ["→ 日", "→ dark"]
    assert [text for text in ("is", "it", "$red", "?") if text in drawn] == ["is", "it", "$red", "?"]
    foot = " ".join(drawn)
    assert foot.index("The question: decoder.blocks.0.cross") < foot.index("How the question looked.")
    assert foot.index("How the question looked.") < foot.index("The answer: ") < foot.index("How the answer looked.")
    drawn.clear()
    question_png(question, answer, photo, tmp_path / "strip.png", caption="said")
    assert drawn[0] == "said"


def test_a_question_names_what_does_not_fit(tmp_path, photo):
    path = tmp_path / "strip.png"
    fitting = words_map(VALUES, TEXTS, whole(photo))
    with pytest.raises(ValueError, match=r"`question_map` must have the axes \('word', 'y', 'x'\) and its words, but"):
        question_png(picture_map(np.eye(5), whole(photo)), fitting, photo, path)
    with pytest.raises(ValueError, match=r"`answer_map` must have the axes .* but has \('token', 'time'\)"):
        question_png(fitting, time_map(), photo, path)
    with pytest.raises(ValueError, match="`picture` must be the map's source"):
        question_png(fitting, fitting, photo.rotate(90, expand=True), path)
    with pytest.raises(ValueError, match="`geometry` of the map must say where"):
        question_png(fitting, words_map(VALUES, TEXTS, None), photo, path)
    assert not path.exists()
