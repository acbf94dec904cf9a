"""Matching in the training program: each configuration, what is measured and written, and what learns."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import multiattn
from multiattn.data.captions import read_captions
from multiattn.errors import ModelError
from multiattn.metrics.retrieval import retrieval_scores
from multiattn.models import TwoTowers
from multiattn.tasks import MatchTask
from multiattn.tasks.parts import VisionEncoder
from multiattn.tasks.training import main
from multiattn.weights import load_bundle
from tests.fixtures import save_tiny_matcher, tiny_match_bundle

from .conftest import ROOT, logged
from .matched import write_match_config

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

ONE_PROCESS = "--trainer.accelerator=cpu --trainer.devices=1 --trainer.strategy=auto --data.batches.num_workers=0"


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_matcher(tmp_path_factory.mktemp("matcher"), "sigmoid")


@pytest.fixture(scope="module")
def trained(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training."""
    run = tmp_path_factory.mktemp("matched")
    assert main(["fit", "--config", str(write_match_config(run / "c.yaml", root=captioned, run=run))]) == 0
    return run


@pytest.mark.parametrize("name", ["smoke", "flickr8k", "finetune"])
def test_each_configuration_is_fitted(name: str, captioned: Path, encoder: Path, matcher: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "match" / f"{name}.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    options = f"{ONE_PROCESS} --data.batches.size=6 --data.root={captioned} --trainer.default_root_dir={tmp_path}"
    if name == "finetune":
        options += f" --model.pretrained={matcher}"
    else:
        options += " --data.vocab_size=61 --model.text.dim=24 --model.text.depth=1 --model.text.mlp_dim=30"
    if name == "smoke":
        options += " --model.vision.image_size=32"
    if name == "flickr8k":
        options += f" --model.vision.pretrained={encoder}"
        options += " --model.vision.overrides.pool_heads=2"
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=2", *options.split()]) == 0


def test_the_directory_finds_what_the_validation_measured(trained: Path, captioned: Path) -> None:
    """The recalls that were logged for the best state are those of the model directory, computed by the pipeline."""
    recalls = logged(trained, "val/recall")
    assert len(recalls) == 3
    step = max(recalls, key=lambda one: (recalls[one], -one))
    match = multiattn.load(trained / "model", task="match", device="cpu")
    assert match.bundle.model.config.vision.stochastic_depth == match.bundle.model.config.text.dropout == 0
    items = read_captions(captioned, "validation").items
    owners = [row for row, (_, texts) in enumerate(items) for _ in texts]
    texts = np.concatenate([match.embed_texts([text]) for _, several in items for text in several])
    pictures = np.stack([np.asarray(one) for one in match.embed([path for path, _ in items])])
    found = vars(retrieval_scores(pictures @ texts.T, owners))
    assert {name: logged(trained, f"val/{name}")[step] for name in found} == pytest.approx(found, abs=1e-6)
    assert recalls[step] == pytest.approx(sum(found.values()) / 6, abs=1e-6)
    assert len(logged(trained, "val/loss")) == 3 and len(logged(trained, "train/scale")) == 9


@pytest.mark.slow
def test_test_and_predict(trained: Path, captioned: Path) -> None:
    for verb in ("test", "predict"):
        assert main([verb, "--config", str(trained / "c.yaml"), "--ckpt_path", "best"]) == 0
    assert 0 <= next(iter(logged(trained, "test/text_r1").values())) <= 1
    lines = [json.loads(line) for line in (trained / "predictions.jsonl").read_text().splitlines()]
    match = multiattn.load(trained / "model", task="match", device="cpu")
    assert len(lines) == 5
    for line in lines:
        result = match(line["file"], line["texts"])
        wanted = [one.similarity for one in result.matches]
        assert line["similarities"] == pytest.approx(wanted, abs=1e-3)


@pytest.mark.slow
def test_only_what_pools_learns_over_a_frozen_transformer(captioned: Path, encoder: Path, tmp_path: Path) -> None:
    start = load_bundle(encoder).model.state_dict()
    weights = {}
    for name, more in (("files", ""), ("features", f" --data.features={tmp_path}/kept --data.views=2")):
        run = tmp_path / name
        options = f"--model.vision.preset=null --model.vision.pretrained={encoder} --model.vision.lr_share=0"
        options += " --model.vision.overrides=null --model.vision.overrides.pool=attention --trainer.max_epochs=1"
        config = write_match_config(tmp_path / f"{name}.yaml", root=captioned, run=run)
        assert main(["fit", "--config", str(config), *options.split(), *more.split()]) == 0
        weights[name] = load_bundle(run / "model").model.state_dict()
        for key, value in weights[name].items():
            if key.startswith("vision.") and not key.startswith("vision.pool."):
                assert torch.equal(value, start[key.removeprefix("vision.")]), key
    assert len(list((tmp_path / "kept").iterdir())) == 2  # of the two splits, whatever pools the features
    drawn = TwoTowers(load_bundle(tmp_path / "files" / "model").config)
    assert {key for key in weights["files"] if key.startswith("vision.pool.")}
    assert all(weights["files"][key].shape == value.shape for key, value in drawn.state_dict().items())


@pytest.mark.slow
def test_a_training_that_goes_on_is_bitwise_the_same(captioned: Path, tmp_path: Path) -> None:
    config = write_match_config(tmp_path / "c.yaml", root=captioned, run=tmp_path)
    command = ["fit", "--config", str(config), "--checkpoint.keep=9", "--checkpoint.every_n_steps=2"]
    assert main(command) == 0
    folder, losses = tmp_path / "checkpoints", logged(tmp_path, "train/loss")
    theirs = torch.load(folder / "step-000000009.ckpt", weights_only=True)
    recalls = logged(tmp_path, "val/recall")
    # in the middle of the second epoch
    assert main([*command, f"--ckpt_path={folder}/step-000000004.ckpt"]) == 0
    ours = torch.load(folder / "step-000000009.ckpt", weights_only=True)
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][key], theirs[part][key]) for key in theirs[part])
    assert logged(tmp_path, "train/loss") == losses and len(losses) == 9
    assert logged(tmp_path, "val/recall") == recalls


def test_the_scale_is_bounded() -> None:
    task = MatchTask(vision=VisionEncoder(preset="compact"), max_scale=20.0)
    task.model = TwoTowers(tiny_match_bundle().config)
    with torch.no_grad():
        task.model.logit_scale.fill_(5.0)
    task.optimizer_step(0, 0, torch.optim.SGD(task.model.parameters(), lr=0.0), lambda: None)
    assert float(task.model.logit_scale.detach()) == pytest.approx(math.log(20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_scale": 0.5}, "`max_scale` must be at least 1 and finite, but is 0.5 instead"),
        ({"dim": 0}, "`dim` must be at least 1, but is 0 instead"),
        ({"text": {"vocab_size": 7}}, "`text.vocab_size`|vocab_size"),
        ({"text": {"dim": 7, "num_heads": 2}}, "`text` cannot be used"),
        ({"vision": VisionEncoder()}, "one of `vision.preset`, `vision.pretrained` and `pretrained` must say"),
    ],
)
def test_options_that_make_no_model(options: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        MatchTask(**{"vision": VisionEncoder(preset="compact")} | options)


def test_a_trained_model_keeps_its_objective(matcher: Path, encoder: Path) -> None:
    assert MatchTask(pretrained=str(matcher)).objective == "sigmoid"
    with pytest.raises(ModelError, match="`objective` must be sigmoid, as `pretrained` has it, but is 'contrastive'"):
        MatchTask(pretrained=str(matcher), objective="contrastive")
    with pytest.raises(ModelError, match="`pretrained` must name a model of two towers, but"):
        MatchTask(pretrained=str(encoder))
    with pytest.raises(ModelError, match="`vision.overrides` must be among dropout, .*, but has pool: the weights"):
        MatchTask(pretrained=str(matcher), vision=VisionEncoder(overrides={"pool": "mean"}))


def test_the_scale_that_is_saved_is_bounded(captioned: Path, tmp_path: Path) -> None:
    config = write_match_config(tmp_path / "c.yaml", root=captioned, run=tmp_path)
    options = ["--model.max_scale=10", "--checkpoint.every_n_steps=1", "--trainer.max_steps=1"]
    assert main(["fit", "--config", str(config), *options]) == 0
    states = [torch.load(path) for path in (tmp_path / "checkpoints").glob("*.ckpt")]
    scales = [one for state in states for name, one in state["state_dict"].items() if name.endswith("logit_scale")]
    assert scales and all(float(one) <= math.log(10) + 1e-6 for one in scales)


def test_a_batch_of_one_picture_is_refused_by_the_contrastive_loss(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_match_config(tmp_path / "c.yaml", root=captioned, run=tmp_path)
    assert main(["fit", "--config", str(config), "--data.batches.size=1"]) == 1
    assert "error: `data.batches.size` must be at least 2 for the contrastive loss" in capsys.readouterr().err
