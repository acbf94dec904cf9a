"""What callers do wrong: each fault of `tests.fuzz.http_faults`, and some of the drawn requests.

The slow ones are those of the table in docs/serve-load.md, and the 10,000 requests there.
"""

import asyncio
from collections.abc import Iterator

import pytest

from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import shipped_choices
from tests.deploy.running import served
from tests.fuzz.http_bodies import Sent, drawn, form, request
from tests.fuzz.http_client import answers, judged
from tests.fuzz.http_faults import FAULTS
from tests.fuzz.served import LIMITS, main

_SLOW = (
    *("12 long", "300 connections", "a caller of a stream", "a PNG with", "FLAC", "Ogg", "a body above"),
    *("the caller goes", "a recording to", "a body in gzip"),
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    settings = Settings(device="cpu", **LIMITS | {"body_timeout": 0.3})
    with served(shipped_choices(["classify", "transcribe"]), settings) as (url, _):
        yield int(url.rpartition(":")[2])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith(_SLOW)) for name in FAULTS]
)
def test_a_fault_has_its_end(port: int, name: str) -> None:
    assert asyncio.run(FAULTS[name](port))


def test_drawn_requests_have_documented_answers(port: int) -> None:
    """About one of each kind of change; models that are not served are 404."""
    found = asyncio.run(answers(port, [drawn(7, number) for number in range(60)], at_once=4))
    assert [one.fault for one in found if one.fault] == []
    assert len({one.status for one in found}) >= 4


@pytest.mark.slow
@pytest.mark.process
def test_ten_thousand_drawn_requests() -> None:
    assert main([]) == 0


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "status 500"),
        (b'HTTP/1.1 400 Bad Request\r\n\r\nTraceback (most recent call last): File "a.py"', "a trace"),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "no Retry-After"),
        (b'HTTP/1.1 422 No\r\ncontent-type: application/problem+json\r\n\r\n{"status": 400}', "no problem"),
        (b"SSH-2.0", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", None),
    ],
)
def test_answers_are_judged(data: bytes, fault: str | None) -> None:
    found = judged(data, Sent("", request("/v1/classify", form([], b""))))
    assert (found.fault or "").startswith(fault or "") and (found.fault is None) == (fault is None)


def test_a_request_follows_from_its_number() -> None:
    assert [drawn(3, number) for number in range(40)] == [drawn(3, number) for number in range(40)]
