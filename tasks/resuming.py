"""What a run starts from: nothing, the newest state of the same training, or the state that is asked for.

A state keeps the configuration of its training under `configuration`: each value by its key, as it is typed on the
command line. What makes another training of it (`_OWN`) must not differ where nobody asked for the state; other keys
that differ are named, and hold from here on.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from multiattn.errors import ModelError, brief

from .hparams import plain
from .loading.datamodule import BatchOptions
from .optim import Optimization
from .states import RunStates, read_state

KEY = "configuration"
"""The key of a configuration in a state."""

_OWN = ("seed_everything", "model.class_path", "data.class_path", "data.root", "model.pretrained")
_OWN_FILES = ("data.captions", "data.pictures", "data.questions", "data.annotations", "data.folders")
_PATHS = ("root", "pretrained", "features")  # may be written in several ways
# where a run lies, how it was started and what it shows
_OF_A_START = ("ckpt_path", "resume", "weights_only", "config", "return_predictions", "trainer.default_root_dir")
_SHOWN = 6  # keys in a message
# options of which `null` stands for their defaults
_WITH_DEFAULTS = {"model.optimization": Optimization, "data.batches": BatchOptions}


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    path: Path | None = None
    """The state; None for none."""

    state: Mapping[str, Any] = field(default_factory=dict)
    """Its values, without those of its tensors."""

    note: str = ""
    """A line about it for the user."""


def flat(values: Any, *, prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by their keys, as options are named: what is under `init_args` without it."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix if name == "init_args" and prefix else f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and value:
            found |= flat(value, prefix=key)
        else:
            found[key] = value
    return found


def find_start(
    run: str | Path,
    *,
    verb: str,
    requested: str | None,
    resume: Literal["auto", "never"],
    configuration: Mapping[str, Any],
    say: Callable[[str], None],
) -> Start:
    """Find what a run starts from.

    Args:
        run: The folder of the run.
        verb: `fit`, or what measures a model.
        requested: A state's path, `last` or `best`; None where none is asked for.
        resume: Whether `fit` goes on from the newest state where none is asked for.
        configuration: The values of this start, see `flat`.
        say: Takes lines about states that cannot be used.

    Raises:
        ModelError: The state cannot be used, or `fit` would replace states of another training.
    """
    states = RunStates(run)
    if requested is None and verb == "fit":
        return _own_start(states, resume, configuration, say)
    if requested == "last":
        start = _newest(states, verb, say)
        if start is None:
            raise ModelError(
                f"{states.folder}: there is no state to go on from. Leave `--ckpt_path last` out, or "
                "give the `--trainer.default_root_dir` of the training."
            )
    elif requested is not None:
        path = Path(requested) if requested != "best" else states.best
        if requested == "best" and not path.exists():
            raise ModelError(
                f"{path}: there is no best state. The callback `BestCheckpoint` keeps one; `--ckpt_path last` finds "
                "the newest state."
            )
        start = Start(path, read_state(path, verb))
        if verb == "fit" and states.newest() is not None and not path.resolve().is_relative_to(Path(run).resolve()):
            raise _of_another(states, "")
    else:
        start = Start()
    if start.path is None:
        return start
    return replace(start, note=f"From {start.path}{_changes(start, configuration) if verb == 'fit' else ''}")


def _own_start(
    states: RunStates,
    resume: Literal["auto", "never"],
    configuration: Mapping[str, Any],
    say: Callable[[str], None],
) -> Start:
    """Go on with this training where its folder has states, and begin it where there are none."""
    if resume == "never":
        if states.newest() is not None:
            raise _of_another(states, "")
        return Start()
    start = _newest(states, "fit", say)
    if start is None:
        return Start()
    if KEY not in start.state:
        raise _of_another(states, "they do not say of which, as they are of an earlier version")
    before, configuration = _with_defaults(start.state[KEY]), _with_defaults(configuration)
    own = [key for key in _differing(before, configuration) if _makes_another(key)]
    if own:
        raise _of_another(states, _told(own, before, configuration))
    return replace(start, note=f"Going on from {start.path}{_changes(start, configuration)}")


def _newest(states: RunStates, verb: str, say: Callable[[str], None]) -> Start | None:
    found = states.newest_whole(verb)
    if found is None:
        return None
    path, state, reasons = found
    if reasons:
        say(f"Taking the state before instead: {path.name}. {reasons[0]}")
    return Start(path, state)


def _of_another(states: RunStates, why: str) -> ModelError:
    return ModelError(
        f"{states.folder}: another training has its states here, and this one would replace them"
        f"{f' ({why})' if why else ''}. Go on with it by `--ckpt_path last`, or give this one a folder by "
        "`--trainer.default_root_dir`, or remove that one."
    )


def _makes_another(key: str) -> bool:
    return key in (*_OWN, *_OWN_FILES) or key.startswith("data.folders.") or key.endswith(".pretrained")


def _with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the values that a `null` stands for: another start may state some of them."""
    found = dict(values)
    for key, kind in _WITH_DEFAULTS.items():
        if key in found and found[key] is None:
            del found[key]
            found |= flat(plain(kind()), prefix=key)
    return found


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, in the order of the configuration."""
    keys = [key for key in (*now, *(key for key in before if key not in now)) if key not in _OF_A_START]
    return [key for key in keys if _comparable(key, before.get(key)) != _comparable(key, now.get(key))]


def _comparable(key: str, value: Any) -> Any:
    if key.rpartition(".")[2] not in _PATHS:
        return list(value) if isinstance(value, tuple) else value
    if isinstance(value, list | tuple):
        return [_comparable(key, one) for one in value]
    return os.path.realpath(value) if isinstance(value, str) and Path(value).exists() else value


def _changes(start: Start, now: Mapping[str, Any]) -> str:
    """What has changed since a state, as the end of a sentence about it."""
    before, now = _with_defaults(start.state.get(KEY, {})), _with_defaults(now)
    keys = _differing(before, now) if before and now else []
    return f". Changed since: {_told(keys, before, now)}" if keys else ""


def _told(keys: list[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    told = [f"{key} is {brief(str(now.get(key)))}, was {brief(str(before.get(key)))}" for key in keys[:_SHOWN]]
    return "; ".join(told) + (f"; and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def is_finished(state: Mapping[str, Any], *, max_epochs: int | None, max_steps: int) -> bool:
    """Whether a state is the end of its training: the epochs or steps are done, or a callback stopped it."""
    progress = state["loops"]["fit_loop"]["epoch_progress"]["current"]
    if max_epochs is not None and 0 <= max_epochs <= progress["processed"]:
        return True
    if 0 <= max_steps <= state["global_step"]:
        return True
    callbacks = state.get("callbacks", {}).values()
    return any(isinstance(one, Mapping) and one.get("stopped_epoch") for one in callbacks)
