"""A state is loaded without the trained models that its training started from."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from multiattn.inputs import Tokenizer
from multiattn.tasks import AnswerTask, CaptionTask, ClassifyTask, TranscribeTask
from multiattn.tasks.contracts import ClassifyFacts, TextFacts
from multiattn.tasks.parts import TextSource, VisionEncoder
from multiattn.weights import save_bundle
from tests.fixtures import SENTENCES, save_tiny_answerer, save_tiny_captioner, save_tiny_whisper, tiny_bundle

from .test_answer_options import save_bert

# Lightning's own warnings on this torch are no failure of ours
pytestmark = pytest.mark.filterwarnings("default")

TASKS: dict[str, Any] = {
    "classify": lambda models: ClassifyTask(pretrained=f"{models}/classify"),
    "caption": lambda models: CaptionTask(pretrained=f"{models}/caption"),
    "caption, an encoder": lambda models: CaptionTask(vision=VisionEncoder(pretrained=f"{models}/classify")),
    "transcribe": lambda models: TranscribeTask(language="en", pretrained=f"{models}/transcribe"),
    "transcribe, new words": lambda models: TranscribeTask(pretrained=f"{models}/transcribe", vocabulary="new"),
    "answer": lambda models: AnswerTask(pretrained=f"{models}/answer"),
    "answer, new words": lambda models: AnswerTask(pretrained=f"{models}/answer", vocabulary="new"),
    "answer, a text encoder": lambda models: AnswerTask(
        vision=VisionEncoder(pretrained=f"{models}/classify"),
        text=TextSource(f"{models}/bert", lr_share=0.0),
        question={"dim": 24, "max_length": 13},
    ),
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    save_bundle(tiny_bundle(), folder / "classify")
    save_tiny_captioner(folder / "caption")
    save_tiny_answerer(folder / "answer")
    save_tiny_whisper(folder / "transcribe")
    save_bert(folder / "bert")
    return folder


_SLOW = ("caption, an encoder", "transcribe", "transcribe, new words")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in _SLOW else n for n in TASKS])
def test_a_state_loads_without_what_it_started_from(name: str, models: Path, tmp_path: Path) -> None:
    task = TASKS[name](models)
    tokenizer = task.tokenizer or Tokenizer.train((*SENTENCES, "two new words"), kind="bpe", vocab_size=71)
    facts: Any = TextFacts(tokenizer, answers=("red", "grey") if isinstance(task, AnswerTask) else ())
    if isinstance(task, ClassifyTask):
        facts = ClassifyFacts(("cat", "eel"), (3, 5), 4)
    task._trainer = SimpleNamespace(world_size=1, strategy=SimpleNamespace(), datamodule=None)
    task.build(facts)
    state = {"state_dict": task.state_dict(), "pytorch-lightning_version": pl.__version__}
    state["hyper_parameters"] = dict(task.hparams)
    task.on_save_checkpoint(state)
    torch.save(state, tmp_path / "state.ckpt")
    shutil.rmtree(models)
    torch.manual_seed(5)
    loaded = type(task).load_from_checkpoint(tmp_path / "state.ckpt", weights_only=True)
    assert type(loaded) is type(task) and loaded.hparams == task.hparams
    ours, theirs = loaded.bundle(), task.bundle()
    assert ours.config == theirs.config
    assert (ours.labels, ours.preprocessing, ours.decoding) == (theirs.labels, theirs.preprocessing, theirs.decoding)
    assert {k: v.tolist() for k, v in ours.model.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.model.state_dict().items()
    }
    if theirs.tokenizer is not None:
        assert ours.tokenizer is not None and ours.tokenizer.to_json() == theirs.tokenizer.to_json()
    # the vocabulary is in the state twice only where the training has another than the model had
    (described,) = [one for one in state["trained"].values() if "tokenizer" in one] or [None]
    assert (described is not None) == (name == "answer, new words")
    again: dict[str, Any] = {"state_dict": loaded.state_dict()}
    loaded.on_save_checkpoint(again)
    assert again["trained"] == state["trained"]
