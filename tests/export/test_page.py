import base64
import dataclasses
import html
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from multiattn.export import IndexEntry, PagePicture, write_index, write_page
from multiattn.export.html import part
from multiattn.maps.attention_map import AttentionMap, Axis
from tests.export.pictures import picture_map, time_map, whole

NASTY = "</script><!--<script>alert(1)</script> & \"quotes\" 'more' {{data}} {{style}} \u2028 ünï"


def page_picture(picture: Image.Image, **fields: object) -> PagePicture:
    facts: dict = {
        "name": "cat.jpg",
        "predictions": [("tabby cat", 0.7), ("lynx", 0.2)],
        "maps": [picture_map(np.eye(5, 7), whole(picture))],
    }
    return PagePicture(picture=picture, **{**facts, **fields})


def stack(picture: Image.Image, values: np.ndarray) -> AttentionMap:
    """Axes (layer, head, y, x)."""
    return AttentionMap(
        values=values.astype(np.float32),
        axes=(Axis("layer", "index"), Axis("head", "index"), Axis("y", "patch"), Axis("x", "patch")),
        method="attention",
        sites=tuple(f"blocks.{i}.self" for i in range(len(values))),
        heads=None,
        geometry=whole(picture),
        target=None,
    )


class Elements(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and self.lasttag == "script":
            self.scripts[-1] += data


def data_of(path) -> dict:
    """What a page knows."""
    return json.loads(Elements(path.read_text(encoding="utf-8")).scripts[0])


def picture_of(path) -> dict:
    """The first picture of a page."""
    return data_of(path)["pictures"][0]


def view_of(path) -> dict:
    """What a page shows of its first picture."""
    (view,) = picture_of(path)["views"]
    return view


def test_nothing_in_the_data_can_leave_its_place(tmp_path, photo):
    path = tmp_path / "page.html"
    nasty_map = dataclasses.replace(picture_map(np.eye(5), whole(photo)), method=NASTY, note=NASTY, target=NASTY)
    write_page(
        path, pictures=[page_picture(photo, name=NASTY, predictions=[(NASTY, 1.0)], maps=[nasty_map])], title=NASTY
    )
    text = path.read_text(encoding="utf-8")
    seen = Elements(text)
    assert [attributes.get("type") for tag, attributes in seen.elements if tag == "script"] == [
        "application/json",
        None,
    ]
    data = json.loads(seen.scripts[0])
    (picture,) = data["pictures"]
    (view,) = picture["views"]
    assert data["title"] == picture["name"] == view["predictions"][0][0] == NASTY
    assert view["texts"][0]["maps"][0]["note"] == NASTY
    assert f"<title>{html.escape(NASTY)}</title>" in text
    assert "alert(1)</script>" not in text


def test_page_needs_nothing_but_itself(tmp_path, photo):
    write_page(tmp_path / "new" / "page.html", pictures=[page_picture(photo)], title="Cats")
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "://" not in text and "@import" not in text
    references = [
        value
        for _, attributes in Elements(text).elements
        for name, value in attributes.items()
        if name in ("src", "href") and value and not value.startswith("data:")
    ]
    assert references == []
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'; img-src data:;", text)
    assert "{{" not in text.replace("${{", "")


def test_values_come_back_to_a_part_of_their_range(tmp_path, photo):
    values = np.random.default_rng(17).random((2, 3, 5, 7)) * np.array([1e-6, 1.0, 1e3]).reshape(1, 3, 1, 1)
    maps = [
        stack(photo, values),
        picture_map(np.full((5, 7), 0.25), whole(photo)),
        picture_map(values[0, 0], whole(photo), method="rollout"),
    ]
    write_page(tmp_path / "page.html", pictures=[page_picture(photo, maps=maps)], title="Cats")
    stored, flat, one = view_of(tmp_path / "page.html")["texts"][0]["maps"]

    def unpack(stored):
        steps = np.frombuffer(zlib.decompress(base64.b64decode(stored["steps"])), dtype=f"<u{stored['bits'] // 8}")
        low, step = (np.array(stored[name])[:, None] for name in ("low", "step"))
        return low + steps.reshape(len(low), -1) * step

    assert (stored["rows"], stored["columns"], stored["heads"], len(stored["layers"])) == (5, 7, 3, 2)
    ranges = values.reshape(6, 35).max(axis=1, keepdims=True)
    assert (np.abs(unpack(stored) - values.reshape(6, 35)) < ranges / 500).all()
    assert (np.abs(unpack(one) - values[0, 0].reshape(1, 35)) < 1e-5 * ranges[0]).all()
    np.testing.assert_array_equal(unpack(flat), np.full((1, 35), 0.25))
    assert flat["layers"] is None


def test_maps_are_named_by_method_and_by_target_where_a_method_comes_twice(tmp_path, photo):
    maps = [
        picture_map(np.eye(5), whole(photo), method="gradient_x_input", target="cat"),
        picture_map(np.eye(5), whole(photo), method="relevance", target="cat"),
        picture_map(np.eye(5), whole(photo), method="relevance", target="dog"),
        picture_map(np.eye(5), whole(photo), method="attention", heads=(2, 3)),
        stack(photo, np.ones((2, 3, 5, 7))),
    ]
    write_page(tmp_path / "page.html", pictures=[page_picture(photo, maps=maps)], title="Cats")
    stored = view_of(tmp_path / "page.html")["texts"][0]["maps"]
    names = ["gradient × input", "relevance: cat", "relevance: dog", "attention", "layer and head"]
    assert [one["name"] for one in stored] == names
    assert [one["meaning"] for one in stored[2:4]] == ["relevance per patch", "attention weight per patch"]
    assert stored[3]["origin"] == "blocks.0.self to blocks.1.self · heads 2, 3"
    assert stored[4]["layers"] == ["layer 0", "layer 1"]


def test_large_pictures_are_scaled_down_and_the_box_is_in_shares(tmp_path):
    picture = Image.new("RGB", (2404, 1202))
    write_page(tmp_path / "page.html", pictures=[page_picture(picture)], title="Cats")
    stored = picture_of(tmp_path / "page.html")
    assert (stored["width"], stored["height"]) == (1200, 600)
    assert stored["views"][0]["texts"][0]["maps"][0]["box"] == [0, 0, 1, 1]
    assert stored["src"].startswith("data:image/jpeg;base64,")


def test_wrong_fields_are_named(tmp_path, photo):
    with pytest.raises(ValueError, match=r"`pictures` must be at least one picture, but is \[\] instead."):
        write_page(tmp_path / "page.html", pictures=[], title="Cats")
    with pytest.raises(ValueError, match=r"`maps` must be at least one map, but is \[\] instead."):
        page_picture(photo, maps=[])
    with pytest.raises(ValueError, match="`geometry` of the map must say where it lies"):
        page_picture(photo, maps=[picture_map(np.eye(5), None)])
    with pytest.raises(ValueError, match=r"`maps` must have the axes .* but have \('token', 'time'\) instead."):
        page_picture(photo, maps=[time_map()])
    for score in (1.2, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"`score` of 'cat' must be between 0 and 1, but is {score} instead."):
            page_picture(photo, predictions=[("cat", score)])
        with pytest.raises(ValueError, match="`score` of 'cat' must be between 0 and 1"):
            IndexEntry(photo, "cat.jpg", "cat.html", "cat", score, picture_map(np.eye(5), whole(photo)))


def test_index_links_a_page_for_each_picture(tmp_path, photo):
    attention_map = picture_map(np.eye(5), whole(photo))
    entries = [
        IndexEntry(photo, "cat.jpg", "cat.html", "tabby", 0.713, attention_map),
        IndexEntry(photo, NASTY, 'a "b".html', NASTY, 1.0, attention_map),
    ]
    write_index(tmp_path / "new" / "index.html", entries, title=NASTY)
    text = (tmp_path / "new" / "index.html").read_text(encoding="utf-8")
    elements = Elements(text).elements
    assert [attributes["href"] for tag, attributes in elements if tag == "a"] == ["cat.html", 'a "b".html']
    assert "2 pictures" in text and "<span>71%</span>" in text
    assert [one.strip() for one in Elements(text).scripts] == [part("index.js").strip()]  # no name has made another
    policy = next(attributes["content"] for _, attributes in elements if "http-equiv" in attributes)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    images = [attributes for tag, attributes in elements if tag == "img"]
    assert len(images) == 4
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert [image["alt"] for image in images] == [
        "cat.jpg with the map over it",
        "",
        f"{NASTY} with the map over it",
        "",
    ]
