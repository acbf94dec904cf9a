import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.attention import Mask
from tests.reference import may_attend

rules = st.fixed_dictionaries({"causal": st.booleans(), "window": st.none() | st.integers(0, 6)})


@settings(deadline=None, max_examples=50)
@given(rule=rules, q_len=st.integers(1, 11), k_len=st.integers(1, 13), padded=st.booleans(), data=st.data())
def test_dense_says_what_the_rule_says_pair_by_pair(rule, q_len, k_len, padded, data):
    keys = None
    if padded:
        keys = torch.tensor([data.draw(st.lists(st.booleans(), min_size=k_len, max_size=k_len)) for _ in range(2)])
    dense = Mask(**rule, keys=keys).dense(q_len, k_len)
    for b in range(dense.shape[0]):
        for i in range(q_len):
            for j in range(k_len):
                attention_mask = keys is None or bool(keys[b, j])
                assert dense[b, 0, i, j] == may_attend(i, j, q_len, k_len, **rule, attention_mask=attention_mask)


def test_one_cached_query_sees_all_keys_before_it():
    assert Mask(causal=True).dense(1, 7).all()
    assert Mask(causal=True, window=2).dense(1, 7)[0, 0, 0].tolist() == [False] * 4 + [True] * 3


def test_rows_are_rows_of_the_whole():
    mask = Mask(causal=True, window=3, keys=torch.tensor([[False, *[True] * 10]]))
    rows = torch.tensor([4, 0, 6])
    assert torch.equal(mask.dense(7, 11, rows=rows), mask.dense(7, 11)[:, :, rows])


def test_refusals_name_the_argument_and_the_rule():
    with pytest.raises(ValueError, match="`window` must be at least 0, but is -1"):
        Mask(window=-1)
    with pytest.raises(ValueError, match="`keys` must be boolean"):
        Mask(keys=torch.ones(1, 3))
    with pytest.raises(ValueError, match="`keys` must cover the 5 keys, but covers 3"):
        Mask(keys=torch.ones(1, 3, dtype=torch.bool)).dense(2, 5)
