"""Which models are served under which names, and which of them are in memory."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from multiattn.deploy import models
from multiattn.deploy.models import Choice, Directory, Memory, chosen, shipped_choices
from multiattn.deploy.work import CancelledWork, UnknownModelError
from multiattn.errors import ModelError

CHOICES = [
    Choice("pets", "classify", "runs/pets"),
    Choice("photos", "classify", "runs/photos"),
    Choice("speech", "transcribe", "tiny.en"),
    Choice("towers", "match", "clip"),
]


@pytest.mark.parametrize(
    ("name", "task", "found"),
    [
        (None, "classify", "pets"),
        ("photos", "classify", "photos"),
        ("towers", "classify", "towers"),  # with labels of the caller's own
        (None, "transcribe", "speech"),
        ("whisper-1", "transcribe", "speech"),
        ("whisper-1", "translate", "speech"),
        (None, "embed", "towers"),  # texts and pictures in one space
        ("pets", "embed", "pets"),
    ],
)
def test_a_request_finds_its_model(name: str | None, task: str, found: str) -> None:
    assert Directory(CHOICES).find(name, task).name == found


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("cats", "classify", "`model` must be one that is served for classify, but is 'cats'; there are: pets, photos"),
        ("pets", "transcribe", "`model` must be one for transcribe, but pets is one for classify; there are: speech"),
        ("whisper-1", "embed", "`model` must be one that is served for embed, but is 'whisper-1'"),
        (None, "caption", "`model` must be given for caption; no model for caption is served here"),
    ],
)
def test_a_request_for_another_model_is_told_which_there_are(name: str | None, task: str, message: str) -> None:
    with pytest.raises(UnknownModelError) as raised:
        Directory(CHOICES).find(name, task)
    assert message in str(raised.value)


def test_the_first_of_each_task_is_its_default() -> None:
    served = Directory(CHOICES).served()
    assert [(one.name, one.default) for one in served] == [
        ("pets", True),
        ("photos", False),
        ("speech", True),
        ("towers", True),
    ]


def test_names_differ() -> None:
    with pytest.raises(ModelError, match="pets is there twice: give NAME=MODEL"):
        Directory([CHOICES[0], CHOICES[0]])
    with pytest.raises(ModelError, match="must be at least one"):
        Directory([])


def test_a_model_is_named_by_the_command_line() -> None:
    assert [one.name for one in shipped_choices()] == ["classify", "caption", "transcribe", "answer", "match"]
    assert shipped_choices(["answer"]) == [Choice("answer", "answer", "answer")]
    assert chosen("mine=caption") == Choice("mine", "caption", "caption")
    folder = str(__import__("multiattn.resources").resources.shipped("models", "answer"))
    assert chosen(f"mine={folder}") == Choice("mine", "answer", folder)
    with pytest.raises(ModelError, match="NAME=MODEL"):
        chosen("=caption")


def pipeline(kilobytes: int) -> Any:
    model = nn.Linear(256, kilobytes, bias=False)
    model.weight.requires_grad_(False)
    return SimpleNamespace(bundle=SimpleNamespace(model=model.to(torch.float32)))


def memory(budget: int | None) -> tuple[Memory, list[str]]:
    """Models of 7, 11 and 13 KiB; and which were loaded, in order."""
    sizes, loaded = {"pets": 7, "photos": 11, "speech": 13, "towers": 1000}, []

    def load(model: str) -> Any:
        name = next(one.name for one in CHOICES if one.model == model)
        loaded.append(name)
        return pipeline(sizes[name])

    return Memory(CHOICES, load, budget=budget), loaded


def use(held: Memory, name: str) -> None:
    with held.using(name):
        pass


def test_a_model_is_loaded_on_first_use_and_stays() -> None:
    held, loaded = memory(None)
    assert not held.is_loaded("pets")
    for _ in range(2):
        use(held, "pets")
    assert held.is_loaded("pets") and held.memory("pets") == 7 * 1024
    assert loaded == ["pets"]


def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    held, loaded = memory(25 * 1024)
    for name in ("pets", "photos", "pets", "speech"):  # 7 + 11 + 13 > 25: photos goes
        use(held, name)
    assert [name for name in ("pets", "photos", "speech") if held.is_loaded(name)] == ["pets", "speech"]
    use(held, "photos")
    assert loaded == ["pets", "photos", "speech", "photos"]
    assert not held.is_loaded("pets")  # 13 + 11 <= 25, but not 7 more


def test_a_model_that_computes_is_waited_for() -> None:
    held, _ = memory(15 * 1024)
    done = threading.Event()
    with held.using("pets"):
        thread = threading.Thread(target=lambda: (use(held, "photos"), done.set()))
        thread.start()
        assert not done.wait(0.05)
        assert held.is_loaded("pets")
    assert done.wait(5)
    thread.join()
    assert held.is_loaded("photos") and not held.is_loaded("pets")


def test_room_is_waited_for_only_while_somebody_waits_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_LOOK", 0.02)
    held, loaded = memory(15 * 1024)
    cancelled = [threading.Event(), threading.Event()]
    raised: list[str] = []
    use(held, "photos")  # from now on its size is known

    def wait(one: threading.Event) -> None:
        with pytest.raises(CancelledWork), held.using("photos", one):
            pytest.fail("there is no room")
        raised.append(threading.current_thread().name)

    with held.using("pets"):
        # the first waits for room, the second for its turn
        threads = [threading.Thread(target=wait, args=(one,), name=str(i)) for i, one in enumerate(cancelled)]
        for thread in threads:
            thread.start()
        for i in (1, 0):
            cancelled[i].set()
            threads[i].join(10)
            assert not threads[i].is_alive()
    assert raised == ["1", "0"] and loaded == ["photos", "pets"]
    use(held, "photos")
    assert held.is_loaded("photos")


def test_a_model_larger_than_the_budget_is_refused() -> None:
    held, _ = memory(20 * 1024)
    with pytest.raises(ModelError, match="--memory must be at least 0.00102 for towers, but is 2.05e-05 instead"):
        use(held, "towers")
    use(held, "pets")
    assert held.is_loaded("pets")


def test_one_load_serves_all_that_wait_for_it() -> None:
    held, loaded = memory(None)
    threads = [threading.Thread(target=use, args=(held, "pets")) for _ in range(7)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert loaded == ["pets"]
