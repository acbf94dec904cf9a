"""A frozen text encoder runs once for each text, over all epochs and starts."""

from pathlib import Path

import pytest
import torch

from multiattn.models import TextEncoder, TextEncoderConfig
from multiattn.tasks.loading import text_states
from multiattn.tasks.loading.text_states import TextStates

SIZES = {"vocab_size": 37, "dim": 22, "depth": 2, "num_heads": 2, "mlp_dim": 29, "max_length": 17}
TEXTS = ("a b", "a b c", "é ☃")
TOKENS = torch.tensor([[1, 5, 6, 2, 0], [1, 5, 6, 7, 2], [1, 9, 8, 2, 0]])
MASK = TOKENS != 0


class Counting(TextEncoder):
    rows = 0

    def forward(self, tokens, *args, **named):
        self.rows += len(tokens)
        return super().forward(tokens, *args, **named)


def encoder(seed: int = 3) -> Counting:
    torch.manual_seed(seed)
    return Counting(TextEncoderConfig(**SIZES, context_dim=None)).eval().requires_grad_(False)


def check(found: torch.Tensor, model: Counting, rows: list[int]) -> None:
    wanted = TextEncoder.forward(model, TOKENS[rows], attention_mask=MASK[rows])
    torch.testing.assert_close(found[MASK[rows]], wanted[MASK[rows]], atol=2e-3, rtol=2e-3)
    assert not found[~MASK[rows]].any()


def test_each_text_is_computed_once(tmp_path: Path) -> None:
    model = encoder()
    states = TextStates(model, tmp_path / "kept")
    check(states(TEXTS[:2], TOKENS[:2], MASK[:2]), model, [0, 1])
    # padded to another length, beside a new one that comes twice
    rows = [1, 0, 2, 2]
    check(states([TEXTS[i] for i in rows], TOKENS[rows], MASK[rows]), model, rows)
    assert model.rows == 4
    states.save()
    (file,) = (tmp_path / "kept").iterdir()
    again = TextStates(model, tmp_path / "kept")
    rows = [2, 0]
    check(again([TEXTS[i] for i in rows], TOKENS[rows], MASK[rows]), model, rows)
    assert model.rows == 4
    stamp = file.stat().st_mtime_ns
    again.save()  # nothing is new
    assert file.stat().st_mtime_ns == stamp

    other = encoder(seed=4)
    check(TextStates(other, tmp_path / "kept")(TEXTS, TOKENS, MASK), other, [0, 1, 2])
    assert other.rows == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", None])
def test_a_damaged_file_is_computed_again(content: bytes | None, tmp_path: Path) -> None:
    model = encoder()
    states = TextStates(model, tmp_path)
    states(TEXTS, TOKENS, MASK)
    states.save()
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    again = TextStates(model, tmp_path)
    check(again(TEXTS, TOKENS, MASK), model, [0, 1, 2])
    again.save()
    assert file.read_bytes() == whole


def test_memory_is_bounded_and_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(text_states, "_MOST_BYTES", 1)
    model = encoder()
    (tmp_path / "file").touch()
    states = TextStates(model, tmp_path / "file")
    for _ in range(2):
        check(states(TEXTS, TOKENS, MASK), model, [0, 1, 2])
    assert model.rows == 3 + 2  # the first text alone is kept
    states.save()
    assert "is not written: " in capsys.readouterr().err
