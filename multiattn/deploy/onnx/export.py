"""Writing a model for other runtimes: ONNX graphs, or programs of `torch.export`.

The directory holds `config.json`, as a model directory of ours with what was exported, `tokenizer.json` where text is
read or written, and a file for each graph.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from ...checks import require
from ...errors import ModelError
from ...models import VQA, Captioner, SingleStream, SpeechRecognizer, ViT
from ...models.int8 import is_int8
from ...weights import ModelBundle
from ...weights.bundle import CONFIG
from ...weights.own import describe
from ...writing import whole_folder, write_json
from .decoder_graphs import answerer_graphs, captioner_graphs, recognizer_graphs, single_stream_graphs
from .directory import FORMATS, NEWEST_OPSET, OLDEST_OPSET, OPSET
from .graphs import Graph, classifier_graphs

Target = Literal["onnx", "torch"]

_GRAPHS: Mapping[type[nn.Module], Callable[[ModelBundle, Sequence[str]], dict[str, Graph]]] = {
    ViT: classifier_graphs,
    Captioner: captioner_graphs,
    SpeechRecognizer: recognizer_graphs,
    VQA: answerer_graphs,
    SingleStream: single_stream_graphs,
}


def export(
    bundle: ModelBundle, folder: str | Path, *, to: Target = "onnx", opset: int = OPSET, sites: Sequence[str] = ()
) -> None:
    """Write a model into a folder.

    Args:
        bundle: The model, in fp32, on the CPU, not compiled.
        folder: A folder that is empty or does not exist.
        to: "onnx" for `--runtime onnxruntime` and other runtimes of ONNX; "torch" for `torch.export.load`.
        opset: The version of ONNX's operators, for "onnx".
        sites: Names of attentions (`model.attention_sites`) whose weights the graphs give, for maps.

    Raises:
        ModelError: The folder is not empty, the model cannot be exported, the opset is too old or unknown, there is no
            such site, or a package is missing.
    """
    require(to in get_args(Target), "to", must=f"one of {', '.join(get_args(Target))}", value=to)
    newest = _newest_opset() if to == "onnx" else opset
    rule = f"from {OLDEST_OPSET} to {newest}"
    require(to != "onnx" or OLDEST_OPSET <= opset <= newest, "opset", must=rule, value=opset)
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ModelError(f"`{folder}` must be an empty folder or not exist yet, but is not: give another")
    graphs = graphs_of(bundle, sites)
    facts = {"opset": opset} if to == "onnx" else {"torch": torch.__version__}
    files = files_of(bundle, to=to, facts={**facts, "maps": list(sites)})
    config = files.pop(CONFIG)
    with whole_folder(path, last=CONFIG) as part, torch.no_grad():
        for name, graph in graphs.items():
            with _quiet():
                _write(graph, part / name, to=to, opset=opset)
        for name, data in files.items():
            (part / name).write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        write_json(part / CONFIG, config)


def files_of(bundle: ModelBundle, *, to: Target, facts: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return the JSON files beside the graphs, by name.

    Args:
        bundle: The model.
        to: As for `export`.
        facts: What is stated of the export.
    """
    files = describe(bundle)
    words = sorted(bundle.domain.words) if bundle.domain is not None else []
    files[CONFIG] |= {"format": FORMATS[to], "exported": {**facts, "words": words}}
    return files


def graphs_of(bundle: ModelBundle, sites: Sequence[str] = ()) -> dict[str, Graph]:
    """Return the graphs of a model by name.

    Raises:
        ModelError: The model is compiled or in another precision than fp32, is of a kind that is not exported, or has
            no such site.
    """
    model: nn.Module = bundle.model
    if hasattr(model, "_orig_mod") or any(hasattr(part, "_orig_mod") for part in model.modules()):
        raise ModelError("`model` must not be compiled, but is: export the one that was given to torch.compile")
    tensors = [tensor for tensor in model.state_dict().values() if isinstance(tensor, torch.Tensor)]
    is_fp32 = all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())
    if not is_fp32 or is_int8(model):
        raise ModelError("`model` must be in fp32 to be exported, but is in another precision: load it in fp32")
    for kind, make in _GRAPHS.items():
        if isinstance(model, kind):
            return make(bundle, sites)
    raise ModelError(f"`model` must be of a kind that is exported, but is a {type(model).__name__} instead")


def _write(graph: Graph, path: Path, *, to: Target, opset: int) -> None:
    names = {name for axes in graph.axes.values() for name in axes.values()}
    dims = {name: _dim(name, graph) for name in sorted(names)}
    shapes = {name: {axis: dims[of] for axis, of in graph.axes.get(name, {}).items()} for name in graph.inputs}
    examples = tuple(graph.inputs.values())
    program = torch.export.export(graph.module, examples, dynamic_shapes=(*shapes.values(),), strict=False)
    if to == "torch":
        torch.export.save(program, path.with_suffix(".pt2"))
        return
    made = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=opset,
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        verbose=False,
    )
    assert made is not None
    made.save(path.with_suffix(".onnx"))


def _dim(name: str, graph: Graph) -> Any:
    return torch.export.Dim.DYNAMIC if name in graph.bounded else torch.export.Dim(name, min=1)


def _newest_opset() -> int:
    """Return the newest version of ONNX's operators that the installed packages know.

    Raises:
        ModelError: A package is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"exporting to ONNX needs {error.name}, which is not installed: `pip install multiattn[onnx]`"
        ) from error
    return min(onnx.defs.onnx_opset_version(), NEWEST_OPSET)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' progress, and their notes on their own deprecated parts, from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
