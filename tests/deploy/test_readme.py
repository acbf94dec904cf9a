"""The requests that the README shows."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import shipped_choices
from tests.deploy.running import served
from tests.deploy.serving import INPUTS

README = Path(__file__).parents[2] / "README.md"
_FOUND = {
    "/v1/classify": "predictions",
    "/v1/caption": "text",
    "/v1/answer": "answers",
    "/v1/match": "texts",
    "/v1/audio/transcriptions": "text",
    "/v1/embed": "embedding",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_curl_works(tmp_path: Path) -> None:
    section = README.read_text(encoding="utf-8").partition("\n## Serve\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^curl .*", section, re.MULTILINE)
    shutil.copy(INPUTS / "scene.png", tmp_path / "photo.jpg")
    shutil.copy(INPUTS / "digits.flac", tmp_path / "talk.wav")
    done = []
    with served(shipped_choices(), Settings(device="cpu")) as (address, _):
        for command in commands:
            words = shlex.split(command.replace("http://127.0.0.1:8000", address), comments=True)
            out = subprocess.run([*words, "--silent", "--fail"], cwd=tmp_path, capture_output=True, check=True).stdout
            done.append(words[-1].removeprefix(address))
            assert json.loads(out)[_FOUND[done[-1]]], command
    assert done == list(_FOUND)
