import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.logits_processors import NoRepeatedNgram, RepetitionPenalty
from tests.generation.toy import END, Toy, V, logits_of, named

NAMES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
PROMPTS = [[1], [1, 3], [1, 4, 4, 3], [3], [1, 1], [4, 3, 1], [1]]
WAYS = [{}, {"num_beams": 3, "num_return_sequences": 3}, {"sample": True, "num_return_sequences": 3}]


def written(way: dict[str, object], **options: object) -> list[tuple[list[int], list[list[int]]]]:
    """Each prompt with what was found for it, the end token put back."""
    asked = GenerationConfig(**{"max_tokens": 11, **way, **options})
    found = generate(Toy(), named(*NAMES), PROMPTS, asked, generator=torch.Generator().manual_seed(3))
    texts = [[[*text.tokens, END][: len(text.log_probs)] for text in texts] for texts in found]
    return list(zip(PROMPTS, texts, strict=True))


texts_of_fours = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=11), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(texts_of_fours, st.integers(1, 4))
def test_no_ngram_occurs_again(texts: list[list[int]], size: int) -> None:
    length = max(map(len, texts))
    tokens = torch.tensor([[-1] * (length - len(text)) + text for text in texts])
    scores = torch.randn(len(texts), V)
    before = scores.clone()
    found = NoRepeatedNgram(size)(tokens, scores)
    for text, row, given_row in zip(texts, found, scores, strict=True):
        seen = [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]
        last = text[len(text) - size + 1 :] if size > 1 else []
        for token in range(V):
            again = len(text) >= size - 1 and tuple([*last, token]) in seen
            assert row[token] == (-math.inf if again else given_row[token])
    assert torch.equal(scores, before)


@settings(max_examples=40, deadline=None)
@given(texts_of_fours, st.sampled_from([0.5, 1.7]))
def test_what_is_in_the_text_loses_score(texts: list[list[int]], penalty: float) -> None:
    length = max(map(len, texts))
    tokens = torch.tensor([[-1] * (length - len(text)) + text for text in texts])
    scores = torch.randn(len(texts), V)
    before = scores.clone()
    found = RepetitionPenalty(penalty)(tokens, scores)
    for text, row, given_row in zip(texts, found.tolist(), scores.tolist(), strict=True):
        for token, (after, score) in enumerate(zip(row, given_row, strict=True)):
            factor = (penalty if score < 0 else 1 / penalty) if token in text else 1
            assert after == pytest.approx(score * factor)
    assert torch.equal(scores, before)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3])
def test_ngrams_of_whole_decodes(way: dict[str, object], size: int) -> None:
    def repeats(text: list[int]) -> bool:
        seen = [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]
        return len(set(seen)) < len(seen)

    def rows(**options: object) -> list[bool]:
        # a prompt may repeat itself, so only what ends among the new tokens counts
        return [repeats([*prompt[-size + 1 :], *text]) for prompt, texts in written(way, **options) for text in texts]

    assert any(rows(min_tokens=9))
    assert not any(rows(min_tokens=9, no_repeat_ngram=size))


@pytest.mark.parametrize("way", WAYS)
def test_a_text_has_its_least_length(way: dict[str, object]) -> None:
    assert min(len(text) for _, texts in written(way) for text in texts) < 5
    lengths = {text.index(END) if END in text else 11 for _, texts in written(way, min_tokens=5) for text in texts}
    assert min(lengths) == 5 < max(lengths)


@pytest.mark.parametrize("way", WAYS)
def test_suppressed_tokens_are_not_written(way: dict[str, object]) -> None:
    assert any({0, 3} & {*text} for _, texts in written(way) for text in texts)
    assert not any({0, 3} & {*text} for _, texts in written(way, suppress=(0, 3)) for text in texts)
    found = [text for _, texts in written(way, suppress_first=(0, 3, END)) for text in texts]
    assert {text[0] for text in found} == {1, 4}
    assert any({0, 3} & {*text} for text in found)


@pytest.mark.parametrize("way", WAYS)
def test_forced_tokens_stand_whatever_else_is_asked(way: dict[str, object]) -> None:
    forced = ((0, 4), (2, 3), (5, END))
    found = written(way, forced=forced, suppress=(3,), min_tokens=7)
    assert all([text[0], text[2], *text[5:]] == [4, 3, END] for _, texts in found for text in texts)


def test_forced_tokens_cost_nothing_in_the_search_and_keep_their_own_log_probability() -> None:
    options = GenerationConfig(max_tokens=2, num_beams=3, forced=((0, 4), (1, END)))
    [[text]] = generate(Toy(), named(0.1), [[1]], options)
    first, second = logits_of(0.1, [1]).log_softmax(0)[4], logits_of(0.1, [1, 4]).log_softmax(0)[END]
    assert text.log_probs == pytest.approx((float(first), float(second)), abs=1e-5)
    assert text.score == 0


@pytest.mark.parametrize("way", WAYS)
def test_penalized_texts_repeat_less(way: dict[str, object]) -> None:
    def share(**options: object) -> float:
        found = written(way, suppress=(END,), max_tokens=2, **options)
        again = [t in [*prompt, *text[:i]] for prompt, texts in found for text in texts for i, t in enumerate(text)]
        return sum(again) / len(again)

    assert share(repetition_penalty=3.0) < share() < share(repetition_penalty=0.3)


def test_own_rules_see_the_text_with_its_padding_and_come_before_forced_tokens() -> None:
    seen = []

    class Rule:
        def __call__(self, tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            seen.append(tokens.tolist())
            return scores.index_fill(1, torch.tensor([0, 1, END, 3]), -math.inf)

    options = GenerationConfig(max_tokens=3, forced=((1, 3),))
    found = generate(Toy(), named(0.1, 0.2), [[1], [3, 1]], options, logits_processors=[Rule()])
    assert [text.tokens for [text] in found] == [(4, 3, 4)] * 2
    assert seen == [[[-1, 1], [3, 1]], [[-1, 1, 4], [3, 1, 4]], [[-1, 1, 4, 3], [3, 1, 4, 3]]]


@pytest.mark.parametrize("options", [{"suppress": (3, 5)}, {"suppress_first": (5,)}, {"forced": ((0, 5),)}])
def test_unknown_tokens_are_named(options: dict[str, object]) -> None:
    [name] = options
    with pytest.raises(ModelError, match=f"`{name}` must name tokens of .* from 0 to 4, but names 5 instead"):
        generate(Toy(), named(0.1), [[1]], GenerationConfig(**options))


def test_log_probabilities_are_the_models_own() -> None:
    for way in WAYS:
        options = GenerationConfig(
            **way, max_tokens=7, repetition_penalty=1.7, suppress=(3,), **({"temperature": 0.6} if way else {})
        )
        found = generate(Toy(), named(0.3), [[1]], options, generator=torch.Generator().manual_seed(5))
        for text in found[0]:
            tokens = [*text.tokens, END][: len(text.log_probs)]
            expected = [float(logits_of(0.3, [1, *tokens[:i]]).log_softmax(0)[t]) for i, t in enumerate(tokens)]
            assert text.log_probs == pytest.approx(expected, abs=1e-5)
