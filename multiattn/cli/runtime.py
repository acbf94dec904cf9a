"""`--runtime`: what computes the model. Importing this imports neither torch nor NumPy."""

import argparse
from typing import Any

from ..registry import load_part, task_spec
from .arguments import Option, UsageError
from .options import WRITING

RUNTIME = Option(
    "--runtime",
    choices=("torch", "onnxruntime"),
    default="torch",
    help="what computes: torch (default), or onnxruntime, which starts faster in less memory, on the processor; "
    "--model is then a directory that `multiattn export` wrote",
)

_ALL = frozenset(
    "paths files model format out resume strict max_pixels batch_size processes engine address verbose quiet runtime "
    "maps map_method map_format".split()
)
_WRITING = frozenset({"num_beams", "max_tokens", *WRITING})
_OF_TASK = {
    "classify": frozenset({"top_k", "threshold", "only"}),
    "caption": _WRITING | {"length_penalty", "num_return_sequences", "prompt"},
    "transcribe": frozenset(
        "num_beams max_tokens length_penalty patience suppress language language_threshold task prompt carry_prompt "
        "hotwords prefix channel condition_on_previous compression_ratio_threshold log_prob_threshold "
        "no_speech_threshold keep_flagged vad temperatures".split()
    ),
    "answer": _WRITING | {"top_k", "first_token", "question", "questions", "answers"},
}
"""The options that do not need torch, by their names in `args`."""

_LABELS = {"match": "--labels"}  # by which `classify` is another task

MAP_METHODS = {"classify": ("attention", "rollout")}
"""The map methods that need no gradients, by task."""


def on_onnxruntime(args: argparse.Namespace) -> bool:
    """Return whether onnxruntime computes."""
    return getattr(args, "runtime", "torch") == "onnxruntime"


def check_runtime(args: argparse.Namespace, task: str) -> None:
    """Check that all options that were given go without torch, where onnxruntime computes.

    Raises:
        UsageError: One does not; the message names it.
    """
    if not on_onnxruntime(args):
        return
    if task not in _OF_TASK:
        raise UsageError(f"{_LABELS.get(task, 'this command')} needs torch: leave out --runtime onnxruntime")
    if args.device == "cuda":
        raise UsageError("--device cuda needs torch: leave out --runtime onnxruntime, which computes on the processor")
    known = _ALL | _OF_TASK.get(task, frozenset()) | {"device"}
    for action in _actions(task):
        value = getattr(args, action.dest, action.default)
        if action.dest not in known and value != action.default:
            name = max(action.option_strings, key=len)
            raise UsageError(f"{name} needs torch: leave it out, or leave out --runtime onnxruntime")
    possible = MAP_METHODS.get(task, ())
    if args.maps and not possible:
        raise UsageError("--maps needs torch here: leave it out, or leave out --runtime onnxruntime")
    for method in args.map_method or ():
        if method not in possible:
            raise UsageError(
                f"--map-method {method} needs torch: give {' or '.join(possible)}, or leave out --runtime onnxruntime"
            )


def _actions(task: str) -> list[Any]:
    parser: argparse.ArgumentParser = load_part(task_spec(task).command).parser()
    return [action for action in parser._actions if action.option_strings and action.dest != "help"]
