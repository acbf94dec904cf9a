"""Tensors of torch, known without importing it, which takes seconds: whoever has one has imported it."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TensorLike(Protocol):
    """A tensor of torch."""

    shape: Any

    def detach(self) -> Any:
        """Return the tensor without its graph."""

    def is_floating_point(self) -> bool:
        """Return whether it holds floats."""
