"""Changes of JSON and YAML by structure: types, keys, depth, and numbers that no program expects."""

import copy
import json
import re
from random import Random
from typing import Any

_NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"), -float("inf")),
    *(255, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**400),
)
_TEXTS = (
    *("", " ", "a", "0", "-1", "1e999", "null", "true", "NaN", "../../x", "/", ".", "\0", "a\0b", "a\nb", "a\tb"),
    *("\ud800", "x\udfffy", "\u202e", "\ufeff", "\x1b[31m", "🦊", "e\u0301" * 9, "a" * 300, "b" * 70_000, "{}", "%s"),
)
_ATOMS = (None, True, False, [], {}, [[]], [None], {"a": 1}, [0, 0], [1, 2, 3], [[0, 0]], [1e308] * 4)
_HUGE = "__5000_DIGITS__"  # becomes an integer of 5,000 digits, which Python's own encoder does not write
_DEEP = "__DEEP__"  # becomes a list in a list in a list, deeper than any parser goes


def value(random: Random) -> Any:
    """Any JSON value, of the kinds that break readers."""
    pool = random.choice((_NUMBERS, _NUMBERS, _TEXTS, _TEXTS, _ATOMS, (_HUGE, _DEEP)))
    return copy.deepcopy(random.choice(pool))


def _places(data: Any, *, most: int = 3000) -> list[tuple[Any, Any]]:
    """Containers with each of their keys or indices; not all, for YAML may refer to one of them again and again."""
    found: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting and len(found) < most:
        one = waiting.pop()
        pairs = list(one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ())
        found += [(one, key) for key, _ in pairs]
        waiting += [inner for _, inner in reversed(pairs)]
    return found


def changed(data: Any, random: Random) -> tuple[Any, str]:
    """A copy with one change, and a word for it."""
    data = copy.deepcopy(data)
    places = _places(data)
    if not places or random.random() < 0.02:
        return value(random), "other-root"
    # the keys of the top, which say the most, are as likely as all that lies below
    top = [place for place in places if place[0] is data]
    where, key = random.choice(random.choice((top, places)))
    old = where[key]
    match random.choice(("set", "set", "set", "near", "near", "drop", "add", "twice", "wrap", "rename", "move")):
        case "near" if isinstance(old, int | float) and not isinstance(old, bool) and abs(old) < 1e300:
            third = old // 3 if isinstance(old, int) else old / 3
            where[key] = random.choice((old + 1, old - 1, -old, old * 2, old * 1000, third, f"{old:.3g}", [old], 0.5))
            return data, "near-number"
        case "near" if isinstance(old, str) and old:
            at = random.randrange(len(old) + 1)
            where[key] = old[:at] + random.choice(_TEXTS) + old[at:]
            return data, "near-text"
        case "drop":
            del where[key]
            return data, "drop"
        case "add" if isinstance(where, dict):
            where[random.choice((*_TEXTS, "extra", "__class__"))] = value(random)
            return data, "add"
        case "add":
            where.insert(key, value(random))
            return data, "add"
        case "twice" if isinstance(where, list):
            where[key:key] = [old] * random.choice((1, 2, 100))
            return data, "twice"
        case "wrap":
            where[key] = random.choice(([old], {"a": old}, [old, old]))
            return data, "wrap"
        case "rename" if isinstance(where, dict):
            del where[key]
            where[random.choice((f"{key}x", str(key).upper(), *_TEXTS))] = old
            return data, "rename"
        case "move":
            other, there = random.choice(places)
            where[key] = copy.deepcopy(other[there])
            return data, "move"
    where[key] = value(random)
    return data, f"set-{type(where[key]).__name__}"


def to_json(data: Any, random: Random, **options: Any) -> bytes:
    """JSON text, with what Python would not write: deep nesting, long integers, half a surrogate pair."""
    # a surrogate stays an escape, which JSON may have; other letters are written as they are in half of the cases
    text = json.dumps(data, ensure_ascii=random.random() < 0.5, **options)
    text = text.replace(f'"{_HUGE}"', "7" * 5000).replace(_HUGE, "7" * 5000)
    depth = random.choice((100, 1000, 100_000))
    text = text.replace(f'"{_DEEP}"', "[" * depth + "]" * depth)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def changed_json(content: bytes, random: Random) -> tuple[bytes, str]:
    """A JSON file with one to three changes; as bytes where it is no JSON."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return content[: len(content) // 2], "half"
    words = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data, word = changed(data, random)
        words.append(word)
    return to_json(data, random), "json:" + "+".join(words)
