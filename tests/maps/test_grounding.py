import math

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.maps import (
    UNGROUNDED_BELOW,
    mean_color,
    measure_image_dependence,
    ungrounded,
)
from tests.maps.captions import CONFIGS, PROMPT, TOKENS, WORDS, captioner, pictures


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    return captioner(request.param)


def log_probability(model, picture, item, word):
    """Of one word, in a pass of its own."""
    with torch.no_grad():
        rows = model(picture[None], torch.tensor([TOKENS[item][:-1]])).log_softmax(-1)[0]
    return sum(rows[PROMPT + piece - 1, TOKENS[item][PROMPT + piece]].item() for piece in word.pieces)


def gray(picture):
    """Each channel's mean everywhere."""
    return torch.stack([torch.full_like(channel, channel.mean().item()) for channel in picture])


def test_the_number_is_the_drop_of_the_log_probability(model):
    images = pictures() + torch.tensor([0.3, -0.2, 1.1])[None, :, None, None]
    found = measure_image_dependence(model, images, TOKENS, WORDS, prompt_length=PROMPT)
    assert [len(one) for one in found] == [3, 1]
    for item, of_words in enumerate(found):
        for word, drop in zip(WORDS[item], of_words, strict=True):
            expected = log_probability(model, images[item], item, word)
            expected -= log_probability(model, gray(images[item]), item, word)
            assert drop == pytest.approx(expected, abs=1e-4)
            assert abs(drop) > 1e-3


def test_log_probabilities_at_hand_do_not_matter_and_are_those_that_count(model):
    images = pictures()
    with torch.no_grad():
        rows = [model(images[i : i + 1], torch.tensor([text[:-1]])).log_softmax(-1)[0] for i, text in enumerate(TOKENS)]
    known = [
        [row[n, text[n + 1]].item() for n in range(PROMPT - 1, len(text) - 1)]
        for row, text in zip(rows, TOKENS, strict=True)
    ]
    found = measure_image_dependence(model, images, TOKENS, WORDS, prompt_length=PROMPT, log_probs=known)
    for one, other in zip(
        found, measure_image_dependence(model, images, TOKENS, WORDS, prompt_length=PROMPT), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-5)
    more = [[one + 1 for one in of_caption] for of_caption in known]
    raised = measure_image_dependence(model, images, TOKENS, WORDS, prompt_length=PROMPT, log_probs=more)
    for one, other, words in zip(raised, found, WORDS, strict=True):
        assert one == pytest.approx([drop + len(word.pieces) for drop, word in zip(other, words, strict=True)])


def test_a_picture_of_one_color_adds_nothing_and_its_words_are_made_up(model):
    images = mean_color(pictures())
    for of_words in measure_image_dependence(model, images, TOKENS, WORDS, prompt_length=PROMPT):
        assert of_words == pytest.approx([0] * len(of_words), abs=1e-5)
        assert all(map(ungrounded, of_words))


def test_a_decoder_that_does_not_look_makes_everything_up(model):
    with torch.no_grad():
        for block in model.decoder.blocks:
            block.cross_attention.out.weight.zero_()
    found = measure_image_dependence(model, pictures(), TOKENS, WORDS, prompt_length=PROMPT)
    assert all(drop == 0 and ungrounded(drop) for of_words in found for drop in of_words)


def test_the_rule_is_a_quarter_likelier():
    assert math.exp(UNGROUNDED_BELOW) == pytest.approx(1.25)
    assert [ungrounded(math.log(times)) for times in (0.2, 1.0, 1.24, 1.26, 9.0)] == [True, True, True, False, False]


def test_a_caption_too_few_is_refused(model):
    with pytest.raises(ModelError, match="`tokens` must be one for each of 2 pictures, but are 1"):
        measure_image_dependence(model, pictures(), TOKENS[:1], WORDS[:1], prompt_length=PROMPT)
