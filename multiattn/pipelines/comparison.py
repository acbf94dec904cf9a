"""The maps of two methods side by side, for the results of any of the pipelines over pictures."""

from collections.abc import Iterable
from pathlib import Path

from ..checks import require
from ..export import ComparedPicture, write_comparison
from .image_results import ImageMap
from .results import Result, first_map


def save_comparison(
    path: str | Path, results: Iterable[Result], *, methods: tuple[str, str] | None = None, title: str | None = None
) -> None:
    """Write one self-contained page: for each result its maps by two methods, and the first less the second.

    Args:
        path: The HTML file; missing folders are made.
        results: Of `classify`, `caption` or `answer`, called with `maps=` both methods.
        methods: The two; the first two of each result where None.
        title: The title of the page; the name of the first picture where None.

    Raises:
        InputError: A result has no maps.
        ModelError: There are no results, a result has no map by one of the methods, or its maps are of no picture.
    """
    compared = []
    for result in results:
        first_map(result.maps, 'classify(picture, maps=("relevance", "attention"))')
        by_method = {one.map.method: one for one in result.maps}
        pair = methods or tuple(by_method)[:2]
        require(len(pair) == 2, "maps", must="by two methods at least", value=", ".join(by_method))
        for name in pair:
            require(name in by_method, "methods", must=f"two of {', '.join(by_method)}", value=name)
        first, second = (by_method[name] for name in pair)
        is_picture = isinstance(first, ImageMap)
        require(is_picture, "results", must="about pictures", value=type(result).__name__)
        assert isinstance(first, ImageMap)
        record = result.to_dict()
        labels = record.get("predictions")
        said = labels[0]["label"] if isinstance(labels, list) and labels else record.get("answer", record.get("text"))
        compared.append(ComparedPicture(first.picture, first.name, str(said), first.map, second.map))
    require(bool(compared), "results", must="at least one", value=0)
    write_comparison(path, compared, title=compared[0].name if title is None else title)
