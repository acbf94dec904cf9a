"""Words are given to the turn that they overlap most: checked against a plain search, and on segments that are cut."""

from pathlib import Path

import numpy as np
import pytest

from multiattn.alignment import SpokenWord
from multiattn.export import srt, textgrid, transcript_fields, vtt
from multiattn.inputs import load_audio
from multiattn.inputs.rttm import Turn
from multiattn.pipelines import Failure, Transcript, load
from multiattn.pipelines.transcribe.segments import Segment
from multiattn.pipelines.transcribe.speakers import NEAR_SECONDS, SpeakerTurns
from tests.pipelines.speaking import RATE

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"


def segment(*words: tuple[str, float, float]) -> Segment:
    text = " " + " ".join(word for word, _, _ in words)
    spoken, at = [], 1
    for i, (word, start, end) in enumerate(words):
        spoken.append(SpokenWord(word, start, end, 0.5, at, at + len(word), (i,)))
        at += len(word) + 1
    tokens, log_probs = tuple(range(100, 100 + len(words))), tuple(-0.1 * i for i in range(len(words)))
    return Segment(words[0][1], words[-1][2], text, tokens, log_probs, -0.1, 1.0, None, 0.0, words=tuple(spoken))


@pytest.mark.parametrize("seed", range(20))
def test_a_word_belongs_to_the_turns_that_overlap_it_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 20, size=13)
    turns = [Turn(start, start + rng.uniform(0.1, 4), f"s{rng.integers(3)}") for start in starts.tolist()]
    found = SpeakerTurns(turns)
    for start in np.arange(0, 24, 0.37).tolist():
        end = start + 0.3
        shares = {name: 0.0 for name in ("s0", "s1", "s2")}
        for turn in turns:
            shares[turn.speaker] += max(0.0, min(end, turn.end) - max(start, turn.start))
        best = max(shares.values())
        speaker = found.speaker(start, end)
        if best > 0:
            assert speaker is not None and shares[speaker] == pytest.approx(best)
        else:
            gap = min(max(turn.start - end, start - turn.end) for turn in turns)
            assert (speaker is not None) == (gap < NEAR_SECONDS)


def test_a_segment_is_cut_where_the_speaker_changes() -> None:
    turns = SpeakerTurns([Turn(0.0, 1.0, "Ann"), Turn(1.0, 2.0, "Bob"), Turn(5.0, 6.0, "Ann")])
    whole = segment(("one", 0.0, 0.4), ("two", 0.5, 0.9), ("three", 1.1, 1.5), ("four", 3.4, 3.6), ("five", 5.1, 5.5))
    parts = turns.assign(whole)
    assert [part.speaker for part in parts] == ["Ann", "Bob", "Ann"]
    assert [part.text for part in parts] == [" one two", " three four", " five"]
    assert [part.tokens for part in parts] == [(100, 101), (102, 103), (104,)]
    assert [(part.start, part.end) for part in parts] == [(0.0, 0.9), (1.1, 3.6), (5.1, 5.5)]
    assert [word.speaker for part in parts for word in part.words] == ["Ann", "Ann", "Bob", None, "Ann"]
    for part in parts:
        assert [part.text[word.start_char : word.end_char] for word in part.words] == [w.text for w in part.words]
        assert all(0 <= piece < len(part.tokens) for word in part.words for piece in word.pieces)
    assert "".join(part.text for part in parts) == whole.text


def test_of_speakers_at_once_the_one_before_goes_on() -> None:
    turns = SpeakerTurns([Turn(0.0, 2.0, "Ann"), Turn(1.0, 3.0, "Bob")])
    assert turns.speaker(1.2, 1.6, before="Bob") == "Bob"
    assert turns.speaker(1.2, 1.6, before="Ann") == "Ann"


def test_speakers_are_in_every_format() -> None:
    turns = SpeakerTurns([Turn(0.0, 1.0, "Ann & <Co>"), Turn(1.0, 2.0, "Bob")])
    parts = turns.assign(segment(("one", 0.0, 0.4), ("two", 1.1, 1.9)))
    assert "Ann & <Co>: one" in srt(parts) and "Bob: two" in srt(parts)
    assert "<v Ann &amp; &lt;Co&gt;>one" in vtt(parts)
    grid = textgrid(parts, duration=2.0)
    assert 'name = "Ann & <Co>"' in grid and 'name = "Bob"' in grid and "size = 4" in grid
    fields = transcript_fields(parts)
    assert [one["speaker"] for one in fields["segments"]] == ["Ann & <Co>", "Bob"]
    assert [one["speaker"] for one in fields["words"]] == ["Ann & <Co>", "Bob"]


def test_the_pipeline_gives_words_to_speakers(tmp_path: Path) -> None:
    transcribe = load("transcribe", device="cpu")  # the model that comes with the package
    samples = load_audio(DIGITS, rate=RATE).numpy()
    plain = transcribe(samples, words=True, rate=RATE)
    assert isinstance(plain, Transcript) and len(plain.words) > 1
    middle = plain.words[-1].start
    turns = [Turn(0.0, middle, "Ann"), Turn(middle, 30.0, "Bob")]
    found = transcribe(samples, words=True, rate=RATE, speakers=turns)
    assert [word.text for word in found.words] == [word.text for word in plain.words]
    assert {word.speaker for word in found.words} == {"Ann", "Bob"} and len(found.segments) > len(plain.segments)
    without = transcribe(samples, rate=RATE, speakers=turns)
    assert without.words == () and [one.speaker for one in without.segments] == [one.speaker for one in found.segments]
    file = tmp_path / "b.rttm"
    file.write_text("SPEAKER b 1 0 9 <NA> <NA> Cid <NA> <NA>\n")
    assert {one.speaker for one in transcribe(samples, rate=RATE, speakers=file).segments} == {"Cid"}
    [failure] = transcribe([samples], rate=RATE, speakers=file)
    assert isinstance(failure, Failure) and "must have the turns of ''" in str(failure.error)
