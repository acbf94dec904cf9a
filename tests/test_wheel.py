import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The wheel's contents in a folder of their own, and a way to run Python on them away from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)

    def run(*args):
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run([sys.executable, *args], cwd=folder, env=environment, capture_output=True, text=True)

    return site, run


@pytest.mark.slow
def test_a_wheel_finds_what_it_ships(elsewhere):
    site, run = elsewhere
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
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert all(Path(place).is_relative_to(site) for place in said["from"])
    assert said["missing"] == []
    assert said["inputs"] >= 3


@pytest.mark.slow
def test_the_shipped_model_classifies_and_writes_a_page_from_a_wheel(elsewhere):
    site, run = elsewhere
    picture = ROOT / "assets" / "inputs" / "ship.png"
    done = run("-m", "multiattn.cli.main", "classify", str(picture), "--format", "json", "--maps", "out")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["predictions"][0]["label"] == "ship"
    page = (site.parent / said["maps"]["relevance"]["html"]).read_text()
    assert "<canvas" in page
