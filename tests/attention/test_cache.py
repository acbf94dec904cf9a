import pytest
import torch

from multiattn.attention import Attention, DecoderCache, GrowingCache, KeysValues, Mask, ProjectedContext, Site, Tap
from multiattn.errors import ModelError

ROWS, CONTEXTS, LAYERS, HEADS, WIDTH, MEMORY, CAPACITY = 6, 2, 2, 3, 5, 7, 11


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def new_cache(rows=ROWS):
    layers = [
        KeysValues(normals(CONTEXTS, HEADS, MEMORY, WIDTH, seed=i), normals(CONTEXTS, HEADS, MEMORY, WIDTH, seed=9 + i))
        for i in range(LAYERS)
    ]
    return DecoderCache(ProjectedContext(tuple(layers)), rows=rows, capacity=CAPACITY)


def fill(cache, count, seed, attention_mask=None):
    """Put random positions into every layer; what each layer then has in all."""
    cache.advance(count, attention_mask)
    return [
        cache.layer(i).append(
            normals(cache.rows, HEADS, count, WIDTH, seed=seed + i),
            normals(cache.rows, HEADS, count, WIDTH, seed=-seed),
        )
        for i in range(LAYERS)
    ]


def test_what_was_appended_is_there_in_order():
    keys, values = normals(2, HEADS, CAPACITY, WIDTH), normals(2, HEADS, CAPACITY, WIDTH, seed=1)
    cache = GrowingCache(torch.empty_like(keys), torch.empty_like(values))
    for start, end in ((0, 3), (3, 4), (4, CAPACITY)):
        so_far = cache.append(keys[:, :, start:end], values[:, :, start:end])
        assert cache.length == end
        assert torch.equal(so_far.keys, keys[:, :, :end]) and torch.equal(so_far.values, values[:, :, :end])


def test_a_cache_that_is_full_says_so_and_keeps_what_it_has():
    cache = new_cache()
    fill(cache, CAPACITY - 1, seed=3)
    before = cache.layer(0)._keys[:, :, : CAPACITY - 1].clone()
    expected = rf"the decode needs {CAPACITY + 1} positions, but its cache has room for {CAPACITY}: .* `capacity`"
    with pytest.raises(ModelError, match=expected):
        cache.advance(2, None)
    assert cache.length == CAPACITY - 1 and torch.equal(cache.layer(0)._keys[:, :, : CAPACITY - 1], before)
    layer = GrowingCache(torch.empty(1, 1, 2, 1), torch.empty(1, 1, 2, 1))
    with pytest.raises(ModelError, match="needs 3 positions"):
        layer.append(torch.ones(1, 1, 3, 1), torch.ones(1, 1, 3, 1))


def test_rows_are_reordered_repeated_and_dropped_with_their_contexts():
    cache = new_cache()
    first = [(kv.keys.clone(), kv.values.clone()) for kv in fill(cache, 4, seed=3)]
    context = cache.context
    assert len(context) == CONTEXTS and context.device == torch.device("cpu")
    cache.select(torch.tensor([2, 0, 0, 5, 4, 3]))
    assert cache.context is context  # the frozen state is never copied for beams
    cache.select(torch.tensor([4, 3, 5, 4]), items=torch.tensor([1]))
    assert cache.rows == 4
    new_layers, filled = cache.context.layers, fill(cache, 2, seed=5)
    for (keys, values), new, old, layer in zip(first, new_layers, context.layers, filled, strict=True):
        assert len(new) == 1 and new.runs == (slice(1, 2),)
        assert new.keys is old.keys and new.values is old.values  # nor for the items that stay, on a CPU
        assert torch.equal(layer.keys[:, :, :4], keys[[4, 5, 3, 4]])
        assert torch.equal(layer.values[:, :, :4], values[[4, 5, 3, 4]])


def test_part_of_a_context_attends_as_a_copy_of_it():
    torch.manual_seed(3)
    attention = Attention(14, 2, kv_dim=11)
    projected = attention.keys_values(torch.randn(5, 7, 11))
    mask = torch.rand(5, 7) > 0.3
    whole = ProjectedContext((projected,), mask)
    x = torch.randn(3 * 4, 1, 14)
    for chosen in ([0, 1, 2, 3], [3, 4, 0, 1], [4, 2, 2, 0], [1, 3, 4, 2]):
        items = torch.tensor(chosen)
        copy, part = whole.select(items), whole.part(items)
        assert len(part) == len(copy) == 4 and torch.equal(part.attention_mask, copy.attention_mask)
        for one, other in ((part, copy), (part.part(torch.tensor([2, 0])), copy.select(torch.tensor([2, 0])))):
            rows = x[: 3 * len(one)]
            keys, given = Mask(keys=one.attention_mask), other.layers[0]
            assert torch.equal(attention(rows, one.layers[0], mask=keys), attention(rows, given, mask=keys))
            taps = [Tap([Site("cross", num_heads=2, q_len=3, k_len=7)]) for _ in range(2)]
            for tap, context in zip(taps, (one.layers[0], given), strict=True):
                attention(rows, context, mask=keys, probe=tap.at("cross"))
            assert torch.equal(taps[0].weights["cross"], taps[1].weights["cross"])
        again = part.select(torch.tensor([1]))
        assert torch.equal(again.layers[0].keys, projected.keys[chosen[1]][None])


def test_rows_that_do_not_share_the_contexts_evenly_are_refused():
    with pytest.raises(ModelError, match=r"`rows` must be a multiple of the contexts \(2\), but is 5 instead"):
        new_cache(rows=5)
    with pytest.raises(ModelError, match=r"`rows` must be a multiple of the contexts \(2\), but is 3 instead"):
        new_cache().select(torch.tensor([0, 1, 2]))


def test_positions_count_no_padding_and_follow_their_rows():
    cache = new_cache(rows=2)
    positions, attention_mask = cache.advance(3, torch.tensor([[False, False, True], [False, True, True]]))
    assert positions.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert attention_mask.tolist() == [[False, False, True], [False, True, True]]
    cache.select(torch.tensor([1, 0]))
    positions, attention_mask = cache.advance(2, None)
    assert positions.tolist() == [[2, 3], [1, 2]]
    assert attention_mask.tolist() == [[False, True, True, True, True], [False, False, True, True, True]]
    unpadded = new_cache()
    unpadded.advance(3, None)
    positions, attention_mask = unpadded.advance(2, None)
    assert positions.tolist() == [[3, 4]] and attention_mask is None


def test_attention_step_by_step_is_attention_at_once():
    attention, x = Attention(15, 3), normals(2, 7, 15)
    expected = attention(x, mask=Mask(causal=True))
    cache = GrowingCache(torch.empty(2, 3, 7, 5), torch.empty(2, 3, 7, 5))
    with torch.no_grad():
        parts = [
            attention(x[:, start:end], mask=Mask(causal=True), cache=cache)
            for start, end in ((0, 2), (2, 3), (3, 6), (6, 7))
        ]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 0, 2, 2], [1, 0, 2, 3], [3, 1, 1, 0], [2, 2, 2, 2]])
def test_rows_are_what_was_selected_whether_copied_in_place_or_not(rows: list[int]) -> None:
    """Rows that stay, are overwritten, change places, or are read and overwritten at once."""
    memory = torch.randn(4, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    context = ProjectedContext((KeysValues(torch.zeros(1, 2, 6, 5), torch.zeros(1, 2, 6, 5)),))
    cache = DecoderCache(context, rows=4, capacity=4)
    cache.advance(3, None)
    cache.layer(0).append(memory, -memory)
    cache.select(torch.tensor(rows))
    cache.advance(1, None)
    more = torch.ones(4, 2, 1, 5)
    found = cache.layer(0).append(more, more)
    assert torch.equal(found.keys[:, :, :3], memory[rows])
    assert torch.equal(found.values[:, :, :3], -memory[rows])
