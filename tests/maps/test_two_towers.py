"""The maps of a match against an independent version of the published formulas in float64, both towers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from multiattn.errors import ModelError
from multiattn.maps import MATCH_METHODS, explain, explain_texts, masked_text
from multiattn.maps.lrp import PropagationRules
from multiattn.models import TwoTowers
from multiattn.models.text_classifier import with_texts
from tests.fixtures import tiny_match_bundle

TEXTS = ("a red square", "two green rings near a tree", "the sky")


def attend(block: nn.Module, x: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """A block in the open: its output for one sequence (n, D), and its attention (h, n, n), in the graph."""
    heads = block.attention.num_heads
    q, k, v = block.attention.qkv(block.norm1(x)).view(len(x), 3, heads, -1).permute(1, 2, 0, 3)  # (h, n, d)
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, -torch.inf)
    weights = scores.softmax(dim=-1)
    if not weights.requires_grad:
        weights.requires_grad_()
    mixed = (weights @ v).permute(1, 0, 2).flatten(1)
    x = x + block.attention.out(mixed)
    return x + block.feedforward(block.norm2(x)), weights


def chefer(attentions: list[Tensor], score: Tensor) -> Tensor:
    """R of one tower, by equations 5 and 6: R <- R + mean of heads of (gradient x attention)+ @ R."""
    gradients = torch.autograd.grad(score, attentions, retain_graph=True)
    found = torch.eye(attentions[0].shape[-1], dtype=torch.float64)
    for weights, gradient in zip(attentions, gradients, strict=True):
        found = found + (weights.detach() * gradient).clamp(min=0).mean(dim=0) @ found
    return found


def both(model: TwoTowers, image: Tensor, tokens: list[int]) -> tuple[Tensor, Tensor, Tensor, int]:
    """R of the picture tower and of the text tower for the logit of a pair, the logit, and the row that is read."""
    vision, text, config = model.vision, model.text, model.config.text
    patches = vision.stem(image[None])[0]
    x = torch.cat([vision.class_token[0], patches]) + vision.positions.weight[0]
    open_mask, of_picture = torch.ones(len(x), len(x), dtype=torch.bool), []
    for block in vision.blocks:
        x, weights = attend(block, x, open_mask)
        of_picture.append(weights)
    picture = model.vision_projection(vision.norm(x)[0])
    row = [*tokens, *[config.pad_token] * (config.max_length - len(tokens))] if config.fixed_length else tokens
    y = text.embedding(torch.tensor(row)) + text.positions.weight[: len(row)]
    ones = torch.ones(len(row), len(row), dtype=torch.bool)
    of_text = []
    for block in text.blocks:
        y, weights = attend(block, y, ones.tril() if config.causal else ones)
        of_text.append(weights)
    read = len(row) - 1
    said = model.text_projection(text.norm(y)[read])
    score = model.logit_scale.exp() * F.cosine_similarity(picture, said, dim=0)
    return chefer(of_picture, score), chefer(of_text, score), score, read


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_relevance_is_that_of_the_published_formula(scores) -> None:
    bundle = tiny_match_bundle(scores)
    model, vocabulary = bundle.require(TwoTowers), bundle.vocabulary
    config = model.config.text
    images = torch.randn(2, 3, 15, 35, generator=torch.Generator().manual_seed(3))
    encoded = [vocabulary.encode_words(text) for text in TEXTS[:2]]
    rows, words = [config.framed(ids) for ids, _ in encoded], [found for _, found in encoded]
    with torch.no_grad():
        pictures = model.encode_pictures(images)
        tokens, mask = config.padded(rows)
        texts = model.encode_texts(tokens, mask)
    of_texts = explain_texts(model, pictures, rows, words, method="relevance")
    of_pictures = explain(with_texts(model, texts), images, method="relevance", target=[0, 1])
    exact = tiny_match_bundle(scores).require(TwoTowers).double()
    for i in range(2):
        picture, text, score, read = both(exact, images[i].double(), list(rows[i]))
        bias = 0.0 if model.logit_bias is None else model.logit_bias.item()
        assert score.item() + bias == pytest.approx(model.logits(pictures, texts)[i, i].item(), abs=1e-5)
        wanted = picture[0, 1:].view(3, 7).numpy()
        np.testing.assert_allclose(of_pictures[i].values, wanted, rtol=1e-3, atol=1e-6 * wanted.max())
        by_word = [sum(text[read, 1 + piece].item() for piece in word.pieces) for word in words[i]]
        np.testing.assert_allclose(of_texts[i].values, by_word, rtol=1e-3, atol=1e-6 * max(by_word))
        assert of_texts[i].target == TEXTS[i] and of_texts[i].axes[0].labels[1].startswith(" ")


@pytest.mark.parametrize("method", MATCH_METHODS)
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_a_text_among_others_has_the_map_that_it_has_alone(scores, method) -> None:
    bundle = tiny_match_bundle(scores)
    model = bundle.require(TwoTowers)
    config = model.config.text
    encoded = [bundle.vocabulary.encode_words(text) for text in TEXTS]
    rows, words = [config.framed(ids) for ids, _ in encoded], [found for _, found in encoded]
    pictures = F.normalize(torch.randn(3, 17, generator=torch.Generator().manual_seed(3)), dim=-1)
    together = explain_texts(model, pictures, rows, words, method=method)
    for i in range(3):
        (alone,) = explain_texts(model, pictures[i : i + 1], rows[i : i + 1], words[i : i + 1], method=method)
        np.testing.assert_allclose(alone.values, together[i].values, rtol=1e-3, atol=1e-5)
        assert alone.sites[-1] == "text.blocks.2.self" and len(alone.sites) == (1 if method == "attention" else 3)


def test_contributions_are_those_of_the_rules() -> None:
    """LRP of a text: gradient times input at the first block, under the rules."""
    bundle = tiny_match_bundle()
    model = bundle.require(TwoTowers)
    ids, words = bundle.vocabulary.encode_words(TEXTS[1])
    row = model.config.text.framed(ids)
    picture = F.normalize(torch.randn(1, 17, generator=torch.Generator().manual_seed(3)), dim=-1)
    (found,) = explain_texts(model, picture, [row], [words], method="lrp")
    x = model.text.embed(torch.tensor([row]), torch.arange(len(row))[None]).detach().requires_grad_()
    model.text.embed = lambda tokens, positions: x
    with PropagationRules():
        logit = (model.encode_texts(torch.tensor([row])) * picture).sum() * model.logit_scale.exp()
        (gradient,) = torch.autograd.grad(logit, x)
    shares = (x * gradient).sum(dim=-1)[0]
    by_word = [sum(shares[1 + piece].item() for piece in word.pieces) for word in words]
    np.testing.assert_allclose(found.values, by_word, rtol=1e-4, atol=1e-6)
    assert (found.values < 0).any()


def test_words_that_are_left_out_are_not_read() -> None:
    bundle = tiny_match_bundle()
    model, vocabulary = bundle.require(TwoTowers), bundle.vocabulary
    ids, words = vocabulary.encode_words("a red square")
    config = model.config.text
    with torch.no_grad():
        picture = F.normalize(torch.randn(17, generator=torch.Generator().manual_seed(3)), dim=-1)
        others = model.encode_texts(*config.padded([config.framed(vocabulary.encode("the sky"))]))
        masked = masked_text(model, picture, config.framed(ids), words, others)
        found = masked.probability(torch.tensor([[False, True, False], [False, False, False]]))
        wanted = []
        for text in ("a square", "a red square"):
            one = model.encode_texts(*config.padded([config.framed(vocabulary.encode(text))]))
            wanted.append(model.logits(picture[None], torch.cat([one, others])).softmax(dim=1)[0, 0])
    torch.testing.assert_close(found.cpu(), torch.stack(wanted))
    assert masked.whole == pytest.approx(wanted[1].item(), abs=1e-6)


def test_what_is_refused() -> None:
    bundle = tiny_match_bundle()
    model = bundle.require(TwoTowers)
    with pytest.raises(ModelError, match="there is no map method 'gradient_x_input' for texts; there are: attention,"):
        explain_texts(model, torch.zeros(1, 17), [(1, 5, 2)], [[]], method="gradient_x_input")
    with pytest.raises(ModelError, match="`words` must be one for each of 1 texts, but are 0"):
        explain_texts(model, torch.zeros(1, 17), [(1, 5, 2)], [], method="relevance")
