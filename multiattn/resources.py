"""The paths of the shipped files: in `assets/` and `configs/` of a checkout, inside the package of a wheel."""

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent

# kind -> (folder in a wheel, folder in a checkout); pyproject.toml copies the latter to the former
_FOLDERS = {
    "models": ("_shipped/models", "assets/models"),
    "inputs": ("_shipped/inputs", "assets/inputs"),
    "configs": ("_shipped/configs", "configs"),
}


def shipped(kind: Literal["models", "inputs", "configs"], name: str = "") -> Path:
    """Return the path of a shipped file or folder, e.g. `shipped("models", "classify")`, whether or not it exists."""
    in_wheel, in_checkout = _FOLDERS[kind]
    root = _PACKAGE / in_wheel
    return (root if root.is_dir() else _CHECKOUT / in_checkout) / name
