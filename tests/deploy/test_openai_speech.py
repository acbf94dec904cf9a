"""The real `openai` client against a real server, with real recordings and the shipped model."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile

from multiattn.deploy import speech
from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice
from multiattn.inputs import load_audio
from multiattn.pipelines import TranscribePipeline, load
from multiattn.pipelines.transcribe import transcribe_stepwise
from tests.deploy.running import served

INPUTS = Path(__file__).parents[2] / "assets" / "inputs"
_EXACT = ("id", "seek", "start", "end", "text", "tokens", "temperature", "compression_ratio")
DIGITS, TELEPHONE = INPUTS / "digits.flac", INPUTS / "telephone.flac"


class Served:
    """A server, the client, and the same model in this process."""

    def __init__(self, url: str, engine: LocalEngine) -> None:
        self.url, self.engine = url, engine
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        found = load("transcribe", device="cpu")
        assert isinstance(found, TranscribePipeline)
        self.pipeline = found

    def transcribe(self, file: Path | tuple[str, bytes] = DIGITS, **options: Any) -> Any:
        return self.client.audio.transcriptions.create(model=options.pop("model", "whisper-1"), file=file, **options)


def _short() -> tuple[str, bytes]:
    """A second and a half of the digits."""
    file = io.BytesIO()
    soundfile.write(file, load_audio(DIGITS, rate=8000).numpy()[:12_000], 8000, format="WAV")
    return "digits.wav", file.getvalue()


SHORT = _short()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(
        [Choice("transcribe", "transcribe", "transcribe"), Choice("org/pictures", "classify", "classify")],
        Settings(device="cpu", max_seconds=180),
    ) as (url, engine):
        yield Served(url, engine)


def repeated(times: int) -> bytes:
    """The digits several times, as a FLAC file."""
    samples, file = load_audio(DIGITS, rate=8000).numpy(), io.BytesIO()
    soundfile.write(file, np.tile(np.concatenate([samples, np.zeros(8000, np.float32)]), times), 8000, format="FLAC")
    return file.getvalue()


@pytest.mark.parametrize("file", [DIGITS, pytest.param(TELEPHONE, marks=pytest.mark.slow)], ids=["digits", "phone"])
def test_every_format_is_that_of_the_pipeline(server: Served, file: Path) -> None:
    whole = server.pipeline(str(file), words=True)
    found = server.transcribe(file)
    assert found.text == whole.text and whole.text
    assert found.usage.type == "duration" and found.usage.seconds == round(whole.duration, 3)
    assert server.transcribe(SHORT, response_format="text") == "three one\n"
    plain = replace(whole, segments=tuple(replace(one, words=()) for one in whole.segments))
    for kind in ("srt", "vtt"):
        lines = server.transcribe(file, response_format=kind).splitlines()
        expected = plain.formatted(kind).splitlines()
        assert [one for one in lines if "-->" not in one] == [one for one in expected if "-->" not in one]
    verbose = server.transcribe(
        file, response_format="verbose_json", timestamp_granularities=["word", "segment"], language="en"
    )
    expected = json.loads(whole.formatted("verbose_json"))
    assert verbose.text == whole.text and verbose.duration == expected["duration"]
    assert [one.model_dump() for one in verbose.words] == expected["words"] and len(expected["words"]) > 2
    shown = [one.model_dump() for one in verbose.segments]
    for one, other in zip(shown, expected["segments"], strict=True):
        assert [one[name] for name in _EXACT] == [other[name] for name in _EXACT]
        assert one["avg_logprob"] == pytest.approx(other["avg_logprob"], abs=1e-4)


@pytest.mark.parametrize(
    ("times", "fields"),
    [(["word"], {"words"}), (["segment"], {"segments"}), (None, {"segments"})],
)
def test_times_are_those_that_are_asked_for(server: Served, times: list[str] | None, fields: set[str]) -> None:
    asked = {} if times is None else {"timestamp_granularities": times}
    found = server.transcribe(SHORT, response_format="verbose_json", **asked).model_dump()
    assert {name for name in ("words", "segments") if found[name]} == fields


def test_events_come_segment_by_segment_and_others_have_their_turn(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work for a caller that goes stops there."""
    steps = list[float]()

    def counted(*args: Any, **options: Any) -> Iterator[Any]:
        for one in transcribe_stepwise(*args, **options):
            steps.append(time.monotonic())
            yield one

    monkeypatch.setattr(speech, "transcribe_stepwise", counted)
    events = server.transcribe(("digits.flac", repeated(25)), stream=True)
    first = next(iter(events))
    assert first.type == "transcript.text.delta" and first.delta.split()[:4] == "three one four one".split()
    taken = len(steps)
    assert server.transcribe(SHORT).text == "three one"  # while the long one goes on
    assert len(steps) < 24
    events.close()
    batcher, held = server.engine._batchers["transcribe"], server.engine._memory._all["transcribe"]
    end = time.monotonic() + 20
    while not (batcher.is_idle and not held.users) and time.monotonic() < end:
        time.sleep(0.01)  # the request lets the model go after its work has stopped
    assert batcher.is_idle and taken < len(steps) < 25
    assert not held.users


@pytest.mark.parametrize("kind", [pytest.param("json", marks=pytest.mark.slow), "verbose_json"])
def test_deltas_make_the_text(server: Served, kind: str) -> None:
    *deltas, done = server.transcribe(("digits.flac", repeated(3)), stream=True, response_format=kind, language="en")
    assert [one.type for one in deltas] == ["transcript.text.delta"] * len(deltas) and len(deltas) > 1
    assert done.type == "transcript.text.done" and done.text == "".join(one.delta for one in deltas)
    assert done.text == " ".join(["three one four one five nine two six"] * 3)  # as `pipeline` writes
    if kind == "verbose_json":
        starts = [one.segment["start"] for one in deltas]
        assert starts == sorted(starts) and [one["start"] for one in done.segments] == starts


def test_models_are_listed_and_found(server: Served) -> None:
    models = server.client.models.list().data
    assert [one.id for one in models] == ["transcribe", "org/pictures"]
    assert all(one.object == "model" and one.owned_by == "multiattn" and one.created > 1e9 for one in models)
    assert server.client.models.retrieve("org/pictures").id == "org/pictures"
    with pytest.raises(openai.NotFoundError, match="'gpt-9' is served; there are: transcribe, org/pictures") as raised:
        server.client.models.retrieve("gpt-9")
    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"file": ("a.wav", b"no sound, but text")}, 415, "must be a recording .* but is text instead"),
        ({"file": ("a.wav", b"")}, 415, "but is empty instead"),
        ({"file": ("a.flac", repeated(26))}, 413, "at most 180 seconds long, but is longer"),
        ({"temperature": 1.5}, 422, "`temperature`"),
        ({"response_format": "diarized_json"}, 422, "`response_format`"),
        ({"timestamp_granularities": ["word"]}, 422, "needs `response_format` verbose_json"),
        ({"stream": True, "response_format": "srt"}, 422, "`stream` must be left out for srt and vtt"),
        ({"language": "fr"}, 422, "knows one language only"),
        ({"stream": True, "prompt": "Ada"}, 422, "no token for text that came before"),
        ({"extra_body": {"speed": 2}}, 422, "`speed`: Extra inputs are not permitted"),
        ({"model": "org/pictures"}, 404, "must be one for transcribe, but org/pictures is one for classify"),
    ],
)
def test_errors_are_those_that_the_client_knows(
    server: Served, options: dict[str, Any], status: int, message: str
) -> None:
    with pytest.raises(openai.APIStatusError, match=message) as raised:
        list(server.transcribe(**options))
    assert raised.value.status_code == status
    assert raised.value.response.headers["content-type"] == "application/problem+json"
    assert raised.value.type == ("not_found_error" if status == 404 else "invalid_request_error")


def test_a_damaged_recording_is_used_and_marked_or_refused(server: Served) -> None:
    cut = DIGITS.read_bytes()[:-4000]
    found = server.transcribe(("a.flac", cut))
    assert found.text.startswith("three one") and found.damaged["share"] > 0
    with pytest.raises(openai.UnprocessableEntityError, match="damaged or cut off"):
        server.transcribe(("a.flac", cut), extra_body={"strict": True})


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_translations_need_a_model_for_them(server: Served) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="cannot translate"):
        server.client.audio.translations.create(model="whisper-1", file=DIGITS)


@pytest.mark.slow
def test_maps_and_verdicts_come_with_the_text(server: Served) -> None:
    found = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": DIGITS.read_bytes()},
        data={"maps": "html", "check": "true"},
        timeout=60,
    ).json()
    assert found["text"] and found["verdict"]
    assert [one["name"] for one in found["maps"]] == ["maps.html"]
