"""The size and depth that a picture's file claims: checked before memory is allocated, and used where stated."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Fit, ImagePreprocessing, load_image, read_image
from multiattn.inputs.image import read_size
from multiattn.inputs.image_budget import MAX_SIDE
from multiattn.inputs.pixels import to_rgb

HEIGHT, WIDTH = 61, 97
PIXELS = HEIGHT * WIDTH


def ramp() -> Image.Image:
    rows, columns = np.linspace(0, 255, HEIGHT), np.linspace(0, 255, WIDTH)
    channels = (rows[:, None] + 0 * columns, 0 * rows[:, None] + columns, (rows[:, None] + columns) / 2)
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encode(kind: str, image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# --- pixels ---


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG2000", {"num_resolutions": 4})]
)
def test_twice_the_limit_is_read_at_a_smaller_size(kind: str, options: dict[str, object]) -> None:
    data = encode(kind, ramp(), **options)
    whole, reduced = read_image(data), read_image(data, max_pixels=PIXELS - 1)
    assert whole.picture.size == (WIDTH, HEIGHT)
    factor = round(WIDTH / reduced.picture.width)
    assert factor in (2, 4, 8)
    assert abs(HEIGHT / factor - reduced.picture.height) <= 1
    assert whole.size == reduced.size == (HEIGHT, WIDTH)
    again = np.asarray(whole.picture.resize(reduced.picture.size, Image.Resampling.BOX)).astype(int)
    assert np.abs(again - np.asarray(reduced.picture)).mean() < 4
    with pytest.raises(
        InputError, match=r"the bytes must have at most \d+ pixels .* raise `max_pixels` \(--max-pixels\)"
    ):
        read_image(data, max_pixels=PIXELS // 2 - 1)


def test_within_the_limit_a_jpeg_is_decoded_whole() -> None:
    data = encode("JPEG", ramp())
    at_the_limit = read_image(data, max_pixels=PIXELS).picture
    assert np.array_equal(np.asarray(at_the_limit), np.asarray(Image.open(io.BytesIO(data))))


def test_a_reduced_picture_keeps_the_geometry_of_its_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode("JPEG", ramp(), exif=exif)
    reduced = read_image(data, max_pixels=PIXELS - 1)
    assert reduced.size == (WIDTH, HEIGHT)  # upright
    assert reduced.picture.size == (31, 49)
    preprocessing = ImagePreprocessing((23, 23), 29, "bilinear", (0.5,) * 3, (0.5,) * 3)
    pixels, geometry = preprocessing(reduced.picture, source_size=reduced.size)
    expected, of_whole = preprocessing(load_image(data))
    assert geometry == of_whole
    assert (pixels - expected).abs().mean() < 0.05


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "TGA"])
def test_formats_that_are_decoded_whole_keep_to_the_limit(kind: str) -> None:
    data = encode(kind, ramp())
    assert read_image(data, max_pixels=2 * PIXELS).picture.size == (WIDTH, HEIGHT)
    with pytest.raises(InputError, match="the bytes must have at most 5916 pixels"):
        read_image(data, max_pixels=PIXELS - 1)


def test_a_format_whose_decoder_takes_more_memory_has_a_lower_limit() -> None:
    """libwebp takes 12 bytes for a pixel, and the budget is 9."""
    with pytest.raises(InputError, match="the bytes must be decoded in at most .* MB of memory, but needs about"):
        read_image(encode("WEBP", ramp()), max_pixels=PIXELS)


def test_a_limit_below_one_pixel_is_refused() -> None:
    with pytest.raises(ModelError, match="`max_pixels` must be at least 1, but is 0 instead"):
        read_image(b"x", max_pixels=0)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: np.ndarray, *, bits: int | None = None, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 16-bit pixels `[h, w, 1 | 3]`; `bits` for its sBIT chunk, and a width and height to claim."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    depth = chunk(b"sBIT", bytes([bits] * channels)) if bits else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + depth
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def icon(entry: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(entry), 22) + entry


LIARS = {
    "long": png(np.zeros((1, 1, 1), np.uint16), size=(MAX_SIDE + 1, 1)),
    "icon-png": icon(png(np.zeros((1, 1, 1), np.uint16), size=(9999, 9999))),
    "icon-bitmap": icon(struct.pack("<IiiHHIIiiII", 40, 10_000, 20_000, 1, 32, 0, 0, 0, 0, 0, 0)),
    "icon-count": struct.pack("<HHH", 0, 1, 65535) + bytes(100),
    "jpeg-2000": b"\xff\x4f\xff\x51"
    + struct.pack(">HHIIIIIIIIH", 41, 0, 60_000, 60_000, 0, 0, 1, 1, 0, 0, 1)
    + b"\x07\x01\x01",
    "gif": b"GIF89a"
    + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
    + b"\x02",
    "pgm": b"P5 99999 99999 255\n",
    "pgm-digits": b"P5 " + b"9" * 5000,
    "tga": b"\0\0\x02" + bytes(9) + struct.pack("<HHBB", 65535, 65535, 24, 0) + bytes(50),
}


@pytest.mark.parametrize("name", LIARS)
def test_a_few_bytes_that_claim_a_huge_picture_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="^the bytes must ") as caught:
        read_image(LIARS[name])
    assert "\n" not in str(caught.value)


def test_many_tiles_are_counted_before_they_are_allocated() -> None:
    """Of one pixel each: openjpeg takes some KiB for a tile before it reads any."""
    data = bytearray(encode("JPEG2000", Image.new("L", (251, 241)), no_jp2=True))
    data[24:32] = struct.pack(">II", 1, 1)
    with pytest.raises(InputError, match=r"must be decoded in at most 1 MB of memory, but needs about \d+ MB instead"):
        read_image(bytes(data), max_pixels=70_000)


def test_the_size_of_a_picture_is_read_without_its_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "TIFF"):
        file = tmp_path / f"picture.{kind}"
        ramp().save(file, kind, exif=exif)
        assert read_size(file) == (WIDTH, HEIGHT)
    (tmp_path / "bomb.png").write_bytes(png(np.zeros((1, 1, 1), np.uint16), size=(99_999, 99_999)))
    with pytest.raises(InputError, match="bomb.png` must have at most 89 million pixels"):
        read_size(tmp_path / "bomb.png")


# --- depth ---


def twelve_bits() -> np.ndarray:
    return np.linspace(0, 4095, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)


def gray(data: bytes) -> tuple[np.ndarray, str | None]:
    loaded = read_image(data)
    return np.asarray(loaded.picture)[:, :, 0], loaded.remark


def test_a_stated_depth_is_used() -> None:
    values = twelve_bits()
    expected = np.rint(values * (255 / 4095))
    tiff = {tag: encode("TIFF", Image.fromarray(values), tiffinfo={tag: 4095}) for tag in (281, 341)}
    pgm = b"P5 97 61 4095\n" + values.astype(">u2").tobytes()
    for data, error in ((png(values[:, :, None], bits=12), 0), (tiff[281], 0), (tiff[341], 0), (pgm, 1)):
        found, remark = gray(data)
        assert np.abs(found - expected).max() <= error  # PIL scales a PGM to 16 bits first
        assert remark is None


def test_a_stated_depth_below_the_values_is_not_used() -> None:
    """A correct PNG scales 12 bits to the 16 that it stores, and says so only in sBIT."""
    values = twelve_bits().astype(np.float64) * (65535 / 4095)
    found, remark = gray(png(values.astype(np.uint16)[:, :, None], bits=12))
    assert np.abs(found - values / 257).max() <= 1
    assert remark is None


def test_color_with_a_stated_depth_keeps_all_its_bits() -> None:
    values = np.stack([twelve_bits(), twelve_bits()[::-1], twelve_bits() // 2], axis=-1)
    loaded = read_image(png(values, bits=12))
    assert np.array_equal(np.asarray(loaded.picture), np.rint(values * (255 / 4095)))
    assert loaded.remark is None


@pytest.mark.parametrize("channels", [1, 3])
def test_an_unstated_depth_stays_dark_and_is_remarked(channels: int) -> None:
    values = np.repeat(twelve_bits()[:, :, None], channels, axis=2)
    found, remark = gray(png(values))
    assert found.max() <= 16
    assert remark is not None
    assert remark.startswith("is nearly black: its 16-bit values end at 4095, and it does not state how many bits")


def test_conversion_in_strips_equals_conversion_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    layer = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32))
    at_once = [np.asarray(to_rgb(one, "it").picture) for one in (layer, deep)]
    monkeypatch.setattr("multiattn.inputs.pixels._STRIP", 1000)
    in_strips = [np.asarray(to_rgb(one, "it").picture) for one in (layer, deep)]
    assert all(np.array_equal(one, other) for one, other in zip(at_once, in_strips, strict=True))


# --- preprocessing ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (4097, 23)}, r"`size` must be at most 4096 pixels, but is \(4097, 23\) instead"),
        ({"resize_to": 8193}, "`resize_to` must be at most 8192 pixels, but is 8193 instead"),
        ({"resize_to": (10**12, 7)}, "`resize_to` must be at most 8192 pixels"),
        (
            {"size": (3, 3), "resize_to": Fit(3, 9000, 3)},
            "`resize_to` must be at most 8192 pixels, but is 9000 instead",
        ),
        ({"mean": (1e300, 0.5, 0.5)}, "`mean` must be at most a million"),
        ({"std": (1e-300, 0.5, 0.5)}, "`std` must be from a millionth to a million"),
        ({"rescale": 1e300}, "`rescale` must be from a millionth to a million"),
    ],
)
def test_preprocessing_has_bounds(changes: dict[str, object], message: str) -> None:
    fields = {"size": (23, 23), "resize_to": 29, "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    with pytest.raises(ModelError, match=message):
        ImagePreprocessing(**{**fields, **changes})


# --- memory ---

MEASURE = """
import sys
from multiattn.inputs import ImagePreprocessing, load_image, read_image
import io
from PIL import Image
import torch  # the budget is of pictures, not of libraries that are imported when they are first used
preprocessing = ImagePreprocessing((224, 224), (224, 224), "bicubic", (0.5,) * 3, (0.5,) * 3)
peak = lambda: next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
loaded = read_image(sys.argv[1])
preprocessing(loaded.picture, source_size=loaded.size)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode", "side", "most"),
    [
        ("jpg", "RGB", 13_370, 600e6),  # 179 million pixels
        ("progressive.jpg", "RGB", 13_370, 600e6),
        ("png", "RGBA", 9_459, 800e6),  # 89 million
        ("png", "I;16", 9_459, 800e6),
        ("tif", "F", 9_459, 800e6),
        ("avif", "RGB", 9_459, 800e6),
    ],
)
def test_decoding_keeps_to_its_budget(name: str, mode: str, side: int, most: float, tmp_path: Path) -> None:
    file = tmp_path / f"large.{name}"
    options: dict[str, object] = {"png": {"compress_level": 1}, "avif": {"speed": 10}}.get(name, {})
    Image.new(mode, (side, side)).save(file, **options | ({"progressive": True} if "progressive" in name else {}))
    done = subprocess.run([sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, check=True)
    print(f"{name} {mode} {side} x {side}: {int(done.stdout) / 1e6:.0f} MB")
    assert 0 < int(done.stdout) <= most
