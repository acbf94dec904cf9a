import numpy as np
import pytest

from multiattn.errors import ModelError
from multiattn.inputs import Geometry
from multiattn.maps import AttentionMap, Axis, choose_pointing, patches_within, points, score_pointing
from multiattn.maps.pointing import LEAST_GAIN

GRID = (5, 7)
LAYERS, HEADS, WORDS = 2, 3, 2
# of 84 x 90 source pixels the right two thirds were seen: 8 source pixels a patch across, 18 down
GEOMETRY = Geometry(source_size=(90, 84), resized_size=(45, 42), crop=(0, 14, 45, 28))


def box_of(y, x):
    """A small box around the center of a patch, in source pixels."""
    return (28 + 8 * x + 3.5, 18 * y + 8.5, 28 + 8 * x + 4.5, 18 * y + 9.5)


def stack_of(peaks, *, elsewhere=(0, 0), geometry=GEOMETRY):
    """A stack in which some heads have their maximum in a given patch, and all others elsewhere (mean of the words)."""
    values = np.zeros((LAYERS, HEADS, WORDS, *GRID), np.float32)
    for layer, head in np.ndindex(LAYERS, HEADS):
        patch = peaks.get((layer, head), elsewhere)
        values[layer, head, 0][patch] = 0.75
        values[layer, head, 1] = 0.5 * values[layer, head, 0]
        values[layer, head, 1, -1, -1] = 0.5  # higher than anything in this word, but not in the mean
    names = ("layer", "head", "word", "y", "x")
    return AttentionMap(
        values, tuple(Axis(name, "index") for name in names), "attention", ("a", "b"), None, geometry, ""
    )


def test_the_patches_within_are_those_whose_middles_are():
    over = stack_of({})
    for patch in np.ndindex(GRID):
        inside = patches_within(over, [box_of(*patch)])
        assert inside.shape == GRID and inside.sum() == 1 and inside[patch]
    two = patches_within(over, [(28 + 4.1, 0.0, 28 + 20.0, 9.0), (0.0, 0.0, 1.0, 90.0)])
    assert np.argwhere(two).tolist() == [[0, 1], [0, 2]]


def test_of_several_highest_patches_the_share_that_is_inside_counts():
    inside = np.zeros(GRID, bool)
    inside[1, 2] = inside[3, 3] = True
    values = np.zeros((3, *GRID))
    values[0, 1, 2] = 1
    values[1, 1, 2] = values[1, 2, 2] = 1
    np.testing.assert_allclose(points(values, inside), [1, 0.5, 2 / 35])


def test_each_heads_share_of_questions():
    patches = [(1, 2), (3, 6), (2, 0), (4, 1)]
    right = {(1, 2): 4, (0, 1): 3, (1, 0): 1}
    stacks = [stack_of({head: patch for head, count in right.items() if i < count}) for i, patch in enumerate(patches)]
    boxes = [[box_of(0, 3), box_of(*patch)] for patch in patches]
    scored = score_pointing([*stacks, stack_of({})], [*boxes, []])  # nothing is known of the last
    assert [one[:2] for one in scored[:4]] == [(1, 2), (0, 1), (1, 0), (0, 0)]
    assert [one.share for one in scored] == [1, 0.75, 0.25, 0, 0, 0]


def test_heads_are_chosen_that_help_each_other():
    patches = [(1, 2), (3, 6), (2, 1), (4, 1)]
    boxes = [[box_of(*patch)] for patch in patches]
    # one head is right in three of four; another in the fourth, and weak where it is wrong; a third is like the first
    heads = {(0, 1): [0, 1, 2], (1, 1): [0, 1], (1, 2): [3]}
    stacks = []
    for i, patch in enumerate(patches):
        stack = stack_of({head: patch for head, right in heads.items() if i in right})
        values = stack.values.copy()
        values[0, 1] *= 0.5 if i == 3 else 1
        values[1, 2] *= 1 if i == 3 else 0.25
        stacks.append(AttentionMap(values, stack.axes, "attention", stack.sites, None, GEOMETRY, ""))
    assert choose_pointing(stacks, boxes) == [(0, 1), (1, 2)]
    assert choose_pointing(stacks, boxes, most=1) == [(0, 1)]
    assert score_pointing(stacks, boxes)[0].share == 0.75 > LEAST_GAIN


@pytest.mark.parametrize("find", [score_pointing, choose_pointing])
@pytest.mark.parametrize(
    ("stacks", "boxes", "message"),
    [
        ([stack_of({})], [], "`boxes` must be one for each of 1 questions, but are 0"),
        ([stack_of({})], [[]], "`boxes` must be of at least one question, but no question has any"),
        ([stack_of({}, geometry=None)], [[(0.0, 0.0, 1.0, 1.0)]], "`over` must have a geometry"),
        ([], [], "`boxes` must be of at least one question"),
    ],
)
def test_refusals(find, stacks, boxes, message):
    with pytest.raises(ModelError, match=message):
        find(stacks, boxes)


@pytest.mark.parametrize("find", [score_pointing, choose_pointing])
def test_stacks_that_are_none_or_of_several_models(find):
    stack = stack_of({})
    other = AttentionMap(stack.values[:1], stack.axes, "attention", ("a",), None, GEOMETRY, "")
    with pytest.raises(ModelError, match="must be of one model, but have different numbers of layers or heads"):
        find([stack, other], [[], []])
    flat = AttentionMap(stack.values[0, 0], stack.axes[2:], "attention", ("a",), None, GEOMETRY, "")
    with pytest.raises(ModelError, match=r"must have the axes \(layer, head, word, y, x\), but one has \('word', 'y',"):
        find([flat], [[]])


def test_where_no_head_points_none_is_found():
    with pytest.raises(ModelError, match="no head of the model points at what the questions are about"):
        choose_pointing([stack_of({})], [[box_of(2, 2)]])
    with pytest.raises(ModelError, match="`most` must be at least 1, but is 0 instead"):
        choose_pointing([stack_of({})], [[box_of(2, 2)]], most=0)
