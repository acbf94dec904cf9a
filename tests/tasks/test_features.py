"""Features on disk: those that the encoder gives, whatever happened on the way, and never those of another."""

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.data.captions import CaptionRecords, read_captions
from multiattn.errors import InputError, ModelError
from multiattn.inputs import load_image
from multiattn.models import ViT
from multiattn.tasks.loading.feature_store import FeatureStore
from multiattn.tasks.loading.picture_features import PictureEncoding, PictureFeatures

from .test_caption_data import DAMAGED, PREPROCESSING, captioned, damaged, encoder, epoch_of, make, same

__all__ = ["captioned", "damaged"]  # fixtures


def store_of(root: Path, folder: Path, *, model: ViT | None = None, views: int = 2, **changes: Any) -> FeatureStore:
    records = read_captions(root, "train")
    preprocessing = replace(PREPROCESSING, **changes)
    model = model or encoder()
    encoding = PictureEncoding(records, preprocessing, model, views=views)
    return FeatureStore(folder, "train", encoder=model, encoding=encoding)


def prepared(root: Path, folder: Path, **options: Any) -> FeatureStore:
    store = store_of(root, folder, **options)
    store.prepare(encoder(), batch_size=3, num_workers=0)
    return store


class Counting(ViT):
    """Counts the pictures it sees, and fails at one of them."""

    seen = 0
    fails_at = -1

    def features(self, images: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        if 0 <= self.fails_at <= self.seen:
            raise KeyboardInterrupt
        self.seen += len(images)
        return super().features(images)


def counting(*, fails_at: int = -1) -> Counting:
    model = Counting(encoder().config)
    model.load_state_dict(encoder().state_dict())
    model.fails_at = fails_at
    return model


def test_the_features_are_the_encoders(captioned, tmp_path) -> None:
    store, model = prepared(captioned, tmp_path), encoder().eval()
    assert (store.encoding.rows, store.encoding.width) == (1 + 2 * 3, 14)
    for index, (path, _) in enumerate(store.records.items):
        picture = load_image(path)
        for view, seen in (("plain", picture), ("mirrored", picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
            with torch.no_grad():
                expected = model.features(PREPROCESSING(seen)[0][None])[0]
            found = store.read(index, view)
            assert found.dtype == torch.float16
            torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-3)


def test_the_encoder_and_the_random_numbers_stay_as_they_were(captioned, tmp_path) -> None:
    model = encoder().train()
    state = torch.get_rng_state()
    store_of(captioned, tmp_path).prepare(model, batch_size=3, num_workers=1)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert not any(p.is_inference() or p.grad is not None for p in model.parameters())


def test_what_is_there_is_not_computed_again(captioned, tmp_path, capsys) -> None:
    prepared(captioned, tmp_path, views=1)
    assert "features of train (plain): 13 of 13 pictures," in capsys.readouterr().err
    model = counting()
    store_of(captioned, tmp_path, views=1).prepare(model, batch_size=3, num_workers=0)
    assert model.seen == 0
    store_of(captioned, tmp_path, views=2).prepare(model, batch_size=3, num_workers=0)
    assert model.seen == 13
    assert "plain" not in capsys.readouterr().err


@pytest.mark.parametrize("saves", [True, False])
def test_it_goes_on_after_a_kill(saves, captioned, tmp_path, monkeypatch) -> None:
    expected = prepared(captioned, tmp_path / "whole")
    monkeypatch.setattr("multiattn.tasks.loading.feature_store._SAVE_EVERY", -1.0 if saves else 1e9)
    store = store_of(captioned, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        store.prepare(counting(fails_at=6), batch_size=3, num_workers=0)
    with (store.folder / "plain.npy").open("ab") as file:  # what was written, but not noted, counts for nothing
        file.write(b"garbage")
    model = counting()
    store.prepare(model, batch_size=5, num_workers=0)
    assert model.seen == (7 if saves else 13) + 13
    for view in ("plain", "mirrored"):
        assert (store.folder / f"{view}.npy").stat().st_size == (expected.folder / f"{view}.npy").stat().st_size
        for index in range(13):
            torch.testing.assert_close(store.read(index, view), expected.read(index, view), rtol=1e-2, atol=2e-3)


def test_a_note_that_cannot_be_read_counts_for_nothing(captioned, tmp_path) -> None:
    store = prepared(captioned, tmp_path, views=1)
    (store.folder / "plain.json").write_text('{"done": 13')
    model = counting()
    store.prepare(model, batch_size=13, num_workers=0)
    assert model.seen == 13


@pytest.mark.parametrize("kept", [None, 100])
def test_an_array_that_is_gone_or_cut_off_is_made_again(kept, captioned, tmp_path) -> None:
    store = prepared(captioned, tmp_path, views=1)
    file = store.folder / "plain.npy"
    whole = file.read_bytes()
    file.unlink()
    if kept is not None:
        file.write_bytes(whole[:-kept])
    again = prepared(captioned, tmp_path, views=1)
    assert file.read_bytes() == whole and again.read(12, "plain").abs().max() > 0


def test_whatever_the_features_depend_on_names_the_store(captioned, damaged, tmp_path) -> None:
    other = encoder()
    with torch.no_grad():
        other.blocks[0].norm1.bias[3] += 1e-3  # type: ignore[union-attr, operator, index]
    stores = [
        store_of(captioned, tmp_path),
        store_of(captioned, tmp_path, model=other),
        store_of(captioned, tmp_path, model=ViT(replace(encoder().config, num_heads=7))),
        store_of(captioned, tmp_path, mean=(0.5, 0.5, 0.4)),
        store_of(damaged, tmp_path),  # a file of another size
    ]
    (damaged / "train" / f"{DAMAGED}.png").unlink()
    stores.append(store_of(damaged, tmp_path))
    assert len({store.folder for store in stores}) == len(stores)
    records = read_captions(captioned, "train")
    fewer = CaptionRecords(records.items[:-1])
    encoding = PictureEncoding(fewer, PREPROCESSING, encoder(), views=1)
    store = FeatureStore(tmp_path, "train", encoder=encoder(), encoding=encoding)
    assert store.folder != stores[0].folder


def test_what_they_do_not_depend_on_does_not(captioned, tmp_path) -> None:
    plain = store_of(captioned, tmp_path)
    model = ViT(replace(encoder().config, dropout=0.3, stochastic_depth=0.2))
    model.load_state_dict(encoder().state_dict())
    moved = tmp_path / "moved"
    os.symlink(captioned, moved)
    assert store_of(captioned, tmp_path, model=model).folder == plain.folder
    assert store_of(moved, tmp_path).folder == plain.folder


def test_a_damaged_picture_is_named(damaged, tmp_path) -> None:
    store = prepared(damaged, tmp_path / "store")
    with pytest.raises(InputError, match=r"4\.png` must be a picture .*, but is empty instead"):
        store.read(DAMAGED, "plain")
    assert store.read(DAMAGED + 1, "plain").abs().max() > 0
    sample = PictureFeatures(store.records, store, seed=0)[0, DAMAGED]
    assert sample.position != DAMAGED and sample.content is not None
    assert sample.unreadable[0][0].endswith("4.png")
    assert sample.label == store.records.items[sample.position][1]


def test_features_that_float16_cannot_hold_are_said(captioned, tmp_path) -> None:
    model = encoder()
    with torch.no_grad():
        model.norm.bias.fill_(1e5)  # type: ignore[union-attr]
    with np.errstate(over="ignore"), pytest.raises(ModelError, match="must be finite in float16, but are not instead"):
        store_of(captioned, tmp_path, model=model).prepare(model, batch_size=3, num_workers=0)


def test_a_folder_that_cannot_be_written_is_said(captioned, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="features cannot be kept here: (Not a directory|File exists)"):
        prepared(captioned, tmp_path / "file")


def _prepare(root: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    store_of(root, folder).prepare(encoder(), batch_size=2, num_workers=0)


def test_two_processes_at_once_do_not_meet(captioned, tmp_path) -> None:
    expected = prepared(captioned, tmp_path / "alone")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_prepare, args=(captioned, tmp_path / "shared")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = store_of(captioned, tmp_path / "shared")
    for index in range(13):
        torch.testing.assert_close(store.read(index, "plain"), expected.read(index, "plain"), rtol=1e-2, atol=2e-3)


# in the data module


def test_batches_bring_features_for_pictures(captioned, tmp_path) -> None:
    pictures, kept = make(captioned), make(captioned, features=str(tmp_path), views=1)
    one, other = epoch_of(pictures, 1), epoch_of(kept, 1)
    for batch, with_features in zip(one, other, strict=True):
        assert with_features.images is None
        assert with_features.features is not None and with_features.features.shape == (3, 7, 14)
        assert torch.equal(batch.tokens, with_features.tokens) and batch.texts == with_features.texts
        assert torch.equal(batch.indices, with_features.indices)
    store = kept._stores["train"]
    for row, place in enumerate(other[0].indices.tolist()):
        assert other[0].features is not None and torch.equal(other[0].features[row], store.read(place, "plain"))
    held: Any = next(iter(kept.val_dataloader()))
    assert torch.equal(held.features[1], kept._stores["validation"].read(1, "plain"))


@pytest.mark.parametrize("workers", [0, 1])
def test_both_views_are_drawn_anew_in_each_epoch(workers, captioned, tmp_path) -> None:
    data = make(captioned, features=str(tmp_path), views=2, num_workers=workers)
    drawn = []
    for epoch in range(4):
        batches = epoch_of(data, epoch)
        assert same(batches, epoch_of(make(captioned, features=str(tmp_path), views=2), epoch))
        store = data._stores["train"]
        for batch in batches:
            assert batch.features is not None
            for place, found in zip(batch.indices.tolist(), batch.features, strict=True):
                view = [torch.equal(found, store.read(place, view)) for view in ("plain", "mirrored")]
                assert sum(view) == 1
                drawn.append((place, view[1]))
    mirrored = [is_mirrored for _, is_mirrored in drawn]
    assert 12 <= sum(mirrored) <= 36  # of 48
    assert any(len({m for p, m in drawn if p == place}) == 2 for place in range(13))
    assert not (tmp_path / "mirrored.npy").exists()


def test_evaluation_keeps_one_view(captioned, tmp_path) -> None:
    data = make(captioned, features=str(tmp_path), views=2)
    list(data.val_dataloader())
    assert data._stores["validation"].views == ("plain",)


def test_a_damaged_picture_is_skipped_and_named(damaged, tmp_path) -> None:
    data = make(damaged, features=str(tmp_path / "kept"), max_bad_share=0.3, eval_batch_size=4)
    with pytest.warns(UserWarning, match=r"Skipped, 1 of 5 pictures in validation: `.*4\.png` must be a picture"):
        batches: list[Any] = list(data.val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1, 2, 3], []]
    assert batches[1].features.shape == (0, 7, 14) and batches[1].features.dtype == torch.float16
    notes = json.loads((data._stores["validation"].folder / "plain.json").read_text())
    assert notes["done"] == 5 and list(notes["unreadable"]) == [str(DAMAGED)]
