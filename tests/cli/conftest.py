from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from multiattn.cli.main import main
from tests.fixtures import save_drawing, save_tiny_captioner, save_tiny_model


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="session")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_captioner(tmp_path_factory.mktemp("captioner") / "tiny"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command line in this process."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three pictures, one of them a level deeper."""
    for seed, name in enumerate(("a.png", "b.jpg", "deep/c.png")):
        save_drawing(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"
