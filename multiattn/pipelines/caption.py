"""The captioning pipeline: images in, captions and a map for every word out.

The way of one image: `read_image` -> `ImagePreprocessing` -> the encoder -> `generate` -> the tokenizer's words; and
with maps a replay of the finished caption: `word_attention_stack`, `explain_words`, `measure_image_dependence`.

The tokens of a caption: the start token, the prompt, then the text. Indices of pieces count from the text on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Unpack, overload

import torch
from torch import Tensor

from ..attention import ProjectedContext
from ..checks import require
from ..generation import GenerationConfig, generate
from ..generation.packing import lay_out_for_decoding
from ..inputs import ImageSource
from ..inputs.files import MAX_PIXELS
from ..maps import (
    caption_word_attention,
    explain_words,
    measure_image_dependence,
    patch_sinks,
    sink_tap,
    ungrounded,
    word_attention,
    word_attention_stack,
)
from ..models import Captioner, ViT
from ..weights import ModelBundle
from .base import Pipeline, check_channels, stacked, tokenizer_of
from .caption_results import CaptionMap, CaptionResult
from .embedding import EmbedsPictures
from .given_caption import given_tokens, score_tokens
from .map_request import Check, MapRequest
from .options import CaptionOptions, caption_search
from .pictures import PictureSource, Prepared, one_or_all, stream_pictures
from .precision import Precision
from .results import Failure, shifted
from .verdicts import of_caption
from .written_caption import CaptionPrompt, WrittenCaption, caption_result, prompt_of, written_caption


class CaptionPipeline(EmbedsPictures, Pipeline[Captioner]):
    """Writes captions and shows where the model looked for each word. No state besides the model: safe in threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device`, and its weights are laid
            out there for decoding.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is for another task, no image has the channels that it reads, or there is no such device.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision | None = None
    ) -> None:
        model = bundle.require(Captioner)
        self._tokenizer = tokenizer_of(bundle)
        check_channels(model.config.encoder, bundle.pictures, source=bundle.source)
        super().__init__(bundle, model, device=device, precision=precision)
        lay_out_for_decoding(self._model.decoder)

    @property
    def vision(self) -> ViT:
        """The vision transformer."""
        return self._model.encoder

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: ImageSource,
        *,
        maps: str | Sequence[str] | None = ...,
        check: Check = ...,
        explain_text: str | None = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
        **options: Unpack[CaptionOptions],
    ) -> CaptionResult: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = ...,
        check: Check = ...,
        explain_text: str | None = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
        **options: Unpack[CaptionOptions],
    ) -> list[CaptionResult | Failure]: ...

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        explain_text: str | None = None,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        **options: Unpack[CaptionOptions],
    ) -> CaptionResult | list[CaptionResult | Failure]:
        """Caption one image, or each of a list.

        Args:
            inputs: An image, or a list or tuple of images, of any sizes.
            maps: Names of map methods, e.g. "attention" or ["attention", "relevance"], or "all". Each word then also
                has its `image_dependence`.
            check: Whether to judge each map, by 12 forward passes more: `result.verdicts`; with "words", the map of
                each word, too, by 12 more for each. Without `maps`, the map by the default method is judged.
            explain_text: A text that takes the place of the caption: the result has its words with their
                probabilities, and its maps; nothing is searched for.
            batch_size: Number of images to compute at once.
            strict: Whether to refuse damaged images; else what can be read is used, and the result is marked `damaged`.
            max_pixels: The most pixels of an image that is decoded whole, 9 bytes of memory each; see `read_image`.
            options: How to search, see `CaptionOptions`: `num_beams=5`, `max_tokens=20`, `sample=True, seed=3`.

        Returns:
            One result for one image; for a list, a list of results in its order, with a `Failure` for each input that
            cannot be used.

        Raises:
            InputError: The one image or the text cannot be used.
            ModelError: An unknown map method, or an option out of range.
            TypeError: There is no such option.
        """
        return one_or_all(
            inputs,
            partial(
                self.stream,
                maps=maps,
                check=check,
                explain_text=explain_text,
                batch_size=batch_size,
                strict=strict,
                max_pixels=max_pixels,
                **options,
            ),
        )

    def stream(
        self,
        inputs: Iterable[PictureSource],
        *,
        maps: str | Sequence[str] | None = None,
        check: Check = False,
        explain_text: str | None = None,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        **options: Unpack[CaptionOptions],
    ) -> Iterator[CaptionResult | Failure]:
        """Yield the results that a call with a list returns, each batch as soon as it is done.

        `inputs` may be endless: it is read no further ahead than two batches. Arguments as for the call.
        """
        request = MapRequest.of("caption", maps, check=check, first=self.bundle.first_map_method)
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        search = caption_search(options, self.bundle.decoding, source=self.bundle.source)
        prompt = prompt_of(options.get("prompt"), self._tokenizer, self.bundle.decoding)
        seed, generator = options.get("seed"), torch.Generator(self.device)
        generator.manual_seed(generator.seed() if seed is None else seed)
        drawn = generator if search.sample else None
        given = None
        if explain_text is not None:
            most = self._model.config.decoder.max_length - 2 - len(prompt.ids)  # start and end token
            given = given_tokens(explain_text, self._tokenizer, prompt.ids, most=most)
        compute = partial(self._results, search=search, prompt=prompt, given=given, request=request, generator=drawn)
        return stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def _results(
        self,
        batch: list[Prepared],
        *,
        search: GenerationConfig,
        prompt: CaptionPrompt,
        given: tuple[int, ...] | None,
        request: MapRequest,
        generator: torch.Generator | None,
    ) -> list[CaptionResult]:
        images = stacked(batch, self.device)
        with torch.inference_mode():
            encoder, size = self._model.encoder, (images.shape[-2], images.shape[-1])
            tap = sink_tap(encoder, size) if request.methods else None
            features = encoder.features(images, tap=tap)
            context = self._model.decoder.project_context(self._model.bridged(features, image_size=size))
        start = (self._model.config.decoder.start_token, *prompt.ids)
        if given is not None:
            found = [[one] for one in score_tokens(self._model.decoder, context, start, given)]
        else:
            found = generate(self._model.decoder, context, [start] * len(batch), search, generator=generator)
        captions = [
            [written_caption(self._tokenizer, caption, prompt) for caption in candidates] for candidates in found
        ]
        results = [caption_result(item, candidates) for item, candidates in zip(batch, captions, strict=True)]
        # a caption without words has no maps
        having = [i for i, result in enumerate(results) if result.words] if request.methods else []
        if having:
            if len(having) < len(batch):
                chosen = torch.tensor(having, device=self.device)
                images, context = images[chosen], context.select(chosen)
            mapped = self._with_maps(
                images,
                context,
                [batch[i] for i in having],
                [results[i] for i in having],
                [captions[i][0] for i in having],
                start,
                request,
            )
            sinks = patch_sinks(tap, encoder.grid(size), len(batch))
            for i, result in zip(having, mapped, strict=True):
                results[i] = replace(result, maps=tuple(replace(one, sinks=sinks[i]) for one in result.maps))
        return results

    def _with_maps(
        self,
        images: Tensor,
        context: ProjectedContext,
        batch: Sequence[Prepared],
        results: Sequence[CaptionResult],
        best: Sequence[WrittenCaption],
        start: Sequence[int],
        request: MapRequest,
    ) -> list[CaptionResult]:
        """Add the maps of the best captions, from a replay of their tokens: right for beam search and sampling alike.

        Args:
            images: The preprocessed images (b, c, h, w).
            context: What the decoder made of them.
            batch: The same images with their sources.
            results: Their results without maps.
            best: Their best captions, each with at least one word.
            start: The tokens before each caption.
            request: The maps asked for.
        """
        model, geometries = self._model, [item.geometry for item in batch]
        tokens = [[*start, *one.caption.tokens] for one in best]
        # the text of a map begins with the first word that the model wrote
        words = [shifted(one.words, one.words[0].start) for one in best]
        stacks = word_attention_stack(
            model, images, tokens, words, prompt_length=len(start), geometries=geometries, context=context
        )
        among = caption_word_attention(model, images, tokens, words, prompt_length=len(start), context=context)
        by_method = [
            [word_attention(stack) for stack in stacks]
            if method == "attention"
            else explain_words(
                model, images, tokens, words, prompt_length=len(start), method=method, geometries=geometries
            )
            for method in request.methods
        ]
        log_probs = [one.caption.log_probs for one in best]
        dependences = measure_image_dependence(
            model, images, tokens, words, prompt_length=len(start), log_probs=log_probs
        )
        mapped = []
        for i, (item, result) in enumerate(zip(batch, results, strict=True)):
            measured = tuple(
                replace(word, image_dependence=dependence, ungrounded=ungrounded(dependence))
                for word, dependence in zip(result.words, dependences[i], strict=True)
            )
            found = [one[i] for one in by_method]
            verdicts = (
                of_caption(
                    model,
                    images[i],
                    found,
                    tokens=tokens[i],
                    words=words[i],
                    prompt_length=len(start),
                    check=request.check,
                )
                if request.check
                else []
            )
            maps = tuple(
                CaptionMap(one, item.picture, item.title, stacks[i], result.text, measured, among[i], checked=checked)
                for one, checked in zip_longest(found, verdicts)
            )
            mapped.append(replace(result, words=measured, maps=maps, verdicts=tuple(verdicts)))
        return mapped
