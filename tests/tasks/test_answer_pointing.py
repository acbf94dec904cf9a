"""Teaching the answer where to look: which patches a question is about, the loss, and a training with it."""

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.data.questions import Question, QuestionRecords, read_questions
from multiattn.errors import ModelError
from multiattn.pipelines import AnswerPipeline
from multiattn.tasks import AnswerTask
from multiattn.tasks.loading.box_patches import BoxPatches, box_patches
from multiattn.tasks.losses import bag_of_words_loss, pointing_loss
from multiattn.tasks.parts import VisionEncoder
from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .conftest import logged

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

MODEL = """
model:
  class_path: multiattn.tasks.AnswerTask
  init_args:
    vision:
      preset: compact
      image_size: 24
      overrides: {dim: 16, depth: 1, num_heads: 2, mlp_dim: 16, stem: patch, patch_size: 8, stem_channels: [],
                  stem_strides: []}
    question: {dim: 16, depth: 2, num_heads: 2, mlp_dim: 16, max_length: 16}
    head_dim: 16
    bag_of_words_weight: 1.0
    pointing_weight: 4.0
    optimization: {lr: 3.0e-2, warmup_epochs: 0}
data:
  class_path: multiattn.tasks.AnswerData
  init_args: {root: ROOT, batches: {size: 7, num_workers: 0}, vocab_size: 300}
trainer: {default_root_dir: RUN, max_epochs: 25, accelerator: cpu, enable_progress_bar: false}
"""


def write_pictures(folder, count=14, *, boxes=True):
    """A dark square in one of nine places, which the question is said to be about; the answer is in the background.

    So nothing but being taught makes a model look at the square.
    """
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        y, x = divmod(number * 2 % 9, 3)
        pixels = np.full((48, 72, 3), 230 if number % 2 else 150, np.uint8)
        pixels[16 * y : 16 * y + 16, 24 * x : 24 * x + 24] = 20
        Image.fromarray(pixels).save(folder / f"{number}.png")
        row = {"file_name": f"{number}.png", "question": "is it light", "answer": "yes" if number % 2 else "no"}
        lines.append(row | ({"boxes": [[24 * x, 16 * y, 24 * x + 24, 16 * y + 16]]} if boxes else {}))
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_patches_are_those_whose_middles_are_in_a_box():
    inside = box_patches([(0, 0, 5, 5), (30, 10, 44, 30)], (60, 30), (3, 5))
    expected = np.zeros((3, 5), bool)
    for row in range(3):
        for col in range(5):
            x, y = 12 * col + 6, 10 * row + 5  # pixels: patches are 12 wide and 10 high
            expected[row, col] = (x <= 5 and y <= 5) or (30 <= x <= 44 and 10 <= y <= 30)
    assert (inside == expected).all() and inside.sum() == 4
    assert not box_patches([], (60, 30), (3, 5)).any()


def test_places_know_each_question_s_patches(tmp_path):
    write_pictures(tmp_path / "train")
    with (tmp_path / "train" / "metadata.jsonl").open("a") as file:
        file.write(json.dumps({"file_name": "0.png", "question": "is it round", "answer": "no", "boxes": []}) + "\n")
        file.write(json.dumps({"file_name": "lost.png", "question": "is it", "answer": "no", "boxes": [[0, 0, 9, 9]]}))
    records = read_questions(str(tmp_path), "train")
    places = BoxPatches(records, (3, 3))
    by_name = {path.name: item for item, (path, _) in enumerate(records.items)}
    for number in range(14):
        about, named = places.inside(by_name[f"{number}.png"], 0)
        assert not named.any()
        for inside in about:
            assert inside.sum() == 1 and inside[divmod(number * 2 % 9, 3)]
    assert not places.inside(by_name["0.png"], 1).any()
    assert places.inside(by_name["lost.png"], 0).shape == (2, 2, 3, 3)  # whoever opens it names it


def test_two_things_are_kept_apart_and_more_are_not(tmp_path):
    Image.new("RGB", (30, 30)).save(tmp_path / "1.png")
    boxes = ((0, 0, 10, 10), (20, 0, 30, 10), (10, 20, 20, 30))
    about = [Question("which", ("a",), boxes=boxes[:count]) for count in (1, 2, 3)]
    asked = (*about, Question("which", ("a",), boxes=boxes[:1], named=boxes[:0:-1]))
    places = BoxPatches(QuestionRecords(((tmp_path / "1.png", asked),)), (3, 3))
    found = [places.inside(0, number).reshape(4, 9) for number in range(4)]
    assert [[np.flatnonzero(half).tolist() for half in one] for one in found] == [
        [[0], [0], [], []],
        [[0], [2], [], []],
        [[0, 2, 7], [0, 2, 7], [], []],
        [[0], [0], [7], [2]],
    ]


def test_the_loss_is_the_share_that_goes_elsewhere():
    last = torch.tensor([[[[0.5, 0.1, 0.2, 0.2]], [[0.3, 0.3, 0.1, 0.3]]], [[[0.0, 1.0, 0.0, 0.0]]] * 2])
    before = torch.tensor([[[[0.0, 0.7, 0.2, 0.1]], [[0.6, 0.0, 0.0, 0.4]]], [[[0.0, 0.0, 1.0, 0.0]]] * 2])
    first, second, none = [[True, False, True]], [[False, True, False]], [[False] * 3]
    inside = torch.tensor([[[first, second], [second, first]], [[none, none], [none, none]]])
    loss = pointing_loss((before, last), inside, weights=torch.tensor([1.0, 1.0]))
    of_last = -(math.log(0.1 + 0.2) + math.log(0.1)) / 2  # the first token stands for no patch
    of_before = -(math.log(0.2) + math.log(0.4)) / 2
    assert float(loss) == pytest.approx(of_last + of_before)
    assert float(pointing_loss((last,), inside, weights=torch.tensor([1.0, 1.0]))) == pytest.approx(of_last)
    assert float(pointing_loss((before, last), inside, weights=torch.tensor([0.0, 1.0]))) == 0
    one_head = pointing_loss((last[:, :1],), inside, weights=torch.tensor([1.0, 1.0]))
    assert float(one_head) == pytest.approx(-math.log(0.1 + 0.2))


def test_the_reading_loss_is_nothing_where_all_words_are_told_alike():
    embedding = torch.eye(11)
    questions = torch.tensor([[1, 7, 5, 7, 2, 0], [1, 9, 6, 4, 8, 2]])  # one word comes twice
    attention_mask = torch.tensor([[True] * 5 + [False], [True] * 6])
    told = torch.full((2, 11), -40.0)
    told[0, [5, 7]] = 0.0
    told[1, [4, 6, 8, 9]] = torch.tensor([0.0, 0.0, math.log(2), 0.0])
    each = [
        float(bag_of_words_loss(told, embedding, questions, attention_mask, weights=torch.tensor(counted)))
        for counted in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])
    ]
    of_second = -(3 * math.log(4 / 5) + math.log(8 / 5)) / 4
    assert each == pytest.approx([0.0, of_second, of_second / 2], abs=1e-6)
    told.requires_grad_()
    bag_of_words_loss(told, embedding, questions, attention_mask, weights=torch.ones(2)).backward()
    assert told.grad[0, 7] == pytest.approx(0, abs=1e-6) and told.grad[1, 8] > 0 > told.grad[1, 4]


@pytest.mark.slow
def test_a_training_learns_to_look_there(tmp_path, capsys):
    write_pictures(tmp_path / "train")
    write_pictures(tmp_path / "validation", 9)
    config = tmp_path / "c.yaml"
    config.write_text(MODEL.replace("ROOT", str(tmp_path)).replace("RUN", str(tmp_path / "run")))
    assert main(["fit", "--config", str(config)]) == 0
    read = list(logged(tmp_path / "run", "train/reading_loss").values())
    assert read[-1] < read[0] / 3
    bundle = load_bundle(str(tmp_path / "run" / "model"))
    assert bundle.decoding["pointing_heads"] == ((1, 0), (1, 1))
    answering = AnswerPipeline(bundle, device="cpu")
    right = 0
    for number in range(9):
        answer = answering(tmp_path / "validation" / f"{number}.png", "is it light", maps="attention")
        values = answer.maps[0].map.values.sum(axis=0)
        right += np.unravel_index(values.argmax(), values.shape) == divmod(number * 2 % 9, 3)
    assert right >= 8  # a ninth by chance


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("boxes", "questions must have `boxes` for `pointing_weight`, but none has any"),
        ("flip", r"`augmentation` must leave things where they are \(crop: none, flip: 0\) for `pointing_weight`"),
    ],
)
def test_what_cannot_be_pointed_at_is_refused(tmp_path, capsys, change, message):
    write_pictures(tmp_path / "train", boxes=change != "boxes")
    write_pictures(tmp_path / "validation", 3)
    config = tmp_path / "c.yaml"
    config.write_text(MODEL.replace("ROOT", str(tmp_path)).replace("RUN", str(tmp_path / "run")))
    options = ["--data.init_args.augmentation.flip", "0.5"] if change == "flip" else []
    assert main(["fit", "--config", str(config), *options]) != 0
    assert re.search(message, capsys.readouterr().err)


def test_only_a_list_can_be_taught_where_to_look():
    question = {"dim": 16, "depth": 1, "num_heads": 2, "mlp_dim": 16}
    decoder = {"dim": 16, "num_heads": 2}
    for name in ("bag_of_words_weight", "pointing_weight"):
        with pytest.raises(ModelError, match=f"`{name}` must be 0 where a decoder answers"):
            AnswerTask(
                vision=VisionEncoder(preset="compact"),
                question=question,
                answer="decoder",
                decoder=decoder,
                **{name: 1.0},
            )
        with pytest.raises(ModelError, match=f"`{name}` must be at least 0 and finite, but is -1.0"):
            AnswerTask(vision=VisionEncoder(preset="compact"), question=question, answer="closed", **{name: -1.0})
    with pytest.raises(ModelError, match="`pointing_weight` must be 0 where the model is compiled"):
        AnswerTask(
            vision=VisionEncoder(preset="compact"),
            question=question,
            answer="closed",
            pointing_weight=1.0,
            compile=True,
        )
