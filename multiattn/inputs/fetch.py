"""Fetching a file from a web server, with limits on its size and on the time, and on request from public servers only.

The address of the server is looked up once, checked, and connected to as it is: what the name leads to a moment later
does not matter. The same holds for every redirect.
"""

import http.client
import io
import ipaddress
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, NoReturn
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ..errors import InputError, reading, reason_of
from .files import Kind, is_web_address
from .streams import CHUNK, PATIENCE, NamedStream, check_size

_REDIRECTS = 5
_MEND = {
    401: "It is for those who log in: save it to a file first.",
    403: "It may not be fetched by programs, or by anyone: save it to a file first.",
    404: "Check the address.",
    410: "Check the address.",
    429: "Wait a while.",
}
_SAFE = "/%:=&?~#+!$,;'@()*[]"  # characters of an address that stay as they are


@dataclass(frozen=True)
class FetchLimits:
    """How long fetching a file may take, in seconds."""

    connect: float = 15.0
    """To reach the server."""

    pause: float = 30.0
    """Between two pieces of what it sends."""

    total: float = 1800.0
    """For all of it, redirects included."""


class WebFile(NamedStream):
    """The file at an address that begins with http:// or https://.

    Args:
        url: The address.
        public_only: Whether addresses in private networks, of this machine, and others that are not of the public
            Internet are refused: what a server must do with addresses that others give it. Proxies are then not used.
        limits: How long it may take.
    """

    def __init__(self, url: str, *, public_only: bool = False, limits: FetchLimits | None = None) -> None:
        super().__init__(url)
        self._public_only, self._limits = public_only, limits or FetchLimits()

    def open(self, kind: Kind) -> BinaryIO:
        """Fetch the file; see `NamedStream.open`."""
        deadline = time.monotonic() + self._limits.total
        with reading(f"`{self.name}`", f"a {kind.one} that can be fetched", mend="Try again later."):
            try:
                return self._fetched(kind, deadline)
            except _GivenUpError as error:
                self._fail(str(error), "Try again later, or save it to a file first.")

    def _fetched(self, kind: Kind, deadline: float) -> BinaryIO:
        url = self.name
        for _ in range(_REDIRECTS + 1):
            response = self._response(url, deadline)
            with closing(response):
                target = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and target:
                    url = urljoin(url, target)
                    continue
                self._check(response, kind)
                return self._kept(self._body(response, kind), kind)
        self._fail(f"it leads on to other addresses more than {_REDIRECTS} times", "Check the address.")

    def _check(self, response: http.client.HTTPResponse, kind: Kind) -> None:
        """Check what stands before the file."""
        if response.status != 200:
            mend = _MEND.get(response.status, "Try again later." if response.status >= 500 else "Check the address.")
            self._fail(f"the server answers {response.status} {response.reason}".rstrip(), mend)
        if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
            self._fail(f"the server sends it compressed ({encoding}), which was not asked for", "Fetch it first.")
        stated = response.headers.get("Content-Length", "")
        if stated.isascii() and stated.isdecimal() and len(stated) < 20:
            check_size(int(stated), self.name, kind)

    def _body(self, response: http.client.HTTPResponse, kind: Kind) -> Iterator[bytes]:
        """Yield the bytes of the file; raise InputError where they end early, or are a web page."""
        stated = response.length  # http.client ends in silence where fewer bytes come
        size = 0
        while chunk := self._piece(response, size):
            if size == 0 and chunk[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(
                (b"<!doctype html", b"<html")
            ):
                self._fail("the server sends a web page", f"Give the address of the {kind.one} itself.")
            size += len(chunk)
            yield chunk
        if stated is not None and size < stated:
            self._fail(f"the connection ends after {size} of {stated} bytes", "Try again later.")

    def _piece(self, response: http.client.HTTPResponse, size: int) -> bytes:
        try:
            return response.read1(CHUNK)
        except (http.client.HTTPException, OSError):
            self._fail(f"the connection breaks after {size} bytes", "Try again later.")

    def _response(self, url: str, deadline: float) -> http.client.HTTPResponse:
        """Send the request to one address; errors as for `open`."""
        parts = self._parts(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        proxy = None if self._public_only else _proxy(parts.scheme, host)
        target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
        if proxy and not secure:
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"

        def connected() -> socket.socket:
            return self._connected(*(proxy or (host, port)), deadline)

        connection = _Connection(
            host, port, secure, connected, self._limited(deadline), has_tunnel=bool(proxy and secure)
        )
        try:
            headers = {"User-Agent": "multiattn", "Accept-Encoding": "identity", "Connection": "close"}
            connection.request("GET", target, headers=headers)
            return connection.getresponse()
        except BaseException as error:
            connection.give_up()
            if isinstance(error, ssl.SSLCertVerificationError):
                self._fail(f"the server's certificate is not trusted ({error.verify_message})", "Check the address.")
            if isinstance(error, ssl.SSLError):
                self._fail(f"no secure connection is made ({error.reason or 'TLS'})", "Check the address.")
            if isinstance(error, http.client.HTTPException | OSError):
                self._fail(f"no server for files answers there ({reason_of(error)})", "Check the address.")
            raise

    def _parts(self, url: str) -> SplitResult:
        """Take an address apart; raise InputError where it is none of a web server."""
        try:
            parts = urlsplit(url)
            valid = is_web_address(url) and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            valid = None
        if not valid:
            where = "" if url == self.name else "it leads on to what is "
            self._fail(f"{where}no address of a file on a web server", "Check the address.")
        return parts

    def _connected(self, host: str, port: int, deadline: float) -> socket.socket:
        """Connect to a host, by the addresses that its name has now."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "no name of a host"
            self._fail(f"the host {host} is not found ({reason})", "Check the address and the network.")
        addresses = dict.fromkeys((family, str(where[0]), where) for family, _, _, _, where in found)
        if self._public_only:
            for _, address, _ in addresses:
                if not is_public(address):
                    self._fail(f"{host} is not on the public Internet ({address})", "Give another address.")
        reason = "no answer"
        for family, _, where in addresses:
            self._check_cancelled()
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(max(0.1, min(self._limits.connect, deadline - time.monotonic())))
            try:
                connection.connect(where)
            except OSError as error:
                connection.close()
                reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
                continue
            return connection
        self._fail(f"no connection to {host} is made ({reason})", "Check the address and the network.")

    def _limited(self, deadline: float) -> Callable[[socket.socket], "_Limited"]:
        def check(waited: float) -> None:
            self._check_cancelled()
            if waited > self._limits.pause:
                raise _GivenUpError(f"the server sends nothing for {self._limits.pause:g} seconds")
            if time.monotonic() > deadline:
                raise _GivenUpError(f"it is not there after {self._limits.total:g} seconds")

        return lambda connection: _Limited(connection, check)

    def _fail(self, reason: str, mend: str) -> NoReturn:
        raise InputError(f"`{self.name}` must be a file that can be fetched, but {reason} instead. {mend}")


def stream_of(source: object) -> NamedStream | None:
    """Return a source that has no path as a stream: an address as the file there; None for any other source."""
    if isinstance(source, NamedStream):
        return source
    return WebFile(source) if isinstance(source, str) and is_web_address(source) else None


def is_public(address: str) -> bool:
    """Return whether an address is of the public Internet, whatever form of it an IPv6 address contains."""
    try:
        one = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(one, ipaddress.IPv6Address):
        inside = one.ipv4_mapped or one.sixtofour or (one.teredo[1] if one.teredo else None)
        if inside is None and one in ipaddress.ip_network("64:ff9b::/96"):
            inside = ipaddress.IPv4Address(int(one) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(str(inside))
    return one.is_global and not one.is_multicast and not one.is_reserved


def _proxy(scheme: str, host: str) -> tuple[str, int] | None:
    """Return host and port of the proxy that the environment names for a host."""
    address = urllib.request.getproxies().get(scheme)
    is_here = host == "localhost" or host.startswith("127.") or host == "::1"
    if not address or is_here or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(address if "//" in address else f"//{address}")
    return (parts.hostname, parts.port or 80) if parts.hostname else None


class _GivenUpError(Exception):
    """A limit of time is reached. This is no ValueError, as InputError is: `http.client` takes those for its own."""


class _Connection(http.client.HTTPConnection):
    """A connection over a socket that is made elsewhere, with limits on every wait."""

    def __init__(
        self,
        host: str,
        port: int,
        secure: bool,
        connected: Callable[[], socket.socket],
        limited: Callable[[socket.socket], "_Limited"],
        *,
        has_tunnel: bool,
    ) -> None:
        super().__init__(host, port)
        self.default_port = 443 if secure else 80  # which the header Host leaves out
        self._secure, self._connected, self._limited = secure, connected, limited
        if has_tunnel:
            self.set_tunnel(host, port)

    def connect(self) -> None:
        plain = self._connected()
        try:
            if self._tunnel_host:  # type: ignore[attr-defined]
                self.sock = self._limited(plain)
                self._tunnel()  # type: ignore[attr-defined]
            used = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host) if self._secure else plain
        except BaseException:
            plain.close()
            raise
        self.sock = self._limited(used)

    def give_up(self) -> None:
        """Close the connection; without this, the response closes it."""
        if isinstance(self.sock, _Limited):
            self.sock.give_up()


class _Limited:
    """What `http.client` needs of a socket, with a check at each short wait.

    Args:
        connection: The socket.
        check: Called with the seconds that a wait has taken so far; raises where that is too long.
    """

    def __init__(self, connection: socket.socket, check: Callable[[float], None]) -> None:
        self._socket, self._check = connection, check

    def sendall(self, data: bytes) -> None:
        """Send the request."""
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what the server sends; it is closed, and the socket with it, by the reader."""
        self._socket.settimeout(PATIENCE)
        return io.BufferedReader(_Raw(self._socket, self._check), CHUNK)

    def close(self) -> None:
        """Leave the socket to the reader of `makefile`."""

    def give_up(self) -> None:
        """Close the socket."""
        self._socket.close()


class _Raw(io.RawIOBase):
    def __init__(self, connection: socket.socket, check: Callable[[float], None]) -> None:
        self._socket, self._check = connection, check

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = time.monotonic()
        while True:
            self._check(time.monotonic() - start)
            try:
                return self._socket.recv_into(buffer)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._socket.close()
        super().close()
