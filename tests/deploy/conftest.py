from collections.abc import Iterator

import httpx
import pytest

from tests.deploy.serving import serving


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """A client of a server with the shipped models of pictures."""
    with serving("classify", "caption", "answer", "match") as found:
        yield found
