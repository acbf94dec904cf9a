import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from multiattn.alignment import begin_frames, dtw, evidence, median_filter
from multiattn.alignment.dtw import monotonic_frames


def naive_total(cost):
    """Compute the cost of the cheapest path to each cell, cell by cell."""
    total = np.full(cost.shape, np.inf, dtype=cost.dtype)
    for i, j in itertools.product(*map(range, cost.shape)):
        ways = [total[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
        total[i, j] = cost[i, j] + (min(ways) if ways else 0)
    return total


def all_paths(n, m):
    """Every path from the first cell to the last."""
    if (n, m) == (1, 1):
        return [[(0, 0)]]
    before = [(n - 1, m), (n, m - 1), (n - 1, m - 1)]
    return [[*path, (n - 1, m - 1)] for a, b in before if a and b for path in all_paths(a, b)]


NUMBERS = st.floats(-9, 9, width=32)


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.integers(-3, 3)))
def test_the_path_is_the_cheapest_and_of_several_the_earliest_at_the_last_rows(cost):
    rows, cols = dtw(cost)
    price = {tuple(path): sum(cost[cell] for cell in path) for path in all_paths(*cost.shape)}
    cheapest = [path for path, sum_ in price.items() if sum_ == min(price.values())]
    found = tuple(zip(rows.tolist(), cols.tolist(), strict=True))
    assert found in cheapest

    def begins(path):
        return [min(col for row, col in path if row == i) for i in reversed(range(len(cost)))]

    assert begins(found) == min(begins(path) for path in cheapest)


@given(arrays(np.float32, st.tuples(st.integers(1, 23), st.integers(1, 37)), elements=NUMBERS))
def test_the_path_has_valid_steps_and_the_cost_of_the_naive_table(cost):
    rows, cols = dtw(cost)
    assert (rows[0], cols[0]) == (0, 0) and (rows[-1], cols[-1]) == (cost.shape[0] - 1, cost.shape[1] - 1)
    steps = set(zip(np.diff(rows).tolist(), np.diff(cols).tolist(), strict=True))
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert cost[rows, cols].astype(np.float64).sum() == pytest.approx(float(naive_total(cost)[-1, -1]), abs=1e-3)


def test_a_long_path_is_the_naive_one_step_by_step():
    cost = np.random.default_rng(3).normal(size=(41, 173))
    total = naive_total(cost)
    i, j = 40, 172
    path = [(i, j)]
    while (i, j) != (0, 0):
        before = [(a, b) for a, b in ((i, j - 1), (i - 1, j), (i - 1, j - 1)) if a >= 0 and b >= 0]
        i, j = min(before, key=lambda cell: total[cell])
        path.append((i, j))
    assert list(zip(*dtw(cost), strict=True)) == path[::-1]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_cost_matrix_is_refused(shape):
    with pytest.raises(ValueError, match=r"`cost` must have rows and columns, but is of shape \(\d, \d\) instead"):
        dtw(np.zeros(shape))


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 29)), elements=NUMBERS),
    st.sampled_from([1, 3, 5, 7, 11]),
)
def test_the_filter_is_the_median_of_the_mirrored_windows(x, width):
    found = median_filter(x, width)
    if x.shape[1] <= width // 2:
        np.testing.assert_array_equal(found, x)
        return
    mirrored = np.pad(x, ((0, 0), (width // 2, width // 2)), mode="reflect")
    windows = np.stack([mirrored[:, i : i + width] for i in range(x.shape[1])], axis=1)
    np.testing.assert_array_equal(found, np.median(windows, axis=-1).astype(np.float32))


def test_the_filter_does_the_same_in_chunks():
    x = np.random.default_rng(5).normal(size=(131, 1009)).astype(np.float32)  # more than it takes at once
    np.testing.assert_array_equal(median_filter(x, 7)[97:98], median_filter(x[97:98], 7))


def test_arguments_stay_unchanged():
    x = np.random.default_rng(6).normal(size=(3, 17)).astype(np.float32)
    before = x.copy()
    median_filter(x, 5), evidence(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("width", [0, -1, 4])
def test_an_even_width_is_refused(width):
    with pytest.raises(ValueError, match=f"`width` must be an odd number, but is {width} instead"):
        median_filter(np.zeros((2, 11), dtype=np.float32), width)


def test_evidence_is_attention_standardized_over_the_tokens():
    weights = np.random.default_rng(7).random((11, 19)).astype(np.float32)
    weights[:, 4] = 0.25  # constant attention
    found = evidence(weights, filter_width=1)
    np.testing.assert_allclose(np.delete(found, 4, axis=1).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(found, 4, axis=1).std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(found[:, 4], 0)


def attention_at(centers, frames, width=2.0):
    """Rows of attention around these frames."""
    near = np.exp(-((np.arange(frames) - np.array(centers)[:, None]) ** 2) / (2 * width**2))
    return (near / near.sum(axis=1, keepdims=True)).astype(np.float32)


def test_tokens_begin_half_way_between_the_attended_frames():
    begins = begin_frames(evidence(attention_at([10, 30, 40, 70], 83)))
    assert begins[0] == 0
    np.testing.assert_allclose(begins[1:], [20, 35, 55], atol=2)


def test_a_uniform_head_changes_nothing():
    weights = attention_at([10, 30, 40, 70], 83)
    flat = np.full_like(weights, 1 / 83)
    alone, beside = evidence(weights), (evidence(weights) + evidence(flat)) / 2
    np.testing.assert_array_equal(begin_frames(beside), begin_frames(alone))


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize(("rows", "frames"), [(1, 5), (3, 7), (5, 3)])
def test_monotonic_frames_are_the_best_of_all_that_never_fall(rows, frames, seed):
    attention = np.random.default_rng(seed).dirichlet(np.full(frames, 0.3), rows)
    found = monotonic_frames(attention)
    assert (np.diff(found) >= 0).all()
    logs = np.log(np.maximum(attention, 1e-9))
    best = max(
        logs[np.arange(rows), list(path)].sum() for path in itertools.combinations_with_replacement(range(frames), rows)
    )
    assert logs[np.arange(rows), found].sum() == pytest.approx(best)
