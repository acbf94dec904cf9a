import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.attention import Mask
from tests.reference import may_attend

rules = st.fixed_dictionaries({"causal": st.booleans()}) | st.fixed_dictionaries(
    {"causal": st.booleans(), "window": st.integers(0, 6), "dilation": st.integers(1, 4)}
)


@settings(deadline=None, max_examples=80)
@given(rule=rules, q_len=st.integers(1, 11), k_len=st.integers(1, 13), padded=st.booleans(), data=st.data())
def test_dense_says_what_the_rule_says_pair_by_pair(rule, q_len, k_len, padded, data):
    keys, tokens = None, [[], []]
    if "window" in rule:
        tokens = data.draw(
            st.lists(st.lists(st.integers(-1, k_len - 1), min_size=2, max_size=2), min_size=2, max_size=2)
        )
    if padded:
        keys = torch.tensor([data.draw(st.lists(st.booleans(), min_size=k_len, max_size=k_len)) for _ in range(2)])
    dense = Mask(**rule, keys=keys, global_tokens=torch.tensor(tokens) if "window" in rule else None)
    dense = dense.dense(q_len, k_len)
    for b in range(dense.shape[0]):
        for i in range(q_len):
            for j in range(k_len):
                attention_mask = keys is None or bool(keys[b, j])
                expected = may_attend(
                    i, j, q_len, k_len, **rule, global_tokens=set(tokens[b]) - {-1}, attention_mask=attention_mask
                )
                assert dense[b, 0, i, j] == expected


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
    with pytest.raises(ValueError, match="`dilation` must be at least 1, but is 0"):
        Mask(window=3, dilation=0)
    for rule in ({"dilation": 2}, {"global_tokens": torch.tensor([[0]])}):
        with pytest.raises(ValueError, match="`window` must be given with `dilation` or `global_tokens`, but is None"):
            Mask(**rule)


@pytest.mark.parametrize("token", [5, -2])
def test_a_global_token_out_of_range_is_named(token):
    mask = Mask(window=1, global_tokens=torch.tensor([[0, token]]))
    with pytest.raises(
        ValueError, match=f"`global_tokens` must be from 0 to 4, or -1 for none, but one is {token} inst"
    ):
        mask.dense(5, 5)
