"""The `multiattn` command: finds the command that was asked for, runs it, and turns its outcome into an exit status.

0: all done. 1: something could not be done, named on standard error. 2: wrong usage. 130: interrupted by Ctrl-C. 143:
ended by SIGTERM.

Each command is a module with `parser()` and `run(args)`: those of the tasks are named by the registry, the others are
here beside this file. What Lightning does is in `multiattn.tasks.training`, which is imported only when it is asked
for.
"""

import difflib
import io
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import Any

from ..errors import ModelError, MultiattnError, MultiattnWarning
from ..registry import load_part, tasks
from .arguments import Option, Parser, UsageError
from .output import say

_OTHERS = {
    "align": "say when each word of a known text is spoken in a recording, and where the two differ",
    "embed": "give pictures, recordings and texts as vectors (features) of a model",
    "search": "find the pictures of a folder that are most like a text or a picture",
    "evaluate": "measure a model on data with known answers",
    "evaluate maps": "measure how far a model's maps can be trusted",
    "evaluate heads": "say which attention heads a model needs, and what each does",
    "serve": "serve models over HTTP, with a page to try them",
    "models": "list the models that are shipped, in the local cache, and known by a short name",
    "info": "say what a model is: its size, input, vocabulary and attention",
    "shard": "write a folder of data as shards, for training from a disk or a web address",
    "convert": "rewrite a model in another layout (ours, timm, Hugging Face, ...)",
    "export": "write a model for onnxruntime, a browser, or torch.export",
    "align-heads": "find the attention heads that word times are taken from",
    "demo": "try all four on pictures, drawn scenes and recordings that come with the package, with pages that show "
    "where the models looked",
}

_TRAINING = {
    "fit": "train or fine-tune",
    "validate": "measure a checkpoint on the validation split",
    "test": "measure a checkpoint on the test split",
    "predict": "predict with a checkpoint",
}

_HELP = """\
Classify and caption pictures, answer questions about them, transcribe speech,
and see where models looked.
"""

_EXAMPLES = """\
examples
  multiattn demo
  multiattn classify cat.jpg
  multiattn caption cat.jpg
  multiattn transcribe talk.mp3 --words
  multiattn align talk.mp3 talk.txt --format srt
  multiattn answer cat.jpg --question 'what is it?'
  multiattn classify photos/ --maps out/ --format json > results.jsonl
  multiattn fit --config configs/classify/finetune.yaml
  multiattn COMMAND --help     explains a command

exit status
  0 all done    1 something could not be done, named on standard error
  2 wrong usage    130 interrupted by Ctrl-C, 143 ended by SIGTERM; what was
  finished is kept
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own where None) and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file name that is no valid text is written as it was read
    try:
        with _terminable(), _warnings_said():
            status = _run(arguments)
            sys.stdout.flush()
    except TerminatedError:
        say("terminated; what was finished is kept")
        status = 143
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept")
        status = 130
    except MultiattnError as error:
        say(str(error), lines=isinstance(error, ModelError))  # which may list weights, one a line
        status = 1
    except BrokenPipeError:
        status = 1  # the reader of our output (head, less) has gone: nothing to say
    except OSError as error:
        if error.errno is None:
            raise  # not from the system, but a library's own: a defect, for which a traceback is best
        say(f"{error.filename}: {error.strerror}" if error.filename else f"cannot write: {error.strerror}")
        status = 1
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        say(
            "the device's memory is too small for this; try a smaller --batch-size, fewer --beams or --candidates "
            "where there are any, or --device cpu"
        )
        status = 1
    _release_stdout()
    return status


@contextmanager
def _warnings_said() -> Iterator[None]:
    """Print our own warnings as messages in the body."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **into: Any) -> None:
            if issubclass(category, MultiattnWarning):
                say(str(message))
            else:
                others(message, category, *where, **into)

        warnings.showwarning = show
        yield


class TerminatedError(KeyboardInterrupt):
    """The process is asked to end (SIGTERM), which it does as after Ctrl-C."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise TerminatedError in the body on SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_out_of_memory(error: Exception) -> bool:
    # torch may not be imported here: its error for a GPU is known by its name; for the processor it has none of its own
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: " in str(error)
    )


def _open_closed_streams() -> None:
    """Replace streams that were closed before the start (`>&-`, `2>&-`), for which Python has None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def _release_stdout() -> None:
    """Keep Python from complaining at exit about output that can no longer be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except SystemExit as stop:  # argparse raises it after --help, and for wrong usage
        return stop.code if isinstance(stop.code, int) else 0


def _dispatch(arguments: list[str]) -> int:
    commands = {name: spec.command for name, spec in tasks().items()}
    commands |= {name: f"{__package__}.{re.sub('[ -]', '_', name)}" for name in _OTHERS}
    version = Option("--version", action="store_true", help="print the version and exit")
    parser = Parser(version, prog="multiattn", usage="multiattn COMMAND ...", description=_help(), epilog=_EXAMPLES)
    names = (*commands, *_TRAINING)
    if not arguments:
        parser.error(f"a command is needed: {', '.join(names)}")
    name, rest = arguments[0], arguments[1:]
    if (pair := " ".join(arguments[:2])) in commands:  # a command of two words
        name, rest = pair, arguments[2:]
    if name.startswith("-"):
        if parser.parse_args(arguments).version:
            import multiattn

            print(f"multiattn {multiattn.__version__}")
        return 0
    if name in _TRAINING:
        from ..tasks.training import main as train  # Lightning takes ten seconds to import

        return train(arguments)
    if name not in commands:
        near = difflib.get_close_matches(name, names, n=1)
        mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
        parser.error(f"there is no command {name!r}; {mend}")
    command = load_part(commands[name])
    parser = command.parser()
    args = parser.parse_args(rest)
    try:
        status: int = command.run(args)
    except UsageError as error:
        parser.error(str(error))
    return status


def _help() -> str:
    """Return the description of the program with all commands and what each does."""
    summaries = {name: spec.summary for name, spec in tasks().items()} | _OTHERS
    sections = {
        "try it": {"demo": summaries.pop("demo")},
        "use a model": summaries,
        "train a model (with Lightning; each takes a YAML file)": _TRAINING,
    }
    lines = [_HELP]
    for title, commands in sections.items():
        entries = [f"{name:12} {summary}" for name, summary in commands.items()]
        lines += [title, *(fill(entry, 80, initial_indent="  ", subsequent_indent=" " * 15) for entry in entries), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
