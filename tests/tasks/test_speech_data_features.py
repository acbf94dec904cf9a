"""A frozen speech encoder's features from disk: those that it gives, at each speed, as long as the recording."""

from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.errors import InputError
from multiattn.inputs import load_audio
from multiattn.tasks.loading.audio_augmentation import AudioAugmentation, at_speed
from multiattn.tasks.loading.feature_store import FeatureStore
from multiattn.tasks.loading.reader import Reader
from multiattn.tasks.loading.speech_features import SpeechEncoding

from .tones import PREPROCESSING, RATE, encoder, epoch_of, make, same, speak

SPEEDS = (0.9, 1.0, 1.1)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speak(tmp_path_factory.mktemp("spoken"))


def kept(root: Path, folder: Path, **options: Any) -> Any:
    task = {"encoder": options.pop("encoder", None), "context": options.pop("context", "real")}
    augmentation = AudioAugmentation(speed=SPEEDS, noise_share=0)
    return make(root, task=task, features=str(folder), augmentation=augmentation, **options)


@pytest.mark.parametrize("changes", [{}, {"masked": True}])
def test_the_features_are_the_encoders(changes, spoken, tmp_path) -> None:
    model = encoder(**changes).eval()
    data = kept(spoken, tmp_path, encoder=model)
    epoch_of(data, 0)
    store = data._stores["train"]
    assert store.views == ("speed-0.9", "speed-1", "speed-1.1")
    for index in range(13):
        samples = load_audio(spoken / "train" / f"{index}.wav", rate=RATE)
        for view, speed in zip(store.views, SPEEDS, strict=True):
            played = at_speed(samples, speed)
            features = PREPROCESSING.features(played)
            with torch.no_grad():
                expected = model(features[None])[0]
            assert store.num_samples(index, view) == len(played)
            torch.testing.assert_close(store.read(index, view).float(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("context", "whole"), [("real", False), ("all", True)])
def test_padding_is_kept_where_the_decoder_attends_to_it(context, whole, spoken, tmp_path) -> None:
    from dataclasses import replace

    preprocessing = replace(PREPROCESSING, pad_to=2.0)
    model = encoder().eval()
    encoding = SpeechEncoding(Reader(read(spoken), preprocessing, cache=False), model, speeds=(1.0,), whole=whole)
    store = FeatureStore(tmp_path, "train", encoder=model, encoding=encoding)
    store.prepare(model, batch_size=4, num_workers=0)
    for index in range(13):
        samples = load_audio(spoken / "train" / f"{index}.wav", rate=RATE)
        with torch.no_grad():
            expected = model(preprocessing.features(samples)[None])[0]
        count = 100 if whole else int(model.frames(preprocessing.frames(len(samples))))
        torch.testing.assert_close(store.read(index, "speed-1").float(), expected[:count], rtol=2e-3, atol=2e-3)


def test_batches_bring_features_for_samples(spoken, tmp_path) -> None:
    data = kept(spoken, tmp_path)
    drawn = set()
    for epoch in range(4):
        batches = epoch_of(data, epoch)
        assert same(batches, epoch_of(kept(spoken, tmp_path), epoch))
        store, model = data._stores["train"], encoder()
        for batch in batches:
            assert batch.features is None and batch.encoded is not None and batch.encoded.dtype == torch.float16
            frames = model.frames(batch.lengths)
            for row, place in enumerate(batch.indices.tolist()):
                attention_mask = batch.encoded[row, : int(frames[row])]
                views = [view for view in store.views if torch.equal(store.read(place, view), attention_mask)]
                assert len(views) == 1
                drawn |= {(place, views[0])}
                assert batch.encoded[row, int(frames[row]) :].abs().sum() == 0
                assert float(batch.seconds[row]) == pytest.approx(store.num_samples(place, views[0]) / RATE)
    assert len({view for _, view in drawn}) == 3
    held: Any = list(data.val_dataloader())
    assert data._stores["validation"].views == ("speed-1",)
    assert [i for b in held for i in b.indices.tolist()] == list(range(5))


def test_it_goes_on_where_it_stopped(spoken, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("multiattn.tasks.loading.feature_store._SAVE_EVERY", -1.0)
    model = encoder().eval()
    whole = store_of(spoken, tmp_path / "whole", model)
    whole.prepare(model, batch_size=3, num_workers=0)
    store = store_of(spoken, tmp_path / "broken", model)
    encode, calls = store.encoding.encode, []

    def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(store.encoding, "encode", failing)
    with pytest.raises(KeyboardInterrupt):
        store.prepare(model, batch_size=3, num_workers=0)
    with (store.folder / "speed-1.f16").open("ab") as file:
        file.write(b"garbage")
    store.prepare(model, batch_size=3, num_workers=0)
    assert len(calls) == 3 + 3  # of five batches, two were done
    for index in range(13):
        assert torch.equal(store.read(index, "speed-1"), whole.read(index, "speed-1"))


def test_whatever_the_features_depend_on_names_the_store(spoken, tmp_path) -> None:
    folders = {
        store_of(spoken, tmp_path, encoder()).folder,
        store_of(spoken, tmp_path, encoder(), whole=True).folder,
        store_of(spoken, tmp_path, encoder(num_heads=7)).folder,
    }
    assert len(folders) == 3
    assert store_of(spoken, tmp_path, encoder(dropout=0.3)).folder in folders


def test_a_damaged_recording_is_named(tmp_path) -> None:
    root = speak(tmp_path / "odd")
    (root / "validation" / "3.wav").write_bytes(b"")
    data = kept(root, tmp_path / "kept", max_bad_share=0.3)
    with pytest.warns(UserWarning, match=r"Skipped, 1 of 5 recordings in validation: `.*3\.wav` must be a recording"):
        batches: list[Any] = list(data.val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1, 2], [4]]


def test_a_split_of_which_nothing_can_be_read_is_said(tmp_path) -> None:
    root = speak(tmp_path / "odd")
    for file in (root / "validation").glob("*.wav"):
        file.write_bytes(b"")
    data = kept(root, tmp_path / "kept", max_bad_share=0.9)
    with pytest.warns(UserWarning), pytest.raises(InputError, match="5 of 5 recordings in validation cannot be read"):
        list(data.val_dataloader())
    data = kept(root, tmp_path / "kept", max_bad_share=1.0)
    with (
        pytest.warns(UserWarning, match=r"Skipped, \d of 5 recordings in validation"),
        pytest.raises(InputError, match="None of the 5 recordings in validation can be read"),
    ):
        list(data.val_dataloader())


def read(root: Path) -> Any:
    from multiattn.data.recordings import read_recordings

    return read_recordings(root, "train")


def store_of(root: Path, folder: Path, model: Any, *, whole: bool = False) -> FeatureStore:
    reader = Reader(read(root), PREPROCESSING, cache=False)
    encoding = SpeechEncoding(reader, model, speeds=(1.0,), whole=whole)
    return FeatureStore(folder, "train", encoder=model, encoding=encoding)
