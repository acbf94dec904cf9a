"""Pictures that cannot be used are named, counted and replaced, in whatever process they are met."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from multiattn.data.image_folder import ClassificationRecords
from multiattn.errors import InputError, ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.tasks import ClassifyData
from multiattn.tasks.contracts import ClassifyNeeds
from multiattn.tasks.loading.loader import UnreadableFiles
from multiattn.tasks.loading.pictures import EvaluationPictures, TrainingPictures, collate_pictures
from multiattn.tasks.loading.transforms import Augmentation, training_transform
from multiattn.tasks.parts import check_trainable

from .attach import grouped, in_process

PREPROCESSING = ImagePreprocessing((211, 211), 211, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def thin_and_good(tmp_path: Path) -> ClassificationRecords:
    """The first is 21 million pixels long once it is 211 high."""
    Image.new("RGB", (100_000, 1)).save(tmp_path / "thin.png")
    Image.new("RGB", (17, 13)).save(tmp_path / "good.png")
    return ClassificationRecords(((tmp_path / "thin.png", 0), (tmp_path / "good.png", 1)), ("a", "b"))


def test_a_long_thin_picture_is_skipped_in_evaluation(thin_and_good: ClassificationRecords) -> None:
    thin, good = (EvaluationPictures(thin_and_good, PREPROCESSING)[i] for i in (0, 1))
    assert thin.content is None
    assert thin.unreadable[0][0].endswith("thin.png")
    assert "must not be so long and thin, but is 100000 x 1 instead" in thin.unreadable[0][1]
    assert good.content is not None
    assert good.unreadable == ()


@pytest.mark.parametrize("cache_side", [None, 19])
def test_a_long_thin_picture_is_replaced_in_training(
    cache_side: int | None, thin_and_good: ClassificationRecords
) -> None:
    transform = training_transform(Augmentation(crop="none"), PREPROCESSING)
    sample = TrainingPictures(thin_and_good, transform, seed=3, cache_side=cache_side)[0, 0]
    assert sample.content is not None
    assert (sample.label, sample.position) == (1, 1)
    assert sample.unreadable[0][0].endswith("thin.png")


def test_pictures_for_a_model_of_one_channel(tmp_path: Path) -> None:
    """The luminance, in training as in evaluation; a model of four is refused, as transparency is not read."""
    Image.new("RGB", (17, 13), (200, 30, 90)).save(tmp_path / "a.png")
    records = ClassificationRecords(((tmp_path / "a.png", 0),), ("a",))
    gray = ImagePreprocessing((11, 11), (11, 11), "bicubic", (0.4,), (0.2,))
    varied = Augmentation(crop="resized", rand_augment="rand-m2-n1", erasing=0.0)
    exact, seen = Augmentation(crop="none", flip=0.0), EvaluationPictures(records, gray)[0]
    assert seen.content is not None and seen.content.shape == (1, 11, 11)
    for augmentation in (exact, varied):
        sample = TrainingPictures(records, training_transform(augmentation, gray), seed=3)[0, 0]
        assert sample.content is not None and sample.content.shape == (1, 11, 11)
        if augmentation is exact:
            torch.testing.assert_close(sample.content, seen.content, rtol=0, atol=1e-5)
    assert collate_pictures([], size=(11, 11), channels=1).images.shape == (0, 1, 11, 11)
    with pytest.raises(ModelError, match="`pretrained` must be a model of 1 or 3 channels, .* but has 4 instead"):
        check_trainable(replace(gray, mean=(0.5,) * 4, std=(0.5,) * 4), source="pretrained")


def test_the_main_process_stops_where_nothing_can_be_read(tmp_path: Path) -> None:
    records = ClassificationRecords(((tmp_path / "gone.png", 0),), ("a",))
    sample = TrainingPictures(records, training_transform(Augmentation(), PREPROCESSING), seed=3)[0, 0]
    batch = collate_pictures([sample], size=PREPROCESSING.size)
    unreadable = UnreadableFiles("train", 1, max_share=1, kind="pictures")
    with pytest.warns(UserWarning, match="Skipped, 1 of 1 pictures in train"):
        unreadable.note(batch)
    with pytest.raises(InputError, match=r"pictures in a row cannot be read in train, the last one is .*gone\.png: "):
        unreadable.note(batch, wanted=1)


def part_of(root: Path, *, rank: int, max_bad_share: float) -> ClassifyData:
    """The data as the process `rank` of two has it."""
    data = ClassifyData(str(root), **grouped(batch_size=2, num_workers=0, max_bad_share=max_bad_share))
    data.needs = ClassifyNeeds(PREPROCESSING)
    return in_process(data, rank=rank, world=2)


@pytest.fixture
def two_damaged(tmp_path: Path) -> Callable[..., ClassifyData]:
    """Ten pictures, of which the second process has five, two of them damaged."""
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (7, 5)).save(tmp_path / split / "a" / f"{i}.png")
    for i in (3, 7):
        (tmp_path / "test" / "a" / f"{i}.png").write_bytes(b"")
    return lambda **options: part_of(tmp_path, **options)


def test_each_process_names_what_it_has_met(
    two_damaged: Callable[..., ClassifyData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    loader = two_damaged(rank=1, max_bad_share=0.5).test_dataloader()
    with pytest.warns(UserWarning, match="of 5 pictures in the part of test that falls to process 1") as caught:
        assert sum(len(batch.labels) for batch in loader) == 3
    assert len(caught) == 2


@pytest.mark.filterwarnings("ignore:Skipped")
def test_the_share_is_of_the_part_of_the_process(two_damaged: Callable[..., ClassifyData]) -> None:
    with pytest.raises(InputError, match="2 of 5 pictures in the part of test"):  # 2 of 10 would be allowed
        list(two_damaged(rank=1, max_bad_share=0.3).test_dataloader())
