"""On a GPU the host looks at the tokens of a greedy decode every few steps, and reads one tensor a step of a search."""

import pytest
import torch

from multiattn.generation import GenerationConfig, generate
from multiattn.generation.ctc import CtcScorer
from multiattn.generation.greedy import steps_between_looks
from multiattn.generation.logits_processors import TimestampRules
from multiattn.models import TextDecoder, TextDecoderConfig
from tests.device_reads import device_reads

from .toy import Toy

TOKENS = 19
CONFIG = TextDecoderConfig(vocab_size=17, dim=12, depth=2, num_heads=3, mlp_dim=11, max_length=23, context_dim=12)
LOOK = "multiattn.generation.greedy.steps_between_looks"


def decoder() -> TextDecoder:
    torch.manual_seed(0)
    return TextDecoder(CONFIG).eval()


def options(**changed: object) -> GenerationConfig:
    rules = {"repetition_penalty": 1.3, "no_repeat_ngram": 3, "min_tokens": 5, "suppress_first": (5,)}
    return GenerationConfig(max_tokens=TOKENS, suppress=(CONFIG.end_token,), renormalize=True, **rules | changed)


def ctc() -> CtcScorer:
    log_probs = torch.randn(2, 29, 17, generator=torch.Generator().manual_seed(5)).log_softmax(dim=-1)
    return CtcScorer(log_probs, torch.tensor([29, 23]), weight=0.3, blank=0, end=CONFIG.end_token)


@pytest.mark.parametrize(
    ("changed", "looks"),
    [
        ({}, {"step": 3}),  # after 8, 16 and 19 tokens
        ({"sample": True, "top_k": 5, "num_return_sequences": 2}, {"step": 4}),  # the first repeats the prompts' rows
        ({"num_beams": 3}, {"step": TOKENS}),
    ],
)
def test_reads_of_a_decode(changed, looks, monkeypatch):
    monkeypatch.setattr(LOOK, lambda device: 8)
    model, context = decoder(), torch.randn(2, 5, 12)
    generator = torch.Generator().manual_seed(1)
    rules = [TimestampRules(first=12, end=2, prompt_length=1)] if not changed else []
    scorer = ctc()
    with device_reads("multiattn.") as reads:
        generate(
            model, context, [[1], [1]], options(**changed), generator=generator, logits_processors=rules, scorer=scorer
        )
    assert {k: n for k, n in reads.items() if k != "random_shares"} == looks  # one number a text seeds its draws


@pytest.mark.parametrize("changed", [{}, {"sample": True, "num_return_sequences": 3}])
def test_texts_do_not_depend_on_when_the_host_looks(changed, monkeypatch):
    context = torch.arange(7.0)[:, None, None] / 7
    found = []
    for every in (1, 3, 8):
        monkeypatch.setattr(LOOK, lambda device, every=every: every)
        toy = Toy()
        texts = generate(
            toy,
            context,
            [[1]] * 7,
            GenerationConfig(max_tokens=TOKENS, **changed),
            generator=torch.Generator().manual_seed(3),
            stop_when=lambda item, tokens: item == 2 and len(tokens) == 4,
        )
        found.append((texts, len(toy.rows_of_steps)))
    assert found[0][0] == found[1][0] == found[2][0]
    assert len({len(text.tokens) for of_item in found[0][0] for text in of_item}) > 3
    assert found[0][1] <= found[1][1] <= found[2][1] <= TOKENS


def test_a_cpu_is_looked_at_after_every_step():
    assert steps_between_looks(torch.device("cpu")) == 1 < steps_between_looks(torch.device("cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_nothing_waits_for_the_device_between_two_looks(monkeypatch):
    device = torch.device("cuda")
    model, context = decoder().to(device), torch.randn(2, 5, 12, device=device)
    expected = generate(model, context, [[1], [1]], options())
    monkeypatch.setattr(LOOK, lambda device: TOKENS)
    waits: list[int] = []
    forward = model.forward

    def step(*args, **keywords):
        waits.append(1)
        torch.cuda.set_sync_debug_mode("error" if len(waits) > 1 else "default")  # the prompt's step makes the tensors
        if len(waits) == TOKENS:
            torch.cuda.set_sync_debug_mode("default")  # the last one is looked at
        return forward(*args, **keywords)

    monkeypatch.setattr(model, "forward", step)
    try:
        found = generate(model, context, [[1], [1]], options())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [text.tokens for (text,) in found] == [text.tokens for (text,) in expected]
