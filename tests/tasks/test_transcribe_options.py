"""Options of the transcription task that cannot be: each is named, with what it must be."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multiattn.errors import ModelError
from multiattn.tasks import TranscribeTask
from multiattn.tasks.base import BaseTask
from multiattn.tasks.freezing import require_every_gradient
from multiattn.tasks.lightning_cli import OneLineParser
from multiattn.tasks.map_callbacks import MapsWhileTraining, WordMapsWhileTraining
from multiattn.tasks.parts import AudioEncoder
from tests.fixtures import save_tiny_model, save_tiny_recognizer

SCRATCH = AudioEncoder(preset="compact")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of `audio.preset` and `pretrained` must say what to start from, but neither of them is given"),
        (
            {"audio": {"preset": "compact"}, "pretrained": "x"},
            "one of `audio.preset` and `pretrained` must .*, but both of them are given",
        ),
        ({"audio": {"preset": "tiny"}}, "`audio.preset` must be one of whisper_tiny, .*compact, but is 'tiny' instead"),
        ({"audio": {"preset": "compact"}, "vocabulary": "new"}, '`vocabulary` must be "own" without `pretrained`'),
        (
            {"audio": {"preset": "compact", "overrides": {"width": 3}}},
            "`audio.overrides` must be among mels, .*, but has width instead",
        ),
        (
            {"audio": {"preset": "compact", "overrides": {"dim": "x"}}},
            "`audio.overrides.dim` must be int, but is 'x' instead",
        ),
        (
            {"audio": {"preset": "compact", "overrides": {"strides": [1, 2.5]}}},
            r"`audio.overrides.strides` must be tuple\[int, int\], but is \(1, 2.5\)",
        ),
        (
            {"audio": {"preset": "compact", "overrides": {"masked": 3}}},
            "`audio.overrides.masked` must be bool, but is 3 instead",
        ),
        (
            {"audio": {"preset": "compact", "overrides": {"window": 1.5}}},
            r"`audio.overrides.window` must be int \| None, but is 1.5 instead",
        ),
        (
            {"audio": {"preset": "compact"}, "decoder": {"max_length": None}},
            "`decoder.max_length` must be int, but is None instead",
        ),
        (
            {"audio": {"preset": "compact", "preprocessing": {"hop": "x"}}},
            "`audio.preprocessing.hop` must be int, but is 'x' instead",
        ),
        ({"audio": {"preset": "compact", "overrides": {"dim": 3}}}, "`audio.overrides` cannot be used: `dim` must be"),
        (
            {"audio": {"preset": "compact"}, "decoder": {"vocab_size": 3}},
            "`decoder` must be among dim, .*, but has vocab_size instead",
        ),
        ({"audio": {"preset": "compact"}, "decoder": {"dim": 3}}, "`decoder` cannot be used: `dim` must be"),
        (
            {"audio": {"preset": "compact", "context": "all"}},
            "`audio.context` cannot be used: `context` must be 'real'",
        ),
        (
            {"audio": {"preset": "compact", "preprocessing": {"mels": 7}}},
            "`audio.preprocessing` must be among .*, but has mels instead",
        ),
        ({"audio": {"preset": "compact", "preprocessing": {"hop": 0}}}, "`hop` must be"),
        (
            {"audio": {"preset": "compact", "preprocessing": {"max_seconds": 31.0}}},
            "`max_seconds` and `pad_to` must be at most 15 s, .* are 31 s",
        ),
        (
            {"audio": {"preset": "compact"}, "ctc_weight": 1},
            "`ctc_weight` must be at least 0 and below 1, but is 1 instead",
        ),
        (
            {"audio": {"preset": "compact"}, "label_smoothing": 1},
            "`label_smoothing` must be at least 0 and below 1, but is 1 instead",
        ),
        (
            {"audio": {"preset": "compact", "lr_share": -1}},
            "`audio.lr_share` must be at least 0 and finite, but is -1 instead",
        ),
        (
            {"audio": {"preset": "compact", "unfreeze_epoch": -1}},
            "`audio.unfreeze_epoch` must be at least 0, but is -1 instead",
        ),
        (
            {"audio": {"preset": "compact", "lr_share": 0, "unfreeze_epoch": 1}},
            "`audio.unfreeze_epoch` must be 0 where `audio.lr_share` is",
        ),
        (
            {"audio": {"preset": "compact"}, "validation_texts": -1},
            "`validation_texts` must be at least 0, but is -1 instead",
        ),
        (
            {"audio": {"preset": "compact"}, "normalizer": "x"},
            "`normalizer` must be one of english, basic, none, but is 'x' instead",
        ),
        (
            {"audio": {"preset": "compact"}, "decoding": {"beam": 3}},
            "`decoding` must be among max_tokens, .*, but has beam instead",
        ),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TranscribeTask(**options | {"audio": AudioEncoder(**options.get("audio", {}))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"audio": {"overrides": {"dim": 8}}},
            "`audio.overrides` must be among dropout, .* where there is `pretrained`, but has dim: the",
        ),
        (
            {"decoder": {"depth": 8}},
            "`decoder` must be among dropout, .* where there is `pretrained`, but has depth: the",
        ),
        ({"audio": {"overrides": {"dropout": "x"}}}, "`audio.overrides.dropout` must be float, but is 'x' instead"),
        (
            {"audio": {"overrides": {"dropout": 2.0}}},
            "`audio.overrides` cannot be used: `dropout` must be at least 0 and below 1, but is 2",
        ),
        (
            {"audio": {"preprocessing": {"hop": 8}}},
            "`audio.preprocessing` must be among pad_to, max_seconds, background_seconds where .*, but has hop: the",
        ),
    ],
)
def test_what_the_weights_decide(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        audio = AudioEncoder(**options.pop("audio", {}))
        TranscribeTask(pretrained=str(save_tiny_recognizer(tmp_path)), audio=audio, **options)


def test_a_model_that_hears_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model for transcribe, but is one for classify instead"):
        TranscribeTask(pretrained=str(save_tiny_model(tmp_path)))


def test_a_short_position_table_bounds_the_recordings() -> None:
    task = TranscribeTask(audio=AudioEncoder(preset="compact", overrides={"max_frames": 61}))
    assert task.preprocessing.max_seconds == pytest.approx(61 * 4 * 0.01)
    rotary = AudioEncoder(preset="compact", overrides={"positions": "rotary", "output_positions": False})
    assert TranscribeTask(audio=rotary).preprocessing.max_seconds == 30


@pytest.mark.parametrize("typed", ["null", "~", "Null"])
def test_null_on_the_command_line_is_null_within_an_option_too(typed: str) -> None:
    parser = OneLineParser()
    parser.add_subclass_arguments(BaseTask, "model")
    sound = [f"preprocessing.pad_to={typed}", "preprocessing.scale=normalized"]
    parts = [f"audio.{part}" for part in ("preset=compact", *sound, "context=real")]
    typed_first = ["--model=multiattn.tasks.TranscribeTask", *(f"--model.init_args.{part}" for part in parts)]
    found = parser.parse_args(typed_first)
    assert found.model.init_args.audio.preprocessing == {"pad_to": None, "scale": "normalized"}
    assert found.model.init_args.audio.context == "real"
    found = parser.parse_args([*typed_first, f"--model.audio.context={typed}"])
    assert found.model.init_args.audio.context is None


@pytest.mark.parametrize(
    ("maps", "needed"), [(MapsWhileTraining(), "ClassifyTask"), (WordMapsWhileTraining(), "CaptionTask")]
)
def test_a_training_on_recordings_has_no_pictures_to_draw_on(maps: Any, needed: str) -> None:
    with pytest.raises(ModelError, match=f"must come with {needed}, but comes with TranscribeTask instead"):
        maps.setup(SimpleNamespace(), TranscribeTask(audio=SCRATCH), "fit")


def test_several_processes_do_not_wait_for_a_frozen_encoder() -> None:
    def trainer(world: int, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(world_size=world, strategy=SimpleNamespace(_ddp_kwargs=options))

    late = AudioEncoder(unfreeze_epoch=2)
    with pytest.raises(
        ModelError, match="`audio.unfreeze_epoch` must be 0 with several processes .*, but is 2 instead"
    ):
        require_every_gradient(trainer(2), late)
    for fine in (trainer(1), trainer(2, find_unused_parameters=True)):
        require_every_gradient(fine, late)
    require_every_gradient(trainer(2), AudioEncoder())
