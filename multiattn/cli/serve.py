"""`multiattn serve`: models behind an address."""

import argparse
import math
from dataclasses import fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..deploy.http.settings import KEYS, Settings, keys_of_environment
from ..errors import MultiattnError
from ..registry import tasks
from .arguments import (
    Option,
    Parser,
    UsageError,
    above_zero,
    at_least_one,
    at_least_zero,
    finite,
    not_blank,
    not_empty,
    number,
)
from .options import ADDRESS, DEVICE, PIXELS, PRECISION
from .output import say

if TYPE_CHECKING:
    from ..deploy.models import Choice
    from ..deploy.work import Engine

_AMOUNT = number(float, "a number of at least 0", lambda value: 0 <= value < math.inf)

_DESCRIPTION = """\
Serve models over HTTP: labels, captions, answers, vectors, transcripts, and a
page to try them.
"""

_EPILOG = """\
examples
  multiattn serve
  multiattn serve --task classify --port 0
  multiattn serve --model photos=runs/mine/model --model tiny.en
  multiattn serve --task transcribe --engine ray --replicas 1-4
  curl -F file=@cat.jpg http://127.0.0.1:8000/v1/classify

Without --task and --model, the models shipped with this package are served, each
under the name of its task. On SIGTERM and Ctrl-C no new connection is accepted,
what was accepted is finished (--drain), and the exit status is 0.
"""


def parser() -> Parser:
    """The command's options."""
    default = Settings()
    models = (
        Option("--task", "T", choices=tuple(tasks()), action="append", help="serve the shipped model of task T"),
        Option(
            "--model",
            "[NAME=]M",
            not_empty,
            "serve the model M, as other commands take it, under NAME (default: M); may be repeated. The first of each "
            "task is the one for requests that name no model",
            action="append",
        ),
    )
    address = (
        Option("--host", "H", not_empty, f"the address to listen at (default: {default.host})", default.host),
        Option("--port", "P", at_least_zero, f"the port; 0 for any (default: {default.port})", default.port),
    )
    limits = (
        Option("--max-body", "BYTES", at_least_one, "most bytes of a request (default: 64 MiB)", default.max_body),
        PIXELS,
        Option("--max-seconds", "S", above_zero, "most seconds of a recording (default: 14400)", default.max_seconds),
        Option("--live-sessions", "N", at_least_one, "most live sessions at once (default: 8)", default.live_sessions),
        Option("--idle", "S", above_zero, "seconds without sound that end a live session (default: 30)", default.idle),
        Option("--timeout", "S", above_zero, "seconds until a request is given up (default: 300)", default.timeout),
        Option(
            "--body-timeout",
            "S",
            above_zero,
            "most seconds between two pieces of a body (default: 30)",
            default.body_timeout,
        ),
        Option("--queue", "N", at_least_one, "most requests that wait for a model (default: 64)", default.queue),
        Option("--drain", "S", finite, "seconds to finish requests when the server ends (default: 30)", default.drain),
    )
    access = (
        Option(
            "--api-key",
            "KEY",
            not_blank,
            f"a key that requests must have; may be repeated. Better in the variable {KEYS}, for others on this "
            "machine see the command line",
            dest="api_keys",
            action="append",
        ),
        Option("--allow-urls", action="store_true", help="fetch files from the public Internet for requests"),
        Option(
            "--cors",
            "ORIGIN",
            not_empty,
            "let pages of ORIGIN call the server; * for all. May be repeated",
            action="append",
        ),
    )
    compute = (
        Option("--batch-size", "N", at_least_one, "most requests computed at once (default: 16)", default.batch_size),
        Option(
            "--patience-ms", "MS", finite, "milliseconds to wait for a batch to fill (default: 4)", default.patience_ms
        ),
        Option("--memory", "GB", above_zero, "most gigabytes of weights in memory; others are loaded when asked for"),
        Option("--preload", action="store_true", help="load all models at the start, not on first use"),
        Option("--threads", "N", at_least_one, "threads of one computation (default: as many as torch takes)"),
        DEVICE,
        PRECISION,
    )
    machines = (
        Option(
            "--engine",
            choices=("local", "ray"),
            default="local",
            help="where models compute: in this process (default), or in replicas on the machines of a Ray cluster "
            "(needs the extra serve-ray)",
        ),
        ADDRESS,
        Option(
            "--replicas",
            "N[-MAX]",
            replicas,
            "with --engine ray: replicas of each model, or from N to MAX of them by the load (default: 1)",
        ),
        Option(
            "--cpus-per-replica",
            "N",
            _AMOUNT,
            "with --engine ray: cores that a replica reserves, 0.5 for a half (default: 1, or less where there are not "
            "as many)",
        ),
        Option(
            "--gpus-per-replica",
            "N",
            _AMOUNT,
            "with --engine ray: GPUs that a replica reserves; 0.25 has four replicas share one (default: 1 where there "
            "are GPUs, or less where there are not as many)",
        ),
    )
    return Parser(
        prog="multiattn serve",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        groups={
            "models": models,
            "address": address,
            "limits": limits,
            "access": access,
            "computing": compute,
            "many machines": machines,
        },
    )


def replicas(text: str) -> tuple[int, int]:
    """Return the fewest and the most replicas that `N` or `MIN-MAX` states."""
    least, dash, most = text.partition("-")
    most = most if dash else least
    if not (least.isdecimal() and most.isdecimal() and max(1, int(least)) <= int(most)):
        raise argparse.ArgumentTypeError(f"must be N or MIN-MAX, such as 2 or 1-4, but is {text!r} instead")
    return int(least), int(most)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that the options state."""
    given: dict[str, Any] = {one.name: getattr(args, one.name) for one in fields(Settings)}
    keys = [*(args.api_keys or ()), *keys_of_environment()]
    try:
        return Settings(**given | {"api_keys": tuple(keys), "cors": tuple(args.cors or ())})
    except MultiattnError as error:
        raise UsageError(str(error)) from None


def choices_of(args: argparse.Namespace) -> "list[Choice]":
    """Return the models to serve; their `config.json` says for which tasks they are."""
    from ..deploy.models import chosen, shipped_choices

    found = [chosen(spelled) for spelled in args.model or ()]
    return [*found, *(shipped_choices(args.task or ()) if args.task or not found else ())]


def run(args: argparse.Namespace) -> int:
    """Serve until a signal; return the exit status."""
    settings = settings_of(args)
    for option in ("address", "replicas", "cpus_per_replica", "gpus_per_replica"):
        if getattr(args, option) is not None and args.engine != "ray":
            raise UsageError(f"--{option.replace('_', '-')} needs --engine ray")
    require_extra()
    if args.engine == "ray":
        from ..deploy.ray_server import Machines, serve_on_ray

        least, most = args.replicas or (1, 1)
        machines = Machines(args.address, least, most, args.cpus_per_replica, args.gpus_per_replica)
        return serve_on_ray(choices_of(args), settings, machines, say)
    from ..deploy.engine import LocalEngine
    from ..deploy.http.server import serve

    engine: Engine = LocalEngine(choices_of(args), settings)
    return serve(engine, settings, say)


def require_extra() -> None:
    """Raise MultiattnError where what serves is not installed."""
    for name in ("fastapi", "python_multipart", "prometheus_client", "uvicorn"):
        if find_spec(name) is None:
            package = name.replace("_", "-")
            raise MultiattnError(
                f"multiattn serve needs {package}, which is not installed: `pip install multiattn[serve]`"
            )
