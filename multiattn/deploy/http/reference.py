"""The page that describes the addresses, at /docs: made of the OpenAPI description, without a script."""

import html
import json
import re
from typing import Any

from fastapi import APIRouter, Request, Response

router = APIRouter()

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .75rem; background: #8882; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
code { font-size: .9em; }
"""


@router.get("/docs", include_in_schema=False)
async def reference(request: Request) -> Response:
    """Describe the addresses."""
    described = request.app.openapi()
    base = str(request.base_url).rstrip("/")
    parts = [
        _operation(path, method, operation, base)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    links = " · ".join(f'<a href="#{_anchor(path)}">{_text(path)}</a>' for path in described["paths"])
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>multiattn: the addresses</title><style>{_STYLE}</style></head><body><main><h1>multiattn</h1>"
        f'<p>{_text(described["info"]["description"])} For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<nav>{links}</nav>{''.join(parts)}</main></body></html>"
    )
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _operation(path: str, method: str, operation: dict[str, Any], base: str) -> str:
    parts = [f'<section id="{_anchor(path)}"><h2><code>{method.upper()} {_text(path)}</code></h2>']
    parts += [f"<p>{_prose(operation.get('description') or operation.get('summary', ''))}</p>"]
    content = operation.get("requestBody", {}).get("content", {})
    if form := content.get("multipart/form-data", {}).get("schema"):
        parts += [_table(form), f"<pre>{_text(_curl(base + path, form, content))}</pre>"]
    for status, response in sorted(operation.get("responses", {}).items()):
        for media_type, held in response.get("content", {}).items():
            if status == "200" and "example" in held:
                parts += [f"<p>The answer, <code>{_text(media_type)}</code>:</p>", _json(held["example"])]
    errors = [(status, one) for status, one in sorted(operation.get("responses", {}).items()) if status >= "400"]
    if errors:
        rows = "".join(f"<tr><td>{_text(code)}<td>{_text(one.get('description', ''))}" for code, one in errors)
        parts += [f"<details><summary>Errors</summary><table>{rows}</table></details>"]
    return "".join([*parts, "</section>"])


def _table(schema: dict[str, Any]) -> str:
    needed = schema.get("required", [])
    rows = [
        f"<tr><td><code>{_text(name)}</code><td>{_text(_kind(one))}<td>{'needed: ' if name in needed else ''}"
        f"{_prose(one.get('description', ''))}"
        for name, one in schema["properties"].items()
    ]
    return f"<table><tr><th>field<th>type<th>meaning{''.join(rows)}</table>"


def _kind(one: dict[str, Any]) -> str:
    if "anyOf" in one:
        return " or ".join(_kind(part) for part in one["anyOf"] if part.get("type") != "null")
    if "enum" in one:
        return ", ".join(map(str, one["enum"]))
    if one.get("type") == "array":
        return f"list of {_kind(one.get('items', {}))}"
    if "contentMediaType" in one:
        return "file"
    names = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    kind = names.get(one.get("type", ""), str(one.get("type", "")))
    low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum", one.get("exclusiveMaximum"))
    ends = [f"{word} {end:.20g}" for word, end in (("from", low), ("to", high)) if end is not None]
    return " ".join([kind, *ends])


def _curl(url: str, form: dict[str, Any], content: dict[str, Any]) -> str:
    example = content.get("application/json", {}).get("example", {})
    fields = [("file", "@FILE")] if "file" in form.get("required", []) else []
    for name, value in example.items():
        if name != "file":
            fields += [(name, str(one)) for one in (value if isinstance(value, list) else [value])]
    return " \\\n  ".join([f"curl {url}", *(f"-F {name}='{value}'" for name, value in fields)])


def _json(value: object) -> str:
    return f"<pre>{_text(json.dumps(value, indent=2))}</pre>"


def _text(text: str) -> str:
    return html.escape(str(text))


def _prose(text: str) -> str:
    """Return text in which `this` is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", _text(text))


def _anchor(path: str) -> str:
    return html.escape(path.strip("/").replace("/", "-") or "page", quote=True)
