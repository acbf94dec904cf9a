"""The importance of heads against a factor that autograd differentiates, and their roles against plain loops."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from multiattn.attention import Mask, Site, Tap
from multiattn.errors import ModelError
from multiattn.maps.heads import (
    LINE,
    HeadFacts,
    HeadStatistics,
    TappedPrediction,
    attention_of,
    grid_places,
    most_important,
    without_heads,
)
from multiattn.maps.tapped import tapped_answer, tapped_caption, tapped_class, tapped_speech
from multiattn.models import SingleStream, SingleStreamConfig, TextEncoderConfig
from tests.fixtures import tiny_answer_bundle, tiny_bundle, tiny_caption_bundle, tiny_whisper_bundle


def picture(seed: int = 3) -> Tensor:
    return torch.randn(3, 15, 35, generator=torch.Generator().manual_seed(seed))


def of_class() -> tuple[nn.Module, TappedPrediction]:
    model = tiny_bundle().model
    return model, tapped_class(model, picture(), 3)


def of_label() -> tuple[nn.Module, TappedPrediction]:
    model = tiny_bundle().model
    return model, tapped_class(model, picture(), 3, score_function="sigmoid")


def of_caption() -> tuple[nn.Module, TappedPrediction]:
    model = tiny_caption_bundle().model
    return model, tapped_caption(model, picture(), [1, 5, 9, 7, 2], prompt_length=2)


def of_speech() -> tuple[nn.Module, TappedPrediction]:
    model = tiny_whisper_bundle().model
    features = torch.randn(80, 2 * model.encoder.config.max_frames, generator=torch.Generator().manual_seed(5))
    return model, tapped_speech(model, features, [1, 5, 9, 7, 2], prompt_length=2, length=41)


def of_choice() -> tuple[nn.Module, TappedPrediction]:
    model = tiny_answer_bundle("closed").model
    return model, tapped_answer(model, picture(), [1, 5, 9, 2], 2)


def of_written() -> tuple[nn.Module, TappedPrediction]:
    model = tiny_answer_bundle("decoder").model
    return model, tapped_answer(model, picture(), [1, 5, 9, 2], [1, 7, 2])


def of_stream() -> tuple[nn.Module, TappedPrediction]:
    question = TextEncoderConfig(
        vocab_size=31, dim=22, depth=3, num_heads=2, mlp_dim=29, max_length=11, context_dim=None, embed_norm=True
    )
    model = SingleStream(SingleStreamConfig(question, answers=5, head_dim=17, image_size=(15, 35), patch_size=5)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model, tapped_answer(model, picture(), [1, 5, 9, 2], 2)


KINDS: list[Callable[[], tuple[nn.Module, TappedPrediction]]] = [
    of_class,
    of_label,
    of_caption,
    of_speech,
    of_choice,
    of_written,
    of_stream,
]


def scaled(model: nn.Module, site: str, factors: Tensor) -> dict[str, Tensor]:
    """The weights with each head of a site multiplied by a factor, where its output enters the last projection."""
    out = attention_of(model, site).out
    (name,) = (name for name, parameter in model.named_parameters() if parameter is out.weight)
    return {name: out.weight.detach() * factors.repeat_interleave(out.weight.shape[1] // len(factors))}


class Scores(nn.Module):
    """A prediction's score as the output of a module, for `functional_call`."""

    def __init__(self, model: nn.Module, one: TappedPrediction) -> None:
        super().__init__()
        self.model, self.one = model, one

    def forward(self) -> Tensor:
        return self.one.score(self.model, None)


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_the_derivative_by_a_factor_on_each_head(kind) -> None:
    model, one = kind()
    model.requires_grad_(False)
    statistics = HeadStatistics()
    statistics.add(model, one)
    found = {(fact.site, fact.head): fact.slope for fact in statistics.result()}
    assert {name for name, _ in found} == {site.name for site in one.sites}
    scores, seen = Scores(model, one), set()
    for site in one.sites:
        factors = torch.ones(site.num_heads, requires_grad=True)
        weights = {f"model.{name}": value for name, value in scaled(model, site.name, factors).items()}
        (expected,) = torch.autograd.grad(functional_call(scores, weights), factors)
        of_site = [found[site.name, head] for head in range(site.num_heads)]
        np.testing.assert_allclose(of_site, expected.abs().numpy(), rtol=2e-4, atol=1e-6)
        seen |= {round(value, 7) for value in of_site}
    assert len(seen) > len(one.sites)


@pytest.mark.parametrize("kind", [of_class, of_caption, of_written])
def test_a_head_that_is_switched_off_adds_nothing(kind) -> None:
    model, one = kind()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    site = one.sites[-1]
    off = without_heads(model, [(site.name, 1), (one.sites[0].name, 0)])
    factors = torch.ones(site.num_heads)
    factors[1] = 0
    first = torch.ones(one.sites[0].num_heads)
    first[0] = 0
    weights = scaled(model, site.name, factors) | scaled(model, one.sites[0].name, first)
    expected = functional_call(Scores(model, one), {f"model.{name}": value for name, value in weights.items()})
    torch.testing.assert_close(one.score(off, None), expected)
    assert not torch.allclose(expected, one.score(model, None))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    statistics = HeadStatistics()
    statistics.add(off, one)
    slopes = {(fact.site, fact.head): fact.slope for fact in statistics.result()}
    assert slopes[site.name, 1] == slopes[one.sites[0].name, 0] == 0
    assert sum(slope > 0 for slope in slopes.values()) == len(slopes) - 2


def test_a_head_or_site_that_is_not_there_is_named() -> None:
    model, _ = of_class()
    with pytest.raises(ModelError, match=r"`head` must be from 0 to 1, but is 2 instead"):
        without_heads(model, [("blocks.1.self", 2)])
    with pytest.raises(ModelError, match=r"there is no attention 'blocks.7.self' in this model"):
        without_heads(model, [("blocks.7.self", 0)])
    with pytest.raises(ModelError, match=r"`inputs` must be at least one, but is 0 instead"):
        HeadStatistics().result()
    with pytest.raises(ModelError, match=r"`target` must be a class from 0 to 6, but is 7 instead"):
        tapped_class(tiny_bundle().model, picture(), 7)


class Given(nn.Module):
    """A score that has these weights, whatever q and k are."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.given = weights

    def weights(
        self,
        q: Tensor,
        k: Tensor,
        *,
        mask: object = None,
        bias: object = None,
        rows: object = None,
        heads: object = None,
    ) -> Tensor:
        return self.given


def prediction(weights: Tensor, places: Tensor, inside: Tensor | None = None, seed: int = 0) -> TappedPrediction:
    """A prediction by one self-attention with these weights, (h, n, n)."""
    heads, n, _ = weights.shape
    values = torch.randn(1, heads, n, 5, generator=torch.Generator().manual_seed(seed))

    def score(_: nn.Module, tap: Tap | None) -> Tensor:
        mixed = (weights[None] @ values).requires_grad_()
        assert tap is not None
        tap.at("blocks.0.self").tap.record(
            "blocks.0.self", q=values, k=values, v=values, output=mixed, mask=Mask(), score=Given(weights[None])
        )
        return (mixed**2).sum()

    boxes = {} if inside is None else {"": inside}
    return TappedPrediction((Site("blocks.0.self", heads, n, n),), score, {"": places}, boxes)


def facts_of(*predictions: TappedPrediction) -> list[HeadFacts]:
    statistics = HeadStatistics()
    for one in predictions:
        statistics.add(nn.Identity(), one)
    return statistics.result()


def test_facts_are_those_of_plain_loops() -> None:
    rows, columns, prefix, heads = 3, 5, 2, 3
    n = prefix + rows * columns
    random = torch.Generator().manual_seed(11)
    given = [torch.rand(heads, n, n, generator=random).softmax(dim=-1) ** 3 for _ in range(2)]
    given = [one / one.sum(dim=-1, keepdim=True) for one in given]
    inside = torch.zeros(rows * columns)
    inside[[3, 4, 8]] = torch.tensor([1.0, 0.5, 1.0])
    found = facts_of(*(prediction(one, grid_places(rows, columns), inside, seed) for seed, one in enumerate(given)))
    for head, fact in enumerate(found):
        prefixes, locals_, entropies, sinks, pointing = [], [], [], [], []
        by_offset: dict[tuple[int, int], list[float]] = {}
        for one in given:
            w = one[head].double().numpy()
            sinks.append(max(w[:, key].mean() for key in range(n)))
            entropies.append(np.mean([1 + (row * np.log(row)).sum() / np.log(n) for row in w]))
            cells = [w[:, prefix + cell].sum() for cell in range(rows * columns)]
            dense = sum(c * float(i) for c, i in zip(cells, inside, strict=True)) / sum(cells)
            pointing.append(dense / float(inside.mean()))
            local, before, shares = [], [], {}
            for y in range(rows):
                for x in range(columns):
                    row = w[prefix + y * columns + x]
                    before.append(row[:prefix].sum())
                    near = 0.0
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            if 0 <= y + dy < rows and 0 <= x + dx < columns:
                                value = row[prefix + (y + dy) * columns + x + dx]
                                near += value
                                shares.setdefault((dy, dx), []).append(value)
                    local.append(near)
            locals_.append(np.mean(local))
            prefixes.append(np.mean(before))
            for offset, values in shares.items():
                by_offset.setdefault(offset, []).append(float(np.mean(values)))
        best = max(by_offset, key=lambda offset: np.mean(by_offset[offset]))
        assert fact.offset == best
        np.testing.assert_allclose(
            [fact.prefix, fact.local, fact.sharpness, fact.sink, fact.pointing, fact.offset_share],
            [np.mean(v) for v in (prefixes, locals_, entropies, sinks, pointing, by_offset[best])],
            rtol=1e-5,
        )
    norm = sum(fact.slope**2 for fact in found) ** 0.5
    np.testing.assert_allclose([fact.importance * norm for fact in found], [fact.slope for fact in found])
    assert [fact.head for fact in most_important(found, 2)] == list(np.argsort([-fact.slope for fact in found])[:2])


def test_rows_of_a_text_with_few_words_before_them_are_left_out() -> None:
    n = 11
    causal = torch.rand(2, n, n, generator=torch.Generator().manual_seed(3)).tril() + torch.eye(n)
    causal = causal / causal.sum(dim=-1, keepdim=True)
    for head, fact in enumerate(facts_of(prediction(causal, LINE))):
        w = causal[head].double().numpy()
        rows = range(7, n)  # those with at least 8 keys
        entropies = [-(w[i, : i + 1] * np.log(w[i, : i + 1])).sum() / np.log(i + 1) for i in rows]
        local = [w[i, i] + w[i, i - 1] for i in rows]
        np.testing.assert_allclose(fact.sharpness, 1 - np.mean(entropies), rtol=1e-6)
        np.testing.assert_allclose(fact.local, np.mean(local), rtol=1e-6)
        assert fact.sink == 0  # four rows are too few
    (short, _) = facts_of(prediction(causal[:, :5, :5] / causal[:, :5, :5].sum(-1, keepdim=True), LINE))
    assert (short.role, short.local, short.offset) == ("content", None, None)
    assert short.slope > 0


def one_hot(targets: list[int], n: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(targets), n).float() * 0.98 + 0.02 / n


def test_roles() -> None:
    n = 12  # of a text
    previous = one_hot([max(0, i - 1) for i in range(n)], n)
    sink, even = one_hot([4] * n, n), torch.full((n, n), 1 / n)
    beside = sum(one_hot([min(n - 1, max(0, i + step)) for i in range(n)], n) for step in (-1, 0, 1)) / 3
    far = one_hot([(5 * i + 3) % n for i in range(n)], n)
    found = facts_of(prediction(torch.stack([previous, sink, even, beside, far]), LINE))
    assert [fact.role for fact in found] == ["positional", "sink", "even", "local", "content"]
    assert found[0].offset == (-1,)

    # a picture of 2 x 5 patches and a class token that all patches read in turn with others
    read = torch.zeros(11, 11)
    read[1:, 0] = 0.35
    read[0, 0] = 0.0
    read = read + 0.65 * one_hot([(4 * i + 2) % 10 + 1 for i in range(11)], 11)
    read = read * (1 - 0.35 * torch.nn.functional.one_hot(torch.tensor([0]), 11).T) / 1.0
    inside = torch.zeros(10)
    inside[[7, 8, 9]] = 1.0
    looks = one_hot([8, 10, 9, 9, 8, 10, 8, 9, 10, 10, 8], 11) * 0.7 + 0.3 / 11
    places = grid_places(2, 5)
    facts = facts_of(prediction(torch.stack([read / read.sum(-1, keepdim=True), looks]), places, inside))
    assert [fact.role for fact in facts] == ["reads the class token", "points"]
    assert facts[0].described.startswith("reads the class token (3")
