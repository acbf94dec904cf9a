"""The data module of captioning: what is in a batch, and when it is the same again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.data.captions import clean_caption
from multiattn.errors import InputError, ModelError
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models import ViT, ViTConfig
from multiattn.tasks import CaptionData
from multiattn.tasks.contracts import ImageTextNeeds, TokenFormat
from multiattn.tasks.loading.caption_batches import CaptionBatch
from multiattn.tasks.loading.transforms import Augmentation

from .attach import grouped, in_process

SIZE = (10, 15)
PREPROCESSING = ImagePreprocessing(SIZE, SIZE, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
COUNTS = {"train": 13, "validation": 5, "test": 3}
DAMAGED = 4  # of the training split and of the validation split


def texts_of(split: str, i: int) -> list[str]:
    """One to three sentences, so that some pictures have fewer than are asked for."""
    words = ("first", "second", "very own third")[: 1 + i % 3]
    return [f"Picture {i} of all of {split}: the {word}-est, isn't it?" for word in words]


@pytest.fixture(scope="session")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("captioned")
    rng = np.random.default_rng(5)
    for split, count in COUNTS.items():
        (root / split).mkdir()
        rows = []
        for i in range(count):
            name = f"{i}.png"
            Image.fromarray(rng.integers(0, 256, (11, 17, 3), np.uint8)).save(root / split / name)
            rows.append(json.dumps({"file_name": name, "texts": texts_of(split, i)}))
        (root / split / "metadata.jsonl").write_text("\n".join(rows))
    return root


def encoder(seed: int = 3) -> ViT:
    torch.manual_seed(seed)
    return ViT(ViTConfig(image_size=SIZE, patch_size=5, num_classes=0, dim=14, depth=1, num_heads=2, mlp_dim=11))


FORMAT = TokenFormat(start=1, end=2, pad=0, max_length=43)


def attached(data: CaptionData, *, rank: int = 0, world: int = 1, **needs: Any) -> CaptionData:
    """The data as a trainer and a task have it."""
    data.needs = ImageTextNeeds(**{"text": FORMAT, "preprocessing": PREPROCESSING, "encoder": encoder()} | needs)
    return in_process(data, rank=rank, world=world)


def make(root: Path, *, task: dict[str, Any] | None = None, **options: Any) -> CaptionData:
    options = {"batch_size": 3, "num_workers": 0, "vocab_size": 71, "captions_per_picture": 2} | options
    return attached(CaptionData(str(root), **grouped(**options)), **(task or {}))


def epoch_of(data: CaptionData, epoch: int) -> list[CaptionBatch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)  # type: ignore[arg-type]


def rows_of(batch: CaptionBatch) -> list[list[int]]:
    return [
        row[attention_mask].tolist() for row, attention_mask in zip(batch.tokens, batch.attention_mask, strict=True)
    ]


def same(one: list[CaptionBatch], other: list[CaptionBatch]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else a == b

    return len(one) == len(other) and all(map(equal, sum(one, ()), sum(other, ())))


# what is in a batch


@pytest.mark.parametrize("per_picture", [1, 2, 5])
def test_each_picture_brings_captions_of_its_own(per_picture, captioned) -> None:
    data = make(captioned, captions_per_picture=per_picture)
    for batch in epoch_of(data, 0):
        assert batch.images is not None and batch.images.shape == (3, 3, *SIZE) and batch.features is None
        assert len(batch.tokens) == 3 * per_picture
        for i, place in enumerate(batch.indices.tolist()):
            texts = texts_of("train", place)
            assert batch.texts[i] == tuple(texts)
            rows = rows_of(batch)[i * per_picture : (i + 1) * per_picture]
            assert all((row[0], row[-1]) == (1, 2) for row in rows)
            found = [data.tokenizer.decode(row) for row in rows]
            assert set(found) <= {clean_caption(text) for text in texts}
            assert len(set(found)) == min(per_picture, len(texts))


def test_padding_comes_after_the_end(captioned) -> None:
    batches = epoch_of(make(captioned), 0)
    assert all(torch.equal(b.attention_mask, b.tokens != 0) for b in batches)
    assert all(
        torch.equal(b.attention_mask, b.attention_mask.long().cummin(1).values.bool()) and b.attention_mask.any(0).all()
        for b in batches
    )
    assert any(not b.attention_mask.all() for b in batches)


def test_evaluation_is_in_order_and_takes_the_first_captions(captioned) -> None:
    data = make(captioned, eval_batch_size=2)
    batches: list[Any] = list(data.val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1], [2, 3], [4]]
    rows = [data.tokenizer.decode(row) for batch in batches for row in rows_of(batch)]
    expected = [(texts_of("validation", i) * 2)[:2] for i in range(5)]
    assert rows == [clean_caption(text) for texts in expected for text in texts]
    assert len(list(data.test_dataloader())) == len(list(data.predict_dataloader())) == 2


def test_captions_may_stay_as_they_are(captioned) -> None:
    data = make(captioned, clean=False)
    assert data.tokenizer.decode(rows_of(next(iter(data.val_dataloader())))[0]) == texts_of("validation", 0)[0]  # type: ignore[arg-type]


def test_a_caption_that_is_cut_has_no_end(captioned) -> None:
    whole, cut = make(captioned, vocabulary="characters"), make(captioned, vocabulary="characters", max_tokens=7)
    for batch, other in zip(epoch_of(whole, 0), epoch_of(cut, 0), strict=True):
        assert rows_of(other) == [row[: 1 + 7 + 1] for row in rows_of(batch)]
        assert other.attention_mask.all() and not (other.tokens == 2).any()


def test_a_caption_that_just_fits_has_its_end(captioned) -> None:
    longest = max(len(row) for batch in epoch_of(make(captioned), 0) for row in rows_of(batch))
    batches = epoch_of(make(captioned, max_tokens=longest - 2), 0)
    assert all(row[-1] == 2 for batch in batches for row in rows_of(batch))
    assert any(row[-1] != 2 for batch in epoch_of(make(captioned, max_tokens=longest - 3), 0) for row in rows_of(batch))


def test_the_decoder_and_the_prompt_bound_the_length(captioned) -> None:
    prompt = make(captioned, vocabulary="characters").tokenizer.encode("picture")
    assert len(prompt) == 8  # a space before the word
    text = replace(FORMAT, max_length=11, opening=tuple(prompt))
    data = make(captioned, vocabulary="characters", task={"text": text})
    # start, prompt and caption but for the last token, which is only predicted, are what the decoder takes
    assert {batch.tokens.shape[1] - 1 + len(prompt) for batch in epoch_of(data, 0)} == {11}
    longer = replace(text, opening=tuple([*prompt, *prompt][:10]))
    with pytest.raises(ModelError, match="must have room for a text after the 11 tokens .*, but takes only 11"):
        make(captioned, vocabulary="characters", task={"text": longer}).train_dataloader()


def test_the_special_tokens_are_the_decoders(captioned) -> None:
    text = TokenFormat(start=101, end=102, pad=103, max_length=43)
    batch = epoch_of(make(captioned, task={"text": text}), 0)[0]
    assert (batch.tokens[:, 0] == 101).all() and all(row[-1] == 102 for row in rows_of(batch))
    assert (batch.tokens[~batch.attention_mask] == 103).all()


def test_the_vocabulary_is_the_tasks_or_of_the_training_captions(captioned) -> None:
    own = Tokenizer.train(["something else"], kind="bpe", vocab_size=31)
    assert make(captioned, task={"tokenizer": own}).tokenizer is own
    data = make(captioned)
    assert data.tokenizer is data.tokenizer and data.tokenizer.vocab_size == 71
    alone = CaptionData(str(captioned), vocab_size=71)  # without a trainer
    assert alone.tokenizer.to_json() == data.tokenizer.to_json()
    assert data.tokenizer.id_of("\u2581validation") is None and data.tokenizer.id_of("\u2581train") is not None


# when it is the same again


def test_an_epoch_is_a_function_of_the_seed(captioned) -> None:
    first, again, later = (epoch_of(make(captioned), epoch) for epoch in (0, 0, 1))
    assert same(first, again)
    other = make(captioned)
    other.seed = 1
    for batches in (later, epoch_of(other, 0)):
        assert [b.indices.tolist() for b in batches] != [b.indices.tolist() for b in first]

        def rows(found: list[CaptionBatch]) -> dict[int, list[list[int]]]:
            return {place: rows_of(b)[2 * i : 2 * i + 2] for b in found for i, place in enumerate(b.indices.tolist())}

        shared = rows(first).keys() & rows(batches).keys()
        assert any(rows(first)[place] != rows(batches)[place] for place in shared)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_goes_on_where_it_was_left(workers, captioned) -> None:
    whole = epoch_of(make(captioned), 2)
    loader = make(captioned, num_workers=workers).train_dataloader()
    loader.load_state_dict({"epoch": 2, "batch": 1})
    loader.sampler.set_epoch(2)
    assert same(list(loader), whole[1:])  # type: ignore[arg-type]


def test_two_processes_see_what_one_sees(captioned) -> None:
    whole = epoch_of(make(captioned, batch_size=4), 0)
    halves = []
    for rank in (0, 1):
        data = make(captioned, batch_size=2)
        halves.append(epoch_of(in_process(data, rank=rank, world=2), 0))
    for batch, one, other in zip(whole, *halves, strict=True):
        assert batch.indices[0::2].tolist() == one.indices.tolist()
        assert batch.indices[1::2].tolist() == other.indices.tolist()


# what cannot be used


@pytest.fixture
def damaged(captioned: Path, tmp_path: Path) -> Path:
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        for file in (captioned / split).iterdir():
            (tmp_path / split / file.name).write_bytes(file.read_bytes())
        (tmp_path / split / f"{DAMAGED}.png").write_bytes(b"")
    return tmp_path


def test_a_damaged_picture_is_replaced_in_training_with_captions_of_its_own(damaged) -> None:
    data = make(damaged, max_bad_share=0.1, batch_size=13)
    with pytest.warns(UserWarning, match=r"Skipped, 1 of 13 pictures in train: `.*4\.png` must be a picture"):
        (batch,) = epoch_of(data, 0)
    assert DAMAGED not in batch.indices.tolist() and len(batch.indices) == 13
    for i, place in enumerate(batch.indices.tolist()):
        assert batch.texts[i] == tuple(texts_of("train", place))
        assert data.tokenizer.decode(rows_of(batch)[2 * i]) in map(clean_caption, batch.texts[i])


def test_a_damaged_picture_is_left_out_in_evaluation(damaged) -> None:
    data = make(damaged, max_bad_share=0.3, eval_batch_size=4)
    with pytest.warns(UserWarning, match="Skipped, 1 of 5 pictures in validation"):
        batches: list[Any] = list(data.val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1, 2, 3], []]
    assert batches[1].texts == () and len(batches[1].tokens) == 0 and batches[1].images.shape == (0, 3, *SIZE)
    with pytest.raises(InputError, match="1 of 5 pictures in validation cannot be read"), pytest.warns(UserWarning):
        list(make(damaged, max_bad_share=0).val_dataloader())


def test_a_caption_without_words_is_named(tmp_path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (7, 5)).save(tmp_path / "train" / "1.png")
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "1.png", "texts": ["a dog", "?!"]}')
    with pytest.raises(InputError, match=r"1\.png: no words are left of the caption '\?!' once it is cleaned"):
        make(tmp_path, batch_size=1).train_dataloader()


def test_what_is_wrong_is_said_before_any_work(tmp_path, captioned) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        make(tmp_path / "none").setup("fit")
    with pytest.raises(InputError, match="a training batch has 17 x 1 pictures, but the training split only 13"):
        make(captioned, batch_size=17).train_dataloader()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batches.size` must be at least 1, but is 0 instead"),
        ({"eval_batch_size": 0}, "`batches.eval_size` must be at least 1"),
        ({"captions_per_picture": 0}, "`captions_per_picture` must be at least 1"),
        ({"max_tokens": 0}, "`max_tokens` must be at least 1"),
        ({"cache_side": 0}, "`cache_side` must be at least 1"),
        ({"num_workers": -1}, "`batches.num_workers` must be at least 0"),
        ({"max_bad_share": 2}, "`batches.max_bad_share` must be from 0 to 1"),
        ({"views": 3, "features": "x"}, "`views` must be 1 or 2, but is 3 instead"),
        ({"views": 2}, "`views` must be 1 where there is no `features`, but is 2 instead"),
        ({"features": "x", "cache_side": 5}, "`cache_side` must not come with `features`"),
        ({"features": "x", "augmentation": Augmentation()}, "`augmentation` must not come with `features`"),
    ],
)
def test_options_out_of_range_are_named(options, message) -> None:
    with pytest.raises(InputError, match=message):
        CaptionData("data", **grouped(**options))
