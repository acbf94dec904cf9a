"""A process that makes inputs and reads them, one after the other: a job is a line on standard input.

It answers with a line of JSON. What libraries write to standard error goes to a file, of which the watching process
knows, too.
"""

import faulthandler
import gc
import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

_OWN = Path(__file__).parents[2]
_LONGEST = 2000  # characters of a message: a longer one is no line that a person reads


def main(scratch: Path, log: Path) -> None:
    """Answer jobs until standard input ends.

    Args:
        scratch: An empty folder for the input.
        log: The file that stands for standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the watching process asks for it before it ends us
    from .corpus import made
    from .kinds import reader, samples

    warnings.simplefilter("always", UserWarning)
    warmed = set()
    for line in sys.stdin:
        job = json.loads(line)
        kind = job["kind"]
        read = reader(kind)
        if kind not in warmed:  # libraries are loaded before the memory is measured
            warmed.add(kind)
            _run(read, samples(kind)[0].write(_emptied(scratch)), scratch)
            print(json.dumps({"ready": True}), file=answers)
        path = made(job).write(_emptied(scratch))
        gc.collect(0)
        noise = os.fstat(2).st_size
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is counted anew
        print(json.dumps({"base": _kilobytes("VmRSS") / 1024}), file=answers)
        before, start = _kilobytes("VmRSS"), time.process_time()
        column, detail = _run(read, path, scratch)
        sys.stderr.flush()
        answer: dict[str, Any] = {
            "column": column,
            "detail": detail,
            "seconds": time.process_time() - start,
            "megabytes": (_kilobytes("VmHWM") - before) / 1024,
            "noise": log.read_bytes()[noise:].decode("utf-8", "replace"),
        }
        print(json.dumps(answer), file=answers)


def _run(read: Any, path: Path, scratch: Path) -> tuple[str, str]:
    """The column and the detail of an input."""
    from multiattn.errors import MultiattnError

    try:
        read(path)
    except MultiattnError as error:
        message = str(error)
        return (
            ("foreign exception", f"unclear: {fault}: {message}")
            if (fault := _unclear(message, scratch))
            else (
                "clear error",
                message,
            )
        )
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if str(_OWN) in f.filename] or [None]
        last = frames[-1]
        where = "" if last is None else f" at {Path(last.filename).relative_to(_OWN)}:{last.lineno}"
        return "foreign exception", f"{type(error).__name__}{where}: {str(error)[:_LONGEST]}\n{traceback.format_exc()}"
    return "result", ""


def _unclear(message: str, scratch: Path) -> str:
    """What is wrong with a message; empty for one line that names the file. A diff of weights may have more lines."""
    from multiattn.cli.output import printable

    first, *rest = message.split("\n")
    if rest and not first.endswith("(- needed, + found):"):
        return "several lines"
    if str(scratch) not in message:
        return "does not name the file"
    if len(message) > _LONGEST and not rest:
        return f"{len(message)} characters"
    try:
        printable(message).encode("utf-8", "surrogateescape")
    except UnicodeError:
        return "cannot be written"
    return ""


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _kilobytes(field: str) -> int:
    """A figure of memory of this process, in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
