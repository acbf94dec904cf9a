"""The inputs found so far, each as small as it could be made, with what is right for it. They run before all others."""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from .kinds import Job, make, samples
from .sample import Sample

RESULT, ERROR, EITHER = "result", "clear error", "result or clear error"


@dataclass(frozen=True)
class Entry:
    """An input that was a fault once."""

    kind: str
    name: str
    expected: str
    """`RESULT` where there is something to be read (a damaged file's rest, too), `ERROR` where there is not, `EITHER`
    where a decoder may do one or the other."""
    sample: Callable[[], Sample]


def entry(name: str) -> Entry:
    """The entry of this name."""
    return next(one for one in CORPUS if one.name == name)


def made(job: Job) -> Sample:
    """The input of a job: an entry of the corpus, a whole sample by its number, or a changed one."""
    if "name" in job:
        return entry(job["name"]).sample()
    if "whole" in job:
        return samples(job["kind"])[job["whole"]]
    return make(job["kind"], job["seed"], job["index"])


def expected(job: Job) -> str:
    """The columns that are right for a job."""
    if "name" in job:
        return entry(job["name"]).expected
    return RESULT if "whole" in job else EITHER


def first_jobs(kinds: Sequence[str]) -> Iterator[Job]:
    """Every whole sample of these kinds, and every entry of the corpus."""
    for kind in kinds:
        yield from ({"kind": kind, "whole": number} for number in range(len(samples(kind))))
        yield from ({"kind": kind, "name": one.name} for one in CORPUS if one.kind == kind)


def _of(kind: str, name: str) -> Sample:
    return next(sample for sample in samples(kind) if sample.name == name)


def _data(kind: str, name: str) -> bytes:
    return _of(kind, name).files[name]


def _file(name: str, content: Callable[[], bytes]) -> Callable[[], Sample]:
    return lambda: Sample.single(name, content())


# --- pictures ---


def _png(width: int, height: int, depth: int, color: int, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _tiff(*entries: tuple[int, int, int, int], after: bytes = b"") -> bytes:
    """A TIFF of these entries (tag, type, count, value), with some bytes after them."""
    packed = b"".join(struct.pack("<HHII", *one) for one in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4) + after


def _float_tiff(width: int, height: int) -> bytes:
    """One strip of 37 rows, and a height that says there are more."""
    fields = {256: width, 257: height, 258: 32, 259: 1, 262: 1, 278: 37, 279: 148 * width, 284: 1, 339: 3}
    where = 8 + 2 + 12 * (len(fields) + 1) + 4
    return _tiff(*((tag, 4, 1, value) for tag, value in {**fields, 273: where}.items()), after=bytes(148 * width))


def _bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 58, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 4, 0, 0, 0, 0)
    )


def _tga(first: int, colors: int) -> bytes:
    """A TGA whose palette begins at a number, and whose pixels are cut off."""
    header = bytes([0, 1, 1]) + struct.pack("<HHBHHHHBB", first, colors, 24, 0, 0, 4, 4, 8, 0)
    return header + bytes(3 * colors) + b"\1\2\3"


_PICTURES = (
    ("png-20000-squared", ERROR, "x.png", lambda: _png(20_000, 20_000, 8, 2, b"")),
    ("png-no-pixels", ERROR, "x.png", lambda: _png(0, 3, 8, 2, b"")),
    (
        "png-unpacks-to-10-mb-of-text",
        EITHER,
        "x.png",
        lambda: _png(1, 1, 8, 0, b"\0\7", (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7)))),
    ),
    ("png-12-bits-in-16", RESULT, "x.png", lambda: _png(2, 1, 16, 0, b"\0\x0f\xff\x01\x00", (b"sBIT", b"\x0c"))),
    (
        "png-bits-beyond-its-depth",
        EITHER,
        "x.png",
        lambda: _png(2, 1, 16, 0, b"\0\x0f\xff\x01\x00", (b"sBIT", b"\xff")),
    ),
    ("png-cut-off", RESULT, "x.png", lambda: _data("picture", "color.png")[:-300]),
    ("jpeg-without-end-marker", RESULT, "x.jpg", lambda: _data("picture", "restarts.jpg")[:-2]),
    ("jpeg-cut-off", RESULT, "x.jpg", lambda: _data("picture", "restarts.jpg")[:-400]),
    ("jpeg-header-alone", EITHER, "x.jpg", lambda: _data("picture", "color.jpg")[:400]),
    ("gif-65535-squared", ERROR, "x.gif", lambda: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;"),
    ("bmp-largest-sides", ERROR, "x.bmp", lambda: _bmp(2**31 - 1, -(2**31) + 1)),
    ("bmp-upside-down-and-cut", EITHER, "x.bmp", lambda: _bmp(3, -5)),
    ("tiff-of-7-kb-and-200-mb", EITHER, "x.tif", lambda: _float_tiff(48, 1_048_613)),
    ("tiff-without-entries", ERROR, "x.tif", lambda: _tiff()),
    ("tiff-in-a-circle", EITHER, "x.tif", lambda: _data("picture", "color.tif")[:-4] + b"\x08\0\0\0"),
    (
        "tiff-10-to-9-samples",
        ERROR,
        "x.tif",
        lambda: _tiff((256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 10**9, 8), (277, 4, 1, 10**9)),
    ),
    ("ppm-of-10-to-18-pixels", ERROR, "x.ppm", lambda: b"P6 1000000000 1000000000 255\n\0"),
    ("ppm-5000-digits", ERROR, "x.ppm", lambda: b"P6 " + b"9" * 5000 + b" 1 255\n\0"),
    ("png-too-thin", ERROR, "x.png", lambda: _png(1, 3_000_000, 8, 0, bytes(6_000_000))),
    ("tga-palette-of-5464", EITHER, "x.tga", lambda: _tga(5440, 24)),
    ("empty", ERROR, "x.png", lambda: b""),
    ("text", ERROR, "x.png", lambda: b"These are words.\n"),
)


# --- sound ---


def _wav(rate: int, samples: int = 200, *, channels: int = 1, size: int | None = None) -> bytes:
    body = bytes(2 * samples * channels)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels % 2**32, 2 * channels % 2**16, 16)
    size = len(body) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _mp3(name: str = "plain.mp3") -> bytes:
    return _data("sound", name)


def _flac() -> bytes:
    """Two seconds of noise, in several frames."""
    written = io.BytesIO()
    noise = np.random.default_rng(5).standard_normal(16_000) / 9
    soundfile.write(written, noise, 8000, format="FLAC", subtype="PCM_16")
    return written.getvalue()


def _without_decoder() -> bytes:
    return _data("sound", "opus.webm").replace(b"A_OPUS", b"A_NONE")


_SOUND = (
    ("wav-rate-2147483647", ERROR, "x.wav", lambda: _wav(2**31 - 1, 2)),
    ("wav-rate-999983", ERROR, "x.wav", lambda: _wav(999_983)),
    ("wav-rate-10", ERROR, "x.wav", lambda: _wav(10)),
    ("wav-rate-0", ERROR, "x.wav", lambda: _wav(0)),
    ("wav-no-samples", RESULT, "x.wav", lambda: _wav(8000, 0)),
    ("wav-no-channels", ERROR, "x.wav", lambda: _wav(8000, 9, channels=0)),
    ("wav-65535-channels", ERROR, "x.wav", lambda: _wav(8000, 1, channels=65535)),
    ("wav-cut-off", RESULT, "x.wav", lambda: _wav(8000, 999)[:-500]),
    ("wav-size-never-written", RESULT, "x.wav", lambda: _wav(8000, 999, size=0xFFFFFFFF)),
    ("wav-gsm", RESULT, "x.wav", lambda: _data("sound", "gsm.wav")),
    ("wav-g721", RESULT, "x.wav", lambda: _data("sound", "g721.wav")),
    ("instrument-of-fasttracker", EITHER, "x.wav", lambda: _data("sound", "instrument.wav")),
    ("flac-cut-off", RESULT, "x.flac", lambda: _flac()[:-9000]),
    (
        "flac-no-rate",
        EITHER,
        "x.flac",
        lambda: _data("sound", "plain.flac")[:18] + bytes(2) + _data("sound", "plain.flac")[20:],
    ),
    ("mp3-no-length-header", RESULT, "x.mp3", lambda: _mp3("variable.mp3")),
    ("mp3-joined", RESULT, "x.mp3", lambda: _mp3() + _mp3("variable.mp3")),
    ("mp3-in-mid-frame", RESULT, "x.mp3", lambda: _mp3("stereo.mp3")[333:-99]),
    (
        "mp3-damaged-in-the-middle",
        RESULT,
        "x.mp3",
        lambda: _mp3("stereo.mp3")[:3000] + bytes(900) + _mp3("stereo.mp3")[3900:],
    ),
    ("webm-of-an-unknown-codec", ERROR, "x.webm", _without_decoder),
    ("mkv-without-its-last-bytes", RESULT, "x.mkv", lambda: _data("sound", "opus.mkv")[:-300]),
    ("mkv-of-eight-channels", RESULT, "x.mkv", lambda: _data("sound", "surround.mkv")),
    ("m4a-cut-off", EITHER, "x.m4a", lambda: _data("sound", "talk.m4a")[:-900]),
    ("ogg-of-one-page", ERROR, "x.ogg", lambda: _data("sound", "vorbis.ogg")[:58]),
    ("silence-without-a-name", ERROR, "x.mp3", lambda: b""),
)


# --- data sets ---

_DEEP = "[" * 100_000 + "]" * 100_000
_DIGITS = "7" * 5000


def _captions(*lines: str | bytes, name: str = "metadata.jsonl") -> Callable[[], Sample]:
    content = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    return lambda: Sample("captions", {f"captions/train/{name}": content})


def _questions(row: str) -> Callable[[], Sample]:
    return lambda: Sample("questions", {"questions/train/metadata.jsonl": row.encode()})


_ROW = '{"file_name": "1.jpg", "question": "q", "answer": "a", '
_MANIFESTS = (
    ("jsonl-deep", ERROR, _captions('{"file_name": "1.jpg", "text": ' + _DEEP[:60_000] + "}")),
    ("jsonl-5000-digits", ERROR, _captions('{"file_name": "1.jpg", "text": ' + _DIGITS + "}")),
    ("jsonl-nul-in-a-name", EITHER, _captions(r'{"file_name": "1\u0000.jpg", "text": "a"}')),
    ("jsonl-half-a-surrogate-pair-in-a-name", EITHER, _captions(r'{"file_name": "1\ud800.jpg", "text": "a"}')),
    ("jsonl-half-a-surrogate-pair-in-a-text", ERROR, _captions(r'{"file_name": "1.jpg", "text": "\udfff"}')),
    ("csv-100-kb-of-a-heading", ERROR, _captions("file_name,x" + "y" * 100_000, "1.jpg,a", name="metadata.csv")),
    ("csv-nul", ERROR, _captions(b"file_name,text", b"1.jpg,a\0b,\0", name="metadata.csv")),
    ("boxes-not-finite", ERROR, _questions(_ROW + '"boxes": [[NaN, 0, Infinity, 1]]}')),
    ("boxes-10-to-400", ERROR, _questions(_ROW + '"boxes": [[0, 0, 1' + "0" * 400 + ", 1]]}")),
    ("boxes-5000-digits", ERROR, _questions(_ROW + f'"boxes": [[0, 0, {_DIGITS}, 1]]' + "}")),
    ("coco-deep", ERROR, lambda: _of("manifest", "COCO").changed("coco/captions_train.json", _DEEP.encode(), "deep")),
    (
        "coco-5000-digits",
        ERROR,
        lambda: _of("manifest", "COCO").changed(
            "coco/captions_train.json", b'{"images": ' + _DIGITS.encode() + b"}", "digits"
        ),
    ),
)


# --- models ---


def _model(name: str, file: str, change: Callable[[Any], Any]) -> Callable[[], Sample]:
    """A model with a JSON file of it changed in place; or replaced, where the change returns text."""

    def make() -> Sample:
        sample = next(one for one in samples("model") if one.name == name)
        data = json.loads(sample.files[file])
        text = change(data)
        return sample.changed(file, (text if isinstance(text, str) else json.dumps(data)).encode(), "changed")

    return make


def _set(*path: str, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def _weights(name: str, change: Callable[[bytes], bytes]) -> Callable[[], Sample]:
    def make() -> Sample:
        sample = next(one for one in samples("model") if one.name == name)
        (file,) = [file for file in sample.files if file.endswith((".safetensors", ".pt", ".pth"))]
        return sample.changed(file, change(sample.files[file]), "changed")

    return make


def _sparse(_: bytes) -> bytes:
    import torch

    written = io.BytesIO()
    torch.save({"dims": {}, "model_state_dict": {"a": torch.eye(3).to_sparse()}}, written)
    return written.getvalue()


def _other_method(data: bytes) -> bytes:
    """Every member of the archive says that it is packed by a method that there is not."""
    for sign, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        parts = data.split(sign)
        data = sign.join([parts[0], *(part[: at - 4] + b"\x5f\0" + part[at - 2 :] for part in parts[1:])])
    return data


_OURS, _THEIRS, _WHISPER = "classifier (multiattn)", "classifier of transformers (hf-vit)", "Whisper (whisper)"
_MODELS = (
    ("config-deep", ERROR, _model(_OURS, "config.json", lambda _: _DEEP)),
    ("config-5000-digits", ERROR, _model(_OURS, "config.json", lambda _: '{"format": ' + _DIGITS + "}")),
    ("labels-half-a-surrogate-pair", EITHER, _model(_OURS, "config.json", _set("labels", value=["\ud800", *"bcdefg"]))),
    ("size-10-to-9", ERROR, _model(_OURS, "config.json", _set("preprocessing", "size", value=[10**9, 10**9]))),
    ("resize-10-to-9", ERROR, _model(_OURS, "config.json", _set("preprocessing", "resize_to", value=10**9))),
    ("mean-not-finite", ERROR, _model(_OURS, "config.json", _set("preprocessing", "mean", value=[float("nan"), 0, 0]))),
    ("mean-of-text", ERROR, _model(_OURS, "config.json", _set("preprocessing", "mean", value="abc"))),
    (
        "interpolation-unknown",
        ERROR,
        _model(_OURS, "config.json", _set("preprocessing", "interpolation", value="a\tb")),
    ),
    (
        "processor-10-to-9",
        ERROR,
        _model(_THEIRS, "preprocessor_config.json", _set("size", value={"height": 10**9, "width": 10**9})),
    ),
    ("depth-10-to-9", ERROR, _model(_OURS, "config.json", _set("architecture", "depth", value=10**9))),
    ("dim-2-to-62", ERROR, _model(_OURS, "config.json", _set("architecture", "dim", value=2**62))),
    (
        "token-2-to-31",
        ERROR,
        _model("captioner (multiattn)", "tokenizer.json", _set("model", "vocab", "a", value=2**31 - 2)),
    ),
    ("tokenizer-deep", ERROR, _model("captioner (multiattn)", "tokenizer.json", lambda _: _DEEP)),
    ("pt-of-a-sparse-tensor", ERROR, _weights(_WHISPER, _sparse)),
    ("pt-of-an-unknown-zip-method", ERROR, _weights(_WHISPER, _other_method)),
    ("pt-that-runs-code", ERROR, _weights(_WHISPER, lambda _: pickle.dumps(Path("x")))),
    ("safetensors-header-of-2-to-63", ERROR, _weights(_OURS, lambda data: struct.pack("<Q", 2**63) + data[8:])),
    ("safetensors-empty", ERROR, _weights(_OURS, lambda data: b"")),
)


# --- maps ---


def _map(change: Callable[[bytes], bytes], file: str = "map.json") -> Callable[[], Sample]:
    return lambda: (one := _of("map", "picture")).changed(file, change(one.files[file]), "changed")


def _values(values: np.ndarray, method: int = zipfile.ZIP_STORED) -> bytes:
    array, written = io.BytesIO(), io.BytesIO()
    np.save(array, values)
    with zipfile.ZipFile(written, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("values.npy", (2020, 1, 1, 0, 0, 0)), array.getvalue(), method)
    return written.getvalue()


_VALUES = np.zeros((5, 7), np.float32)
_MAPS = (
    ("map-deep", ERROR, _map(lambda _: _DEEP.encode())),
    ("map-5000-digits", ERROR, _map(lambda _: b'{"format": ' + _DIGITS.encode() + b"}")),
    ("map-shape-of-two-lines", ERROR, _map(lambda content: content.replace(b"[\n    5,\n    7\n  ]", b'"a\\nb"'))),
    ("map-not-finite", ERROR, _map(lambda _: _values(np.full((5, 7), np.nan, np.float32)), "map.npz")),
    (
        "map-largest-values",
        RESULT,
        _map(lambda _: _values(np.linspace(-3e38, 3e38, 35, dtype=np.float32).reshape(5, 7)), "map.npz"),
    ),
    ("map-unknown-zip-method", ERROR, _map(lambda _: _other_method(_values(_VALUES)), "map.npz")),
    (
        "map-damaged-lzma",
        ERROR,
        _map(lambda _: _values(_VALUES, zipfile.ZIP_LZMA).replace(b"]\0\0", b"\xff\0\0"), "map.npz"),
    ),
    (
        "map-header-without-end",
        ERROR,
        _map(lambda _: _values(_VALUES).replace(b"'shape': (5, 7), }", b"'shape': ((((((( ("), "map.npz"),
    ),
)


# --- trainings ---


def _config(text: str | bytes) -> Callable[[], Sample]:
    return _file("config.yaml", lambda: text.encode() if isinstance(text, str) else text)


_CONFIGS = (
    ("yaml-deep", ERROR, _config("model: " + _DEEP[:3000] + "]" * 3000)),
    ("yaml-5000-digits", ERROR, _config("seed_everything: " + _DIGITS)),
    ("yaml-nul", ERROR, _config(b"model: \0")),
    ("yaml-nul-in-a-value", ERROR, _config('model_directory: "\\0"')),
    ("yaml-not-utf-8", ERROR, _config(b"model: \xff\xfe\xfd")),
    ("yaml-code", ERROR, _config("model: !!python/object/apply:os.getcwd []")),
    ("yaml-a-date-that-is-none", ERROR, _config("trainer: 2001-99-99")),
)

CORPUS = (
    *(Entry("picture", name, expected, _file(file, content)) for name, expected, file, content in _PICTURES),
    *(Entry("sound", name, expected, _file(file, content)) for name, expected, file, content in _SOUND),
    *(Entry("manifest", *row) for row in _MANIFESTS),
    *(Entry("model", *row) for row in _MODELS),
    *(Entry("map", *row) for row in _MAPS),
    *(Entry("config", *row) for row in _CONFIGS),
)
"""Every input found so far."""
