"""Words and maps of decoded windows, from one more, teacher-forced decoder pass (see `multiattn.alignment`).

`transcribe_in_order` and `transcribe_chunks` call a `WordTimestamper` for every window with text, and yield the
segments that it returns.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from ...alignment import SpokenWord, group_words, word_times
from ...alignment.teacher_forcing import check_heads
from ...inputs.text import Word
from ...maps import AttentionMap, Checked, speech_attention, speech_attention_stack
from ..map_request import MapRequest
from .languages import Language
from .model import SpeechModel
from .pieces import with_pauses
from .segments import DecodedWindow, Segment
from .window_maps import WindowMap
from .window_verdicts import of_window

_NO_MAPS = MapRequest()


class WordTimestamper:
    """Adds words to the segments of one recording, window by window, and keeps their maps.

    Args:
        speech: The model that wrote the segments.
        words: Whether words are asked for.
        maps: The maps asked for; only with words.
    """

    def __init__(self, speech: SpeechModel, *, words: bool, maps: MapRequest = _NO_MAPS) -> None:
        self._speech, self._words, self._request = speech, words, maps
        self.language = Language(None)
        """The language of the recording, which whoever decides it puts here."""
        self.maps: list[WindowMap] = []
        """For each window with words, as it was decoded, one map for each method."""

    def __call__(self, window: DecodedWindow) -> tuple[Segment, ...]:
        """Return the segments of a window, with their words if words are asked for, which takes a decoder pass."""
        if not self._words:
            return window.segments
        speech, language = self._speech, window.result.language
        indices = [self._text_indices(segment) for segment in window.segments]
        text = [(segment, i) for segment, own in zip(window.segments, indices, strict=True) for i in own]
        ids = [segment.tokens[i] for segment, i in text]
        words = self._group_words(window, indices)
        if not words:
            return window.segments
        prompt = speech.tokens.prompt(language=language, task=window.task)
        (spoken,) = word_times(
            speech.model,
            window.context,
            [[*prompt, *ids]],
            [words],
            prompt_lengths=[len(prompt)],
            frames=[window.frames],
            heads=speech.heads,
            frame_seconds=speech.frame_seconds,
            log_probs=[[segment.log_probs[i] for segment, i in text]],
            samples=[window.samples],
            sample_rate=speech.preprocessing.sample_rate,
        )
        segments = _distribute(window, indices, spoken)
        if self._request.methods:
            self._keep_maps(window, [*prompt, *ids], len(prompt), spoken, segments)
        return segments

    def _text_indices(self, segment: Segment) -> list[int]:
        """Return the indices of the tokens of a segment that are text."""
        tokens, special = self._speech.tokens, self._speech.tokenizer.special_ids
        return [i for i, id in enumerate(segment.tokens) if not tokens.is_timestamp(id) and id not in special]

    def _group_words(self, window: DecodedWindow, indices: Sequence[Sequence[int]]) -> list[Word]:
        """Group the text tokens of each segment into words; pieces and characters count through all segments."""
        words, pieces, chars = list[Word](), 0, 0
        for segment, own in zip(window.segments, indices, strict=True):
            ids = [segment.tokens[i] for i in own]
            for word in group_words(self._speech.tokenizer, ids, language=window.result.language):
                shifted = tuple(piece + pieces for piece in word.pieces)
                words.append(Word(word.text, word.start + chars, word.end + chars, shifted))
            pieces, chars = pieces + len(own), chars + len(segment.text)
        return words

    def _keep_maps(
        self,
        window: DecodedWindow,
        tokens: list[int],
        prompt_length: int,
        spoken: Sequence[SpokenWord],
        segments: Sequence[Segment],
    ) -> None:
        speech = self._speech
        spelled = [Word(word.text, word.start_char, word.end_char, word.pieces) for word in spoken]
        (stack,) = speech_attention_stack(
            speech.model,
            window.context,
            [tokens],
            [spelled],
            prompt_lengths=[prompt_length],
            frames=[window.frames],
            frame_seconds=speech.frame_seconds,
            starts=[window.start],
        )
        found = [
            speech_attention(stack, heads=check_heads(speech.model, speech.heads))
            if method == "attention"
            else speech.lrp(window.samples, tokens, spelled, prompt_length=prompt_length, start=window.start)
            for method in self._request.methods
        ]
        verdicts = list[Checked]()
        if self._request.check:
            verdicts = of_window(
                speech,
                window.samples,
                found,
                tokens=tokens,
                words=spelled,
                prompt_length=prompt_length,
                check=self._request.check,
                span=window.span(0.0, len(window.samples) / speech.preprocessing.sample_rate),
            )
        stack, *found = (self._placed(one, window) for one in (stack, *found))
        words = tuple(word for segment in segments for word in segment.words)
        parts = tuple((segment.start, len(segment.words)) for segment in segments)
        self.maps += [WindowMap(one, stack, words, checked, parts) for one, checked in zip_longest(found, verdicts)]

    def _placed(self, one: AttentionMap, window: DecodedWindow) -> AttentionMap:
        """Return a map of a window with the pauses of the recording in it."""
        if not window.pieces:
            return one
        values = with_pauses(one.values, window.pieces, step=self._speech.frame_seconds)
        return replace(one, values=values)


def _distribute(
    window: DecodedWindow, indices: Sequence[Sequence[int]], spoken: Sequence[SpokenWord]
) -> tuple[Segment, ...]:
    """Give each word to the segment of its first token, with times of the recording and positions in the segment."""

    def placed(word: SpokenWord) -> SpokenWord:
        start, end = window.word_span(word.start, word.end)
        # sums for the same moment may differ in the last bit
        return word._replace(start=round(start, 6), end=round(end, 6))

    segments, first, chars = list[Segment](), 0, 0
    for segment, own in zip(window.segments, indices, strict=True):
        last = first + len(own)
        words = tuple(
            placed(word)._replace(
                start_char=word.start_char - chars,
                end_char=word.end_char - chars,
                pieces=tuple(own[piece - first] for piece in word.pieces if first <= piece < last),
            )
            for word in spoken
            if first <= word.pieces[0] < last
        )
        chars += len(segment.text)
        if words:
            segment = replace(segment, words=words, start=words[0].start, end=words[-1].end)
        segments.append(segment)
        first = last
    return tuple(segments)
