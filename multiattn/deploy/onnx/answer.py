"""Answers on onnxruntime: the same files in, the same results out as from `AnswerPipeline`, without torch.

Notation: g questions about a picture, n tokens of the longest, A answers of a closed list.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Unpack

import numpy as np

from ...checks import require
from ...errors import InputError, ModelError
from ...generation.texts import check_numbers
from ...inputs.content_words import content_words
from ...inputs.files import MAX_PIXELS
from ...pipelines.answer_results import Answer
from ...pipelines.found_answers import Found, found_in_list, found_texts
from ...pipelines.options import (
    TOP_K,
    AnswerOptions,
    answer_search,
    check_answer_options,
    checked_answers,
    first_token_of,
)
from ...pipelines.out_of_domain import far_pictures, with_words
from ...pipelines.pictures import PictureSource, Prepared, prepared_batches
from ...pipelines.questions import Question, encoded_question, quoted
from ...pipelines.results import Failure
from .arrays import softmax
from .decoding import Context, Decoder
from .directory import ExportedModel

Find = Callable[["_Read"], list[Found]]


class _Read(NamedTuple):
    """Questions about a picture that were read."""

    logits: np.ndarray | None  # (g, A), for a closed list
    context: Context | None  # for a decoder


class OnnxAnswerer:
    """Answers questions about images. Safe to call from several threads.

    Args:
        model: The exported model.

    Raises:
        ModelError: A graph or the vocabulary is missing or damaged.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.bundle = model
        architecture = model.config["architecture"]
        self._config, self.labels = architecture["question"], tuple(model.config.get("labels", ()))
        self._tokenizer, self._preprocessing = model.tokenizer, model.pictures
        # a single stream reads the picture with each question
        self._pairs = model.session("model") if model.has("model") else None
        self._encoder = None if self._pairs else model.session("encoder")
        self._question = None if self._pairs else model.session("question")
        self._decoder = (
            Decoder(model.session("decoder"), architecture["decoder"]) if architecture.get("decoder") else None
        )
        self._words = frozenset(model.facts.get("words", ()))

    def stream(
        self,
        inputs: Iterable[tuple[PictureSource, str | Sequence[str]]],
        *,
        answers: Sequence[str] | None = None,
        maps: None = None,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        **options: Unpack[AnswerOptions],
    ) -> Iterator[Answer | Failure]:
        """Yield a result for each question, in order; see `AnswerPipeline.stream`."""
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        source = self.bundle.source
        check_answer_options(options, writes=self._decoder is not None and answers is None, source=source)
        first_token = first_token_of(
            options.get("first_token"),
            self._tokenizer,
            default=self._config["start_token"],
            vocab_size=self._config["vocab_size"],
            source=source,
        )
        find = self._find(answers, options)
        return self._answered(inputs, find, first_token, batch_size=batch_size, strict=strict, max_pixels=max_pixels)

    def _find(self, answers: Sequence[str] | None, options: AnswerOptions) -> Find:
        """Return what finds the answers to questions that were read."""
        source, top_k = self.bundle.source, options.get("top_k") or TOP_K
        decoder = self._decoder
        if decoder is not None:
            if answers is not None:
                raise ModelError(
                    f"`answers` needs torch to be ranked by {source}: leave it out, or use another runtime"
                )
            search = answer_search(options, self.bundle.decoding, source=source)

            def written(read: _Read) -> list[Found]:
                assert read.context is not None
                start = decoder.start_token
                found = decoder.generate(read.context, [[start]] * len(read.context), search)
                return [found_texts(self._tokenizer, candidates, start=start) for candidates in found]

            return written
        indices = {label: index for index, label in enumerate(self.labels)}
        choices = list(self.labels) if answers is None else checked_answers(answers)
        if unknown := [choice for choice in choices if choice not in indices]:
            raise InputError(
                f"`answers` must be of the {len(self.labels)} that {source} knows, but {quoted(unknown[0])} is not: "
                "leave it out"
            )
        chosen = [indices[choice] for choice in choices]

        def of_list(read: _Read) -> list[Found]:
            assert read.logits is not None
            logits = read.logits[:, chosen]
            check_numbers(logits.max(axis=1).tolist())
            scores = softmax(logits)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]  # of equal scores, the first in the list
            return [
                found_in_list(self.labels, row[best].tolist(), [chosen[i] for i in best])
                for row, best in zip(scores, order, strict=True)
            ]

        return of_list

    def _answered(
        self,
        pairs: Iterable[tuple[PictureSource, str | Sequence[str]]],
        find: Find,
        first_token: int,
        *,
        batch_size: int,
        strict: bool,
        max_pixels: int,
    ) -> Iterator[Answer | Failure]:
        asked: deque[Sequence[str]] = deque()

        def pictures() -> Iterator[PictureSource]:
            for picture, question in pairs:
                asked.append(question if isinstance(question, list | tuple) else [str(question)])
                yield picture

        name = self._tokenizer.name_of(first_token) or str(first_token)
        batches = prepared_batches(
            pictures(), self._preprocessing, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )
        for batch in batches:
            for item in batch:
                rows = [self._as_read(text, item, first_token) for text in asked.popleft()]
                questions = [row for row in rows if isinstance(row, Question)]
                found = iter(self._of_picture(item, questions, find, name) if isinstance(item, Prepared) else ())
                yield from (next(found) if isinstance(row, Question) else row for row in rows)

    def _as_read(self, text: object, item: Prepared | Failure, first_token: int) -> Question | Failure:
        """Return a question as the model reads it, or why it or its image cannot be used."""
        if isinstance(item, Failure):
            return item
        try:
            return encoded_question(
                text,
                self._tokenizer,
                first_token=first_token,
                end_token=self._config["end_token"],
                most=self._config["max_length"] - 2,
            )
        except InputError as error:
            return Failure(item.file, error)

    def _of_picture(self, item: Prepared, questions: Sequence[Question], find: Find, first_token: str) -> list[Answer]:
        if not questions:
            return []
        read, distance = self._read(item.pixels, questions)
        [far] = far_pictures([distance])
        return [
            Answer(
                file=item.file,
                question=question.text,
                candidates=one.candidates,
                question_words=question.words,
                words=one.words,
                first_token=first_token,
                unknown_words=question.unknown_words(self._tokenizer),
                damaged=item.damaged,
                remark=item.remark,
                out_of_domain=with_words(far, self._new_words(question)),
            )
            for question, one in zip(questions, find(read), strict=True)
        ]

    def _read(self, pixels: np.ndarray, questions: Sequence[Question]) -> tuple[_Read, float]:
        """Return the questions as they were read, and the picture's distance from the training pictures."""
        tokens, mask = self._padded(questions)
        if self._pairs is not None:
            images = np.repeat(pixels[None], len(tokens), axis=0)
            return _Read(self._pairs(images=images, questions=tokens, mask=mask)["logits"], None), 0.0
        assert self._encoder is not None and self._question is not None
        encoded = self._encoder(images=pixels[None])
        found = self._question(questions=tokens[None], mask=mask[None], context=encoded["context"])
        distance = float(encoded["distances"][0]) if "distances" in encoded else 0.0
        if self._decoder is None:
            return _Read(found["logits"][0], None), distance
        return _Read(None, Context(found["context"], mask)), distance

    def _padded(self, questions: Sequence[Question]) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens (g, n) and the mask, False at padding."""
        longest = max(len(one.tokens) for one in questions)
        tokens = np.full((len(questions), longest), self._config["pad_token"], np.int64)
        for row, one in zip(tokens, questions, strict=True):
            row[: len(one.tokens)] = one.tokens
        lengths = np.array([len(one.tokens) for one in questions])
        return tokens, np.arange(longest) < lengths[:, None]

    def _new_words(self, question: Question) -> tuple[str, ...]:
        """Return the content words that no training question had; none where those are not known."""
        return tuple(word for word in content_words(question.text) if word not in self._words) if self._words else ()
