"""The language: decided on speech alone, in several windows until it is certain, in order and in chunks alike."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import Recording
from multiattn.inputs.language_names import NAMES, language_code, name_of
from multiattn.pipelines import Segment, TranscribePipeline
from multiattn.pipelines.transcribe.decode import decode_windows
from multiattn.pipelines.transcribe.job import TranscriptionJob, one_by_one
from multiattn.pipelines.transcribe.language import language_of
from multiattn.pipelines.transcribe.languages import Language, longest_language, uncertain
from multiattn.pipelines.transcribe.model import SpeechModel
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.verbose_json import verbose_json
from multiattn.pipelines.transcribe.word_timestamps import WordTimestamper
from multiattn.resources import shipped
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, decoding, hush, speech_model, tone

CODES = ("en", "zh", "de")


@pytest.fixture(scope="module")
def spoken() -> torch.Tensor:
    """1.5 s of speech."""
    with Recording.open(shipped("inputs", "digits.flac"), rate=RATE) as recording:
        return recording.read(0.3, 1.8)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[torch.Tensor]]:
    """A model that finds given probabilities in its windows, one after the other; returns the windows."""

    def script(*probabilities: tuple[float, float, float]) -> list[torch.Tensor]:
        windows: list[torch.Tensor] = []

        def log_probs(self: SpeechModel, samples: torch.Tensor) -> torch.Tensor:
            windows.append(samples)
            order = [CODES.index(code) for code in self.tokens.languages]
            return torch.tensor(probabilities[len(windows) - 1]).log()[order]

        monkeypatch.setattr(SpeechModel, "language_log_probs", log_probs)
        return windows

    return script


def found(samples: torch.Tensor, *, vad: bool = True, language: str | None = None) -> Language:
    with Recording.open(samples) as recording:
        return language_of(speech_model(tiny_whisper_bundle()), recording, SpeechOptions(vad=vad, language=language))


def test_only_speech_decides(scripted: Callable[..., list[torch.Tensor]], spoken: torch.Tensor) -> None:
    windows = scripted((0.02, 0.03, 0.95))
    assert found(torch.cat([hush(7.0), tone(5.0), spoken, hush(3.0)])) == pytest.approx(("de", 0.95, "zh", 0.03))
    [window] = windows  # of 2 s, which begins just before the speech
    at = int(torch.nonzero((window[: len(spoken)] == spoken[8_000]).int())[0]) - 8_000
    assert len(window) == 2 * RATE and 0 < at < 0.6 * RATE
    torch.testing.assert_close(window[at : at + 16_000], spoken[:16_000])


def test_windows_are_looked_at_until_it_is_certain(
    scripted: Callable[..., list[torch.Tensor]], spoken: torch.Tensor
) -> None:
    samples = torch.cat([part for _ in range(7) for part in (spoken, hush(2.5))])
    windows = scripted((0.5, 0.1, 0.4), (0.02, 0.03, 0.95), *[(0.1, 0.1, 0.8)] * 9)
    language = found(samples)
    assert language.code == "de" and 0.8 < language.probability < 0.9 and len(windows) == 4
    windows = scripted((0.5, 0.1, 0.4), (0.001, 0.001, 0.998))
    assert found(samples).code == "de" and len(windows) == 2
    windows = scripted((0.97, 0.01, 0.02))
    assert found(samples).code == "en" and len(windows) == 1


def test_nothing_said_has_no_language_and_a_given_one_no_probability(
    scripted: Callable[..., list[torch.Tensor]], spoken: torch.Tensor
) -> None:
    windows = scripted()
    assert found(tone(5.0)) == Language(None) and found(torch.zeros(0)) == Language(None)
    assert found(spoken, language="zh") == Language("zh") and windows == []
    with Recording.open(spoken) as recording:
        assert language_of(speech_model(tiny_speech_bundle()), recording, SpeechOptions()) == Language(None)


def test_without_a_detector_the_first_window_that_is_not_silent_decides(
    scripted: Callable[..., list[torch.Tensor]],
) -> None:
    windows = scripted((0.2, 0.5, 0.3))
    assert found(torch.cat([hush(4.0), tone(5.0)]), vad=False)[:2] == pytest.approx(("zh", 0.5))
    torch.testing.assert_close(windows[0], tone(2.0))
    assert found(hush(4.0), vad=False) == Language(None)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_in_order_and_in_chunks_alike(
    scripted: Callable[..., list[torch.Tensor]], spoken: torch.Tensor, batch_size: int
) -> None:
    samples = torch.cat([hush(4.0), tone(3.0), spoken, hush(2.5), spoken])
    windows = scripted(*[(0.3, 0.26, 0.44)] * 9)
    pipeline = TranscribePipeline(tiny_whisper_bundle(), device="cpu")
    options = {"temperatures": [0.0], "num_beams": 1, "max_tokens": 7}
    result = pipeline(samples, batch_size=batch_size, **options)
    assert result.segments and {one.language for one in result.segments} == {"de"}
    assert result.language == "de" and result.language_probability == pytest.approx(0.44)
    assert result.to_dict()["language_probability"] == pytest.approx(0.44)
    assert {one["language"] for one in result.to_dict()["segments"]} == {"de"}
    assert str(result.remark).startswith("is in an uncertain language: German (de) 44%, English (en) 30%.")
    assert len(windows) == 2  # all there are
    sure = pipeline(samples, batch_size=batch_size, language_threshold=0.4, **options)
    assert sure.remark is None and sure.language == "de"
    given = pipeline(samples, batch_size=batch_size, language="ENGLISH", **options)
    assert (given.language, given.language_probability, given.remark) == ("en", None, None)
    assert "language_probability" not in given.to_dict()


def test_multilingual_decides_for_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = torch.tensor([(0.9, 0.05, 0.05), (0.05, 0.05, 0.9), (0.4, 0.35, 0.25)])
    speech = speech_model(tiny_whisper_bundle())
    order = [CODES.index(code) for code in speech.tokens.languages]
    monkeypatch.setattr(SpeechModel, "languages_of", lambda self, logits: probabilities.log()[:, order])
    features = torch.stack([speech.preprocessing.features(tone(2.0, pitch=pitch)) for pitch in (200.0, 300.0, 500.0)])
    options = SpeechOptions(decoding=decoding(tiny_whisper_bundle()), temperatures=(0.0,), language="zh")
    encoded = speech.encode(features, [200] * 3)
    found = decode_windows(speech, encoded, replace(options, multilingual=True))
    # a window that is uncertain has the language of the recording
    assert [one.language for one in found] == ["en", "de", "zh"]
    assert [one.language for one in decode_windows(speech, encoded, options)] == ["zh"] * 3
    with pytest.raises(ModelError, match="knows one language only: leave `multilingual` out"):
        TranscribePipeline(tiny_speech_bundle(), device="cpu")(tone(1.0), multilingual=True)


def test_the_longest_language() -> None:
    def segment(language: str | None, start: float, end: float) -> Segment:
        return Segment(start, end, "x", (), (), 0.0, 1.0, None, 0.0, language=language)

    parts = [segment("en", 0.0, 3.0), segment("de", 3.0, 5.0), segment("de", 5.0, 8.0)]
    assert longest_language(parts) == "de"
    assert longest_language([segment(None, 0.0, 3.0)]) is None and longest_language([]) is None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("German", "de"),
        (" german ", "de"),
        ("Castilian", "es"),
        ("flemish", "nl"),
        ("HAITIAN  Creole", "ht"),
        ("Mandarin", "zh"),
        ("Klingon", "Klingon"),
        ("", ""),
    ],
)
def test_a_language_is_named_by_code_or_name_in_any_case(given: str, code: str) -> None:
    assert language_code(given, NAMES) == code


def test_names_are_those_of_openai_whisper() -> None:
    tokenizer = pytest.importorskip("whisper.tokenizer")
    assert {code: name.lower() for code, name in NAMES.items()} == tokenizer.LANGUAGES
    for name, code in tokenizer.TO_LANGUAGE_CODE.items():
        assert language_code(name.title(), NAMES) == code
    assert name_of("de") == "German (de)" and name_of("xx") == "xx"
    assert language_code("XX", ("xx",)) == "xx" and language_code("german", ("german",)) == "german"


def test_what_is_said_of_an_uncertain_language() -> None:
    doubt = Language("de", 0.41, "en", 0.22)
    assert uncertain(doubt, 0.5) == (
        "is in an uncertain language: German (de) 41%, English (en) 22%. If another one is right, name it (`language`, "
        "--language)."
    )
    assert uncertain(doubt, 0.4) is None and uncertain(Language("de"), 0.5) is None
    assert uncertain(Language("de", 0.3), 0.5) is not None
    assert np.isclose(replace(SpeechOptions(), language_threshold=1.0).language_threshold, 1.0)
    with pytest.raises(ModelError, match="`language_threshold` must be a number above 0, up to 1, but is 0.0 instead"):
        SpeechOptions(language_threshold=0.0)


def test_a_language_is_written_as_openai_writes_it() -> None:
    def named(code: str | None) -> object:
        return verbose_json((), task="transcribe", language=code, duration=1.0, text="")["language"]

    assert [named(code) for code in ("de", "haw", None, "xx")] == ["german", "hawaiian", "unknown", "xx"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_probability_is_that_of_the_language_that_is_stated(order: int) -> None:
    spoken = [("de", 0.4, 9.0), ("en", 0.9, 3.0)][::order]

    def parts(recording: Recording, timestamper: WordTimestamper) -> Iterator[Segment]:
        code, probability, seconds = spoken.pop(0)
        timestamper.language = Language(code, probability)
        yield Segment(0.0, seconds, code, (), (), -0.1, 1.0, None, 0.0, language=code)

    timestamper = WordTimestamper(speech_model(tiny_speech_bundle()), words=False)
    noise = np.random.default_rng(5).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    job = TranscriptionJob(
        None,
        lambda: Recording.open(noise, rate=16_000, source_rate=16_000),
        timestamper,
        on_segment=None,
        with_maps=False,
        language_threshold=0.5,
        channel="each",
    )
    (result,) = one_by_one([job], parts)
    assert (result.language, result.language_probability) == ("de", 0.4)
    assert "is in an uncertain language: German (de) 40%" in result.remark
