"""A user's own `tasks`, first on the path, is never imported: `multiattn.tasks` is another package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.conftest import draw_folder

ROOT = Path(__file__).resolve().parents[1]
RAISES = 'raise RuntimeError("the user\'s own tasks was imported")\n'

EVERY_VERB = """
import io, sys
from contextlib import redirect_stdout
from multiattn.cli.main import _OTHERS, _TRAINING, main
from multiattn.registry import tasks

picture, data, run = sys.argv[1:]
config = ["--config", "configs/classify/smoke.yaml", f"--data.root={data}", f"--trainer.default_root_dir={run}"]
config += ["--trainer.accelerator=cpu", "--trainer.fast_dev_run=1"]
calls = [[*verb.split(), "--help"] for verb in (*tasks(), *_OTHERS, *_TRAINING)]
calls += [["classify", picture], ["fit", *config]]
for call in calls:
    with redirect_stdout(io.StringIO()) as out:
        status = main(call)
    assert status == 0, (call, status)
    print(len(out.getvalue()) > 0 or call[0] == "fit", *call[:2])
"""


def write_decoy(folder: Path, kind: str) -> Path:
    """A folder with a `tasks` module or package that raises when it is imported."""
    file = folder / {"module": "tasks.py", "package": "tasks/__init__.py"}[kind]
    file.parent.mkdir(parents=True)
    file.write_text(RAISES)
    return folder


def run_beside(decoy: Path, site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Python in the decoy's folder, with the decoy before `site`, which holds `multiattn`, on the path."""
    env = os.environ | {"PYTHONPATH": f"{decoy}{os.pathsep}{site}"}
    return subprocess.run([sys.executable, *args], cwd=decoy, env=env, capture_output=True, text=True, timeout=300)


def check_every_verb(folder: Path, kind: str, site: Path) -> None:
    """Run each verb of the `multiattn` in `site` beside a decoy in `folder`."""
    decoy = write_decoy(folder / "decoy", kind)
    assert "own tasks" in run_beside(decoy, site, "-c", "import tasks").stderr  # it is the one that is found
    version = run_beside(decoy, site, "-m", "multiattn", "--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "multiattn"), version.stderr
    data = draw_folder(folder / "data", sizes={"train": 3, "validation": 1})
    picture = ROOT / "assets" / "inputs" / "ship.png"
    done = run_beside(decoy, site, "-c", EVERY_VERB, str(picture), str(data), str(folder / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True fit --config"
    assert "False" not in done.stdout


@pytest.mark.training
@pytest.mark.parametrize("kind", ["module", pytest.param("package", marks=pytest.mark.slow)])
def test_every_verb_works_beside_a_tasks_of_the_users_own(kind: str, tmp_path: Path) -> None:
    check_every_verb(tmp_path, kind, ROOT)


def test_the_folder_of_the_checkout_is_not_imported_as_tasks() -> None:
    done = subprocess.run([sys.executable, "-c", "import tasks"], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: this folder is the package `multiattn.tasks`: import it by that name"
    )
