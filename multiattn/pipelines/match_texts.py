"""The texts of a call of the match pipeline: checked, cut to the tower's length, and encoded once, in batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..errors import InputError
from ..inputs import Tokenizer
from ..inputs.text import Word
from ..models import BlipMatcher, TwoTowers
from .embed_text import TextInput
from .embedding import Embedding
from .questions import quoted
from .results import Failure

TEMPLATE = "a photo of {}"
"""What a label is put into where nothing else is asked for."""

_BATCH = 64
"""Texts that are encoded at once: bounds the memory for any number of them."""


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts as the model reads them, encoded."""

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    """The tokens of each, special ones included."""

    words: tuple[tuple[Word, ...], ...]
    """The words of each that the model reads; their pieces are indices of the tokens, the start token not counted."""

    embeddings: Tensor
    """Of each text, (r, E)."""

    longest: int
    """The most tokens of a text that the tower reads, without the special ones."""

    cut: tuple[str, ...] = ()
    """The texts that are longer, of which it reads the beginning."""


def checked_texts(texts: Sequence[str], name: str) -> list[str]:
    """Return texts that are given to a call.

    Raises:
        InputError: There is none, one is no text or blank, or one is there twice.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InputError(f"`{name}` must be a list of texts, but is {texts!r} instead")
    if not texts:
        raise InputError(f"`{name}` must have at least one text, but is empty instead")
    seen: set[str] = set()
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"`{name}` must be texts with more than spaces, but has {text!r} instead")
        if text in seen:
            raise InputError(f"`{name}` must have each text once, but has {quoted(text)} twice: leave one out")
        seen.add(text)
    return list(texts)


def prompts(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Return every label in every template, the templates of one label together.

    Raises:
        InputError: There is no template, or one is no text with one place for a label.
    """
    if not templates:
        raise InputError("`template` must be a text with {} for the label, but there is none instead")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise InputError(f"`template` must be a text with one {{}} for the label, but is {template!r} instead")
    return [template.replace("{}", label) for label in labels for template in templates]


@torch.no_grad()  # not inference mode, whose tensors no map could be computed with
def encode_texts(
    model: TwoTowers | BlipMatcher, tokenizer: Tokenizer, texts: Sequence[str], *, device: torch.device
) -> Texts:
    """Encode texts, each cut to what the tower reads.

    Raises:
        InputError: A text has half of a character.
    """
    config = model.config.text
    rows, words, cut = [], [], []
    for text in texts:
        ids, found = tokenizer.encode_words(text)
        if len(ids) > config.longest:
            cut.append(text)
            found = [word for word in found if word.pieces[-1] < config.longest]
        rows.append(config.framed(ids))
        words.append(tuple(found))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # little padding in a batch
    embeddings = torch.empty(len(rows), model.config.dim, device=device)
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        tokens, mask = config.padded([rows[i] for i in batch])
        embeddings[batch] = model.encode_texts(tokens.to(device), mask.to(device)).float()
    return Texts(tuple(texts), tuple(rows), tuple(words), embeddings, config.longest, tuple(cut))


def text_embeddings(
    texts: Iterable[str | TextInput], encode: Callable[[Sequence[str]], Texts], *, batch_size: int
) -> Iterator[Embedding | Failure]:
    """Yield the embedding of each text, or a `Failure` for one with half of a character.

    Args:
        texts: The texts.
        encode: Encodes some of them.
        batch_size: Texts that are encoded at once.
    """
    source = iter(texts)
    while batch := [one if isinstance(one, TextInput) else TextInput(one) for one in islice(source, batch_size)]:
        try:
            together = encode([one.text for one in batch])
        except InputError:  # of one of them
            for one in batch:
                try:
                    yield from _embeddings([one], encode([one.text]))
                except InputError as error:
                    yield Failure(one.origin, error)
        else:
            yield from _embeddings(batch, together)


def _embeddings(given: Sequence[TextInput], encoded: Texts) -> Iterator[Embedding]:
    cut = set(encoded.cut)
    for one, values in zip(given, encoded.embeddings.cpu().numpy(), strict=True):
        remark = f"has more than {encoded.longest} tokens, of which the first are used" if one.text in cut else None
        yield Embedding(one.origin, values, text=one.text, remark=remark)
