"""`domain.safetensors` beside a model of our own layout: the training pictures and questions it is compared with.

The file is optional. Its tensors are those of a `Domain`, in float16 where they are many; its metadata hold the rest.
"""

from pathlib import Path

import torch

from ..errors import ModelError, reading
from ..models.domain import Domain

DOMAIN = "domain.safetensors"
_FORMAT = "multiattn domain 1"
_TENSORS = ("mean", "whitening", "prototypes")


def read_domain(directory: Path, *, dim: int | None) -> Domain | None:
    """Read the domain of a model; None where the directory has none.

    Args:
        directory: The model's directory.
        dim: Width of the model's tokens; None for a model that cannot have a domain.

    Raises:
        ModelError: The file is damaged, or of another model.
    """
    path = directory / DOMAIN
    if not path.is_file():
        return None
    with reading(str(path), "the domain of a model", error=ModelError):
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != _FORMAT:
                raise ModelError(f"{path}: `format` must be {_FORMAT!r}, but is {facts.get('format')!r} instead")
            shape = file.get_slice("mean").get_shape()
            if shape != [dim]:
                raise ModelError(f"{path}: `mean` must have the shape [{dim}] of the model's tokens, but has {shape}")
            tensors = {name: file.get_tensor(name).float() for name in _TENSORS}
        if bad := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
            raise ModelError(f"{path}: `{bad}` must be finite, but has NaN or infinite values")
        words = frozenset(facts.get("words", "").split())
        return Domain(**tensors, threshold=float(facts["threshold"]), worst=int(facts["worst"]), words=words)


def write_domain(domain: Domain, path: Path) -> None:
    """Write a domain as one file.

    Raises:
        OSError: It cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {name: getattr(domain, name).cpu().contiguous() for name in _TENSORS}
    tensors["prototypes"] = tensors["prototypes"].to(torch.float16)
    facts = {
        "format": _FORMAT,
        "threshold": repr(domain.threshold),
        "worst": str(domain.worst),
        "words": " ".join(sorted(domain.words)),
    }
    save_file(tensors, path, facts)
