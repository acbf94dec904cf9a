"""Where the shipped files lie: `assets/` and `configs/` of a checkout, inside the package of a wheel."""

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent

# kind -> (place in a wheel, place in a checkout); pyproject.toml copies the one to the other
_PLACES = {
    "models": ("_shipped/models", "assets/models"),
    "inputs": ("_shipped/inputs", "assets/inputs"),
    "configs": ("_shipped/configs", "configs"),
}


def shipped(kind: Literal["models", "inputs", "configs"], name: str = "") -> Path:
    """The path of a shipped file or folder, e.g. `shipped("models", "classify")`, whether or not it exists."""
    in_wheel, in_checkout = _PLACES[kind]
    root = _PACKAGE / in_wheel
    return (root if root.is_dir() else _CHECKOUT / in_checkout) / name
