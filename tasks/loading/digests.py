"""Digests of frozen encoders and of the files that they read: what they compute is never used with others."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from multiattn.data.shards import ShardFile

from ..parts import TRAINING_ONLY


def digest_of_features(
    encoder: nn.Module, paths: Sequence[Path | ShardFile], *, depends_on: Callable[[dict[str, Any]], list[Any]]
) -> str:
    """A digest of all that features depend on: the encoder, the files, and the result of `Encoding.depends_on`."""
    found = hashlib.sha256()
    architecture = _architecture(encoder)
    places = [Path(str(path)).absolute() for path in paths]  # in a shard, too
    base = os.path.commonpath([place.parent for place in places])  # the data may move as a whole
    files = [(os.path.relpath(place, base), _size(path)) for place, path in zip(places, paths, strict=True)]
    found.update(json.dumps([*depends_on(architecture), files], default=str).encode())
    _add_weights(found, encoder)
    return found.hexdigest()


def digest_of_weights(encoder: nn.Module) -> str:
    """A digest of an encoder: its weights and architecture."""
    found = hashlib.sha256(json.dumps(_architecture(encoder), default=str).encode())
    _add_weights(found, encoder)
    return found.hexdigest()


def _architecture(encoder: nn.Module) -> dict[str, Any]:
    config: Any = encoder.config
    return {name: value for name, value in asdict(config).items() if name not in TRAINING_ONLY}


def _add_weights(digest: "hashlib._Hash", encoder: nn.Module) -> None:
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _size(path: Path | ShardFile) -> int:
    """Bytes of a file; -1 for a missing file, so that the digest changes when the file is added."""
    if isinstance(path, ShardFile):
        return path.size
    try:
        return path.stat().st_size
    except OSError:
        return -1
