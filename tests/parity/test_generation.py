"""Searches of transformers and ours on one and the same decoder: the texts are equal token for token, and the scores.

Their `generate` runs on a wrapper of our decoder that reads each text anew at every step, without a cache.
"""

import warnings

import pytest
import torch
from torch import Tensor

from multiattn.generation import Generated, GenerationConfig, generate
from multiattn.models import TextDecoder, TextDecoderConfig

from .random_weights import randomize

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

V, C, END, PAD = 19, 7, 2, 0
ITEMS, NEW = 5, 13
EQUAL = [[1, 3, 5]] * ITEMS
RAGGED = [[1, 3, 5], [1], [1, 7], [3, 3, 11, 1, 5], [1, 13, 5, 3]]


class Theirs(transformers.PreTrainedModel, transformers.GenerationMixin):
    """Our decoder as transformers sees it."""

    config_class = transformers.PreTrainedConfig

    def __init__(self, decoder: TextDecoder, context: Tensor) -> None:
        config = transformers.PreTrainedConfig(
            vocab_size=V, is_encoder_decoder=False, use_cache=False, pad_token_id=PAD, eos_token_id=END
        )
        super().__init__(config)
        self.decoder = decoder
        self.context = context

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **rest: object
    ) -> dict:
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, return_dict: bool = True) -> object:
        attention_mask = None if attention_mask is None else attention_mask.bool()
        logits = self.decoder(input_ids, self.context, attention_mask=attention_mask)
        return transformers.modeling_outputs.CausalLMOutput(logits=logits)


@pytest.fixture(scope="module")
def decoder() -> TextDecoder:
    config = TextDecoderConfig(V, dim=24, depth=2, num_heads=3, mlp_dim=31, context_dim=C, max_length=37, tied=False)
    decoder = randomize(TextDecoder(config), seed=11)
    with torch.no_grad():  # or a text becomes one token again and again, and has no end
        decoder.positions.weight.mul_(1.5)
        decoder.head.weight.mul_(2)
    return decoder


def both(
    decoder: TextDecoder, prompts: list[list[int]], options: GenerationConfig, **theirs: object
) -> tuple[list[list[Generated]], list[list[list[int]]], list[list[float]] | None]:
    """Ours; their new tokens with the end token; and their scores, where it is a beam search."""
    context = torch.randn(len(prompts), 11, C, generator=torch.Generator().manual_seed(1))
    length = max(map(len, prompts))
    tokens = torch.tensor([[PAD] * (length - len(prompt)) + prompt for prompt in prompts])
    attention_mask = torch.tensor([[i >= length - len(prompt) for i in range(length)] for prompt in prompts])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some flags have no effect here
        made = Theirs(decoder, context).generate(
            input_ids=tokens,
            attention_mask=attention_mask.long(),
            max_new_tokens=options.max_tokens,
            num_beams=options.num_beams,
            num_return_sequences=options.num_return_sequences,
            do_sample=False,
            use_cache=False,
            length_penalty=options.length_penalty,
            early_stopping=options.early_stopping,
            return_dict_in_generate=True,
            output_scores=True,
            **theirs,
        )
    rows = [row[length:] for row in made.sequences.tolist()]
    rows = [row[: row.index(END) + 1] if END in row else row[: options.max_tokens] for row in rows]
    n = options.num_return_sequences
    texts = [rows[i * n : (i + 1) * n] for i in range(len(prompts))]
    scores = made.sequences_scores.view(-1, n).tolist() if options.num_beams > 1 else None
    return generate(decoder, context, prompts, options), texts, scores


def check_equal(ours: list[list[Generated]], texts: list[list[list[int]]], scores: list[list[float]] | None) -> None:
    assert [[[*one.tokens, END] if one.finished else [*one.tokens] for one in each] for each in ours] == texts
    if scores is not None:
        for each, expected in zip(ours, scores, strict=True):
            assert [one.score for one in each] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("prompts", [EQUAL, RAGGED], ids=["equal", "ragged"])
@pytest.mark.parametrize("num_beams", [2, 5])
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 2.0])
def test_beams(
    decoder: TextDecoder,
    prompts: list[list[int]],
    num_beams: int,
    early_stopping: bool | str,
    length_penalty: float,
) -> None:
    options = GenerationConfig(
        max_tokens=NEW,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        early_stopping=early_stopping,
        length_penalty=length_penalty,
    )
    ours, texts, scores = both(decoder, prompts, options)
    check_equal(ours, texts, scores)
    assert len({one.finished for each in ours for one in each}) == 2


@pytest.mark.parametrize("prompts", [EQUAL, RAGGED], ids=["equal", "ragged"])
def test_greedy(decoder: TextDecoder, prompts: list[list[int]]) -> None:
    ours, texts, scores = both(decoder, prompts, GenerationConfig(max_tokens=NEW))
    check_equal(ours, texts, scores)
    assert len({tuple(text) for [text] in texts}) > 2
    assert len({token for [text] in texts for token in text}) > 5


# ours and theirs; theirs sees the padding of a ragged batch as tokens, so the prompts are equally long
RULES = {
    "no_repeat_ngram": ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
    "single": ({"no_repeat_ngram": 1}, {"no_repeat_ngram_size": 1}),
    "repetition": ({"repetition_penalty": 1.7}, {"repetition_penalty": 1.7}),
    "min_tokens": ({"min_tokens": 7}, {"min_new_tokens": 7}),
    "suppress": ({"suppress": (3, 11)}, {"suppress_tokens": [3, 11]}),
    "suppress_first": ({"suppress_first": tuple(range(11))}, {"begin_suppress_tokens": [*range(11)]}),
    "together": (
        {"no_repeat_ngram": 3, "repetition_penalty": 0.8, "min_tokens": 5, "suppress": (5,)},
        {"no_repeat_ngram_size": 3, "repetition_penalty": 0.8, "min_new_tokens": 5, "suppress_tokens": [5]},
    ),
}


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("rule", RULES)
def test_constraints(decoder: TextDecoder, num_beams: int, rule: str) -> None:
    asked, of_them = RULES[rule]
    plain = GenerationConfig(max_tokens=NEW, num_beams=num_beams, num_return_sequences=num_beams)
    options = GenerationConfig(max_tokens=NEW, num_beams=num_beams, num_return_sequences=num_beams, **asked)
    ours, texts, scores = both(decoder, EQUAL, options, **of_them)
    check_equal(ours, texts, scores)
    assert texts != both(decoder, EQUAL, plain)[1], "the rule made no difference"


def test_several_stop_tokens(decoder: TextDecoder) -> None:
    """Theirs with a longer list of end tokens, which keeps more candidates."""
    context = torch.randn(ITEMS, 11, C, generator=torch.Generator().manual_seed(1))
    stop = [END, 7, 13]
    made = Theirs(decoder, context).generate(
        input_ids=torch.tensor(EQUAL),
        attention_mask=torch.ones(ITEMS, 3, dtype=torch.long),
        max_new_tokens=NEW,
        num_beams=3,
        do_sample=False,
        use_cache=False,
        eos_token_id=stop,
    )
    expected = [[token for token in row[3:] if token not in (*stop, PAD)] for row in made.tolist()]
    found = generate(decoder, context, EQUAL, GenerationConfig(max_tokens=NEW, num_beams=3), stop=stop)
    assert [[token for token in one.tokens if token != PAD] for [one] in found] == expected
    assert any(one.finished for [one] in found)


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3, "num_return_sequences": 3}, {"sample": True, "num_return_sequences": 3}]
)
def test_a_ragged_batch_is_its_items_one_by_one(decoder: TextDecoder, options: dict[str, object]) -> None:
    context = torch.randn(ITEMS, 11, C, generator=torch.Generator().manual_seed(1))
    asked = GenerationConfig(max_tokens=NEW, **options)
    together = generate(decoder, context, RAGGED, asked, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    for i, texts in enumerate(together):
        [alone] = generate(decoder, context[i : i + 1], RAGGED[i : i + 1], asked, generator=generator)
        assert [one.tokens for one in texts] == [one.tokens for one in alone]
        for one, other in zip(texts, alone, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


def test_log_probabilities_are_those_of_a_teacher_forced_pass(decoder: TextDecoder) -> None:
    context = torch.randn(ITEMS, 11, C, generator=torch.Generator().manual_seed(1))
    found = generate(decoder, context, RAGGED, GenerationConfig(max_tokens=NEW, num_beams=3, num_return_sequences=3))
    for i, (prompt, texts) in enumerate(zip(RAGGED, found, strict=True)):
        for one in texts:
            new = [*one.tokens, END][: len(one.log_probs)]
            with torch.no_grad():
                logits = decoder(torch.tensor([[*prompt, *new]]), context[i : i + 1])
            log_probs = logits[0].log_softmax(dim=-1)[len(prompt) - 1 : -1]
            expected = log_probs.gather(1, torch.tensor(new)[:, None])[:, 0].tolist()
            assert one.log_probs == pytest.approx(expected, abs=1e-5)
