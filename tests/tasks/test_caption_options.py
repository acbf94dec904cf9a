"""What cannot be trained as a captioner, and how that is said."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.tasks.caption import CaptionTask
from multiattn.tasks.contracts import TextFacts
from multiattn.tasks.parts import VisionEncoder
from multiattn.tasks.training import main

from .attach import filled
from .captioned import write_caption_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

WORD_MAPS = "--trainer.callbacks+=multiattn.tasks.map_callbacks.WordMapsWhileTraining"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model.label_smoothing=1", "error: `label_smoothing` must be at least 0 and below 1, but is 1.0 instead."),
        ("--model.decoding.num_beams=0", "error: `num_beams` must be at least 1, but is 0 instead"),
        (
            f"{WORD_MAPS} --trainer.callbacks.method=gradient_x_input",
            "error: `method` must be one of attention, relevance, lrp, rollout, but is 'gradient_x_input' instead.",
        ),
        (
            "--trainer.callbacks+=multiattn.tasks.map_callbacks.MapsWhileTraining",
            "error: `MapsWhileTraining` must come with ClassifyTask, but comes with CaptionTask instead.",
        ),
        ("--data.features=kept", "error: `vision.lr_share` must be 0 with `features`, which a frozen encoder has"),
        (
            "--ckpt_path={trained}/checkpoints/step-000000009.ckpt --data.vocab_size=37",
            "error: the state must be of a training with the same vocabulary, but is of another: `vocab_size` was 61",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(
    options: str, message: str, captioned: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_caption_config(tmp_path / "c.yaml", root=captioned, run=tmp_path)
    assert main(["fit", "--config", str(config), *options.format(trained=trained).split()]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vision": {"preset": "huge"}}, "`vision.preset` must be one of tiny, small"),
        (
            {"vision": {"preset": "compact", "overrides": {"dimension": 3}}},
            "`vision.overrides` must be among image_size, patch_size",
        ),
        (
            {},
            "one of `vision.preset`, `vision.pretrained` and `pretrained` must say what to start from, but none of "
            "them is given.",
        ),
        (
            {"vision": {"preset": "compact"}, "pretrained": "{encoder}"},
            "one of `vision.preset`, `vision.pretrained` and `pretrained` must say what to start from, but "
            "`vision.preset` and `pretrained` are given. Leave the others out.",
        ),
        (
            {"pretrained": "{encoder}"},
            "`pretrained` must name a captioner, but {encoder} is a model that can classify. Give it as "
            "`vision.pretrained`",
        ),
        (
            {"vision": {"pretrained": "{encoder}", "overrides": {"depth": 2, "dim": 20}}},
            "`vision.overrides` must be among dropout, attention_dropout, stochastic_depth where there is "
            "`vision.pretrained`, but has depth, dim",
        ),
        (
            {"pretrained": "{trained}/model", "decoder": {"depth": 2, "dim": 24}},
            "`decoder` must be among dropout, attention_dropout where there is `pretrained`, but has depth, dim",
        ),
        (
            {"vision": {"preset": "compact"}, "decoder": {"vocab_size": 9}},
            "`decoder` must be among dim, depth, num_heads",
        ),
        (
            {"vision": {"preset": "compact"}, "decoder": {"dim": 24, "num_heads": 5}},
            "`decoder` cannot be used: `dim` must be a multiple of `num_heads` (5)",
        ),
        (
            {"vision": {"preset": "compact"}, "decoding": {"beam": 3}},
            "`decoding` must be among max_tokens, min_tokens, num_beams",
        ),
        (
            {"vision": {"preset": "compact", "image_size": 30}},
            "`vision.image_size` must be a multiple of the patch size (4), but is (30, 30) instead",
        ),
        (
            {"vision": {"preset": "compact", "image_size": 0}},
            "`vision.image_size` must be at least 1, but is 0 instead.",
        ),
        (
            {"vision": {"preset": "compact", "lr_share": -1.0}},
            "`vision.lr_share` must be at least 0 and finite, but is -1.0 instead",
        ),
        (
            {"vision": {"preset": "compact", "unfreeze_epoch": -1}},
            "`vision.unfreeze_epoch` must be at least 0, but is -1 instead.",
        ),
        (
            {"vision": {"preset": "compact", "unfreeze_epoch": 1, "lr_share": 0}},
            "`vision.unfreeze_epoch` must be 0 where `vision.lr_share` is 0, which freezes the encoder for good, but",
        ),
        (
            {"vision": {"preset": "compact"}, "validation_texts": -1},
            "`validation_texts` must be at least 0, but is -1 instead.",
        ),
    ],
)
def test_an_option_that_cannot_be_used(options: dict[str, Any], message: str, encoder: Path, trained: Path) -> None:
    places = {"encoder": encoder, "trained": trained}
    named = filled(options, places)
    with pytest.raises(ModelError) as raised:
        CaptionTask(**named | {"vision": VisionEncoder(**named.get("vision", {}))})
    assert str(raised.value).startswith(message.format(**places))


def test_several_processes_must_not_wait_for_the_gradients_of_a_frozen_encoder() -> None:
    task = CaptionTask(vision=VisionEncoder(preset="compact", unfreeze_epoch=1))
    task._trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(_ddp_kwargs={}))
    with pytest.raises(
        ModelError, match="`vision.unfreeze_epoch` must be 0 with several processes .* but is 1 instead"
    ):
        task.build_model(TextFacts(Tokenizer.train(["a"], kind="bpe", vocab_size=9)))
