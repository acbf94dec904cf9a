"""Training on shards: the same samples as from folders, in an order that a resumed training goes on with."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multiattn.cli.main import main as command
from multiattn.errors import InputError
from multiattn.tasks import AnswerData, CaptionData, ClassifyData, TranscribeData
from multiattn.tasks.loading.sampler import ShardBatches
from multiattn.tasks.loading.transforms import Augmentation
from multiattn.tasks.training import main

from .asked import draw_asked
from .attach import grouped, in_process
from .captioned import draw_captioned
from .conftest import draw_folder, logged, train, write_config
from .spoken import draw_spoken

Both = dict[str, tuple[Path, Path]]
SIZES = {"train": 11, "validation": 5}
TINY = 0.0005
"""Megabytes of a shard, which then has a few samples."""

AS_THEY_ARE = Augmentation(crop="none", flip=0.0)
TASKS: dict[str, tuple[Callable[..., Path], Any, dict[str, Any]]] = {
    "classify": (draw_folder, ClassifyData, {"augmentation": AS_THEY_ARE}),
    "caption": (draw_captioned, CaptionData, {"vocab_size": 61, "augmentation": AS_THEY_ARE}),
    "answer": (draw_asked, AnswerData, {"vocab_size": 61}),
    "transcribe": (draw_spoken, TranscribeData, {"vocab_size": 31}),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """For each task the folder, and its shards."""
    place, found = tmp_path_factory.mktemp("shards"), {}
    for task, (draw, _, _) in TASKS.items():
        folder, shards = draw(place / task, sizes=SIZES), place / f"{task}-shards"
        size = "0.03" if task == "transcribe" else str(TINY)
        assert command(["shard", str(folder), str(shards), "--size", size]) == 0
        assert len([*(shards / "train").glob("*.tar")]) >= 3
        found[task] = folder, shards
    return found


def contents(loader: Any) -> list[bytes]:
    """What each batch of one item is made of, sorted."""
    if hasattr(loader, "sampler"):
        loader.sampler.set_epoch(0)
    found = []
    for batch in loader:
        inputs = batch.features if hasattr(batch, "lengths") else batch.images
        known = batch.labels if hasattr(batch, "labels") else sorted(map(repr, batch.texts))
        found.append(inputs.numpy().tobytes() + repr(known).encode())
    return sorted(found)


@pytest.mark.parametrize("task", TASKS)
def test_shards_hold_the_samples_of_their_folder(task: str, both: Both) -> None:
    _, make, options = TASKS[task]
    one, other = (make(str(root), **grouped(batch_size=1, num_workers=0), **options) for root in both[task])
    for data in (one, other):
        data.setup("fit")
    assert isinstance(other._batches(), ShardBatches) and not isinstance(one._batches(), ShardBatches)
    assert contents(one.train_dataloader()) == contents(other.train_dataloader())
    assert contents(one.val_dataloader()) == contents(other.val_dataloader())
    if task == "classify":
        assert one.facts() == other.facts()
    else:
        assert one.tokenizer.to_json() == other.tokenizer.to_json()
    if task == "answer":
        assert one.answer_list == other.answer_list
    if task == "transcribe":
        assert sorted(one._training_seconds) == pytest.approx(sorted(other._training_seconds))
        speakers = [sorted(data.records("train").speakers) for data in (one, other)]
        assert speakers[0] == speakers[1]


def test_the_parts_of_processes_are_apart_equally_many_and_near_in_the_shards() -> None:
    sizes = [7, 23, 5, 11, 13, 2, 17]
    for world in (1, 2, 3, 5):
        parts = [ShardBatches(sizes, buffer=9, batch_size=3, seed=5, rank=rank, world=world) for rank in range(world)]
        for epoch in (0, 1):
            seen = [[key.item for batch in part.batches(epoch) for key in batch] for part in parts]
            assert {len(one) for one in seen} == {78 // world // 3 * 3} == {3 * len(parts[0])}
            together = sum(seen, [])
            assert len(set(together)) == len(together) and set(together) <= set(range(78))
            # a shard is in the parts of two processes at most, as no shard is longer than a part
            shard_of = np.repeat(np.arange(7), sizes)
            owners = [sum(shard in shard_of[one] for one in seen) for shard in range(7)]
            assert world > 3 or max(owners) <= 2
    one = ShardBatches(sizes, buffer=9, batch_size=3, seed=5)
    orders = [[key.item for batch in one.batches(epoch) for key in batch] for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1] and orders[0] != sorted(orders[0])
    assert [*one.batches(1, start=4)] == [*one.batches(1)][4:]
    # moved by less than the buffer, in the order of the shards
    straight = [key.item for batch in ShardBatches(sizes, buffer=1, batch_size=1, seed=5).batches(0) for key in batch]
    assert max(abs(straight.index(index) - place) for place, index in enumerate(orders[0])) < 9
    assert all(all(key.item in key.batch for key in keys) for keys in one.batches(0))


@pytest.mark.training
@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_resumed_in_the_middle_of_an_epoch_the_training_ends_with_the_same_weights(both: Both, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=both["classify"][1], run=tmp_path)
    folder = tmp_path / "checkpoints"
    fit = ["fit", "--config", str(config), "--trainer.max_epochs=2", "--checkpoint.every_n_steps=3"]
    fit += ["--checkpoint.keep=9", "--data.batches.shuffle_buffer=17"]
    assert main(fit) == 0
    theirs, losses = torch.load(folder / "step-000000010.ckpt"), logged(tmp_path, "train/loss")
    assert len(losses) == 10
    # the second of five batches of the first epoch is the last before this state, with workers that read ahead
    assert main([*fit, f"--ckpt_path={folder}/step-000000003.ckpt", "--data.batches.num_workers=2"]) == 0
    ours = torch.load(folder / "step-000000010.ckpt")
    assert ours["current_model_state"].keys() == theirs["current_model_state"].keys()
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert all(torch.equal(ours[part][key], theirs[part][key]) for key in theirs[part])
    assert logged(tmp_path, "train/loss") == losses

    # divided among another number of processes, other samples would come next
    data = in_process(ClassifyData(str(both["classify"][1]), **grouped(batch_size=3, num_workers=0)), rank=0, world=2)
    within = torch.load(folder / "step-000000003.ckpt")
    (state,) = within["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    with pytest.raises(InputError, match="they are others: .*processes was 1 and is 2"):
        data.train_dataloader().load_state_dict(state)


def test_two_processes_measure_each_item_once(both: Both) -> None:
    seen = []
    for rank in range(2):
        make = ClassifyData(str(both["classify"][1]), **grouped(batch_size=4, num_workers=0))
        batches = list(in_process(make, rank=rank, world=2).val_dataloader())
        seen.append([index for batch in batches for index in batch.indices.tolist()])
    assert seen == [list(range(7)), list(range(7, 15))]


def test_a_damaged_shard_is_named_once_and_its_other_samples_are_used(both: Both, tmp_path: Path) -> None:
    shards = shutil.copytree(both["classify"][1], tmp_path / "shards")
    broken = shards / "train" / "000001.tar"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 4])
    options = grouped(batch_size=5, num_workers=0, max_bad_share=0.1)
    data = ClassifyData(str(shards), **options)
    with pytest.warns(UserWarning, match=r"Skipped, 1 of 33 pictures in train: `.*train/000001.tar` must be") as found:
        loader = data.train_dataloader()
        batches = list(loader)
    assert len(found) <= 2 and 1 < len(loader._unreadable.files) < 8
    assert all("000001.tar/" in file for file in loader._unreadable.files)
    seen = {index for batch in batches for index in batch.indices.tolist()}
    lost = {int(index) for index in range(33) if str(data.records("train").items[index][0]) in loader._unreadable.files}
    assert lost and not lost & seen and all(len(batch.indices) == 5 for batch in batches)
    in_shard = [i for i in range(33) if "000001.tar" in str(data.records("train").items[i][0])]
    assert set(in_shard) & seen  # those before the damage

    broken.unlink()
    with pytest.raises(InputError, match=r"can be read|cannot be read.*`max_bad_share` allows.*000001.tar"):
        with pytest.warns(UserWarning, match="must be a shard, but opening it fails instead: No such file"):
            list(ClassifyData(str(shards), **grouped(batch_size=5, num_workers=0)).train_dataloader())


def test_shards_without_an_index_are_told_how_to_get_one(both: Both, tmp_path: Path, capsys: Any) -> None:
    shards = shutil.copytree(both["caption"][1], tmp_path / "shards")
    before = [(shards / name).read_text() for name in ("index.json", "train/metadata.jsonl")]
    (shards / "index.json").unlink()
    (shards / "train" / "metadata.jsonl").unlink()
    with pytest.raises(InputError, match="there are shards, but there is no index.json .* Make it: `multiattn shard "):
        CaptionData(str(shards))
    assert command(["shard", str(shards)]) == 0
    assert (shards / "index.json").read_text() == before[0]
    rows = [[json.loads(line) for line in text.splitlines()] for text in before[1:]]
    assert [json.loads(line) for line in (shards / "train/metadata.jsonl").read_text().splitlines()] == rows[0]
    (shards / "index.json").write_text("{}")
    with pytest.raises(
        InputError, match="index.json: this must be the index of shards, in version 1, but is something"
    ):
        CaptionData(str(shards))
    shutil.copy(both["caption"][1] / "index.json", shards / "index.json")
    some = CaptionData(f"{shards}/{{split}}/{{000000..000001}}.tar")
    sizes = [shard["items"] for shard in json.loads(before[0])["splits"]["train"]["shards"]]
    assert some._shards("train") == tuple(sizes[:2]) and some.size("train") == sum(sizes[:2])
    assert str(some.records("train").items[0][0]).startswith(f"{shards}/train/000000.tar/")
    with pytest.raises(InputError, match="must name shards that .*index.json lists, but names none of them instead"):
        CaptionData(f"{shards}/{{split}}/{{7..9}}.tar")


def test_shards_at_an_address_are_fetched_once_for_all_workers(both: Both) -> None:
    folder, asked = both["classify"][1], list[str]()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        orders = []
        for root in (str(folder), f"http://127.0.0.1:{server.server_port}"):
            data = ClassifyData(root, **grouped(batch_size=4, num_workers=2 if "http" in root else 0))
            batches = [*data.train_dataloader(), *data.val_dataloader()]
            orders.append([batch.images for batch in batches])
        server.shutdown()
    assert len(orders[0]) == 8 + 4 and all(map(torch.equal, *orders))
    fetched = [path for path in asked if path.endswith(".tar")]
    assert sorted(fetched) == sorted({*fetched}) and len(fetched) == len([*folder.glob("*/*.tar")])
    with pytest.raises(InputError, match="`batch_seconds` must be left out for shards at a web address: it takes"):
        remote = TranscribeData(str(both["transcribe"][1]), batch_seconds=3.0, vocab_size=31)
        remote.indices = (replace(remote.indices[0], addresses={"": "http://there"}),)
        remote._batches()


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.filterwarnings("default")  # Lightning's own on this torch
def test_two_processes_with_uneven_shards_end_together(both: Both, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", root=both["classify"][1], run=tmp_path)
    done = train("fit", "--config", config, "--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert len(logged(tmp_path, "train/loss")) == 2 * (33 // 2 // 6)
    assert len(logged(tmp_path, "val/loss")) == 2
