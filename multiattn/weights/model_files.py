"""`ModelFiles`: what a layout reads a model from. The files of a directory here; a live module's in `live`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from ..inputs.whisper_vocabulary import read_speech_vocabulary
from .json_files import read_json
from .tensor_files import PICKLED, WEIGHTS, read_tensors


class ModelFiles:
    """The files of a model, read when they are asked for.

    Args:
        directory: The model's directory, or the one file that it is.
    """

    module: nn.Module | None = None
    """The live module that these files stand for; None where they are files."""

    preprocessing: ImagePreprocessing | AudioPreprocessing | None = None
    """The preprocessing that the caller gave in place of a file; None where the file counts."""

    as_stored: bool = False
    """Whether weights that are in int8 are to stay so; else they are widened to fp32."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __str__(self) -> str:
        return str(self.directory)

    def where(self, name: str) -> str:
        """Return the path of a file, for messages."""
        return str(self.directory / name)

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return (self.directory / name).is_file()

    def json(self, name: str) -> Mapping[str, Any]:
        """Read the object in a JSON file.

        Raises:
            ModelError: The file is missing, or holds something else.
        """
        return read_json(self.directory / name)

    def tensors(self, weights: str = WEIGHTS, pickled: str = PICKLED) -> dict[str, Tensor]:
        """Read the tensors, floating ones as float32.

        Args:
            weights: The name of the file.
            pickled: That of a file that torch pickled, which is read where the other is not there.

        Raises:
            ModelError: There are none, or a file is damaged.
        """
        return read_tensors(self.directory, weights, pickled)

    def tokenizer(self) -> Tokenizer:
        """Read the vocabulary.

        Raises:
            ModelError: There is none, or it cannot be used.
        """
        return Tokenizer.load(self.directory)

    def speech_tokenizer(self, vocab_size: int) -> Tokenizer:
        """Read the vocabulary of a recognizer with this many tokens, timestamps included.

        Raises:
            ModelError: There is none, or it cannot be used.
        """
        beside = self.directory if self.directory.is_dir() else self.directory.parent
        return read_speech_vocabulary(beside, vocab_size=vocab_size)
