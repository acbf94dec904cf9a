import io
import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.attention import Attention, KeysValues
from multiattn.errors import InputError, ModelError
from multiattn.export import load_map
from multiattn.generation import Generated
from multiattn.maps import UNGROUNDED_BELOW, WORD_METHODS, measure_image_dependence
from multiattn.models import Captioner
from multiattn.pipelines import CaptionPipeline, CaptionResult, Failure
from multiattn.pipelines import caption as pipeline
from tests.fixtures import CONFIG, draw, save_drawing, tiny_bundle

from .conftest import wordy_bundle

SIZES = [(53, 37), (31, 71), (13, 11), (101, 3), (1, 1), (35, 15), (61, 61)]
START, END = 1, 2


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [save_drawing(tmp_path / f"{seed}.png", seed, size=size) for seed, size in enumerate(SIZES)]


def log_probs(picture: Image.Image, tokens: list[int]) -> torch.Tensor:
    """Of each token after the first, by one plain pass of the model over the whole text."""
    bundle = wordy_bundle()
    pixels, _ = bundle.preprocessing(picture)
    with torch.no_grad():
        rows = bundle.model(pixels[None], torch.tensor([tokens]))[0, :-1].log_softmax(dim=-1)  # (n - 1, V)
    return rows[torch.arange(len(rows)), tokens[1:]]


def greedily(picture: Image.Image, *, prompt: str = "", most: int = 7) -> list[int]:
    """The tokens, from the start token on, by the plain way: the whole text again for every token."""
    bundle = wordy_bundle()
    pixels, _ = bundle.preprocessing(picture)
    tokens = [START, *bundle.tokenizer.encode(prompt)]
    for _ in range(most):
        with torch.no_grad():
            tokens.append(int(bundle.model(pixels[None], torch.tensor([tokens]))[0, -1].argmax()))
        if tokens[-1] == END:
            break
    return tokens


def test_the_fixture_says_different_things_in_several_words(caption) -> None:
    results = caption([draw(seed) for seed in range(5)], maps="attention")
    assert len({result.text for result in results}) > 2
    assert all(len(result.words) > 2 for result in results)
    assert {word.ungrounded for result in results for word in result.words} == {True, False}


def test_greedy_is_the_likeliest_token_each_time(caption) -> None:
    for seed in range(5):
        tokens = greedily(draw(seed))
        result = caption(draw(seed), num_beams=1)
        assert result.text == wordy_bundle().tokenizer.decode(tokens)
        assert result.score == pytest.approx(log_probs(draw(seed), tokens).mean().exp().item(), abs=1e-5)
        assert (result.file, result.error, result.maps) == (None, None, ())
        assert [(one.text, one.score) for one in result.candidates] == [(result.text, result.score)]


@pytest.mark.parametrize("asked", [{"num_beams": 1}, {"num_beams": 3}, {"sample": True, "seed": 5, "temperature": 2.0}])
def test_words_have_the_probability_of_their_pieces_and_their_place(caption, asked) -> None:
    tokenizer = wordy_bundle().tokenizer
    for seed in range(5):
        result = caption(draw(seed), **asked)
        assert len(result.words) > 1
        assert all(result.text[word.start : word.end] == word.text for word in result.words)
        assert all(one.end <= other.start for one, other in itertools.pairwise(result.words))
        assert "".join(word.text for word in result.words) == result.text.replace(" ", "")
        assert all(word.image_dependence is None and word.ungrounded is None for word in result.words)
        if asked == {"num_beams": 1}:
            tokens = greedily(draw(seed))
            each = log_probs(draw(seed), tokens)
            expected = [math.exp(sum(each[p] for p in word.pieces)) for word in tokenizer.words(tokens[1:])]
            assert [word.probability for word in result.words] == pytest.approx(expected, abs=1e-5)
        else:
            assert all(0 < word.probability <= 1 for word in result.words)


def test_every_kind_of_input_gives_the_same(caption, files) -> None:
    picture = draw(0)
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    tensor = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)  # (3, h, w)
    others = [files[0], str(files[0]), encoded.getvalue(), picture, np.asarray(picture), tensor]
    results = [caption(source) for source in others]
    assert {result.text for result in results} == {caption(picture).text}
    assert [result.file for result in results] == [str(files[0]), str(files[0]), None, None, None, None]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 11])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_batch_of_mixed_sizes_is_its_single_pictures_in_order(caption, files, batch_size, num_beams) -> None:
    alone = [caption(file, num_beams=num_beams) for file in files]
    together = caption(files, num_beams=num_beams, batch_size=batch_size)
    assert [result.file for result in together] == [str(file) for file in files]
    assert [result.text for result in together] == [result.text for result in alone]
    assert [result.score for result in together] == pytest.approx([result.score for result in alone], abs=1e-5)


def test_a_bad_input_is_a_result_of_its_own(caption, files, tmp_path) -> None:
    gone = tmp_path / "gone.png"
    results = caption([files[0], gone, files[1], b"", files[2]], batch_size=2, maps="attention")
    assert [isinstance(result, Failure) for result in results] == [False, True, False, True, False]
    assert str(gone) in str(results[1].error)
    assert [result.text for result in results if result.error is None] == [caption(file).text for file in files[:3]]
    with pytest.raises(InputError, match="gone.png"):
        caption(gone)


def test_a_batch_of_bad_inputs_only_and_none(caption) -> None:
    assert [type(result) for result in caption([b"", b"x"], maps="all")] == [Failure, Failure]
    assert caption([]) == []


def test_a_stream_reads_no_further_ahead_than_two_batches(caption) -> None:
    taken = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal taken
        for seed in itertools.count():
            taken += 1
            yield draw(seed % 5)

    results = caption.stream(endless(), batch_size=3)
    first = [next(results) for _ in range(3)]
    assert taken == 6
    results.close()
    assert [result.text for result in first] == [caption(draw(seed)).text for seed in range(3)]


def test_candidates_are_different_captions_and_the_first_is_the_caption(caption) -> None:
    result = caption(draw(1), num_beams=5, num_return_sequences=5)
    assert len({one.text for one in result.candidates}) > 3
    assert (result.text, result.score) == (result.candidates[0].text, result.candidates[0].score)
    assert result.text == caption(draw(1), num_beams=5).text
    assert len(caption(draw(1), sample=True, num_return_sequences=3, seed=1).candidates) == 3


def test_the_same_seed_draws_the_same_whatever_the_batch(caption) -> None:
    pictures = [draw(seed) for seed in range(5)]
    asked = {"sample": True, "temperature": 3.0, "num_return_sequences": 2}

    def texts(**more: int) -> list[list[str]]:
        return [[one.text for one in result.candidates] for result in caption(pictures, **asked, **more)]

    assert texts(seed=3) == texts(seed=3) == texts(seed=3, batch_size=2) == texts(seed=3, batch_size=1)
    assert texts(seed=3) != texts(seed=4)
    assert texts() != texts()


def test_sampling_among_one_token_is_greedy(caption) -> None:
    for seed in range(3):
        assert caption(draw(seed), sample=True, top_k=1).text == caption(draw(seed), num_beams=1).text
        assert caption(draw(seed), sample=True, top_p=1e-9).text == caption(draw(seed), num_beams=1).text


@pytest.mark.parametrize("prompt", ["two green", "a small fox jumps over an old", "nothing "])
def test_a_prompt_of_the_users_is_part_of_the_caption(caption, prompt) -> None:
    result = caption(draw(2), prompt=prompt, num_beams=1, maps="attention")
    tokens = greedily(draw(2), prompt=prompt.rstrip())
    assert result.text == wordy_bundle().tokenizer.decode(tokens)
    assert result.text.startswith(prompt.rstrip())
    assert result.words
    assert result.words[-1].end == len(result.text)
    assert all(result.text[word.start : word.end] == word.text for word in result.words)
    given = len(tokens) - 1 - len(wordy_bundle().tokenizer.encode(prompt.rstrip()))
    assert result.score == pytest.approx(log_probs(draw(2), tokens)[-given:].mean().exp().item(), abs=1e-5)
    written = result.text[result.words[0].start :]
    assert "".join(result.maps[0].map.axes[0].labels) == written


def test_the_models_own_prompt_is_no_part_of_the_caption() -> None:
    own = CaptionPipeline(wordy_bundle(prompt="two green"), device="cpu")
    asked = CaptionPipeline(wordy_bundle(), device="cpu")(draw(2), prompt="two green", num_beams=1)
    result = own(draw(2), num_beams=1)
    assert "two green " + result.text == asked.text
    shift = len("two green ")
    assert [(word.text, word.start + shift, word.end + shift) for word in result.words] == [
        (word.text, word.start, word.end) for word in asked.words
    ]
    assert [word.probability for word in result.words] == pytest.approx([word.probability for word in asked.words])
    assert (
        own(draw(2), prompt="", num_beams=1).text
        == CaptionPipeline(wordy_bundle(), device="cpu")(draw(2), num_beams=1).text
    )


def test_maps_are_over_the_words(caption, files) -> None:
    result = caption(files[1], maps=["relevance", "attention", "relevance"])
    assert [one.map.method for one in result.maps] == ["relevance", "attention"]
    for one in result.maps:
        assert one.map.values.shape == (len(result.words), 3, 7)
        assert "".join(one.map.axes[0].labels) == result.text
        assert one.map.geometry.source_size == (71, 31)
        assert (one.picture.size, one.name, one.text, one.words) == ((31, 71), "1.png", result.text, result.words)
        assert one.stack.values.shape == (2, 2, len(result.words), 3, 7)
    attention = result.maps[1]
    np.testing.assert_allclose(attention.stack.values.mean(axis=(0, 1)), attention.map.values, atol=1e-6)


def test_all_is_every_method_and_asking_changes_no_caption(caption) -> None:
    with_maps, plain = caption(draw(2), maps="all"), caption(draw(2))
    assert [one.map.method for one in with_maps.maps] == list(
        dict.fromkeys((caption.bundle.first_map_method, *WORD_METHODS))
    )
    assert with_maps.candidates == plain.candidates
    assert [replace(word, image_dependence=None, ungrounded=None) for word in with_maps.words] == list(plain.words)


def test_words_say_how_much_they_depended_on_the_picture(caption) -> None:
    bundle = wordy_bundle()
    for seed in range(3):
        tokens = greedily(draw(seed))
        pixels, _ = bundle.preprocessing(draw(seed))
        (expected,) = measure_image_dependence(
            bundle.model, pixels[None], [tokens], [bundle.tokenizer.words(tokens[1:])], prompt_length=1
        )
        words = caption(draw(seed), num_beams=1, maps="rollout").words
        assert [word.image_dependence for word in words] == pytest.approx(expected, abs=1e-4)
        assert [word.ungrounded for word in words] == [word.image_dependence < UNGROUNDED_BELOW for word in words]


def test_maps_in_a_batch_are_those_of_the_single_picture(caption, files) -> None:
    together = caption(files, maps="all", batch_size=4)
    for file, result in zip(files, together, strict=True):
        alone = caption(file, maps="all")
        assert [word.image_dependence for word in result.words] == pytest.approx(
            [word.image_dependence for word in alone.words], abs=1e-4
        )
        for ours, theirs in zip(result.maps, alone.maps, strict=True):
            np.testing.assert_allclose(ours.map.values, theirs.map.values, atol=1e-4)
            assert ours.map.geometry == theirs.map.geometry


def test_what_is_projected_for_the_decode_serves_the_maps(caption, monkeypatch) -> None:
    """So the maps cost a reading of the caption, and the dependence a pass over a picture without anything in it."""
    seen: list[tuple[int, torch.Tensor]] = []
    keys_values = Attention.keys_values

    def spy(self: Attention, context: torch.Tensor) -> KeysValues:
        seen.append((id(self), context))
        return keys_values(self, context)

    monkeypatch.setattr(Attention, "keys_values", spy)
    caption([draw(0), draw(1)], num_beams=3)
    once = [place for place, _ in seen]
    assert len(set(once)) == len(once) == wordy_bundle().model.config.decoder.depth
    seen.clear()
    caption([draw(0), draw(1)], num_beams=3, maps="attention")
    assert [place for place, _ in seen] == once * 2
    assert not torch.equal(seen[0][1], seen[-1][1])


def test_a_picture_that_leaves_no_words_does_not_shift_the_maps_of_others(caption, files, monkeypatch) -> None:
    alone = [caption(file, maps="attention") for file in files[1:4]]
    generate = pipeline.generate

    def first_says_nothing(*args: object, **options: object) -> list[list[Generated]]:
        _, *others = generate(*args, **options)
        return [[Generated((), (-0.5,), -0.5, True)], *others]

    monkeypatch.setattr(pipeline, "generate", first_says_nothing)
    nothing, *others = caption(files[:4], maps="attention")
    assert (nothing.text, nothing.maps) == ("", ())
    for result, expected in zip(others, alone, strict=True):
        assert result.text == expected.text
        dependences = [word.image_dependence for word in expected.words]
        assert [word.image_dependence for word in result.words] == pytest.approx(dependences, abs=1e-4)
        np.testing.assert_allclose(result.maps[0].map.values, expected.maps[0].map.values, atol=1e-4)


def silent() -> CaptionPipeline:
    """A captioner that ends each text at once."""
    bundle = wordy_bundle()
    model = bundle.model
    with torch.no_grad():
        model.decoder.norm.weight.zero_()
        model.decoder.norm.bias.copy_(model.decoder.embedding.weight[END] * 99)
    return CaptionPipeline(bundle, device="cpu")


def test_a_caption_without_words_has_no_maps(tmp_path) -> None:
    result = silent()(draw(1), maps="all")
    assert (result.text, result.words, result.maps) == ("", (), ())
    assert result.score == pytest.approx(1, abs=1e-4)
    assert [one.text for one in silent()([draw(1), draw(2)], maps="attention")] == ["", ""]
    assert silent()(draw(1), prompt="two green").text == "two green"
    with pytest.raises(InputError, match="no maps to save; ask for some: caption"):
        result.save_html(tmp_path / "a.html")


def test_maps_are_saved(caption, files, tmp_path) -> None:
    result = caption(files[0], maps="all")
    first = result.maps[0]
    first.save(tmp_path / "a.npz")
    first.save_png(tmp_path / "a.png")
    first.save_html(tmp_path / "a.html")
    result.save_html(tmp_path / "b.html")
    assert load_map(tmp_path / "a.npz").equals(first.map)
    with Image.open(tmp_path / "a.png") as strip:
        assert strip.format == "PNG"
    one, every = ((tmp_path / page).read_text(encoding="utf-8") for page in ("a.html", "b.html"))
    assert "0.png" in one
    assert all(f'"text":"{label}"' in one for label in first.map.axes[0].labels)
    assert (first.map.method, [name in one.partition('"maps"')[2] for name in ("relevance", "rollout")]) == (
        "relevance",
        [True, False],
    )
    assert "rollout" in every.partition('"maps"')[2]


def test_a_page_says_which_words_the_picture_did_nothing_for(caption, tmp_path) -> None:
    result = caption(draw(0), maps="attention")
    result.save_html(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count('"ungrounded":true') == sum(word.ungrounded for word in result.words)
    assert page.count('"ungrounded":false') == sum(not word.ungrounded for word in result.words)


def test_results_are_frozen(caption) -> None:
    result = caption(draw(0), maps="attention")
    for frozen in (result, result.words[0], result.candidates[0], result.maps[0]):
        with pytest.raises(FrozenInstanceError):
            frozen.file = "other"


@pytest.mark.slow
def test_threads_share_a_pipeline(caption) -> None:
    pictures = [draw(seed, size=size) for seed, size in enumerate(SIZES)]

    def one(picture: Image.Image) -> CaptionResult:
        return caption(picture, maps=["attention", "relevance"])

    alone = [one(picture) for picture in pictures]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(one, pictures * 2))
    for theirs, ours in zip(alone * 2, together, strict=True):
        assert (ours.candidates, ours.words) == (theirs.candidates, theirs.words)
        for a, b in zip(ours.maps, theirs.maps, strict=True):
            np.testing.assert_array_equal(a.map.values, b.map.values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, but is 0 instead."),
        ({"maps": "rolout"}, f"`maps` must be of {', '.join(WORD_METHODS)} or all, but is 'rolout' instead."),
        ({"num_beams": 0}, "`num_beams` must be "),
        ({"max_tokens": 0}, "`max_tokens` must be "),
        ({"num_beams": 2, "num_return_sequences": 3}, "`num_return_sequences` must be "),
        ({"sample": True, "temperature": 0.0}, "`temperature` must be "),
    ],
)
def test_wrong_arguments_are_named_at_the_call(caption, wrong, message) -> None:
    with pytest.raises(ModelError) as raised:
        caption.stream([], **wrong)
    assert message in str(raised.value)


def test_a_prompt_that_leaves_no_room(caption) -> None:
    with pytest.raises(ModelError, match="a text may have 41 tokens, .* but the prompt alone has 42: shorten it"):
        caption(draw(1), prompt="old " * 41)
    assert len(caption(draw(1), prompt="old " * 37).words) <= 3


def test_a_prompt_of_unknown_words_only_is_refused() -> None:
    caption = CaptionPipeline(wordy_bundle(), device="cpu")
    with pytest.raises(ModelError, match="`prompt` must have a word that the model's vocabulary knows, but is '漢字'"):
        caption(draw(1), prompt="漢字")


def test_an_option_that_there_is_not(caption) -> None:
    with pytest.raises(TypeError, match="there is no option 'beems'; there are: num_beams, max_tokens, length_penalty"):
        caption(draw(1), beems=3)


def test_models_that_cannot_caption_are_refused() -> None:
    with pytest.raises(ModelError, match="tiny must be a model for caption, but is one for classify instead"):
        CaptionPipeline(tiny_bundle())
    with pytest.raises(ModelError, match="tiny must have a tokenizer, but has none instead"):
        CaptionPipeline(replace(wordy_bundle(), tokenizer=None))
    config = wordy_bundle().model.config
    gray = Captioner(replace(config, encoder=replace(CONFIG, num_classes=0, in_channels=1)))
    with pytest.raises(ModelError, match="tiny: `preprocessing.mean` must have a number for each"):
        CaptionPipeline(replace(wordy_bundle(), model=gray))
