"""Changes of YAML: by structure, and what only YAML has: tags, anchors and merges."""

from random import Random

import yaml

from .values import changed

_TEXTS = (
    "!!python/object/apply:os.getcwd []",
    "!!python/name:os.getcwd",
    "!!binary x",
    "!!timestamp 9999-99-99",
    "!unknown {a: 1}",
    "*nobody",
    "<<: *nobody",
    "{" * 3000,
    "[" * 3000 + "]" * 3000,
    "0x" + "f" * 5000,
    "7" * 5000,
    "1:" * 2000 + "1",
    "2001-99-99",
    "? {a: 1}\n: 2",
    "&a [*a]",
    "\t- x",
    "%YAML 9.9",
    "--- \n---",
    "\x00",
    "é" * 9,
)


def changed_yaml(content: bytes, random: Random) -> tuple[bytes, str]:
    """The file with one to three changes by structure, or with a piece of text that is special in YAML."""
    text = content.decode("utf-8", "replace")
    if random.random() < 0.35:
        lines = text.splitlines()
        at = random.randrange(len(lines) + 1) if lines else 0
        piece = random.choice((*_TEXTS, _laughs()))
        if lines and at < len(lines) and ":" in lines[at] and random.random() < 0.7:
            lines[at] = f"{lines[at].partition(':')[0]}: {piece}"
        else:
            lines.insert(at, piece)
        return "\n".join(lines).encode(), "yaml-text"
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return content[: len(content) // 2], "half"
    words = []
    try:
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            data, word = changed(data, random)
            words.append(word)
        return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"), "yaml:" + "+".join(words)
    except (yaml.YAMLError, ValueError, RecursionError):
        return content[: len(content) // 2], "half"


def _laughs() -> str:
    """A few lines that stand for 10**9 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    return "\n".join(lines)
