"""What a call asks for of maps: the one object that goes from a pipeline's call to where its results are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..checks import require
from ..registry import task_spec

Check = bool | Literal["words"]
"""Whether maps are checked: each as a whole, or, with "words", the map of each word, too."""


@dataclass(frozen=True)
class MapRequest:
    """The maps asked for."""

    methods: tuple[str, ...] = ()
    """Map methods, each once, in the order asked for."""

    check: Check = False
    """Whether each map has a verdict."""

    target: int | None = None
    """The label that the maps explain; the best of each input where None."""

    versus: int | None = None
    """The label that it is compared with: the maps explain the difference of the two scores."""

    labels: int = 0
    """For how many of the best labels there is a map on the page, by the methods that depend on the label."""

    @classmethod
    def of(
        cls,
        task: str,
        maps: str | Sequence[str] | None,
        *,
        check: bool | str = False,
        first: str | None = None,
        wanted: bool = False,
    ) -> "MapRequest":
        """Read the options of a call. A check without maps is one of the map by the first method.

        Args:
            task: The task.
            maps: Names of map methods, or "all".
            check: As `Check` says; "words" for a task whose maps are of words.
            first: The model's first method, which also comes first of all; the task's default where None.
            wanted: Whether a map by the first method is made where `maps` is None, as for a target.

        Raises:
            ModelError: A method is unknown, or there is no such check.
        """
        spec = task_spec(task)
        require(type(check) is bool or check == "words", "check", must='True, False or "words"', value=check)
        of_words = task not in ("classify", "match")
        require(check != "words" or of_words, "check", must="True or False, for labels have no words", value=check)
        checked: Check = "words" if check == "words" else bool(check)
        if maps is None:
            return cls((first or spec.default_map_method,) if check or wanted else (), checked)
        asked = (maps,) if isinstance(maps, str) else tuple(maps)
        for name in asked:
            known = ", ".join(spec.map_methods)
            require(name in (*spec.map_methods, "all"), "maps", must=f"of {known} or all", value=name)
        everything = (first or spec.default_map_method, *spec.map_methods)
        return cls(tuple(dict.fromkeys(everything if "all" in asked else asked)), checked)
