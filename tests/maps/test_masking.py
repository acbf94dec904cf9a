"""Masked inputs against hiding one input at a time, cell by cell, in NumPy."""

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs.text import Word
from multiattn.maps import masked_answer, masked_class, masked_question, masked_speech, masked_word
from multiattn.maps.masking import blurred, filled
from multiattn.models import SpeechConfig, SpeechEncoderConfig, SpeechRecognizer, TextDecoderConfig, ViT, ViTConfig

from . import answers, captions

PATCH = 3


def classifier(channels: int = 3) -> ViT:
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=(15, 21), patch_size=PATCH, num_classes=11, dim=21, depth=2, num_heads=3, mlp_dim=29,
        in_channels=channels,
    )  # fmt: skip
    model = ViT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.25)
    return model


def some_hidden(cells: tuple[int, ...], count: int = 5) -> np.ndarray:
    hidden = np.random.default_rng(3).random((count, *cells)) < 0.4
    hidden[0] = False
    return hidden


def naive_pictures(image: torch.Tensor, hidden: np.ndarray) -> list[torch.Tensor]:
    """Each picture with its hidden patches painted in its mean color, pixel by pixel."""
    pixels = image.double().numpy()
    color = [channel.sum() / channel.size for channel in pixels]
    found = []
    for mask in hidden:
        painted = pixels.copy()
        for y in range(painted.shape[1]):
            for x in range(painted.shape[2]):
                if mask[y // PATCH, x // PATCH]:
                    painted[:, y, x] = color
        found.append(torch.from_numpy(painted).float()[None])
    return found


def softmax(logits: torch.Tensor) -> np.ndarray:
    values = logits.detach().double().numpy()
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_a_class_with_patches_hidden_one_picture_at_a_time(channels: int) -> None:
    model, image = classifier(channels), torch.randn(channels, 15, 21)
    hidden = some_hidden((5, 7))
    outputs = [model(picture) for picture in naive_pictures(image, hidden)]
    for batch_size in (1, 2, 16):
        masked = masked_class(model, image, 4, batch_size=batch_size)
        assert masked.cells == (5, 7)
        expected = [softmax(output)[0, 4] for output in outputs]
        np.testing.assert_allclose(masked.probability(torch.from_numpy(hidden)), expected, rtol=1e-4)
        np.testing.assert_allclose(masked.whole, expected[0], rtol=1e-4)
    values = [output[0].double().numpy() for output in outputs]
    sure = masked_class(model, image, 4, score_function="sigmoid").probability(torch.from_numpy(hidden))
    np.testing.assert_allclose(sure, [1 / (1 + np.exp(-one[4])) for one in values], rtol=1e-4)
    contrast = masked_class(model, image, 4, versus=9).probability(torch.from_numpy(hidden))
    np.testing.assert_allclose(contrast, [softmax(torch.from_numpy(one[[4, 9]]))[0] for one in values], rtol=1e-4)


@torch.no_grad()
def test_a_value_has_no_probability_and_classes_must_exist() -> None:
    model, image = classifier(), torch.randn(3, 15, 21)
    with pytest.raises(ModelError, match="`score_function` must give a probability .* 'identity', a value, instead"):
        masked_class(model, image, 0, score_function="identity")
    with pytest.raises(ModelError, match="`versus` must be a class from 0 to 10, but is 11 instead"):
        masked_class(model, image, 0, versus=11)
    with pytest.raises(ModelError, match="`filling` must be one of mean, blur, but is 'black' instead"):
        filled(image, "black", cell=(3.0, 3.0))
    with pytest.raises(ModelError, match=r"`hidden` must be of \(5, 7\) cells, but is \(7, 5\) instead"):
        masked_class(model, image, 0).probability(torch.zeros(1, 7, 5, dtype=torch.bool))


@pytest.mark.parametrize("name", captions.CONFIGS)
@torch.no_grad()
def test_words_of_a_caption_and_the_whole_of_it(name: str) -> None:
    model, images = captions.captioner(captions.CONFIGS[name]), captions.pictures()
    hidden = some_hidden(captions.GRID)
    for tokens, words, image in zip(captions.TOKENS, captions.WORDS, images, strict=True):
        by_token = []  # (n, tokens): the probability of each token after the first, for each picture
        for picture in naive_pictures(image, hidden):
            rows = softmax(model(picture, torch.tensor([tokens[:-1]])))[0]
            by_token.append([row[token] for row, token in zip(rows, tokens[1:], strict=True)])
        by_token = np.array(by_token)
        pieces = [[captions.PROMPT - 1 + piece for piece in word.pieces] for word in words]
        for index, own in enumerate(pieces):
            masked = masked_word(model, image, tokens, words, index, prompt_length=captions.PROMPT)
            expected = by_token[:, own].prod(axis=1)
            np.testing.assert_allclose(masked.probability(torch.from_numpy(hidden)), expected, rtol=1e-3)
        masked = masked_word(model, image, tokens, words, None, prompt_length=captions.PROMPT)
        expected = np.exp(np.log(by_token[:, sorted(sum(pieces, []))]).mean(axis=1))
        np.testing.assert_allclose(masked.probability(torch.from_numpy(hidden)), expected, rtol=1e-3)
    with pytest.raises(ModelError, match="`index` must be a word from 0 to 0, but is 1 instead"):
        masked_word(model, image, tokens, words, 1, prompt_length=captions.PROMPT)


@pytest.mark.parametrize("name", answers.CONFIGS)
@torch.no_grad()
def test_answers_with_patches_or_words_hidden(name: str) -> None:
    model = answers.answerer(answers.CONFIGS[name])
    image = answers.pictures()[0]
    (questions, all_words), said = answers.asked(model, [0, 1])
    hidden = some_hidden(answers.GRID)

    def naive(picture: torch.Tensor, question: list[int], answer, choices=None) -> float:
        states = model.read(torch.tensor([question]), model.encode(picture))
        if isinstance(answer, int):
            logits = model.answer_logits(states)
            chosen = list(range(answers.ANSWERS)) if choices is None else choices
            return softmax(logits[:, chosen])[0, chosen.index(answer)]
        rows = softmax(model.decoder(torch.tensor([answer[:-1]]), states))[0]
        return float(np.prod([row[token] for row, token in zip(rows, answer[1:], strict=True)]))

    for question, words, answer in zip(questions, all_words, said["answers"], strict=True):
        masked = masked_answer(model, image, question, answer, batch_size=2)
        expected = [naive(picture, question, answer) for picture in naive_pictures(image, hidden)]
        np.testing.assert_allclose(masked.probability(torch.from_numpy(hidden)), expected, rtol=1e-3)
        without = some_hidden((len(words),))
        changed = []
        for mask in without:
            tokens = list(question)
            for word, is_hidden in zip(words, mask, strict=True):
                for piece in word.pieces if is_hidden else ():
                    tokens[1 + piece] = 23
            changed.append(naive(image[None], tokens, answer))
        masked = masked_question(model, image, question, words, answer, mask_token=23)
        assert masked.cells == (len(words),)
        np.testing.assert_allclose(masked.probability(torch.from_numpy(without)), changed, rtol=1e-3)
    if isinstance(answer, int):
        masked = masked_answer(model, image, question, answer, choices=[7, answer, 9])
        np.testing.assert_allclose(masked.whole, naive(image[None], question, answer, [7, answer, 9]), rtol=1e-3)
        with pytest.raises(ModelError, match="`answer` must be an index in the closed list, but is 13 instead"):
            masked_answer(model, image, question, answers.ANSWERS)
    else:
        with pytest.raises(ModelError, match="`answer` must be tokens for a model that writes them, but is 3 instead"):
            masked_answer(model, image, question, 3)


def recognizer(*, masked: bool) -> SpeechRecognizer:
    torch.manual_seed(0)
    config = SpeechConfig(
        SpeechEncoderConfig(mels=7, dim=22, depth=2, num_heads=2, mlp_dim=23, max_frames=31, masked=masked),
        TextDecoderConfig(
            vocab_size=29, dim=22, depth=2, num_heads=2, mlp_dim=19, max_length=11, context_dim=22
        ),
        context="real" if masked else "all",
    )  # fmt: skip
    model = SpeechRecognizer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize("padding_is_masked", [False, True])
@pytest.mark.parametrize("bands", [1, 7])
@torch.no_grad()
def test_words_of_a_recording_with_moments_hidden(padding_is_masked: bool, bands: int) -> None:
    model, features, length = recognizer(masked=padding_is_masked), torch.randn(7, 62), 40
    tokens, words = [1, 9, 5, 17, 27, 2], [Word("oh", 0, 2, (0,)), Word("dear", 3, 7, (1, 2))]
    hidden = some_hidden((bands, 10))  # a frame is 25 ms, so that a moment of 0.1 s has 4
    quiet = features[:, :length].double().mean(dim=1)
    by_token = []
    for mask in hidden:
        changed = features.double().clone()
        for band in range(7):
            for frame in range(length):
                if mask[band if bands == 7 else 0, frame // 4]:
                    changed[band, frame] = quiet[band]
        rows = softmax(model(changed.float()[None], torch.tensor([tokens[:-1]]), lengths=torch.tensor([length])))[0]
        by_token.append([row[token] for row, token in zip(rows, tokens[1:], strict=True)])
    by_token = np.array(by_token)
    for index, expected, center in (
        (0, by_token[:, 1], 0.25),
        (1, by_token[:, 2] * by_token[:, 3], 0.75),
        (None, by_token[:, 1:4].prod(axis=1) ** (1 / 3), 0.5),
    ):
        masked = masked_speech(
            model, features, tokens, words, index, prompt_length=2, length=length, frame_seconds=0.025, bands=bands
        )
        assert masked.cells == (bands, 10)
        assert masked.center == (None, center)
        np.testing.assert_allclose(masked.probability(torch.from_numpy(hidden)), expected, rtol=1e-3)


def test_brightest_cells_come_first_and_frames_are_averaged() -> None:
    model, features = recognizer(masked=False), torch.randn(7, 62)
    tokens, words = [1, 9, 5, 2], [Word("oh", 0, 2, (0,))]
    masked = masked_speech(model, features, tokens, words, 0, prompt_length=2, length=40, frame_seconds=0.01)
    assert masked.cells == (1, 4)
    frames = np.zeros(20, dtype=np.float32)
    frames[[6, 12]] = [2.0, 3.0]  # cells 1 and 2 of 5 frames each
    assert masked.ranks(frames).tolist() == [[2, 1, 0, 3]]  # of equal ones, the first is brighter
    picture = masked_class(classifier(), torch.randn(3, 15, 21), 0)
    values = np.random.default_rng(0).permutation(35).reshape(5, 7)
    np.testing.assert_array_equal(picture.ranks(values), 34 - values)
    with pytest.raises(ModelError, match=r"`values` must be of \(5, 7\) cells, but is \(4, 4\) instead"):
        picture.ranks(np.zeros((4, 4)))


def test_the_blur_is_a_gaussian_and_keeps_a_plain_picture() -> None:
    plain = torch.full((2, 11, 13), 0.7)
    torch.testing.assert_close(blurred(plain, sigma=(2.0, 3.0)), plain)
    dot = torch.zeros(1, 41, 41)
    dot[0, 20, 20] = 1.0
    found = blurred(dot, sigma=(2.0, 3.0))[0].double().numpy()
    y, x = np.mgrid[-20:21, -20:21]
    expected = np.exp(-(y**2) / 8 - x**2 / 18) * (abs(y) <= 6) * (abs(x) <= 9)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)


@torch.no_grad()
def test_the_filling_blur_is_what_stands_in_hidden_patches() -> None:
    model, image = classifier(), torch.randn(3, 15, 21)
    hidden = torch.from_numpy(some_hidden((5, 7)))
    soft = blurred(image, sigma=(float(PATCH), float(PATCH)))
    spread = hidden.repeat_interleave(PATCH, dim=1).repeat_interleave(PATCH, dim=2)[:, None]
    expected = model(torch.where(spread, soft, image)).softmax(dim=1)[:, 2]
    torch.testing.assert_close(masked_class(model, image, 2, filling="blur").probability(hidden), expected)
