"""Which item comes when: the same for any number of processes, and from any batch on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.tasks.loading.sampler import EpochBatches, share_of


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


def test_a_batch_needs_enough_items() -> None:
    message = r"`batch_size` times the number of processes \(5 x 3\) must be at most the number of items, .* are 14\."
    with pytest.raises(ValueError, match=message):
        EpochBatches(14, batch_size=5, seed=0, rank=1, world=3)


@given(size=st.integers(0, 53), world=st.integers(1, 7))
def test_evaluation_sees_each_item_once(size: int, world: int) -> None:
    shares = [share_of(size, rank=rank, world=world) for rank in range(world)]
    assert sorted(i for share in shares for i in share) == list(range(size))
