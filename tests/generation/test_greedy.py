import math
from dataclasses import replace

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from tests.generation.toy import END, Sizes, Toy, V, greedy, logits_of, named

NAMES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
PROMPTS = [[1], [1, 3], [1, 4, 4, 3], [3], [1, 1], [4, 3, 1], [1]]


def test_a_ragged_batch_is_the_naive_way_item_by_item() -> None:
    toy = Toy()
    found = generate(toy, named(*NAMES), PROMPTS, GenerationConfig(max_tokens=11))
    lengths = set()
    for name, prompt, texts in zip(NAMES, PROMPTS, found, strict=True):
        [text] = texts
        tokens, log_probs = greedy(name, prompt, count=11)
        assert list(text.tokens) == tokens
        assert text.log_probs == pytest.approx(log_probs, abs=1e-5)
        assert text.finished == (len(log_probs) > len(tokens))
        assert text.score == pytest.approx(sum(log_probs) / len(log_probs), abs=1e-5)
        lengths.add(len(tokens))
    assert len(lengths) > 3
    # finished items leave the batch
    assert toy.rows_of_steps == sorted(toy.rows_of_steps, reverse=True)
    assert toy.rows_of_steps[0] == 7 > toy.rows_of_steps[-1]
    assert len(toy.rows_of_steps) == max(len(text.log_probs) for [text] in found)
    assert toy.capacity == 4 + 11 - 1


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_the_score_is_over_the_length(penalty: float) -> None:
    [[text]] = generate(Toy(), named(0.2), [[1, 3]], GenerationConfig(max_tokens=7, length_penalty=penalty))
    assert text.score == pytest.approx(sum(text.log_probs) / len(text.log_probs) ** penalty)


def test_it_ends_at_its_length() -> None:
    def never(name: float, text: list[int]) -> torch.Tensor:
        return logits_of(name, text).index_fill(0, torch.tensor(END), -50.0)

    [[text]] = generate(Toy(never), named(0.3), [[1]], GenerationConfig(max_tokens=13))
    assert len(text.tokens) == len(text.log_probs) == 13 and not text.finished


def test_the_positions_there_are_bound_the_length() -> None:
    toy = Toy(config=Sizes(max_length=7))
    options = GenerationConfig(max_tokens=11, suppress=(END,))
    found = generate(toy, named(0.1, 0.2), [[1, 3, 3, 4, 1], [1]], options)
    assert [len(text.tokens) for [text] in found] == [2, 2]
    assert toy.capacity == 6
    assert len(generate(toy, named(0.2), [[1]], options)[0][0].tokens) == 6
    with pytest.raises(ModelError, match="may have 7 tokens, special ones included, but the prompt alone has 7: short"):
        generate(toy, named(0.1), [[1] * 7], options)


@pytest.mark.parametrize(
    ("prompts", "stop", "message"),
    [
        ([[1]], None, r"`prompts` must be one for each context \(2\), but are 1 instead"),
        ([[1], []], None, r"`prompts\[1\]` must have a token, but has none: begin it with the start token"),
        ([[1], [3, 5]], None, r"`prompts\[1\]` must have tokens from 0 to 4, but has 5 instead"),
        ([[1], [-1]], None, r"`prompts\[1\]` must have tokens from 0 to 4, but has -1 instead"),
        ([[1], [1]], (2, 7), "`stop` must have tokens from 0 to 4, but has 7 instead"),
    ],
)
def test_what_does_not_fit_is_named(prompts: list[list[int]], stop: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        generate(Toy(), named(0.1, 0.2), prompts, GenerationConfig(), stop=stop)


def test_nothing_gives_nothing() -> None:
    assert generate(Toy(), torch.empty(0, 1, 1), [], GenerationConfig()) == []


@pytest.mark.parametrize("options", [GenerationConfig(), GenerationConfig(num_beams=3)])
def test_scores_that_are_no_numbers_are_an_error(options: GenerationConfig) -> None:
    def broken(name: float, text: list[int]) -> torch.Tensor:
        return logits_of(name, text) if len(text) < 3 else torch.full((V,), math.nan)

    with pytest.raises(ModelError, match="scores must be numbers, but are NaN instead"):
        generate(Toy(broken), named(0.1), [[1]], replace(options, min_tokens=7))


def test_other_stop_tokens() -> None:
    whole = generate(Toy(), named(0.2), [[1]], GenerationConfig(max_tokens=13), stop=())[0][0]
    assert len(whole.tokens) == 13 and len(set(whole.tokens)) > 3 and not whole.finished
    stops = (whole.tokens[5], whole.tokens[8])
    first = min(whole.tokens.index(token) for token in stops)
    cut = generate(Toy(), named(0.2), [[1]], GenerationConfig(max_tokens=13), stop=stops)[0][0]
    assert cut.tokens == whole.tokens[:first] and cut.finished
    assert cut.log_probs == pytest.approx(whole.log_probs[: first + 1])


def test_each_item_may_have_a_stop_of_its_own() -> None:
    options = GenerationConfig(max_tokens=11, suppress=(END,))
    whole = [texts[0].tokens for texts in generate(Toy(), named(*NAMES), PROMPTS, options)]
    found = generate(Toy(), named(*NAMES), PROMPTS, options, stop_when=lambda item, text: len(text) == item + 1)
    assert [texts[0].tokens for texts in found] == [text[: i + 1] for i, text in enumerate(whole)]
    assert all(texts[0].finished and len(texts[0].log_probs) == i + 1 for i, texts in enumerate(found))
