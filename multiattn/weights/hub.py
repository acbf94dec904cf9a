"""Find the directory of a model: shipped with the package, on disk, or downloaded from the Hugging Face Hub."""

from pathlib import Path

from ..errors import ModelError
from ..registry import tasks
from ..resources import shipped

ORIGINALS = {".pth": "blip", ".pt": "whisper"}
"""The layouts in which a single file is a model, by its suffix."""

# the files that any layout needs: repositories often hold the same weights in three formats
_FILES = [
    *("config.json", "model.safetensors", "domain.safetensors", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json"),
    "generation_config.json",
]


def locate(name: str | Path, *, revision: str | None = None) -> Path:
    """Return the directory of a model; one of the Hugging Face Hub is downloaded first.

    Args:
        name: A task, a directory, or a hub id such as `timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k`. A task wins
            over a directory of the same name: write `./classify` for the directory. A `.pth` file of the original BLIP
            and a `.pt` file of the original Whisper are returned as they are.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: There is no such model, or it cannot be reached.
    """
    text = str(name)
    is_task, path = text in tasks(), Path(name).expanduser()
    if revision is not None and (is_task or path.exists()):
        raise ModelError(
            f"`revision` must be None unless the model is a hub id, but is {revision!r} for {text} instead"
        )
    if is_task:
        path = shipped("models", text)
        if not path.is_dir():
            raise ModelError(f"the model for {text} is missing from this installation: install multiattn again")
        return path
    if path.is_dir() or path.is_file() and path.suffix in ORIGINALS:
        return path
    if path.exists():
        raise ModelError(
            f"{text} must be a model's directory, a .pth file of the original BLIP or a .pt file of the original "
            "Whisper, but is another file instead: name the directory it lies in"
        )
    if path.suffix in ORIGINALS:
        raise ModelError(f"{text}: there is no such file: check the path")
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1:
        raise ModelError(
            f"there is no model {text}: it is no directory here, no task ({', '.join(tasks())}) and no hub id"
        )
    return _download(text, revision)


def _download(name: str, revision: str | None) -> Path:
    # half a second, which a local model need not pay
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # the Hub's errors, a full disk, or an error of the HTTP library during the download
        raise ModelError(_reason(error, name, revision)) from error


def _reason(error: Exception, name: str, revision: str | None) -> str:
    """Return why a download failed, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    url = f"https://huggingface.co/{name}"
    offline = "HF_HUB_OFFLINE is set: unset it, or download the model once beforehand"
    unreachable = "the Hugging Face Hub cannot be reached: check the spelling and the network"
    reasons: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        # before its base class, RepositoryNotFoundError
        (GatedRepoError, f"{name} is gated: accept its terms at {url}, then log in with `hf auth login`"),
        (
            (RepositoryNotFoundError, HFValidationError),
            f"there is no model {name}: it is no directory here and not on the Hugging Face Hub: "
            "check the spelling; if it is private, log in with `hf auth login`",
        ),
        (RevisionNotFoundError, f"{name} has no revision {revision}: see {url}/tree/main for those it has"),
        (
            LocalEntryNotFoundError,
            f"{name} is no directory here and not in the local cache, and "
            f"{offline if constants.HF_HUB_OFFLINE else unreachable}",
        ),
        (Exception, f"{name} could not be downloaded ({' '.join(str(error).split())}): try again"),
    )
    return next(reason for kinds, reason in reasons if isinstance(error, kinds))
