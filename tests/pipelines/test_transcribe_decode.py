"""Decoding of windows: fallback over temperatures, thresholds, flags, joint scoring."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from multiattn.alignment.loops import Progress
from multiattn.errors import InputError, ModelError
from multiattn.generation import GenerationConfig
from multiattn.pipelines.transcribe import cutting, decode
from multiattn.pipelines.transcribe.cutting import compression_ratio, repeats
from multiattn.pipelines.transcribe.decode import decode_windows
from multiattn.pipelines.transcribe.model import SpeechModel
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.segments import WindowResult
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import decoding, speech_model

HEADS = ((1, 0), (2, 1))


@pytest.fixture(scope="module")
def whisper() -> SpeechModel:
    return speech_model(tiny_whisper_bundle())


@pytest.fixture(scope="module")
def ours() -> SpeechModel:
    return speech_model(tiny_speech_bundle())


ASKED = SpeechOptions(decoding=decoding(tiny_whisper_bundle()), language="de", timestamps=True)


def sounds(count: int, seconds: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(17)
    time = torch.arange(round(16_000 * seconds)) / 16_000
    pitches = 150 + 1500 * torch.rand(count, 1, generator=generator)
    return 0.3 * torch.sin(2 * torch.pi * pitches * time) + 0.03 * torch.randn(count, len(time), generator=generator)


def decoded(
    speech: SpeechModel,
    options: SpeechOptions,
    *,
    samples: torch.Tensor | None = None,
    seed: int = 3,
    previous: Sequence[Sequence[int]] | None = None,
) -> list[WindowResult]:
    samples = sounds(3) if samples is None else samples
    features = speech.preprocessing.features(samples)
    lengths = [speech.preprocessing.frames(samples.shape[-1])] * len(samples)
    encoded = speech.encode(features, lengths, with_ctc=options.ctc_weight > 0)
    return decode_windows(speech, encoded, options, previous=previous, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("timestamps", [True, False])
def test_a_batch_with_ragged_prompts_gives_the_texts_of_its_windows(
    whisper: SpeechModel, num_beams: int, timestamps: bool
) -> None:
    options = replace(
        ASKED,
        decoding=replace(ASKED.decoding, num_beams=num_beams),
        temperatures=(0.0,),
        timestamps=timestamps,
        language=None,
    )
    previous = [[], [33, 44, 55], [66]]
    together = decoded(whisper, options, previous=previous)
    assert len({one.tokens for one in together}) > 1
    for samples, before, one in zip(sounds(3), previous, together, strict=True):
        [alone] = decoded(whisper, options, samples=samples[None], previous=[before])
        assert alone.tokens == one.tokens and alone.language == one.language is not None
        for name in ("avg_log_prob", "no_speech_prob", "compression_ratio"):
            assert getattr(alone, name) == pytest.approx(getattr(one, name), abs=1e-4)


def test_the_fields_of_a_result(whisper: SpeechModel) -> None:
    for one in decoded(whisper, replace(ASKED, temperatures=(0.0,))):
        assert whisper.tokens.is_timestamp(one.tokens[0])
        words = [token for token in one.tokens if not whisper.tokens.is_timestamp(token)]
        assert one.text == whisper.tokenizer.decode(words).strip()
        assert one.compression_ratio == compression_ratio(one.text)
        assert 0 <= len(one.log_probs) - len(one.tokens) <= 1
        # the rules take away, and what is left shares it
        assert 0 > one.avg_log_prob >= sum(one.log_probs) / (len(one.tokens) + 1) - 1e-6
        assert one.no_speech_prob is not None and 0 < one.no_speech_prob < 1
        assert (one.language, one.temperature, one.hottest, one.flags) == ("de", 0.0, 0.0, ())


def test_no_windows_give_no_results(whisper: SpeechModel) -> None:
    encoded = whisper.encode(whisper.preprocessing.features(sounds(1)), [200])
    nothing = encoded._replace(projected=encoded.projected.select(torch.tensor([], dtype=torch.int64)), frames=[])
    assert decode_windows(whisper, nothing, ASKED) == []


def test_the_first_text_that_passes_the_thresholds_is_taken(whisper: SpeechModel) -> None:
    free = replace(ASKED, compression_ratio_threshold=None, log_prob_threshold=None)
    assert {one.hottest for one in decoded(whisper, free)} == {0.0}
    searched = decoded(whisper, replace(free, temperatures=(0.0,)))
    # between the likelihoods of the windows: some fail, and only those go on
    threshold = sorted(one.avg_log_prob for one in searched)[1] + 1e-6
    found = decoded(whisper, replace(free, log_prob_threshold=threshold, no_speech_threshold=None))
    for before, after in zip(searched, found, strict=True):
        if before.avg_log_prob >= threshold:
            assert after == before
        else:
            assert after.hottest > 0
            assert (after.avg_log_prob >= threshold) == (after.hottest == after.temperature) or after.hottest == 1.0


def test_where_no_text_passes_the_best_is_taken(whisper: SpeechModel) -> None:
    options = replace(ASKED, log_prob_threshold=0.0, compression_ratio_threshold=None, no_speech_threshold=None)
    for one, first in zip(
        decoded(whisper, options), decoded(whisper, replace(options, temperatures=(0.0,))), strict=True
    ):
        assert one.hottest == 1.0
        assert one.avg_log_prob >= first.avg_log_prob


def test_randomness_comes_from_the_generator_alone(whisper: SpeechModel) -> None:
    options = replace(ASKED, temperatures=(0.9,), log_prob_threshold=None, compression_ratio_threshold=None, best_of=2)
    first, again, other = (decoded(whisper, options, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert [one.tokens for one in first] != [one.tokens for one in other]
    assert {one.temperature for one in first} == {0.9}
    with pytest.raises(ModelError, match="`generator` must be given where `temperatures` has one above 0"):
        decode_windows(whisper, whisper.encode(whisper.preprocessing.features(sounds(1)), [200]), options)


def test_the_most_probable_of_several_samples_is_taken(whisper: SpeechModel) -> None:
    options = replace(ASKED, temperatures=(1.0,), log_prob_threshold=None, compression_ratio_threshold=None)
    few, many = (
        sum(one.avg_log_prob for one in decoded(whisper, replace(options, best_of=count))) for count in (1, 31)
    )
    assert many > few


def test_a_silent_window_is_not_decoded_again(whisper: SpeechModel) -> None:
    options = replace(ASKED, log_prob_threshold=0.0, no_speech_threshold=0.0, compression_ratio_threshold=None)
    assert {one.hottest for one in decoded(whisper, options)} == {0.0}


def test_a_text_that_repeats_itself_fails_and_is_flagged(whisper: SpeechModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_LOOP_BYTES", 1)
    options = replace(ASKED, log_prob_threshold=None, compression_ratio_threshold=0.01, temperatures=(0.0, 0.4))
    for one in decoded(whisper, options):
        assert one.hottest == 0.4 and one.flags == ("repeats",)
    monkeypatch.undo()
    for one in decoded(whisper, options):  # of a few words
        assert len(one.text) < 100 and (one.hottest, one.flags) == (0.0, ())
    assert compression_ratio("so " * 97) > 10 > 1 > compression_ratio("so")
    assert compression_ratio("") == 0


def test_only_a_long_repetition_is_a_loop() -> None:
    eight, loop = "three " * 8, "three " * 20
    assert compression_ratio(eight) > 2.4
    for text, threshold, expected in ((eight, 2.4, False), (loop, 2.4, True), (loop, None, False), (loop, 99.0, False)):
        options = replace(ASKED, compression_ratio_threshold=threshold)
        assert repeats(text, compression_ratio(text), options) is expected


def test_the_longest_text_fits_into_the_replay(whisper: SpeechModel) -> None:
    long = replace(ASKED.decoding, max_tokens=99, min_tokens=99)
    free = replace(ASKED, decoding=long, timestamps=False, temperatures=(0.0,))
    [one] = decoded(speech_model(tiny_whisper_bundle(), HEADS), free, samples=sounds(1))
    prompt = whisper.tokens.prompt(language="de")
    assert len(prompt) + len(one.tokens) + 1 == whisper.model.config.decoder.max_length
    words = [token for token in one.tokens if not whisper.tokens.is_timestamp(token)]
    assert one.attention is not None and len(one.attention.mean) == len(words) + 1


@pytest.mark.parametrize("flag", ["stalled", "backwards"])
def test_a_text_whose_attention_stands_still_or_runs_back_is_decoded_again(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`progress` judges the attention; here it is replaced: bad twice, then good."""
    calls = []

    def judged(weights: object, *, frame_seconds: float) -> Progress:
        calls.append((weights.shape, frame_seconds))
        share = 1.0 if len(calls) <= threshold else 0.0
        shares = {"stalled_share": 0.0, "backwards_share": 0.0, f"{flag}_share": share}
        return Progress(tokens=7, focus=1.0, reached=1.0, **shares)

    monkeypatch.setattr(decode, "progress", judged)
    long = replace(ASKED.decoding, max_tokens=31, min_tokens=31)
    options = replace(ASKED, decoding=long, timestamps=False, log_prob_threshold=None, compression_ratio_threshold=None)
    options = replace(options, temperatures=(0.0, 0.3, 0.6))
    speech = speech_model(tiny_whisper_bundle(), HEADS)
    threshold = 2
    [good] = decoded(speech, options, samples=sounds(1))
    assert (good.temperature, good.flags) == (0.6, ())
    (_, tokens, frames), seconds = calls[-1]
    words = [token for token in good.tokens if not speech.tokens.is_timestamp(token)]
    assert (tokens, frames, seconds) == (len(words), 100, pytest.approx(0.02))
    calls.clear()
    threshold = 99
    [bad] = decoded(speech, options, samples=sounds(1))
    assert (bad.hottest, bad.flags, len(calls)) == (0.6, (flag,), 3)
    calls.clear()
    [short] = decoded(speech, replace(options, decoding=replace(long, max_tokens=11, min_tokens=0)), samples=sounds(1))
    assert (short.hottest, short.flags, calls) == (0.0, (), [])


def test_attention_is_computed_only_where_heads_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **named: object) -> None:
        raise AssertionError

    monkeypatch.setattr(decode, "token_attention", never)
    decoded(speech_model(tiny_whisper_bundle()), replace(ASKED, temperatures=(0.0,)))


def test_heads_do_not_change_a_text_that_passes(whisper: SpeechModel) -> None:
    options = replace(ASKED, temperatures=(0.0,))
    with_heads = decoded(speech_model(tiny_whisper_bundle(), HEADS), options)
    assert [one.tokens for one in with_heads] == [one.tokens for one in decoded(whisper, options)]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_joint_scoring_uses_the_ctc_head(ours: SpeechModel, num_beams: int) -> None:
    """With a high weight the text is another one, and a batch gives the texts of its windows."""
    options = SpeechOptions(decoding=GenerationConfig(max_tokens=7, num_beams=num_beams), temperatures=(0.0,))
    plain = decoded(ours, options)
    joint = decoded(ours, replace(options, ctc_weight=0.9))
    assert [one.tokens for one in plain] != [one.tokens for one in joint]
    for samples, one in zip(sounds(3), joint, strict=True):
        [alone] = decoded(ours, replace(options, ctc_weight=0.9), samples=samples[None])
        assert alone.tokens == one.tokens
    assert {(one.language, one.no_speech_prob) for one in plain} == {(None, None)}


def test_options_that_do_not_fit_the_model_are_named(whisper: SpeechModel, ours: SpeechModel) -> None:
    encoded = ours.encode(ours.preprocessing.features(sounds(1)), [200])
    once = SpeechOptions(temperatures=(0.0,))
    for options, reason in (
        (replace(once, ctc_weight=0.3), "`ctc_log_probs` must be given with a `ctc_weight` above 0, but are None"),
        (replace(once, timestamps=True), "`timestamps` must be False for a model without timestamp tokens"),
        (replace(once, language="de"), "`language` must be None for a model of one language"),
    ):
        with pytest.raises((InputError, ModelError), match=reason):
            decode_windows(ours, encoded, options)
    with pytest.raises(InputError, match="`language` must be one of de, en, zh, but is 'fr' instead"):
        decoded(whisper, replace(ASKED, language="fr"))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("temperatures", (), "at least one number of at least 0"),
        ("temperatures", (0.0, -0.2), "at least one number of at least 0"),
        ("temperatures", (0.0, math.nan), "at least one number of at least 0"),
        ("temperatures", 0.0, "at least one number of at least 0"),
        ("compression_ratio_threshold", -1.0, "a number from 0 to inf, or None"),
        ("log_prob_threshold", 0.5, "a number from -inf to 0, or None"),
        ("no_speech_threshold", 1.5, "a number from 0 to 1, or None"),
        ("no_speech_threshold", "much", "a number from 0 to 1, or None"),
        ("max_initial_time", -1.0, "a number from 0 to inf, or None"),
        ("ctc_weight", 1.5, "a number from 0 to 1"),
        ("best_of", 0, "a whole number of at least 1"),
        ("timestamps", 1, "True or False"),
        ("condition_on_previous", None, "True or False"),
    ],
)
def test_options_out_of_range_are_named(name: str, value: object, rule: str, made: Callable[..., None]) -> None:
    with pytest.raises(ModelError, match=f"`{name}` must be {rule}, but is .* instead"):
        made(**{name: value})


@pytest.fixture
def made() -> Callable[..., SpeechOptions]:
    """Make options without the type checks that run in tests."""

    def make(**values: object) -> SpeechOptions:
        options = SpeechOptions()
        for name, value in values.items():
            object.__setattr__(options, name, value)
        options.__post_init__()
        return options

    return make


def test_temperatures_may_be_a_list(made: Callable[..., SpeechOptions]) -> None:
    assert made(temperatures=[0, 0.5]).temperatures == (0, 0.5)


def test_windows_with_and_without_a_prefix_keep_their_ends(whisper, monkeypatch) -> None:
    found, plain = list[list[float]](), decode.decode_windows

    def told(*given, least_ends=None, with_prefix=None, **named):
        if with_prefix is None:
            found.append(least_ends)
        return plain(*given, least_ends=least_ends, with_prefix=with_prefix, **named)

    monkeypatch.setattr(decode, "decode_windows", told)
    samples = sounds(3)
    features = whisper.preprocessing.features(samples)
    encoded = whisper.encode(features, [whisper.preprocessing.frames(samples.shape[-1])] * 3, with_ctc=False)
    options = replace(ASKED, prefix="a", temperatures=(0.0,))
    told(whisper, encoded, options, least_ends=[0.1, 0.2, 0.3], with_prefix=[False, True, False])
    assert found == [[0.2], [0.1, 0.3]]
