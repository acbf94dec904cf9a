import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import multiattn
from tests.test_decoy import check_every_verb

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    return folder


@pytest.fixture(scope="module")
def site(built, tmp_path_factory):
    """A folder with the wheel's contents."""
    folder = tmp_path_factory.mktemp("wheel") / "site"
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(site, *args):
    """Python on the wheel's contents, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *args], cwd=site.parent, env=environment, capture_output=True, text=True)


def test_the_wheel_has_one_package_with_all_its_files(built, site):
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"multiattn"}
    ours = [path for path in (ROOT / "multiattn").rglob("*.py") if "tasks" not in path.parts]
    ours += [ROOT / "multiattn" / path.relative_to(ROOT) for path in (ROOT / "tasks").rglob("*.py")]
    for path in [*ours, ROOT / "multiattn" / "py.typed"]:
        there = site / path.relative_to(ROOT)
        assert there.is_file() and not there.is_symlink(), there
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        entries = {Path(*Path(entry.name).parts[1:]): entry for entry in archive.getmembers()}
    assert all(entries[path.relative_to(ROOT)].isfile() for path in ours)


def test_a_wheel_finds_what_it_ships(site):
    code = """
import json, multiattn
from multiattn import tasks
from multiattn.resources import shipped
print(json.dumps({
    "from": [multiattn.__file__, tasks.__file__],
    "missing": [str(p) for p in (shipped("models", "classify") / "model.safetensors",
                                 shipped("configs", "classify/smoke.yaml")) if not p.is_file()],
    "inputs": len(list(shipped("inputs").glob("*.png"))),
}))
"""
    done = run(site, "-c", code)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert all(Path(place).is_relative_to(site) for place in said["from"])
    assert said["missing"] == []
    assert said["inputs"] >= 3


def test_the_version_is_that_of_the_package(site):
    (info,) = site.glob("*.dist-info")
    assert f"\nVersion: {multiattn.__version__}\n" in (info / "METADATA").read_text()
    assert run(site, "-m", "multiattn", "--version").stdout == f"multiattn {multiattn.__version__}\n"


def test_the_shipped_model_classifies_and_writes_a_page_from_a_wheel(site):
    picture = ROOT / "assets" / "inputs" / "ship.png"
    done = run(site, "-m", "multiattn", "classify", str(picture), "--format", "json", "--maps", "out")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["predictions"][0]["label"] == "ship"
    page = (site.parent / said["maps"]["lrp"]["html"]).read_text()
    assert "<canvas" in page


@pytest.mark.parametrize("kind", ["module", "package"])
def test_every_verb_of_a_wheel_works_beside_a_tasks_of_the_users_own(kind, site, tmp_path):
    check_every_verb(tmp_path, kind, site)
