"""What cannot be trained to answer, and how that is said; and how a question encoder begins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torchmetrics import MeanMetric
from transformers import BertConfig, BertModel

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.tasks.answer import AnswerTask
from multiattn.tasks.contracts import TextFacts
from multiattn.tasks.parts import VisionEncoder
from multiattn.weights import ModelBundle
from tests.fixtures import save_tiny_answerer, save_tiny_captioner

from .attach import filled

COMPACT = VisionEncoder(preset="compact")
WRITES = {"answer": "decoder"}
WORDS = Tokenizer.train(["a"], kind="bpe", vocab_size=9)
SHAPE = {"image_size": [16, 16], "stem": "patch", "stem_channels": [], "stem_strides": [], "dim": 20, "depth": 1}
SMALL = VisionEncoder(preset="compact", overrides=SHAPE)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of tiny models, by what they can."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "classifier": save_tiny_answerer(folder / "classifier", "closed"),
        "decoder": save_tiny_answerer(folder / "decoder", "decoder"),
        "captioner": save_tiny_captioner(folder / "captioner"),
        "bert": save_bert(folder / "bert"),
    }


def save_bert(directory: Path) -> Path:
    """A BERT of few words with random weights."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "red", "the", "disc", "?"]
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=22,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=31,
        max_position_embeddings=17,
    )
    BertModel(config).save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    return directory


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            "one of `vision.preset`, `vision.pretrained` and `pretrained` must say what to start from, but none of "
            "them is given.",
        ),
        ({"vision": {"preset": "compact"}, "question": {"width": 3}}, "`question` must be among dim, depth, num_heads"),
        (
            {"vision": {"preset": "compact"}, "question": {"vocab_size": 9}},
            "`question` must be among dim, depth, num_heads",
        ),
        (
            {"vision": {"preset": "compact"}, "question": {"context_dim": 9}},
            "`question` must be among dim, depth, num_heads",
        ),
        ({"vision": {"preset": "compact"}, "question": {"dim": 24.5}}, "`question.dim` must be "),
        (
            {"vision": {"preset": "compact"}, "question": {"dim": 24, "num_heads": 5}},
            "`question` cannot be used: `dim` must be a multiple of `num_heads` (5)",
        ),
        (
            {"vision": {"preset": "compact"}, "answer": "decoder", "decoder": {"width": 3}},
            "`decoder` must be among dim, depth, num_heads",
        ),
        (
            {"vision": {"preset": "compact"}, "decoder": {"dim": 24}},
            "`decoder` must be left out where `answer` is closed, but is given. Or set `answer: decoder`.",
        ),
        (
            {"vision": {"preset": "compact"}, "answer": "decoder", "head_dim": 24},
            "`head_dim` must be left out where `answer` is decoder, but is given. Or set `answer: closed`.",
        ),
        ({"vision": {"preset": "compact"}, "head_dim": 0}, "`head_dim` must be at least 1, but is 0 instead."),
        (
            {"vision": {"preset": "compact"}, "label_smoothing": 1.0},
            "`label_smoothing` must be at least 0 and below 1, but is 1.0 instead.",
        ),
        (
            {"vision": {"preset": "compact", "image_size": 0}},
            "`vision.image_size` must be at least 1, but is 0 instead.",
        ),
        (
            {"vision": {"preset": "compact", "lr_share": -1.0}},
            "`vision.lr_share` must be at least 0 and finite, but is -1.0",
        ),
        (
            {"vision": {"preset": "compact"}, "decoding": {"beam": 3}},
            "`decoding` must be among max_tokens, min_tokens, num_beams",
        ),
        (
            {"vision": {"preset": "compact"}, "answer": "decoder", "decoding": {"sample": True}},
            "`decoding.sample` must be false, for answers are searched for, but is True instead.",
        ),
        (
            {"pretrained": "{captioner}"},
            "`pretrained` must name a model that answers, but {captioner} is a model that can caption. Give it as "
            "`vision.pretrained`",
        ),
        (
            {"pretrained": "{classifier}", "question": {"depth": 2}},
            "`question` must be among dropout, attention_dropout, max_length where there is `pretrained`, but has",
        ),
        (
            {"pretrained": "{decoder}", "decoder": {"depth": 2}},
            "`decoder` must be among dropout, attention_dropout where there is `pretrained`, but has depth: the",
        ),
        (
            {"pretrained": "{classifier}", "head_dim": 5},
            "`head_dim` must be left out where there is `pretrained`, which has ",
        ),
        (
            {"pretrained": "{classifier}", "question_pretrained": "{bert}"},
            "`question_pretrained` must not come with `pretrained`, which has a question encoder. Leave one out.",
        ),
        (
            {"vision": {"preset": "compact"}, "question_pretrained": "{bert}", "question": {"depth": 3}},
            "`question` must be among dropout, attention_dropout where there is `question_pretrained`, but has depth",
        ),
        ({"vision": {"preset": "compact"}, "question_pretrained": "{captioner}"}, "{captioner}"),
    ],
)
def test_an_option_that_cannot_be_used(options: dict[str, Any], message: str, models: dict[str, Path]) -> None:
    named = filled(options, models)
    with pytest.raises(ModelError) as raised:
        AnswerTask(**named | {"vision": VisionEncoder(**named.get("vision", {}))})
    assert str(raised.value).startswith(message.format(**models))


def test_how_it_answers_is_as_the_trained_model_does_it(models: dict[str, Path]) -> None:
    assert AnswerTask(vision=COMPACT).answer == "closed"
    assert AnswerTask(pretrained=str(models["classifier"])).answer == "closed"
    assert AnswerTask(pretrained=str(models["decoder"])).answer == "decoder"
    assert AnswerTask(pretrained=str(models["decoder"]), answer="closed").answer == "closed"


TRAINER: Any = SimpleNamespace(world_size=1, strategy=SimpleNamespace())


def built(task: AnswerTask, *answers: str) -> Any:
    """The model, as the training program has it made."""
    task._trainer = TRAINER
    assert task.tokenizer is not None
    return task.build_model(TextFacts(task.tokenizer, answers=answers))


@pytest.mark.parametrize("writes", [False, True])
def test_a_bert_reads_the_questions_with_its_own_words(writes: bool, models: dict[str, Path]) -> None:
    options = WRITES | {"decoder": {"dim": 12, "num_heads": 2, "max_length": 7}} if writes else {}
    task = AnswerTask(vision=SMALL, question_pretrained=str(models["bert"]), **options)
    model = built(task, *(() if writes else ("red", "no")))
    bert = BertModel.from_pretrained(models["bert"]).eval()
    theirs = bert.state_dict()
    ours = model.question.state_dict()
    assert model.question.config.context_dim == 20
    torch.testing.assert_close(ours["embedding.weight"], theirs["embeddings.word_embeddings.weight"])
    assert any(".cross_attention." in key for key in ours)
    assert task.tokenizer is not None
    ids = [model.question.config.start_token, *task.tokenizer.encode("what is red ?"), model.question.config.end_token]
    assert ids == [2, 5, 6, 7, 10, 3]
    if writes:
        special = (model.decoder.config.start_token, model.decoder.config.end_token, model.decoder.config.pad_token)
        assert special == (2, 3, 0)
        assert model.decoder.config.vocab_size == model.question.config.vocab_size


def test_a_state_of_another_list_of_answers_is_refused(models: dict[str, Path]) -> None:
    """One of as many answers would load, and each answer would be taken for another."""
    checkpoint: dict[str, Any] = {}
    for answers in (("red", "no"), ("no", "red")):
        task = AnswerTask(vision=SMALL, question_pretrained=str(models["bert"]))
        task._trainer = TRAINER
        task.build(TextFacts(task.tokenizer, answers=answers))
        if not checkpoint:
            task.on_save_checkpoint(checkpoint)
            task.on_load_checkpoint(checkpoint)
    with pytest.raises(ModelError, match="must be of a training with the same list of answers, but is of another: the"):
        task.on_load_checkpoint(checkpoint)


def test_a_batch_that_teaches_nothing_is_logged(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes each logs each step and each split, or they wait for each other for ever."""
    task = AnswerTask(vision=SMALL, question_pretrained=str(models["bert"]))
    task.model = built(task, "red", "no")
    task.loss = task.build_loss(None)
    logged: list[tuple[str, float, int]] = []
    monkeypatch.setattr(task, "log_loss", lambda loss, split, size: logged.append((split, float(loss), size)))
    batch: Any = SimpleNamespace(weights=torch.zeros(3), targets=torch.zeros(3, 2))
    for split in ("train", "val"):
        assert float(task._loss(batch, torch.randn(3, 2), None, split)) == 0
    assert logged == [("train", 0.0, 3), ("val", 0.0, 0)]  # a step does not count: the count waits for the device


def test_a_batch_without_a_loss_has_no_weight_in_the_mean_of_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    task = AnswerTask(vision=COMPACT)
    task.mean_losses = torch.nn.ModuleDict({"val_loss": MeanMetric()})
    logged: dict[str, float] = {}
    monkeypatch.setattr(task, "log", lambda name, value, **options: logged.update({name: float(value.compute())}))
    for loss, size in ((0.0, 0), (2.0, 3), (4.0, 1)):
        task.log_loss(torch.tensor(loss), "val", size=size)
    task._log_mean_loss("val")
    assert logged == {"val/loss": pytest.approx((2.0 * 3 + 4.0) / 4)}


def test_the_mean_loss_of_nothing_is_told_once_and_not_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = AnswerTask(vision=COMPACT)
    task.labels = ("red", "no")
    task.mean_losses = torch.nn.ModuleDict({"val_loss": MeanMetric()})
    monkeypatch.setattr(task, "log", lambda *found, **options: pytest.fail("it is logged"))
    for _ in range(2):
        task.log_loss(torch.tensor(0.0), "val", size=0)
        task._log_mean_loss("val")
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(
        "None of the answers that were read is among the 2 of the list, so that there is no val/loss"
    )
    assert "`--model.answer decoder`" in told


def test_labels_are_kept_in_the_bundle_with_the_vocabulary(models: dict[str, Path]) -> None:
    task = AnswerTask(vision=SMALL, question_pretrained=str(models["bert"]))
    task.model = built(task, "red", "no", "2")
    bundle = task.bundle()
    assert isinstance(bundle, ModelBundle)
    assert (bundle.task, bundle.labels) == ("answer", ("red", "no", "2"))
    assert bundle.tokenizer is task.tokenizer


def test_several_processes_must_not_wait_for_the_gradients_of_a_frozen_encoder() -> None:
    task = AnswerTask(vision=VisionEncoder(preset="compact", unfreeze_epoch=1))
    task._trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(_ddp_kwargs={}))
    with pytest.raises(
        ModelError, match="`vision.unfreeze_epoch` must be 0 with several processes .* but is 1 instead"
    ):
        task.build_model(TextFacts(WORDS))


def test_features_need_a_frozen_encoder() -> None:
    task = AnswerTask(vision=COMPACT)
    with pytest.raises(ModelError, match="`vision.lr_share` must be 0 with `features`, .* but is 1.0 instead"):
        task.build_model(TextFacts(WORDS, stores_features=True))
