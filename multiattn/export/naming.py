"""What a map is called where people read it: its method, what its values are, where it comes from."""

import math

from ..maps.attention_map import AttentionMap

_MEANINGS = {
    "attention": "attention weight",
    "rollout": "attention through all layers",
    "relevance": "relevance",
    "gradient_x_input": "gradient × input",
}


def readable(method: str) -> str:
    """A method's name in prose: `gradient × input` for `gradient_x_input`."""
    return method.replace("_x_", " × ").replace("_", " ")


def title(attention_map: AttentionMap) -> str:
    """The method and what it explains: `relevance for “tabby cat”`."""
    method = readable(attention_map.method)
    return method if attention_map.target is None else f"{method} for “{attention_map.target}”"


def meaning(attention_map: AttentionMap) -> str:
    """What the values are, with their unit, as it stands beside a color bar: `relevance per patch`, `per 20 ms`."""
    method, last = attention_map.method, attention_map.axes[-1]
    unit = f"{1000 * last.step:g} ms" if last.unit == "second" else last.unit
    return f"{_MEANINGS.get(method, readable(method))} per {unit}"


def origin(attention_map: AttentionMap) -> str:
    """Which attentions and heads a map was made from: `blocks.11.self · all heads`."""
    sites, heads = attention_map.sites, attention_map.heads
    where = sites[0] if len(sites) == 1 else f"{sites[0]} to {sites[-1]}"
    if heads is None:
        return f"{where} · all heads"
    return f"{where} · {'head' if len(heads) == 1 else 'heads'} {', '.join(map(str, heads))}"


def likelier(image_dependence: float) -> str:
    """How much likelier the picture makes a word, from its dependence in nats: `× 14`; `× 0.8` is less likely."""
    if image_dependence > math.log(1000):
        return "× more than 1000"
    times = math.exp(image_dependence)
    return f"× {times:.0f}" if times >= 9.95 else f"× {times:.2g}" if times < 0.995 else f"× {times:.1f}"


def check_score(label: str, score: float) -> None:
    """Raise ValueError where a score is no probability."""
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise ValueError(f"`score` of {label!r} must be between 0 and 1, but is {score} instead.")
