"""The published families of models and what each can do, by the registry: for `multiattn models`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import registry


class Family(NamedTuple):
    """The models of one published layout, for one task."""

    layout: str
    models: str
    """In words."""

    task: str
    maps: tuple[str, ...]
    """The map methods, the default first."""

    embeds: bool
    """Whether `multiattn embed` takes them."""

    classes: tuple[str, ...]
    """The classes of another library that save such files."""

    headless: tuple[str, ...]
    """Those of `classes` that only embed."""

    @property
    def predicts(self) -> bool:
        """Whether some of its models have a head."""
        return not self.classes or len(self.headless) < len(self.classes)

    @property
    def abilities(self) -> list[str]:
        """What it can do: its task, maps and embed; without a head it only embeds."""
        task = [self.task, *["maps"] * bool(self.maps)] if self.predicts else []
        return [*task, *["embed"] * self.embeds]

    def to_dict(self) -> dict[str, Any]:
        """Return the family for JSON."""
        return {**self._asdict(), "does": self.abilities}


def families(task: str | None = None) -> list[Family]:
    """Return every published family, of all tasks or of one, in the order of the registry."""
    from ..weights.directory import known_layouts

    layouts = {layout.name: layout for layout in known_layouts()}
    found = []
    for spec in registry.tasks().values():
        if task not in (None, spec.name):
            continue
        embeds = hasattr(registry.load_part(spec.pipeline), "stream_embeddings")
        first = [spec.default_map_method] if spec.map_methods else []
        maps = tuple(dict.fromkeys([*first, *spec.map_methods]))
        for name in spec.layouts:
            layout = layouts[name]
            of_task = [kind for kind in layout.classes if layout.tasks.get(kind, spec.name) == spec.name]
            of_layout = maps if layout.has_maps else ()
            found.append(Family(name, layout.models, spec.name, of_layout, embeds, tuple(of_task), layout.headless))
    return found


def as_markdown(found: Sequence[Family]) -> str:
    """Return the families as a table for a document, and the map methods of each task below it."""
    lines = ["| models | layout | what they do | saved by |", "| --- | --- | --- | --- |"]
    for one in found:
        classes = [f"`{kind}`{' (no head)' if kind in one.headless else ''}" for kind in one.classes]
        cells = (one.models, f"`{one.layout}`", ", ".join(one.abilities), ", ".join(classes))
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    methods = {one.task: one.maps for one in found if one.maps}
    lines += ["", *(f"- Maps of {task}: {', '.join(maps) or 'none'}." for task, maps in methods.items())]
    return "\n".join(lines)
