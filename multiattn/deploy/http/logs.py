"""Logs: one JSON object a line on standard output, about requests, never with anything that was in them."""

import json
import logging
import sys
import time
import traceback
from typing import Any

_LOGGER = "multiattn.serve"


class Logs:
    """Writes the lines."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(_LOGGER)

    def request(self, **facts: object) -> None:
        """Write a line about a request that is over."""
        self._logger.info("request", extra={"facts": facts})

    def defect(self, request_id: str, error: BaseException) -> None:
        """Write what kind of defect it was and where; its message may quote what was in the request."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-5:]]
        facts = {"request_id": request_id, "error": type(error).__name__, "where": where}
        self._logger.error("defect", extra={"facts": facts})


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
        }
        if record.name == _LOGGER:
            facts |= {"event": record.getMessage(), **getattr(record, "facts", {})}
        else:  # the web server's own, whose messages may quote what was sent: what it was about stays with it
            facts |= {"event": record.name, "message": str(record.msg)[:200]}
            if record.exc_info and record.exc_info[0]:
                facts["error"] = record.exc_info[0].__name__
        return json.dumps(facts)


def log_to_stdout() -> None:
    """Write what is logged by requests, and by the web server from warnings on, to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name, level in ((_LOGGER, logging.INFO), ("uvicorn", logging.WARNING), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
