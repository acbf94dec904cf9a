"""The states of a frozen text encoder for each text, computed once: an epoch after the first does not run it.

They are kept in memory, and, where there is a folder for features, on disk, in a file named by a digest of the
encoder's weights. r texts, n tokens, T width of the encoder's states.
"""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.errors import reason_of
from multiattn.models.text_encoder import TextEncoder
from multiattn.writing import whole_file

from .digests import digest_of_weights

_MOST_BYTES = 1 << 30
"""Of the states that are kept in memory; those of further texts are computed each time."""


class TextStates:
    """Computes the states of texts, each only once."""

    def __init__(self, encoder: TextEncoder, folder: Path | None) -> None:
        """Take what an earlier run has kept.

        Args:
            encoder: Frozen, in eval mode.
            folder: For features of all kinds; None keeps the states in memory alone.
        """
        self._encoder = encoder
        self._states: dict[str, np.ndarray] = {}  # (n, T) of each text, in float16
        self._bytes = self._saved = 0
        self._file = None if folder is None else folder / f"texts-{digest_of_weights(encoder)[:16]}.npz"
        if self._file is not None and self._file.is_file():
            self._read(self._file)

    def __call__(
        self, texts: Sequence[str], tokens: Int64[Tensor, "r n"], attention_mask: Bool[Tensor, "r n"]
    ) -> Float[Tensor, "r n T"]:
        """The states of texts on the device of their tokens, in float32; 0 where a token is padding.

        Args:
            texts: As they were written: what has been computed is found by them.
            tokens: Of each, padded on the right.
            attention_mask: False where a token is padding.
        """
        missing = [row for row, text in enumerate(texts) if text not in self._states]
        found: np.ndarray = np.zeros((*tokens.shape, self._encoder.config.dim), np.float16)
        if missing:
            self._compute(texts, tokens, attention_mask, missing, found)
        for row, text in enumerate(texts):
            if (kept := self._states.get(text)) is not None:
                found[row, : len(kept)] = kept
        return torch.from_numpy(found).to(tokens.device).float()

    @torch.no_grad()
    def _compute(
        self, texts: Sequence[str], tokens: Tensor, attention_mask: Tensor, missing: list[int], found: np.ndarray
    ) -> None:
        """Compute the states of some rows, and keep them while there is room."""
        states = self._encoder(tokens[missing], attention_mask=attention_mask[missing]).half().cpu().numpy()
        lengths = attention_mask[missing].sum(dim=1).tolist()
        for row, own, length in zip(missing, states, lengths, strict=True):
            found[row, :length] = own[:length]
            if self._bytes < _MOST_BYTES and texts[row] not in self._states:
                self._states[texts[row]] = own[:length].copy()
                self._bytes += self._states[texts[row]].nbytes

    def save(self) -> None:
        """Write what has been computed since the last time; what prevents it is told, and ends no training."""
        if self._file is None or len(self._states) == self._saved:
            return
        self._saved = len(self._states)
        names = np.frombuffer("\0".join(self._states).encode("utf-8", "surrogatepass"), np.uint8)
        lengths = np.array([len(one) for one in self._states.values()])
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as part, part.open("wb") as file:
                np.savez(file, texts=names, lengths=lengths, states=np.concatenate(list(self._states.values())))
        except OSError as error:
            print(f"{self._file} is not written: {reason_of(error)}", file=sys.stderr, flush=True)

    def _read(self, file: Path) -> None:
        """Take what a file has; a damaged one has nothing, and is replaced."""
        try:
            with file.open("rb") as stream, np.load(stream) as content:
                texts = content["texts"].tobytes().decode("utf-8", "surrogatepass").split("\0")
                ends, states = np.cumsum(content["lengths"]), content["states"]
            if len(texts) != len(ends) or states.shape != (ends[-1], self._encoder.config.dim):
                return
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, UnicodeDecodeError):
            return
        self._states = dict(zip(texts, np.split(states, ends[:-1]), strict=True))
        self._bytes, self._saved = states.nbytes, len(self._states)
