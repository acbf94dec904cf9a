"""A kind that goes wrong on purpose, for the tests of the fuzzer."""

import os
import signal
from pathlib import Path

from multiattn.errors import InputError

from .sample import Sample

_WAYS = ("read", "named", "unnamed", "two lines", "foreign", "exit", "crash", "slow", "large", "noise")


def samples() -> list[Sample]:
    return [Sample.single(way, way.encode()) for way in _WAYS]


def read(path: Path) -> None:
    match path.read_text():
        case "named":
            raise InputError(f"{path} must be whole, but is not.")
        case "unnamed":
            raise InputError("it must be whole, but is not.")
        case "two lines":
            raise InputError(f"{path}\nmust be whole, but is not.")
        case "foreign":
            raise KeyError("width")
        case "exit":
            os._exit(0)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "slow":
            while True:
                pass
        case "large":
            held = bytearray(os.urandom(1 << 20)) * 400
            while held:
                pass
        case "noise":
            os.write(2, b"codec: warning\n")
