"""A picture that was asked about, with maps of which every one is another."""

import numpy as np
from PIL import Image

from multiattn.export import AskedPicture, PageQuestion, PageText, PageWord
from multiattn.maps.attention_map import AttentionMap
from tests.export.pictures import whole, words_map

ROWS, COLUMNS = 5, 7
QUESTIONS = (
    (("what", " color", " is", " the", " fox", "?"), ("dark", " red"), (("dark red", 0.75), ("blue", 0.2))),
    (("is", " it", " asleep", "?"), ("yes",), ()),
    (("where", " is", " it", "?"), (), ()),
)
# layers and heads of the question's and of the answer's stacks
STACKS = ((2, 3), (3, 1))


def maps_of(texts: tuple[str, ...], seed: int, picture: Image.Image, heads: tuple[int, int]) -> list[AttentionMap]:
    random = np.random.default_rng(seed)
    grid = (len(texts), ROWS, COLUMNS)
    return [
        words_map(random.random(grid), texts, whole(picture), note=f"Attention {seed}."),
        words_map(random.random(grid), texts, whole(picture), method="relevance", note=f"Relevance {seed}."),
        words_map(random.random((*heads, *grid)), texts, whole(picture), note=f"Stack {seed}."),
    ]


def asked_text(texts: tuple[str, ...], seed: int, picture: Image.Image, *, answered: bool) -> PageText:
    words = [PageWord(text, 0.5 + 0.1 * i if answered else None) for i, text in enumerate(texts)]
    return PageText(words, maps_of(texts, seed, picture, STACKS[answered]) if texts else [])


def asked_picture(picture: Image.Image, *, count: int = len(QUESTIONS)) -> AskedPicture:
    questions = [
        PageQuestion(
            asked_text(question, 2 * i, picture, answered=False),
            asked_text(answer, 2 * i + 1, picture, answered=True),
            candidates,
        )
        for i, (question, answer, candidates) in enumerate(QUESTIONS[:count])
    ]
    return AskedPicture(picture, "fox.jpg", questions)
