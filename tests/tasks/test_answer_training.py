"""The answering task in the training program: each configuration, and what each option does to the weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.data.scene_files import scenes_with_questions, write_scenes
from multiattn.metrics.vqa import answer_scores
from multiattn.models.vqa import VQA
from multiattn.tasks.answer_model import teacher_forced
from multiattn.tasks.training import main
from multiattn.weights import load_bundle, save_bundle

from .asked import WRITES, draw_asked, write_answer_config
from .conftest import ROOT, logged
from .test_answer_options import save_bert

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

ONE_PROCESS = "--trainer.accelerator=cpu --trainer.devices=1 --trainer.strategy=auto --data.batches.num_workers=0"
LACKS = "--data.max_answers=2 --trainer.max_epochs=1"
RAW = "--trainer.callbacks=null --checkpoint.keep=9 --checkpoint.every_n_steps=0 --trainer.max_epochs=1"  # no averages


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_asked(tmp_path_factory.mktemp("asked"), sizes={"train": 23, "validation": 7, "test": 5})


def fit(asked: Path, run: Path, options: str = "") -> dict[int, float]:
    """The training losses by the step."""
    run.mkdir(parents=True, exist_ok=True)
    config = write_answer_config(run / "c.yaml", root=asked, run=run)
    assert main(["fit", "--config", str(config), *options.split()]) == 0
    return logged(run, "train/loss")


@pytest.fixture(scope="module")
def closed(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training that ends with an answer out of a list."""
    run = tmp_path_factory.mktemp("closed")
    fit(asked, run)
    return run


@pytest.fixture(scope="module")
def writing(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training that ends with a written answer."""
    run = tmp_path_factory.mktemp("writing")
    fit(asked, run, WRITES)
    return run


def model_of(run: Path) -> VQA:
    model = load_bundle(run / "model").model
    assert isinstance(model, VQA)
    return model


@pytest.mark.parametrize("name", ["smoke", "easy_vqa", "daquar", "daquar_minilm", "finetune", "vqav2"])
def test_each_configuration_is_fitted(name: str, asked: Path, encoder: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "answer" / f"{name}.yaml"
    opening = config.read_text()
    assert all(f"# {word}" in opening for word in ("Purpose:", "Command:", "Data:", "Expected:"))
    root = asked
    if name == "easy_vqa":  # whose questions have boxes
        root = tmp_path / "scenes"
        for split in ("train", "validation"):
            scenes = scenes_with_questions(split, 13, questions=5, seed=1)
            write_scenes(scenes, root / split)
    options = f"{ONE_PROCESS} --data.batches.size=6 --data.root={root} --trainer.default_root_dir={tmp_path}"
    if name != "easy_vqa":
        options += " --data.vocab_size=61"
    if name in ("daquar", "daquar_minilm", "vqav2"):
        options += f" --model.vision.pretrained={encoder} --model.vision.image_size=15"
    if name == "daquar_minilm":
        options += f" --model.text.pretrained={save_bert(tmp_path / 'bert')} --model.question.max_length=17"
        options += " --model.vision.depth=1"
    if name.startswith("daquar"):
        options += f" --data.features={tmp_path}/features"
    if name == "vqav2":
        options += " --data.questions=null --data.annotations=null --data.pictures=null --data.min_count=1"
        options += " --model.question_pretrained=null --model.compile=false --trainer.precision=32"
        options += " --model.question.depth=1 --model.question.dim=24"
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run=2", *options.split()]) == 0


def test_the_model_directory_has_the_best_average_with_its_answers(closed: Path) -> None:
    bundle = load_bundle(closed / "model")
    assert bundle.task == "answer"
    assert set(bundle.labels) == {"blue", "green", "red", "on the left", "on the right", "yes", "no"}
    assert bundle.decoding == {}
    assert bundle.tokenizer is not None
    assert bundle.tokenizer.decode(bundle.tokenizer.encode("where is the disc")) == "where is the disc"
    model = model_of(closed)
    assert model.config.answers == len(bundle.labels)
    assert model.config.question.vocab_size == bundle.tokenizer.vocab_size
    assert model.config.question.dropout == model.config.encoder.stochastic_depth == 0
    best = torch.load(closed / "best" / "best.ckpt", weights_only=True)
    assert all(torch.equal(value, best["state_dict"][f"model.{key}"]) for key, value in model.state_dict().items())
    for name in ("loss", "accuracy", "vqa_accuracy"):
        assert len(logged(closed, f"val/{name}")) == 3


@pytest.fixture(scope="module")
def lacking(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a short training whose list has few of the answers."""
    run = tmp_path_factory.mktemp("lacking")
    fit(asked, run, LACKS)
    return run


@pytest.mark.parametrize("kind", ["closed", "lacking", "writing"])
def test_what_is_predicted_scores_as_the_test_says(
    kind: str, asked: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Path = request.getfixturevalue(kind)
    config = run / "c.yaml"
    more = {"closed": "", "lacking": LACKS, "writing": WRITES}[kind].split()
    for verb in ("test", "predict"):
        assert main([verb, "--config", str(config), "--ckpt_path", "last", *more]) == 0
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (asked / "test" / "metadata.jsonl").read_text().splitlines()]
    assert [(Path(line["file"]).name, line["question"]) for line in lines] == [
        (row["file_name"], row["question"]) for row in rows
    ]
    assert all(line.keys() == {"file", "question", "answer", "score"} for line in lines)
    given = [row.get("answers") or [row["answer"]] for row in rows]
    scores = answer_scores([line["answer"] for line in lines], given, ["all"] * len(rows))
    for name, score in (("accuracy", scores.accuracy), ("vqa_accuracy", scores.vqa_accuracy)):
        assert next(iter(logged(run, f"test/{name}").values())) == pytest.approx(score, abs=1e-6)
    if kind == "lacking":  # what it cannot answer counts, and is wrong
        assert scores.accuracy < 1
        assert any(not {*people} & {*load_bundle(run / "model").labels} for people in given)
    if kind != "writing":
        assert all(0 < line["score"] <= 1 for line in lines)
        assert {line["answer"] for line in lines} <= set(load_bundle(run / "model").labels)


def test_a_model_that_writes_is_kept_with_its_decoding(writing: Path) -> None:
    bundle = load_bundle(writing / "model")
    assert (bundle.labels, bundle.decoding) == ((), {"max_tokens": 5})
    model = model_of(writing)
    assert model.decoder is not None and model.head is None
    assert model.decoder.config.vocab_size == model.config.question.vocab_size
    assert len(logged(writing, "val/accuracy")) == 3


@pytest.mark.parametrize("options", ["", WRITES])
def test_both_kinds_learn(options: str, asked: Path, tmp_path: Path) -> None:
    options += f" {RAW} --trainer.max_epochs=14 --trainer.limit_val_batches=0 --model.optimization.warmup_epochs=0"
    losses = list(fit(asked, tmp_path, options).values())
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])


@pytest.mark.parametrize("options", ["", WRITES])
def test_a_training_that_goes_on_is_bitwise_the_same(options: str, asked: Path, tmp_path: Path) -> None:
    options += " --checkpoint.keep=9 --checkpoint.every_n_steps=2 --trainer.max_epochs=2"
    losses = fit(asked, tmp_path, options)
    assert len(losses) == 6
    folder = tmp_path / "checkpoints"
    theirs = torch.load(folder / "step-000000006.ckpt", weights_only=True)
    scores = logged(tmp_path, "val/accuracy")
    again = [*options.split(), f"--ckpt_path={folder}/step-000000004.ckpt"]  # in the middle of the second epoch
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), *again]) == 0
    ours = torch.load(folder / "step-000000006.ckpt", weights_only=True)
    for part in ("state_dict", "current_model_state"):  # averaged, raw
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][k], theirs[part][k]) for k in theirs[part])
    assert logged(tmp_path, "train/loss") == losses
    assert logged(tmp_path, "val/accuracy") == scores


def test_features_from_disk_teach_as_the_pictures_do(asked: Path, tmp_path: Path) -> None:
    common = f"{RAW} --model.vision.lr_share=0"
    pictures = fit(asked, tmp_path / "pictures", common)
    features = fit(asked, tmp_path / "features", f"{common} --data.features={tmp_path}/kept")
    assert list(features.values()) == pytest.approx(list(pictures.values()), rel=2e-3)  # kept in float16
    values = [list(logged(tmp_path / name, "val/loss").values()) for name in ("pictures", "features")]
    assert values[0] == pytest.approx(values[1], rel=2e-3)


STILL = f"{RAW} --model.vision.preset=null --model.vision.overrides=null --model.optimization.lr=1e-12"
"""Options of a training that moves next to nothing, from trained weights."""


def test_what_a_trained_model_knows_of_the_same_answers_is_kept(closed: Path, asked: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    for split in ("train", "validation"):
        (fewer / split).mkdir(parents=True)
        for file in (asked / split).glob("*.png"):
            (fewer / split / file.name).symlink_to(file)
        rows = [json.loads(line) for line in (asked / split / "metadata.jsonl").read_text().splitlines()]
        kept = [row | {"answer": {"yes": "sure"}.get(row["answer"], row["answer"])} for row in rows if "answer" in row]
        (fewer / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, kept)))
    fit(fewer, tmp_path / "run", f"{STILL} --model.question=null --model.pretrained={closed}/model")
    old, new = load_bundle(closed / "model"), load_bundle(tmp_path / "run" / "model")
    assert set(new.labels) == {"sure", "no", "on the left", "on the right"}
    before, after = old.model.state_dict(), new.model.state_dict()
    for key in before:
        if not key.startswith("head.3."):
            torch.testing.assert_close(after[key], before[key], rtol=1e-5, atol=1e-6)
    for key in ("head.3.weight", "head.3.bias"):
        for row, label in enumerate(new.labels):
            if label != "sure":
                torch.testing.assert_close(after[key][row], before[key][old.labels.index(label)], rtol=1e-5, atol=1e-6)
    assert new.tokenizer is not None and old.tokenizer is not None
    assert new.tokenizer.to_json() == old.tokenizer.to_json()


def test_one_that_chose_may_learn_to_write_and_the_other_way_round(
    closed: Path, writing: Path, asked: Path, tmp_path: Path
) -> None:
    for source, options, parts in ((closed, WRITES, ("encoder", "question")), (writing, "", ("encoder", "question"))):
        run = tmp_path / source.name
        answer = "" if options else "--model.answer=closed"
        more = f"--model.question=null --model.pretrained={source}/model {answer}"
        fit(asked, run, f"{STILL} {options} {more}")
        before, after = model_of(source).state_dict(), model_of(run).state_dict()
        assert ("decoder.embedding.weight" in after) == bool(options) != ("head.3.bias" in after)
        for key in before:
            if key.startswith(parts):
                torch.testing.assert_close(after[key], before[key], rtol=1e-5, atol=1e-6)


def test_a_model_that_writes_goes_on_with_its_decoder_and_its_decoding(
    writing: Path, asked: Path, tmp_path: Path
) -> None:
    fit(asked, tmp_path, f"{STILL} --model.question=null --model.pretrained={writing}/model")
    before, after = model_of(writing).state_dict(), model_of(tmp_path).state_dict()
    assert after.keys() == before.keys()
    for key in before:
        torch.testing.assert_close(after[key], before[key], rtol=1e-5, atol=1e-6)
    assert load_bundle(tmp_path / "model").decoding == {"max_tokens": 5}


def test_the_encoder_of_a_classifier_is_frozen(asked: Path, encoder: Path, tmp_path: Path) -> None:
    options = f"{RAW} --model.vision.preset=null --model.vision.overrides=null --model.vision.lr_share=0"
    fit(asked, tmp_path, f"{options} --model.vision.pretrained={encoder}")
    before = load_bundle(encoder).model.state_dict()
    after = model_of(tmp_path).encoder.state_dict()
    assert after and all(torch.equal(after[key], before[key]) for key in after)


def test_compile_is_of_the_pass_that_is_trained(asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def note(function: Any) -> Any:
        def noted(*args: Any, **options: Any) -> torch.Tensor:
            calls.append(function)
            return function(*args, **options)

        return noted

    monkeypatch.setattr(torch, "compile", note)
    fit(asked, tmp_path, f"{RAW} --model.compile=true")
    assert calls == [teacher_forced] * 3  # a batch of training each; what is measured is not compiled


def test_mixed_precision_is_accepted(asked: Path, tmp_path: Path) -> None:
    losses = fit(asked, tmp_path, f"{RAW} --trainer.precision=bf16-mixed")
    assert all(torch.isfinite(torch.tensor(list(losses.values()))))
    assert model_of(tmp_path).question.embedding.weight.dtype == torch.float32


def test_what_is_saved_is_what_was_trained(closed: Path, tmp_path: Path) -> None:
    save_bundle(load_bundle(closed / "model"), tmp_path / "again")
    again = load_bundle(tmp_path / "again")
    assert again.labels == load_bundle(closed / "model").labels
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), model_of(closed).parameters(), strict=True))
