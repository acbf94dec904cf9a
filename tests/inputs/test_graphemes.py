"""Grapheme clusters are whole, in words too, however a vocabulary cuts them."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.alignment import group_words
from multiattn.inputs import Tokenizer
from multiattn.inputs.graphemes import clusters, within_cluster

CLUSTERS = {
    "accents": ["e\u0301", "o\u0302\u0301", "x"],
    "family": ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "!"],
    "hand with its color": ["\U0001f44d\U0001f3fd", "\U0001f44d"],
    "keycap": ["1\ufe0f\u20e3", "2"],
    "flags": ["\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea", "\U0001f1ea"],
    "flag of tags": ["\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"],
    "jamo": ["\u1112\u1161\u11ab", "\u1100\u1173\u11af", "\uac00", "\uac01"],
    "devanagari": ["\u0915\u094d\u0937\u093f", "\u0924\u094d\u0930", "\u0928\u0940"],
    "bengali": ["\u0995\u09cd\u09b7", "\u09be"[:0] + "\u0997\u09be"],
    "tamil": ["\u0ba8\u0bbf", "\u0baf"],
    "thai": ["\u0e01\u0e33", "\u0e17\u0e35\u0e48"],
    "lao": ["\u0e99\u0ecd\u0ec9\u0eb2"[:3], "\u0eb2"],
    "myanmar": ["\u1000\u102d\u102f", "\u1010\u103c\u102e\u1038"],
    "line end": ["a", "\r\n", "b"],
    "han": ["\u6f22", "\u5b57"],
}
PARTS = sorted(
    {character for found in CLUSTERS.values() for whole in found for character in whole} | set(" ab.,\u0661\u0600")
)
TEXTS = st.text(st.one_of(st.sampled_from(PARTS), st.characters(exclude_categories=("Cs",))), max_size=11)


@pytest.mark.parametrize("expected", CLUSTERS.values(), ids=CLUSTERS)
def test_clusters_are_what_a_reader_takes_for_a_character(expected):
    assert clusters("".join(expected)) == expected


@given(TEXTS)
@settings(max_examples=300)
def test_no_cluster_of_another_implementation_is_split(text):
    regex = pytest.importorskip("regex", reason="the reference comes with the `parity` extra")
    whole = {0, *accumulate(len(one) for one in regex.findall(r"\X", text))}
    assert {0, *accumulate(len(one) for one in clusters(text))} <= whole
    assert "".join(clusters(text)) == text


class Characters(Tokenizer):
    """A vocabulary whose tokens are the bytes of a text, or its single characters."""

    special_ids = frozenset()

    def __init__(self, text, *, in_bytes):
        self._pieces = [bytes([one]) for one in text.encode()] if in_bytes else [one.encode() for one in text]
        self.ids = list(range(len(self._pieces)))

    def decode(self, ids):
        return b"".join(self._pieces[i] for i in ids).decode(errors="replace")


@given(
    TEXTS.map(lambda text: text.replace("\ufffd", "")), st.booleans(), st.sampled_from(["en", "hi", "zh", "th", "ko"])
)
@settings(max_examples=300, deadline=None)
def test_no_word_begins_or_ends_within_a_cluster(text, in_bytes, language):
    tokenizer = Characters(text, in_bytes=in_bytes)
    words = group_words(tokenizer, tokenizer.ids, language=language)
    for word in words:
        assert text[word.start : word.end] == word.text
        for index in (word.start, word.end):
            beside_space = text[index - 1 : index].isspace() or text[index : index + 1].isspace()
            assert beside_space or not within_cluster(text, index)
    pieces = [piece for word in words for piece in word.pieces]
    assert pieces == sorted(set(pieces))
    assert "".join(word.text for word in words).split() == "".join(text.split()).split()


def test_each_character_is_a_word_where_there_are_no_spaces():
    text = "".join(CLUSTERS["thai"] + CLUSTERS["han"])
    tokenizer = Characters(text, in_bytes=True)
    found = [word.text for word in group_words(tokenizer, tokenizer.ids, language="th")]
    assert found == CLUSTERS["thai"] + CLUSTERS["han"]
