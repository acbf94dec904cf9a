"""Exported models whose graphs torch computes: what runs them is tested without the seconds of an export."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiattn.deploy.onnx.directory import ExportedModel
from multiattn.deploy.onnx.export import files_of, graphs_of
from multiattn.deploy.onnx.graphs import Graph
from multiattn.weights import ModelBundle


class EagerSession:
    """A graph as `Session` has it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.inputs, self.outputs = tuple(graph.inputs), graph.outputs

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        assert inputs.keys() == self._graph.inputs.keys()
        for name, example in self._graph.inputs.items():  # what an exported graph would refuse
            axes = self._graph.axes.get(name, {})
            assert torch.from_numpy(inputs[name]).dtype == example.dtype, name
            fixed = [axis for axis in range(example.ndim) if axis not in axes]
            assert [inputs[name].shape[axis] for axis in fixed] == [example.shape[axis] for axis in fixed], name
        with torch.no_grad():
            found = self._graph.module(*(torch.from_numpy(inputs[name]) for name in self._graph.inputs))
        return {name: one.numpy() for name, one in zip(self._graph.outputs, found, strict=True)}


class EagerModel(ExportedModel):
    """An exported directory without graphs on disk."""

    graphs: dict[str, Graph]

    def has(self, name: str) -> bool:
        return name in self.graphs

    def session(self, name: str) -> Any:
        return EagerSession(self.graphs[name])


def eager_model(bundle: ModelBundle, folder: Path, *, sites: Sequence[str] = ()) -> EagerModel:
    """The directory that `export` would write of a model, with graphs that torch computes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = files_of(bundle, to="onnx", facts={"maps": list(sites)})
    for name, data in files.items():
        (folder / name).write_text(json.dumps(data), encoding="utf-8")
    model = EagerModel(folder, json.loads((folder / "config.json").read_text(encoding="utf-8")))
    object.__setattr__(model, "graphs", graphs_of(bundle, sites))
    return model
