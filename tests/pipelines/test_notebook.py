"""What a notebook shows, and figures as vector graphics: the same for the maps of every task."""

import html
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from multiattn.export.canvas import Canvas, Drawing
from multiattn.pipelines import AnswerPipeline, TranscribePipeline
from multiattn.pipelines.notebook import notebook_html
from tests.fixtures import draw, tiny_answer_bundle, tiny_speech_bundle

NASTY = '<b>"&</b>'


@pytest.fixture(scope="module")
def results(classify, caption) -> dict:
    picture = draw(3)
    answer = AnswerPipeline(tiny_answer_bundle(), device="cpu")
    transcribe = TranscribePipeline(tiny_speech_bundle(), device="cpu")
    samples = np.sin(np.arange(16000) / 9).astype(np.float32)
    return {
        "classify": classify(picture, maps="attention"),
        "caption": caption(picture, maps="attention"),
        "answer": answer(picture, "is it a fox?", maps="attention"),
        "transcribe": transcribe(samples, rate=16000, maps="attention"),
    }


class Texts(HTMLParser):
    """The texts of HTML, and its tags, which must be closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.open, self.images = [], [], 0
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "img":
            self.images += 1
        else:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("task", ["classify", "caption", "answer", "transcribe"])
def test_a_result_is_shown_with_its_maps(results, task) -> None:
    result = results[task]
    shown = Texts(result._repr_html_())
    assert shown.images == len(result.maps)
    record = result.to_dict()
    if task == "classify":
        for one in record["predictions"][:5]:
            assert one["label"] in shown.texts and f"{one['score']:.1%}" in shown.texts
    else:
        assert str(record.get("text", record.get("answer"))).strip() in shown.texts
    assert "color:inherit" in result._repr_html_()  # a dark notebook's own


def test_texts_of_others_are_no_markup() -> None:
    record = {"file": NASTY, "predictions": [{"label": NASTY, "score": -2.5}], "score_kind": "value", "remark": NASTY}
    shown = Texts(notebook_html(record, []))
    assert shown.texts.count(NASTY) == 2 and f"remark: {NASTY}" in shown.texts
    assert "-2.5" in shown.texts and "<b>&quot;" not in notebook_html(record, [])
    assert Texts(notebook_html({"file": None, "text": f" {NASTY}"}, [])).texts == [NASTY]


def text_of(pdf: bytes) -> str:
    """What the streams of a PDF draw, as far as it is told by them."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    found = b""
    for stream in streams:
        try:
            found += zlib.decompress(stream)
        except zlib.error:
            continue
    return found.decode("latin-1")


@pytest.mark.parametrize("task", ["classify", "caption", "answer", "transcribe"])
def test_figures_are_vector_graphics_with_text(results, task, tmp_path: Path) -> None:
    one = results[task].maps[0]
    one.save_svg(tmp_path / "deep" / "a.svg")
    one.save_pdf(tmp_path / "a.pdf")
    figure = one.to_figure()
    drawn = [text.get_text() for text in figure.texts]
    assert drawn
    svg = (tmp_path / "deep" / "a.svg").read_text()
    told = html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)", svg)))
    assert all(text.strip() in told for text in drawn if text.strip())
    pictures = [image for axes in figure.axes for image in axes.images]
    # below the map of each word is the same picture, which is there once
    words = sum(len(axes.artists) for axes in figure.axes)
    assert (words > 1) == (task in ("caption", "answer"))
    assert svg.count("<use ") >= len(pictures) + words > 0
    assert svg.count("<image ") == len({np.asarray(image.get_array()).tobytes() for image in pictures}) + bool(words)
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    # those with opacity have a mask beside them
    masks = pdf.count(b"/SMask")
    assert pdf.count(b"/Subtype /Image") - masks == len(pictures) + bool(words)
    assert re.search(r"\bT[jJ]\b", text_of(pdf))
    if task == "classify":  # the same bytes each time
        one.save_svg(tmp_path / "b.svg")
        one.save_pdf(tmp_path / "b.pdf")
        assert ((tmp_path / "b.svg").read_text(), (tmp_path / "b.pdf").read_bytes()) == (svg, pdf)
    assert np.asarray(one).shape == one.map.values.shape


def test_settings_of_matplotlib_are_left_as_they_were(tmp_path: Path) -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    drawing, canvas = Drawing(), Canvas(60, 40)
    canvas.write("a $b$", 3, 3, size=12.0)
    canvas.save(drawing)
    drawing.save(tmp_path / "a.svg", "svg")
    assert "a $b$" in (tmp_path / "a.svg").read_text()
    assert dict(rcParams) == before
