"""Options of the caller, over those of the model's directory, over the defaults."""

import math

import pytest

from multiattn.errors import ModelError
from multiattn.inputs import SpeechTokens
from multiattn.pipelines.options import check_options
from multiattn.pipelines.transcribe.options import TranscribeOptions, speech_options

PLAIN = SpeechTokens(start=1, end=2)
"""A vocabulary of one language, with nothing but words."""

WHISPER = SpeechTokens(
    start=51,
    end=50,
    languages={"en": 52, "fr": 53},
    transcribe=55,
    translate=54,
    no_timestamps=59,
    first_timestamp=60,
    last_timestamp=83,
    no_speech=58,
    previous=57,
)


def made(asked=None, by_model=None, tokens=WHISPER, *, max_length=448, has_ctc=False):
    return speech_options(
        asked or {}, by_model or {}, tokens=tokens, max_length=max_length, has_ctc=has_ctc, source="runs/mine"
    )


def test_the_defaults_depend_on_the_vocabulary() -> None:
    found = made()
    assert (found.decoding.num_beams, found.decoding.max_tokens) == (5, 224)
    assert (found.timestamps, found.condition_on_previous) == (True, True)
    assert (found.language, found.task, found.initial_prompt) == (None, "transcribe", None)
    found = made(tokens=PLAIN, max_length=47)
    assert (found.decoding.num_beams, found.decoding.max_tokens) == (5, 23)
    assert (found.timestamps, found.condition_on_previous) == (False, False)


def test_the_callers_options_win_over_the_models_and_these_over_the_defaults() -> None:
    by_model = {"num_beams": 2, "max_tokens": 31, "min_tokens": 7, "suppress": (3, 5), "alignment_heads": [[1, 0]]}
    found = made({}, by_model).decoding
    assert (found.num_beams, found.max_tokens, found.min_tokens, found.suppress) == (2, 31, 7, (3, 5))
    found = made({"num_beams": 3, "max_tokens": 5, "length_penalty": 0.5}, by_model).decoding
    assert (found.num_beams, found.max_tokens, found.min_tokens, found.length_penalty) == (3, 5, 5, 0.5)
    assert made({"num_beams": None, "max_tokens": None}, by_model) == made({}, by_model)


def test_a_model_may_state_its_ctc_weight() -> None:
    by_model = {"ctc_weight": 0.4}
    assert made({}, by_model, has_ctc=True).ctc_weight == 0.4
    assert made({"ctc_weight": 0.0}, by_model, has_ctc=True).ctc_weight == 0.0
    with pytest.raises(ModelError, match="has no CTC head: leave `ctc_weight` out, or train with `ctc_weight`"):
        made({}, by_model)


def test_options_of_speech_are_passed_on() -> None:
    found = made(
        {
            "language": "fr",
            "task": "translate",
            "prompt": "Zwicky, Ångström",
            "temperatures": [0, 0.7],
            "compression_ratio_threshold": 1.9,
            "log_prob_threshold": -0.3,
            "no_speech_threshold": 0.4,
            "condition_on_previous": False,
            "clips": [[0, 1.5], [3, 4]],
        }
    )
    assert (found.language, found.task, found.initial_prompt) == ("fr", "translate", "Zwicky, Ångström")
    assert found.temperatures == (0.0, 0.7)
    assert (found.compression_ratio_threshold, found.log_prob_threshold, found.no_speech_threshold) == (1.9, -0.3, 0.4)
    assert found.condition_on_previous is False
    assert found.clips == ((0.0, 1.5), (3.0, 4.0))
    assert made({"ctc_weight": 0.3}, has_ctc=True).ctc_weight == 0.3


@pytest.mark.parametrize(
    ("asked", "tokens", "message"),
    [
        ({"task": "summarize"}, WHISPER, "`task` must be transcribe or translate, but is 'summarize' instead"),
        ({"language": "en"}, PLAIN, r"runs/mine knows one language only: leave `language` \('en'\) out"),
        ({"language": "de"}, WHISPER, "`language` must be of en, fr, or its name, but is 'de' instead"),
        ({"task": "translate"}, PLAIN, "runs/mine cannot translate: `task` must be transcribe"),
        ({"prompt": "x"}, PLAIN, "runs/mine has no token for text that came before: leave `prompt` out"),
        ({"condition_on_previous": True}, PLAIN, "no token for text that came before: leave `condition_on_previous`"),
        ({"ctc_weight": 0.5}, WHISPER, "runs/mine has no CTC head: leave `ctc_weight` out"),
        ({"num_beams": 2.5}, WHISPER, "`num_beams` must be a whole number, but is 2.5 instead"),
        ({"num_beams": True}, WHISPER, "`num_beams` must be a whole number, but is True instead"),
        ({"num_beams": 0}, WHISPER, "`num_beams` must be at least 1, but is 0 instead"),
        ({"max_tokens": "9"}, WHISPER, "`max_tokens` must be a whole number, but is '9' instead"),
        ({"length_penalty": 11}, WHISPER, "`length_penalty` must be from -10 to 10, but is 11 instead"),
        ({"prompt": 7}, WHISPER, "`prompt` must be text, but is 7 instead"),
        ({"language": 7}, WHISPER, "`language` must be text, but is 7 instead"),
        ({"task": 7}, WHISPER, "`task` must be text, but is 7 instead"),
        ({"seed": -1}, WHISPER, r"`seed` must be a whole number from 0 to 2\*\*64 - 1, but is -1 instead"),
        ({"temperatures": 0.5}, WHISPER, "`temperatures` must be a list of numbers, but is 0.5 instead"),
        ({"hotwords": "x"}, PLAIN, "runs/mine has no token for text that came before: leave `hotwords` out"),
        ({"hotwords": 7}, WHISPER, "`hotwords` must be text, but is 7 instead"),
        ({"prefix": 7}, WHISPER, "`prefix` must be text, but is 7 instead"),
        ({"carry_prompt": True}, WHISPER, "`carry_prompt` must be False without a prompt, but is True instead"),
        ({"carry_prompt": 1, "prompt": "x"}, WHISPER, "`carry_prompt` must be True or False, but is 1 instead"),
        ({"patience": 0.5}, WHISPER, "`patience` must be at least 1 and finite, but is 0.5 instead"),
        ({"best_of": 0}, WHISPER, "`best_of` must be a whole number of at least 1, but is 0 instead"),
        ({"log_prob_threshold": "off"}, WHISPER, "`log_prob_threshold` must be a number or \"none\", but is 'off'"),
        *[
            ({"clips": clips}, WHISPER, "`clips` must be pairs of start and end in seconds, but is")
            for clips in (0.5, [3.0], [(1, 2, 3)], [("0", "1")], [(True, 2)])
        ],
        *[
            (
                {"clips": clips},
                WHISPER,
                "`clips` must be pairs of start and end in seconds, in order and without overlap",
            )
            for clips in ([], [(2, 1)], [(1, 1)], [(-1, 1)], [(0, 2), (1, 3)], [(0, math.inf), (3, 4)], [(0, math.nan)])
        ],
        ({"temperatures": [0.5, -1]}, WHISPER, "`temperatures` must be at least one number of at least 0"),
    ],
)
def test_options_that_cannot_be_used_are_named(asked, tokens, message) -> None:
    with pytest.raises(ModelError, match=message):
        made(asked, tokens=tokens)


@pytest.mark.parametrize(
    ("by_model", "message"),
    [
        ({"beam": 3}, "runs/mine: `decoding` must hold known options, but holds 'beam' instead"),
        ({"num_beams": 0}, "runs/mine: `decoding` cannot be used: `num_beams` must be at least 1, but is 0 instead"),
    ],
)
def test_options_of_the_model_that_cannot_be_used_are_named(by_model, message) -> None:
    with pytest.raises(ModelError, match=message):
        made({}, by_model)


def test_an_unknown_option_is_like_an_unknown_parameter() -> None:
    check_options({"num_beams": 3, "seed": 1}, TranscribeOptions)
    with pytest.raises(TypeError, match="there is no option 'beam'; there are: language, task, prompt, carry_prompt, "):
        check_options({"beam": 3}, TranscribeOptions)
