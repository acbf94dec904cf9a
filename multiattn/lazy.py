"""Packages whose names are imported when they are first used: a program pays for the parts that it uses."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def names_of(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package.

    No name may be that of a module of the package: once the module is imported, it stands there instead.

    Args:
        package: Its `__name__`.
        homes: The modules of the package, as `.module`, each with the names that the package has from it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name], package), name)

    return get
