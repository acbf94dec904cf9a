"""A download from the Hugging Face Hub with limits: of time, of attempts, and of what is written to standard error."""

import hashlib
import logging
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .hub_errors import BREAKS

SECONDS = 10.0
"""The longest time that the Hub may take for the next part of an answer, unless HF_HUB_DOWNLOAD_TIMEOUT says more."""

ATTEMPTS = 8
"""The most requests for one file: a connection that breaks off each time is given up."""

_one_at_a_time = threading.Lock()  # the library has one client for all


def download(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """Download a model into the local cache, unless it is there; return its directory.

    Args:
        name: The hub id.
        revision: Branch, tag or commit; None for the main branch.
        files: The names of the files that are wanted.

    Raises:
        Exception: Of many types: those of the library, of its HTTP library and of the system.
    """
    # half a second, which a local model need not pay
    from huggingface_hub import constants, snapshot_download

    with ExitStack() as stack:
        stack.enter_context(_one_at_a_time)
        stack.enter_context(_limits())
        if not sys.stderr.isatty():
            stack.enter_context(_silence())
        blobs = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
        before = {file.name for file in blobs.glob("*")}
        directory = Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
        _verify(directory, before)
        return directory


@contextmanager
def _limits() -> Iterator[None]:
    """Let requests end that the library would wait for without end (versions from 1.0 on)."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    plain = getattr(_http, "default_client_factory", None)
    if plain is None or _http._GLOBAL_CLIENT_FACTORY is not plain:  # a program's own client has its own limits
        yield
        return
    attempts = Counter[str]()

    def count(request: Any) -> None:
        attempts[f"{request.method} {request.url}"] += 1
        if attempts[f"{request.method} {request.url}"] > ATTEMPTS:
            raise OSError(BREAKS)
        given = request.extensions.get("timeout", {})
        longest = max(SECONDS, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        request.extensions["timeout"] = {  # some requests of the library have no limit
            kind: longest if given.get(kind) is None else given[kind] for kind in ("connect", "read", "write", "pool")
        }

    def refuse(response: Any) -> None:
        if response.status_code in (408, 429) or response.status_code >= 500:  # for which the library would wait
            response.read()
            _http.hf_raise_for_status(response)

    def make() -> Any:
        client = plain()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks.get("request", []), count],
            "response": [*hooks.get("response", []), refuse],
        }
        return client

    _http.set_client_factory(make)
    try:
        yield
    finally:
        _http.set_client_factory(plain)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the library's bars, warnings and logs off standard error."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level, had_bars = logger.level, not are_progress_bars_disabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        if had_bars:
            disable_progress_bars()
        try:
            yield
        finally:
            logger.setLevel(level)
            if had_bars:
                enable_progress_bars()


def _verify(directory: Path, before: set[str]) -> None:
    """Check the content of each new file against the hash by which the cache names it, which the library does not.

    Raises:
        OSError: A file has another content; it is removed from the cache.
    """
    for file in directory.iterdir():
        blob = file.resolve()
        if blob.parent.name == "blobs" and blob.name not in before and not _fits(blob):
            file.unlink()
            blob.unlink()
            raise OSError(f"{file.name} has come with another content than the Hub lists")


def _fits(blob: Path) -> bool:
    """Whether a file's content has the hash that is its name; True for a name of another kind."""
    if len(blob.name) == 64:  # a large file's
        found = [hashlib.sha256()]
    elif len(blob.name) == 40:  # another file's, by git; or by a mirror, without git's header
        found = [hashlib.sha1(f"blob {blob.stat().st_size}\0".encode()), hashlib.sha1()]
    else:
        return True
    with blob.open("rb") as content:
        while part := content.read(1 << 20):
            for one in found:
                one.update(part)
    return blob.name in {one.hexdigest() for one in found}
