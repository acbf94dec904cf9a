import math
from collections import Counter
from itertools import product

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.greedy import draw, narrowed, random_shares
from tests.generation.toy import END, Toy, V, greedy, logits_of, named

NAMES = (0.1, 0.2, 0.3)
PROMPTS = [[1], [1, 3], [1, 4, 4, 3]]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("narrow", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}, {"top_k": 4, "top_p": 0.9}])
def test_texts_are_drawn_with_their_probability(narrow: dict[str, float]) -> None:
    """Two tokens each, against the product of what a naive narrowing gives."""
    count = 4001

    def probabilities(text: list[int]) -> list[float]:
        probs = (logits_of(0.2, text) / narrow.get("temperature", 1.0)).softmax(0).tolist()
        order = sorted(range(V), key=lambda token: -probs[token])[: int(narrow.get("top_k", V))]
        if "top_p" in narrow:
            total, sums = sum(probs[token] for token in order), 0.0
            for i, token in enumerate(order):
                sums += probs[token] / total
                if sums >= narrow["top_p"]:
                    order = order[: i + 1]
                    break
        whole = sum(probs[token] for token in order)
        return [probs[token] / whole if token in order else 0.0 for token in range(V)]

    expected: dict[tuple[int, ...], float] = {}
    for first, second in product(range(V), repeat=2):
        one, two = probabilities([1])[first], probabilities([1, first])[second]
        text = () if first == END else (first,) if second == END else (first, second)
        expected[text] = expected.get(text, 0.0) + one * (1.0 if first == END else two) / (V if first == END else 1)
    assert sum(expected.values()) == pytest.approx(1)
    options = GenerationConfig(max_tokens=2, sample=True, num_return_sequences=count, **narrow)
    [texts] = generate(Toy(), named(0.2), [[1]], options, generator=seeded(3))
    found = Counter(text.tokens for text in texts)
    for text, probability in expected.items():
        error = math.sqrt(probability * (1 - probability) / count)
        assert abs(found[text] / count - probability) <= 4.5 * error + 2 / count, text
    assert found.total() == count and all(expected[text] for text in found)


def test_a_batch_samples_what_its_items_do_one_after_the_other() -> None:
    options = GenerationConfig(max_tokens=11, sample=True, num_return_sequences=5)
    together = generate(Toy(), named(*NAMES), PROMPTS, options, generator=seeded(7))
    generator = seeded(7)
    alone = [
        generate(Toy(), named(name), [prompt], options, generator=generator)[0]
        for name, prompt in zip(NAMES, PROMPTS, strict=True)
    ]
    assert together == alone
    assert together != generate(Toy(), named(*NAMES), PROMPTS, options, generator=seeded(8))
    assert len({text.tokens for texts in together for text in texts}) > 7
    for texts in together:
        assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)


def test_with_a_generator_each_an_item_is_sampled_as_alone() -> None:
    options = GenerationConfig(max_tokens=11, sample=True, num_return_sequences=3)
    seeds = range(11, 11 + len(NAMES))
    together = generate(Toy(), named(*NAMES), PROMPTS, options, generator=[seeded(seed) for seed in seeds])
    alone = [
        generate(Toy(), named(name), [prompt], options, generator=seeded(seed))[0]
        for name, prompt, seed in zip(NAMES, PROMPTS, seeds, strict=True)
    ]
    assert together == alone


def test_chance_comes_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    generate(Toy(), named(*NAMES), PROMPTS, GenerationConfig(sample=True), generator=seeded(7))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ModelError, match="`generator` must be given to sample"):
        generate(Toy(), named(*NAMES), PROMPTS, GenerationConfig(sample=True))


def test_a_generator_is_left_alone_where_nothing_is_sampled() -> None:
    generator = seeded(7)
    state = generator.get_state()
    generate(Toy(), named(*NAMES), PROMPTS, GenerationConfig(), generator=generator)
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-4}, {"temperature": 1e-300}])
def test_the_narrowest_sampling_is_greedy(narrow: dict[str, float]) -> None:
    options = GenerationConfig(max_tokens=11, sample=True, num_return_sequences=2, **narrow)
    found = generate(Toy(), named(*NAMES), PROMPTS, options, generator=seeded(7))
    for name, prompt, texts in zip(NAMES, PROMPTS, found, strict=True):
        tokens, _ = greedy(name, prompt, count=11)
        assert [list(text.tokens) for text in texts] == [tokens, tokens]


def test_where_all_is_forbidden_a_sample_ends() -> None:
    class Nothing:
        def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores if tokens.shape[1] < 4 else torch.full_like(scores, -torch.inf)

    options = GenerationConfig(sample=True, num_return_sequences=3, min_tokens=7, top_k=3, top_p=0.9)
    [texts] = generate(Toy(), named(0.1), [[1]], options, logits_processors=[Nothing()], generator=seeded(1))
    assert all(len(text.tokens) == len(text.log_probs) == 3 and not text.finished for text in texts)


def test_a_text_draws_the_same_however_long_it_may_become() -> None:
    assert torch.equal(random_shares(3, 5, generator=seeded(1)), random_shares(3, 31, generator=seeded(1))[:, :5])
    shares = random_shares(11, 97, generator=seeded(1))
    assert 0 < shares.min() and shares.max() <= 1
    assert len(shares.unique()) == shares.numel()


def test_the_ends_of_the_shares_draw_no_forbidden_token() -> None:
    scores = torch.tensor([[-math.inf, 1.0, 2.0, -math.inf]])
    tiny = torch.tensor([2.0**-53], dtype=torch.float64)
    assert draw(scores, shares=tiny).tolist() == [1]
    assert draw(scores, shares=torch.ones(1, dtype=torch.float64)).tolist() == [2]


def test_narrowing_keeps_the_scores_it_was_given() -> None:
    scores = torch.randn(3, 7)
    before = scores.clone()
    narrowed(scores, GenerationConfig(sample=True, temperature=2.0, top_k=3, top_p=0.5))
    assert torch.equal(scores, before)
