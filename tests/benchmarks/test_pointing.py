"""What the pointing benchmark counts: maps that are made to point, and maps that are made to miss."""

import re

import numpy as np

from multiattn.data.questions import Question
from multiattn.inputs import Geometry
from multiattn.maps import AttentionMap
from multiattn.maps.attention_map import Axis
from tests.benchmarks.pointing import Asked, Table, main, patches_touching, score
from tests.fixtures import save_tiny_answerer


def over(rows, columns, geometry):
    axes = (Axis("word", "word"), Axis("y", "patch"), Axis("x", "patch"))
    values = np.zeros((1, rows, columns), np.float32)
    return AttentionMap(values, axes, "attention", ("question.blocks.0.cross",), None, geometry, None)


def test_patches_that_touch_lie_where_the_geometry_says():
    """A source of 60 x 100, resized to 30 x 50, of which columns 5 to 45 are seen in patches of 10."""
    seen = over(3, 4, Geometry((60, 100), (30, 50), (0, 5, 30, 40)))
    touching = patches_touching(seen, [(28.0, 21.0, 42.0, 58.0)])  # patches begin at 10, 30, 50, 70 and 0, 20, 40
    assert np.argwhere(touching).tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]
    touching = patches_touching(seen, [(11.0, 1.0, 12.0, 2.0), (80.0, 50.0, 80.0, 50.0)])
    assert np.argwhere(touching).tolist() == [[0, 0], [2, 3]]


def test_rows_and_columns_of_the_table(capsys):
    """Two questions, each with a map that points at its own thing; one of them is answered wrong."""

    def asked(kind, place, right):
        inside = np.zeros((2, 2), bool)
        inside[place] = True
        box = (float(place[1]), float(place[0]), 1.0, 1.0)
        question = Question("where?", ("here",), kind, boxes=(box,))
        return Asked(question, right, inside, inside, {"relevance": inside * 1.0, "random map": np.ones((2, 2))})

    table = Table()
    score(table, [asked("size", (0, 1), True), asked("shape", (1, 0), False)])
    table.show()
    rows = {line[:34].strip(): line[34:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows == {
        "": ["all", "touching", "right", "shape", "size"],
        "relevance": ["1.000"] * 5,
        "random map": ["0.250"] * 5,
        "relevance, of another question": ["0.000"] * 5,
        "questions": ["2", "2", "1", "1", "1"],
    }


def test_a_model_and_a_folder_of_scenes_make_a_table(tmp_path, capsys):
    """The random model points no better than anything; what is checked is that all of it goes together."""
    from multiattn.data.scene_files import main as write

    write(["--out", str(tmp_path), "--pictures", "3", "--questions", "5", "--split", "validation"])
    capsys.readouterr()
    model = save_tiny_answerer(tmp_path / "model")
    main(["--data", str(tmp_path), "--model", str(model), "--methods", "attention", "rollout", "--pictures", "2"])
    text = capsys.readouterr().out
    assert text.startswith("2 pictures of validation, 10 questions, ")
    rows = re.findall(r"^(attention|rollout|random map|center map|questions) +([\d.]+)", text, re.M)
    assert [name for name, _ in rows] == ["attention", "rollout", "random map", "center map", "questions"]
    assert all(0 <= float(share) <= 1 for _, share in rows[:-1])
    assert 0 < float(rows[2][1]) < 0.5 and 0 < int(rows[-1][1]) <= 10
