import threading

import pytest
import torch

from multiattn.attention import Attention, Mask, Site, Tap
from multiattn.errors import ModelError
from multiattn.models import ViT, ViTConfig
from tests.reference import dot_product_scores, naive_weights

B = 2
CONFIG = ViTConfig(image_size=(15, 21), patch_size=3, num_classes=5, dim=21, depth=3, num_heads=3, mlp_dim=29)
TOKENS = 1 + 5 * 7


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ViT(CONFIG).eval()


@pytest.fixture
def images():
    return torch.randn(B, 3, 15, 21, generator=torch.Generator().manual_seed(1))


def expected_weights(block, x):
    """The oracle's weights of a block's self-attention on its input `x`."""
    qkv = block.attention.qkv(block.norm1(x))
    q, k, _ = qkv.unflatten(-1, (3, 3, 7)).permute(2, 0, 3, 1, 4)
    return naive_weights(dot_product_scores(q, k))


def inputs_of_blocks(model, images):
    seen = []
    handles = [block.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for block in model.blocks]
    model(images)
    for handle in handles:
        handle.remove()
    return seen


def test_weights_equal_the_oracle_at_every_site(model, images):
    tap = Tap(model.attention_sites())
    with torch.no_grad():
        model(images, tap=tap)
        inputs = inputs_of_blocks(model, images)
    assert list(tap.weights) == ["blocks.0.self", "blocks.1.self", "blocks.2.self"]
    for i, (block, x) in enumerate(zip(model.blocks, inputs, strict=True)):
        weights = tap.weights[f"blocks.{i}.self"]
        expected = expected_weights(block, x)[:, :, : weights.shape[2]]
        torch.testing.assert_close(weights.double(), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-6, rtol=0)
    assert tap.weights["blocks.2.self"].shape == (B, 3, 1, TOKENS), "the class token is all the head reads"


def test_features_computes_every_row_of_the_last_block(model, images):
    tap = Tap(model.attention_sites(of="features"))
    model.features(images, tap=tap)
    assert tap.weights["blocks.2.self"].shape == (B, 3, TOKENS, TOKENS)


def test_output_is_bitwise_the_same_with_and_without(model, images):
    plain = model(images)
    for request in ({}, {"rows": [0]}, {"select": "blocks.1.*", "heads": [2]}, {"gradients": True}):
        assert torch.equal(model(images, tap=Tap(model.attention_sites(), **request)), plain)


def test_training_gradients_are_bitwise_the_same_with_and_without(model, images):
    def gradients(tap):
        return torch.autograd.grad(model(images, tap=tap).square().sum(), list(model.parameters()))

    tapped = gradients(Tap(model.attention_sites(), gradients=True))
    assert all(torch.equal(a, b) for a, b in zip(tapped, gradients(None), strict=True))


def test_heads_and_rows_are_parts_of_the_whole(model, images):
    sites = model.attention_sites(of="features")
    whole = Tap(sites)
    model.features(images, tap=whole)
    part = Tap(sites, select=["blocks.0.self", "*.2.*"], heads=[2, 0], rows=[0, -1, 4])
    model.features(images, tap=part)
    assert list(part.weights) == ["blocks.0.self", "blocks.2.self"]
    for name, weights in part.weights.items():
        expected = whole.weights[name][:, [2, 0]][:, :, [0, -1, 4]]
        torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("request_", [{}, {"rows": [0]}, {"heads": [1], "select": "blocks.0.*"}])
def test_bytes_are_known_before_and_true_after(model, images, request_):
    tap = Tap(model.attention_sites((15, 21)), **request_)
    stated = tap.nbytes(batch_size=B)
    model(images, tap=tap)
    assert stated == sum(weights.nbytes for weights in tap.weights.values())


def test_gradients_are_those_of_an_explicit_softmax_attention(model, images):
    """Replaces the fused kernel by softmax(q k^T) v with the weights as leaves; autograd gives the oracle."""

    class Explicit(torch.nn.Module):
        def forward(self, q, k, v, *, mask, bias=None, dropout_p=0.0):
            weights = (q @ k.transpose(-1, -2) * 7**-0.5).softmax(-1).detach().requires_grad_()
            leaves.append(weights)
            return weights @ v

        def weights(self, q, k, *, mask=None, bias=None, rows=None, heads=None):
            raise AssertionError("not tapped")

    tap = Tap(model.attention_sites(), gradients=True)
    ours = tap.gradients(model(images, tap=tap)[:, 3].sum())

    leaves = []
    scores = [block.attention.score for block in model.blocks]
    for block in model.blocks:
        block.attention.score = Explicit()
    theirs = torch.autograd.grad(model(images)[:, 3].sum(), leaves)
    for block, score in zip(model.blocks, scores, strict=True):
        block.attention.score = score
    # with the weights as leaves, no gradient flows through q and k of later blocks: compare the last block, which
    # nothing follows, and check the earlier ones against finite differences below
    torch.testing.assert_close(ours["blocks.2.self"], theirs[-1], atol=1e-6, rtol=1e-5)


def test_gradients_of_an_early_block_are_its_finite_differences(model, images):
    model.double()
    images = images.double()
    tap = Tap(model.attention_sites(), gradients=True)
    gradient = tap.gradients(model(images, tap=tap)[:, 1].sum())["blocks.0.self"]
    score = model.blocks[0].attention.score

    def logit_with(step):
        class Nudged(torch.nn.Module):
            def forward(self, q, k, v, *, mask, bias=None, dropout_p=0.0):
                weights = (q @ k.transpose(-1, -2) * 7**-0.5).softmax(-1)
                weights[1, 2, 4, 6] += step
                return weights @ v

            def weights(self, q, k, *, mask=None, bias=None, rows=None, heads=None):
                raise AssertionError("not tapped")

        model.blocks[0].attention.score = Nudged()
        with torch.no_grad():
            logit = model(images)[:, 1].sum()
        model.blocks[0].attention.score = score
        return logit

    slope = (logit_with(1e-4) - logit_with(-1e-4)) / 2e-4
    torch.testing.assert_close(gradient[1, 2, 4, 6].double(), slope, atol=1e-7, rtol=1e-4)


def test_weights_are_fp32_and_exact_under_autocast(model, images):
    """bf16 q and k, but their product and softmax in fp32."""
    tap = Tap(model.attention_sites(), select="blocks.0.self")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(images, tap=tap)
    weights = tap.weights["blocks.0.self"]
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", [{"causal": True}, {"window": 2}, {"causal": True, "window": 1}])
def test_the_mask_of_the_kernel_is_the_mask_of_the_tap(rule):
    torch.manual_seed(0)
    attention = Attention(15, 5)
    x = torch.randn(B, 7, 15)
    tap = Tap([Site("here.self", 5, 7, 7)])
    attention(x, mask=Mask(**rule), probe=tap.at("here").at("self"))
    q, k, _ = attention.qkv(x).unflatten(-1, (3, 5, 3)).permute(2, 0, 3, 1, 4)
    expected = naive_weights(dot_product_scores(q, k), **rule)
    torch.testing.assert_close(tap.weights["here.self"].double(), expected, atol=1e-6, rtol=0)


def test_a_fully_padded_item_gives_rows_of_zero():
    attention = Attention(15, 5)
    keys = torch.tensor([[True] * 7, [False] * 7])
    tap = Tap([Site("self", 5, 7, 7)], rows=[-1])
    attention(torch.randn(B, 7, 15), mask=Mask(keys=keys), probe=tap.at("self"))
    sums = tap.weights["self"].sum(-1)
    torch.testing.assert_close(sums, torch.tensor([1.0, 0.0])[:, None, None].expand_as(sums))


@pytest.mark.parametrize("learn", [True, False])
def test_only_weights_that_are_to_be_learnt_are_part_of_the_graph(learn):
    """Two rows share a context; the gradient of a loss of the weights is that of the oracle's."""
    torch.manual_seed(0)
    attention, x, context = Attention(15, 5, kv_dim=11).double(), torch.randn(4, 3, 15), torch.randn(B, 7, 11)
    x, context = x.double().requires_grad_(), context.double()
    tap = Tap([Site("cross", 5, 3, 7)], rows=[1], learn=learn)
    attention(x, context, probe=tap.at("cross"))
    weights = tap.weights["cross"]
    assert weights.requires_grad == learn
    if learn:
        found, *of_layers = torch.autograd.grad(weights[..., 2].log().sum(), [x, *attention.kv.parameters()])
        q = attention.q(x).unflatten(-1, (5, 3)).transpose(1, 2)
        k = attention.keys_values(context.repeat_interleave(2, dim=0)).keys
        oracle = (q[:, :, 1:2] @ k.mT * 3**-0.5).softmax(dim=-1)[..., 2].log().sum()
        expected, *of_theirs = torch.autograd.grad(oracle, [x, *attention.kv.parameters()])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        for one, other in zip(of_layers, of_theirs, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("request_", [{}, {"rows": [-1, 0]}, {"heads": [3, 1], "rows": [1]}])
def test_rows_that_share_a_context_have_weights_and_gradients_of_their_own(request_):
    torch.manual_seed(0)
    attention, x, context = Attention(15, 5, kv_dim=11), torch.randn(6, 3, 15), torch.randn(B, 7, 11)
    keys = torch.rand(B, 7) > 0.3
    shared, single = (Tap([Site("cross", 5, 3, 7)], gradients=True, **request_) for _ in range(2))
    together = attention(x, context, mask=Mask(keys=keys), probe=shared.at("cross"))
    each = Mask(keys=keys.repeat_interleave(3, dim=0))
    alone = attention(x, context.repeat_interleave(3, dim=0), mask=each, probe=single.at("cross"))
    torch.testing.assert_close(shared.weights["cross"], single.weights["cross"], atol=1e-6, rtol=0)
    gradients = [tap.gradients(out.square().sum())["cross"] for tap, out in ((shared, together), (single, alone))]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_two_threads_with_two_taps_do_not_meet(model):
    pictures = [torch.randn(1, 3, 15, 21, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    alone = []
    for picture in pictures:
        tap = Tap(model.attention_sites())
        model(picture, tap=tap)
        alone.append(tap.weights)
    together: dict[int, list] = {i: [] for i in range(4)}

    def work(i):
        for _ in range(7):
            tap = Tap(model.attention_sites())
            model(pictures[i], tap=tap)
            together[i].append(tap.weights)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert len(together[i]) == 7
        for weights in together[i]:
            assert all(torch.equal(weights[name], alone[i][name]) for name in alone[i])


def test_a_request_that_matches_nothing_lists_what_there_is(model):
    with pytest.raises(ModelError, match=r"no attention site matches 'block\.\*'; there are: blocks\.0\.self, blocks"):
        Tap(model.attention_sites(), select="block.*")
    with pytest.raises(ModelError, match="head 3 does not exist at blocks.0.self, which has 3 heads"):
        Tap(model.attention_sites(), heads=[3])
    with pytest.raises(ModelError, match="row 1 does not exist at blocks.2.self, which has 1 rows"):
        Tap(model.attention_sites(), rows=[1])


@pytest.mark.parametrize("name", ["select", "heads", "rows"])
def test_an_empty_request_is_refused(model, name):
    with pytest.raises(ModelError, match=f"`{name}` must ask for at least one, but is empty"):
        Tap(model.attention_sites(), **{name: []})


def test_a_score_from_elsewhere_has_no_gradients(model, images):
    tap = Tap(model.attention_sites(), gradients=True)
    model(images, tap=tap)
    with pytest.raises(ModelError, match="the score does not depend on what the tap kept"):
        tap.gradients(model(images).sum())


def test_a_tap_that_was_not_reached_says_so(model, images):
    tap = Tap(model.attention_sites())
    with pytest.raises(ModelError, match="the tap was not reached at blocks.0.self"):
        _ = tap.weights
    with pytest.raises(ModelError, match="made for another model: it does not know the site blocks.0.self"):
        model(images, tap=Tap([Site("encoder.blocks.0.self", 3, 2, 2)]))
    plain = Tap(model.attention_sites())
    score = model(images, tap=plain).sum()
    with pytest.raises(ModelError, match="make it with gradients=True"):
        plain.gradients(score)
