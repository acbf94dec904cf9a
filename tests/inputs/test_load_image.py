"""Every kind of picture comes in upright and RGB; what cannot, fails with a message that says what to do."""

import inspect
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multiattn.errors import InputError
from multiattn.inputs import load_image, read_image

HEIGHT, WIDTH = 11, 17
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def picture(mode: str = "RGB") -> Image.Image:
    """Left part red, right part blue, so that a turn, a mirror and swapped channels all show."""
    image = Image.new("RGB", (WIDTH, HEIGHT), RED)
    image.paste(BLUE, (7, 0, WIDTH, HEIGHT))
    return image.convert(mode)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "HEIF"]
)
def test_every_format_gives_the_pixels(kind: str, tmp_path: Path) -> None:
    lossy = kind in ("JPEG", "AVIF", "HEIF")
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": "4:4:4"} if lossy else {}
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()  # for the writer; the reader does not need it
        options = {"quality": 95, "chroma": 444}
    data = encode(picture(), kind, **options)
    file = tmp_path / "picture"  # no suffix: the content decides
    file.write_bytes(data)
    for source in (file, str(file), data):
        loaded = load_image(source)
        assert (loaded.mode, loaded.size) == ("RGB", (WIDTH, HEIGHT))
        difference = np.abs(np.asarray(loaded).astype(int) - np.asarray(picture()).astype(int))
        assert difference.max() <= (60 if lossy else 0)
        assert difference.mean() <= (6 if lossy else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = picture()
    stored_by = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = stored_by[orientation](upright)
    loaded = load_image(encode(stored, "PNG", exif=exif))
    assert np.array_equal(np.asarray(loaded), np.asarray(upright))
    photograph = load_image(encode(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    difference = np.abs(np.asarray(photograph).astype(int) - np.asarray(upright).astype(int))
    assert difference.mean() <= 4  # a wrong turn gives more than 50


def test_transparency_is_laid_over_white() -> None:
    layer = picture("RGBA")
    layer.putpixel((2, 3), (0, 255, 0, 0))  # green, but not to be seen
    layer.putpixel((3, 3), (0, 0, 0, 128))
    loaded = load_image(encode(layer, "PNG"))
    assert loaded.getpixel((2, 3)) == WHITE
    assert loaded.getpixel((3, 3)) == (127, 127, 127)
    assert loaded.getpixel((0, 0)) == RED

    gray = Image.new("LA", (WIDTH, HEIGHT), (60, 255))
    gray.putpixel((2, 3), (0, 0))
    loaded = load_image(encode(gray, "PNG"))
    assert (loaded.getpixel((2, 3)), loaded.getpixel((0, 0))) == (WHITE, (60, 60, 60))


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_transparent_palette_is_laid_over_white(kind: str) -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 1)
    image.putpalette([0, 255, 0, *RED])
    image.putpixel((2, 3), 0)
    assert load_image(encode(image, kind)).getpixel((2, 3)) == (0, 255, 0)
    loaded = load_image(encode(image, kind, transparency=0))
    assert (loaded.getpixel((2, 3)), loaded.getpixel((0, 0))) == (WHITE, RED)


def test_transparent_color_of_gray_and_rgb_png_is_laid_over_white() -> None:
    gray = Image.new("L", (WIDTH, HEIGHT), 60)
    gray.putpixel((2, 3), 9)
    assert load_image(encode(gray, "PNG", transparency=9)).getpixel((2, 3)) == WHITE
    assert load_image(encode(picture(), "PNG", transparency=BLUE)).getpixel((WIDTH - 1, 0)) == WHITE


def test_first_frame_of_a_gif() -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in (BLUE, RED)]
    loaded = load_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert loaded.getpixel((0, 0)) == BLUE


def test_first_picture_of_a_phone_s_jpeg() -> None:
    """Phones write MPO: a JPEG with further pictures behind it."""
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in (BLUE, RED)]
    loaded = load_image(encode(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert np.abs(np.subtract(loaded.getpixel((0, 0)), BLUE)).max() <= 2


def test_gray_black_and_white_and_cmyk() -> None:
    assert load_image(Image.new("L", (WIDTH, HEIGHT), 60)).getpixel((0, 0)) == (60, 60, 60)
    assert load_image(Image.new("1", (WIDTH, HEIGHT), 1)).getpixel((0, 0)) == WHITE
    loaded = load_image(encode(picture("CMYK"), "TIFF"))
    assert (loaded.getpixel((0, 0)), loaded.getpixel((WIDTH - 1, 0))) == (RED, BLUE)
    loaded = load_image(encode(picture("CMYK"), "JPEG", quality=95))
    assert np.abs(np.subtract(loaded.getpixel((0, 0)), RED)).max() <= 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_is_scaled_not_clipped(kind: str) -> None:
    ramp = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    loaded = np.asarray(load_image(encode(Image.fromarray(ramp), kind)))
    assert np.array_equal(loaded[:, :, 0], np.rint(ramp / 257))


@pytest.mark.parametrize("options", [{}, {"compression": "tga_rle"}])
def test_a_tga_that_states_no_alpha_has_none(options: dict[str, str]) -> None:
    data = bytearray(encode(Image.new("RGBA", (WIDTH, HEIGHT), (*RED, 0)), "TGA", **options))
    assert load_image(bytes(data)).getpixel((0, 0)) == WHITE
    data[17] &= 0xF0
    assert load_image(bytes(data)).getpixel((0, 0)) == RED


@pytest.mark.parametrize(("white", "top"), [({}, 65535), ({341: 4095}, 4095)])
def test_a_16_bit_tiff_in_which_white_is_zero_is_no_negative(white: dict[int, int], top: int) -> None:
    ramp = np.linspace(0, top, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    data = encode(Image.fromarray(ramp), "TIFF", tiffinfo={262: 0} | white)
    stated = struct.pack("<HHIHH", 262, 3, 1, 1, 0)  # PIL writes "black is zero" whatever it is told
    data = data.replace(stated, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    assert np.array_equal(np.asarray(load_image(data))[:, :, 0], np.rint((top - ramp.astype(float)) * (255 / top)))


@pytest.mark.parametrize(
    ("mode", "dtype", "top"), [("I", np.int32, 65535), ("F", np.float32, 1), ("F", np.float32, 255)]
)
def test_wide_modes_are_scaled_by_the_range_that_holds_them(mode: str, dtype: type, top: int) -> None:
    ramp = np.linspace(0, top, HEIGHT * WIDTH).astype(dtype).reshape(HEIGHT, WIDTH)
    image = Image.fromarray(ramp)
    assert image.mode == mode
    assert np.array_equal(np.asarray(load_image(image))[:, :, 0], np.rint(ramp.astype(np.float64) * (255 / top)))


def test_wide_modes_beyond_every_customary_range_are_stretched() -> None:
    ramp = np.linspace(-700, 900, HEIGHT * WIDTH).astype(np.float32).reshape(HEIGHT, WIDTH)
    gray = np.asarray(load_image(Image.fromarray(ramp)))[:, :, 0]
    assert (gray[0, 0], gray[-1, -1]) == (0, 255)
    assert (np.diff(gray.reshape(-1).astype(int)) >= 0).all()


def test_pil_image_stays_as_it_is() -> None:
    source = picture("RGBA")
    before = source.tobytes()
    load_image(source).putpixel((0, 0), WHITE)
    assert (source.mode, source.tobytes()) == ("RGBA", before)
    source = picture()
    load_image(source).putpixel((0, 0), WHITE)
    assert source.getpixel((0, 0)) == RED


def test_arrays_and_tensors_hold_the_same_picture() -> None:
    expected = np.asarray(picture())
    tensor = torch.from_numpy(expected.copy()).permute(2, 0, 1)
    for source in (expected, expected / 255, (expected / 255).astype(np.float32), tensor, tensor / 255):
        assert np.array_equal(np.asarray(load_image(source)), expected)
    assert np.array_equal(np.asarray(load_image((tensor / 255).bfloat16().requires_grad_())), expected)
    gray = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    for source in (gray, gray[:, :, None], torch.from_numpy(gray), torch.from_numpy(gray)[None], gray / 255):
        loaded = np.asarray(load_image(source))
        assert np.array_equal(loaded, np.repeat(gray[:, :, None], 3, axis=2))
    layer = np.dstack([expected, np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert (np.asarray(load_image(layer)) == 255).all()


def test_all_bytes_survive_the_way_through_floats() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 256)
    assert np.array_equal(np.asarray(load_image(values.astype(np.float32) / np.float32(255)))[:, :, 0], values)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(()), "`array` must have shape [h, w] or [h, w, 1 | 3 | 4], but has [] instead."),
        (np.zeros((5, 7, 2)), "but has [5, 7, 2] instead."),
        (np.zeros((3, 5, 7)), "Move the channels last: `array.transpose(1, 2, 0)`."),
        (np.zeros((2, 5, 7, 3)), "Pass a batch as a list of pictures: `list(batch)`."),
        (np.zeros((0, 7, 3)), "`array` must have at least one pixel, but has shape [0, 7, 3] instead."),
        (np.zeros((5, 7), np.int64), "`array` must hold uint8, or floats from 0 to 1, but holds int64 instead."),
        (np.zeros((5, 7), bool), "but holds bool instead."),
        (np.zeros((5, 7), complex), "but holds complex128 instead."),
        (np.full((5, 7), np.nan), "`array` must hold finite numbers, but holds NaN or infinity instead."),
        (np.full((5, 7), np.inf, np.float16), "holds NaN or infinity"),
        (np.array([[0.0, 130.0]]), "run from 0 to 130 instead. Divide by 255, or convert it to uint8"),
        (np.array([[-2.1, 0.5]]), "run from -2.1 to 0.5 instead. Undo the normalization first"),
        (torch.zeros(()), "`tensor` must have shape [h, w] or [1 | 3, h, w], but has [] instead."),
        (torch.zeros(5, 7, 3), "Move the channels first: `tensor.permute(2, 0, 1)`."),
        (torch.zeros(2, 3, 5, 7), "Pass a batch as a list of pictures"),
        (torch.zeros(3, 0, 7), "`tensor` must have at least one pixel, but has shape [0, 7, 3] instead."),
        (torch.zeros(3, 5, 7, dtype=torch.int32), "`tensor` must hold uint8"),
        (torch.full((3, 5, 7), torch.nan), "`tensor` must hold finite numbers"),
        (Image.new("RGB", (0, 5)), "the PIL image must have at least one pixel, but is 0 x 5 instead."),
        (Image.fromarray(np.full((5, 7), np.nan, np.float32)), "the PIL image must hold finite numbers"),
        (b"", "JPEG 2000, PNG, PPM, TGA, TIFF or WebP), but is empty instead."),
        ("no/such\0cat.jpg", "but is missing instead. Check the path."),
    ],
)
def test_what_cannot_be_a_picture_is_refused(source: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_image(source)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_of_another_type_is_refused() -> None:
    with pytest.raises(InputError, match="`source` must be a path, bytes, .* but is of type list instead."):
        inspect.unwrap(read_image)([1, 2, 3])  # past the type checker of the tests


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


FILES = {
    "empty.jpg": (
        b"",
        "must be a picture (AVIF, BMP, GIF, HEIC, ICO, JPEG, JPEG 2000, PNG, PPM, TGA, TIFF or WebP), but is empty",
    ),
    "cut.jpg": (
        encode(Image.effect_noise((97, 89), 60), "JPEG")[:1500],
        "must be a whole picture, but is damaged or unusual instead (image file is truncated (",
    ),
    "notes.png": ("Grüße, dear reader. ".encode() * 41, "WebP), but is text instead."),
    "drawing.png": (b"<?xml version='1.0'?><svg></svg>", "but is an SVG drawing instead."),
    "film.jpg": (b"\0\0\0\x18ftypisom" + bytes(40), "but is a film instead."),
    "paper.png": (b"%PDF-1.7\n" + bytes(40), "but is a PDF document instead."),
    "large.jpg": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "a pointer of Git LFS (run `git lfs pull`) instead.",
    ),
    "noise.png": (bytes(range(1, 256)), "but is something else instead."),
    "bomb.png": (png_header(20_000, 20_000), "must have at most 89 million pixels"),
    "half-bomb.png": (png_header(10_000, 10_000), "must have at most 89 million pixels"),  # PIL only warns of these
    "broken.png": (png_header(97, 89), "must be a whole picture, but is damaged or unusual instead ("),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_named_with_the_reason(name: str, tmp_path: Path) -> None:
    data, message = FILES[name]
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_image(file)
    assert str(caught.value).startswith(f"`{file}` ")
    assert message in str(caught.value)


@pytest.mark.filterwarnings("default")
def test_the_half_bomb_is_refused_without_the_warning_of_pil(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(InputError, match=r"the bytes must have at most 89 million .* more instead\. Shrink it"):
        load_image(png_header(10_000, 10_000))
    assert not recwarn.list


def test_a_missing_file_a_dead_link_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "gone.png")
    for source, message in (
        (tmp_path / "cat.png", "must be a file or folder, but is missing instead. Check the path."),
        (link, "but is a link to nothing instead."),
        (tmp_path, "but is a folder instead. `multiattn.inputs.find_images` lists its files."),
    ):
        with pytest.raises(InputError) as caught:
            load_image(source)
        assert str(caught.value).startswith(f"`{source}` ")
        assert message in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="must be a readable file, but opening it fails instead: Permission denied"):
        load_image(file)


def test_one_pixel_is_a_picture() -> None:
    loaded = load_image(encode(Image.new("RGB", (1, 1), BLUE), "PNG"))
    assert (loaded.size, loaded.getpixel((0, 0))) == ((1, 1), BLUE)


def test_without_its_package_a_heic_photograph_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(InputError, match=r"the bytes is a HEIC photograph, .*`pip install multiattn\[heif\]`\."):
        load_image(b"\0\0\0\x18ftypheic" + bytes(40))


@pytest.mark.filterwarnings("ignore")  # PIL warns of odd metadata; here only what is raised counts
@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "AVIF", "JPEG2000", "PPM"]), data=st.data())
def test_damage_gives_a_picture_or_an_input_error(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encode(picture(), kind))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        assert read_image(cut).picture.mode == "RGB"
    except InputError as error:
        assert str(error).startswith("the bytes ")
