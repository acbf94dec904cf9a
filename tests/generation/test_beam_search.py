import math

import pytest
import torch

from multiattn.generation import GenerationConfig, generate
from multiattn.generation.beam_search import likeliest
from tests.generation.toy import END, Toy, V, enumerated, logits_of, named

NAMES = (0.1, 0.2, 0.3, 0.4, 0.5)
PROMPTS = [[1], [1, 3], [1, 4, 4, 3], [3], [1, 1]]


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_wide_beams_find_all_texts_in_their_order(penalty: float, early_stopping: bool | str) -> None:
    """With a place for every text there can be, nothing is decided before all are there."""
    options = GenerationConfig(
        max_tokens=3, num_beams=131, num_return_sequences=131, length_penalty=penalty, early_stopping=early_stopping
    )
    found = generate(Toy(), named(*NAMES), PROMPTS, options)
    for name, prompt, texts in zip(NAMES, PROMPTS, found, strict=True):
        expected = enumerated(name, prompt, count=3, penalty=penalty)
        assert len(expected) == 1 + 4 + 4 * 4 * V
        assert [text.tokens for text in texts] == [text for _, text in expected]
        assert [text.score for text in texts] == pytest.approx([score for score, _ in expected], abs=1e-5)
        for text in texts:
            assert text.score == pytest.approx(sum(text.log_probs) / len(text.log_probs) ** penalty, abs=1e-5)
            assert text.finished == (len(text.log_probs) > len(text.tokens))


@pytest.mark.parametrize("num_beams", [2, 3, 7])
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_a_ragged_batch_is_its_items_one_by_one(num_beams: int, early_stopping: bool | str) -> None:
    options = GenerationConfig(
        max_tokens=11, num_beams=num_beams, num_return_sequences=num_beams, early_stopping=early_stopping
    )
    toy = Toy()
    found = generate(toy, named(*NAMES), PROMPTS, options)
    steps = []
    for name, prompt, texts in zip(NAMES, PROMPTS, found, strict=True):
        alone = Toy()
        assert generate(alone, named(name), [prompt], options) == [texts]
        assert len(texts) == num_beams == len({text.tokens for text in texts})
        assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)
        steps.append(len(alone.rows_of_steps))
    # an item takes no more steps in a batch, and the prompt is read once for all its beams
    assert (len(set(steps)) > 1) == (num_beams < 7 or early_stopping is True)  # the widest never has enough
    expected = [5, *(num_beams * sum(1 for count in steps if count > i) for i in range(1, max(steps)))]
    assert toy.rows_of_steps == expected


def test_what_is_kept_of_a_text_is_what_the_model_says_of_it() -> None:
    for texts, name, prompt in zip(
        generate(Toy(), named(*NAMES), PROMPTS, GenerationConfig(max_tokens=7, num_beams=3, num_return_sequences=3)),
        NAMES,
        PROMPTS,
        strict=True,
    ):
        for text in texts:
            tokens = [*text.tokens, END][: len(text.log_probs)]
            for i, token in enumerate(tokens):
                log_probs = logits_of(name, [*prompt, *tokens[:i]]).log_softmax(0)
                assert text.log_probs[i] == pytest.approx(float(log_probs[token]), abs=1e-5)


def test_never_stopping_early_finds_what_stopping_early_misses() -> None:
    """Scores by `early_stopping`, over many items: the longer the search, the better; and not always the same."""
    names = [i / 100 for i in range(1, 53)]
    best = []
    for early_stopping in (True, False, "never"):
        options = GenerationConfig(max_tokens=13, num_beams=2, early_stopping=early_stopping, length_penalty=1.5)
        found = generate(Toy(), named(*names), [[1]] * len(names), options)
        best.append([texts[0].score for texts in found])
    for shorter, longer in ((best[0], best[1]), (best[1], best[2])):
        assert all(b >= a - 1e-6 for a, b in zip(shorter, longer, strict=True))
        assert any(b > a + 1e-3 for a, b in zip(shorter, longer, strict=True))


def test_a_beam_that_cannot_go_on_is_none() -> None:
    """With two tokens to choose from there are fewer texts than beams at first, and none is found twice."""
    options = GenerationConfig(
        max_tokens=3, num_beams=7, num_return_sequences=7, suppress=(0, 1, 3), early_stopping=True
    )
    [texts] = generate(Toy(), named(0.1), [[1]], options)
    assert sorted(text.tokens for text in texts) == [(), (4,), (4, 4), (4, 4, 4)]


def test_where_all_is_forbidden_the_search_ends_with_what_there_is() -> None:
    class Nothing:
        def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores if tokens.shape[1] < 4 else torch.full_like(scores, -torch.inf)

    for options in (
        GenerationConfig(min_tokens=7),
        GenerationConfig(min_tokens=7, num_beams=3, num_return_sequences=3),
    ):
        [texts] = generate(Toy(), named(0.1), [[1]], options, logits_processors=[Nothing()])
        assert len(texts) == options.num_return_sequences
        for text in texts:
            assert len(text.tokens) == len(text.log_probs) == 3 and not text.finished
            assert text.score == pytest.approx(sum(text.log_probs) / 3, abs=1e-5)


def test_texts_may_all_end_at_once() -> None:
    options = GenerationConfig(max_tokens=11, num_beams=3, num_return_sequences=3, suppress=(END,))
    [texts] = generate(Toy(), named(0.1), [[1]], options, stop_when=lambda item, text: len(text) == 2)
    assert [len(text.tokens) for text in texts] == [2, 2, 2]
    assert all(text.finished and len(text.log_probs) == 2 for text in texts)


@pytest.mark.parametrize("vocab_size", [40, 8192, 8201, 51865])
def test_likeliest_finds_what_topk_finds_in_any_vocabulary(vocab_size: int) -> None:
    """With and without tokens that are in no group; the last token and forbidden ones are found and sorted as any."""
    scores = torch.randn(3, vocab_size, generator=torch.Generator().manual_seed(vocab_size))
    scores[0, -1], scores[1, : vocab_size // 2] = 9.0, -math.inf
    values, tokens = likeliest(scores, 10)
    expected = scores.topk(10, dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(tokens, expected.indices)


def test_likeliest_does_not_lose_a_nan() -> None:
    """The search refuses NaN, so it must see it."""
    scores = torch.zeros(1, 8192)
    scores[0, 5000] = math.nan
    values, _ = likeliest(scores, 4)
    assert values.isnan().any()
