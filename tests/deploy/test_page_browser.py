"""The page as its users have it: in Chromium, with a real server and the shipped models."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import multiattn
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import chosen, shipped_choices
from tests.deploy.browsing import (
    CHROMIUM,
    ask,
    choose_task,
    chromium,
    drop,
    example,
    finished,
    flags,
    problem,
    visiting,
)
from tests.deploy.running import served
from tests.deploy.serving import INPUTS

pytestmark = pytest.mark.browser

MODELS = INPUTS.parent / "models"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(shipped_choices(()), Settings(device="cpu", drain=5.0)) as (found, _):
        yield found


def saved(page: Any, path: Path) -> dict[str, Any]:
    """Save the result as a file; return the data in it."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this page").click()
    download.value.save_as(path)
    (found,) = re.findall(r'<script type="application/json" id="data">([^<]*)</script>', path.read_text())
    return dict(json.loads(found))


def origin(page: Any) -> str:
    return str(page.locator("#origin").text_content())


def pixels(page: Any) -> str:
    return str(page.locator("#map").evaluate("(canvas) => canvas.toDataURL()"))


def test_labels_by_keyboard_alone_with_the_map_of_each(browser: Any, address: str, tmp_path: Path) -> None:
    expected = multiattn.load("classify", device="cpu")(INPUTS / "frog.png", maps="lrp")
    with visiting(browser, address) as page:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.example") == "frog.png":
                break
        page.keyboard.press("Enter")
        finished(page)
        assert page.locator(".said-best").text_content() == f"{expected.label} {expected.score:.1%}".replace("%", " %")
        assert page.locator("#status").text_content() == f"{expected.label}, {expected.score:.1%}".replace("%", " %")
        first = pixels(page)
        assert origin(page).startswith(f"for “{expected.label}”")
        page.locator("input[name=label]:checked").focus()
        page.keyboard.press("ArrowDown")
        assert origin(page).startswith(f"for “{expected.predictions[1].label}”") and pixels(page) != first
        data = saved(page, tmp_path / "frog.html")
        assert data["title"] == data["pictures"][0]["name"] == "frog.png"
        assert "verdicts" in data["pictures"][0]["views"][0]["texts"][0]["maps"][0]
        assert re.match("strong|weak|no better than chance", str(page.locator("#verdict-line").text_content()))


@pytest.mark.slow
def test_questions_in_a_row_and_the_page_that_is_kept(browser: Any, address: str, tmp_path: Path) -> None:
    with visiting(browser, address) as page:
        choose_task(page, "answer")
        example(page, "scene.png")
        ask(page, "Is there a blue square?")
        assert page.locator("#asked label").all_text_contents() == [
            "What color is the large circle? red",
            "Is there a blue square? yes",
        ]
        # a word of the question has a map of its own
        before = pixels(page)
        page.locator("#words label", has_text="square").hover()
        assert origin(page).startswith("for “square”") and pixels(page) != before
        page.locator("#asked label").first.click()
        assert str(page.locator("#words").text_content()).startswith("QuestionWhat color")
        views = saved(page, tmp_path / "scene.html")["pictures"][0]["views"]
        assert len(views) == 2
    page = browser.new_page()
    page.goto((tmp_path / "scene.html").as_uri() + "#question=2")
    page.wait_for_function("() => document.documentElement.dataset.ready === 'yes'")
    assert page.title() == "scene.png" and page.locator("#asked input:checked").get_attribute("value") == "1"
    page.close()


@pytest.mark.slow
def test_words_of_a_recording_light_up_as_it_plays(browser: Any, address: str) -> None:
    with visiting(browser, address) as page:
        choose_task(page, "transcribe")
        example(page, "digits.flac")
        words = page.locator("#transcript .word")
        assert words.all_text_contents() == "three one four one five nine two six".split()
        words.nth(2).click()
        page.wait_for_selector("#transcript .word.lit")
        assert page.locator("#transcript .word.lit").text_content() == "four"
        assert (
            page.locator("#transcript .word.lit").evaluate("(one) => getComputedStyle(one).backgroundColor")
            != "rgba(0, 0, 0, 0)"
        )
        # another result takes its place, and the first is silent
        choose_task(page, "classify")
        assert page.locator("#sound").count() == 0


@pytest.mark.slow
def test_errors_are_sentences_and_files_find_their_task(browser: Any, address: str) -> None:
    with visiting(browser, address, complaint="status of 4") as page:
        drop(page, "<b>notes</b>.png", b"no picture at all", "image/png")
        heading, text = problem(page)
        assert heading == "The server cannot read such a file"
        assert text.startswith("<b>notes</b>.png must be a picture") and text.endswith("Is it the right file?")
        assert not page.locator("#thumb").is_visible()
        drop(page, "truck.png", (INPUTS / "truck.png").read_bytes(), "image/png", event="paste")
        finished(page)
        assert str(page.locator(".said-best").text_content()).startswith("truck")
        # a recording is not for this task: it goes to the one that it is for
        drop(page, "digits.flac", (INPUTS / "digits.flac").read_bytes(), "audio/flac")
        finished(page)
        assert page.locator("#tasks input:checked").get_attribute("value") == "transcribe"
        page.route(
            "**/v1/audio/*",
            lambda route: route.fulfill(status=429, headers={"Retry-After": "7"}, json={"detail": "the queue is full"}),
        )
        page.locator("#checking").click()
        assert problem(page) == ["The server is busy", "The queue is full"]
        assert "in 7 s or later" in page.locator(".problem .tools").inner_text()
        page.unroute("**/v1/audio/*")
        page.get_by_role("button", name="Try again").click()
        finished(page)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_a_screen_reader(browser: Any, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(page: Any) -> None:
        found = axe.run(page).response["violations"]
        grave = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert grave == []

    with visiting(browser, address, color_scheme=scheme, reduced_motion="reduce") as page:
        check(page)
        page.get_by_role("link", name="API").focus()
        for task in ("classify", "caption", "answer", "match", "transcribe"):
            choose_task(page, task)
            if page.locator("#another").is_visible():
                page.locator("#another").click()
            page.locator("#examples button").first.click()
            finished(page)
            for fold in page.locator(".fold > summary").all():
                fold.click()
            check(page)
        page.locator("#another").click()
        page.locator("#microphone").click()
        page.wait_for_selector("#microphone-dialog[open]")
        check(page)


@pytest.mark.slow
def test_labels_of_ones_own(browser: Any, address: str) -> None:
    texts = ["a truck on a road", "a green frog", "a dog in the snow"]
    expected = multiattn.load("match", device="cpu")(INPUTS / "truck.png", texts).matches[0]
    with visiting(browser, address, query="?task=match") as page:
        drop(page, "truck.png", (INPUTS / "truck.png").read_bytes(), "image/png")
        page.fill("#labels", "\n".join([*texts, "", "  "]))
        page.locator("#labels").press("Control+Enter")
        finished(page)
        assert str(page.locator(".said-best").text_content()) == f"{expected.text} {100 * expected.score:.1f} %"
        assert page.locator("#predictions li").count() == 3
        page.locator(".more").click()
        page.wait_for_function("() => document.querySelectorAll('#methods label').length > 3")
        assert page.locator(".more").count() == 0


@pytest.mark.slow
def test_a_picture_by_the_camera(browser: Any, address: str) -> None:
    with visiting(browser, address) as page:
        page.locator("#camera").click()
        page.locator("#camera-close").click()
        assert page.locator("#drop").is_visible()
        page.locator("#camera").click()
        page.wait_for_function("() => document.querySelector('#viewfinder').videoWidth > 0")
        page.locator("#take").click()
        finished(page)
        assert page.locator("#given-name").text_content() == "camera.jpg"
        assert page.locator("#viewfinder").evaluate("(video) => video.srcObject") is None
        page.evaluate(
            """() => {
              navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
            }"""
        )
        page.locator("#another").click()
        page.locator("#camera").click()
        assert problem(page)[0] == "The camera cannot be used"


@pytest.mark.slow
def test_what_the_microphone_hears_is_written_down(browser: Any, address: str, tmp_path: Path) -> None:
    samples, rate = soundfile.read(INPUTS / "digits.flac", dtype="float32")
    padded = np.concatenate([np.zeros(rate // 2), samples, np.zeros(3 * rate)])
    soundfile.write(tmp_path / "digits.wav", padded, rate, subtype="PCM_16")
    hearing = browser.browser_type.launch(executable_path=str(CHROMIUM), args=flags(tmp_path / "digits.wav"))
    with visiting(hearing, address, query="?task=transcribe") as page:
        page.locator("#microphone").click()
        page.wait_for_function("() => parseFloat(document.querySelector('#level').style.width) > 20")
        page.wait_for_function("() => document.querySelector('#recorded').textContent >= '0:08'")
        # words show while it records, the first of them settled
        assert str(page.locator("#live").text_content()).split()[:3] == ["three", "one", "four"]
        page.locator("#stop").click()
        finished(page)
        words = page.locator("#transcript .word").all_text_contents()
        # the browser's microphone resamples and sets the level: a word may be another
        assert words[:5] + words[-2:] == "three one four one five two six".split()
    hearing.close()


@pytest.mark.slow
def test_a_key_that_no_websocket_takes_does_not_end_a_recording(browser: Any, address: str) -> None:
    with visiting(browser, address) as page:
        page.evaluate("async () => (await import('/page/api.js')).keepKey('a=b')")
        page.evaluate("async () => (await import('/page/live.js')).liveWords(document.body, 16000).hear([0])")


@pytest.mark.slow
def test_what_is_not_served_cannot_be_chosen(browser: Any) -> None:
    with (
        served(shipped_choices(["transcribe"]), Settings(device="cpu")) as (address, _),
        visiting(browser, address) as page,
    ):
        assert page.locator("#tasks input:checked").get_attribute("value") == "transcribe"
        assert page.locator("#tasks input:disabled").count() == 4
        assert page.locator("#tasks label").first.get_attribute("title") == "Not served here"
        drop(page, "frog.png", b"", "image/png")
        assert problem(page)[1] == "No model here reads frog.png: it is a picture."


@pytest.mark.slow
def test_a_key_is_asked_for(browser: Any) -> None:
    settings = Settings(device="cpu", api_keys=("right",))
    with (
        served(shipped_choices(["classify"]), settings) as (address, _),
        visiting(browser, address, complaint="status of 401") as page,
    ):
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('#key-text').textContent.includes('does not know')")
        page.locator("#key-dialog button[value=cancel]").click()
        assert problem(page)[0] == "This server asks for a key"
        page.get_by_role("button", name="Enter a key").click()
        page.fill("#key", "right")
        page.keyboard.press("Enter")
        example(page, "ship.png")
        page.reload()
        example(page, "frog.png")  # the tab keeps the key


@pytest.mark.slow
def test_a_request_can_be_stopped_and_a_lost_server_is_told(browser: Any, address: str) -> None:
    with visiting(browser, address, complaint="net::ERR") as page:
        page.route("**/v1/classify", lambda route: None)  # never answered
        page.locator("[data-example='frog.png']").click()
        page.wait_for_selector(".waiting img")
        page.get_by_role("button", name="Stop").click()
        assert problem(page) == ["Stopped"]
        page.unroute("**/v1/classify")
        page.get_by_role("button", name="Start again").click()
        finished(page)
        page.route("**/v1/classify", lambda route: route.abort())
        page.locator("#checking").click()
        assert problem(page)[0] == "The server cannot be reached"


@pytest.mark.slow
def test_a_result_is_shared_as_the_file_that_is_saved(browser: Any, address: str, tmp_path: Path) -> None:
    share = """navigator.canShare = () => true;
      navigator.share = async ({ files: [file] }) => { window.shared = [file.name, file.type, await file.text()]; };"""
    with visiting(browser, address, script=share) as page:
        example(page, "frog.png")
        page.get_by_role("button", name="Share").click()
        name, kind, text = page.wait_for_function("() => window.shared").json_value()
        saved(page, tmp_path / "frog.html")
        assert (name, kind, text) == ("frog.html", "text/html", (tmp_path / "frog.html").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classify", "caption", "answer", "match", "transcribe"])
def test_a_phone_shows_all_without_moving_sideways(browser: Any, address: str, task: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
    with visiting(browser, address, query=f"?task={task}", **phone) as page:
        narrow = "document.documentElement.scrollWidth <= innerWidth"
        assert page.evaluate(narrow)
        page.locator("#examples button").first.tap()
        finished(page)
        assert page.evaluate(narrow)
        small = page.evaluate(
            """() => Array.from(document.querySelectorAll(".served button:not(.word), .tasks label, .button"))
              .map((one) => [one.textContent, one.getBoundingClientRect()])
              .filter(([, { width, height }]) => width && (height < 24 || width < 24)).map(([text]) => text)"""
        )
        assert small == []


@pytest.mark.slow
def test_a_recording_of_hours_comes_as_text(browser: Any, address: str) -> None:
    script = "Object.defineProperty(HTMLMediaElement.prototype, 'duration', { get: () => 7200 })"
    with visiting(browser, address, query="?task=transcribe", script=script) as page:
        page.locator("[data-example='digits.flac']").click()
        page.wait_for_selector(".plain")
        assert str(page.locator(".written").text_content()).strip() == "three one four one five nine two six"


@pytest.mark.slow
def test_one_of_several_models_is_chosen(browser: Any) -> None:
    models = [*shipped_choices(["classify"]), chosen(f"other={MODELS / 'classify'}")]
    with served(models, Settings(device="cpu")) as (address, engine), visiting(browser, address) as page:
        assert page.locator("#model option").all_text_contents() == ["classify", "other"]
        page.select_option("#model", "other")
        example(page, "ship.png")
        assert {one.name for one in engine.served() if one.is_loaded} == {"other"}
        # nobody who goes by the keyboard is sent back to the top of the page
        assert page.evaluate("document.activeElement.id") == "result"
