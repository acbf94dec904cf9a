"""What is read off a window of a recording after it was decoded, by replay: when each word of it was spoken, and maps.

Whoever goes through a recording (in order, or cut at pauses) calls a `WordTimestamper` for every window with text, and gives
on the segments that come back.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...alignment import SpokenWord, merged, spoken_words, time_words
from ...alignment.teacher_forcing import Listening, check_heads, listen
from ...alignment.word_timestamps import out_of_silence
from ...attention import ProjectedContext
from ...inputs.text import Word
from ...maps import AttentionMap, speech_attention, speech_attention_stack
from .config import Segment

if TYPE_CHECKING:
    from .model import SpeechModel


class DecodedWindow(NamedTuple):
    """A window of a recording that was decoded."""

    contexts: ProjectedContext
    """What the decoder attends to, of all windows that were decoded together."""

    place: int
    """Of this one among them."""

    samples: Tensor
    """(t,) of the recording in this window, mono; without what fills it up."""

    start: float
    """Of the window in the recording, in seconds."""

    frames: int
    """Encoder frames that hold something of the recording; at least 1."""

    language: str | None
    """As it was decoded."""

    task: str
    segments: tuple[Segment, ...]
    """Found in it, in order; times are seconds of the recording."""

    heard: Listening | None = None
    """Where the alignment heads looked while all text of the window was read again; None where it was not."""

    @property
    def context(self) -> ProjectedContext:
        """What the decoder attends to, of this window alone."""
        if len(self.contexts) == 1:
            return self.contexts
        return self.contexts.select(torch.tensor([self.place], device=self.contexts.device))


class WindowMap(NamedTuple):
    """What was listened to for each word of a window, by one method."""

    map: AttentionMap
    """Axes ("word", "time"); the time in seconds of the recording."""

    stack: AttentionMap
    """Axes ("layer", "head", "word", "time"); that of the window, whatever the method."""

    words: tuple[SpokenWord, ...]


class WordTimestamper:
    """Goes through one recording beside its decoding, gives segments their words, and keeps the maps.

    Args:
        speech: Who wrote them.
        words: Whether words are asked for.
        methods: Of maps, of `maps.SPEECH_METHODS`; there are words with them.
    """

    def __init__(self, speech: "SpeechModel", *, words: bool, methods: Sequence[str] = ()) -> None:
        self._speech, self._words, self._methods = speech, words, methods
        self.language: str | None = None
        """Of the first window with text; None of a model for one language, and where there has been none yet."""
        self.maps: list[WindowMap] = []
        """Of each window with words in turn, one for each method."""

    def __call__(self, windows: Sequence[DecodedWindow]) -> list[tuple[Segment, ...]]:
        """The segments of each window, with their words where these are asked for.

        That takes a pass of the decoder, or none where the same text was read when it was decoded.
        """
        found = []
        for window in windows:
            self.language = self.language or window.language
            found.append(self._timed(window) if self._words else window.segments)
        return found

    def _timed(self, window: DecodedWindow) -> tuple[Segment, ...]:
        read = [self._text_of(segment) for segment in window.segments]
        ids = [token for one in read for token in one.ids]
        words, shift, chars = list[Word](), 0, 0
        for segment, one in zip(window.segments, read, strict=True):
            for word in spoken_words(self._speech.tokenizer, one.ids, language=window.language):
                pieces = tuple(piece + shift for piece in word.pieces)
                words.append(Word(word.text, word.start + chars, word.end + chars, pieces))
            shift += len(one.ids)
            chars += len(segment.text)
        if not words:
            return window.segments
        prompt = self._speech.tokens.prompt(language=window.language, task=window.task)
        heard = window.heard
        if heard is None or len(heard.look) != len(ids) + 1:  # a last segment may have been left to the next window
            (heard,) = listen(
                self._speech.model,
                window.context,
                [[*prompt, *ids]],
                prompt_lengths=[len(prompt)],
                frames=[window.frames],
                heads=self._speech.heads,
            )
        log_probs = [value for one in read for value in one.log_probs]
        found = time_words(heard, words, frame_seconds=self._speech.frame_seconds, log_probs=log_probs)
        rate = self._speech.preprocessing.sample_rate
        spoken = out_of_silence(
            merged(found),
            window.samples,
            sample_rate=rate,
            look=heard.look,
            frame_seconds=self._speech.frame_seconds,
        )
        spoken = with_room(spoken, least=self._speech.frame_seconds, end=len(window.samples) / rate)
        segments = self._shared_out(window, read, spoken)
        if self._methods:
            self._keep_maps(window, prompt, ids, spoken, segments)
        return segments

    def _keep_maps(
        self,
        window: DecodedWindow,
        prompt: list[int],
        ids: list[int],
        spoken: Sequence[SpokenWord],
        segments: Sequence[Segment],
    ) -> None:
        shown = [Word(word.text, word.start_char, word.end_char, word.pieces) for word in spoken]
        (stack,) = speech_attention_stack(
            self._speech.model,
            window.context,
            [[*prompt, *ids]],
            [shown],
            prompt_lengths=[len(prompt)],
            frames=[window.frames],
            frame_seconds=self._speech.frame_seconds,
            starts=[window.start],
        )
        words = tuple(word for segment in segments for word in segment.words)
        heads = check_heads(self._speech.model, self._speech.heads)
        self.maps += [WindowMap(speech_attention(stack, heads=heads), stack, words) for _ in self._methods]

    def _shared_out(
        self, window: DecodedWindow, read: Sequence["_Read"], spoken: Sequence[SpokenWord]
    ) -> tuple[Segment, ...]:
        """The words go to the segments that their first tokens are of, and are placed in the recording."""
        found = []
        first = chars = 0
        for segment, one in zip(window.segments, read, strict=True):
            last = first + len(one.ids)
            words = tuple(
                word._replace(
                    start=_placed(word.start, window),
                    end=_placed(word.end, window),
                    start_char=word.start_char - chars,
                    end_char=word.end_char - chars,
                    pieces=tuple(one.places[piece - first] for piece in word.pieces if first <= piece < last),
                )
                for word in spoken
                if first <= word.pieces[0] < last
            )
            if words:
                segment = replace(segment, words=words, start=words[0].start, end=words[-1].end)
            found.append(segment)
            first, chars = last, chars + len(segment.text)
        return tuple(found)

    def _text_of(self, segment: Segment) -> "_Read":
        """The tokens of a segment that its text is made of."""
        places = [
            i
            for i, token in enumerate(segment.tokens)
            if not self._speech.tokens.is_timestamp(token) and token not in self._speech.tokenizer.special_ids
        ]
        return _Read([segment.tokens[i] for i in places], [segment.log_probs[i] for i in places], places)


def with_room(words: Sequence[SpokenWord], *, least: float, end: float) -> list[SpokenWord]:
    """Words of which each has some time of its own, so that it can be seen and heard: its neighbors make room.

    The path through the attention may pass several tokens in one frame, and leaves all but one of them no time.

    Args:
        words: In order, none beginning before the one before it ends.
        least: Seconds for each; or else as much as there is for each.
        end: Of the window, in seconds: no word goes beyond.
    """
    if not words:
        return []
    least = min(least, end / len(words))
    bounds = [(word.start, word.end) for word in words]
    for i, (start, stop) in enumerate(bounds):
        start = max(start, bounds[i - 1][1] if i else 0.0)
        bounds[i] = (start, max(stop, start + least))
    for i in reversed(range(len(bounds))):
        stop = min(bounds[i][1], bounds[i + 1][0] if i + 1 < len(bounds) else end)
        bounds[i] = (min(bounds[i][0], max(0.0, stop - least)), stop)
    return [word._replace(start=start, end=stop) for word, (start, stop) in zip(words, bounds, strict=True)]


def _placed(seconds: float, window: DecodedWindow) -> float:
    """A time of a window in its recording; to the microsecond, for sums of the same moment differ in the last bit."""
    return round(seconds + window.start, 6)


class _Read(NamedTuple):
    """The text of a segment."""

    ids: list[int]
    log_probs: list[float]
    places: list[int]
    """Of each id among the segment's tokens."""
