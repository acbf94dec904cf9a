"""The report of a run as a page: curves where their values are, hostile texts as texts, and a bounded size."""

import math
import re
from pathlib import Path

import pytest

from multiattn.export.line_chart import Curve, line_chart
from multiattn.export.run_report import Example, MapsOverTime, RunReport, Validation, write_run_report
from multiattn.metrics.multi_label import LabelScores

HOSTILE = "<script>alert('x')</script>\"&"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def places(svg: str, kind: str) -> list[tuple[float, float]]:
    (path,) = re.findall(rf'<path class="{kind}" d="([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) (\S+?)(?=[ML]|$)", path)]


def heights(svg: str) -> dict[float, float]:
    """The places of the values that the axis names."""
    found = re.findall(r'<text x="40" y="([\d.]+)" text-anchor="end">([^<]+)</text>', svg)
    return {float(value): float(y) - 4 for y, value in found}


def test_points_lie_at_the_values_that_the_axis_names() -> None:
    svg = line_chart([Curve("a", [(0, 3.0), (10, 1.0)]), Curve("b", [(5, 2.0), (10, 1.5)])], title="t")
    axis = heights(svg)
    assert list(axis) == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert [y for _, y in places(svg, "other")] == [axis[3.0], axis[1.0]]
    assert [y for _, y in places(svg, "main")] == [axis[2.0], axis[1.5]]
    first, last = (x for x, _ in places(svg, "other"))
    assert places(svg, "main")[0][0] == pytest.approx((first + last) / 2, abs=0.1)
    assert "b 1.5 at step 10" in svg


def test_a_loss_over_decades_has_a_logarithmic_axis() -> None:
    curve = Curve("loss", [(0, 100.0), (1, 10.0), (2, 0.1)])
    axis = heights(line_chart([curve], title="t", may_be_log=True))
    assert list(axis) == pytest.approx([0.1, 1, 10, 100])
    steps = [axis[0.1] - axis[1.0], axis[1.0] - axis[10.0], axis[10.0] - axis[100.0]]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
    assert list(heights(line_chart([curve], title="t"))) == [20, 40, 60, 80, 100]


def test_what_is_not_finite_is_a_gap_and_equal_values_are_a_line() -> None:
    svg = line_chart([Curve("a", [(0, 1.0), (1, math.nan), (2, 1.0), (3, math.inf)])], title="t")
    (path,) = re.findall(r'<path class="main" d="([^"]*)"', svg)
    assert path.count("M") == 2 and "L" not in path and "nan" not in svg and "inf" not in svg
    assert line_chart([Curve("a", [(0, math.nan)])], title="t") == ""


def full(labels: tuple[str, ...], points: int = 3) -> RunReport:
    values = {"val/loss": 0.5, "val/top1": 0.75, f"val/{HOSTILE}": 1.0}
    pairs = {(a, b): 1 + i for i, a in enumerate(labels) for b in labels}
    return RunReport(
        title=f"classify: {HOSTILE}",
        status=HOSTILE,
        train=[(i, 2.0 / (i + 1), 1e-3) for i in range(points)],
        validations=[Validation(i, i, values) for i in range(points)],
        data=[("", ["train"]), (f"  {HOSTILE}", ["7"])],
        remarks=[HOSTILE],
        labels=labels,
        pairs=pairs,
        examples=[Example(HOSTILE, HOSTILE, [HOSTILE], HOSTILE * 1000, PIXEL)],
        maps=[MapsOverTime(HOSTILE, [(HOSTILE, PIXEL)])],
        commands=[(0, f"multiattn fit {HOSTILE}"), (11, "multiattn fit again")],
        facts=[("device", HOSTILE)],
    )


def test_texts_of_the_data_stay_texts_and_the_page_asks_for_nothing(tmp_path: Path) -> None:
    write_run_report(tmp_path / "r.html", full((HOSTILE, "b")))
    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page and page.count("&lt;script&gt;") > 15
    assert "default-src 'none'" in page and not re.search(r"(src|href)=\"(?!data:)", page) and "@import" not in page
    assert "resumed at step 11" in page
    write_run_report(tmp_path / "e.html", RunReport("t", "Running"))
    assert "<section" not in (tmp_path / "e.html").read_text()


def test_right_texts_have_a_line_each_and_what_is_nearly_nothing_is_nothing(tmp_path: Path) -> None:
    captions = [f"caption {i}" for i in range(7)]
    report = RunReport(
        "t",
        "Running",
        validations=[Validation(step, step, {"val/bleu4": value}) for step, value in ((1, 2.5e-13), (2, 0.0))],
        examples=[Example("a.jpg", "caption 3", captions), Example("b.jpg", "", [""])],
        by_label={
            "cat": LabelScores(9, 0.5, 0.75, 0.5, 6, 1, 3, 7),
            "eel": LabelScores(0, None, None, None, 0, 2, 0, 15),
            "dog": LabelScores(4, 0.25, 0.125, 0.5, 1, 11, 3, 2),
        },
    )
    write_run_report(tmp_path / "r.html", report)
    page = (tmp_path / "r.html").read_text()
    assert "caption 0<br>caption 1<br>caption 2<br>caption 3<br>caption 4<br>and 2 more" in page
    assert "✓ caption 3" in page and '✓ (nothing)</strong></p><p class="soft">(nothing)' in page
    assert "e-13" not in page
    # the lowest F1 first, and last a label that no item has
    rows = re.findall(r'<th scope="row">(\w+)</th>((?:<td>[^<]*</td>)+)', page)
    cells = {name: re.findall(r"<td>([^<]*)</td>", row) for name, row in rows if name in report.by_label}
    assert list(cells) == ["dog", "cat", "eel"]
    assert cells["cat"] == ["9", "6", "3", "1", "7", "0.750", "0.500"]
    assert cells["eel"] == ["0", "0", "0", "2", "15", "", ""]


def test_the_size_is_bounded(tmp_path: Path) -> None:
    write_run_report(tmp_path / "r.html", full(tuple(f"class {i}" for i in range(300)), points=5000))
    assert (tmp_path / "r.html").stat().st_size < 150_000
    page = (tmp_path / "r.html").read_text()
    assert page.count("<td>300 of 90000</td>") == 20  # the most frequent mistakes instead of the matrix


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(visit, tmp_path: Path, width: int, scheme: str) -> None:
    write_run_report(tmp_path / "r.html", full(tuple(f"a long name of class {i}" for i in range(19))))
    page = visit(tmp_path / "r.html", viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("svg.chart").count() == 4
    line, paper = page.evaluate(
        "['path.main', 'body'].map(one => getComputedStyle(document.querySelector(one)))"
        ".map((style, i) => i ? style.backgroundColor : style.stroke)"
    )
    assert (line, paper) == {
        "light": ("rgb(168, 50, 94)", "rgb(246, 245, 242)"),
        "dark": ("rgb(240, 138, 93)", "rgb(20, 21, 26)"),
    }[scheme]
