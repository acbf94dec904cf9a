"""Joint scoring against the sum over all alignments of a text."""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, product

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.ctc import CtcScorer
from multiattn.generation.search import Scorer
from tests.generation.toy import END, PAD, Toy, V, logits_of, named

FRAMES = (5, 3, 4)


def spelling(seed: int = 3) -> torch.Tensor:
    return (1.5 * torch.randn(3, 5, V, generator=torch.Generator().manual_seed(seed))).log_softmax(dim=-1)


def spelt(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Of every text its probability: the sum over all that frames can say of it."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(V), repeat=len(log_probs)):
        text = tuple(token for token, _ in groupby(path) if token != PAD)
        found[text] += math.exp(sum(float(row[token]) for row, token in zip(log_probs, path, strict=True)))
    return found


def begun(texts: dict[tuple[int, ...], float], prefix: tuple[int, ...]) -> float:
    return sum(value for text, value in texts.items() if text[: len(prefix)] == prefix)


def scorer(weight: float = 1.0) -> CtcScorer:
    return CtcScorer(spelling(), torch.tensor(FRAMES), weight=weight, blank=PAD, end=END)


@pytest.mark.parametrize("path", [(1, 3, 4), (3, 3, 1), (4, 4, 4), (1, 4, 4)])
def test_prefixes_have_the_probability_of_all_that_begins_so(path: tuple[int, ...]) -> None:
    """Three items of different lengths go the same way, the first in two rows."""
    one = scorer()
    assert isinstance(one, Scorer)
    every = [spelt(log_probs[:count]) for log_probs, count in zip(spelling(), FRAMES, strict=True)]
    for length in range(len(path) + 1):
        found = one(torch.zeros(len(one._mass), V))
        owner = range(3) if length == 0 else (0, 0, 1, 1, 2, 2)
        for row, item in zip(found, owner, strict=True):
            texts, prefix = every[item], path[:length]
            mass = begun(texts, prefix)
            for token in range(V):
                after = texts.get(prefix, 0.0) if token == END else begun(texts, (*prefix, token))
                if token == PAD or mass < 1e-12 or after < 1e-12:
                    assert token not in (PAD,) or row[token] == -math.inf
                    assert mass >= 1e-12 or row[token] < math.log(1e-6) or row[token] == -math.inf or token == END
                    continue
                assert float(row[token]) == pytest.approx(math.log(after / mass), abs=1e-5), (prefix, token)
        if length < len(path):
            rows = torch.tensor([0, 0, 1, 1, 2, 2]) if length == 0 else None
            one.follow(torch.full((6,), path[length]), rows, None)


def test_rows_and_items_are_followed() -> None:
    """After reordering and dropping an item, a row scores as one that went its way alone."""
    one = scorer()
    one(torch.zeros(3, V))
    one.follow(torch.tensor([1, 3, 4, 1, 3, 4]), torch.tensor([0, 0, 1, 1, 2, 2]), None)
    one(torch.zeros(6, V))
    one.follow(torch.tensor([4, 3, 1, 1]), torch.tensor([1, 0, 5, 4]), torch.tensor([0, 2]))
    found = one(torch.zeros(4, V))
    for row, (item, text) in zip(found, [(0, (3, 4)), (0, (1, 3)), (2, (4, 1)), (2, (3, 1))], strict=True):
        alone = CtcScorer(spelling()[item, None], torch.tensor([FRAMES[item]]), weight=1.0, blank=PAD, end=END)
        for token in text:
            alone(torch.zeros(1, V))
            alone.follow(torch.tensor([token]), None, None)
        torch.testing.assert_close(row, alone(torch.zeros(1, V))[0])


def test_what_is_forbidden_stays_so_and_shares_are_mixed() -> None:
    scores = torch.randn(3, V, generator=torch.Generator().manual_seed(5)).log_softmax(dim=-1)
    scores[1, 3] = -math.inf
    only, mixed = scorer(1.0)(scores), scorer(0.3)(scores)
    assert only[1, 3] == mixed[1, 3] == -math.inf
    kept = torch.isfinite(only)
    torch.testing.assert_close(mixed[kept], 0.7 * scores[kept] + 0.3 * only[kept])


@pytest.mark.parametrize("weight", [0.2, 0.7])
@pytest.mark.parametrize("patience", [None, 1.0])
def test_a_wide_search_finds_the_best_joint_score(weight: float, patience: float | None) -> None:
    names, prompts = (0.1, 0.2, 0.3), [[1], [1, 3], [1, 4, 4, 3]]
    options = GenerationConfig(
        max_tokens=3, num_beams=61, num_return_sequences=5, length_penalty=0, renormalize=True, patience=patience
    )
    found = generate(Toy(), named(*names), prompts, options, scorer=scorer(weight))
    for name, prompt, log_probs, count, texts in zip(names, prompts, spelling(), FRAMES, found, strict=True):
        ctc = spelt(log_probs[:count])
        totals = {}
        for length in range(3):
            for text in product((1, 3, 4), repeat=length):
                if ctc.get(text, 0.0) > 0:
                    own = _log_prob(name, prompt, [*text, END])
                    totals[text] = (1 - weight) * own + weight * math.log(ctc[text])
        best = [text for text in texts if text.finished]
        assert best
        ordered = sorted(totals, key=lambda text: -totals[text])
        assert [text.tokens for text in best] == [text for text in ordered if text in {one.tokens for one in best}]
        for text in best:
            assert text.score == pytest.approx(totals[text.tokens], abs=1e-4)


def _log_prob(name: float, prompt: Sequence[int], text: Sequence[int]) -> float:
    return sum(float(logits_of(name, [*prompt, *text[:i]]).log_softmax(0)[token]) for i, token in enumerate(text))


def test_greedy_takes_the_best_joint_step() -> None:
    options = GenerationConfig(max_tokens=3, renormalize=True)
    [[text], *_] = generate(Toy(), named(0.1, 0.2, 0.3), [[1]] * 3, options, scorer=scorer(0.6))
    texts, prefix = spelt(spelling()[0]), ()
    for token in [*text.tokens, END][: len(text.log_probs)]:
        joint = {}
        for other in (1, END, 3, 4):
            after = texts.get(prefix, 0.0) if other == END else begun(texts, (*prefix, other))
            if after > 0:
                own = float(logits_of(0.1, [1, *prefix]).log_softmax(0)[other])
                joint[other] = 0.4 * own + 0.6 * math.log(after / begun(texts, prefix))
        assert max(joint, key=lambda other: joint[other]) == token
        prefix = (*prefix, token)


def test_a_thousand_frames_lose_nothing() -> None:
    """Certain frames spell one text, however long they are."""
    log_probs = torch.full((1, 1009, V), -60.0)
    for start, token in ((0, 1), (300, PAD), (500, 1), (800, 4)):
        log_probs[0, start:] = -60.0
        log_probs[0, start:, token] = 0.0
    one = CtcScorer(log_probs, torch.tensor([1009]), weight=1.0, blank=PAD, end=END)
    for token in (1, 1, 4):
        found = one(torch.zeros(1, V))
        assert float(found[0, token]) == pytest.approx(0.0, abs=1e-6)
        one.follow(torch.tensor([token]), None, None)
    assert float(one(torch.zeros(1, V))[0, END]) == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_scored() -> None:
    options = GenerationConfig(max_tokens=3)
    with pytest.raises(ModelError, match="`renormalize` must be True with a scorer.*False instead"):
        generate(Toy(), named(0.1, 0.2, 0.3), [[1]] * 3, options, scorer=scorer(0.5))
    for weight in (0.0, 1.1):
        with pytest.raises(ModelError, match=f"`weight` must be above 0 and at most 1, but is {weight} instead"):
            scorer(weight)
    for frames in ((5, 3, 0), (6, 3, 4)):
        with pytest.raises(ModelError, match="`frames` must be from 1 to 5, but is [06] instead"):
            CtcScorer(spelling(), torch.tensor(frames), weight=0.5, blank=PAD, end=END)
