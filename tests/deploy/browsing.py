"""The page in Chromium, with a camera and a microphone that are not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
WINDOW = {"width": 1200, "height": 900}


def flags(sound: Path | None = None) -> list[str]:
    """How the browser is started; its microphone hears a recording where one is given."""
    found = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    return found + ([] if sound is None else [f"--use-file-for-fake-audio-capture={sound}%noloop"])


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser."""
    if not CHROMIUM.exists():
        pytest.skip("needs /usr/bin/chromium (Debian's package `chromium`)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=str(CHROMIUM), args=flags())
        yield browser
        browser.close()


@contextmanager
def visiting(
    browser: Any, address: str, *, query: str = "", complaint: str = "", script: str = "", **options: Any
) -> Iterator[Any]:
    """Open the page; in the end it must have asked its own server only, and the browser must not have complained.

    Args:
        browser: A browser.
        address: The server's.
        query: The part of the page's address after that.
        complaint: What the browser may complain of: it does so of every answer that is an error.
        script: What runs before the page.
        options: Of the window.
    """
    context = browser.new_context(**{"viewport": WINDOW, "accept_downloads": True, **options})
    asked: list[str] = []
    complaints: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(script)
    page.goto(f"{address}/{query}")
    page.wait_for_selector("#examples button, dialog[open], .problem")
    try:
        yield page
    finally:
        context.close()
    elsewhere = [url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))]
    assert elsewhere == [], elsewhere
    unexpected = [text for text in complaints if not complaint or complaint not in text]
    assert unexpected == [], unexpected


def choose_task(page: Any, task: str) -> None:
    page.locator(f"#tasks input[value={task}]").check(force=True)


def example(page: Any, name: str) -> None:
    """Give an example and wait for the result."""
    page.locator(f"[data-example='{name}']").click()
    finished(page)


def finished(page: Any) -> None:
    """Wait for a result with maps, whose scripts have drawn them."""
    page.wait_for_selector("#result .keeping")
    page.wait_for_function("() => document.documentElement.dataset.ready !== 'no'")


def ask(page: Any, question: str) -> None:
    page.fill("#question", question)
    page.locator("#question").press("Enter")
    is_shown = "(text) => document.querySelector('#words')?.textContent.includes(text)"
    page.wait_for_function(is_shown, arg=question.rstrip("?"))
    finished(page)


def drop(page: Any, name: str, data: bytes, kind: str, *, event: str = "drop") -> None:
    """Drop or paste a file."""
    page.evaluate(
        """([name, bytes, type, event]) => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], name, { type }));
          const options = { bubbles: true, cancelable: true };
          const made = event === "drop" ? new DragEvent(event, { ...options, dataTransfer: files })
            : new ClipboardEvent(event, { ...options, clipboardData: files });
          document.body.dispatchEvent(made);
        }""",
        [name, list(data), kind, event],
    )


def problem(page: Any) -> list[str]:
    """Wait for an error; return its heading and sentence."""
    page.wait_for_selector(".problem")
    assert page.locator(".problem").get_attribute("role") == "alert"
    return page.locator(".problem h2, .problem > p").all_text_contents()
