"""A caption page as large as BLIP-base's: 12 layers and heads, 24 x 24 patches, ten words; made of random attention.

Prints the size of the file, with and without attention from patch to patch, and how long Chromium takes until the page
is ready and until another map is shown, each five times: `python -m tests.benchmarks.pages`. Needs /usr/bin/chromium.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from multiattn.export import PagePicture, PageWord, write_page
from multiattn.inputs import Geometry
from multiattn.maps import AttentionMap, Axis

SIDE, LAYERS, HEADS = 24, 12, 12
LABELS = tuple(f" word{i}" for i in range(10))


def large_picture(*, tokens: bool, seed: int = 0) -> PagePicture:
    """Return a captioned picture with three methods and every layer and head."""
    random = np.random.default_rng(seed)
    geometry = Geometry(source_size=(800, 1200), resized_size=(384, 384), crop=(0, 0, 384, 384))
    axes = (Axis("word", "word", labels=LABELS), Axis("y", "patch"), Axis("x", "patch"))
    stacked = (Axis("layer", "index"), Axis("head", "index"))
    sites = tuple(f"decoder.blocks.{i}.cross" for i in range(LAYERS))

    def attention(*shape: int) -> np.ndarray:
        weights = np.exp(2 * random.standard_normal(shape, dtype=np.float32))
        return weights / weights.sum(axis=-1, keepdims=True)

    def one(values: np.ndarray, of: tuple[Axis, ...], method: str) -> AttentionMap:
        return AttentionMap(values, of, method, sites, None, geometry, None)

    cells, grid = SIDE * SIDE, (SIDE, SIDE)
    maps = [
        one(attention(len(LABELS), cells).reshape(-1, *grid), axes, name)
        for name in ("relevance", "attention", "rollout")
    ]
    of_heads = attention(LAYERS, HEADS, len(LABELS), cells).reshape(LAYERS, HEADS, -1, *grid)
    maps.append(one(of_heads, (*stacked, *axes), "attention"))
    matrix = None
    if tokens:
        labels = ("class token", *(f"row {y + 1}, column {x + 1}" for y in range(SIDE) for x in range(SIDE)))
        pair = (Axis("query", "token", labels=labels), Axis("key", "token", labels=labels))
        matrix = one(attention(LAYERS, HEADS, cells + 1, cells + 1), (*stacked, *pair), "self_attention")
    pixels = np.clip(128 + 40 * random.standard_normal((100, 150, 3)), 0, 255).astype(np.uint8)
    words = [PageWord(label, 0.5, 0.1 * i) for i, label in enumerate(LABELS)]
    return PagePicture(Image.fromarray(pixels).resize((1200, 800)), "photo.jpg", (), maps, words, tokens=matrix)


def main() -> None:
    """Write both pages and open them."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as api:
        browser = api.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        for tokens in (False, True):
            path = Path(folder) / "page.html"
            write_page(path, pictures=[large_picture(tokens=tokens)], title="photo.jpg")
            print(f"{'with' if tokens else 'without'} patch to patch: {path.stat().st_size / 1e6:.2f} MB")
            for _ in range(5):
                page = browser.new_page()
                page.goto(path.as_uri())
                page.wait_for_function("() => document.documentElement.dataset.ready === 'yes'")
                ready = page.evaluate("performance.now()") / 1000
                started = time.perf_counter()
                page.get_by_label("layer and head", exact=True).check()
                heads = time.perf_counter() - started
                page.close()
                print(f"  ready after {ready:.2f} s; every layer and head shown after {heads:.2f} s")
        browser.close()


if __name__ == "__main__":
    main()
