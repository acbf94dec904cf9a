"""The captioning pipeline: pictures in, sentences about them and a map for every word out.

The way of one picture: `load_image` -> `ImagePreprocessing` -> the encoder -> `generate` -> the tokenizer's words, and,
where maps are asked for, one reading of the finished caption: `explain_words`, `measure_image_dependence`.

A caption's tokens: the start token, the prompt, then what is written. Places of pieces count from what is written on.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Unpack, cast, overload

import torch
from torch import Tensor

from ..attention import ProjectedContext
from ..errors import ModelError
from ..generation import Generated, GenerationConfig, generate
from ..generation.packing import lay_out_for_decoding
from ..inputs import Geometry, ImageSource, Tokenizer
from ..inputs.text import Word
from ..maps import (
    WORD_METHODS,
    AttentionMap,
    explain_words,
    measure_image_dependence,
    ungrounded,
    word_attention,
    word_attention_stack,
)
from ..models import Captioner
from ..weights import ModelBundle
from .base import Prepared, check_at_least_one, check_color, chosen_methods, stream_pictures, the_only
from .caption_options import CaptionOptions, decoding_options
from .caption_results import CaptionMap, CaptionResult
from .device import find_device
from .options import check_names
from .results import Candidate, Failure, WrittenWord


class CaptionPipeline:
    """Writes captions and shows where the model looked for each word. No state besides the model: safe in threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device` and laid out there.
        device: As for `multiattn.load`.

    Raises:
        ModelError: The model is of another task or reads no color pictures, or the device is not there.
    """

    def __init__(self, bundle: ModelBundle, *, device: str | torch.device = "auto") -> None:
        model = bundle.require(Captioner)
        if bundle.tokenizer is None:
            raise ModelError(
                f"{bundle.source} must have a tokenizer, but has none instead: put its vocabulary into it."
            )
        check_color(model.config.encoder, source=bundle.source)
        self.device = find_device(device)
        self.bundle = bundle
        self._tokenizer: Tokenizer = bundle.tokenizer
        self._model = model.to(self.device).eval()
        lay_out_for_decoding(self._model.decoder)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: ImageSource,
        *,
        maps: str | Sequence[str] | None = ...,
        batch_size: int = ...,
        **options: Unpack[CaptionOptions],
    ) -> CaptionResult: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = ...,
        batch_size: int = ...,
        **options: Unpack[CaptionOptions],
    ) -> list[CaptionResult | Failure]: ...

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = None,
        batch_size: int = 8,
        **options: Unpack[CaptionOptions],
    ) -> CaptionResult | list[CaptionResult | Failure]:
        """Captions one picture, or each of a list.

        Args:
            inputs: A picture, or a list or tuple of them, of any sizes.
            maps: Names of map methods, e.g. "attention" or ["attention", "relevance"], or "all". With them, each word
                also says how much it depended on the picture.
            batch_size: Pictures to compute at once.
            options: How to search, as `CaptionOptions` says: `num_beams=5`, `max_tokens=20`, `sample=True, seed=3`.

        Returns:
            One result for one picture; for a list, a list of results in its order, where an input that could not be
            used is a `Failure` (its `error` says why) and does not keep the others from being done.

        Raises:
            InputError: The one picture cannot be used.
            ModelError: An unknown map method, or an option out of range.
            TypeError: There is no such option.
        """
        if isinstance(inputs, list | tuple):
            return list(self.stream(inputs, maps=maps, batch_size=batch_size, **options))
        one = cast(ImageSource, inputs)  # any other sequence is one input, which `load_image` refuses by its type
        return the_only(self.stream([one], maps=maps, batch_size=batch_size, **options))

    def stream(
        self,
        inputs: Iterable[ImageSource],
        *,
        maps: str | Sequence[str] | None = None,
        batch_size: int = 8,
        **options: Unpack[CaptionOptions],
    ) -> Iterator[CaptionResult | Failure]:
        """As calling the pipeline with a list, but lazy: gives the results in order, each batch as soon as it is done.

        Reads `inputs` no further ahead than two batches, so that it may be endless. Arguments as for the call.
        """
        methods = chosen_methods(maps, WORD_METHODS)
        check_at_least_one("batch_size", batch_size)
        check_names(options, CaptionOptions)
        search = decoding_options(options, self.bundle.decoding, source=self.bundle.source)
        prompt = self._prompt(options.get("prompt"))
        generator = None
        if search.sample:
            generator = torch.Generator(self.device)
            seed = options.get("seed")
            if seed is None:
                generator.seed()
            else:
                generator.manual_seed(seed)
        compute = partial(self._results, search=search, prompt=prompt, methods=methods, generator=generator)
        return stream_pictures(inputs, self.bundle.pictures, compute, batch_size=batch_size)

    def _prompt(self, asked: str | None) -> "_Prompt":
        if asked is None:
            return self._encoded(str(self.bundle.decoding.get("prompt", "")), shown=False)
        prompt = self._encoded(asked.rstrip(), shown=True)  # a space that belongs to the next token would mislead
        if asked.strip() and not self._tokenizer.decode(prompt.ids).strip():
            raise ModelError(
                f"`prompt` must have a word that the model's vocabulary knows, but is {asked!r} instead: "
                "write it in the language of the model's captions"
            )
        return prompt

    def _encoded(self, text: str, *, shown: bool) -> "_Prompt":
        ids = self._tokenizer.encode(text) if text else []
        return _Prompt(tuple(ids), 0 if shown else len(self._tokenizer.decode(ids)))

    def _results(
        self,
        batch: list[Prepared],
        *,
        search: GenerationConfig,
        prompt: "_Prompt",
        methods: tuple[str, ...],
        generator: torch.Generator | None,
    ) -> list[CaptionResult]:
        images = torch.stack([item.pixels for item in batch]).to(self.device)  # (b, 3, h, w)
        with torch.inference_mode():
            context = self._model.decoder.project_context(self._model.encode(images))
        start = (self._model.config.decoder.start_token, *prompt.ids)
        found = generate(self._model.decoder, context, [start] * len(batch), search, generator=generator)
        captions = [[self._written(caption, prompt) for caption in candidates] for candidates in found]
        results = [self._result(item, candidates) for item, candidates in zip(batch, captions, strict=True)]
        # a caption without a word has nothing to show
        places = [i for i, result in enumerate(results) if result.words] if methods else []
        if places:
            if len(places) < len(batch):
                chosen = torch.tensor(places, device=self.device)
                images, context = images[chosen], context.select(chosen)
            seen = _Seen(images, context, [batch[i].geometry for i in places])
            of_words = self._maps(seen, [captions[i][0] for i in places], start, methods)
            for i, found_maps in zip(places, of_words, strict=True):
                results[i] = _with_maps(results[i], batch[i], found_maps)
        return results

    def _written(self, caption: Generated, prompt: "_Prompt") -> "_Written":
        ids = [*prompt.ids, *caption.tokens]
        text, first = self._tokenizer.decode(ids), len(prompt.ids)
        cut = len(text) - len(text[prompt.hidden :].lstrip())
        words = []
        for word in self._tokenizer.words(ids):
            pieces = tuple(piece - first for piece in word.pieces if piece >= first)
            if pieces and word.end > cut:  # a word of the prompt may go on in what is written
                start = max(word.start, cut)
                words.append(Word(text[start : word.end], start - cut, word.end - cut, pieces))
        return _Written(caption, text[cut:].rstrip(), tuple(words))

    def _result(self, item: Prepared, candidates: Sequence["_Written"]) -> CaptionResult:
        best = candidates[0]
        return CaptionResult(
            file=item.file,
            words=tuple(
                WrittenWord(
                    text=word.text,
                    start=word.start,
                    end=word.end,
                    probability=_probability(sum(best.caption.log_probs[piece] for piece in word.pieces)),
                )
                for word in best.words
            ),
            candidates=tuple(Candidate(one.text, one.score) for one in candidates),
        )

    def _maps(
        self, seen: "_Seen", best: Sequence["_Written"], start: Sequence[int], methods: Sequence[str]
    ) -> list["_WordMaps"]:
        """One reading of the finished captions: right for beams and samples alike; generation knows nothing of it."""
        model, images = self._model, seen.images
        tokens = [[*start, *one.caption.tokens] for one in best]
        words = [one.from_first_word for one in best]
        length = len(start)
        stacks = word_attention_stack(
            model, images, tokens, words, prompt_length=length, geometries=seen.geometries, context=seen.context
        )
        by_method = {"attention": [word_attention(stack) for stack in stacks]} if "attention" in methods else {}
        for method in methods:
            if method != "attention":
                by_method[method] = explain_words(
                    model, images, tokens, words, prompt_length=length, method=method, geometries=seen.geometries
                )
        log_probs = [one.caption.log_probs for one in best]
        image_dependence = measure_image_dependence(
            model, images, tokens, words, prompt_length=length, log_probs=log_probs
        )
        return [
            _WordMaps(tuple(by_method[method][i] for method in methods), stacks[i], image_dependence[i])
            for i in range(len(best))
        ]


class _Prompt(NamedTuple):
    """What every caption goes on from."""

    ids: tuple[int, ...]
    hidden: int  # characters of the decoded text that are no part of the caption


class _Written(NamedTuple):
    """A caption as text; the words are those that the model wrote, whose pieces count from the prompt's end."""

    caption: Generated
    text: str
    words: tuple[Word, ...]

    @property
    def score(self) -> float:
        log_probs = self.caption.log_probs
        return _probability(sum(log_probs) / max(len(log_probs), 1))

    @property
    def from_first_word(self) -> list[Word]:
        """The words of a text that begins with the first of them, which is what the maps are over."""
        shift = self.words[0].start
        return [word._replace(start=word.start - shift, end=word.end - shift) for word in self.words]


class _Seen(NamedTuple):
    """Pictures as the model has them."""

    images: Tensor  # (b, 3, h, w)
    context: ProjectedContext
    geometries: list[Geometry]


class _WordMaps(NamedTuple):
    """All maps of one caption."""

    maps: tuple[AttentionMap, ...]
    stack: AttentionMap
    image_dependence: tuple[float, ...]


def _with_maps(result: CaptionResult, item: Prepared, found: _WordMaps) -> CaptionResult:
    words = tuple(
        replace(word, image_dependence=image_dependence, ungrounded=ungrounded(image_dependence))
        for word, image_dependence in zip(result.words, found.image_dependence, strict=True)
    )
    maps = tuple(CaptionMap(one, item.picture, item.title, result.text, words, found.stack) for one in found.maps)
    return replace(result, words=words, maps=maps)


def _probability(log_probability: float) -> float:
    return min(1.0, math.exp(log_probability))  # rounding may leave a sum a little above 0
