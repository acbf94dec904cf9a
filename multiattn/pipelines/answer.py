"""The answering pipeline: images and questions in, answers and a map for every word of both out.

The way of one image: `read_image` -> `ImagePreprocessing` -> the encoder, once for all questions about it. The way of a
question: the tokenizer -> the question encoder, which attends to the image -> an `AnswerDecoder`; and with maps
`explain_answer`, from the states of the question and a replay of the answer. `answer_batch` has the model's part.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Unpack, overload

import torch

from ..checks import require
from ..errors import InputError, ModelError
from ..generation.packing import lay_out_for_decoding, lay_out_for_reading
from ..inputs import ImageSource
from ..inputs.files import MAX_PIXELS
from ..models import VQA, SingleStream, ViT
from ..weights import ModelBundle
from .answer_batch import Answerer, Request
from .answer_decoders import AnswerDecoder, Closed, Generative, Ranked, encode_answers
from .answer_results import Answer
from .base import Pipeline, check_channels, tokenizer_of
from .embedding import EmbedsPictures
from .given_answer import given_answer
from .map_request import Check, MapRequest
from .options import (
    TOP_K,
    AnswerOptions,
    answer_search,
    check_answer_options,
    checked_answers,
    first_token_of,
)
from .pictures import PictureSource, Prepared, prepared_batches, the_only
from .precision import Precision
from .questions import Question, encoded_question, quoted
from .results import Failure
from .targets import Label

_Questions = list[str] | tuple[str, ...]

_FEW = 5
"""Number of the known answers that a message lists."""


class AnswerPipeline(EmbedsPictures, Pipeline[VQA | SingleStream]):
    """Answers questions about images and shows where the model looked. No state besides the model: safe in threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device`, and its weights are laid
            out there. On a CPU that takes the memory of a `VQA`'s weights a second time, including the image encoder's
            (BLIP-base: 340 MB, which makes it 1.09 times as fast).
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is for another task, no image has the channels that it reads, or there is no such device.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision | None = None
    ) -> None:
        model = bundle.require(VQA, SingleStream)
        self._tokenizer = tokenizer_of(bundle)
        if isinstance(model, VQA):
            check_channels(model.config.encoder, bundle.pictures, source=bundle.source)
        super().__init__(bundle, model, device=device, precision=precision)
        self._decoder = model.decoder if isinstance(model, VQA) else None
        if isinstance(model, VQA):
            lay_out_for_reading(model.encoder)
            lay_out_for_reading(model.question)
        if self._decoder is not None:
            lay_out_for_decoding(self._decoder)
        heads = bundle.decoding.get("pointing_heads")
        self._answerer = Answerer(self._model, self._tokenizer, device=self.device, heads=heads, domain=self._domain)

    @property
    def vision(self) -> ViT:
        """The vision transformer.

        Raises:
            ModelError: The model is a single stream, which reads a picture only with a question.
        """
        if isinstance(self._model, VQA):
            return self._model.encoder
        raise ModelError(
            f"{self.bundle.source} must be a model with an encoder of pictures to embed them, but reads a picture "
            "and a question in one stream instead: give another"
        )

    @overload
    def __call__(
        self,
        image: ImageSource,
        question: str,
        *,
        answers: Sequence[str] | None = ...,
        maps: str | Sequence[str] | None = ...,
        check: Check = ...,
        target: Label | None = ...,
        versus: Label | None = ...,
        map_labels: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
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
        check: Check = ...,
        target: Label | None = ...,
        versus: Label | None = ...,
        map_labels: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
        **options: Unpack[AnswerOptions],
    ) -> list[Answer | Failure]: ...

    def __call__(
        self,
        image: ImageSource,
        question: str | _Questions,
        *,
        answers: Sequence[str] | None = None,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        target: Label | None = None,
        versus: Label | None = None,
        map_labels: int = 0,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        **options: Unpack[AnswerOptions],
    ) -> Answer | list[Answer | Failure]:
        """Answer one question about an image, or each of a list; for many images there is `stream`.

        Args:
            image: The image, which is encoded once for all questions.
            question: A question, or a list or tuple of questions.
            answers: The answers to choose from. A model that writes ranks them; for a model with a closed list they
                must be part of it.
            maps: Names of map methods, e.g. "attention" or ["attention", "relevance"], or "all".
            check: Whether to judge each map, by 24 forward passes more, 12 without patches and 12 without words of the
                question: `result.verdicts`. With "words", the map of each word of the question, too, by 12 more for
                each. Without `maps`, the map by the default method is judged.
            target: The answer that maps explain, in place of the one that is found: one of the closed list, by its name
                or its number, or any text where the model writes. Without `maps`, the map by the default method.
            versus: Another answer of the closed list: maps explain why `target` and not this one, the difference of
                the two scores.
            map_labels: For how many of the best answers of a closed list pages have a map, chosen by a click. Each
                costs as much as the first, by the methods that depend on the answer.
            strict: Whether to refuse a damaged image; else what can be read is used, and the answer says `damaged`.
            max_pixels: The most pixels of an image that is decoded whole, 9 bytes of memory each; see `read_image`.
            options: How to find the answer, see `AnswerOptions`: `top_k=3`, `num_beams=5`.

        Returns:
            One answer for one question; for a list, a list of results in its order, with a `Failure` for each question
            that cannot be used.

        Raises:
            InputError: The image, the one question or the list of answers cannot be used.
            ModelError: An unknown map method, or an option out of range.
            TypeError: There is no such option.
        """
        request = self._request(answers, self._maps(maps, check, target, map_labels), target, versus, options)
        ((item, results),) = self._of_pictures(
            [(image, question)], request, batch_size=1, strict=strict, max_pixels=max_pixels
        )
        if isinstance(item, Failure):
            raise item.error
        return results if isinstance(question, list | tuple) else the_only(results)

    def stream(
        self,
        inputs: Iterable[tuple[PictureSource, str | _Questions]],
        *,
        answers: Sequence[str] | None = None,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        target: Label | None = None,
        versus: Label | None = None,
        map_labels: int = 0,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        **options: Unpack[AnswerOptions],
    ) -> Iterator[Answer | Failure]:
        """Answer questions about many images, lazily: yield the results in order, each batch as soon as it is done.

        Args:
            inputs: Images, each with one question or several; possibly endlessly many: read no further ahead than two
                batches.
            answers: As for the call.
            maps: As for the call.
            check: As for the call.
            target: As for the call.
            versus: As for the call.
            map_labels: As for the call.
            batch_size: Number of images to compute at once.
            strict: As for the call.
            max_pixels: As for the call.
            options: As for the call.

        Returns:
            One result for each question; a `Failure` for a question that cannot be used. If an image cannot be used,
            all questions about it have the same `Failure`.
        """
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        request = self._request(answers, self._maps(maps, check, target, map_labels), target, versus, options)
        answered = self._of_pictures(inputs, request, batch_size=batch_size, strict=strict, max_pixels=max_pixels)
        return (result for _, results in answered for result in results)

    def _maps(
        self, maps: str | Sequence[str] | None, check: Check, target: Label | None, map_labels: int
    ) -> MapRequest:
        require(map_labels >= 0, "map_labels", must="at least 0", value=map_labels)
        first = self.bundle.first_map_method
        request = MapRequest.of("answer", maps, check=check, first=first, wanted=target is not None)
        return replace(request, labels=0 if self._decoder is not None else map_labels)

    def _request(
        self,
        answers: Sequence[str] | None,
        maps: MapRequest,
        target: Label | None,
        versus: Label | None,
        options: AnswerOptions,
    ) -> Request:
        """Return the options of a call, checked."""
        source = self.bundle.source or "the model"
        check_answer_options(options, writes=self._decoder is not None and answers is None, source=source)
        config = self._model.config.question
        first_token = first_token_of(
            options.get("first_token"),
            self._tokenizer,
            default=config.start_token,
            vocab_size=config.vocab_size,
            source=source,
        )
        find = self._answer_decoder(answers, options, source=source)
        given = given_answer(
            target,
            versus,
            methods=maps.methods,
            find=find,
            labels=self.bundle.labels,
            decoder=self._decoder,
            tokenizer=self._tokenizer,
            source=source,
        )
        return Request(maps, first_token, find, given)

    def _answer_decoder(self, answers: Sequence[str] | None, options: AnswerOptions, *, source: str) -> AnswerDecoder:
        top_k = options.get("top_k") or TOP_K
        choices = None if answers is None else checked_answers(answers)
        if self._decoder is None:
            labels = self.bundle.labels
            indices = {label: index for index, label in enumerate(labels)}
            if unknown := [choice for choice in choices or () if choice not in indices]:
                raise InputError(
                    f"`answers` must be of the {len(labels)} that {source} knows ({', '.join(labels[:_FEW])}"
                    f"{', ...' if len(labels) > _FEW else ''}), but {quoted(unknown[0])} is not: leave it out, or give "
                    "a model that writes its answers"
                )
            chosen = list(indices.values()) if choices is None else [indices[choice] for choice in choices]
            return Closed(self._model, labels, chosen, top_k)
        if choices is None:
            search = answer_search(options, self.bundle.decoding, source=source)
            return Generative(self._decoder, self._tokenizer, search)
        longest = self._decoder.config.max_length - 1
        return Ranked(self._decoder, encode_answers(choices, self._tokenizer, longest=longest), top_k)

    def _of_pictures(
        self,
        pairs: Iterable[tuple[PictureSource, str | _Questions]],
        request: Request,
        *,
        batch_size: int,
        strict: bool,
        max_pixels: int,
    ) -> Iterator[tuple[Prepared | Failure, list[Answer | Failure]]]:
        """Yield each image, or why it cannot be used, with a result for each of its questions."""
        asked: deque[_Questions] = deque()

        def pictures() -> Iterator[PictureSource]:
            for picture, question in pairs:
                asked.append(_several(question))
                yield picture

        batches = prepared_batches(
            pictures(), self.bundle.pictures, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )
        for batch in batches:
            rows = [[self._question(text, item, request) for text in asked.popleft()] for item in batch]
            good = [
                (item, [one for one in row if isinstance(one, Question)])
                for item, row in zip(batch, rows, strict=True)
                if isinstance(item, Prepared)
            ]
            answered = iter(self._answerer(good, request))
            for item, row in zip(batch, rows, strict=True):
                answers = iter(next(answered) if isinstance(item, Prepared) else ())
                yield item, [one if isinstance(one, Failure) else next(answers) for one in row]

    def _question(self, text: object, item: Prepared | Failure, request: Request) -> Question | Failure:
        """Return a question as the model reads it, or why it or its image cannot be used."""
        if isinstance(item, Failure):
            return item
        try:
            config = self._model.config.question
            return encoded_question(
                text,
                self._tokenizer,
                first_token=request.first_token,
                end_token=config.end_token,
                most=config.max_length - 2,
            )
        except InputError as error:
            return Failure(item.file, error)


def _several(question: str | _Questions) -> _Questions:
    return question if isinstance(question, list | tuple) else [question]
