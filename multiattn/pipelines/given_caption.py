"""A caption that the caller gives, in place of one that is searched for: its tokens and their probabilities."""

from collections.abc import Sequence

import torch

from ..attention import ProjectedContext
from ..errors import InputError
from ..generation import Generated
from ..inputs import Tokenizer
from ..models import TextDecoder

_UNKNOWN = ("[UNK]", "<unk>")
"""The token of what a vocabulary lacks, by its names."""


def given_tokens(
    text: str, tokenizer: Tokenizer, prompt: Sequence[int], *, most: int, name: str = "explain_text"
) -> tuple[int, ...]:
    """Return the tokens of a given text as the model would write it after its prompt.

    Args:
        text: The text.
        tokenizer: The model's tokenizer.
        prompt: The tokens before it.
        most: The most tokens that the text may have.
        name: The option, for messages.

    Raises:
        InputError: The text has no word, one that the vocabulary lacks, or too many.
    """
    if not text.strip():
        raise InputError(f"`{name}` must have a word, but is {text!r} instead: write a sentence")
    ids, words = tokenizer.encode_words(text.strip())
    unknown = {token for one in _UNKNOWN if (token := tokenizer.id_of(one)) is not None}
    lacking = [word.text for word in words if any(ids[piece] in unknown for piece in word.pieces)]
    if lacking or not tokenizer.decode(ids).strip():
        named = lacking[0] if lacking else text.strip()
        raise InputError(
            f"`{name}` must have words of the model's vocabulary, but {named[:40]!r} is none: use another word"
        )
    if prompt:  # in most vocabularies a space belongs to the token after it
        whole = tokenizer.encode(f"{tokenizer.decode(list(prompt)).rstrip()} {text.strip()}")
        if whole[: len(prompt)] == list(prompt):
            ids = whole[len(prompt) :]
    if len(ids) > most:
        raise InputError(f"`{name}` must have at most {most} tokens, but has {len(ids)} instead: shorten it")
    return tuple(ids)


@torch.inference_mode()
def score_tokens(
    decoder: TextDecoder, context: ProjectedContext, start: Sequence[int], tokens: Sequence[int]
) -> list[Generated]:
    """Return a text, with the probability of each token in each context, by one pass; the end token follows it.

    Args:
        decoder: In eval mode.
        context: The contexts.
        start: The tokens before the text, the start token included.
        tokens: The text, without the end token.
    """
    text = [*tokens, decoder.config.end_token]
    said = torch.tensor([[*start, *text]], device=context.device).expand(len(context), -1)
    logits = decoder(said[:, :-1], context)[:, len(start) - 1 :].float()  # (b, text, V)
    log_probs = logits.log_softmax(dim=-1).gather(-1, said[:, len(start) :, None])[..., 0]
    return [Generated(tuple(tokens), tuple(row), sum(row), finished=True) for row in log_probs.tolist()]
