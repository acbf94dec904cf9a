"""Weights divided among processes: FSDP2, by Lightning's `ModelParallelStrategy`.

Each transformer block is a unit whose weights are gathered while it runs; the task, with all other weights, is the
root. What runs without a gradient (validation, test, predict) has all weights gathered: texts end after different
numbers of tokens in different processes, which then must not wait for each other's blocks.
Source: torch, `torch.distributed.fsdp.fully_shard`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from multiattn.blocks import TransformerBlock
from multiattn.errors import ModelError
from multiattn.writing import part_beside

from .states import TRAINED, remove_state

# torch imports its compiler with these, which takes seconds: only where weights are divided
if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule

NAME = "model_parallel"
"""The strategy's name on the command line, where Lightning has none."""

_STEPS = ("training_step", "validation_step", "test_step", "predict_step")


class Sharded(ModelParallelStrategy):
    """Lightning's strategy over all processes, whose states are written whole or not at all.

    Without sizes, Lightning would divide the weights among machines, and leave the processes of one to tensor
    parallelism; and it writes a state over one of the same name.
    """

    def setup_environment(self) -> None:
        """Make the mesh, by default of all processes."""
        if self._data_parallel_size == "auto" and self._tensor_parallel_size in ("auto", 1):
            self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a state beside its place, and rename it; all processes take part.

        Lightning's own writes weights and optimizers in parts; here so are the weights that averages stand beside.
        """
        if not self._save_distributed_checkpoint:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        from torch.distributed.checkpoint.state_dict_saver import save

        from .sharded_states import REST

        path = Path(filepath)
        part = self.broadcast(part_beside(path))
        part.mkdir(parents=True, exist_ok=True)
        in_parts = {name: checkpoint.pop(name) for name in ("state_dict", TRAINED) if name in checkpoint}
        optimizers = checkpoint.pop("optimizer_states", [])
        save(in_parts | {f"optimizer_{i}": state for i, state in enumerate(optimizers)}, checkpoint_id=part)
        if self.is_global_zero:  # which has heard from all others that they have written
            torch.save(checkpoint, part / REST)
            if path.exists():
                old = part_beside(path)
                path.rename(old)
                part.rename(path)
                remove_state(old)
            else:
                part.rename(path)
        self.barrier("saved")

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a state into the model and its optimizers, and return the rest of it.

        Where it has averages, the rest has the weights of both: the model is given the averages.
        """
        found = super().load_checkpoint(checkpoint_path, weights_only)
        path = Path(self.broadcast(checkpoint_path))
        if path.is_dir() and _has_averages(path):
            from torch.distributed.checkpoint.state_dict import get_model_state_dict
            from torch.distributed.checkpoint.state_dict_loader import load

            assert self.model is not None
            weights: dict[str, Any] = get_model_state_dict(self.model)
            trained = {TRAINED: {name: torch.empty_like(value) for name, value in weights.items()}}
            load(trained, checkpoint_id=path)
            found = {**found, **trained, "state_dict": weights}
        return found


def offered(strategy: Any) -> Any:
    """The strategy that a value of `trainer.strategy` stands for.

    Raises:
        ModelError: It is FSDP1.
    """
    name = strategy.rpartition(".")[2] if isinstance(strategy, str) else ""  # the parser leaves a path of a class alone
    if isinstance(strategy, FSDPStrategy) or name.lower().startswith("fsdp"):
        raise ModelError(
            "`trainer.strategy` must not be fsdp: FSDP1 joins the weights of a module to one, so that biases would "
            f"decay like matrices and layers could not learn at their own rates. Set it to {NAME}, which is FSDP2."
        )
    if name in (NAME, ModelParallelStrategy.__name__):
        return Sharded()
    if type(strategy) is ModelParallelStrategy:
        return Sharded(
            strategy._data_parallel_size,
            strategy._tensor_parallel_size,
            save_distributed_checkpoint=strategy._save_distributed_checkpoint,
            process_group_backend=strategy._process_group_backend,
            timeout=strategy._timeout,
        )
    return strategy


def writes_whole_states(trainer: pl.Trainer) -> bool:
    """Whether the states of a trainer that divides the weights have them whole."""
    return not getattr(trainer.strategy, "_save_distributed_checkpoint", True)


def is_sharding(trainer: pl.Trainer) -> bool:
    """Whether a trainer divides the weights among its processes."""
    return isinstance(trainer.strategy, ModelParallelStrategy)


def shard(task: pl.LightningModule, mesh: "DeviceMesh") -> None:
    """Divide the weights of a task among the processes of the mesh's `data_parallel`, once.

    Raises:
        ModelError: The mesh is for tensor parallelism, too.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    if isinstance(task, FSDPModule):
        return
    if (size := mesh["tensor_parallel"].size()) != 1:
        raise ModelError(
            f"`tensor_parallel_size` must be 1, but is {size} instead. Set `trainer.strategy` to {NAME}, or its "
            "`data_parallel_size` to the number of all processes."
        )
    data_parallel = mesh["data_parallel"]
    for block in [module for module in task.modules() if isinstance(module, TransformerBlock)]:
        fully_shard(block, mesh=data_parallel)
    fully_shard(task, mesh=data_parallel)
    for name in _STEPS:
        register_fsdp_forward_method(task, name)


def gather(task: nn.Module) -> None:
    """Let each process have all weights, until `divide`; all processes take part."""
    for module in _units(task):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()


def divide(task: nn.Module) -> None:
    """Let each process have its part of the weights again."""
    for module in _units(task):
        # not for the root: backward needs it next
        module.set_reshard_after_forward(isinstance(module, TransformerBlock), recurse=False)
        module.reshard()


@contextmanager
def gathered(part: nn.Module) -> Iterator[None]:
    """Let each process have all weights of a part of the task within a step, in which each writes texts of its own.

    Args:
        part: The module that writes, such as the decoder.
    """
    gather(part)
    try:
        yield
    finally:
        divide(part)


def _units(task: nn.Module) -> list["FSDPModule"]:
    fsdp = sys.modules.get("torch.distributed.fsdp")  # imported where weights have been divided
    if fsdp is None:
        return []
    return [module for module in task.modules() if isinstance(module, fsdp.FSDPModule)]


def own_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has, in the same memory; all of one that is not divided."""
    divided = getattr(tensor, "to_local", None)
    return tensor if divided is None else divided()


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may have a part, as a whole, without a gradient; all processes take part."""
    detached = tensor.detach()
    full = getattr(detached, "full_tensor", None)
    return detached if full is None else full()


def _has_averages(folder: Path) -> bool:
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    return any(name.startswith(f"{TRAINED}.") for name in FileSystemReader(folder).read_metadata().state_dict_metadata)


def load_weights(module: nn.Module, folder: Path) -> None:
    """Load the weights of a sharded state; all processes take part."""
    from torch.distributed.checkpoint.state_dict import get_model_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    state: dict[str, Any] = {"state_dict": get_model_state_dict(module)}
    load(state, checkpoint_id=folder)
    module.load_state_dict(state["state_dict"])
