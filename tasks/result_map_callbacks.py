"""Callbacks that draw maps of answers and transcripts during a training, as `map_callbacks` those of labels and words.

The maps are those of the task's pipeline, on a copy of the model as it is validated.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from multiattn.checks import require_each
from multiattn.errors import InputError
from multiattn.inputs import load_image
from multiattn.pipelines import AnswerPipeline, Result, TranscribePipeline
from multiattn.registry import task_spec
from multiattn.weights import ModelBundle

from .answer import AnswerTask
from .base import BaseTask
from .loading.datamodule import data_of
from .map_callbacks import DrawsMaps
from .transcribe import TranscribeTask


class _DrawsResults(DrawsMaps):
    """Draw the maps of what the task's pipeline finds, with a copy of the model as it is validated."""

    def __init__(self, every_n_epochs: int, inputs: int, method: str) -> None:
        super().__init__(every_n_epochs, method)
        require_each({"inputs": inputs}, least=1)
        self.inputs = inputs

    @abstractmethod
    def results(
        self, bundle: ModelBundle, items: Sequence[tuple[Any, Any]], device: torch.device
    ) -> list[Result | None]:
        """Run the model on items of the validation split; None for one that cannot be used: the loader names it.

        Args:
            bundle: A copy of the model.
            items: A path with what is known of it.
            device: Where to compute.
        """

    def take_part(self, task: BaseTask[Any, Any, Any]) -> None:
        """Give weights that are divided among the processes, for the copy."""
        task.give_weights()

    def draw_all(self, trainer: pl.Trainer, task: BaseTask[Any, Any, Any]) -> Iterable[tuple[str, Path]]:
        """Draw each input that was used and has a map: one of which nothing was said has none."""
        every = data_of(trainer).records("validation").items
        wanted = min(self.inputs, len(every))
        items = [every[i * len(every) // wanted] for i in range(wanted)]
        results = self.results(task.bundle(), items, task.device)  # each step has a seed of its own: no draw is missed
        for number, (item, result) in enumerate(zip(items, results, strict=True)):
            if result is not None and result.maps:
                name, file = self.place(trainer, number, Path(str(item[0])))  # in a shard, too
                result.maps[0].save_png(file)
                yield name, file


class AnswerMapsWhileTraining(_DrawsResults):
    """Maps of the words of an answer and of its question, about a few validation pictures."""

    methods, task_class = task_spec("answer").map_methods, AnswerTask

    def __init__(self, every_n_epochs: int = 1, inputs: int = 4, method: str = "relevance") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            inputs: The number of pictures, spread evenly over the validation split; of each the first question.
            method: One of the map methods of `multiattn answer`.
        """
        super().__init__(every_n_epochs, inputs, method)

    def results(
        self, bundle: ModelBundle, items: Sequence[tuple[Any, Any]], device: torch.device
    ) -> list[Result | None]:
        """Answer the first question of each picture."""
        answer = AnswerPipeline(bundle, device=device)
        found: list[Result | None] = []
        for path, questions in items:
            try:
                found.append(answer(load_image(path), questions[0].text, maps=self.method))
            except InputError:
                found.append(None)
        return found


class SpeechMapsWhileTraining(_DrawsResults):
    """Where the model listens for each word of a few validation recordings."""

    methods, task_class = task_spec("transcribe").map_methods, TranscribeTask

    def __init__(self, every_n_epochs: int = 1, inputs: int = 4, method: str = "attention") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            inputs: The number of recordings, spread evenly over the validation split.
            method: One of the map methods of `multiattn transcribe`.
        """
        super().__init__(every_n_epochs, inputs, method)

    def results(
        self, bundle: ModelBundle, items: Sequence[tuple[Any, Any]], device: torch.device
    ) -> list[Result | None]:
        """Transcribe each recording."""
        transcribe = TranscribePipeline(bundle, device=device)
        found: list[Result | None] = []
        for path, _ in items:
            try:
                found.append(transcribe(path, maps=self.method))
            except InputError:
                found.append(None)
        return found
