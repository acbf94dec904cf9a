from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.export.pictures import CASES, Salient, make_salient


@pytest.fixture(params=CASES)
def salient(request: pytest.FixtureRequest) -> Salient:
    return make_salient(request.param)


@pytest.fixture
def photo() -> Image.Image:
    """A picture with structure everywhere, 61 x 43 pixels."""
    pixels = np.random.default_rng(3).integers(0, 256, (43, 61, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def chromium() -> Path:
    path = Path("/usr/bin/chromium")
    if not path.exists():
        pytest.skip("needs /usr/bin/chromium (Debian's package `chromium`)")
    return path


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


WINDOW = {"width": 1100, "height": 900}


@pytest.fixture(scope="module")
def window(browser) -> Iterator:
    """A window that the tests of a module open their first page in: to make one takes as long as many a test."""
    context = browser.new_context(viewport=WINDOW)
    yield context.new_page()
    context.close()


@pytest.fixture
def visit(browser, window) -> Iterator[Callable]:
    """Opens a file; at the end of the test nothing may have asked the network or complained."""
    contexts, pages, asked, complaints = [], [], [], []
    listeners = {
        "request": lambda request: asked.append(request.url),
        "console": lambda message: complaints.append(message.text),
        "pageerror": lambda error: complaints.append(str(error)),
    }

    def blank():
        """The window as if it were new."""
        window.goto("about:blank")
        window.mouse.move(0, 0)
        window.set_viewport_size(WINDOW)
        window.emulate_media(media="null", color_scheme="null")
        return window

    def other(options):
        context = browser.new_context(**{"viewport": WINDOW, **options})
        contexts.append(context)
        return context.new_page()

    def open_file(path: Path, fragment: str = "", **options: object):
        page = other(options) if options or window in pages else blank()
        pages.append(page)
        for event, listener in listeners.items():
            page.on(event, listener)
        page.goto(path.as_uri() + fragment)
        page.wait_for_function("() => document.documentElement.dataset.ready !== 'no'")
        return page

    yield open_file
    if window in pages:
        for event, listener in listeners.items():
            window.remove_listener(event, listener)
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert complaints == []
