"""Whisper's encoder alone, as transformers saves a `WhisperEncoder`, or below a classifier of recordings: only read."""

from pathlib import Path

from ..errors import ModelError, reading
from ..inputs import AudioPreprocessing
from ..models.speech_encoder import SpeechEncoder
from .bundle import CONFIG
from .hf_whisper import NAME, TABLE, read_sound, read_structure
from .hub import locate
from .json_files import read_json
from .model_files import ModelFiles
from .state import load_into
from .table import Drop, KeyTable, Row

_KINDS = ("WhisperEncoder", "WhisperForAudioClassification")
_OURS, _THEIRS = "encoder.", "model.encoder."

_TABLE = KeyTable(
    f"{NAME}-encoder",
    (
        *(
            Row(row.ours.removeprefix(_OURS), tuple(name.removeprefix(_THEIRS) for name in names), row.transform)
            for row in TABLE.rows
            if isinstance(row, Row) and row.ours.startswith(_OURS)
            for names in ((row.theirs,) if isinstance(row.theirs, str) else row.theirs,)
        ),
        Drop("projector.{p}", "is of the head, which gives classes"),
        Drop("classifier.{p}", "is the head, which gives classes"),
        Drop("layer_weights", "weighs the layers for the head"),
    ),
)


def is_speech_encoder(directory: Path) -> bool:
    """Return whether a directory holds Whisper's encoder without its decoder, by its `config.json` alone."""
    try:
        config = read_json(directory / CONFIG)
    except ModelError:
        return False
    kinds = config.get("architectures")
    return config.get("model_type") == "whisper" and isinstance(kinds, list) and bool(set(kinds) & set(_KINDS))


def load_speech_encoder(name: str | Path, *, revision: str | None = None) -> tuple[SpeechEncoder, AudioPreprocessing]:
    """Load Whisper's encoder, in eval mode, and how it reads a recording.

    Args:
        name: A directory as transformers saves it, or a Hugging Face Hub id of one.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: It is not there, no such encoder, not supported, or damaged.
    """
    directory = locate(name, revision=revision)
    if not is_speech_encoder(directory):
        raise ModelError(f"{directory / CONFIG}: `architectures` must be {' or '.join(_KINDS)}: name another directory")
    with reading(str(directory), "Whisper's encoder", error=ModelError):
        files = ModelFiles(directory)
        architecture = read_structure(files.json(CONFIG), tied=True, where=files.where(CONFIG))
        encoder = SpeechEncoder(architecture.encoder)
        state = {key.removeprefix(_OURS): tensor for key, tensor in files.tensors().items()}
        load_into(encoder, state, table=_TABLE, where=str(directory))
        return encoder.eval(), read_sound(files, architecture)
