"""Our rules for texts against Whisper's own, on sentences drawn from words that the rules are about."""

import random

import pytest

from multiattn.metrics.normalize_english import normalize_english, normalize_text
from multiattn.metrics.normalize_numbers import _KNOWN

normalizers = pytest.importorskip("whisper.normalizers")
# the table of spellings is read from a file that is left open
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

WORDS = [
    *sorted(_KNOWN),
    *"cat a half o'clock won't don't i've he'd been she 's got mr st um café straße ½ x1y2 y'all".split(),
    *"0 3 12 007 100 1 2.5 $5 -7 £3.20 5th 20s 50% 3. 1,000 192.168.0.1 ¢7 $0.07 $ ¢ % . 10%% +4 [x] (y) @".split(),
    *("and a half", "per cent", "2 and a half", "he'd done"),
]


def sentences(count: int) -> list[str]:
    rng = random.Random(5)
    joins = (" ", " ", " ", ", ", ". ", "-")
    return [rng.choice(joins).join(rng.choices(WORDS, k=rng.randint(1, 8))) for _ in range(count)]


def test_english_is_whispers_but_for_its_table_of_spellings() -> None:
    theirs = normalizers.EnglishTextNormalizer()
    theirs.standardize_spellings.mapping = {}
    for text in sentences(2003):
        assert normalize_english(text) == " ".join(theirs(text).split()), text


def test_any_language_is_whispers() -> None:
    theirs = normalizers.BasicTextNormalizer()
    for text in sentences(1009):
        assert normalize_text(text) == " ".join(theirs(text).split()), text
