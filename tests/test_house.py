"""The house rules that a machine can check: imports go down only, and start-up is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "errors": -2,
    "resources": -1,
    "checks": -1,
    "registry": -1,
    "attention": 0,
    "blocks": 1,
    "inputs": 1,
    "metrics": 1,
    "models": 2,
    "weights": 3,
    "generation": 3,
    "alignment": 3,
    "data": 3,
    "maps": 4,
    "export": 5,
    "pipelines": 6,
    "tasks": 8,
    "cli": 9,
    "__main__": 10,
}
MODULES = sorted(
    path for path in (ROOT / "multiattn").rglob("*.py") if "tasks" not in path.parts and path.name != "__main__.py"
)


def imported_rooms(path: Path) -> set[str]:
    """The rooms of `multiattn` that a file imports from, wherever in the file it does."""
    package = ("multiattn", *path.relative_to(ROOT / "multiattn").parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            names = [base] if base != "multiattn" else [f"multiattn.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            assert parts[0] not in ("lightning", "pytorch_lightning"), f"{path} reaches up to {name}"
            if name.startswith("multiattn.tasks"):
                assert "cli" in path.parts, f"{path} reaches up to {name}"
            if parts[0] == "multiattn" and len(parts) > 1:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    room = path.relative_to(ROOT / "multiattn").parts[0].removesuffix(".py")
    rooms = imported_rooms(path)
    if room == "__init__":
        assert rooms <= {"pipelines"}
        return
    for other in rooms - {room}:
        assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


def test_every_module_of_the_library_imports_with_the_minimal_dependencies():
    """What only training, the PNG or a foreign layout needs is imported where it is needed."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    code = f"""
import importlib, sys
for absent in ("lightning", "torchvision", "timm", "transformers", "matplotlib", "huggingface_hub", "torchmetrics"):
    sys.modules[absent] = None
for name in {names}:
    importlib.import_module(name)
print("imported", len({names}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"imported {len(names)}\n", done.stderr


def test_importing_the_package_imports_no_torch():
    code = "import sys, multiattn; print(sorted({'torch', 'lightning', 'PIL', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
