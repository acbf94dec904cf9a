"""Pictures: every format that is read, in the variants that decoders treat apart."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multiattn.errors import MultiattnError
from multiattn.inputs import ImagePreprocessing
from multiattn.pipelines.pictures import Prepared, prepared_batches
from multiattn.pipelines.results import Failure
from tests.fixtures import draw

from .sample import Sample

_PREPROCESSING = ImagePreprocessing((32, 32), 36, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def samples() -> list[Sample]:
    picture = draw(3, size=(29, 23))
    gray, clear, indexed = picture.convert("L"), picture.convert("RGBA"), picture.quantize(16)
    deep = Image.fromarray(np.arange(29 * 23, dtype=np.uint16).reshape(23, 29) * 97)
    numbers = Image.fromarray(np.linspace(-1, 300, 29 * 23, dtype=np.float32).reshape(23, 29))
    clear.putalpha(gray)
    frames: dict[str, Any] = {"save_all": True, "append_images": [picture.rotate(90), gray.convert("RGB")]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    wanted: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("color.png", picture, {}),
        ("gray.png", gray, {"optimize": True}),
        ("bits.png", picture.convert("1"), {}),
        ("deep.png", deep, {}),
        ("clear.png", clear, {"dpi": (72, 72), "exif": exif}),
        ("indexed.png", indexed, {"transparency": 3}),
        ("moving.png", picture, frames),
        ("color.jpg", picture, {"exif": exif, "icc_profile": bytes(range(200))}),
        ("gray.jpg", gray, {"quality": 40}),
        ("progressive.jpg", picture, {"progressive": True}),
        ("cmyk.jpg", picture.convert("CMYK"), {}),
        ("restarts.jpg", picture.resize((90, 70)), {"restart_marker_rows": 1, "subsampling": 0}),
        ("color.bmp", picture, {}),
        ("indexed.bmp", indexed, {}),
        ("color.gif", indexed, {"interlace": 1, "transparency": 1}),
        ("moving.gif", indexed, {"save_all": True, "append_images": [indexed.rotate(90)]}),
        ("color.tif", picture, {}),
        ("lzw.tif", picture, {"compression": "tiff_lzw"}),
        ("deflate.tif", clear, {"compression": "tiff_adobe_deflate"}),
        ("packed.tif", gray, {"compression": "packbits"}),
        ("fax.tif", picture.convert("1"), {"compression": "group4"}),
        ("jpeg.tif", picture, {"compression": "jpeg"}),
        ("float.tif", numbers, {}),
        ("deep.tif", deep, {"compression": "tiff_lzw"}),
        ("pages.tif", picture, frames),
        ("big.tif", picture, {"big_tiff": True}),
        ("color.webp", picture, {"exif": exif}),
        ("clear.webp", clear, {"lossless": True}),
        ("moving.webp", picture, frames),
        ("color.avif", picture, {"exif": exif}),
        ("clear.avif", clear, {}),
        ("color.jp2", picture, {}),
        ("gray.j2k", gray, {"no_jp2": True}),
        ("color.ppm", picture, {}),
        ("gray.pgm", gray, {}),
        ("bits.pbm", picture.convert("1"), {}),
        ("float.pfm", numbers, {}),
        ("color.tga", picture, {"compression": "tga_rle"}),
        ("indexed.tga", indexed, {}),
        ("color.ico", clear, {"sizes": [(16, 16), (24, 24)]}),
        ("bitmap.ico", clear, {"sizes": [(16, 16)], "bitmap_format": "bmp"}),
    ]
    found = []
    for name, image, options in wanted:
        written = io.BytesIO()
        kind = {"tif": "TIFF", "jpg": "JPEG", "jp2": "JPEG2000", "j2k": "JPEG2000"}.get(
            name[-3:], name.rpartition(".")[2]
        )
        image.save(written, "PPM" if name[-3:] in ("pgm", "pbm", "pfm") else kind.upper(), **options)
        found.append(Sample.single(name, written.getvalue()))
    plain = b"P3 # words\n3 2 255\n" + b" ".join(b"%d" % (i * 13) for i in range(18)) + b"\n"
    return [*found, Sample.single("plain.ppm", plain)]


def read(path: Path) -> None:
    """Leniently and strictly; a picture that both take is the same, and only a damaged one is refused by one."""
    loaded = _prepared(path, strict=False)
    assert np.isfinite(loaded.pixels).all(), "the model's input is not finite"
    try:
        whole = _prepared(path, strict=True)
    except MultiattnError as error:
        assert loaded.damaged is not None, f"strict refuses what is not marked as damaged: {error}"
        return
    assert loaded.damaged is None, f"strict takes what is marked as damaged: {loaded.damaged}"
    assert np.array_equal(whole.pixels, loaded.pixels), "read again, it is another picture"


def _prepared(path: Path, *, strict: bool) -> Prepared:
    """As the pipelines prepare a picture."""
    (batch,) = prepared_batches([path], _PREPROCESSING, batch_size=1, strict=strict)
    (only,) = batch
    if isinstance(only, Failure):
        raise only.error
    return only
