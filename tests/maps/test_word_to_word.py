"""Self-attention among words, against sums over tokens in loops and fp64."""

import numpy as np
import pytest
import torch

from multiattn.attention import Tap
from multiattn.maps import answer_attention_stack, caption_word_attention
from multiattn.models import VQA
from tests.maps import answers, captions


def merged(weights: np.ndarray, queries: list[list[int]], keys: list[list[int]]) -> np.ndarray:
    """The mean over the tokens of a query of the sum over those of a key."""
    found = np.zeros((*weights.shape[:2], len(queries), len(keys)))
    for q, rows in enumerate(queries):
        for k, columns in enumerate(keys):
            for row in rows:
                for column in columns:
                    found[:, :, q, k] += weights[:, :, row, column].astype(np.float64) / len(rows)
    return found


@pytest.mark.parametrize("name", captions.CONFIGS)
def test_a_word_of_a_caption_attends_to_those_before_it(name):
    model, images = captions.captioner(captions.CONFIGS[name]), captions.pictures()
    options = {"prompt_length": captions.PROMPT}
    maps = caption_word_attention(model, images, captions.TOKENS, captions.WORDS, **options)
    for i, (one, tokens, words) in enumerate(zip(maps, captions.TOKENS, captions.WORDS, strict=True)):
        tap = Tap(model.attention_sites((15, 21), tokens=len(tokens) - 1), select="decoder.*.self")
        with torch.no_grad():
            model.decoder(torch.tensor([tokens[:-1]]), model.encode(images[i : i + 1]), tap=tap.at("decoder"))
        weights = np.stack([of_layer[0].numpy() for of_layer in tap.weights.values()])  # (l, h, n, n)
        # a piece is predicted by the row before its own token
        queries = [[captions.PROMPT - 1 + piece for piece in word.pieces] for word in words]
        own = [[token + 1 for token in rows if token + 1 < len(tokens) - 1] for rows in queries]
        assert one.values.shape == (captions.LAYERS, captions.HEADS, len(words), len(words) + 2)
        np.testing.assert_allclose(one.values, merged(weights, queries, [[0], [1], *own]), atol=1e-6)
        assert one.values[:, :, 0, 3:].max(initial=0) == 0  # nothing is before the first word but what is no word
    assert maps[0].axes[2].labels == ("a", " fox", "!")
    assert maps[0].axes[3].labels == ("start token", "prompt", "a", " fox", "!")
    assert maps[0].sites == tuple(f"decoder.blocks.{layer}.self" for layer in range(captions.LAYERS))
    np.testing.assert_allclose(maps[0].values.sum(axis=-1), 1, atol=1e-5)  # all before a word is a key
    with torch.no_grad():
        again = caption_word_attention(
            model, images, captions.TOKENS, captions.WORDS, context=model.encode(images), **options
        )
    for one, other in zip(maps, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("name", answers.CONFIGS)
def test_words_of_a_question_attend_to_each_other(name):
    model, images = answers.answerer(answers.CONFIGS[name]), answers.pictures()
    questions, options = answers.asked(model, [0, 1, 2, 3])
    stacks = answer_attention_stack(model, images, *questions, **options)
    for i, (stack, tokens, words) in enumerate(zip(stacks, *questions, strict=True)):
        asked = torch.tensor([tokens])
        select = "question.*.self" if isinstance(model, VQA) else "*"
        tap = Tap(model.attention_sites((15, 21), question_tokens=len(tokens)), select=select)
        with torch.no_grad():
            model.read(asked, model.encode(images[i // 2 : i // 2 + 1]), tap=tap)
        weights = np.stack([of_layer[0, :, : len(tokens)].numpy() for of_layer in tap.weights.values()])
        end = len(tokens) - 1
        queries = [[0], *([1 + piece for piece in word.pieces] for word in words), [end]]
        picture = [list(range(len(tokens), weights.shape[-1]))] if name == "single stream" else []
        np.testing.assert_allclose(stack.words.values, merged(weights, queries, [*queries, *picture]), atol=1e-6)
        labels = ("first token", *(stack.question.axes[2].labels or ()), "end token")
        assert stack.words.axes[2].labels == labels
        assert stack.words.axes[3].labels == labels + (("picture",) if picture else ())
        assert stack.words.sites == tuple(tap.weights)
