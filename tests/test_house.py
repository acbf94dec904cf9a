"""The house rules that a machine can check: imports go down only and never in a circle, and start-up is light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = {
    "errors": -2,
    "resources": -1,
    "head_roles": -1,
    "text_files": -1,
    "checks": -1,
    "writing": -1,
    "lazy": -1,
    "score_kinds": -1,
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
    "deploy": 7,
    "tasks": 8,
    "cli": 9,
    "__main__": 10,
}
LIGHTNING = ("lightning", "pytorch_lightning")


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name; those of `tasks/` as `multiattn.tasks`, which is a link to it."""
    found = {}
    for path in sorted((ROOT / "multiattn").rglob("*.py")):
        if path.relative_to(ROOT / "multiattn").parts[0] != "tasks":
            found[_name(path.relative_to(ROOT))] = path
    for path in sorted((ROOT / "tasks").rglob("*.py")):
        found["multiattn." + _name(path.relative_to(ROOT))] = path
    return found


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(module: str) -> frozenset[str]:
    """The modules that a module imports, wherever in the file: inside functions and under TYPE_CHECKING, too."""
    path = modules()[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            # `from .room import module` imports the module; `from .room import name` imports the room
            found |= {name if (name := f"{base}.{alias.name}") in modules() else base for alias in node.names}
    return frozenset(found)


def room(module: str) -> str:
    """The room of a module: the first part of its name after `multiattn`."""
    return module.split(".")[1] if "." in module else ""


def test_imports_go_down_only() -> None:
    wrong = []
    for module in modules():
        own = room(module)
        for name in imports(module):
            if name.split(".")[0] in LIGHTNING and own != "tasks":
                wrong.append(f"{module} imports {name}: only tasks may")
            if name.split(".")[0] != "multiattn":
                continue
            other = room(name)
            if not own:  # the package itself, which hands `load` on
                if other not in ("", "pipelines"):
                    wrong.append(f"{module} imports {name}")
            elif other == "tasks" and own not in ("tasks", "cli"):
                wrong.append(f"{module} imports {name}: only cli may")
            elif other and other != own and FLOORS[other] >= FLOORS[own]:
                wrong.append(f"{module} (floor {FLOORS[own]}) imports {name} (floor {FLOORS[other]})")
    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    def circle(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for name in sorted(imports(module) & modules().keys()):
            if found := circle(name, [*path, module]):
                return found
        done.add(module)
        return []

    done: set[str] = set()
    for module in modules():
        assert circle(module, []) == []


def test_every_module_of_the_library_imports_with_the_minimal_dependencies() -> None:
    """What only training, the PNG or a foreign layout needs is imported where it is needed."""
    names = [name for name in modules() if room(name) not in ("tasks", "__main__")]
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


def test_importing_the_package_the_registry_and_the_command_imports_no_torch() -> None:
    code = """
import sys, multiattn, multiattn.registry, multiattn.cli.main
multiattn.registry.tasks()
print(sorted({'torch', 'lightning', 'PIL', 'numpy'} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
