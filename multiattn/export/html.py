"""What every page is put together from: its files, its pictures as text, a shell that asks the network for nothing."""

import base64
import html
import io
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image


def part(name: str) -> str:
    """A file of a page, as it lies beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Put each field into its place `{{name}}`, in one pass: what a field holds is not looked through again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: fields[place[1]], template)


def write(path: str | Path, title: str, body: str, *, scripts: str = "") -> None:
    """Write a page; `scripts` is what its security policy says of them, by default that there may be none."""
    fields = {"title": html.escape(title), "style": part("page.css"), "body": body, "scripts": scripts}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(fill(part("shell.html"), fields), encoding="utf-8")


def jpeg(picture: Image.Image) -> str:
    """The picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{base64_of(file.getvalue())}"


def base64_of(data: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(data).decode("ascii")


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no label can end the element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII only, so U+2028 is escaped as well
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
