"""The `multiattn` command: finds the command asked for, runs it, and turns what comes of it into an exit status.

0: all done. 1: something could not be done, named on standard error. 2: wrong usage. 130: interrupted by Ctrl-C.
"""

import difflib
import io
import os
import sys
from collections.abc import Sequence

from ..errors import ModelError, MultiattnError
from . import align_heads, answer, caption, classify, convert, demo, evaluate, info, transcribe
from .options import Parser
from .output import say, say_lines

_COMMANDS = {
    "classify": classify,
    "caption": caption,
    "transcribe": transcribe,
    "answer": answer,
    "evaluate": evaluate,
    "info": info,
    "convert": convert,
    "align-heads": align_heads,
    "demo": demo,
}

_TRAINING = (
    "fit",
    "validate",
    "test",
    "predict",
)  # these go to Lightning's own command line, in `multiattn.tasks.training`

_HELP = """\
Classify and caption pictures, answer questions about them, transcribe speech,
and see where models looked.

try it
  demo         classify and caption a few pictures, answer questions about drawn
               scenes and transcribe recordings, with pages that show where the
               models looked

use a model
  classify     say what is on pictures; with --maps, show where the model looked
  caption      write a sentence about each picture; with --maps, show where the
               model looked for each word
  transcribe   write down what is said in recordings, and when; with --maps,
               show what the model listened to for each word
  answer       answer questions about pictures; with --maps, show where the
               model looked for each word of question and answer
  evaluate     measure a model on data with known answers
  info         say what a model is: its size, input, vocabulary and attention
  convert      rewrite a model in another layout (ours, timm, Hugging Face, ...)
  align-heads  find the attention heads that word times are taken from

train a model (with Lightning; each takes a YAML file)
  fit          train or fine-tune
  validate     measure a checkpoint on the validation split
  test         measure a checkpoint on the test split
  predict      predict with a checkpoint
"""

_EXAMPLES = """\
examples
  multiattn demo
  multiattn classify cat.jpg
  multiattn caption cat.jpg
  multiattn transcribe talk.mp3 --words
  multiattn answer cat.jpg --question 'what is it?'
  multiattn classify photos/ --maps out/ --format json > results.jsonl
  multiattn fit --config configs/classify/finetune.yaml
  multiattn COMMAND --help     tells all about a command

exit status
  0 all done    1 something could not be done, named on standard error
  2 wrong usage    130 interrupted by Ctrl-C; what was finished is kept
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (the process's own where None) and returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file name that is no valid text comes out as it went in
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept")
        status = 130
    except ModelError as error:
        say_lines(str(error))  # it may list weights, one a line
        status = 1
    except MultiattnError as error:
        say(str(error))
        status = 1
    except BrokenPipeError:
        status = 1  # the reader of our output (head, less) has gone: nothing to say
    except OSError as error:
        if error.errno is None:
            raise  # not from the system, but a library's own: a defect, which a traceback tells best
        say(f"{error.filename}: {error.strerror}" if error.filename else f"cannot write: {error.strerror}")
        status = 1
    except (RuntimeError, MemoryError) as error:
        if not _is_of_memory(error):
            raise
        say(
            "the device's memory is too small for this; try a smaller --batch-size, fewer --beams or --candidates "
            "where there are any, or --device cpu"
        )
        status = 1
    _let_go_of_stdout()
    return status


def _is_of_memory(error: Exception) -> bool:
    # torch may not be imported here: its error for a GPU is known by its name; for the processor it has none of its own
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: " in str(error)
    )


def _open_closed_streams() -> None:
    """Makes streams that were closed before the start (`>&-`, `2>&-`), for which Python has None, lead nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def _let_go_of_stdout() -> None:
    """Makes sure that Python does not complain at exit about output that nobody takes any more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except SystemExit as stop:  # how argparse ends: after --help, or after naming wrong usage
        return stop.code if isinstance(stop.code, int) else 0


def _dispatch(arguments: list[str]) -> int:
    parser = Parser(prog="multiattn", usage="multiattn COMMAND ...", description=_HELP, epilog=_EXAMPLES)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    names = (*_COMMANDS, *_TRAINING)
    if not arguments:
        parser.error(f"a command is needed: {', '.join(names)}")
    name, rest = arguments[0], arguments[1:]
    if name.startswith("-"):
        if parser.parse_args(arguments).version:
            from importlib.metadata import version

            print(f"multiattn {version('multiattn')}")
        return 0
    if name in _TRAINING:
        from ..tasks.training import main as train  # Lightning takes ten seconds to import

        return train(arguments)
    if name not in _COMMANDS:
        near = difflib.get_close_matches(name, names, n=1)
        mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
        parser.error(f"there is no command {name!r}; {mend}")
    command = _COMMANDS[name]
    status: int = command.run(command.parser().parse_args(rest))
    return status


if __name__ == "__main__":
    sys.exit(main())
