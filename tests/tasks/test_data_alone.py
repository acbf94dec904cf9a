"""A data module makes batches without a task and a trainer, by the defaults of its contract."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multiattn.errors import ModelError
from multiattn.tasks import AnswerData, CaptionData, ClassifyData, ClassifyTask, TranscribeData

from .asked import draw_asked
from .attach import grouped
from .captioned import draw_captioned
from .conftest import draw_folder
from .spoken import draw_spoken

SIZES = {"train": 7, "validation": 3}
SMALL = grouped(batch_size=5, num_workers=0)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[..., Path]], Path]:
    return lambda draw: draw(tmp_path_factory.mktemp("alone"), sizes=SIZES)


def first(data: Any) -> tuple[Any, Any]:
    """A training batch and a validation batch."""
    data.setup("fit")
    return next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))


def test_labeled_images(roots: Any) -> None:
    for batch, count in zip(first(ClassifyData(str(roots(draw_folder)), **SMALL)), (5, 5), strict=True):
        assert batch.images.shape == (count, 3, 224, 224) and batch.labels.shape == (count,)


def test_captioned_images(roots: Any) -> None:
    data = CaptionData(str(roots(draw_captioned)), vocab_size=61, **SMALL)
    for batch, count in zip(first(data), (5, 3), strict=True):
        assert batch.images.shape == (count, 3, 224, 224)
        assert "disc" in data.tokenizer.decode(batch.tokens[0].tolist()) or "something" in batch.texts[0][1]
    assert data.facts().tokenizer is data.tokenizer
    assert len(data.facts().references()) == 7


def test_images_with_questions(roots: Any) -> None:
    data = AnswerData(str(roots(draw_asked)), vocab_size=61, questions_per_picture=2, **SMALL)
    for batch, (images, rows) in zip(first(data), ((5, 10), (3, 9)), strict=True):
        assert batch.images.shape == (images, 3, 224, 224)
        assert batch.targets.shape == (rows, len(data.facts().answers))


def test_recordings(roots: Any) -> None:
    data = TranscribeData(str(roots(draw_spoken)), vocab_size=31, **SMALL)
    for batch, count in zip(first(data), (5, 3), strict=True):
        assert batch.features.shape[:2] == (count, 80) and batch.tokens.shape[0] == count
        assert data.tokenizer.decode(batch.tokens[0][batch.attention_mask[0]].tolist()).split()


def test_features_need_the_encoder_of_a_task(roots: Any, tmp_path: Path) -> None:
    data = CaptionData(str(roots(draw_captioned)), features=str(tmp_path), **SMALL)
    with pytest.raises(ModelError, match="`features` must come with a task, whose encoder computes them"):
        data.train_dataloader()


def test_a_task_refuses_the_data_of_another() -> None:
    task = ClassifyTask()
    task._trainer = SimpleNamespace(datamodule=CaptionData("data"))
    with pytest.raises(ModelError, match="`data` must be a data module for the task classify, but is CaptionData"):
        task.configure_model()
