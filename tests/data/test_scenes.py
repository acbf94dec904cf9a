"""Drawn scenes and their questions: a naive solver that reads the words must find the same one answer."""

import json
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations
from random import Random

import numpy as np
import pytest
from PIL import Image

from multiattn.data.scene_files import main, scenes_with_questions, write_scenes
from multiattn.data.scene_questions import PHRASINGS, TYPES, Questioner
from multiattn.data.scenes import COLORS, SHAPES, SIDE, SIZES, Scene, Thing, draw_scene, paint
from multiattn.errors import InputError

COUNT, QUESTIONS = 211, 13


@cache
def asked():
    return list(scenes_with_questions("train", COUNT, questions=QUESTIONS, seed=3))


def thing(shape="circle", size="small", color="red", *, x, y, reach=5.5):
    return Thing(shape, size, color, x, y, reach)


def named(scene, words):
    """The things that words such as "small red circle" or "objects" mean."""
    nouns = {f"{shape}{end}": shape for shape in SHAPES for end in ("", "s", "es")}
    found = []
    for one in scene.things:
        fits = True
        for word in words.split():
            if word in nouns:
                fits &= one.shape == nouns[word]
            elif word not in ("object", "objects"):
                fits &= word in (one.size, one.color)
        if fits:
            found.append(one)
    return found


def only(scene, words):
    (one,) = named(scene, words)
    return one


PLACES = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1), "under": (1, 1)}


def moved(one, other, words):
    """How far one thing lies from another into the direction that the words name, in pixels."""
    axis, sign = PLACES[words.removeprefix("to the ")]
    return sign * ((one.x, one.y)[axis] - (other.x, other.y)[axis])


WAYS = "to the left of|to the right of|left of|right of|above|below|under"


def solve(scene, text):
    """Answer, the things it is about, and those that are singled out; None where the words match no rule."""
    for pattern, rule in RULES:
        if found := re.fullmatch(pattern, text):
            return rule(scene, *found.groups())
    return None


def one_look(look):
    def rule(scene, words):
        one = only(scene, words)
        return getattr(one, look), [one], [one]

    return rule


def exist(scene, words):
    found = named(scene, words)
    return ("yes" if found else "no"), found, []


def count(scene, words):
    found = named(scene, words)
    return str(len(found)), found, []


def beside_look(look):
    def rule(scene, way, words):
        other = only(scene, words)
        places = [(moved(one, other, way), one) for one in scene.things if one is not other]
        assert not any(2 < distance < 6 for distance, _ in places), "in doubt"
        ((_, there),) = [place for place in places if place[0] > 2]
        return getattr(there, look), [there], [other]

    return rule


def is_beside(scene, first, way, second):
    one, other = only(scene, first), only(scene, second)
    assert one is not other
    distance = moved(one, other, way)
    assert not 2 < distance < 6, "in doubt"
    # the one that is said to lie further left, or higher, comes first
    about = [one, other] if PLACES[way.removeprefix("to the ")][1] < 0 else [other, one]
    return ("yes" if distance > 2 else "no"), about, [one, other]


def half(axis, near, far):
    def rule(scene, words):
        one = only(scene, words)
        place = (one.x, one.y)[axis] - 32
        assert abs(place) >= 5, "in doubt"
        return (far if place > 0 else near), [one], [one]

    return rule


def corner(scene, words):
    one = [only(scene, words)]
    return f"{half(1, 'top', 'bottom')(scene, words)[0]} {half(0, 'left', 'right')(scene, words)[0]}", one, one


RULES = [
    *(
        (form.format(look, WAYS), beside_look(look))
        for look in ("color", "shape")
        for form in (r"what {} is the object ({}) the (.*)\?", r"what is the {} of the object ({}) the (.*)\?")
    ),
    *(
        (form.format(look), one_look(look))
        for look in ("color", "shape", "size")
        for form in (
            r"what {} is the (.*)\?",
            r"what is the {} of the (.*)\?",
            r"which {} does the (.*) have\?",
        )
    ),
    (r"is the (.*) small or large\?", one_look("size")),
    (r"is there a (.*) in the picture\?", exist),
    (r"is there a (.*)\?", exist),
    (r"does the picture contain a (.*)\?", exist),
    (r"can you see a (.*)\?", exist),
    (r"how many (.*) are there\?", count),
    (r"how many (.*) are in the picture\?", count),
    (r"what is the number of (.*)\?", count),
    (r"is the (.*) on the left or on the right\?", half(0, "left", "right")),
    (r"where is the (.*), on the left or on the right\?", half(0, "left", "right")),
    (r"is the (.*) at the top or at the bottom\?", half(1, "top", "bottom")),
    (r"where is the (.*), at the top or at the bottom\?", half(1, "top", "bottom")),
    (r"where is the (.*)\?", corner),
    (r"in which part of the picture is the (.*)\?", corner),
    (rf"is the (.*?) ({WAYS}) the (.*)\?", is_beside),
    (rf"does the (.*?) lie ({WAYS}) the (.*)\?", is_beside),
]


def test_a_naive_solver_that_reads_the_words_finds_the_same_answer():
    for scene, questions in asked():
        for question in questions:
            found = solve(scene, question.text)
            assert found is not None, question.text
            answer, about, named_things = found
            assert answer == question.answers[0], (question, scene)
            for things, boxes in ((about, question.boxes), (named_things, question.named)):
                # of many things the order says nothing
                ordered = list if len(things) == 2 and question.type == "relation" else sorted
                assert ordered(one.box for one in things) == ordered(boxes), (question, scene)


def test_every_form_and_type_is_asked():
    texts = [question for _, questions in asked() for question in questions]
    assert {question.type for question in texts} == set(TYPES)
    patterns = [re.sub(r"\{\d?\}", ".*", way).replace("?", r"\?") for ways in PHRASINGS.values() for way in ways]
    assert not [p for p in patterns if not any(re.fullmatch(p, question.text) for question in texts)]
    shares = Counter(question.type for question in texts)
    for kind, of_twelve in TYPES.items():
        assert shares[kind] / len(texts) == pytest.approx(of_twelve / 12, abs=0.005)


def test_no_question_comes_twice_about_one_picture():
    for _, questions in asked():
        assert len(questions) == QUESTIONS
        assert len({question.text for question in questions}) == QUESTIONS


def test_answers_are_few_and_balanced():
    answers = defaultdict(Counter)
    for _, questions in asked():
        for question in questions:
            answers[question.type][question.answers[0]] += 1
    assert len(set().union(*answers.values())) <= 30
    assert set(answers["count"]) == set("012345")
    for kind in ("color", "shape", "size", "exist"):
        found = answers[kind].values()
        assert max(found) / min(found) < 1.35, (kind, answers[kind])
    assert answers["relation"]["yes"] / answers["relation"]["no"] == pytest.approx(1, abs=0.05)
    assert max(answers["count"].values()) / answers["count"].total() < 0.35


def test_the_words_alone_hardly_help():
    """The most frequent answer to the same words in other scenes is right little more often than guessing is."""
    known, right, total = defaultdict(Counter), Counter(), Counter()
    for split in ("train", "validation"):
        for _, questions in scenes_with_questions(split, 307, questions=12, seed=5):
            for question in questions:
                if split == "train":
                    known[question.text][question.answers[0]] += 1
                elif seen := known[question.text]:
                    total[question.type] += 1
                    right[question.type] += seen.most_common(1)[0][0] == question.answers[0]
    for kind, chance in {"color": 1 / 7, "shape": 1 / 4, "size": 1 / 2, "exist": 1 / 2}.items():
        assert right[kind] / total[kind] < chance + 0.1, (kind, right[kind], total[kind])


def test_things_are_large_enough_inside_and_do_not_touch():
    sizes = Counter()
    for scene, _ in asked():
        assert 2 <= len(scene.things) <= 5
        for one in scene.things:
            x0, y0, x1, y1 = one.box
            sizes[one.size] += 1
            assert min(x0, y0) >= 1.9 and max(x1, y1) <= SIDE - 1.9
            assert min(x1 - x0, y1 - y0) >= 8
            assert max(x1 - x0, y1 - y0) / 2 == pytest.approx(one.reach, abs=0.11)
            assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((one.x, one.y), abs=0.11)
        for one, other in combinations(scene.things, 2):
            apart = max(
                one.box[0] - other.box[2],
                other.box[0] - one.box[2],
                one.box[1] - other.box[3],
                other.box[1] - one.box[3],
            )
            assert apart >= 1.8
    assert min(sizes.values()) / sizes.total() > 0.3
    assert max(SIZES["small"]) + 2 < min(SIZES["large"])


@pytest.mark.parametrize("shape", SHAPES)
def test_paint_fills_the_box_and_nothing_else(shape):
    one = Thing(shape, "large", "blue", 23.3, 37.9, 9.7, turn=11.0)
    pixels = np.asarray(paint(Scene((one,), (225, 220, 230), grain=5)), np.float32)
    there = np.abs(pixels - COLORS["blue"]).sum(-1) < np.abs(pixels - (225, 220, 230)).sum(-1)
    rows, columns = np.nonzero(there)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found == pytest.approx(one.box, abs=1.1)
    inside = there.sum() / (one.box[2] - one.box[0]) / (one.box[3] - one.box[1])
    low, high = {"circle": (0.74, 0.82), "square": (0.7, 0.8), "triangle": (0.4, 0.55), "cross": (0.4, 0.58)}[shape]
    assert low < inside < high


def test_every_color_is_told_from_the_others_and_from_the_ground():
    """A thing's middle is nearest to the color it is called by."""
    for scene, _ in asked()[:53]:
        pixels = np.asarray(paint(scene), np.float32)
        assert pixels.shape == (SIDE, SIDE, 3)
        for one in scene.things:
            middle = pixels[int(one.y) - 1 : int(one.y) + 2, int(one.x) - 1 : int(one.x) + 2].mean((0, 1))
            distances = {name: np.abs(middle - value).sum() for name, value in COLORS.items()}
            assert min(distances, key=distances.get) == one.color
            assert np.abs(middle - scene.ground).sum() > 60


def test_a_scene_with_nothing_to_tell_apart_is_asked_only_what_is_clear():
    scene = Scene((thing(x=20, y=32), thing(x=44, y=32)), (220, 220, 220))
    questions = Questioner().ask(scene, 1000, Random(7))
    assert {question.type for question in questions} == {"exist", "count"}
    assert len(questions) == len({question.text for question in questions}) < 1000


def test_places_in_doubt_are_not_asked_for():
    scene = Scene((thing(x=32, y=34), thing("square", x=36, y=50)), (220, 220, 220))
    texts = [question.text for question in Questioner().ask(scene, 1000, Random(7))]

    def asked_for(*words):
        return [text for text in texts if all(re.search(rf"\b{word}\b", text) for word in words)]

    assert not asked_for("circle .*left of", "square") + asked_for("square .*right of", "circle")  # by four pixels?
    assert asked_for("circle .*right of", "square") and asked_for("square .*left of", "circle")  # surely not
    assert asked_for("circle .*above", "square") and asked_for("square .*above", "circle")
    assert not asked_for("circle", "top") + asked_for("square", "left or")  # in the middle of the picture
    assert asked_for("square", "top")


def test_the_same_seed_writes_the_same_files_and_another_split_others(tmp_path):
    arguments = ["--pictures", "7", "--questions", "5", "--seed", "11"]
    for folder, split in (("a", "train"), ("b", "train"), ("a", "validation")):
        main(["--out", str(tmp_path / folder), "--split", split, *arguments])
    first, again, other = (tmp_path / name for name in ("a/train", "b/train", "a/validation"))
    names = sorted(path.name for path in first.iterdir())
    assert names == [*(f"{number:06}.png" for number in range(7)), "metadata.jsonl"]
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert not any((first / name).read_bytes() == (other / name).read_bytes() for name in names)
    rows = [json.loads(line) for line in (first / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 35
    for row, question in zip(
        rows,
        (q for _, questions in scenes_with_questions("train", 7, questions=5, seed=11) for q in questions),
        strict=True,
    ):
        assert list(row) == ["file_name", "question", "answer", "type", "boxes", "named"]
        assert (row["question"], (row["answer"],), row["type"]) == question[:3]
        assert [tuple(box) for box in row["boxes"]] == list(question.boxes)
        assert [tuple(box) for box in row["named"]] == list(question.named)
    with Image.open(first / names[0]) as picture:
        assert picture.size == (SIDE, SIDE)


def test_a_scene_does_not_depend_on_how_many_are_drawn():
    scenes = [scene for scene, _ in scenes_with_questions("train", 5, questions=2, seed=3)]
    assert scenes == [scene for scene, _ in asked()[:5]]
    assert draw_scene(Random(1)) == draw_scene(Random(1)) != draw_scene(Random(2))


@pytest.mark.parametrize("name", ["pictures", "questions"])
def test_a_number_below_one_is_refused(name, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--out", str(tmp_path), f"--{name}", "0"])
    assert f"argument --{name}: must be at least 1, but is 0 instead" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "train").write_text("in the way")
    with pytest.raises(SystemExit, match=r"train: pictures cannot be written here: "):
        main(["--out", str(tmp_path), "--pictures", "1"])


def test_types_can_be_chosen():
    asked = [
        question
        for _, found in scenes_with_questions("train", 7, questions=5, seed=11, types=("count",))
        for question in found
    ]
    assert len(asked) == 35 and {question.type for question in asked} == {"count"}


def test_a_data_set_is_written_whole_or_not_at_all(tmp_path):
    def scenes(count, fails):
        yield from scenes_with_questions("train", count, questions=1, seed=0)
        if fails:
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write_scenes(scenes(1, True), tmp_path / "train")
    assert not (tmp_path / "train").exists()
    write_scenes(scenes(1, False), tmp_path / "train")
    before = {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()}
    assert sorted(before) == ["000000.png", "metadata.jsonl"]
    with pytest.raises(InputError, match="No space left on device"):
        write_scenes(scenes(2, True), tmp_path / "train")
    assert {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()} == before
