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


@pytest.fixture
def visit(browser) -> Iterator[Callable]:
    """Opens a file; at the end of the test nothing may have asked the network or complained."""
    contexts, asked, complaints = [], [], []

    def open_file(path: Path, fragment: str = "", **options: object):
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri() + fragment)
        page.wait_for_function("() => document.documentElement.dataset.ready !== 'no'")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert complaints == []
