"""How a map is described to a reader: its method, what its values are, and where it comes from."""

import math
from collections.abc import Sequence

from ..maps.attention_map import AttentionMap
from ..maps.verdict import Checked

_MEANINGS = {
    "attention": "attention weight",
    "self_attention": "attention weight",
    "rollout": "attention through all layers",
    "relevance": "relevance",
    "gradient_x_input": "gradient × input",
    "lrp": "contribution",
}


def readable(method: str) -> str:
    """Return a method's name in prose: `gradient × input` for `gradient_x_input`, `LRP` for `lrp`."""
    if method == "lrp":
        return "LRP"
    return method.replace("_x_", " × ").replace("_", " ")


def title(attention_map: AttentionMap) -> str:
    """Return the method and what it explains: `relevance for “tabby cat”`."""
    method = readable(attention_map.method)
    return method if attention_map.target is None else f"{method} for “{attention_map.target}”"


def meaning(attention_map: AttentionMap) -> str:
    """Return what the values are, with their unit, for a color bar: `relevance per patch`, `per 20 ms`."""
    method, last = attention_map.method, attention_map.axes[-1]
    unit = f"{1000 * last.step:g} ms" if last.unit == "second" else last.unit
    return f"{_MEANINGS.get(method, readable(method))} per {unit}"


def origin(attention_map: AttentionMap) -> str:
    """Return the attention sites and heads that a map was made from: `blocks.11.self · all heads`."""
    sites, heads = attention_map.sites, attention_map.heads
    where = sites[0] if len(sites) == 1 else f"{sites[0]} to {sites[-1]}"
    if heads is None:
        return f"{where} · all heads"
    return f"{where} · {'head' if len(heads) == 1 else 'heads'} {', '.join(map(str, heads))}"


def described(attention_map: AttentionMap, *, with_target: bool = False) -> dict[str, object]:
    """Return what a page says of a map, and the names of the layers and the number of heads to choose from."""
    name, target = readable(attention_map.method), attention_map.target
    facts: dict[str, object] = {
        "name": f"{name}: {target}" if with_target and target else name,
        "note": attention_map.note,
        "origin": origin(attention_map),
        "meaning": meaning(attention_map),
        "signed": attention_map.is_signed,
        "layers": None,
        "heads": 1,
    }
    if "layer" in attention_map.names:
        layers, heads = attention_map.values.shape[:2]
        names = attention_map.axes[0].labels or [f"layer {layer}" for layer in range(layers)]
        facts |= {"name": "layer and head", "layers": names, "heads": heads}
    return facts


def verdicts_of(attention_map: AttentionMap, verdicts: Sequence[Checked]) -> list[dict[str, object]]:
    """Return what a page says of how far a map can be trusted: of each window, where there are several."""
    if "layer" in attention_map.names:
        return []
    return [one.to_dict() for one in verdicts if one.method == attention_map.method]


def likelier(image_dependence: float) -> str:
    """Return how many times likelier a word is with the image, from its dependence in nats: `× 14`, `× 0.8`."""
    if image_dependence > math.log(1000):
        return "× more than 1000"
    times = math.exp(image_dependence)
    return f"× {times:.0f}" if times >= 9.95 else f"× {times:.2g}" if times < 0.995 else f"× {times:.1f}"


def check_score(label: str, score: float | None) -> None:
    """Raise ValueError if there is a score and it is no probability."""
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"`score` of {label!r} must be between 0 and 1, but is {score} instead.")
