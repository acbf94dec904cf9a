"""What every HTML page is put together from: its files, images and numbers as text, and a frame without any network.

A page with a script is made from a body (`page.html`), its scripts, which share `base.js`, and data that the scripts
read; an index has a body and a script of its own. The security policy in `shell.html` forbids every request.
"""

import base64
import html
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..maps.concentration import FLAT_WITHIN
from ..writing import write_text
from .heatmap import palette

SCRIPT_POLICY = "; script-src 'unsafe-inline'"
"""What the security policy of a page with a script allows for it."""


_SHARED = ("controls", "verdict", "way", "saving")
"""Parts of the HTML that several pages have."""


def part(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Replace each `{{name}}` by its field, in one pass: a `{{name}}` inside a field stays as it is."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: fields[place[1]], template)


def write(path: str | Path, title: str, body: str, *, policy: str = "", style: str = "") -> None:
    """Write a page, whole or not at all; missing folders are made.

    Args:
        path: The HTML file.
        title: The title of the page.
        body: Its HTML.
        policy: What its security policy allows besides images and styles in the page; by default nothing.
        style: The file with the styles that only this kind of page has.
    """
    styles = part("page.css") + (part(style) if style else "")
    fields = {"title": html.escape(title), "style": styles, "body": body, "policy": policy}
    write_text(path, fill(part("shell.html"), fields))


def write_scripted(
    path: str | Path, title: str, body: str, data: Mapping[str, object], scripts: Sequence[str], *, policy: str = ""
) -> None:
    """Write a page whose script draws it from data; missing folders are made.

    Args:
        path: The HTML file.
        title: The title of the page.
        body: The file with its HTML.
        data: What the script draws, as JSON values; the title, the palettes and the bound of a flat map are added.
        scripts: The files of its script, after `base.js`.
        policy: As for `write`, besides the script.
    """
    script = "\n".join(part(name) for name in ("base.js", *scripts))
    palettes = [base64_of(palette(signed=signed).tobytes()) for signed in (False, True)]
    data = {"title": title, "palettes": palettes, "flat": FLAT_WITHIN, **data}
    shared = {name: part(f"{name}.html").strip() for name in _SHARED}
    fields = {"title": html.escape(title), **shared}
    frame = {"body": fill(part(body), fields), "data": _embedded(data), "script": script}
    write(path, title, fill(part("scripted.html"), frame), policy=policy + SCRIPT_POLICY)


def jpeg(picture: Image.Image) -> str:
    """Return the picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{base64_of(file.getvalue())}"


def base64_of(data: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(data).decode("ascii")


def quantized(rows: Float[np.ndarray, "n m"], steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Express each row in whole steps from its lowest to its highest value, so that it takes little space in a page.

    Args:
        rows: The values, in float64.
        steps: Number of steps between the lowest and the highest value.

    Returns:
        For each row its lowest value and the size of a step (n,), and the steps (n, m), rounded.
    """
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    size = (high - low) / steps
    return low.ravel(), size.ravel(), np.round((rows - low) / np.where(size > 0, size, 1))


def packed(values: np.ndarray) -> str:
    """Return an array's bytes, deflated, as text; `inflate` in `base.js` unpacks them."""
    return base64_of(zlib.compress(values.tobytes(), 9))


def digits(numbers: Float[np.ndarray, " n"]) -> list[float]:
    """Return numbers with nine digits, which is what a float32 has: fewer letters in a page."""
    return [float(f"{number:.9g}") for number in numbers]


def _embedded(data: Mapping[str, object]) -> str:
    """Return JSON that may stand inside a script element: no label can end the element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII only, so U+2028 is escaped as well
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
