"""`model.checkpoint_activations` of every task: blocks run again in the backward pass, and the weights are the same."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from multiattn.attention import Attention
from multiattn.tasks.training import main

from .asked import draw_asked, write_answer_config
from .captioned import draw_captioned, write_caption_config
from .conftest import draw_folder, write_config
from .spoken import draw_spoken, write_speech_config

pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

SIZES = {"train": 6, "validation": 2}
TASKS = {
    "classify": (write_config, draw_folder),
    "caption": (write_caption_config, draw_captioned),
    "transcribe": (write_speech_config, draw_spoken),
    "answer": (write_answer_config, draw_asked),
}


@pytest.mark.parametrize("task", ["classify", *(pytest.param(name, marks=pytest.mark.slow) for name in [*TASKS][1:])])
def test_a_training_gives_the_same_weights(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, draw = TASKS[task]
    root = draw(tmp_path / "data", sizes=SIZES)
    runs, forward = [0, 0], Attention.forward
    weights = []
    for which, value in enumerate(("false", "true")):

        def counted(self: Attention, *args: object, which: int = which, **options: object) -> object:
            runs[which] += 1
            return forward(self, *args, **options)

        monkeypatch.setattr(Attention, "forward", counted)
        run = tmp_path / value
        config = write(tmp_path / f"{value}.yaml", root=root, run=run)
        options = ["--trainer.max_epochs=1", "--trainer.callbacks=null", "--trainer.limit_train_batches=2"]
        options += ["--data.batches.size=4", f"--model.checkpoint_activations={value}"]
        assert main(["fit", "--config", str(config), *options]) == 0
        weights.append((run / "model" / "model.safetensors").read_bytes())
        assert load_file(run / "model" / "model.safetensors")
    assert weights[0] == weights[1]
    assert runs[1] > runs[0]
