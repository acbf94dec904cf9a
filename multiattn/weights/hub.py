"""Find the directory of a model: shipped with the package, on disk, or downloaded from the Hugging Face Hub."""

import difflib
from glob import escape
from pathlib import Path

from ..errors import ModelError
from ..registry import short_names, tasks
from ..resources import shipped
from .bundle import CONFIG
from .ct2_file import WEIGHTS as CT2
from .hub_cache import snapshot_of
from .tensor_files import INDEX, OPEN_CLIP, PICKLED, WEIGHTS, parts_of

ORIGINALS = {".pth": "blip", ".pt": "whisper"}
"""The layouts in which a single file is a model, by its suffix."""

# the files that any layout needs: repositories often hold the same weights in three formats, of which one is fetched
_FILES = [
    *("config.json", OPEN_CLIP[0], WEIGHTS, f"{WEIGHTS}{INDEX}", f"{PICKLED}{INDEX}"),
    *("domain.safetensors", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json"),
    *("generation_config.json", "vocabulary.json", "vocabulary.txt"),
]


def config_in(directory: Path) -> str:
    """Return the name of the file with a model's configuration: `config.json`, or open_clip's, the only one there."""
    is_open_clip = not (directory / CONFIG).exists() and (directory / OPEN_CLIP[0]).exists()
    return OPEN_CLIP[0] if is_open_clip else CONFIG


def locate(name: str | Path, *, revision: str | None = None) -> Path:
    """Return the directory of a model; one of the Hugging Face Hub is downloaded first.

    Args:
        name: A task, a directory, a hub id such as `timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k`, or the short name
            of one (`registry.short_names`), such as `tiny.en`. A task wins over a directory of the same name: write
            `./classify` for the directory; a directory wins over a short name. A model's folder in the Hub's cache
            (`models--OWNER--NAME`) stands for its snapshot. A `.pth` file of the original BLIP and a `.pt` file of the
            original Whisper are returned as they are.
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
            spec = tasks()[text]
            mend = "install multiattn again" if spec.shipped else f"give one with --model, such as {spec.example_model}"
            raise ModelError(f"the model for {text} is missing from this installation: {mend}")
        return path
    if path.is_dir():
        return path if (path / config_in(path)).exists() else snapshot_of(path.absolute()) or path
    if path.is_file() and path.suffix in ORIGINALS:
        return path
    if path.exists():
        raise ModelError(
            f"{text} must be a model's directory, a .pth file of the original BLIP or a .pt file of the original "
            "Whisper, but is another file instead: name the directory it lies in"
        )
    if path.suffix in ORIGINALS:
        raise ModelError(f"{text}: there is no such file: check the path")
    if isinstance(name, str) and (short := short_names().get(text)) is not None:
        try:
            return _download(short, revision)
        except ModelError as error:
            raise ModelError(f"{text} stands for {short}: {error}") from error
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1:
        near = difflib.get_close_matches(text, short_names(), n=1)
        raise ModelError(
            f"there is no model {text}: it is no directory here, no task ({', '.join(tasks())}) and no hub id"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    return _download(text, revision)


def _download(name: str, revision: str | None) -> Path:
    from .hub_download import download
    from .hub_errors import reason_of_failure

    try:
        directory = download(name, revision, _FILES)
        if others := _other_weights(directory):
            directory = download(name, revision, [*_FILES, *others])
        return directory
    except ModelError:
        raise
    except Exception as error:  # the Hub's errors, a full disk, or an error of the HTTP library during the download
        raise ModelError(reason_of_failure(error, name, revision)) from error


def _other_weights(directory: Path) -> list[str]:
    """Return patterns of the files to download beside a repository's small ones: its weights, in one format.

    Raises:
        ModelError: The index of the weights lists files that do not lie beside it.
    """
    if (directory / WEIGHTS).exists():
        return []
    if config_in(directory) == OPEN_CLIP[0]:  # in either form
        return [*OPEN_CLIP[1:]]
    for name in (WEIGHTS, PICKLED):
        if (index := directory / f"{name}{INDEX}").exists():
            return [escape(part) for part in parts_of(index, Path(name).suffix)]
    return [PICKLED, CT2, f"{CT2}.*"]  # CTranslate2's also in parts
