import copy

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.maps import BY_CLASS, METHODS, attention_stack, class_attention, explain, sharpness
from multiattn.maps import image as image_module
from multiattn.models import ViT, ViTConfig
from tests.maps.explicit import Explicit

SIZES = {"image_size": (15, 21), "patch_size": 3, "num_classes": 5, "dim": 21, "num_heads": 3, "mlp_dim": 29}
GRID = (5, 7)
CONFIGS = {
    "class token, registers": ViTConfig(**SIZES, depth=3, num_registers=2),
    "mean of patches": ViTConfig(**SIZES, depth=2, class_token=False, pool="mean"),
    "class token and distilled token": ViTConfig(**SIZES, depth=2, distilled=True, num_registers=1),
    "relative bias": ViTConfig(**SIZES, depth=2, positions="none", relative_bias="block", pool="mean"),
    "learned query": ViTConfig(**SIZES, depth=2, class_token=False, num_registers=1, pool="attention", gated=True),
    "learned query of all tokens": ViTConfig(**SIZES, depth=2, pool="attention", pool_prefix=True),
    "class token and mean of patches": ViTConfig(**SIZES, depth=2, num_registers=2, pool="class_mean"),
}
B = 2


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    torch.manual_seed(0)
    model = ViT(request.param).eval()
    with torch.no_grad():  # the usual start is so small that every row of attention is flat
        for parameter in model.parameters():
            parameter.normal_(std=0.25)
    return model


@pytest.fixture
def images():
    return torch.randn(B, 3, 15, 21, generator=torch.Generator().manual_seed(1))


def whole_weights(model, images):
    """Every row of every block's weights, (b, h, n, n), in the graph, and the logits they lead to.

    Last among the weights are those of a learned query, (b, h, 1, k).
    """
    seen = []
    for block in model.blocks:
        block.attention.score = Explicit(seen)
    tokens = model.features(images)
    read = tokens if model.config.pool_prefix else tokens[:, model.num_prefix_tokens :]
    if model.pool is not None:
        model.pool.attention.score = Explicit(seen)
        pooled = model.pool(read)
    elif model.config.pool == "class":
        pooled = tokens[:, : model.num_read].flatten(1)
    else:
        pooled = read.mean(1)
        if model.config.pool == "class_mean":
            pooled = torch.cat([tokens[:, 0], pooled], 1)
    return seen, model.head(pooled)


def readout(model, matrix, query=None):
    """The head's row of an n x n matrix, on the patches; with the weights of a learned query, (b, k), that of those."""
    prefix = model.num_prefix_tokens
    if query is not None:
        row = (query[:, None] @ matrix[:, matrix.shape[1] - query.shape[1] :])[:, 0]
    else:
        of_class, of_patches = matrix[:, : model.num_read].mean(1), matrix[:, prefix:].mean(1)
        row = {"class": of_class, "mean": of_patches, "class_mean": (of_class + of_patches) / 2}[model.config.pool]
    return row[:, prefix:].unflatten(1, GRID)


def values(maps):
    return torch.from_numpy(np.stack([m.values for m in maps])).double()


def test_rollout_is_the_product_of_the_papers_matrices(model, images):
    maps = explain(model, images, method="rollout")
    weights, _ = whole_weights(model.double(), images.double())
    tokens = weights[0].shape[-1]
    product = torch.eye(tokens, dtype=torch.float64).expand(B, -1, -1)
    for block in weights[: model.config.depth]:
        mixed = block.mean(1) + torch.eye(tokens)
        product = (mixed / mixed.sum(-1, keepdim=True)) @ product
    query = None if model.pool is None else weights[-1].mean(1)[:, 0]
    torch.testing.assert_close(values(maps), readout(model, product, query).detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("target", "versus"), [(None, None), ([4, 0], None), ([4, 0], [1, 3])])
def test_relevance_is_the_papers_update_of_the_whole_matrix(model, images, target, versus):
    maps = explain(model, images, method="relevance", target=target, versus=versus)
    weights, logits = whole_weights(model.double(), images.double().requires_grad_())
    target = logits.argmax(-1).tolist() if target is None else target
    score = logits[range(B), target].sum() - (0 if versus is None else logits[range(B), versus].sum())
    gradients = torch.autograd.grad(score, weights)
    tokens = weights[0].shape[-1]
    matrix = torch.eye(tokens, dtype=torch.float64).expand(B, -1, -1)
    raised = [(gradient * block).clamp(min=0).mean(1) for block, gradient in zip(weights, gradients, strict=True)]
    for block in raised[: model.config.depth]:  # R <- R + A R, equations 5 and 6
        matrix = matrix + block @ matrix
    query = None
    if model.pool is not None:  # the query's own R is 1; R of the tokens is normalized, equations 8 to 10
        own = matrix - torch.eye(tokens)
        matrix = own / own.sum(-1, keepdim=True) + torch.eye(tokens)
        query = raised[-1][:, 0]
    expected = readout(model, matrix, query)
    torch.testing.assert_close(values(maps), expected.detach(), atol=1e-6, rtol=1e-3)
    named = [str(t) for t in target] if versus is None else ["4 rather than 1", "0 rather than 3"]
    assert [m.target for m in maps] == named


@pytest.mark.parametrize("method", BY_CLASS)
def test_a_map_of_a_contrast_is_that_of_the_difference_of_two_scores(model, images, method):
    """A head whose rows are subtracted has that difference as its score."""
    found = explain(model, images, method=method, target=[4, 0], versus=[1, 3])
    other = copy.deepcopy(model)
    with torch.no_grad():
        for part in (other.head.weight, other.head.bias):
            part[:2] = torch.stack([part[4] - part[1], part[0] - part[3]])
    expected = explain(other, images, method=method, target=[0, 1])
    torch.testing.assert_close(values(found), values(expected), rtol=1e-3, atol=1e-6)
    alone = explain(model, images, method=method, target=[4, 0])
    assert not torch.allclose(values(found), values(alone), rtol=1e-3, atol=1e-6)


def test_many_patches_are_told_before_they_take_the_memory(model, images, monkeypatch):
    wanted = {method: values(explain(model, images, method=method)) for method in METHODS}
    monkeypatch.setattr(image_module, "free_bytes", lambda device: 150_000)  # enough for one of the pictures
    for method in METHODS:
        torch.testing.assert_close(values(explain(model, images, method=method)), wanted[method])
    monkeypatch.setattr(image_module, "free_bytes", lambda device: 1000)
    message = r"`images` must have fewer patches for the method relevance, whose 35 patches take .* GB in all layers, "
    with pytest.raises(ModelError, match=message + r".*or ask for attention or gradient_x_input"):
        explain(model, images, method="relevance")
    for method in ("attention", "gradient_x_input"):
        assert values(explain(model, images, method=method)).shape == (B, *GRID)


def test_gradient_x_input_sums_each_patch(model, images):
    maps = explain(model, images, method="gradient_x_input", target=[1, 3])
    pixels = images.clone().requires_grad_()
    logits = model(pixels)
    (logits[0, 1] + logits[1, 3]).backward()
    product = (pixels.grad * images).sum(1).abs()
    for b in range(B):
        for row in range(GRID[0]):
            for col in range(GRID[1]):
                patch = product[b, 3 * row : 3 * row + 3, 3 * col : 3 * col + 3]
                assert maps[b].values[row, col] == pytest.approx(patch.sum().item(), rel=1e-4, abs=1e-7)


def test_attention_is_the_stacks_last_layer_and_can_be_chosen(model, images):
    stacks = values(attention_stack(model, images))
    assert stacks.shape == (B, model.config.depth, 3, *GRID)
    weights, _ = whole_weights(model.double(), images.double())
    query = None if model.pool is None else weights[-1].mean(1)[:, 0]
    for layer, block in enumerate(weights[: model.config.depth]):
        expected = torch.stack([readout(model, block[:, head], query) for head in range(3)], dim=1)
        torch.testing.assert_close(stacks[:, layer], expected.detach(), atol=1e-6, rtol=1e-4)


def test_layer_and_head_choose_from_the_stack(model, images):
    stacks = values(attention_stack(model, images))
    last = explain(model, images, method="attention")
    if model.pool is None:
        torch.testing.assert_close(values(last), stacks[:, -1].mean(1), atol=1e-7, rtol=0)
    else:  # what the learned query attends to, which is what the classifier reads
        assert last[0].sites == ("pool.cross",)
        tap = Tap(model.attention_sites(), select="pool.*")
        model(images, tap=tap)
        patches = tap.weights["pool.cross"][:, :, 0, -GRID[0] * GRID[1] :].mean(1).unflatten(1, GRID)
        torch.testing.assert_close(values(last), patches.double(), atol=1e-7, rtol=0)
    chosen = explain(model, images, method="attention", layer=0, head=2)
    assert torch.equal(values(chosen), stacks[:, 0, 2])
    assert chosen[0].sites == ("blocks.0.self",)
    assert chosen[0].heads == (2,)
    second = values(explain(model, images, method="attention", layer=-2))
    torch.testing.assert_close(second, stacks[:, -2].mean(1), atol=1e-7, rtol=0)


def test_the_sharpest_head_is_chosen_for_each_picture(model, images):
    maps = explain(model, images, method="attention", head="sharpest", layer=-1)
    weights = class_attention(model, images)[:, -1]
    for i, m in enumerate(maps):
        (head,) = m.heads
        assert sharpness(weights[i, head]) == sharpness(weights[i]).max()


def test_sharpness_is_one_on_a_single_token_and_zero_when_even():
    assert sharpness(torch.eye(7)[:2]).tolist() == pytest.approx([1.0, 1.0])
    assert sharpness(torch.full((3, 11), 1 / 11)).tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    assert sharpness(torch.tensor([0.5, 0.5, 0.0, 0.0])).item() == pytest.approx(0.5)


def test_attention_and_rollout_are_shares(model, images):
    for method in ("attention", "rollout"):
        for m in explain(model, images, method=method):
            assert m.values.min() >= 0
            assert 0 < m.values.sum() <= 1 + 1e-6
    if model.config.num_registers == 0 and not model.config.class_token:
        assert explain(model, images, method="rollout")[0].values.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_has_the_same_map_alone_and_in_a_batch(model, images, method):
    together = explain(model, images, method=method, target=[2, 2])
    alone = explain(model, images[1:], method=method, target=[2])
    np.testing.assert_allclose(together[1].values, alone[0].values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_frozen_weights_and_inference_mode_do_not_matter(model, images, method, mode):
    before = explain(model, images, method=method)[0].values
    model.requires_grad_(False)
    with mode():
        images = images.clone()  # in inference mode a tensor that autograd refuses
        found = explain(model, images, method=method)[0].values
        if len(model.relative_bias):  # under autograd, torch has another kernel for a bias that is learned
            np.testing.assert_allclose(found, before, rtol=1e-5, atol=1e-6)
        else:
            assert np.array_equal(found, before)


def test_labels_and_other_input_sizes(model):
    images = torch.randn(1, 3, 30, 9, generator=torch.Generator().manual_seed(2))
    (m,) = explain(model, images, method="relevance", target=[1], labels=["ant", "bee", "cat", "doe", "eel"])
    assert m.target == "bee"
    assert m.values.shape == (10, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "gradcam"},
            "no map method 'gradcam'; there are: attention, rollout, relevance, lrp, gradient_x_inp",
        ),
        ({"method": "rollout", "head": 1}, "a layer or head can be chosen for the method 'attention', not for 'roll"),
        ({"method": "attention", "layer": 7}, "`layer` must be from -"),
        ({"method": "attention", "head": 3}, "`head` must be from 0 to 2 or 'sharpest', but is 3"),
        ({"method": "relevance", "target": [5, 0]}, "`target` must be a class from 0 to 4, but is 5"),
        ({"method": "rollout", "geometries": [None]}, "`geometries` must be one for each of 2 pictures, but are 1"),
        ({"method": "relevance", "target": [1]}, "`target` must be one for each of 2 pictures, but are 1"),
    ],
)
def test_refusals(model, images, options, message):
    with pytest.raises(ModelError, match=message):
        explain(model, images, **options)


def brightness_model():
    """A ViT made by hand whose class token attends to bright patches."""
    config = ViTConfig(image_size=(48, 48), patch_size=8, num_classes=2, dim=8, depth=1, num_heads=1, mlp_dim=8)
    model = ViT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.stem.proj.weight[0] = 1 / (3 * 64)  # channel 0: the patch's mean brightness
        for norm in (model.blocks[0].norm1, model.norm):
            norm.weight.fill_(1)
        attention = model.blocks[0].attention
        attention.qkv.bias[0] = 4.0  # every query asks for channel 0
        attention.qkv.weight[8, 0] = 1.0  # which every key shows
        attention.qkv.weight[16:] = torch.eye(8)
        attention.out.weight.copy_(torch.eye(8))
        model.head.weight[1, 0] = 1.0
    return model


@pytest.mark.parametrize("method", ["attention", "rollout", "relevance", "gradient_x_input"])
@pytest.mark.parametrize(
    ("size", "spot"),
    [((160, 96), (88, 40)), ((96, 160), (20, 60)), ((71, 50), (30, 31))],
    ids=["landscape", "portrait", "odd"],
)
def test_the_map_lands_on_the_one_salient_patch_of_the_source(method, size, spot):
    """From file to map and back to source pixels, for pictures that are not square."""
    width, height = size
    picture = Image.new("RGB", size, "black")
    side = min(size) // 8
    ImageDraw.Draw(picture).rectangle([*spot, spot[0] + side, spot[1] + side], fill="white")
    preprocessing = ImagePreprocessing((48, 48), 48, "bilinear", (0.0,) * 3, (1.0,) * 3)
    pixels, geometry = preprocessing(picture)
    (m,) = explain(brightness_model(), pixels[None], method=method, target=[1], geometries=[geometry])
    row, col = np.unravel_index(m.values.argmax(), m.values.shape)
    left, top = m.geometry.to_source(8.0 * col, 8.0 * row)
    right, bottom = m.geometry.to_source(8.0 * (col + 1), 8.0 * (row + 1))
    center = (spot[0] + side / 2, spot[1] + side / 2)
    assert left - side / 2 <= center[0] <= right + side / 2
    assert top - side / 2 <= center[1] <= bottom + side / 2
