"""What a picture and its questions are made into, is made once: for the search and for the maps."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import multiattn
from multiattn.attention import Attention, KeysValues
from multiattn.models import VQA, ViT
from multiattn.pipelines import Answer, AnswerPipeline
from tests.fixtures import draw, save_tiny_answerer

QUESTIONS = ["what color is the square?", "is there a dog?"]


@pytest.fixture(scope="module", params=["closed", "decoder"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_answerer(tmp_path_factory.mktemp(request.param) / "tiny", request.param)


@pytest.mark.parametrize(
    ("maps", "times"),
    [
        (None, 1),
        ("attention", 1),
        (["rollout", "attention"], 1),
        ("relevance", 2),  # with the graph that its gradients need, once more
    ],
)
def test_what_is_attended_to_is_projected_once(
    directory: Path, maps: str | Sequence[str] | None, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = multiattn.load(directory, device="cpu")
    assert isinstance(answer, AnswerPipeline) and isinstance(answer.bundle.model, VQA)
    model = answer.bundle.model
    readers = {"question": model.question} | ({} if model.decoder is None else {"decoder": model.decoder})
    crosses = {
        block.cross_attention: (name, layer)
        for name, part in readers.items()
        for layer, block in enumerate(part.blocks)
    }
    made: Counter[tuple[str, int, int]] = Counter()  # part, layer, and how many contexts at once
    plain = Attention.keys_values

    def counted(self: Attention, context: torch.Tensor) -> KeysValues:
        made[*crosses[self], len(context)] += 1
        return plain(self, context)

    monkeypatch.setattr(Attention, "keys_values", counted)  # no cross-attention has keys and values from elsewhere
    results = answer(draw(1), QUESTIONS, maps=maps)
    assert all(isinstance(result, Answer) and result.answer for result in results)
    assert made == {
        (name, layer, 1 if name == "question" else len(QUESTIONS)): times for name, layer in crosses.values()
    }


@pytest.mark.parametrize(("maps", "times"), [(None, 1), ("attention", 1), ("rollout", 2), ("relevance", 2)])
def test_a_picture_is_looked_at_once_more_only_by_what_follows_it_back(
    directory: Path, maps: str | None, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = multiattn.load(directory, device="cpu")
    assert isinstance(answer, AnswerPipeline)
    encoded, features = [], ViT.features
    monkeypatch.setattr(
        ViT, "features", lambda self, images, **more: encoded.append(len(images)) or features(self, images, **more)
    )
    answer(draw(1), QUESTIONS, maps=maps)
    assert encoded == [1] * times
