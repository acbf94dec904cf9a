"""Preprocessing equals timm's and transformers', and the geometry leads back to the right source pixels."""

import json
import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Fit, Geometry, ImagePreprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def preprocessing(**changes: object) -> ImagePreprocessing:
    fields = {"size": (31, 37), "resize_to": (31, 37), "interpolation": "bilinear", "mean": MEAN, "std": STD}
    return ImagePreprocessing(**{**fields, **changes})


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    size=st.integers(7, 71),
    crop_pct=st.sampled_from([0.875, 0.9, 0.95, 0.985, 1.0]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)
def test_equals_timm(height: int, width: int, size: int, crop_pct: float, interpolation: str) -> None:
    create_transform = pytest.importorskip("timm.data").create_transform
    theirs = create_transform(
        (3, size, size), interpolation=interpolation, mean=MEAN, std=STD, crop_pct=crop_pct, crop_mode="center"
    )
    ours = preprocessing(size=(size, size), resize_to=math.floor(size / crop_pct), interpolation=interpolation)
    picture = noise(height, width)
    assert torch.equal(ours(picture)[0], theirs(picture))


@settings(max_examples=40, deadline=None)
@given(
    source=st.tuples(*[st.integers(1, 150)] * 2),
    resize_to=st.integers(1, 71),
    size=st.tuples(*[st.integers(1, 71)] * 2),
)
def test_crop_and_padding_equal_torchvision(source: tuple[int, int], resize_to: int, size: tuple[int, int]) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose([transforms.Resize(resize_to), transforms.CenterCrop(size), transforms.ToTensor()])
    ours = preprocessing(size=size, resize_to=resize_to, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    picture = noise(*source)
    assert torch.equal(ours(picture)[0], theirs(picture))


@pytest.mark.parametrize("source", [(97, 131), (211, 89), (31, 37), (1, 1), (13, 7)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_equals_transformers(source: tuple[int, int], interpolation: str) -> None:
    """Seen: equal to the PIL processor to the last bit; at most 1/255 from the torchvision one before normalization."""
    pytest.importorskip("transformers")
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    settings = {
        "size": {"height": 31, "width": 37},
        "resample": getattr(Image.Resampling, interpolation.upper()),
        "image_mean": MEAN,
        "image_std": STD,
    }
    picture = noise(*source)
    ours, _ = preprocessing(interpolation=interpolation)(picture)
    theirs = ViTImageProcessorPil(**settings)(picture, return_tensors="pt")["pixel_values"][0]
    assert torch.equal(ours, theirs)

    if interpolation in ("nearest", "lanczos"):  # torchvision's tensors know no lanczos, and another nearest
        return
    from transformers import ViTImageProcessor

    quick = ViTImageProcessor(**settings)(picture, return_tensors="pt")["pixel_values"][0]
    difference = (ours - quick).abs() * torch.tensor(STD).view(3, 1, 1)
    assert difference.max() <= 2 / 255 + 1e-6


FIT = Fit(shorter=38, longer=63, multiple=5)


def fitted(fit: Fit = FIT, **changes: object) -> ImagePreprocessing:
    return preprocessing(size=fit.size((1, 1)), resize_to=fit, **changes)


@settings(max_examples=200, deadline=None)
@given(source=st.tuples(*[st.integers(1, 900)] * 2), shorter=st.integers(5, 400), multiple=st.integers(1, 40))
def test_a_fit_has_the_sizes_of_vilt(source: tuple[int, int], shorter: int, multiple: int) -> None:
    pytest.importorskip("transformers")
    from transformers.models.vilt.image_processing_pil_vilt import get_resize_output_image_size

    multiple = min(multiple, shorter)
    longer = int(1333 / 800 * shorter)
    theirs = get_resize_output_image_size(
        np.zeros((3, *source), np.uint8), shorter=shorter, longer=longer, size_divisor=multiple
    )
    # a side that they round down to nothing, and then cannot resize to, is one multiple here
    assert Fit(shorter, longer, multiple).size(source) == tuple(max(side, multiple) for side in theirs)


@pytest.mark.parametrize("source", [(97, 131), (211, 89), (38, 38), (13, 7), (40, 300)])
def test_a_fit_equals_transformers(source: tuple[int, int]) -> None:
    pytest.importorskip("transformers")
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

    picture = noise(*source)
    ours, geometry = fitted(interpolation="bicubic")(picture)
    theirs = ViltImageProcessorPil(size={"shortest_edge": 38}, size_divisor=5, image_mean=MEAN, image_std=STD)
    assert torch.equal(ours, theirs(picture, return_tensors="pt")["pixel_values"][0])
    assert geometry.source_box() == (0, 0, source[1], source[0])  # nothing is cut off
    assert ours.shape[1] % 5 == ours.shape[2] % 5 == 0 and max(ours.shape) <= 63


def test_every_byte_is_normalized_in_float32() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    ours, _ = preprocessing(size=(1, 256), resize_to=(1, 256))(Image.fromarray(values))
    expected = (torch.arange(256) / 255 - torch.tensor(MEAN)[:, None]) / torch.tensor(STD)[:, None]
    assert torch.equal(ours[:, 0], expected)
    assert ours.dtype == torch.float32 and ours.is_contiguous()
    doubled, _ = preprocessing(size=(1, 256), resize_to=(1, 256), rescale=1 / 127.5)(Image.fromarray(values))
    assert torch.allclose(doubled - ours, torch.arange(256) / 255 / torch.tensor(STD)[:, None, None], atol=1e-5)


@settings(max_examples=80, deadline=None)
@given(
    source=st.tuples(st.integers(60, 200), st.integers(60, 200)),
    resize_to=st.one_of(st.integers(41, 73), st.tuples(st.integers(41, 73), st.integers(41, 73))),
    size=st.tuples(st.integers(31, 83), st.integers(31, 83)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_bright_patch_lands_where_the_geometry_says(
    source: tuple[int, int],
    resize_to: int | tuple[int, int],
    size: tuple[int, int],
    place: tuple[float, float],
) -> None:
    """A bright box on black: its center of mass in the input, led back by the geometry, is the box's center."""
    prepare = preprocessing(size=size, resize_to=resize_to, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    geometry = prepare.geometry(source)
    left, top, right, bottom = geometry.source_box()
    side = 9
    corner, scales = [], []
    for axis, (start, end) in enumerate(((top, bottom), (left, right))):
        scales.append(source[axis] / geometry.resized_size[axis])
        margin = 2 + 2 * scales[axis]  # the filter's blur must lie in the picture and in what the model sees of it
        first, last = max(start, 0) + margin, min(end, source[axis]) - margin - side
        assert first < last
        corner.append(round(first + place[axis] * (last - first)))
    pixels = np.zeros((*source, 3), np.uint8)
    pixels[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = 255
    values, found_geometry = prepare(Image.fromarray(pixels))
    assert found_geometry == geometry
    light = values[0].double()  # [h, w]
    rows, columns = (torch.arange(length, dtype=torch.float64) + 0.5 for length in light.shape)
    y = float((light.sum(1) * rows).sum() / light.sum())
    x = float((light.sum(0) * columns).sum() / light.sum())
    found_x, found_y = geometry.to_source(x, y)
    # the sampling of the filter moves the center a little: by less than a quarter of a pixel of the coarser picture
    assert abs(found_y - (corner[0] + side / 2)) <= 0.25 * max(1, scales[0])
    assert abs(found_x - (corner[1] + side / 2)) <= 0.25 * max(1, scales[1])


def test_geometry_of_a_crop_a_padding_and_a_squash() -> None:
    crop = preprocessing(size=(31, 31), resize_to=31).geometry((62, 124))
    assert (crop.resized_size, crop.crop) == ((31, 62), (0, 16, 31, 31))  # 15.5 rounds to the even 16
    assert crop.source_box() == (32, 0, 94, 62)
    padded = preprocessing(size=(41, 31), resize_to=31).geometry((62, 62))
    assert (padded.resized_size, padded.crop) == ((31, 31), (-5, 0, 41, 31))
    assert padded.source_box() == (0, -10, 62, 72)
    squash = preprocessing().geometry((62, 111))
    assert squash.source_box() == (0, 0, 111, 62)
    assert squash.to_source(0.5, 0.5) == (1.5, 1.0)


def test_padding_is_black() -> None:
    white = Image.new("RGB", (31, 31), (255, 255, 255))
    values, geometry = preprocessing(size=(41, 31), resize_to=31, mean=(0.0,) * 3, std=(1.0,) * 3)(white)
    assert geometry.crop == (-5, 0, 41, 31)
    assert (values[:, :5] == 0).all() and (values[:, 36:] == 0).all() and (values[:, 5:36] == 1).all()


def test_one_pixel_fills_the_input() -> None:
    values, geometry = preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)(Image.new("RGB", (1, 1), (255, 0, 51)))
    assert values.shape == (3, 31, 37)
    assert torch.equal(values[:, 0, 0], values[:, 30, 36])
    assert torch.allclose(values[:, 5, 7], torch.tensor([1.0, 0.0, 0.2]))
    assert geometry.source_box() == (0, 0, 1, 1)


@pytest.mark.parametrize(
    "prepare",
    [preprocessing(resize_to=41, rescale=1 / 127.5), preprocessing(resize_to=(41, 43)), fitted()],
    ids=["side", "size", "fit"],
)
def test_both_go_through_json_and_back(prepare: ImagePreprocessing) -> None:
    assert ImagePreprocessing.from_dict(json.loads(json.dumps(prepare.to_dict()))) == prepare
    geometry = prepare.geometry((97, 131))
    assert Geometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry


def test_rescale_may_be_left_out_and_whole_numbers_serve_as_floats() -> None:
    fields = {"size": [31, 37], "resize_to": 41, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [1, 1, 1]}
    loaded = ImagePreprocessing.from_dict(fields)
    assert (loaded.rescale, loaded.std) == (1 / 255, (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (0, 37)}, "`size` must be at least 1 pixel, but is (0, 37) instead."),
        ({"resize_to": 0}, "`resize_to` must be at least 1 pixel, but is 0 instead."),
        ({"resize_to": (31, -1)}, "`resize_to` must be at least 1 pixel, but is (31, -1) instead."),
        ({"mean": (0.5, math.nan, 0.5)}, "`mean` must be at most a million, but is (0.5, nan, 0.5) instead."),
        ({"std": (0.5, 0.0, 0.5)}, "`std` must be from a millionth to a million, but is (0.5, 0.0, 0.5) instead."),
        ({"rescale": 0.0}, "`rescale` must be from a millionth to a million, but is 0.0 instead."),
        ({"resize_to": FIT}, "`size` must be a square picture's ((35, 35)) with a `Fit`, but is (31, 37) instead."),
    ],
)
def test_fields_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        preprocessing(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": None}, "must have `std`, but lacks it instead."),
        (
            {"gamma": 2.2},
            "`preprocessing` must be among size, resize_to, interpolation, mean, std, rescale, center, but has gamma",
        ),
        ({"size": [31.5, 37]}, "`preprocessing.size` must be tuple[int, int], but is (31.5, 37) instead."),
        (
            {"resize_to": {"shorter": 31}},
            "`preprocessing.resize_to` must have `longer`, but lacks it instead.",
        ),
        (
            {"resize_to": {"shorter": 31, "longer": 41.5, "multiple": 5}},
            "`preprocessing.resize_to.longer` must be int, but is 41.5 instead.",
        ),
        ({"resize_to": [31]}, "`preprocessing.resize_to` must be tuple[int, int] | int | Fit, but is (31,) instead."),
        ({"mean": 0.5}, "`preprocessing.mean` must be tuple[float, ...], but is 0.5 instead."),
        ({"rescale": "no"}, "`preprocessing.rescale` must be float, but is 'no' instead."),
    ],
)
def test_a_wrong_dictionary_is_refused(changes: dict[str, object], message: str) -> None:
    data = {name: value for name, value in {**preprocessing().to_dict(), **changes}.items() if value is not None}
    with pytest.raises(ModelError) as caught:
        ImagePreprocessing.from_dict(data)
    assert message in str(caught.value)


@pytest.mark.parametrize("fit", [(31, 30, 5), (4, 30, 5), (31, 41, 0)])
def test_a_fit_that_fits_nothing_is_refused(fit: tuple[int, int, int]) -> None:
    with pytest.raises(ModelError) as caught:
        Fit(*fit)
    assert str(caught.value) == (
        "`resize_to` must have rising `multiple`, `shorter` and `longer` from 1 to 16384 pixels, but has "
        f"{fit[2]}, {fit[0]} and {fit[1]} instead."
    )


def test_an_unknown_filter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # whose own check comes first in tests
    with pytest.raises(ModelError, match="must be one of nearest, bilinear, bicubic, lanczos, but is 'box' instead."):
        ImagePreprocessing.from_dict({**preprocessing().to_dict(), "interpolation": "box"})


def test_a_wrong_geometry_is_refused() -> None:
    with pytest.raises(InputError, match=r"`resized_size` must be a height and width of at least 1, but is \(0, 7\)"):
        Geometry(source_size=(5, 7), resized_size=(0, 7), crop=(0, 0, 5, 7))
    with pytest.raises(InputError, match="`crop` must be a height and width of at least 1"):
        Geometry(source_size=(5, 7), resized_size=(5, 7), crop=(0, 0, 5, 0))
    with pytest.raises(InputError, match=r"`geometry.crop` must be tuple\[int, int, int, int\], but is \[0, 0\]"):
        Geometry.from_dict({"source_size": [5, 7], "resized_size": [5, 7], "crop": [0, 0]})


def test_a_picture_that_is_not_rgb_or_too_thin_is_refused() -> None:
    with pytest.raises(InputError, match="`picture` must be in mode RGB, but is L instead. Use `load_image`."):
        preprocessing()(Image.new("L", (5, 7)))
    with pytest.raises(InputError, match="`picture` must not be so long and thin, but is 50000 x 1 instead"):
        preprocessing(resize_to=211)(Image.new("RGB", (50_000, 1)))
    with pytest.raises(InputError, match="but is 50000 x 1 instead and would be resized to 10550000 x 211. Crop it."):
        preprocessing(resize_to=211).geometry((1, 50_000))


def test_the_resized_picture_is_the_input_in_8_bits() -> None:
    rng = np.random.default_rng(3)
    picture = Image.fromarray(rng.integers(0, 256, (43, 31, 3), dtype=np.uint8))
    ours = preprocessing(resize_to=29, size=(23, 19), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    seen = ours.resized(picture)
    assert seen.size == (19, 23)
    assert np.array_equal(np.rint(ours(picture)[0].numpy() * 255).transpose(1, 2, 0), np.asarray(seen))
    same = preprocessing(size=(23, 19), resize_to=(23, 19))
    assert same.resized(seen) is seen  # nothing to do
