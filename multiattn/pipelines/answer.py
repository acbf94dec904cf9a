"""The answering pipeline: pictures and questions in, answers and a map for every word of both out.

The way of one picture: `load_image` -> `ImagePreprocessing` -> the encoder, once for all questions about it. Of a
question: the tokenizer -> the question encoder, which looks at the picture -> a `AnswerDecoder`; and, where maps are asked
for, `explain_answer`, from how the question was read and one more reading of the answer.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack, overload

import torch

from ..errors import InputError, ModelError
from ..generation.packing import lay_out_for_decoding, lay_out_for_reading
from ..inputs import ImageSource, Tokenizer
from ..maps import ANSWER_METHODS
from ..models import VQA, SingleStream
from ..weights import ModelBundle
from .answer_batch import Answerer, Question, Request
from .answer_decoders import AnswerDecoder, Closed, Generative, Ranked, short, spelt
from .answer_options import TOP_K, AnswerOptions, check_asked, checked_answers, first_token_of, written_options
from .answer_results import Answer
from .base import Prepared, check_at_least_one, check_color, chosen_methods, prepared_batches, the_only
from .device import find_device
from .options import check_names
from .results import Failure

_Questions = list[str] | tuple[str, ...]

_FEW = 5
"""Of a list of answers, those that a message names."""


class AnswerPipeline:
    """Answers questions about pictures and shows where the model looked. No state besides the model: safe in threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device` and laid out there. On a
            CPU that takes the memory of a `VQA`'s weights once more, the picture encoder's among them (BLIP-base: 340
            MB, for which it is 1.09 times as fast).
        device: As for `multiattn.load`.

    Raises:
        ModelError: The model is of another task or reads no color pictures, or the device is not there.
    """

    def __init__(self, bundle: ModelBundle, *, device: str | torch.device = "auto") -> None:
        model = bundle.require(VQA, SingleStream)
        if bundle.tokenizer is None:
            raise ModelError(
                f"{bundle.source} must have a tokenizer, but has none instead: put its vocabulary into it."
            )
        if isinstance(model, VQA):
            check_color(model.config.encoder, source=bundle.source)
        self.device = find_device(device)
        self.bundle = bundle
        self._tokenizer: Tokenizer = bundle.tokenizer
        self._model = model.to(self.device).eval()
        self._decoder = model.decoder if isinstance(model, VQA) else None
        if isinstance(model, VQA):
            lay_out_for_reading(model.encoder)
            lay_out_for_reading(model.question)
        if self._decoder is not None:
            lay_out_for_decoding(self._decoder)
        heads = bundle.decoding.get("pointing_heads")
        self._answerer = Answerer(self._model, bundle.tokenizer, device=self.device, heads=heads)

    @overload
    def __call__(
        self,
        image: ImageSource,
        question: str,
        *,
        answers: Sequence[str] | None = ...,
        maps: str | Sequence[str] | None = ...,
        **options: Unpack[AnswerOptions],
    ) -> Answer: ...

    @overload
    def __call__(
        self,
        image: ImageSource,
        question: _Questions,
        *,
        answers: Sequence[str] | None = ...,
        maps: str | Sequence[str] | None = ...,
        **options: Unpack[AnswerOptions],
    ) -> list[Answer | Failure]: ...

    def __call__(
        self,
        image: ImageSource,
        question: str | _Questions,
        *,
        answers: Sequence[str] | None = None,
        maps: str | Sequence[str] | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Answer | list[Answer | Failure]:
        """Answers one question about a picture, or each of a list; for many pictures there is `stream`.

        Args:
            image: The picture, which is encoded once for all questions.
            question: A question, or a list or tuple of them.
            answers: What to choose the answer from: ranked by a model that writes, chosen among by one with a list.
            maps: Names of map methods, e.g. "attention" or ["attention", "relevance"], or "all".
            options: How to find the answer, as `AnswerOptions` says: `top_k=3`, `num_beams=5`.

        Returns:
            One answer for one question; for a list, a list of results in its order, where a question that could not be
            used is a `Failure` (its `error` says why) and does not keep the others from being done.

        Raises:
            InputError: The picture, the one question or the list of answers cannot be used.
            ModelError: An unknown map method, or an option out of range.
            TypeError: There is no such option.
        """
        request = self._request(answers, maps, options)
        (results,) = self._of_pictures([(image, _several(question))], request, batch_size=1)
        if isinstance(results, Failure):
            raise results.error
        return results if isinstance(question, list | tuple) else the_only(results)

    def stream(
        self,
        inputs: Iterable[tuple[ImageSource, str | _Questions]],
        *,
        answers: Sequence[str] | None = None,
        maps: str | Sequence[str] | None = None,
        batch_size: int = 8,
        **options: Unpack[AnswerOptions],
    ) -> Iterator[Answer | Failure]:
        """Answers questions about many pictures, lazily: gives the results in order, each batch as soon as it is done.

        Args:
            inputs: Pictures, each with a question or several about it; read no further ahead than two batches, so that
                there may be endlessly many.
            answers: As for the call.
            maps: As for the call.
            batch_size: Pictures to compute at once.
            options: As for the call.

        Returns:
            One result for each question. One that could not be used is a `Failure`; where the picture could not, all
            questions about it are, with one and the same error.
        """
        check_at_least_one("batch_size", batch_size)
        return self._in_order(inputs, self._request(answers, maps, options), batch_size=batch_size)

    def _request(
        self, answers: Sequence[str] | None, maps: str | Sequence[str] | None, options: AnswerOptions
    ) -> Request:
        """What was asked for, checked."""
        methods = chosen_methods(maps, ANSWER_METHODS)
        check_names(options, AnswerOptions)
        source = self.bundle.source or "the model"
        check_asked(options, writes=self._decoder is not None and answers is None, source=source)
        config = self._model.config.question
        first_token = first_token_of(
            options.get("first_token"),
            self._tokenizer,
            default=config.start_token,
            vocab_size=config.vocab_size,
            source=source,
        )
        return Request(methods, first_token, self._finder(answers, options, source=source))

    def _finder(self, answers: Sequence[str] | None, options: AnswerOptions, *, source: str) -> AnswerDecoder:
        top_k = options.get("top_k") or TOP_K
        choices = None if answers is None else checked_answers(answers)
        if self._decoder is None:
            labels = self.bundle.labels
            places = {label: place for place, label in enumerate(labels)}
            if unknown := [choice for choice in choices or () if choice not in places]:
                raise InputError(
                    f"`answers` must be of the {len(labels)} that {source} knows ({', '.join(labels[:_FEW])}"
                    f"{', ...' if len(labels) > _FEW else ''}), but {short(unknown[0])} is not: leave it out, or give "
                    "a model that writes its answers"
                )
            chosen = list(places.values()) if choices is None else [places[choice] for choice in choices]
            return Closed(self._model, labels, chosen, top_k)
        if choices is None:
            search = written_options(options, self.bundle.decoding, source=source)
            return Generative(self._decoder, self._tokenizer, search)
        longest = self._decoder.config.max_length - 1
        return Ranked(self._decoder, spelt(choices, self._tokenizer, longest=longest), top_k)

    def _in_order(
        self, pairs: Iterable[tuple[ImageSource, str | _Questions]], request: Request, *, batch_size: int
    ) -> Iterator[Answer | Failure]:
        counts: deque[int] = deque()

        def counted() -> Iterator[tuple[ImageSource, _Questions]]:
            for picture, question in pairs:
                questions = _several(question)
                counts.append(len(questions))
                yield picture, questions

        for results in self._of_pictures(counted(), request, batch_size=batch_size):
            count = counts.popleft()
            yield from [results] * count if isinstance(results, Failure) else results

    def _of_pictures(
        self, pairs: Iterable[tuple[ImageSource, _Questions]], request: Request, *, batch_size: int
    ) -> Iterator[list[Answer | Failure] | Failure]:
        """Of each picture a result for each question, or why it cannot be used."""
        asked: deque[_Questions] = deque()

        def pictures() -> Iterator[ImageSource]:
            for picture, questions in pairs:
                asked.append(questions)
                yield picture

        for batch in prepared_batches(pictures(), self.bundle.pictures, batch_size=batch_size):
            rows = [[self._question(text, item, request) for text in asked.popleft()] for item in batch]
            good = [
                (item, [row for row in of_picture if isinstance(row, Question)])
                for item, of_picture in zip(batch, rows, strict=True)
                if isinstance(item, Prepared)
            ]
            answered = iter(self._answerer(good, request))
            for item, of_picture in zip(batch, rows, strict=True):
                if isinstance(item, Failure):
                    yield item
                    continue
                answers = iter(next(answered))
                yield [row if isinstance(row, Failure) else next(answers) for row in of_picture]

    def _question(self, text: object, item: Prepared | Failure, request: Request) -> Question | Failure:
        """A question as the model reads it, or why it cannot."""
        try:
            return self._encoded(text, request.first_token)
        except InputError as error:
            return Failure(item.file, error)

    def _encoded(self, text: object, first_token: int) -> Question:
        if not isinstance(text, str):
            raise InputError(f"`question` must be text, but is {text!r} instead")
        if not text.strip():
            raise InputError(f"`question` must have a word, but is {text!r} instead: ask something")
        ids, words = self._tokenizer.encode_words(text)
        config = self._model.config.question
        if len(ids) > (most := config.max_length - 2):
            raise InputError(
                f"`question` must have at most {most} tokens, but {short(text)} has {len(ids)} instead: shorten it"
            )
        if not self._tokenizer.decode(ids).strip():
            raise InputError(
                f"`question` must have a word that the model's vocabulary knows, but is {short(text)} instead: "
                "ask in the language of the model"
            )
        return Question(text, (first_token, *ids, config.end_token), tuple(words))


def _several(question: str | _Questions) -> _Questions:
    return question if isinstance(question, list | tuple) else [question]
