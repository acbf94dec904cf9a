"""Packages whose names are imported when they are first used, so that using one of them does not import torch for all.

Results and maps are read by a runtime without torch; the packages that hold them also hold what computes them.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package.

    A name may not be that of a module of the package: the import of that module would take its place.

    Args:
        package: Its `__name__`.
        homes: For each of its modules, as ".module", the names that it defines, with spaces between them.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def find(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(home_of[name], package), name)
        setattr(sys.modules[package], name, found)
        return found

    return find
