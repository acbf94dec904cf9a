"""A caption that is given: the probability of each of its tokens, against a pass token by token."""

import pytest
import torch

from multiattn.errors import InputError
from multiattn.pipelines.given_caption import given_tokens, score_tokens
from tests.fixtures import SENTENCES, tiny_caption_bundle


def test_each_token_has_the_probability_that_a_growing_text_gives_it() -> None:
    bundle = tiny_caption_bundle()
    model, decoder = bundle.model, bundle.model.decoder
    images = torch.randn(2, 3, 15, 35, generator=torch.Generator().manual_seed(7))
    start = [decoder.config.start_token, *bundle.tokenizer.encode("two")]
    tokens = given_tokens("green rings", bundle.tokenizer, start[1:], most=20)
    with torch.inference_mode():
        context = decoder.project_context(model.encode(images))
        found = score_tokens(decoder, context, start, tokens)
        assert [one.tokens for one in found] == [tokens, tokens]
        for i, one in enumerate(found):
            said = list(start)
            for token, log_prob in zip([*tokens, decoder.config.end_token], one.log_probs, strict=True):
                logits = decoder(torch.tensor([said]), model.encode(images[i : i + 1]))[0, -1].double()
                assert log_prob == pytest.approx(float(logits.log_softmax(0)[token]), abs=1e-4)
                said.append(token)
        assert abs(found[0].score - found[1].score) > 1e-3, "the pictures must matter"


def test_a_text_goes_on_where_the_prompt_ends() -> None:
    tokenizer = tiny_caption_bundle().tokenizer
    whole = tokenizer.encode(SENTENCES[0])
    prompt = tokenizer.encode("a red")
    assert whole[: len(prompt)] == prompt
    rest = SENTENCES[0].removeprefix("a red").strip()
    assert [*prompt, *given_tokens(rest, tokenizer, prompt, most=20)] == whole
    assert list(given_tokens(f"  {SENTENCES[0]} ", tokenizer, [], most=20)) == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ", "`explain_text` must have a word, but is ' ' instead: write a sentence"),
        ("a red \u6f22 fox", "must have words of the model's vocabulary, but '\u6f22' is none: use another word"),
        ("a red fox " * 9, "`explain_text` must have at most 20 tokens, but has [0-9]+ instead: shorten it"),
    ],
)
def test_a_text_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_tokens(text, tiny_caption_bundle().tokenizer, [], most=20)
