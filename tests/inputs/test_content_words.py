"""Which words of a question say what is asked."""

import pytest

from multiattn.inputs.content_words import content_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What color is the table?", ("color", "table")),
        ("is there a RED circle, or not", ("red", "circle")),
        ("who is it? why? when?", ("who", "why", "when")),
        ("how many 3-legged dogs are there? how?", ("how", "many", "3-legged", "dogs")),
        ("the dog's ball, the dogs' ball", ("dog", "ball", "dogs")),
        ("where is the 猫 of straße 7?", ("where", "猫", "strasse", "7")),
        ("is the ...?!", ()),
        ("", ()),
    ],
)
def test_the_words_that_are_left(text: str, words: tuple[str, ...]) -> None:
    assert content_words(text) == words
