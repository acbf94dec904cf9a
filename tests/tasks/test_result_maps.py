"""Maps of answers and transcripts are drawn while training, and do not change it."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from multiattn.errors import ModelError
from multiattn.tasks import AnswerTask
from multiattn.tasks.parts import VisionEncoder
from multiattn.tasks.result_map_callbacks import AnswerMapsWhileTraining, SpeechMapsWhileTraining
from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .asked import draw_asked, write_answer_config
from .spoken import draw_spoken, write_speech_config

pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

SHORT = ["--trainer.limit_train_batches=1", "--data_report.files=0", "--trainer.max_epochs=2"]


def maps(name: str) -> list[str]:
    return [f"--trainer.callbacks+=multiattn.tasks.result_map_callbacks.{name}", "--trainer.callbacks.inputs=2"]


@pytest.mark.slow
def test_answers(tmp_path: Path) -> None:
    root = draw_asked(tmp_path / "data", sizes={"train": 13, "validation": 3})
    weights = []
    for name, more in (("with", maps("AnswerMapsWhileTraining")), ("without", [])):
        run = tmp_path / name
        config = write_answer_config(tmp_path / f"{name}.yaml", root=root, run=run)
        assert main(["fit", "--config", str(config), *SHORT, *more]) == 0
        weights.append(load_bundle(run / "model").model.state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    drawn = sorted((tmp_path / "with" / "maps").iterdir())
    assert [file.name.rpartition("-")[2] for file in drawn] == ["epoch0000.png", "epoch0001.png"] * 2
    for file in drawn:
        with Image.open(file) as picture:
            assert picture.width > 300
    assert "Maps over time" in (tmp_path / "with" / "report.html").read_text()


def test_transcripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = draw_spoken(tmp_path / "data", sizes={"train": 12, "validation": 3})
    config = write_speech_config(tmp_path / "c.yaml", root=root, run=tmp_path / "run")
    shown: list[str] = []
    results = SpeechMapsWhileTraining.results

    def kept(self, bundle, items, device):
        found = results(self, bundle, items, device)
        shown.extend(result.text for result in found)
        return found

    monkeypatch.setattr(SpeechMapsWhileTraining, "results", kept)
    assert main(["fit", "--config", str(config), *SHORT, *maps("SpeechMapsWhileTraining")]) == 0
    assert len(shown) == 4  # a model that has learned nothing may write nothing, which has no map
    folder = tmp_path / "run" / "maps"
    assert len(list(folder.iterdir()) if folder.exists() else []) == sum(bool(text.strip()) for text in shown)


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ModelError, match="`method` must be one of .*relevance.*, but is 'lime' instead"):
        AnswerMapsWhileTraining(method="lime")
    with pytest.raises(ModelError, match="`inputs` must be at least 1, but is 0 instead"):
        SpeechMapsWhileTraining(inputs=0)
    with pytest.raises(ModelError, match="`SpeechMapsWhileTraining` must come with TranscribeTask, but comes with Ans"):
        SpeechMapsWhileTraining().setup(None, AnswerTask(vision=VisionEncoder(preset="compact")), "fit")  # type: ignore[arg-type]
