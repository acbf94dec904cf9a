"""A transcript as the answer of OpenAI's transcription API to `response_format="verbose_json"`.

Source: OpenAI, API reference, "The transcription object (Verbose JSON)"; openai-whisper, transcribe.py, for `seek`.
"""

import math
from collections.abc import Sequence

from ...inputs.language_names import NAMES
from .cutting import Segment

_FRAMES = 100
"""Feature frames a second, in which `seek` counts."""

_UNKNOWN = "unknown"


def verbose_json(
    segments: Sequence[Segment], *, task: str, language: str | None, duration: float, text: str
) -> dict[str, object]:
    """Return the object; times in seconds, `seek` in frames of 10 ms.

    Args:
        segments: The segments; `words` is there if they have words.
        task: "transcribe" or "translate".
        language: Its code, which is written as its name, such as "english"; None is written as "unknown".
        duration: Of the recording, in seconds.
        text: The whole text.
    """
    found: dict[str, object] = {
        "task": task,
        "language": _UNKNOWN if language is None else NAMES.get(language, language).lower(),
        "duration": round(duration, 3),
        "text": text,
        "segments": [_segment(number, segment) for number, segment in enumerate(segments)],
    }
    words = [word for segment in segments for word in segment.words]
    if words:
        found["words"] = [
            {"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)} for word in words
        ]
    return found


def _segment(number: int, segment: Segment) -> dict[str, object]:
    return {
        "id": number,
        "seek": round(_FRAMES * segment.window),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_log_prob if math.isfinite(segment.avg_log_prob) else None,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": 0.0 if segment.no_speech_prob is None else segment.no_speech_prob,
    } | ({} if segment.channel is None else {"channel": segment.channel})
