"""The page at / and its files, without a browser."""

import re
from collections.abc import Iterator

import httpx
import pytest

from multiattn.export.audio_page import SCRIPTS as RECORDING
from multiattn.export.html import part
from multiattn.export.page import SCRIPTS as PICTURE
from tests.deploy.serving import INPUTS, serving


@pytest.fixture(scope="module")
def site() -> Iterator[httpx.Client]:
    """A client of a server that asks for a key, and does not have it."""
    with serving("classify", api_keys=("secret",)) as found:
        yield found


def files(site: httpx.Client) -> dict[str, str]:
    """The page and every file that it, or one of its modules, names."""
    found, waiting = {}, ["page.html"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        answer = site.get("/" if name == "page.html" else f"/page/{name}")
        assert answer.status_code == 200, name
        found[name] = answer.text
        waiting += re.findall(r'(?:from|import\() ?["`]\./([\w.]+)["`]', answer.text)
        waiting += re.findall(r'"page/([\w.]+)"', answer.text)
    return found


def test_the_page_needs_no_key_and_names_only_files_that_are_there(site: httpx.Client) -> None:
    assert site.get("/v1/models").status_code == 401
    found = files(site)
    assert {"app.js", "api.js", "viewer.js", "page.css", "capture.js"} <= set(found)
    for name, text in found.items():
        assert not re.search(r"https?://|//cdn", text), name


def test_no_script_or_style_stands_in_the_page(site: httpx.Client) -> None:
    answer = site.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(one.split(" ", 1) for one in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)|javascript:", answer.text)


@pytest.mark.parametrize(("name", "scripts"), [("picture", PICTURE), ("recording", RECORDING)])
def test_maps_are_drawn_by_the_scripts_of_the_pages_of_maps(site: httpx.Client, name: str, scripts: tuple[str]) -> None:
    module = site.get(f"/page/{name}.js").text
    for script in ("base.js", *scripts):
        assert part(script) in module
    assert part("page.css") in site.get("/page/page.css").text


def test_a_file_that_has_not_changed_is_not_sent_again(site: httpx.Client) -> None:
    tag = site.get("/page/app.js").headers["etag"]
    again = site.get("/page/app.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert site.get("/page/api.js", headers={"If-None-Match": tag}).status_code == 200


def test_every_example_is_there(site: httpx.Client) -> None:
    named = re.findall(r'"([\w]+\.(?:png|flac))"', site.get("/page/tasks.js").text)
    assert len(named) > 10
    for name in named:
        assert site.get(f"/page/examples/{name}").content == (INPUTS / name).read_bytes()


@pytest.mark.parametrize(
    "name", ["", "nothing.js", "examples/", "../page.py", "%2e%2e/page.py", "examples/..%2fpage.html"]
)
def test_nothing_else_is_given_out(site: httpx.Client, name: str) -> None:
    assert site.get(f"/page/{name}").status_code == 404
