import numpy as np
import pytest
import torch

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.inputs import Geometry
from multiattn.inputs.text import Word
from multiattn.maps import WORD_METHODS, explain_words, word_attention, word_attention_stack
from tests.maps.captions import CONFIGS, GRID, HEADS, LAYERS, PROMPT, TOKENS, WORDS, captioner, pictures
from tests.maps.explicit import Explicit

CAPTIONS = {"prompt_length": PROMPT}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    return captioner(request.param)


@pytest.fixture
def images():
    return pictures()


def read_alone(model, images, item):
    """One caption by itself, in fp64: the weights of the encoder and both kinds of the decoder, and each word's
    log-probability."""
    model = model.double()
    encoder, selves, cross = [], [], []
    for block in model.encoder.blocks:
        block.attention.score = Explicit(encoder)
    for block in model.decoder.blocks:
        block.attention.score = Explicit(selves)
        block.cross_attention.score = Explicit(cross)
    tokens = torch.tensor([TOKENS[item]])
    logits = model(images[item : item + 1].double().requires_grad_(), tokens[:, :-1])
    of_tokens = logits.log_softmax(-1)[0]
    scores = [
        sum(of_tokens[PROMPT + piece - 1, TOKENS[item][PROMPT + piece]] for piece in word.pieces)
        for word in WORDS[item]
    ]
    return encoder, selves, cross, scores


def rows_of(word):
    return [PROMPT - 1 + piece for piece in word.pieces]  # the row before each token predicts it


def patches(row):
    return row[..., -GRID[0] * GRID[1] :].unflatten(-1, GRID).detach().numpy()


@pytest.mark.parametrize("item", [0, 1])
def test_the_stack_holds_the_rows_that_predict_the_pieces(model, images, item):
    stack = word_attention_stack(model, images, TOKENS, WORDS, **CAPTIONS)[item]
    assert stack.names == ("layer", "head", "word", "y", "x")
    assert stack.values.shape == (LAYERS, HEADS, len(WORDS[item]), *GRID)
    _, _, cross, _ = read_alone(model, images, item)
    for layer, weights in enumerate(cross):
        for w, word in enumerate(WORDS[item]):
            expected = patches(weights[0, :, rows_of(word)].mean(1))
            np.testing.assert_allclose(stack.values[layer, :, w], expected, atol=1e-6)


@pytest.mark.parametrize("item", [0, 1])
def test_rollout_carries_the_attention_through_the_papers_matrices(model, images, item):
    found = explain_words(model, images, TOKENS, WORDS, method="rollout", **CAPTIONS)[item]
    encoder, _, cross, _ = read_alone(model, images, item)
    product = torch.eye(encoder[0].shape[-1], dtype=torch.float64)
    for block in encoder:
        mixed = block[0].mean(0) + torch.eye(len(product))
        product = (mixed / mixed.sum(-1, keepdim=True)) @ product
    attention = torch.stack(cross).mean((0, 1, 2))  # (n, m)
    for w, word in enumerate(WORDS[item]):
        np.testing.assert_allclose(found.values[w], patches(attention[rows_of(word)].mean(0) @ product), atol=1e-6)


@pytest.mark.parametrize("item", [0, 1])
def test_relevance_is_the_papers_through_both_stacks(model, images, item):
    """Equations 5 to 11, the normalized ones in the encoder; read off the rows that predict a word."""
    found = explain_words(model, images, TOKENS, WORDS, method="relevance", **CAPTIONS)[item]
    encoder, selves, cross, scores = read_alone(model, images, item)
    of_picture = torch.eye(encoder[0].shape[-1], dtype=torch.float64)
    for block, gradient in zip(encoder, torch.autograd.grad(sum(scores), encoder, retain_graph=True), strict=True):
        of_picture = of_picture + (gradient * block)[0].clamp(min=0).mean(0) @ of_picture
    for w, (word, score) in enumerate(zip(WORDS[item], scores, strict=True)):
        gradients = torch.autograd.grad(score, selves + cross, retain_graph=True)
        raised = [(a * g)[0].clamp(min=0).mean(0) for a, g in zip(selves + cross, gradients, strict=True)]
        own = torch.eye(raised[0].shape[-1], dtype=torch.float64)
        within = torch.zeros_like(raised[-1])
        for of_self, of_cross in zip(raised[:LAYERS], raised[LAYERS:], strict=True):
            own, within = own + of_self @ own, within + of_self @ within
            within = within + normalized(own).T @ of_cross @ normalized(of_picture)
        assert within.max() > 0
        np.testing.assert_allclose(found.values[w], patches(within[rows_of(word)].mean(0)), rtol=1e-3, atol=1e-7)


def normalized(matrix):
    """Equations 8 and 9."""
    more = matrix - torch.eye(len(matrix), dtype=torch.float64)
    sums = more.sum(-1, keepdim=True)
    return torch.where(sums > 0, more / sums, 0) + torch.eye(len(matrix), dtype=torch.float64)


def test_a_capture_while_decoding_step_by_step_equals_the_replay(model, images):
    """Cached, one token at a time, with a tap for each step."""
    stack = word_attention_stack(model, images[:1], TOKENS[:1], WORDS[:1], **CAPTIONS)[0]
    cache = model.start(images[:1], rows=1, capacity=len(TOKENS[0]))
    rows = []
    for token in TOKENS[0][:-1]:
        sites = model.decoder.attention_sites(tokens=1, context_tokens=cache.context.layers[0].keys.shape[2])
        tap = Tap(sites, select="*.cross")
        with torch.no_grad():
            model.decoder(torch.tensor([[token]]), cache=cache, tap=tap)
        rows.append(torch.stack(list(tap.weights.values()))[:, 0, :, 0])  # (l, h, m)
    for w, word in enumerate(WORDS[0]):
        expected = patches(torch.stack([rows[row] for row in rows_of(word)]).mean(0))
        np.testing.assert_allclose(stack.values[:, :, w], expected, atol=1e-5)


def test_attention_is_the_stacks_mean_and_can_be_chosen(model, images):
    stacks = word_attention_stack(model, images, TOKENS, WORDS, **CAPTIONS)
    for i, found in enumerate(explain_words(model, images, TOKENS, WORDS, method="attention", **CAPTIONS)):
        assert found.equals(word_attention(stacks[i]))
        np.testing.assert_allclose(found.values, stacks[i].values.mean((0, 1)), atol=1e-7)
        assert found.names == ("word", "y", "x") and found.heads is None
        assert found.sites == tuple(f"decoder.blocks.{layer}.cross" for layer in range(LAYERS))
    chosen = explain_words(model, images, TOKENS, WORDS, method="attention", layer=-2, head=1, **CAPTIONS)[0]
    np.testing.assert_array_equal(chosen.values, stacks[0].values[LAYERS - 2, 1])
    assert (chosen.sites, chosen.heads) == ((f"decoder.blocks.{LAYERS - 2}.cross",), (1,))
    of_layer = word_attention(stacks[0], layer=0)
    np.testing.assert_allclose(of_layer.values, stacks[0].values[0].mean(0), atol=1e-7)


def test_what_went_to_no_patch_stands_in_the_note(model, images):
    found = explain_words(model, images, TOKENS, WORDS, method="attention", **CAPTIONS)[0]
    elsewhere = 1 - found.values.sum((1, 2)).mean()
    if model.encoder.num_prefix_tokens:
        assert elsewhere > 0.005
        assert f"{elsewhere:.0%} of it went to tokens that stand for no patch" in found.note
    else:
        assert elsewhere == pytest.approx(0, abs=1e-5)
        assert "no patch" not in found.note


@pytest.mark.parametrize("method", WORD_METHODS)
def test_a_caption_has_the_same_maps_alone_and_in_a_batch(model, images, method):
    together = explain_words(model, images, TOKENS, WORDS, method=method, **CAPTIONS)[1]
    alone = explain_words(model, images[1:], TOKENS[1:], WORDS[1:], method=method, **CAPTIONS)[0]
    np.testing.assert_allclose(together.values, alone.values, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", WORD_METHODS)
def test_frozen_weights_inference_mode_and_a_context_at_hand_do_not_matter(model, images, method):
    before = explain_words(model, images, TOKENS, WORDS, method=method, **CAPTIONS)[0].values
    model.requires_grad_(False)
    with torch.inference_mode():
        images = images.clone()  # a tensor that autograd refuses
        context = model.encode(images)
        contexts = [context, model.decoder.project_context(context)]
        within = [explain_words(model, images, TOKENS, WORDS, method=method, context=c, **CAPTIONS) for c in contexts]
    outside = [explain_words(model, images, TOKENS, WORDS, method=method, context=c, **CAPTIONS) for c in contexts]
    for found in (*within, *outside):
        np.testing.assert_array_equal(found[0].values, before)


def test_labels_put_together_are_the_text(model, images):
    geometry = Geometry(source_size=(43, 61), resized_size=(15, 21), crop=(0, 0, 15, 21))
    for method in WORD_METHODS:
        first, second = explain_words(
            model, images, TOKENS, WORDS, method=method, geometries=[geometry, None], **CAPTIONS
        )
        assert first.axes[0].labels == ("a", " fox", "!")
        assert (first.target, second.target) == ("a fox!", "dogs")
        assert (first.geometry, second.geometry) == (geometry, None)
        assert first.method == method
    assert "encoder.blocks.0.self" in first.sites and "decoder.blocks.0.self" not in first.sites


def test_words_of_a_prompt_have_maps_as_well(model, images):
    """With a prompt length of 1 the pieces count from the start token on."""
    whole = [[Word(word.text, word.start, word.end, tuple(p + 1 for p in word.pieces)) for word in WORDS[0]]]
    a = explain_words(model, images[:1], TOKENS[:1], WORDS[:1], method="attention", prompt_length=2)[0]
    b = explain_words(model, images[:1], TOKENS[:1], whole, method="attention", prompt_length=1)[0]
    assert a.equals(b)


@pytest.mark.parametrize("method", WORD_METHODS)
def test_no_pictures_are_refused(images, method):
    with pytest.raises(ModelError, match=r"`images` must be at least one picture, but is \(0, "):
        explain_words(captioner(CONFIGS["class token, register"]), images[:0], [], [], method=method, prompt_length=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "gradcam"}, "no map method 'gradcam' for words; there are: attention, relevance, lrp, rollout"),
        ({"method": "rollout", "head": 1}, "can be chosen for the method 'attention', not for 'rollout'"),
        ({"layer": 3}, "`layer` must be from -3 to 2, but is 3 instead"),
        ({"head": 2}, "`head` must be from 0 to 1, but is 2 instead"),
        ({"prompt_length": 0}, "`prompt_length` must be at least 1, for nothing predicts the start token, but is 0"),
        ({"tokens": TOKENS[:1]}, "`tokens` must be one for each of 2 pictures, but are 1"),
        ({"geometries": [None]}, "`geometries` must be one for each of 2 pictures, but are 1"),
        ({"geometries": [], "method": "rollout"}, "`geometries` must be one for each of 2 pictures, but are 0"),
        ({"geometries": [None] * 3}, "`geometries` must be one for each of 2 pictures, but are 3"),
        ({"tokens": TOKENS * 2}, "`tokens` must be one for each of 2 pictures, but are 4"),
        ({"words": WORDS[:1]}, "`words` must be one for each of 2 captions, but are 1"),
        ({"words": [WORDS[0], []]}, "`words` of caption 1 must be at least one, but are none"),
        (
            {"words": [[Word("a", 0, 1, (5,))], WORDS[1]]},
            r"of the word 'a' must be from 0 to 4, but are \(5,\) instead",
        ),
        ({"words": [[Word("a", 0, 1, (-1,))], WORDS[1]]}, r"must be from 0 to 4, but are \(-1,\) instead"),
        ({"words": [[Word("a", 0, 1, ())], WORDS[1]]}, r"must be from 0 to 4, but are \(\) instead"),
    ],
)
def test_refusals(images, changes, message):
    asked = {"tokens": TOKENS, "words": WORDS, "prompt_length": PROMPT, "method": "attention", **changes}
    with pytest.raises(ModelError, match=message):
        explain_words(captioner(CONFIGS["class token, register"]), images, **asked)
