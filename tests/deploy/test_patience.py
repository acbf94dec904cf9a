"""Connections whose requests never begin, of either of uvicorn's protocols."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol

from multiattn.deploy.http import patience
from multiattn.deploy.http.settings import Settings
from tests.deploy.running import running

SECONDS = 0.3


class NoModels:
    """An engine of nothing."""

    async def start(self) -> None:
        pass

    async def close(self, patience: float) -> None:
        pass

    def served(self) -> list[Any]:
        return []

    def statistics(self) -> dict[str, Any]:
        return {}


@pytest.fixture(params=["h11", "installed"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    if request.param == "h11":
        monkeypatch.setattr(patience, "AutoHTTPProtocol", H11Protocol)
    elif auto.AutoHTTPProtocol is H11Protocol:
        pytest.skip("httptools is not installed")
    engine: Any = NoModels()
    with running(engine, Settings(body_timeout=SECONDS, drain=5.0)) as found:
        host, _, port = found.removeprefix("http://").partition(":")
        yield host, int(port)


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=20)


def closed_by_server(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answered(connection: socket.socket) -> bytes:
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    found = b""
    while not found.endswith(b'{"status":"ok"}'):
        assert (more := connection.recv(4096))
        found += more
    return found


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_does_not_come_closes_the_connection(address, sent) -> None:
    with connected(address) as connection:
        connection.sendall(sent)
        assert closed_by_server(connection)


def test_a_byte_now_and_then_does_not_help(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        with pytest.raises(OSError):  # noqa: PT011 (of several kinds)
            for _ in range(200):
                connection.sendall(b"a")
                time.sleep(SECONDS / 10)


def test_a_second_request_has_as_long_as_the_first(address) -> None:
    with connected(address) as connection:
        assert answered(connection).startswith(b"HTTP/1.1 200")
        time.sleep(2 * SECONDS)  # less than a connection is kept after an answer
        assert answered(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        assert closed_by_server(connection)


def test_a_body_that_comes_piece_by_piece_is_not_cut_off(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Content-Length: 5\r\n\r\n")
        for letter in (b"t", b"r", b"u", b"e", b" "):
            time.sleep(SECONDS / 2)  # each in the time of a piece of a body
            connection.sendall(letter)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
