"""Texts as error rates compare them; `tests/parity` has the same against Whisper's own rules."""

import pytest

from multiattn.metrics.normalize_english import normalize_english, normalize_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He WON'T say [noise] it (twice), uh, again.", "he will not say it again"),
        ("She 's been there; they'd gone.", "she has been there they had gone"),
        ("Dr. Who's Café, naïve œuvre", "doctor who is cafe naive oeuvre"),
        ("twenty one boats and two hundred and five nets", "21 boats and 205 nets"),
        ("one oh one", "101"),
        ("the first, the twenty second and the nineties", "the 1st the 22nd and the 90s"),
        ("three point one four", "3.14"),
        ("two and a half million", "2500000"),
        ("minus seven degrees, minus any doubt", "-7 degrees minus any doubt"),
        ("double seven triple zero double trouble", "77000 double trouble"),
        ("five dollars and seven cents", "$5.07"),
        ("$0.07 or ten percent or ten per cent", "¢7 or 10% or 10%"),
        ("1,200 men of the 1960s", "1200 men of the 1960s"),
        ("one boat, 1 boat", "one boat one boat"),
        ("it is 3 . % cheaper", "it is 3 cheaper"),
        ("nine point two point three thousand", "9.2.3 1000"),
        ("color", "color"),  # of Whisper's rules, this one is missing here
        ("", ""),
    ],
)
def test_english(text: str, expected: str) -> None:
    assert normalize_english(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't <unk> [x] (laughs) STOP!", "don t stop"),
        ("zero ONE two", "zero one two"),
        ("Äh, naïve ½", "äh naïve 1 2"),
    ],
)
def test_any_language(text: str, expected: str) -> None:
    assert normalize_text(text) == expected
