from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.models import SingleStream, SingleStreamConfig, TextEncoderConfig
from tests.reference import dot_product_scores, naive_weights

QUESTION = TextEncoderConfig(
    vocab_size=31, dim=22, depth=3, num_heads=2, mlp_dim=29, max_length=11, context_dim=None, embed_norm=True
)
CONFIG = SingleStreamConfig(QUESTION, answers=5, head_dim=17, image_size=(15, 21), patch_size=3)
PICTURE_TOKENS = 1 + 5 * 7
TOKENS = 7 + PICTURE_TOKENS


@pytest.fixture(params=[CONFIG, replace(CONFIG, question=replace(QUESTION, final_norm=False))], ids=["norm", "no norm"])
def model(request):
    model = SingleStream(request.param)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


def pictures(batch=2, size=(15, 21)):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def questions(rows=4, count=7):
    return torch.randint(31, (rows, count), generator=torch.Generator().manual_seed(2))


def padding(lengths, count=7):
    return torch.arange(count) < torch.tensor(lengths)[:, None]


def naive_states(model, images, asked):
    """Every block whole, with materialised weights, and the question's rows picked out of it at the end."""
    stack = model.stack
    text = stack.embed_norm(stack.embedding(asked) + stack.positions.weight[: asked.shape[1]]) + model.types.weight[0]
    patches = F.unfold(images, 3, stride=3).transpose(1, 2) @ model.stem.proj.weight.flatten(1).T + model.stem.proj.bias
    picture = torch.cat([model.class_token.expand(len(images), -1, -1), patches], dim=1)
    picture = picture + model.positions.weight + model.types.weight[1]
    x, all_weights = torch.cat([text, picture], dim=1), []
    for block in stack.blocks:
        q, k, v = (t.unflatten(-1, (2, 11)).transpose(1, 2) for t in block.attention.qkv(block.norm1(x)).chunk(3, -1))
        weights = naive_weights(dot_product_scores(q, k)).float()
        x = x + block.attention.out((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.feedforward(block.norm2(x))
        all_weights.append(weights)
    return (x if stack.norm is None else stack.norm(x))[:, : asked.shape[1]], all_weights


def test_it_is_one_stack_over_question_and_picture(model):
    asked = questions(rows=2)
    tap = Tap(model.attention_sites(question_tokens=7))
    states = model.read(asked, model.encode(pictures()), tap=tap)
    wanted, weights = naive_states(model, pictures(), asked)
    torch.testing.assert_close(states, wanted, atol=1e-4, rtol=1e-5)
    for site, full in zip(model.attention_sites(question_tokens=7), weights, strict=True):
        torch.testing.assert_close(tap.weights[site.name], full[:, :, : site.q_len], atol=1e-5, rtol=0)
    logits = model.head(torch.tanh(model.pooler(states[:, 0])))
    torch.testing.assert_close(model(pictures(), asked), logits, atol=1e-5, rtol=0)


def test_several_questions_of_a_picture_stand_side_by_side(model):
    together = model(pictures(), questions())
    assert together.shape == (4, 5)
    for row in range(4):
        alone = model(pictures()[row // 2 : row // 2 + 1], questions()[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-5)
    assert (together - together.roll(1, dims=0)).abs().amax(dim=1).min() > 1e-3


def test_padding_changes_nothing(model):
    asked, lengths = questions(), [7, 5, 3, 1]
    together = model(pictures(), asked, attention_mask=padding(lengths))
    context = model.encode(pictures())
    for row, length in enumerate(lengths):
        alone = model.answer_logits(model.read(asked[row : row + 1, :length], context[row // 2 : row // 2 + 1]))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-5)
    tap = Tap(model.attention_sites(question_tokens=7))
    model(pictures(), asked, attention_mask=padding(lengths), tap=tap)
    for weights in tap.weights.values():
        assert not weights[2, :, :, 3:7].any()
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


def test_sites_are_the_question_then_the_picture(model):
    sites = model.attention_sites(question_tokens=7)
    assert [site.name for site in sites] == [f"blocks.{i}.self" for i in range(3)]
    assert [(site.q_len, site.k_len) for site in sites] == [(TOKENS, TOKENS)] * 2 + [(7, TOKENS)]
    tap = Tap(sites)
    assert torch.equal(model(pictures(), questions(), tap=tap), model(pictures(), questions()))
    for site in sites:
        assert tuple(tap.weights[site.name].shape) == (4, site.num_heads, site.q_len, site.k_len)
    other = model.attention_sites((9, 12), question_tokens=5)
    assert other[0].k_len == 5 + 1 + 3 * 4


def test_positions_of_other_sizes_lie_between_the_corners(model):
    """The corners of both grids lie on each other: what is a plane on the one is the same plane on the other."""
    down, across = torch.linspace(0, 1, 5)[:, None], torch.linspace(0, 1, 7)
    table = (2 * down - 3 * across).flatten()[None, :, None].expand(1, 35, 22)
    model.positions.weight.copy_(torch.cat([torch.full((1, 1, 22), 11.0), table], dim=1))
    found = model.positions((3, 13))
    down, across = torch.linspace(0, 1, 3)[:, None], torch.linspace(0, 1, 13)
    torch.testing.assert_close(found[0, 1:, 0], (2 * down - 3 * across).flatten(), atol=1e-5, rtol=0)
    assert (found[0, 0] == 11).all()
    assert model(pictures(size=(9, 39)), questions()).shape == (4, 5)


def test_every_parameter_gets_a_gradient():
    model = SingleStream(CONFIG)
    model(pictures(), questions()).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_dropout_is_for_training_only():
    model = SingleStream(replace(CONFIG, question=replace(QUESTION, dropout=0.3)))
    context = model.encode(pictures())
    assert not torch.equal(context, model.encode(pictures()))
    assert not torch.equal(model.read(questions(), context), model.read(questions(), context))
    model.eval()
    assert torch.equal(model(pictures(), questions()), model(pictures(), questions()))


def test_what_does_not_fit_is_refused(model):
    context = model.encode(pictures())
    with pytest.raises(ModelError, match="a text may have 11 tokens, .* but has 12 instead"):
        model.read(questions(count=12), context)
    with pytest.raises(ModelError, match="`questions` must be as many of each of 2 pictures, but are 3 instead"):
        model.read(questions(rows=3), context)
    with pytest.raises(ModelError, match=r"multiples of the patch size \(3\), but are 15 x 20 instead"):
        model.encode(pictures(size=(15, 20)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"question": replace(QUESTION, context_dim=22)},
            "`question.context_dim` must be None, for the picture is in the same stack, but is 22 instead",
        ),
        *(({name: 0}, f"`{name}` must be at least 1, but is 0") for name in ("answers", "head_dim", "patch_size")),
        ({"image_size": (15, 2)}, r"`image_size` must be a .* of at least a patch \(3\), but is \(15, 2\) instead"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
