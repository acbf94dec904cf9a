import io
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.errors import InputError, ModelError
from multiattn.maps import METHODS
from multiattn.models import ViT
from multiattn.pipelines import ClassifyPipeline, ClassifyResult, Failure
from tests.fixtures import CONFIG, LABELS, draw, save_drawing, tiny_bundle, tiny_caption_bundle

SIZES = [(53, 37), (31, 71), (13, 11), (101, 3), (1, 1), (35, 15), (61, 61)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [save_drawing(tmp_path / f"{seed}.png", seed, size=size) for seed, size in enumerate(SIZES)]


def scores(result: ClassifyResult) -> dict[str, float]:
    return {prediction.label: prediction.score for prediction in result.predictions}


def expected(picture: Image.Image) -> dict[str, float]:
    """What the model says, computed by hand from its parts, one picture alone."""
    bundle = tiny_bundle()
    pixels, _ = bundle.preprocessing(picture)
    with torch.no_grad():
        probabilities = bundle.model(pixels[None]).softmax(dim=-1)[0].tolist()
    return dict(zip(LABELS, probabilities, strict=True))


def test_predictions_are_the_models_softmax_best_first(classify, files) -> None:
    result = classify(files[0], top_k=7)
    assert scores(result) == pytest.approx(expected(draw(0)), abs=1e-6)
    assert [p.score for p in result.predictions] == sorted((p.score for p in result.predictions), reverse=True)
    assert (result.label, result.score) == (result.predictions[0].label, result.predictions[0].score)
    assert result.file == str(files[0])
    assert result.error is None
    assert result.maps == ()


def test_every_kind_of_input_gives_the_same(classify, files) -> None:
    picture = draw(0)
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    array = np.asarray(picture)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)  # (3, h, w)
    from_path = classify(files[0])
    others = [str(files[0]), encoded.getvalue(), picture, array, tensor, tensor / 255]
    for source in others:
        assert scores(classify(source)) == pytest.approx(scores(from_path), abs=1e-6)
    assert [classify(source).file for source in others] == [str(files[0]), None, None, None, None, None]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 11])
def test_a_batch_of_mixed_sizes_is_its_single_pictures_in_order(classify, files, batch_size) -> None:
    alone = [expected(draw(seed, size=size)) for seed, size in enumerate(SIZES)]
    assert len({max(one, key=one.__getitem__) for one in alone}) > 1  # the order would not show otherwise
    together = classify(files, top_k=7, batch_size=batch_size)
    assert [result.file for result in together] == [str(file) for file in files]
    for one, result in zip(alone, together, strict=True):
        assert scores(result) == pytest.approx(one, abs=1e-5)


def test_a_bad_input_is_a_result_of_its_own(classify, files, tmp_path) -> None:
    bad = tmp_path / "notes.png"
    bad.write_text("not a picture")
    gone = tmp_path / "gone.png"
    results = classify([files[0], bad, files[1], gone, b"", files[2]], batch_size=2)
    assert [isinstance(result, Failure) for result in results] == [False, True, False, True, True, False]
    assert [result.file for result in results] == [
        str(files[0]),
        str(bad),
        str(files[1]),
        str(gone),
        None,
        str(files[2]),
    ]
    assert str(bad) in str(results[1].error)
    assert str(gone) in str(results[3].error)
    assert scores(results[5]) == pytest.approx(scores(classify(files[2])), abs=1e-5)


def test_a_batch_of_bad_inputs_only(classify) -> None:
    assert [type(result) for result in classify([b"", b"x"], maps="rollout")] == [Failure, Failure]


def test_a_single_bad_input_raises(classify, tmp_path) -> None:
    with pytest.raises(InputError, match="gone.png"):
        classify(tmp_path / "gone.png")


def test_no_inputs_no_results(classify) -> None:
    assert classify([]) == []


def test_a_stream_reads_no_further_ahead_than_two_batches(classify) -> None:
    taken = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal taken
        for seed in itertools.count():
            taken += 1
            yield draw(seed % 5)

    results = classify.stream(endless(), batch_size=3)
    first = [next(results) for _ in range(3)]
    assert taken == 6
    next(results)
    assert taken == 9
    results.close()
    assert [scores(result) for result in first] == [
        pytest.approx(scores(classify(draw(seed))), abs=1e-5) for seed in range(3)
    ]


@pytest.mark.parametrize(("top_k", "given"), [(1, 1), (3, 3), (7, 7), (8, 7), (1000, 7)])
def test_top_k_gives_as_many_labels_as_there_are(classify, top_k, given) -> None:
    assert len(classify(draw(1), top_k=top_k).predictions) == given


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top_k": 0}, "`top_k` must be at least 1, but is 0 instead."),
        ({"top_k": -2}, "`top_k` must be at least 1, but is -2 instead."),
        ({"batch_size": 0}, "`batch_size` must be at least 1, but is 0 instead."),
        ({"maps": "rolout"}, f"`maps` must be of {', '.join(METHODS)} or all, but is 'rolout' instead."),
        ({"maps": ["rollout", ""]}, f"`maps` must be of {', '.join(METHODS)} or all, but is '' instead."),
    ],
)
def test_wrong_arguments_are_named_at_the_call(classify, wrong, message) -> None:
    with pytest.raises(ModelError) as raised:
        classify.stream([], **wrong)
    assert str(raised.value) == message


def test_maps_are_those_asked_for_of_the_picture_and_its_label(classify, files) -> None:
    result = classify(files[1], maps=["rollout", "relevance", "rollout"])
    assert [picture_map.map.method for picture_map in result.maps] == ["rollout", "relevance"]
    for picture_map in result.maps:
        assert picture_map.map.values.shape == (3, 7)
        assert picture_map.map.geometry.source_size == (71, 31)
        assert picture_map.picture.size == (31, 71)
        assert picture_map.stack.values.shape == (3, 2, 3, 7)
    assert result.maps[1].map.target == result.label


def test_all_is_every_method(classify) -> None:
    first = classify.bundle.first_map_method
    found = [picture_map.map.method for picture_map in classify(draw(2), maps="all").maps]
    assert found == list(dict.fromkeys((first, *METHODS)))


def test_maps_in_a_batch_are_those_of_the_single_picture(classify, files) -> None:
    together = classify(files, maps=METHODS, batch_size=4)
    for file, result in zip(files, together, strict=True):
        alone = classify(file, maps=METHODS)
        for ours, theirs in zip(result.maps, alone.maps, strict=True):
            np.testing.assert_allclose(ours.map.values, theirs.map.values, atol=2e-5)
            assert ours.map.geometry == theirs.map.geometry
            assert ours.map.target == theirs.map.target


def test_asking_for_maps_does_not_change_the_predictions(classify, files) -> None:
    assert classify(files[0], maps="all").predictions == classify(files[0]).predictions


def test_maps_are_saved(classify, files, tmp_path) -> None:
    result = classify(files[0], maps="rollout")
    (rollout,) = result.maps
    rollout.save(tmp_path / "a.npz")
    rollout.save_png(tmp_path / "a.png")
    rollout.save_html(tmp_path / "a.html")
    result.save_html(tmp_path / "b.html")
    from multiattn.export import load_map

    assert load_map(tmp_path / "a.npz").equals(rollout.map)
    with Image.open(tmp_path / "a.png") as overlay:
        assert overlay.format == "PNG"
    for page in ("a.html", "b.html"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "0.png" in text
        assert result.label in text


def test_a_result_without_maps_has_no_page(classify, tmp_path) -> None:
    with pytest.raises(InputError, match="no maps to save"):
        classify(draw(0)).save_html(tmp_path / "a.html")


def test_results_are_frozen(classify) -> None:
    result = classify(draw(0), maps="rollout")
    for frozen in (result, result.predictions[0], result.maps[0]):
        with pytest.raises(FrozenInstanceError):
            frozen.file = "other"


def test_threads_share_a_pipeline(classify) -> None:
    pictures = [draw(seed, size=size) for seed, size in enumerate(SIZES)]
    alone = [classify(picture, maps=METHODS) for picture in pictures]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(lambda picture: classify(picture, maps=METHODS), pictures * 3))
    for one, result in zip(alone * 3, together, strict=True):
        assert result.predictions == one.predictions
        for ours, theirs in zip(result.maps, one.maps, strict=True):
            np.testing.assert_array_equal(ours.map.values, theirs.map.values)


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(
        ModelError, match="tiny must be a model for classify, but is one for caption instead: give another"
    ):
        ClassifyPipeline(tiny_caption_bundle())


@pytest.mark.parametrize("headless", [{"labels": ()}, {"model": ViT(replace(CONFIG, num_classes=0))}])
def test_a_model_without_a_head_is_refused(headless) -> None:
    with pytest.raises(ModelError, match="tiny must have labels to classify, .* `multiattn embed` gives its fea"):
        ClassifyPipeline(replace(tiny_bundle(), **headless))(draw(3))


def test_a_model_whose_channels_are_not_those_of_its_preprocessing() -> None:
    gray = ViT(replace(CONFIG, in_channels=1))
    message = r"tiny: `preprocessing.mean` must have a number for each of the model's channels \(1\), but has 3 instead"
    with pytest.raises(ModelError, match=message):
        ClassifyPipeline(replace(tiny_bundle(), model=gray))


def test_channels_that_no_picture_has() -> None:
    two = ViT(replace(CONFIG, in_channels=2))
    with pytest.raises(ModelError, match=r"tiny: the model's channels must be 1 \(gray\), 3 .* but are 2 instead"):
        ClassifyPipeline(replace(tiny_bundle(), model=two))
