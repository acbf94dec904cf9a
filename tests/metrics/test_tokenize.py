import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.metrics import tokenize as tokenize
from multiattn.metrics.tokenize import PUNCTUATION

# each right side is what Stanford's PTBTokenizer gives, without what pycocoevalcap drops
KNOWN = {
    "A man's dog doesn't like the \"big\" ball.": "a man 's dog does n't like the big ball",
    "The dogs' bowl can't be seen, and cannot move!": "the dogs bowl ca n't be seen and can not move",
    "A t-shirt-wearing man (in red) runs -- fast... really; yes: no?": (
        "a t-shirt-wearing man -lrb- in red -rrb- runs fast really yes no"
    ),
    "3.5 feet tall & 1,000 lbs at 10:30 a.m. in the U.S.": "3.5 feet tall & 1,000 lbs at 10:30 a.m. in the u.s.",
    "50% off for $5 #1 and/or he/she me@x.com http://a.b/c 1/2 3x4": (
        "50 % off for $ 5 # 1 and/or he/she me@x.com http://a.b/c 1/2 3x4"
    ),
    "they're I've I'd we'll i'm gonna wanna gotta gimme lemme o'clock 'tis": (
        "they 're i 've i 'd we 'll i 'm gon na wan na got ta gim me lem me o'clock 't is"
    ),
    "“curly quotes” ‘single’ it’s – en — em … café naïve": "curly quotes single it 's en em café naïve",
    "Mr. Smith and Dr. Who etc. on St. Mary's No. 5": "mr. smith and dr. who etc. on st. mary 's no. 5",
    "man 's dog is n't ' quoted ' words": "man 's dog is n't quoted words",
    "a man on a slip 'n' slide in the '90s": "a man on a slip 'n' slide in the '90s",
    "an orange U. Miami shirt": "an orange u. miami shirt",
    "He takes vitamin C.": "he takes vitamin c",
    "It was 5 p.m.": "it was 5 p.m.",
    'A man says "no."': "a man says no",
    "a dog . runs , here ;there :now !ok ?yes": "a dog runs here there now ok yes",
    "what?! !!!": "what ?! !!!",
    "a -5 +3 x-5 1,234,567.89": "a -5 +3 x-5 1,234,567.89",
    "{a} [b]": "-lcb- a -rcb- -lsb- b -rsb-",
    "the 80's band, o'neil, ma'am": "the 80 's band o'neil ma'am",
    "  a \t lot\n of space ": "a lot of space",
    "日本 猫": "日本 猫",
    "": "",
    " . ": "",
}


@pytest.mark.parametrize("text", KNOWN, ids=lambda text: text[:20])
def test_it_splits_as_the_penn_treebank_does(text):
    assert " ".join(tokenize(text)) == KNOWN[text]


@given(st.text(max_size=40))
def test_whatever_comes_gives_words_in_lower_case_without_space_and_punctuation(text):
    for word in tokenize(text):
        assert word
        assert not any(character.isspace() for character in word)
        assert word == word.lower()
        assert word not in PUNCTUATION


@given(st.text("ab'-.,\" nt(/5", max_size=20))
def test_no_letter_is_lost_but_the_last_step_of_brackets(text):
    letters = [character for character in text if character in "abnt5"]
    kept = [word for word in tokenize(text) if word not in ("-lrb-", "-rrb-")]
    assert [character for word in kept for character in word if character in "abnt5"] == letters
