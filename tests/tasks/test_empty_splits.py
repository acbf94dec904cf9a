"""A split with nothing in it, or with nothing that can be read, is one line in every task."""

from pathlib import Path

import pytest

from multiattn.errors import InputError
from multiattn.tasks import ClassifyData
from multiattn.tasks.loading.loader import too_many
from multiattn.tasks.training import main

from .asked import draw_asked, write_answer_config
from .attach import grouped
from .captioned import draw_captioned, write_caption_config
from .conftest import draw_folder, write_config
from .spoken import draw_spoken, write_speech_config

TASKS = {
    "classify": (draw_folder, write_config),
    "caption": (draw_captioned, write_caption_config),
    "answer": (draw_asked, write_answer_config),
    "transcribe": (draw_spoken, write_speech_config),
}


@pytest.mark.training
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_one_line(task: str, split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw, write = TASKS[task]
    root = draw(tmp_path / "data", sizes={"train": 6, "validation": 2})
    config = write(tmp_path / "c.yaml", root=root, run=tmp_path)
    folder = root / split
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif split == "train" and path.name == "metadata.jsonl":
            path.write_text("")
        else:
            path.unlink()
    assert main(["fit", "--config", str(config)]) == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert str(folder) in error


def test_a_split_of_which_nothing_can_be_read(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = draw_folder(tmp_path, sizes={"train": 2, "validation": 1})
    for file in (root / "validation").rglob("*.png"):
        file.write_bytes(b"")
    data = ClassifyData(str(root), **grouped(batch_size=2, num_workers=0, max_bad_share=1))
    none = "None of the 3 pictures in validation can be read, so that nothing can be said"
    with pytest.raises(InputError, match=none):
        list(data.val_dataloader())
    assert len(recwarn) == 3


@pytest.mark.parametrize(
    ("bad", "size", "share", "stops"),
    [(1, 10, 0.01, False), (2, 10, 0.01, True), (2, 200, 0.01, False), (3, 200, 0.01, True), (1, 10, 0, True)],
)
def test_a_single_bad_file_does_not_end_a_run(bad: int, size: int, share: float, stops: bool) -> None:
    assert too_many(bad, size, max_share=share) == stops
