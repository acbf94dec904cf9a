"""Fetching from a server on this machine: what it sends, what it should not send, and how long it may take."""

import http.server
import io
import socket
import threading
import time
import wave
from collections.abc import Iterator

import numpy as np
import pytest

from multiattn.errors import InputError
from multiattn.inputs import fetch as fetching
from multiattn.inputs import load_audio, load_image
from multiattn.inputs.fetch import FetchLimits, WebFile, is_public
from multiattn.inputs.files import PICTURES, Kind
from tests.fixtures import draw

SMALL = Kind("picture", frozenset({".png"}), 1 << 20)


def png() -> bytes:
    file = io.BytesIO()
    draw(3).save(file, format="PNG")
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16_000)
        sound.writeframes((np.sin(np.arange(1600)) * 9000).astype("<i2").tobytes())
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers))
        getattr(self, self.path.partition("?")[0].rpartition("/")[2].partition(".")[0])()

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def picture(self) -> None:
        self.send(png())

    def sound(self) -> None:
        self.send(wav())

    def page(self) -> None:
        self.send(b"\n<!DOCTYPE html><title>Log in</title>")

    def gone(self) -> None:
        self.send(b"", 404)

    def secret(self) -> None:
        self.send(b"", 403)

    def broken(self) -> None:
        self.send(b"", 503)

    def moved(self) -> None:
        self.send(b"", 302, Location="/a/picture.png?x=1")

    def loop(self) -> None:
        self.send(b"", 301, Location="/loop")

    def away(self) -> None:
        self.send(b"", 302, Location="file:///etc/passwd")

    def short(self) -> None:
        self.send(png()[:99], Content_Length="5000", Connection="close")
        self.close_connection = True

    def huge(self) -> None:
        self.send(b"", Content_Length=str(1 << 40))

    def packed(self) -> None:
        self.send(png(), Content_Encoding="gzip")

    def endless(self) -> None:
        self.send(b"", Content_Length="", Connection="close")
        self.close_connection = True
        while True:
            self.wfile.write(bytes(1 << 16))

    def chunked(self) -> None:
        self.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(png()), png()), Content_Length="", Transfer_Encoding="chunked")

    def torn(self) -> None:
        self.send(b"fff\r\nabc", Content_Length="", Transfer_Encoding="chunked")
        self.close_connection = True

    def drip(self) -> None:
        self.send(b"", Content_Length="5000")
        self.server.drop_by_drop(self.wfile)

    def drip_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self.server.drop_by_drop(self.wfile)

    def silent(self) -> None:
        self.server.done.wait(30)

    def silent_chunk(self) -> None:
        self.send(b"5\r\nabcde\r\n", Content_Length="", Transfer_Encoding="chunked")
        self.server.done.wait(30)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list = []
        self.done = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def drop_by_drop(self, file: io.BufferedIOBase) -> None:
        while not self.done.wait(0.01):
            file.write(b"x")

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False), patch.delenv(name.upper(), raising=False)
        with Server() as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield server
            server.done.set()
            server.shutdown()
            thread.join()


def refused(url: str, **how: object) -> str:
    with pytest.raises(InputError) as caught:
        WebFile(url, **how).open(SMALL)
    message = str(caught.value)
    assert message.startswith(f"`{url}` must ")
    assert "\n" not in message
    return message


def test_pictures_and_recordings_are_read_from_their_addresses(server: Server) -> None:
    assert load_image(f"{server.url}/picture.png").tobytes() == draw(3).tobytes()
    assert load_image(f"{server.url}/moved").size == draw(3).size
    assert load_image(f"{server.url}/chunked").size == draw(3).size
    assert len(load_audio(f"{server.url}/sound.wav")) == 1600
    path, headers = server.seen[-1]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Host"] == server.url.removeprefix("http://")
    load_image(f"{server.url}/ä b/picture.png?q=ü#part")
    assert server.seen[-1][0] == "/%C3%A4%20b/picture.png?q=%C3%BC"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "the server answers 404 Not Found instead. Check the address."),
        ("secret", "the server answers 403 Forbidden instead. It may not be fetched by programs"),
        ("broken", "the server answers 503 Service Unavailable instead. Try again later."),
        ("page", "the server sends a web page instead. Give the address of the picture itself."),
        ("loop", "it leads on to other addresses more than 5 times instead."),
        ("away", "it leads on to what is no address of a file on a web server instead."),
        ("short", "the connection ends after 99 of 5000 bytes instead."),
        ("torn", "the connection breaks after 3 bytes instead."),
        ("packed", "the server sends it compressed (gzip), which was not asked for instead."),
        ("huge", "must have at most 1 MiB, as a picture from elsewhere, but has more instead."),
        ("endless", "must have at most 1 MiB, as a picture from elsewhere, but has more instead."),
    ],
)
def test_what_is_no_file(server: Server, path: str, reason: str) -> None:
    assert reason in refused(f"{server.url}/{path}")


@pytest.mark.parametrize(
    ("path", "limits", "reason"),
    [
        ("drip", FetchLimits(total=0.1), "it is not there after 0.1 seconds"),
        ("drip_head", FetchLimits(total=0.1), "it is not there after 0.1 seconds"),
        ("silent", FetchLimits(pause=0.05), "the server sends nothing for 0.05 seconds"),
        ("silent_chunk", FetchLimits(pause=0.05), "the server sends nothing for 0.05 seconds"),
    ],
)
def test_a_server_that_takes_its_time(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, limits: FetchLimits, reason: str
) -> None:
    monkeypatch.setattr(fetching, "PATIENCE", 0.02)
    assert reason in refused(f"{server.url}/{path}", limits=limits)


def test_a_wait_can_be_cancelled(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PATIENCE", 0.02)
    file = WebFile(f"{server.url}/silent")
    threading.Timer(0.05, file.cancel).start()
    start = time.monotonic()
    with pytest.raises(InputError, match="is given up instead"):
        file.open(SMALL)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("url", ["http://", "http:///a.png", "http://[::1/a.png", "http://h:99999/a", "http://h:0/a"])
def test_what_is_no_address(url: str) -> None:
    assert "but no address of a file on a web server instead" in refused(url)


def test_hosts_that_do_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert "(Connection refused)" in refused(f"http://127.0.0.1:{port}/a.png")
    assert "no secure connection is made" in refused(server.url.replace("http:", "https:"))

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "the host nowhere.invalid is not found (Name or service not known)" in refused(
        "http://nowhere.invalid/a.png"
    )


def test_with_public_only_nothing_of_this_network_is_reached(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = len(server.seen)
    assert "127.0.0.1 is not on the public Internet (127.0.0.1)" in refused(f"{server.url}/picture", public_only=True)
    port, answers = server.server_port, ["127.0.0.1", "93.184.215.14"]

    def changing(host: str, port: int, **_: object) -> list:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(), port))]

    connected = []

    def connect(self: socket.socket, where: tuple) -> None:
        connected.append(where)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr(socket.socket, "connect", connect)
    # the name is looked up once: what was checked is what is connected to
    assert "no connection to example.org is made" in refused(f"http://example.org:{port}/picture", public_only=True)
    assert connected == [("93.184.215.14", port)]
    assert "(127.0.0.1)" in refused(f"http://example.org:{port}/picture", public_only=True)
    assert len(server.seen) == asked


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *[(one, True) for one in ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14")],
        *[(one, False) for one in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0")],
        *[(one, False) for one in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "100.64.0.1")],
        *[(one, False) for one in ("64:ff9b::a9fe:a9fe", "224.0.0.1", "255.255.255.255", "::", "what")],
    ],
)
def test_addresses_of_the_public_internet(address: str, expected: bool) -> None:
    assert is_public(address) is expected


def test_file_addresses(tmp_path) -> None:
    file = tmp_path / "a b.png"
    file.write_bytes(png())
    assert load_image(file.as_uri()).size == draw(3).size
    with pytest.raises(InputError, match="on another one, or without its whole path, instead"):
        load_image("file://elsewhere/a.png")
    assert PICTURES.find([tmp_path.as_uri()]) == [file]
