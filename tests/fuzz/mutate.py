"""From a sample to an input: one to four changes, each fit for the file that it changes."""

from random import Random

from .archives import changed_archive
from .headers import changed_header
from .lines import changed_lines
from .plain_bytes import CHANGES
from .sample import Sample
from .values import changed_json
from .yaml_text import changed_yaml

_TEXTS = (".jsonl", ".csv", ".txt", ".token.txt")


def mutated(sample: Sample, random: Random) -> Sample:
    """A changed copy; one in a hundred is as it was."""
    if random.random() < 0.01:
        return sample
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        path = _chosen(sample, random)
        content, how = _changed(path, sample.files[path], random)
        sample = sample.changed(path, content, how if len(sample.files) == 1 else f"{path}:{how}")
    if len(sample.files) > 1 and random.random() < 0.03:
        gone = random.choice(sorted(sample.files))
        files = {name: content for name, content in sample.files.items() if name != gone}
        sample = Sample(sample.name, files, sample.target, f"{sample.how} {gone}:gone")
    return sample


def _chosen(sample: Sample, random: Random) -> str:
    """A file to be changed: small ones, which describe the others, as often as large ones."""
    return random.choice(sorted(sample.files))


def _changed(path: str, content: bytes, random: Random) -> tuple[bytes, str]:
    if random.random() < 0.65:
        if path.endswith(".json"):
            return changed_json(content, random)
        if path.endswith((".yaml", ".yml")):
            return changed_yaml(content, random)
        if path.endswith(_TEXTS):
            return changed_lines(path, content, random)
        found = changed_archive(content, random) if content.startswith(b"PK") else changed_header(content, random)
        if found is not None:
            return found
    change = random.choice(CHANGES)
    return change(content, random), change.__name__.replace("_", "-")
