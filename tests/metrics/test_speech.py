import random

import pytest

from multiattn.errors import InputError, ModelError
from multiattn.metrics.speech import normalizer_of, speech_scores


def naive_errors(written: list[str], said: list[str]) -> int:
    """The edit distance, by its definition."""
    row = list(range(len(written) + 1))
    for i, word in enumerate(said, start=1):
        last, row[0] = row[0], i
        for j, other in enumerate(written, start=1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


def test_the_rates_are_edit_distances_over_what_was_said() -> None:
    rng = random.Random(3)
    words = ["red", "boat", "a", "river's", "upon"]
    said = [" ".join(rng.choices(words, k=rng.randint(1, 7))) for _ in range(31)]
    written = [" ".join(rng.choices(words, k=rng.randint(0, 7))) for _ in range(31)]
    found = speech_scores(written, said, normalize=str)
    errors = sum(naive_errors(w.split(), s.split()) for w, s in zip(written, said, strict=True))
    letters = sum(naive_errors(list(w), list(s)) for w, s in zip(written, said, strict=True))
    assert found.words == sum(len(text.split()) for text in said)
    assert found.substitutions + found.deletions + found.insertions == errors
    assert found.wer == pytest.approx(errors / found.words)
    assert found.cer == pytest.approx(letters / sum(map(len, said)))


def test_what_is_written_about_silence_counts() -> None:
    found = speech_scores(["two words", "", "ten"], ["", "", "ten"], normalize=str)
    assert (found.wer, found.insertions, found.words) == (2.0, 2, 1)
    assert found.cer == pytest.approx(9 / 3)


def test_both_sides_are_normalized_and_runs_of_spaces_are_one() -> None:
    assert speech_scores(["  A   B "], ["a b"], normalize=str.lower).wer == 0
    assert speech_scores(["a  b"], ["a b"], normalize=str).cer == 0
    assert speech_scores(["A b"], ["a b"], normalize=str).wer == 0.5


def test_what_cannot_be_compared() -> None:
    with pytest.raises(
        InputError, match=r"`len\(transcripts\)` must be that of the recordings in `references` \(2\), but is 1 instead"
    ):
        speech_scores(["a"], ["a", "b"], normalize=str)
    with pytest.raises(InputError, match="`references` must have at least one word after normalization, but have none"):
        speech_scores(["a", "b"], ["...", ""], normalize=normalizer_of("basic"))


def test_normalizers_by_name() -> None:
    text = "  Mr. Fox's  twenty-one!  "
    assert normalizer_of("none")(text) == text
    assert normalizer_of("basic")(text) == "mr fox s twenty one"
    assert normalizer_of("english")(text) == "mister fox is 21"
    with pytest.raises(ModelError, match="`normalizer` must be one of english, basic, none, but is 'whisper' instead"):
        normalizer_of("whisper")
