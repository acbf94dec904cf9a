"""A published Whisper (tiny.en) behind OpenAI's addresses and the live one: the texts of the pipeline, and figures.

`-s` prints the figures that docs/serve-load.md has.
"""

import asyncio
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from websockets.asyncio.client import connect

from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice
from multiattn.inputs import load_audio
from multiattn.pipelines import TranscribePipeline, load
from tests.deploy.running import served
from tests.fixtures import real_whisper

pytestmark = [pytest.mark.slow, pytest.mark.parity]

SENTENCE = Path(__file__).parents[2] / "assets" / "inputs" / "sentence.flac"
DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"
RATE = 16_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, LocalEngine, TranscribePipeline]]:
    folder = real_whisper("tiny.en", tmp_path_factory.mktemp("whisper"))
    pipeline = load(folder, task="transcribe", device="cpu")
    with served([Choice("tiny.en", "transcribe", str(folder))], Settings(device="cpu")) as (url, engine):
        yield url, engine, pipeline


def spoken() -> bytes:
    """The sentence and the digits in turn, with pauses: more than a minute."""
    parts = [part for _ in range(6) for one in (SENTENCE, DIGITS) for part in (load_audio(one).numpy(), np.zeros(RATE))]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), RATE, format="FLAC")
    return file.getvalue()


def test_texts_words_and_events_are_those_of_the_pipeline(
    server: tuple[str, LocalEngine, TranscribePipeline],
) -> None:
    url, _, pipeline = server
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=200)
    data = spoken()
    client.audio.transcriptions.create(model="whisper-1", file=SENTENCE)  # loads the model
    start = time.monotonic()
    whole = pipeline(data, words=True)
    alone = time.monotonic() - start
    start = time.monotonic()
    found = client.audio.transcriptions.create(
        model="whisper-1",
        file=("a.flac", data),
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    over = time.monotonic() - start
    assert found.text == whole.text and len(whole.words) > 40
    assert [(one.word, one.start, one.end) for one in found.words or ()] == [
        (one.text.strip(), round(one.start, 3), round(one.end, 3)) for one in whole.words
    ]
    start, times, events = time.monotonic(), list[float](), list[Any]()
    stream = client.audio.transcriptions.create(model="whisper-1", file=("a.flac", data), stream=True)
    for event in stream:
        times.append(time.monotonic() - start)
        events.append(event)
    *deltas, done = events
    assert "".join(one.delta for one in deltas) == done.text == whole.text and len(deltas) > 3
    print(
        f"\n{whole.duration:.0f} s of speech: pipeline {alone:.1f} s, server {over:.1f} s; as a stream, the first of "
        f"{len(deltas)} segments after {times[0]:.1f} s, the last after {times[-1]:.1f} s"
    )


def test_live_words_are_nearly_those_of_the_recording(server: tuple[str, LocalEngine, TranscribePipeline]) -> None:
    url, _, pipeline = server
    samples = load_audio(SENTENCE).numpy()
    expected = pipeline(str(SENTENCE)).text.lower().replace(".", "").replace(",", "").split()

    async def talk() -> tuple[list[dict[str, Any]], list[float]]:
        messages, times = list[dict[str, Any]](), list[float]()
        async with connect(f"{url.replace('http', 'ws')}/v1/live?rate={RATE}&language=en") as socket:

            async def speak() -> None:
                for at in range(0, len(samples), RATE // 5):  # as fast as one speaks
                    await socket.send((samples[at : at + RATE // 5] * 32767).astype("<i2").tobytes())
                    await asyncio.sleep(0.2)
                await socket.send(json.dumps({"type": "end"}))

            speaking, start = asyncio.ensure_future(speak()), time.monotonic()
            async for message in socket:
                messages.append(json.loads(message))
                times.append(time.monotonic() - start)
            await speaking
        return messages, times

    messages, times = asyncio.run(talk())
    updates = [(one, time) for one, time in zip(messages, times, strict=True) if one["type"] == "update"]
    text = "".join(one["text"] for one, _ in updates).lower().replace(".", "").replace(",", "").split()
    assert len(set(expected) & set(text)) >= 0.8 * len(set(expected))
    waits = [time - word["end"] for one, time in updates for word in one["settled"]]
    print(f"\nlive: a word is settled {np.median(waits):.1f} s after its end (median of {len(waits)})")
