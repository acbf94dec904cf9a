"""Ranking against brute force: each candidate by itself, token by token, through one plain pass."""

import math

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.generation import rank
from multiattn.generation import ranking as room
from multiattn.models import TextDecoder, TextDecoderConfig
from tests.parity.random_weights import randomize

V, C, M, ITEMS = 31, 17, 7, 3
CONFIG = TextDecoderConfig(V, dim=22, depth=2, num_heads=2, mlp_dim=37, context_dim=C, max_length=7)
CANDIDATES = [[5], [5, 7], [7, 5, 11, 13, 17], [29], [29, 29], [3, 4], [5, 7, 8], [11]]


@pytest.fixture(scope="module")
def decoder() -> TextDecoder:
    return randomize(TextDecoder(CONFIG), seed=3).eval()


@pytest.fixture(scope="module")
def context() -> torch.Tensor:
    return 2 * torch.randn(ITEMS, M, C, generator=torch.Generator().manual_seed(2))


def naively(decoder: TextDecoder, context: torch.Tensor, text: list[int]) -> list[float]:
    """The log-probability of each token about one context, and of the end after them."""
    found = []
    following = [*text, CONFIG.end_token]
    for place, token in enumerate(following):
        given = torch.tensor([[CONFIG.start_token, *following[:place]]])
        with torch.no_grad():
            found.append(decoder(given, context[None])[0, -1].log_softmax(0)[token].item())
    return found


def test_all_candidates_by_their_full_scores(decoder, context):
    for item, ranked in zip(context, rank(decoder, context, CANDIDATES), strict=True):
        expected = {tuple(text): naively(decoder, item, text) for text in CANDIDATES}
        best_first = sorted(expected, key=lambda text: -sum(expected[text]))
        assert [one.tokens for one in ranked] == best_first
        for one in ranked:
            assert one.log_probs == pytest.approx(expected[one.tokens], abs=1e-5)
            assert one.score == pytest.approx(math.fsum(expected[one.tokens]), abs=1e-5)
            assert one.finished
    assert len({ranked[0].tokens for ranked in rank(decoder, context, CANDIDATES)}) > 1  # items are not mixed up


@pytest.mark.parametrize("most", [1, 2, 3, 5, 7])
def test_only_those_with_the_likeliest_first_tokens_are_scored(decoder, context, most):
    for item, ranked in zip(context, rank(decoder, context, CANDIDATES, most=most), strict=True):
        first = [naively(decoder, item, text)[0] for text in CANDIDATES]
        indices = sorted(range(len(CANDIDATES)), key=lambda index: (-round(first[index], 4), index))[:most]
        assert {one.tokens for one in ranked} == {tuple(CANDIDATES[index]) for index in indices}
        scores = [one.score for one in ranked]
        assert scores == sorted(scores, reverse=True)


def test_a_cut_can_lose_the_best_and_no_cut_cannot(decoder, context):
    best = [ranked[0].tokens for ranked in rank(decoder, context, CANDIDATES)]
    assert [ranked[0].tokens for ranked in rank(decoder, context, CANDIDATES, most=len(CANDIDATES))] == best
    assert [ranked[0].tokens for ranked in rank(decoder, context, CANDIDATES, most=99)] == best


@pytest.mark.parametrize("scores", [1, 500, 2**20])
def test_the_pieces_in_which_it_is_computed_change_nothing(decoder, context, scores, monkeypatch):
    whole = rank(decoder, context, CANDIDATES, most=5)
    monkeypatch.setattr(room, "_MOST_SCORES", scores)
    for ours, theirs in zip(rank(decoder, context, CANDIDATES, most=5), whole, strict=True):
        assert [one.tokens for one in ours] == [one.tokens for one in theirs]
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)


def test_an_item_is_ranked_as_it_is_alone_and_what_is_projected_serves(decoder, context):
    together = rank(decoder, decoder.project_context(context), CANDIDATES, most=3)
    for i, ranked in enumerate(together):
        (alone,) = rank(decoder, context[i : i + 1], CANDIDATES, most=3)
        assert [one.tokens for one in ranked] == [one.tokens for one in alone]
        assert [one.score for one in ranked] == pytest.approx([one.score for one in alone], abs=1e-5)


def test_padding_of_a_context_is_not_looked_at(decoder, context):
    longer = torch.cat([context, torch.full((ITEMS, 2, C), 9.0)], dim=1)
    attention_mask = torch.arange(M + 2)[None].expand(ITEMS, -1) < M
    for ours, theirs in zip(
        rank(decoder, decoder.project_context(longer, attention_mask), CANDIDATES, most=4),
        rank(decoder, context, CANDIDATES, most=4),
        strict=True,
    ):
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)


def test_of_equal_candidates_the_first_in_the_list_comes_first(context):
    same = TextDecoder(CONFIG).eval()
    with torch.no_grad():
        same.embedding.weight.zero_()  # every token is as likely as any other
    (ranked, *_) = rank(same, context, [[9], [4], [11], [6]])
    assert [one.tokens for one in ranked] == [(9,), (4,), (11,), (6,)]
    (ranked, *_) = rank(same, context, [[9], [4], [11], [6]], most=2)
    assert [one.tokens for one in ranked] == [(9,), (4,)]


def test_no_items(decoder):
    assert rank(decoder, torch.zeros(0, M, C), CANDIDATES) == []


@pytest.mark.parametrize(
    ("candidates", "most", "message"),
    [
        ([], None, "`candidates` must be at least one text, but are none: give some"),
        ([[3], []], None, r"`candidates\[1\]` must have a token, but has none: leave it out"),
        ([[3], [4], [3]], None, "`candidates` must be different texts, but 2 is the same as 0: leave one out"),
        ([[3], [31]], None, r"`candidates\[1\]` must have tokens from 0 to 30, but has 31 instead"),
        ([[-1]], None, r"`candidates\[0\]` must have tokens from 0 to 30, but has -1 instead"),
        ([[3] * 7], None, r"`candidates\[0\]` must have at most 6 tokens, .* but has 7 instead: shorten it"),
        ([[3]], 0, "`most` must be at least 1, but is 0 instead"),
    ],
)
def test_what_cannot_be_ranked(decoder, context, candidates, most, message):
    with pytest.raises(ModelError, match=message):
        rank(decoder, context, candidates, most=most)


def test_the_longest_that_fits(decoder, context):
    assert len(rank(decoder, context, [[3] * 6])[0][0].log_probs) == 7


def test_a_model_that_says_nothing(context):
    broken = randomize(TextDecoder(CONFIG), seed=3).eval()
    with torch.no_grad():
        broken.embedding.weight.fill_(math.nan)
    with pytest.raises(ModelError, match="the model's scores must be numbers, but are NaN instead"):
        rank(broken, context, CANDIDATES)
