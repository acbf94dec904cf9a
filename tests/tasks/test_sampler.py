"""Which item comes when: the same for any number of processes, and from any batch on."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.tasks.loading.sampler import BalancedBatches, EpochBatches, share_of


@given(
    size=st.integers(23, 97), batch=st.integers(1, 5), world=st.integers(1, 4), epoch=st.integers(0, 3), data=st.data()
)
def test_processes_share_the_batches_of_one(size: int, batch: int, world: int, epoch: int, data: st.DataObject) -> None:
    one = EpochBatches(size, batch_size=batch * world, seed=5)
    many = [EpochBatches(size, batch_size=batch, seed=5, rank=rank, world=world) for rank in range(world)]
    assert {len(m) for m in many} == {len(one)}
    start = data.draw(st.integers(0, len(one)))
    whole = list(one.batches(epoch))
    assert list(one.batches(epoch, start=start)) == whole[start:]
    parts = [list(m.batches(epoch, start=start)) for m in many]
    for b, together in enumerate(whole[start:]):
        woven = [parts[rank][b][i] for i in range(batch) for rank in range(world)]
        assert woven == together
    keys = [key for together in whole for key in together]
    assert len(set(keys)) == len(keys) == size // (batch * world) * batch * world
    assert {e for e, _ in keys} == {epoch}
    assert {index for _, index in keys} <= set(range(size))


def test_order_depends_on_seed_and_epoch() -> None:
    orders = [
        [index for together in EpochBatches(31, batch_size=31, seed=seed).batches(epoch) for _, index in together]
        for seed, epoch in ((5, 0), (5, 1), (7, 0))
    ]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(31)) for order in orders)


@given(
    labels=st.lists(st.integers(0, 4), min_size=23, max_size=97),
    batch=st.integers(1, 5),
    world=st.integers(1, 4),
    epoch=st.integers(0, 3),
    data=st.data(),
)
def test_balanced_batches_have_each_class_equally_often(
    labels: list[int], batch: int, world: int, epoch: int, data: st.DataObject
) -> None:
    one = BalancedBatches(labels, batch_size=batch * world, seed=5)
    many = [BalancedBatches(labels, batch_size=batch, seed=5, rank=rank, world=world) for rank in range(world)]
    start = data.draw(st.integers(0, len(one)))
    whole = list(one.batches(epoch))
    assert list(one.batches(epoch, start=start)) == whole[start:]
    for b, together in enumerate(whole):
        parts = [list(m.batches(epoch))[b] for m in many]
        assert [parts[rank][i] for i in range(batch) for rank in range(world)] == together
    keys = [(*key, 0)[:3] for together in whole for key in together]
    assert len(set(keys)) == len(keys) == len(labels) // (batch * world) * batch * world
    order = one._order(epoch)
    drawn = Counter(labels[entry % len(labels)] for entry in order.tolist())
    assert drawn.keys() == set(labels) and max(drawn.values()) - min(drawn.values()) <= 1
    # of each class, no item comes again before all others have come
    for label in drawn:
        times = Counter(entry % len(labels) for entry in order.tolist() if labels[entry % len(labels)] == label)
        counts = [times[item] for item in range(len(labels)) if labels[item] == label]
        assert max(counts) - min(counts) <= 1
        turns = sorted(entry // len(labels) for entry in order.tolist() if labels[entry % len(labels)] == label)
        assert turns == sorted(turn for count in counts for turn in range(count))


def test_balanced_epochs_differ() -> None:
    labels = [0] * 90 + [1] * 10
    of_epochs = [set(BalancedBatches(labels, batch_size=10, seed=5)._order(epoch).tolist()) for epoch in range(2)]
    frequent = [{entry for entry in order if entry < 90} for order in of_epochs]
    assert frequent[0] != frequent[1] and {len(part) for part in frequent} == {50}
    assert np.unique([entry % 100 for entry in of_epochs[0] if entry % 100 >= 90]).size == 10


def test_a_batch_needs_enough_items() -> None:
    message = r"`batch_size` times the number of processes \(5 x 3\) must be at most the number of items, .* are 14\."
    with pytest.raises(ValueError, match=message):
        EpochBatches(14, batch_size=5, seed=0, rank=1, world=3)


@given(size=st.integers(0, 53), world=st.integers(1, 7))
def test_evaluation_sees_each_item_once(size: int, world: int) -> None:
    shares = [share_of(size, rank=rank, world=world) for rank in range(world)]
    assert sorted(i for share in shares for i in share) == list(range(size))
