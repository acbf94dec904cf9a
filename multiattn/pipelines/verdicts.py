"""The verdicts on the maps of results: for each task, what is hidden and what is watched (see `maps.verdict`).

Each function takes the maps of one input, one for each method, and returns a `Checked` for each.
"""

from collections.abc import Sequence

from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer, Word
from ..maps import (
    AnswerMaps,
    AttentionMap,
    Checked,
    judge,
    masked_answer,
    masked_class,
    masked_question,
    masked_word,
)
from ..models import VQA, Captioner, ScoreFunction, SingleStream, ViT
from .map_request import Check

MIDDLE_WORDS = "the middle words"
"""Where one would look in a question without a model."""


def check_score_function(function: ScoreFunction, *, source: str) -> None:
    """Refuse to check maps of a model whose scores are no probabilities.

    Raises:
        ModelError: They are not.
    """
    if function == "identity":
        raise ModelError(
            f"`check` must be False for {source or 'the model'}, whose scores are values: a verdict says how a "
            "probability falls. Leave it out; the maps need none"
        )


def of_label(
    model: ViT,
    image: Tensor,
    maps: Sequence[AttentionMap],
    *,
    target: int,
    versus: int | None,
    score_function: ScoreFunction,
) -> list[Checked]:
    """Judge the maps of a label, or of a label rather than another."""
    masked = masked_class(model, image, target, versus=versus, score_function=score_function)
    return [Checked(one.method, judge(one.values, masked)) for one in maps]


def of_caption(
    model: Captioner,
    image: Tensor,
    maps: Sequence[AttentionMap],
    *,
    tokens: Sequence[int],
    words: Sequence[Word],
    prompt_length: int,
    check: Check,
) -> list[Checked]:
    """Judge the maps of a caption, axes (word, y, x): as a whole and, where asked for, word by word."""
    each = range(len(words)) if check == "words" else ()
    whole, *of_words = (
        masked_word(model, image, tokens, words, index, prompt_length=prompt_length) for index in (None, *each)
    )
    return [
        Checked(
            one.method,
            judge(one.values.sum(axis=0), whole),
            tuple(
                (word.text, judge(values, masked))
                for word, values, masked in zip(words, one.values, of_words, strict=False)
            ),
        )
        for one in maps
    ]


def of_answer(
    model: VQA | SingleStream,
    image: Tensor,
    maps: Sequence[AnswerMaps],
    *,
    tokenizer: Tokenizer,
    question: Sequence[int],
    words: Sequence[Word],
    answer: int | Sequence[int],
    choices: Sequence[int] | None,
    check: Check,
) -> list[Checked]:
    """Judge the maps of an answer, axes (word, y, x); the words of its question by what their maps add up to.

    With "words", the map of each word of the question is judged by how it bears on the answer, too.
    """
    each = words if check == "words" else ()
    masked = masked_answer(model, image, question, answer, choices=choices)
    token = mask_token(tokenizer, pad_token=model.config.question.pad_token)
    masked_words = masked_question(model, image, question, words, answer, mask_token=token, choices=choices)
    return [
        Checked(
            one.answer.method,
            judge(one.answer.values.sum(axis=0), masked),
            tuple((word.text, judge(values, masked)) for word, values in zip(each, one.question.values, strict=False)),
            judge(one.question.values.sum(axis=(1, 2)), masked_words, place=MIDDLE_WORDS),
        )
        for one in maps
    ]


def mask_token(tokenizer: Tokenizer, *, pad_token: int) -> int:
    """Return the token in place of a hidden word: the vocabulary's mask, or else the one for unknown words."""
    for name in ("[MASK]", "<mask>", "[UNK]", "<unk>"):
        if (token := tokenizer.id_of(name)) is not None:
            return token
    return pad_token
