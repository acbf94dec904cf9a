"""One way to transcribe the recordings of `speech_long`, in a process of its own: reads JSON, prints JSON.

So that processor time and the largest resident set are those of one way alone; each imports what it needs itself.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Transcribe = Callable[[str], str]


def _ours(asked: Mapping[str, Any], *, batch_size: int, precision: Any = "fp32") -> Transcribe:
    import torch

    import multiattn

    torch.set_num_threads(1)
    pipeline = multiattn.load(asked["ct2"], task="transcribe", device="cpu", precision=precision)

    def transcribe(path: str) -> str:
        found = pipeline(path, batch_size=batch_size, num_beams=asked["beams"], words=asked["words"])
        assert isinstance(found.text, str)
        return found.text

    return transcribe


def _faster_whisper(asked: Mapping[str, Any], *, batched: bool, kind: str = "float32", vad: bool = False) -> Transcribe:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(asked["ct2"], device="cpu", compute_type=kind, cpu_threads=1, num_workers=1)
    options: dict[str, Any] = {"language": "en", "beam_size": asked["beams"], "word_timestamps": asked["words"]}

    def in_order(path: str) -> str:
        segments, _ = model.transcribe(path, vad_filter=vad, **options)
        return " ".join(segment.text.strip() for segment in segments)

    def in_batches(path: str) -> str:
        segments, _ = BatchedInferencePipeline(model).transcribe(path, batch_size=8, **options)
        return " ".join(segment.text.strip() for segment in segments)

    return in_batches if batched else in_order


def _openai_whisper(asked: Mapping[str, Any]) -> Transcribe:
    import torch
    import whisper

    torch.set_num_threads(1)
    model = whisper.load_model(asked["openai"], device="cpu")
    beams = None if asked["beams"] == 1 else asked["beams"]

    def transcribe(path: str) -> str:
        import soundfile

        samples = soundfile.read(path, dtype="float32")[0]  # its own reader is a program, ffmpeg
        torch.manual_seed(0)
        options = {"language": "en", "beam_size": beams, "best_of": 5, "word_timestamps": asked["words"]}
        found = whisper.transcribe(model, samples, fp16=False, verbose=None, **options)
        return str(found["text"])

    return transcribe


WAYS: dict[str, Callable[[Mapping[str, Any]], Transcribe]] = {
    "multiattn, in order": lambda asked: _ours(asked, batch_size=1),
    "multiattn, batched": lambda asked: _ours(asked, batch_size=8),
    "multiattn, int8, batched": lambda asked: _ours(asked, batch_size=8, precision="int8"),
    "faster-whisper, in order": lambda asked: _faster_whisper(asked, batched=False),
    "faster-whisper, batched": lambda asked: _faster_whisper(asked, batched=True),
    "faster-whisper, VAD": lambda asked: _faster_whisper(asked, batched=False, vad=True),
    "faster-whisper, int8, batched": lambda asked: _faster_whisper(asked, batched=True, kind="int8"),
    "openai-whisper": _openai_whisper,
}


def main() -> None:
    asked = json.load(sys.stdin)
    transcribe = WAYS[asked["way"]](asked)
    start = time.process_time()
    texts = [transcribe(path) for path in asked["files"]]
    seconds = time.process_time() - start
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB
    print(json.dumps({"texts": texts, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()
