"""A damaged picture gives what can be read of it, and says where the rest is missing; strictly read it is refused."""

import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from multiattn.errors import InputError
from multiattn.inputs import Damage, read_image

HEIGHT, WIDTH = 97, 67
GRAY = 128


def noise() -> Image.Image:
    """Smooth enough for a JPEG, with a right value for every row."""
    rng = np.random.default_rng(0)
    rows = np.linspace(20, 90, HEIGHT)[:, None, None] + rng.integers(0, 30, (HEIGHT, WIDTH, 3))
    return Image.fromarray(rows.astype(np.uint8))


def encode(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    (image or noise()).save(stream, kind, **options)
    return stream.getvalue()


FILES = {
    "jpeg": ("JPEG", {"quality": 90}),
    "jpeg-gray": ("JPEG", {"quality": 90}),
    "png": ("PNG", {}),
    "gif": ("GIF", {"interlace": 0}),
    "webp": ("WEBP", {"quality": 90}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "ppm": ("PPM", {}),
    "avif": ("AVIF", {"quality": 90}),
}


def damage_of(data: bytes) -> tuple[np.ndarray, Damage]:
    loaded = read_image(data)
    assert loaded.damaged is not None
    assert loaded.size == (loaded.picture.height, loaded.picture.width)
    with pytest.raises(InputError, match="the bytes must be a whole picture, but is damaged or unusual instead"):
        read_image(data, strict=True)
    return np.asarray(loaded.picture).astype(int), loaded.damaged


@pytest.mark.parametrize("name", FILES)
def test_a_cut_off_picture_has_its_first_rows(name: str) -> None:
    kind, options = FILES[name]
    data = encode(kind, noise().convert("L") if "gray" in name else noise(), **options)
    whole = np.asarray(read_image(data).picture).astype(int)
    found, damaged = damage_of(data[: len(data) * 3 // 4])
    place = re.fullmatch(r"below row (\d+) of 97", damaged.place)
    assert place is not None
    row = int(place[1])
    assert HEIGHT * 0.2 < row < HEIGHT * 0.9
    assert damaged.share == pytest.approx(1 - row / HEIGHT, abs=1 / HEIGHT)  # the last row may be there in part
    assert np.abs(found[: row - 1] - whole[: row - 1]).mean() < 1
    assert (found[row + 1 :] == GRAY).all()
    assert damaged.reason == "it is cut off"


@pytest.mark.parametrize("kind", ["BMP", "TGA"])
def test_formats_that_begin_below_lack_their_upper_rows(kind: str) -> None:
    data = encode(kind)
    found, damaged = damage_of(data[: len(data) * 3 // 4])
    place = re.fullmatch(r"above row (\d+) of 97", damaged.place)
    assert place is not None
    assert (found[: int(place[1]) - 2] == GRAY).all()
    assert np.array_equal(found[int(place[1]) :], np.asarray(noise())[int(place[1]) :])


@pytest.mark.parametrize(
    ("orientation", "place"),
    [(3, "above row .* of 97"), (6, "left of column .* of 97"), (8, "right of column .* of 97")],
)
def test_the_place_is_that_in_the_upright_picture(orientation: int, place: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode("JPEG", quality=90, exif=exif)
    found, damaged = damage_of(data[: len(data) * 3 // 4])
    assert re.fullmatch(place, damaged.place)
    assert found.shape[:2] == ((HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT))
    corner = {3: (0, 0), 6: (0, 0), 8: (0, -1)}[orientation]
    assert (found[corner] == GRAY).all()


def test_a_jpeg_without_its_end_marker_is_complete() -> None:
    data = encode("JPEG", quality=90)
    found, damaged = damage_of(data[:-2])
    assert np.array_equal(found, np.asarray(read_image(data).picture))
    assert damaged == Damage("its end marker is missing", "after its last row", 0.0)


def test_the_zeros_of_an_unfinished_download_are_no_picture() -> None:
    data = encode("JPEG", quality=90)
    cut = data[: len(data) // 2]
    expected, damaged = damage_of(cut)
    found, same = damage_of(cut + bytes(len(data) - len(cut)))
    assert np.array_equal(found, expected)
    assert same == damaged


def test_a_cut_off_progressive_jpeg_is_coarse() -> None:
    data = encode("JPEG", quality=90, progressive=True)
    whole = np.asarray(read_image(data).picture).astype(int)
    found, damaged = damage_of(data[: len(data) // 2])
    assert np.abs(found - whole).mean() < 12
    assert re.fullmatch(r"in its fine detail or color, from scan \d on", damaged.place)
    assert damaged.share is None


def test_an_interlaced_picture_is_filled_from_the_rows_that_came_first() -> None:
    data = encode("GIF", interlace=1)
    found, damaged = damage_of(data[: len(data) * 3 // 4])
    assert "interlaced" in damaged.place
    assert damaged.share == pytest.approx(0.25, abs=0.05)
    assert np.abs(found - np.asarray(noise())).mean() < 15
    assert not (found == GRAY).all(axis=(1, 2)).any()


def test_a_cut_off_jpeg_2000_picture_is_coarse() -> None:
    data = encode("JPEG2000", quality_layers=[40, 20, 10])
    _, damaged = damage_of(data[: len(data) * 3 // 4])
    assert damaged == Damage("it is cut off", "in its fine detail", None)


def chunks(data: bytes) -> list[tuple[int, bytes, int]]:
    """Offset, name and length of each chunk of a PNG."""
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((at, data[at + 4 : at + 8], length))
        at += 12 + length
    return found


def test_a_png_with_wrong_pixels_is_used_up_to_the_break() -> None:
    data = bytearray(encode("PNG"))
    start, _, length = next(chunk for chunk in chunks(data) if chunk[1] == b"IDAT")
    middle = start + 8 + length // 2
    data[middle : middle + 40] = b"\xff" * 40
    _, damaged = damage_of(bytes(data))
    assert damaged.reason in ("its data are broken", "a checksum of its pixels is wrong")


def test_a_png_whose_text_is_damaged_keeps_its_pixels() -> None:
    data = encode("PNG")
    text = b"tEXtComment\0hello"
    broken = data[:33] + struct.pack(">I", len(text) - 4) + text + b"\0\0\0\0" + data[33:]
    found, damaged = damage_of(broken)
    assert np.array_equal(found, np.asarray(noise()))
    assert damaged == Damage("its tEXt chunk cannot be read", "after its last row", 0.0)


def test_a_png_whose_profile_unpacks_to_more_than_it_may_keeps_its_pixels() -> None:
    profile = b"iCCPname\0\0" + zlib.compress(bytes(5_000_000), 9)
    data = encode("PNG")
    bomb = struct.pack(">I", len(profile) - 4) + profile + struct.pack(">I", zlib.crc32(profile))
    found, damaged = damage_of(data[:33] + bomb + data[33:])
    assert np.array_equal(found, np.asarray(noise()))
    assert damaged.share == 0.0


def test_exif_that_cannot_be_read_is_remarked() -> None:
    loaded = read_image(encode("PNG", exif=b"Exif\0\0garbage"), strict=True)
    assert np.array_equal(np.asarray(loaded.picture), np.asarray(noise()))
    assert loaded.remark == "has EXIF that cannot be read: it may lie on its side"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF"])
def test_a_picture_of_which_nothing_is_there_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"^the bytes must be "):
        read_image(encode(kind)[:60])


def test_threads_read_whole_and_damaged_pictures_at_once() -> None:
    """PIL's switch for damaged pictures is one for the process; nothing here touches it."""
    from concurrent.futures import ThreadPoolExecutor

    data = encode("JPEG", quality=90)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_image, [data, data[:1500]] * 20))
    assert [one.damaged is None for one in found] == [True, False] * 20


NOISY = """
import io, random, threading
from PIL import Image
from multiattn.inputs import read_image

def encode(kind, **options):
    stream = io.BytesIO()
    Image.effect_noise((61, 53), 60).convert("RGB").save(stream, kind, **options)
    return stream.getvalue()

files = [encode("TIFF", compression=one) for one in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")]
files += [encode("JPEG"), encode("JPEG2000"), encode("AVIF")]

def read(seed):
    draw = random.Random(seed)
    for _ in range(60):
        data = bytearray(draw.choice(files))
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            read_image(bytes(data))
        except ValueError:
            pass

threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
"""


@pytest.mark.slow
def test_codecs_write_nothing_to_standard_error() -> None:
    """Seen before: `TIFFReadDirectory: Failed to read directory`, `JPEGLib: ...`, and PIL's warnings."""
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
