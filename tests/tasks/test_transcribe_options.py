"""Options of the transcription task that cannot be: each is named, with what it must be."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multiattn.errors import ModelError
from multiattn.tasks import TranscribeTask
from multiattn.tasks.base import BaseTask
from multiattn.tasks.lightning_cli import OneLineParser
from multiattn.tasks.map_callbacks import MapsWhileTraining, WordMapsWhileTraining
from multiattn.tasks.text_task import require_every_gradient
from tests.fixtures import save_tiny_model, save_tiny_recognizer

SCRATCH = {"architecture": "compact"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of `architecture` and `pretrained` must say what to start from, but neither of them are given"),
        (SCRATCH | {"pretrained": "x"}, "one of `architecture` and `pretrained` must .*, but both of them are given"),
        ({"architecture": "tiny"}, "`architecture` must be one of whisper_tiny, .*compact, but is 'tiny' instead"),
        (SCRATCH | {"vocabulary": "new"}, '`vocabulary` must be "own" without `pretrained`'),
        (SCRATCH | {"encoder": {"width": 3}}, "`encoder` must be among mels, .*, but has width instead"),
        (SCRATCH | {"encoder": {"dim": "x"}}, "`encoder.dim` must be int, but is 'x' instead"),
        (
            SCRATCH | {"encoder": {"strides": [1, 2.5]}},
            r"`encoder.strides` must be tuple\[int, int\], but is \(1, 2.5\)",
        ),
        (SCRATCH | {"encoder": {"masked": 3}}, "`encoder.masked` must be bool, but is 3 instead"),
        (SCRATCH | {"encoder": {"window": 1.5}}, r"`encoder.window` must be int \| None, but is 1.5 instead"),
        (SCRATCH | {"decoder": {"max_length": None}}, "`decoder.max_length` must be int, but is None instead"),
        (SCRATCH | {"preprocessing": {"hop": "x"}}, "`preprocessing.hop` must be int, but is 'x' instead"),
        (SCRATCH | {"encoder": {"dim": 3}}, "`encoder` cannot be used: `dim` must be"),
        (SCRATCH | {"decoder": {"vocab_size": 3}}, "`decoder` must be among dim, .*, but has vocab_size instead"),
        (SCRATCH | {"decoder": {"dim": 3}}, "`decoder` cannot be used: `dim` must be"),
        (SCRATCH | {"context": "all"}, "`context` cannot be used: `context` must be 'real'"),
        (SCRATCH | {"preprocessing": {"mels": 7}}, "`preprocessing` must be among .*, but has mels instead"),
        (SCRATCH | {"preprocessing": {"hop": 0}}, "`hop` must be"),
        (
            SCRATCH | {"preprocessing": {"max_seconds": 31.0}},
            "`max_seconds` and `pad_to` must be at most 15 s, .* are 31 s",
        ),
        (SCRATCH | {"ctc_weight": 1}, "`ctc_weight` must be at least 0 and below 1, but is 1 instead"),
        (SCRATCH | {"label_smoothing": 1}, "`label_smoothing` must be at least 0 and below 1, but is 1 instead"),
        (SCRATCH | {"encoder_lr_share": -1}, "`encoder_lr_share` must be at least 0 and finite, but is -1 instead"),
        (SCRATCH | {"unfreeze_epoch": -1}, "`unfreeze_epoch` must be at least 0, but is -1 instead"),
        (
            SCRATCH | {"encoder_lr_share": 0, "unfreeze_epoch": 1},
            "`unfreeze_epoch` must be 0 where `encoder_lr_share` is",
        ),
        (SCRATCH | {"validation_transcripts": -1}, "`validation_transcripts` must be at least 0, but is -1 instead"),
        (SCRATCH | {"normalizer": "x"}, "`normalizer` must be one of english, basic, none, but is 'x' instead"),
        (SCRATCH | {"decoding": {"beam": 3}}, "`decoding` must be among max_tokens, .*, but has beam instead"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TranscribeTask(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": {"dim": 8}}, "`encoder` must be among dropout, .* where there is `pretrained`, but has dim: the"),
        (
            {"decoder": {"depth": 8}},
            "`decoder` must be among dropout, .* where there is `pretrained`, but has depth: the",
        ),
        ({"encoder": {"dropout": "x"}}, "`encoder.dropout` must be float, but is 'x' instead"),
        ({"encoder": {"dropout": 2.0}}, "`encoder` cannot be used: `dropout` must be at least 0 and below 1, but is 2"),
        ({"preprocessing": {"hop": 8}}, "`preprocessing` must be among pad_to, max_seconds where .*, but has hop: the"),
    ],
)
def test_what_the_weights_decide(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        TranscribeTask(pretrained=str(save_tiny_recognizer(tmp_path)), **options)


def test_a_model_that_hears_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model for transcribe, but is one for classify instead"):
        TranscribeTask(pretrained=str(save_tiny_model(tmp_path)))


def test_a_short_position_table_bounds_the_recordings() -> None:
    task = TranscribeTask(**SCRATCH, encoder={"max_frames": 61})
    assert task.preprocessing.max_seconds == pytest.approx(61 * 4 * 0.01)
    assert (
        TranscribeTask(**SCRATCH, encoder={"positions": "rotary", "output_positions": False}).preprocessing.max_seconds
        == 30
    )


@pytest.mark.parametrize("typed", ["null", "~", "Null"])
def test_null_on_the_command_line_is_null_within_an_option_too(typed: str) -> None:
    parser = OneLineParser()
    parser.add_subclass_arguments(BaseTask, "model")
    parts = ["architecture=compact", f"preprocessing.pad_to={typed}", "preprocessing.scale=normalized", "context=real"]
    found = parser.parse_args(
        ["--model=multiattn.tasks.TranscribeTask", *(f"--model.init_args.{part}" for part in parts)]
    )
    assert found.model.init_args.preprocessing == {"pad_to": None, "scale": "normalized"}
    found = parser.parse_args([*(f"--model.{part}" for part in ("context=null",))], namespace=found)
    assert found.model.init_args.context is None


@pytest.mark.parametrize(
    ("maps", "needed"), [(MapsWhileTraining(), "ClassifyTask"), (WordMapsWhileTraining(), "CaptionTask")]
)
def test_a_training_on_recordings_has_no_pictures_to_draw_on(maps: Any, needed: str) -> None:
    with pytest.raises(ModelError, match=f"must come with {needed}, but comes with TranscribeTask instead"):
        maps.setup(SimpleNamespace(), TranscribeTask(**SCRATCH), "fit")


def test_several_processes_do_not_wait_for_a_frozen_encoder() -> None:
    def trainer(world: int, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(world_size=world, strategy=SimpleNamespace(_ddp_kwargs=options))

    with pytest.raises(ModelError, match="`unfreeze_epoch` must be 0 with several processes .*, but is 2 instead"):
        require_every_gradient(trainer(2), unfreeze_epoch=2)
    for fine in (trainer(1), trainer(2, find_unused_parameters=True)):
        require_every_gradient(fine, unfreeze_epoch=2)
    require_every_gradient(trainer(2), unfreeze_epoch=0)
