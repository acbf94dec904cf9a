"""Transcription: from a recording of any length to segments, words with their times, and maps.

The way of one recording through the modules, in this order:

1. `pipeline`: the inputs and `options` are checked (`plan`), and a `job` is made for each recording.
2. `sequential`: windows in order, each beginning where the last one ended (models that write times); or `chunked`:
   `chunks` of speech, decoded in batches (all models), and again where a text did not reach (`rounds`, `coverage`).
   `voice` tells where somebody speaks, by the probabilities of `speech_detector`, or loudness does (`vad`); `language`
   is decided there.
3. `model`: features of a window -> encoder -> what the decoder attends to.
4. `decode`: the text of a window by search, and by sampling where it fails the thresholds.
5. `segments`: the text is cut into segments at the times in it; `dropped` says which are no part of the transcript.
6. `word_timestamps`: where words or maps are asked for, they are computed by one more decoder pass.
7. `results`: the transcript, with its maps and file formats; `speakers`: who says what.

A text that is given: `align_job` transcribes the recording, `align` compares `given_text` with that and replays it by
`forced`, `align_results` says what was said of it. Live sound: `live`, with `live_gate`, `live_window`, `agreement`.
A server takes the segments of a recording one at a time: `stepwise`.
"""

from typing import TYPE_CHECKING

from ...lazy import lazily

if TYPE_CHECKING:
    from ...inputs.rttm import Turn, read_rttm
    from .align_results import AlignedTranscript, Unwritten
    from .live import LiveRules, LiveTranscriber, LiveUpdate
    from .pipeline import TranscribePipeline
    from .stepwise import transcribe_stepwise

__all__ = [
    "AlignedTranscript",
    "LiveRules",
    "LiveTranscriber",
    "LiveUpdate",
    "TranscribePipeline",
    "Turn",
    "Unwritten",
    "read_rttm",
    "transcribe_stepwise",
]

__getattr__ = lazily(
    __name__,
    {
        "...inputs.rttm": "Turn read_rttm",
        ".align_results": "AlignedTranscript Unwritten",
        ".live": "LiveRules LiveTranscriber LiveUpdate",
        ".pipeline": "TranscribePipeline",
        ".stepwise": "transcribe_stepwise",
    },
)
