"""The grammar of times, against a plain reading of its rules."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multiattn.generation import GenerationConfig, LogitsProcessor, generate
from multiattn.generation.logits_processors import TimestampRules
from tests.generation.toy import Sizes, Toy, named

WORDS, END, OTHER, NO_TIMES, FIRST, V = range(0, 5), 5, 6, 7, 8, 19


def allowed(new: Sequence[int], scores: Sequence[float], *, latest: int | None) -> list[bool]:
    """Rule by rule, for one text."""
    times = [token for token in new if token >= FIRST]
    found = []
    for token in range(V):
        may = token != NO_TIMES
        if not new:
            may &= token >= FIRST and (latest is None or token - FIRST <= latest)
        elif new[-1] >= FIRST:
            opens = len(new) == 1 or new[-2] >= FIRST
            if opens:  # a segment has begun, and wants a word
                may &= token < FIRST
            else:  # a segment has ended: its time again, a later one, or the end
                may &= token >= END
        if times and token >= FIRST:
            ended = new[-1] >= FIRST and len(new) > 1 and new[-2] < FIRST
            may &= token >= times[-1] if ended else token > times[-1]
        found.append(may)
    left = [value if may else -math.inf for value, may in zip(scores, found, strict=True)]
    together = torch.tensor(left[FIRST:]).logsumexp(0)
    if together > max(left[:FIRST]):
        found[:FIRST] = [False] * FIRST
    return found


@settings(deadline=None, max_examples=300)
@given(
    texts=st.integers(0, 7).flatmap(
        lambda length: st.lists(
            st.lists(st.integers(0, V - 1), min_size=length, max_size=length), min_size=1, max_size=3
        )
    ),
    seed=st.integers(0, 99),
    latest=st.none() | st.integers(0, 12),
    gap=st.floats(-3, 3),
)
def test_what_the_rules_leave(texts: list[list[int]], seed: int, latest: int | None, gap: float) -> None:
    scores = torch.randn(len(texts), V, generator=torch.Generator().manual_seed(seed))
    scores[:, FIRST:] += gap
    before = scores.clone()
    rules = TimestampRules(FIRST, END, 3, no_timestamps=NO_TIMES, latest_start=latest)
    prompts = torch.full((len(texts), 3), FIRST + 2)  # a time in the prompt counts for nothing
    prompts[0, 0] = -1
    tokens = torch.cat([prompts, torch.tensor(texts, dtype=torch.int64).reshape(len(texts), -1)], dim=1)
    found = rules(tokens, scores)
    assert torch.equal(scores, before)
    for text, row, mine in zip(texts, scores, found, strict=True):
        may = torch.tensor(allowed(text, row.tolist(), latest=latest))
        assert torch.equal(mine, row.masked_fill(~may, -math.inf))


def test_nothing_is_left_of_a_text_that_may_not_go_on() -> None:
    """A segment has begun at the last time there is, and no word may follow."""
    rules = TimestampRules(FIRST, END, 0)
    scores = torch.randn(1, V, generator=torch.Generator().manual_seed(3))
    scores[:, :FIRST] = -math.inf
    assert rules(torch.tensor([[V - 1]]), scores).eq(-math.inf).all()


def test_it_is_a_constraint() -> None:
    assert isinstance(TimestampRules(FIRST, END, 1), LogitsProcessor)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"sample": True, "temperature": 2.0}], ids=str)
def test_texts_are_of_whole_segments_in_order(options: dict[str, object]) -> None:
    def logits(name: float, text: Sequence[int]) -> Tensor:
        seed = hash((round(name * 1000), *text)) % 2**31
        return 2 * torch.randn(V, generator=torch.Generator().manual_seed(seed))

    toy = Toy(logits, Sizes(vocab_size=V, max_length=41, end_token=END))
    names = [i / 10 for i in range(1, 14)]
    found = generate(
        toy,
        named(*names),
        [[OTHER, *([WORDS[1]] * (i % 3))] for i in range(13)],
        GenerationConfig(max_tokens=23, suppress=(OTHER,), renormalize=True, **options),
        generator=torch.Generator().manual_seed(5) if options.get("sample") else None,
        logits_processors=[TimestampRules(FIRST, END, 3, no_timestamps=NO_TIMES, latest_start=2)],
    )
    lengths = set()
    for [text] in found:
        times = [token for token in text.tokens if token >= FIRST]
        assert text.tokens[0] >= FIRST and times == sorted(times) and times[0] <= FIRST + 2
        assert NO_TIMES not in text.tokens
        kinds = "".join("t" if token >= FIRST else "w" for token in text.tokens)
        assert "ttt" not in kinds
        lengths.add(len(text.tokens))
    assert len(lengths) > 3
