"""Shards as inputs: tar files of samples, as `multiattn shard` and WebDataset write them.

A process that finds inputs reads headers only; the one that computes an input reads it, by its place in the shard. A
shard at an address is fetched whole, when it is its turn, once for all processes of a machine.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import InputError
from ..inputs.files import Kind, is_web_address, local_path
from ..inputs.streams import NamedStream
from ..inputs.walk import Unusable


def shards_at(path: str, *, patterns: bool) -> Iterable[str] | None:
    """Return the shards that a path stands for; None for one that is no shard, and no folder with an index of them.

    Args:
        path: A tar file, or a pattern `{000000..000099}.tar`, on this machine or at a web address; a folder with
            `index.json`, or one of its splits.
        patterns: Whether a path that does not exist may be a pattern.

    Raises:
        InputError: The index cannot be read, or the range of a pattern falls.
    """
    if is_web_address(path):
        if not urlsplit(path).path.lower().endswith(".tar"):
            return None
        from ..data.shards.index import expand

        return expand(path) if patterns else [path]
    local = local_path(path)
    if os.path.isdir(local):
        if not any((folder / "index.json").is_file() for folder in (local, local.parent)):
            return None
        from ..data.shards.index import shards_in  # numpy

        shards = shards_in(local)
        return None if shards is None else map(str, shards)
    if local.suffix.lower() != ".tar":
        return None
    if patterns and not os.path.lexists(local):
        from ..data.shards.index import expand

        names = list(expand(str(local)))
        return names if len(names) > 1 else None
    return [str(local)] if os.path.isfile(local) else None


def shard_inputs(shards: Iterable[str], kind: Kind) -> Iterator[NamedStream | Unusable]:
    """Yield the files of one kind in shards, in order, named `SHARD/NAME`; of each sample, the first.

    Args:
        shards: The paths or addresses of the shards.
        kind: The kind of file.

    Yields:
        The files; and an error for each place where a shard is damaged, behind which the search goes on, for a shard
        that cannot be opened or fetched, and for one that has no such file.
    """
    from ..data.shards.store import ShardFile, ShardStore
    from ..data.shards.tar import content_of, groups

    store = ShardStore({})
    for shard in shards:
        is_empty = True
        try:
            with Path(store.local(shard)).open("rb") as stream:
                for group in groups(stream, shard):
                    if isinstance(group, InputError):
                        is_empty = False
                        yield Unusable(shard, group)
                    elif (member := content_of(group, kind)) is not None:
                        is_empty = False
                        yield ShardFile(store, shard, member)
        except InputError as error:  # of a fetch
            yield Unusable(shard, error)
            continue
        except OSError as error:
            must = f"`{shard}` must be a shard, but opening it fails instead: {error.strerror}."
            yield Unusable(shard, InputError(must))
            continue
        if is_empty:
            must = f"`{shard}` must hold at least one {kind.one}, but holds none instead."
            yield Unusable(shard, InputError(must))
