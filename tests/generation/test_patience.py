"""Whisper's beam search and its scores, against their plain statement."""

import math
from collections.abc import Sequence

import pytest
import torch

from multiattn.generation import GenerationConfig, generate
from tests.generation.toy import END, Toy, V, greedy, logits_of, named

NAMES = (0.1, 0.2, 0.3, 0.4, 0.5)
PROMPTS = [[1], [1, 3], [1, 4, 4, 3], [3], [1, 1]]


def plain_search(
    name: float, prompt: Sequence[int], *, num_beams: int, patience: float, longest: int, never: Sequence[int] = ()
) -> list[tuple[tuple[int, ...], float]]:
    """Step by step: of all continuations the best are kept; those that end on the way are done."""
    running, done = [((), 0.0)], []
    for _ in range(longest):
        every = []
        for text, total in running:
            logits = logits_of(name, [*prompt, *text]).clone()
            logits[list(never)] = -math.inf
            log_probs = logits.log_softmax(0)
            every += [((*text, token), total + float(log_probs[token])) for token in range(V) if token not in never]
        running = []
        for text, total in sorted(every, key=lambda one: -one[1]):
            if text[-1] != END:
                running.append((text, total))
            elif len(done) < round(num_beams * patience):
                done.append((text[:-1], total))
            if len(running) == num_beams:
                break
        if len(done) >= round(num_beams * patience):
            break
    else:
        done += running[: max(num_beams - len(done), 0)]
    return sorted(done, key=lambda one: -one[1] / max(len(one[0]), 1))


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("patience", [1.0, 2.0, 1.5])
@pytest.mark.parametrize("never", [(), (3,)])
def test_it_keeps_texts_as_they_end(num_beams: int, patience: float, never: tuple[int, ...]) -> None:
    options = GenerationConfig(
        max_tokens=11,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        patience=patience,
        renormalize=True,
        count_end=False,
        suppress=never,
    )
    found = generate(Toy(), named(*NAMES), PROMPTS, options)
    for name, prompt, texts in zip(NAMES, PROMPTS, found, strict=True):
        expected = plain_search(name, prompt, num_beams=num_beams, patience=patience, longest=11, never=never)
        assert [text.tokens for text in texts] == [text for text, _ in expected[:num_beams]]
        for text, (_, total) in zip(texts, expected, strict=False):
            assert text.score == pytest.approx(total / max(len(text.tokens), 1), abs=1e-5)
            assert text.finished == (len(text.log_probs) > len(text.tokens))


def test_cut_off_texts_fill_the_free_beams() -> None:
    options = GenerationConfig(max_tokens=2, num_beams=5, num_return_sequences=5, patience=1.0, suppress=(END,))
    [texts] = generate(Toy(), named(0.1), [[1]], options)
    assert len(texts) == 5 and not any(text.finished for text in texts)
    assert all(len(text.tokens) == 2 for text in texts)


def test_where_all_is_forbidden_patience_ends_too() -> None:
    options = GenerationConfig(
        max_tokens=3, num_beams=3, num_return_sequences=3, patience=2.0, renormalize=True, suppress=tuple(range(V))
    )
    [texts] = generate(Toy(), named(0.1), [[1]], options)
    assert [text.tokens for text in texts] == [()]
    [[text]] = generate(Toy(), named(0.1), [[1]], GenerationConfig(renormalize=True, suppress=tuple(range(V))))
    assert text.tokens == () and not text.finished


@pytest.mark.parametrize("sample", [False, True])
def test_renormalized_scores_are_among_what_is_left(sample: bool) -> None:
    options = GenerationConfig(max_tokens=7, renormalize=True, count_end=False, suppress=(3,), sample=sample)
    generator = torch.Generator().manual_seed(3) if sample else None
    for [text], name, prompt in zip(
        generate(Toy(), named(*NAMES), PROMPTS, options, generator=generator), NAMES, PROMPTS, strict=True
    ):
        total = 0.0
        for i, token in enumerate([*text.tokens, END][: len(text.log_probs)]):
            logits = logits_of(name, [*prompt, *text.tokens[:i]]).clone()
            assert text.log_probs[i] == pytest.approx(float(logits.log_softmax(0)[token]), abs=1e-5)
            logits[3] = -math.inf
            total += float(logits.log_softmax(0)[token])
        assert text.score == pytest.approx(total / max(len(text.tokens), 1), abs=1e-5)


def test_the_end_may_not_count() -> None:
    counted, bare = (
        generate(Toy(), named(*NAMES), PROMPTS, GenerationConfig(max_tokens=11, count_end=count_end))
        for count_end in (True, False)
    )
    for name, prompt, [one], [other] in zip(NAMES, PROMPTS, counted, bare, strict=True):
        tokens, log_probs = greedy(name, prompt, count=11)
        assert list(one.tokens) == list(other.tokens) == tokens
        assert one.score == pytest.approx(sum(log_probs) / len(log_probs), abs=1e-5)
        assert other.score == pytest.approx(sum(log_probs) / max(len(tokens), 1), abs=1e-5)
