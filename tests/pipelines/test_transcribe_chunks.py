"""Speech packed into chunks, what a chunk's times are in the recording, and batches whose items come again."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from multiattn.alignment import SpokenWord
from multiattn.inputs import Recording
from multiattn.pipelines.transcribe.chunks import chunks_of
from multiattn.pipelines.transcribe.coverage import in_sequence, least_end, missed, trimmed, uncovered_speech
from multiattn.pipelines.transcribe.pieces import Chunk, Piece, span_in_recording, with_pauses, word_in_recording
from multiattn.pipelines.transcribe.reach import ReachSpeech
from multiattn.pipelines.transcribe.rounds import Rounds
from multiattn.pipelines.transcribe.segments import UNCOVERED, Segment
from multiattn.pipelines.transcribe.speech_detector import STEP_SECONDS
from multiattn.pipelines.transcribe.voice import Voice

RATE = 16_000


class Heard(Voice):
    """A voice with given spans of speech (s), known as far as samples were added."""

    def __init__(self, *spans: tuple[float, float], known: float = 0.0) -> None:
        self._start, self._spans, self._parts = 0.0, spans, []
        self._seconds = known
        self._update()

    def add(self, samples: torch.Tensor, *, is_last: bool = False) -> None:
        self._seconds += len(samples) / RATE
        self._update()

    def _update(self) -> None:
        centers = (np.arange(int(self._seconds / STEP_SECONDS)) + 0.5) * STEP_SECONDS
        found = np.zeros(len(centers), np.float32)
        for start, end in self._spans:
            found[(centers >= start) & (centers < end)] = 0.9
        self._joined = found


def chunks(seconds: float, *spans: tuple[float, float], longest: float = 30.0) -> list[Chunk]:
    samples = torch.arange(round(seconds * RATE)) / (seconds * RATE)
    with Recording.open(samples) as recording:
        found = list(chunks_of(recording, Heard(*spans), longest=longest))
    for chunk in found:
        parts = [samples[round(one.start * RATE) :][: round(one.seconds * RATE)] for one in chunk.pieces]
        torch.testing.assert_close(chunk.samples, torch.cat(parts))
        assert [one.at for one in chunk.pieces] == pytest.approx(
            [0.0, *np.cumsum([one.seconds for one in chunk.pieces])[:-1]]
        )
    return found


def talk(seconds: float, *, sentence: float, pause: float, start: float = 0.7) -> list[tuple[float, float]]:
    found = []
    while start + sentence < seconds:
        found.append((start, start + sentence))
        start += sentence + pause
    return found


@pytest.mark.parametrize(
    ("sentence", "pause"), [(3.1, 0.3), (7.3, 1.7), (2.3, 5.9), (0.5, 13.1), (29.0, 0.5), (41.3, 2.9), (1.1, 71.0)]
)
def test_all_speech_is_in_chunks_and_no_cut_is_in_it(sentence: float, pause: float) -> None:
    spans = talk(307.0, sentence=sentence, pause=pause)
    found = chunks(307.0, *spans)
    pieces = [piece for chunk in found for piece in chunk.pieces]
    assert all(one.end <= other.start + 1e-6 for one, other in zip(pieces, pieces[1:], strict=False))
    for chunk in found:
        assert chunk.seconds <= 30 + 1e-6 and chunk.pieces[-1].end - chunk.start <= 61
    for start, end in spans:
        within = sum(max(0.0, min(end, piece.end) - max(start, piece.start)) for piece in pieces)
        assert within == pytest.approx(end - start, abs=0.05)
        if sentence < 30:  # else it has to be cut
            assert any(one.start <= start + 0.05 and end - 0.05 <= one.end for one in pieces)
    if sentence < 10 and pause < 3:  # packed
        assert np.mean([chunk.seconds for chunk in found[:-1]]) > 30 - sentence - 2
    if pause > 3:  # long pauses are left out
        assert sum(chunk.seconds for chunk in found) <= len(spans) * (sentence + 0.85) + 1


def test_silence_is_no_chunk() -> None:
    assert chunks(100.0) == []


def test_times_of_a_chunk_are_those_of_its_pieces() -> None:
    pieces = (Piece(0.0, 10.0, 2.0), Piece(2.0, 20.0, 3.0))
    assert span_in_recording(pieces, 0.5, 1.5) == (10.5, 11.5)
    assert span_in_recording(pieces, 0.5, 2.0) == (10.5, 12.0)  # ends before the pause
    assert span_in_recording(pieces, 2.0, 4.0) == (20.0, 22.0)  # begins after it
    assert span_in_recording(pieces, 1.0, 2.5) == (11.0, 20.5)
    assert word_in_recording(pieces, 1.9, 2.5) == (20.0, 20.5)  # a word is on one side
    assert word_in_recording(pieces, 1.5, 2.1) == (11.5, 12.0)
    values = with_pauses(np.arange(1.0, 6.0)[None], pieces, step=1.0)
    assert values[0].tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 5]
    chunk = Chunk.joined([(10.0, torch.full((2 * RATE,), 0.1)), (20.0, torch.full((3 * RATE,), 0.2))], rate=RATE)
    assert chunk.pieces == pieces
    rest = chunk.between(1.5, 5.0)
    assert rest.pieces == (Piece(0.0, 11.5, 0.5), Piece(0.5, 20.0, 3.0)) and len(rest.samples) == 3.5 * RATE
    assert chunk.between(2.5, 3.0).pieces == (Piece(0.0, 20.5, 0.5),)


def said(start: float, end: float, **changes: object) -> Segment:
    return Segment(start, end, " words", (1,), (-0.1,), -0.1, 1.0, 0.0, 0.0, **changes)


def test_speech_without_a_segment_is_found() -> None:
    voice = Heard((1.0, 4.0), (5.0, 8.0), (9.5, 9.8), (12.0, 15.0), known=20.0)
    [middle] = uncovered_speech(voice, [said(0.9, 4.1), said(11.9, 15.2)], 0.0, 20.0)
    assert middle == pytest.approx((4.7, 10.1), abs=0.05)  # with what is around it
    assert uncovered_speech(voice, [said(0.9, 8.0), said(11.9, 15.2)], 0.0, 20.0) == []  # 0.3 s are a breath
    assert len(uncovered_speech(voice, [], 0.0, 20.0)) == 1
    assert len(uncovered_speech(voice, [said(0.0, 20.0, is_dropped=True)], 0.0, 20.0)) == 1
    assert uncovered_speech(voice, [], 0.0, 1.1) == []
    mark = missed(5.0, 8.0)
    assert (mark.start, mark.end, mark.text, mark.flags) == (5.0, 8.0, "", (UNCOVERED,))


def test_a_segment_ends_where_its_speech_does() -> None:
    voice = Heard((1.0, 4.0), known=20.0)
    found = trimmed(said(0.0, 9.0), voice)
    assert (found.start, found.end) == pytest.approx((0.9, 4.1), abs=0.05)
    for same in (said(0.95, 4.05), said(6.0, 9.0)):
        assert trimmed(same, voice) == same


def test_the_end_of_a_text_is_where_hardly_any_speech_is_left() -> None:
    voice = Heard((1.0, 4.0), (12.0, 13.0), (15.0, 15.3), known=20.0)
    pieces = (Piece(0.0, 1.0, 4.0), Piece(4.0, 11.0, 5.0))
    assert least_end(pieces, voice) == pytest.approx(4.0 + 1.8, abs=0.07)
    assert least_end((Piece(0.0, 14.0, 5.0),), voice) == 0.0 == least_end(pieces, None)


def test_a_text_does_not_end_at_an_early_time() -> None:
    first, end = 7, 3  # of 11 tokens, those from 7 on are times
    rule = ReachSpeech(torch.tensor([2, 0]), first_timestamp=first, end=end)
    scores = torch.randn(4, 11, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    assert torch.equal(rule(scores), scores)  # nothing is written
    rule.follow(torch.tensor([8, 9, 8, 1]), None, None)
    found = rule(scores)
    assert found[0, end] == -torch.inf and torch.equal(found[1:], scores[1:])
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4))
    nothing = torch.full((4, 11), -torch.inf)
    nothing[:, end] = 0.0
    assert torch.equal(rule(nothing), nothing)  # an end is better than none
    rule.follow(torch.tensor([8, 8]), torch.tensor([2, 3]), torch.tensor([1]))
    assert torch.equal(rule(scores[:2]), scores[:2])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_results_are_in_order_whatever_comes_again(size: int) -> None:
    """A number n leaves n - 2 and n - 3 of it, and its part is (owner, n)."""
    batches = list[int]()

    def process(batch: list[tuple[int, int]]) -> Iterator[tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
        batches.append(len(batch))
        for owner, number in batch:
            yield [(owner, number)], [(owner, number - less) for less in (2, 3) if number > less]

    rounds = Rounds[int, tuple[int, int], tuple[int, int]](size, process, arrange=sorted)
    found = [one for i in range(11) for one in rounds.add(i, (i, i % 5 + 1))] + list(rounds.finish())
    assert [owner for owner, _ in found] == list(range(11))
    for owner, parts in found:
        alone = Rounds[int, tuple[int, int], tuple[int, int]](1, process, arrange=sorted)
        [(_, expected)] = [*alone.add(owner, (owner, owner % 5 + 1)), *alone.finish()]
        assert parts == expected == sorted(parts)
    assert max(batches) <= size


def test_words_follow_each_other_after_a_second_decode() -> None:
    def timed(start: float, end: float) -> Segment:
        return said(start, end, words=(SpokenWord("words", start, end, 0.5, 0, 5, (0,)),))

    found = in_sequence([timed(1.0, 5.0), timed(6.0, 7.0), timed(4.5, 6.5)])
    assert [(one.start, one.end) for one in found] == [(1.0, 5.0), (5.0, 6.5), (6.5, 7.0)]
    assert [one.words[0].start for one in found] == [1.0, 5.0, 6.5]
