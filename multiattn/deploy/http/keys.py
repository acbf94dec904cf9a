"""Keys of callers, compared in a time that says nothing about them."""

import hashlib
import hmac
from collections.abc import Sequence

PROTOCOL = "multiattn-key."
"""What a WebSocket's subprotocol with a key begins with: browsers let pages set no other header."""

_OPEN = ("/v1", "/metrics")
"""What a key guards: everything else is the page, its help, and what says that the server is there."""


class Keys:
    """The keys of a server; kept as digests.

    Args:
        keys: The keys; none for a server without.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def guards(self, path: str) -> bool:
        """Return whether an address needs a key."""
        return bool(self._digests) and any(path == one or path.startswith(f"{one}/") for one in _OPEN)

    def accept(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Return whether one of the headers has a key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.

        Every key is compared in full, whichever fits.
        """
        given = _digest(_given(headers))
        found = [hmac.compare_digest(given, one) for one in self._digests]
        return any(found)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # of one length, whatever the key's


def _given(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                return key.strip()
        elif name == b"x-api-key":
            return value.strip()
        elif name == b"sec-websocket-protocol":
            for one in value.split(b","):
                if one.strip().startswith(PROTOCOL.encode()):
                    return one.strip()[len(PROTOCOL) :]
    return b""
