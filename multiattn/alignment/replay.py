"""Teacher forcing: finished token sequences laid out for one pass of a model, and the rows that belong to each word.

The maps of captions, questions and answers start from a `Replay`; for speech see `teacher_forcing`.

Notation: r sequences, n rows of the pass, w words, V vocabulary.

A decoder that is given a finished text predicts each of its tokens again. What is captured then does not depend on how
the text was found (greedy, beams, sampling, cached or not), and generation knows nothing of it. The row that predicts a
token is that of the token before it. Source: openai-whisper, timing.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..checks import check_one_each
from ..errors import ModelError
from ..inputs.text import Word


@dataclass(frozen=True, eq=False)
class Replay:
    """Token sequences laid out for one pass of a model, and the rows of that pass that belong to their words."""

    tokens: Int64[Tensor, "r longest"]
    """All sequences, padded on the right."""

    inputs: Int64[Tensor, "r n"]
    """What the model is given: `tokens`, or for a decoder all but their last column, which predicts nothing."""

    attention_mask: Bool[Tensor, "r longest"]
    """False where a token is padding."""

    rows: tuple[slice, ...]
    """Of each sequence: the rows of its text. Token p of the text, as `Word.pieces` counts, has row `start + p`."""

    shares: tuple[Float[Tensor, "_ n"], ...] = ()
    """Of each sequence: the weight of each row in each word, 1 in all; empty where no words were given."""

    labels: tuple[tuple[str, ...], ...] = ()
    """Of each sequence: its words, each with the space before it; empty where no words were given."""

    @classmethod
    @torch.inference_mode(False)  # so that gradients can be taken through these tensors
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        rows: Sequence[slice],
        words: Sequence[Sequence[Word]] | None = None,
        *,
        pad_token: int,
        device: torch.device,
        kind: Literal["caption", "question", "answer", "transcript"],
        predicts: bool = False,
    ) -> "Replay":
        """Pad sequences, and find the rows of each word.

        Args:
            sequences: Of tokens; at least one.
            rows: Of each sequence: the rows of the tokens that `Word.pieces` may name.
            words: Of each sequence, at least one, in the order of the text.
            pad_token: The padding. A decoder's rows attend to nothing on their right, so it changes nothing there.
            device: Where the pass is to run.
            kind: What the sequences are, for messages.
            predicts: Whether the last column is left out of `inputs`.

        Raises:
            ModelError: Sequences and words do not fit each other, or a sequence has no words.
        """
        check_one_each(len(sequences), f"{kind}s", words=words)
        tokens, attention_mask = pad_right(sequences, pad_token)  # (r, longest)
        inputs = tokens[:, :-1] if predicts else tokens  # (r, n)
        shares = [
            _shares(of_sequence, within, inputs.shape[1], text=f"{kind} {i}").to(device)
            for i, (of_sequence, within) in enumerate(zip(words or (), rows, strict=words is not None))
        ]
        labels = tuple(word_labels(of_sequence) for of_sequence in words or ())
        return cls(tokens.to(device), inputs.to(device), attention_mask.to(device), tuple(rows), tuple(shares), labels)

    def log_probs(self, logits: Float[Tensor, "r n V"]) -> list[Float[Tensor, " _"]]:
        """The log-probability of each word of each text that a decoder predicts: the sum over its tokens."""
        return self.word_scores(logits.float().log_softmax(dim=-1))

    def word_scores(self, scores: Float[Tensor, "r n V"]) -> list[Float[Tensor, " _"]]:
        """The score of each word of each text that a decoder predicts: the sum over its tokens."""
        chosen = scores.gather(-1, self.tokens[:, 1:, None])[..., 0]  # (r, n)
        return [(share > 0).float() @ row for share, row in zip(self.shares, chosen, strict=True)]


def pad_right(
    sequences: Sequence[Sequence[int]], pad_token: int
) -> tuple[Int64[Tensor, "r longest"], Bool[Tensor, "r longest"]]:
    """Return token sequences as one tensor, padded on the right, and the mask, False where a token is padding."""
    tokens = pad_sequence(
        [torch.tensor(sequence, dtype=torch.int64) for sequence in sequences],
        batch_first=True,
        padding_value=pad_token,
    )
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]


def predicting_rows(sequences: Sequence[Sequence[int]], prompt_lengths: Sequence[int]) -> list[slice]:
    """Of each sequence the rows of a decoder that predict its tokens after the prompt, which has at least 1 token."""
    return [slice(start - 1, len(tokens) - 1) for tokens, start in zip(sequences, prompt_lengths, strict=True)]


def word_labels(words: Sequence[Word]) -> tuple[str, ...]:
    """The words of a text, each with the space before it: concatenated they are the text again."""
    ends = [0, *(word.end for word in words)]
    return tuple(" " * (word.start - end) + word.text for word, end in zip(words, ends, strict=False))


def _shares(words: Sequence[Word], rows: slice, count: int, *, text: str) -> Float[Tensor, "w n"]:
    """The weight of each of `count` rows in each word of a sequence, which messages call `text`."""
    if not words:
        raise ModelError(f"`words` of {text} must be at least one, but are none: it has no maps.")
    shares = torch.zeros(len(words), count)
    for share, word in zip(shares, words, strict=True):
        last = rows.stop - rows.start - 1
        if not word.pieces or min(word.pieces) < 0 or max(word.pieces) > last:
            raise ModelError(
                f"`pieces` of the word {word.text!r} must be from 0 to {last}, but are {word.pieces} instead."
            )
        share[[rows.start + piece for piece in word.pieces]] = 1 / len(word.pieces)
    return shares
