"""Connections whose requests never begin: the web server itself would keep them, and their memory, for ever.

It limits how long a connection is kept after an answer, and `gate` how long a body may take; between the two stands the
head of a request, of which a client may send a byte a minute, on as many connections as there are.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


def in_time(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, which closes a connection whose request has no whole head after so many seconds."""
    base: Any = AutoHTTPProtocol

    class InTime(base):  # type: ignore[misc]
        """Holds a timer while it waits for a head: from the start, and from the first byte of each other request."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._timer is None:
                self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _start(self) -> None:
            self._timer = self.loop.call_later(seconds, self._give_up)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            if self.transport.get_protocol() is self:  # and no WebSocket
                self.transport.abort()

    return InTime
