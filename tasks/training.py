"""`fit`, `validate`, `test` and `predict`: one program for all tasks, which LightningCLI builds from a YAML file.

    python -m multiattn.tasks.training fit --config configs/classify/smoke.yaml
    python -m multiattn.tasks.training fit --config configs/classify/smoke.yaml --ckpt_path last    resumes the training

The way of a run: `arguments` (checked and rewritten) -> `lightning_cli` (the task, the data module and the trainer) ->
the task's steps, with `callbacks` around them. Lightning takes seconds to import: usage errors are reported before.
"""

import shlex
import sys
from collections.abc import Sequence

from multiattn.errors import MultiattnError

from .arguments import prepared, usage_problem
from .stopping import Stopped, stopping_at_interrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run a Lightning verb.

    Args:
        argv: The verb and its options; by default the arguments of the process.

    Returns:
        The exit status: 0 after success, 1 after an error that the user can mend, 2 after wrong usage, 130 after
        Ctrl-C.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    problem = usage_problem(args)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    try:
        with stopping_at_interrupt():
            arguments = prepared(args)
            from .lightning_cli import run  # imports Lightning

            run(arguments)
    except SystemExit as leaving:  # of the parser: 2 for wrong usage, 0 for --help
        return leaving.code if isinstance(leaving.code, int) else 1
    except Stopped as stop:
        print("Stopped." if stop.state is None else f"Stopped. To go on: {_again(args)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1  # the reader of the output has gone
    except Exception as error:
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        mendable = error if isinstance(error, MisconfigurationException) else _user_error(error)
        message = str(mendable) if mendable else _system_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 1
    return 0


def _user_error(error: BaseException) -> MultiattnError | None:
    """Find the error that the user can mend, also below an error of jsonargparse that a constructor's error caused."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, MultiattnError):
        found = found.__cause__
    return found


def _system_message(error: BaseException) -> str | None:
    """Return the message of an error of the system, such as a full disk; None for others.

    A training that ends by such an error may meet it once more, in a logger: the first one names the file.
    """
    found: list[OSError] = []
    at: BaseException | None = error
    while isinstance(at, OSError) and at.errno is not None:
        found.append(at)
        at = at.__context__
    named = [one for one in found if one.filename is not None] or found
    return f"{named[-1].filename or 'cannot write'}: {named[-1].strerror}" if named else None


def _again(args: list[str]) -> str:
    """Build the command that resumes the training, with the options as they were typed."""
    pairs = zip(["", *args], args, strict=False)
    kept = [arg for before, arg in pairs if before != "--ckpt_path" and arg.partition("=")[0] != "--ckpt_path"]
    return shlex.join(["multiattn", *kept, "--ckpt_path", "last"])


if __name__ == "__main__":
    sys.exit(main())
