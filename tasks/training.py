"""`fit`, `validate`, `test` and `predict`: one program for all tasks, which LightningCLI builds from a YAML file.

    python -m multiattn.tasks.training fit --config configs/classify/smoke.yaml
    python -m multiattn.tasks.training fit --config configs/classify/smoke.yaml    once more resumes the training

The way of a run: `arguments` (checked and rewritten) -> `lightning_cli` (the task, the data module and the trainer) ->
the task's steps, with `callbacks` around them. Lightning takes seconds to import: usage errors are reported before.
"""

import shlex
import sys
from collections.abc import Sequence

from multiattn.errors import MultiattnError, brief, reason_of

from .arguments import prepared, usage_problem
from .stopping import Stopped, stopping_at_signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run a Lightning verb.

    Args:
        argv: The verb and its options; by default the arguments of the process.

    Returns:
        The exit status: 0 after success, 1 after an error that the user can mend, 2 after wrong usage, 130 after
        Ctrl-C, 143 after SIGTERM and 138 after SIGUSR1 (see `Stopped.status`).
    """
    args = list(sys.argv[1:] if argv is None else argv)
    problem = usage_problem(args)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    try:
        with stopping_at_signals():
            arguments = prepared(args)
            from .lightning_cli import run  # imports Lightning

            run(arguments, typed=args)
    except SystemExit as leaving:  # of the parser: 2 for wrong usage, 0 for --help
        return leaving.code if isinstance(leaving.code, int) else 1
    except Stopped as stop:
        print("Stopped." if stop.state is None else f"Stopped. To go on: {_again(args)}", file=sys.stderr)
        return stop.status
    except BrokenPipeError:
        return 1  # the reader of the output has gone
    except Exception as error:
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        mendable = error if isinstance(error, MisconfigurationException) else _user_error(error)
        message = str(mendable) if mendable else _system_message(error) or _training_message(error)
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


# in the messages of torch, which has no class of its own for some of these errors
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_LOST_PROCESS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting")


def _training_message(error: BaseException) -> str | None:
    """Return the message where memory is full or another process of the training has ended; None for other errors."""
    text = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _has(text, _OUT_OF_MEMORY)):
        return (
            "out of memory. Lower `data.batches.size` (and raise `trainer.accumulate_grad_batches` by the same factor, "
            "which learns the same), set `trainer.precision` to bf16-mixed, or set `model.checkpoint_activations` to "
            f"true. The same command then goes on from the newest state. ({brief(reason_of(error))})"
        )
    if isinstance(error, RuntimeError) and text.startswith("Early stopping conditioned on metric"):
        return f"{brief(reason_of(error))} Correct `monitor` of the callback EarlyStopping."
    is_of_group = type(error).__module__.startswith("torch.distributed") or "gloo" in text or "NCCL" in text
    if (
        isinstance(error, RuntimeError)
        and is_of_group
        and (_has(text, _LOST_PROCESS) or "Dist" in type(error).__name__)
    ):
        return (
            "another process of this training has ended, and this one ends with it; what that one said comes before. "
            f"The same command goes on from the newest state. ({brief(reason_of(error))})"
        )
    return None


def _has(text: str, parts: Sequence[str]) -> bool:
    return any(part in text for part in parts)


def _again(args: list[str]) -> str:
    """Build the command that resumes the training: that which was typed, without what named another start."""
    options = ("--ckpt_path", "--resume")
    pairs = zip(["", *args], args, strict=False)
    kept = [arg for before, arg in pairs if before not in options and arg.partition("=")[0] not in options]
    return shlex.join(["multiattn", *kept])


if __name__ == "__main__":
    sys.exit(main())
