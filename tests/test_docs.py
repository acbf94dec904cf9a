"""What the documentation shows is run: its Python, and the options of its commands."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiattn import registry
from multiattn.cli import convert, evaluate, info
from multiattn.registry import load_part

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for kind, code in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == language:
                yield page, code


def commands() -> list[tuple[str, list[str]]]:
    """The command lines of `multiattn`, with the page that shows each."""
    found = []
    for page, code in blocks("bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["multiattn"]:
                found.append((str(page.relative_to(ROOT)), words[1:]))
    return found


def parser_of(verb: str, words: list[str]):
    """The parser of a command, whose second word is taken out of `words` where it has two."""
    if verb == "evaluate" and words[:1] in (["maps"], ["heads"]):
        return load_part(f"multiattn.cli.evaluate_{words.pop(0)}").parser()
    if verb in registry.tasks():
        return load_part(registry.task_spec(verb).command).parser()
    others = {"evaluate": evaluate, "info": info, "convert": convert}
    return (
        load_part(f"multiattn.cli.{verb.replace('-', '_')}").parser() if verb not in others else others[verb].parser()
    )


@pytest.mark.parametrize(
    ("page", "code"),
    [pytest.param(page, code, id=f"{page.stem}-{i}") for i, (page, code) in enumerate(blocks("python"))],
)
def test_the_code_runs(page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = ROOT / "assets" / "inputs"
    shutil.copy(inputs / "scene.png", tmp_path / "photo.jpg")  # a PNG; the reader goes by the content
    shutil.copy(inputs / "digits.flac", tmp_path / "talk.wav")
    for split in ("train", "validation"):
        for name in ("frog", "ship"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(40):
                (folder / f"{number}.png").symlink_to(inputs / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(page), "exec"), {"__name__": "snippet"})


def test_the_options_of_all_commands_exist() -> None:
    shown = commands()
    assert len(shown) > 40
    for page, (verb, *words) in shown:
        if verb in ("fit", "validate", "predict", "test", "demo"):
            for word in words:
                if word.startswith("configs/"):
                    assert (ROOT / word).is_file(), f"{page}: {word}"
            continue
        try:
            parser_of(verb, words).parse_args(words)
        except SystemExit:
            pytest.fail(f"{page}: multiattn {shlex.join([verb, *words])}")


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
