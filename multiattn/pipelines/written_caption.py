"""What a captioner has written, as text: the prompt that it continued, and the words that are its own. No torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import ModelError
from ..generation import Generated
from ..inputs import Tokenizer, Word
from .caption_results import CaptionResult
from .pictures import Prepared
from .results import Candidate, probability, written_words


class CaptionPrompt(NamedTuple):
    """The tokens that every caption continues."""

    ids: tuple[int, ...]
    hidden: int
    """Number of characters of the decoded text that are not part of the caption."""


class WrittenCaption(NamedTuple):
    """A caption as text, with the words that the model wrote; their pieces count from the end of the prompt."""

    caption: Generated
    text: str
    words: tuple[Word, ...]

    @property
    def score(self) -> float:
        """The geometric mean of the probabilities of its tokens."""
        log_probs = self.caption.log_probs
        return probability(sum(log_probs) / max(len(log_probs), 1))


def prompt_of(asked: str | None, tokenizer: Tokenizer, decoding: Mapping[str, Any]) -> CaptionPrompt:
    """Return the prompt that a caller asks for, or else the model's own.

    Raises:
        ModelError: It has no word that the vocabulary knows.
    """
    if asked is None:
        return _encoded(str(decoding.get("prompt", "")), tokenizer, shown=False)
    # in most vocabularies a space belongs to the token after it
    prompt = _encoded(asked.rstrip(), tokenizer, shown=True)
    if asked.strip() and not tokenizer.decode(prompt.ids).strip():
        raise ModelError(
            f"`prompt` must have a word that the model's vocabulary knows, but is {asked!r} instead: "
            "write it in the language of the model's captions"
        )
    return prompt


def _encoded(text: str, tokenizer: Tokenizer, *, shown: bool) -> CaptionPrompt:
    ids = tokenizer.encode(text) if text else []
    return CaptionPrompt(tuple(ids), 0 if shown else len(tokenizer.decode(ids)))


def written_caption(tokenizer: Tokenizer, caption: Generated, prompt: CaptionPrompt) -> WrittenCaption:
    """Return a caption as text."""
    ids = [*prompt.ids, *caption.tokens]
    text, first = tokenizer.decode(ids), len(prompt.ids)
    cut = len(text) - len(text[prompt.hidden :].lstrip())
    words = []
    for word in tokenizer.words(ids):
        pieces = tuple(piece - first for piece in word.pieces if piece >= first)
        if pieces and word.end > cut:  # the model may have continued a word of the prompt
            start = max(word.start, cut)
            words.append(Word(text[start : word.end], start - cut, word.end - cut, pieces))
    return WrittenCaption(caption, text[cut:].rstrip(), tuple(words))


def caption_result(item: Prepared, candidates: list[WrittenCaption]) -> CaptionResult:
    """Return the result for an image, best caption first."""
    return CaptionResult(
        file=item.file,
        words=written_words(candidates[0].words, candidates[0].caption.log_probs),
        candidates=tuple(Candidate(one.text, one.score) for one in candidates),
        damaged=item.damaged,
        remark=item.remark,
    )
