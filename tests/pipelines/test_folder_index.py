"""The search among a folder's embeddings: exact in blocks, and what is finished is kept when it is interrupted."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from multiattn.errors import ModelError
from multiattn.pipelines import Embedding
from multiattn.pipelines.folder_index import FolderIndex

WIDTH = 5


def vector(path: Path) -> np.ndarray:
    found = np.random.default_rng(len(path.read_bytes())).normal(size=WIDTH).astype(np.float32)
    return found / np.linalg.norm(found)


def embed(paths: Iterable[Path]) -> Iterator[Embedding]:
    return (Embedding(str(path), vector(path)) for path in paths)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / f"{number}.jpg" for number in range(23)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * (number % 19))  # some are alike
    return paths


def index(tmp_path: Path, fingerprint: str = "one") -> FolderIndex:
    return FolderIndex(tmp_path / "photos", tmp_path / "cache", model="m", fingerprint=fingerprint)


@pytest.mark.parametrize("block", [1, 3, 23, 100])
def test_blocks_find_what_a_sort_of_all_does(block: int, files: list[Path], tmp_path: Path) -> None:
    found = index(tmp_path)
    found.renew(files, embed)
    query = np.arange(1.0, WIDTH + 1)
    all_scores = np.stack([vector(path) for path in files]) @ (query / np.linalg.norm(query)).astype(np.float32)
    order = np.argsort(-all_scores, kind="stable")
    for top_k in (1, 7, 50):
        hits = index(tmp_path).search(query, top_k, block=block)
        assert [hit.file for hit in hits] == [str(files[i]) for i in order[:top_k]]  # of equal ones the first
        assert [hit.score for hit in hits] == pytest.approx(all_scores[order[:top_k]].tolist(), abs=1e-6)
    with pytest.raises(ModelError, match=r"`query` must be a vector of 5 numbers, .* but is of \(4,\) instead"):
        found.search(np.ones(4), 3)


def test_an_interrupted_renewal_keeps_what_is_finished(files: list[Path], tmp_path: Path) -> None:
    index(tmp_path).renew(files[-3:], embed)

    def interrupted(paths: Iterable[Path]) -> Iterator[Embedding]:
        for number, one in enumerate(embed(paths)):
            if number == 4:
                raise KeyboardInterrupt
            yield one

    with pytest.raises(KeyboardInterrupt):
        index(tmp_path).renew(files, interrupted)
    update = index(tmp_path).renew(files, embed)
    assert (update.kept, update.new, update.changed, update.gone) == (4 + 3, 23 - 7, 0, 0)
    assert not update.is_stale and not update.other_model
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert index(tmp_path, fingerprint="two").count == 0
