"""Data in shards: tar files of samples, as WebDataset has them, with an index; on a disk or at a web address.

`tar` finds the samples in a shard, `store` reads single ones, `index` tells what there is, `write` and `layout` make
shards of a folder. Records of a split that is in shards are those of a folder; only their files are opened here.
"""

from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from ...inputs.files import is_web_address
from .index import ShardIndex, find_index, in_shards
from .store import ShardFile, ShardFiles, fetch, shard_sizes, temporary_folder
from .tar import ShardSample, samples

__all__ = [
    "ShardFile",
    "ShardFiles",
    "ShardIndex",
    "ShardSample",
    "find_index",
    "in_shards",
    "shard_samples",
    "shard_sizes",
]


def shard_samples(shard: str | Path) -> Iterator[ShardSample | InputError]:
    """Read the samples of one shard, one after another.

    Args:
        shard: The path or the web address of a tar file, of ours or of WebDataset's kind. It need not have an index.

    Yields:
        The samples, each with its `name` (`SHARD/KEY.EXT`), `data` (the bytes of its picture or recording) and `row`
        (what the shard says about it: label, text, questions), to be given to a pipeline as it is; and an error for
        each place where the shard is damaged, behind which the samples go on.

    Raises:
        InputError: The shard cannot be opened, or not be fetched with several tries.
    """
    path = Path(shard)
    if is_web_address(shard):
        path = temporary_folder() / "shard.tar"
        fetch(str(shard), path)
    try:
        with path.open("rb") as stream:
            if is_web_address(shard):
                path.unlink()
                path.parent.rmdir()
            yield from samples(stream, str(shard))
    except OSError as error:
        raise InputError(f"`{shard}` must be a shard, but opening it fails instead: {error.strerror}.") from error
