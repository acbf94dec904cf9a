"""What a state knows of how its training read the data. Another preprocessing is refused, other data is named.

A state has it under `identity`, as JSON:

    preprocessing   the fields of `ImagePreprocessing` or `AudioPreprocessing`
    vocabulary      the options that it was learned by; null for one of a trained model, and where there is none
    data            for each split of the training the number of its items, and a digest of their names and labels

Another preprocessing, or another vocabulary, gives the weights another meaning, so it is refused. Other data is named
only. Labels, vocabulary and answers themselves are in the state's `facts` (`contracts.Facts`), from which the model was
built. States from before there was an identity have none, and are not compared.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from multiattn.errors import ModelError

KEY = "identity"
"""The key of an identity in a state."""

_SHOWN = 5  # names in a message


def plain(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON has them: lists for tuples."""
    assert is_dataclass(config) and not isinstance(config, type)
    found: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return found


def fingerprint(items: Iterable[tuple[Path, Any]], roots: Sequence[Path]) -> dict[str, Any]:
    """The number of items of a split, and a digest of their names and of what is known of them.

    Args:
        items: The path of each, and its label, captions, questions or transcript.
        roots: The folders that hold the data: a name counts from there, so that the data may be moved.
    """
    digest, count = hashlib.blake2b(digest_size=16), 0
    starts = tuple(f"{root}/" for root in roots)
    for path, known in items:
        name = str(path)
        start = next((start for start in starts if name.startswith(start)), "")
        line = f"{name[len(start) :]}\0{known!r}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
        count += 1
    return {"items": count, "digest": digest.hexdigest()}


def check(state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check that a state is of a training with this preprocessing, and a vocabulary that was learned in this way.

    Args:
        state: The identity that the state has; empty for one without.
        own: That of the training, or of the model that is about to be measured.

    Raises:
        ModelError: It is of another; the message names what differs.
    """
    if not state:
        return
    for name in ("vocabulary", "preprocessing"):
        before, now = state[name], own[name]
        if before is not None and now is not None and (changed := _changed(before, now)):
            raise ModelError(
                f"the state must be of a training with the same {name}, but is of another: {changed}. Restore it, or "
                "train anew."
            )


def changed_data(state: Mapping[str, Any], own: Mapping[str, Any], *, kind: str) -> str:
    """How the data differs from that of a state, in a sentence for each split; empty where it does not.

    Args:
        state: The identity that the state has; empty for one without.
        own: That of now, with the splits that are read now.
        kind: What the items are: "pictures".
    """
    found = []
    for split, now in own["data"].items():
        before = state.get("data", {}).get(split, now)
        if before["items"] != now["items"]:
            found.append(f"{split} had {before['items']} {kind} and has {now['items']}")
        elif before["digest"] != now["digest"]:
            found.append(f"{split} has as many {kind} as before, but some have other names or labels")
    return "; ".join(found)


def other_labels(state: Sequence[str], own: Sequence[str]) -> str:
    """The message about a state with other labels than the data."""
    lacking, new = ([name for name in one if name not in set(two)] for one, two in ((state, own), (own, state)))
    parts = [
        f"only {whose} has {_some(names)}" for whose, names in (("the state", lacking), ("the data", new)) if names
    ]
    where = next((at for at, (one, two) in enumerate(zip(state, own, strict=False)) if one != two), 0)
    order = f"in the state number {where} is {state[where]!r}, in the data {own[where]!r}" if not parts else ""
    return (
        f"the state must be of a training with the same labels, but is of another: {' and '.join(parts) or order}. "
        "Rename the classes of the data as they were, or train anew."
    )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The fields that differ, with both values."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return "; ".join(f"`{name}` was {before.get(name)!r} and is {now.get(name)!r}" for name in names)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
