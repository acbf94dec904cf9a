"""The settings of a server, each of which is an option of `multiattn serve`."""

import os
from dataclasses import dataclass, field

from ...checks import require
from ...inputs.files import MAX_PIXELS

KEYS = "MULTIATTN_API_KEYS"
"""The variable of the environment that holds keys, with commas or spaces between them."""


@dataclass(frozen=True)
class Settings:
    """How a server listens, what it accepts, and how it computes."""

    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 for all of this machine."""

    port: int = 8000
    """The port; 0 for any that is free."""

    max_body: int = 64 << 20
    """The most bytes of a request's body, and of a file that is fetched for it."""

    max_pixels: int = MAX_PIXELS
    """The most pixels of a picture that is decoded whole, as for the pipelines."""

    max_seconds: float = 4 * 3600.0
    """The most seconds of a recording."""

    live_sessions: int = 8
    """The most live sessions at once."""

    idle: float = 30.0
    """Seconds without sound, or without reading what is sent, after which a live session ends."""

    timeout: float = 300.0
    """Seconds until a request is given up."""

    body_timeout: float = 30.0
    """The most seconds between two pieces of a request's body."""

    queue: int = 64
    """The most requests that wait for one model."""

    batch_size: int = 16
    """The most requests that are computed at once."""

    patience_ms: float = 4.0
    """Milliseconds to wait for more requests of a batch, where more than one client asks."""

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """The keys, one of which a request must have; empty: none is needed."""

    allow_urls: bool = False
    """Whether a request may name the address of a file on the public Internet, which is then fetched."""

    cors: tuple[str, ...] = ()
    """The origins whose pages may call the server; "*" for all. Empty: only the server's own page."""

    memory: float | None = None
    """The most gigabytes of weights in memory; the model that was not used for longest makes room. None: no limit."""

    preload: bool = False
    """Whether all models are loaded at the start, and not each on its first use."""

    drain: float = 30.0
    """Seconds in which accepted requests are finished after SIGTERM."""

    precision: str | None = None
    """As for `multiattn.load`."""

    device: str = "auto"
    """As for `multiattn.load`."""

    threads: int | None = None
    """Threads of one computation; None for as many as torch takes."""

    def __post_init__(self) -> None:
        require(0 <= self.port < 65536, "port", must="from 0 to 65535", value=self.port)
        for name in ("max_body", "max_pixels", "live_sessions", "queue", "batch_size"):
            value = getattr(self, name)
            require(value >= 1, name, must="at least 1", value=value)
        for name in ("max_seconds", "idle", "timeout", "body_timeout"):
            value = getattr(self, name)
            require(value > 0, name, must="above 0", value=value)
        for name in ("patience_ms", "drain"):
            value = getattr(self, name)
            require(value >= 0, name, must="at least 0", value=value)
        require(self.memory is None or self.memory > 0, "memory", must="above 0", value=self.memory)
        require(self.threads is None or self.threads >= 1, "threads", must="at least 1", value=self.threads)
        require(all(self.api_keys), "api_keys", must="not empty", value="an empty key")


def keys_of_environment() -> tuple[str, ...]:
    """Return the keys that the variable `MULTIATTN_API_KEYS` holds."""
    return tuple(os.environ.get(KEYS, "").replace(",", " ").split())
