"""Captions on onnxruntime: the same files in, the same results out as from `CaptionPipeline`, without torch."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from ...checks import require
from ...generation.config import GenerationConfig
from ...inputs.files import MAX_PIXELS
from ...pipelines.caption_results import CaptionResult
from ...pipelines.options import CaptionOptions, caption_search
from ...pipelines.pictures import PictureSource, Prepared, stream_pictures
from ...pipelines.results import Failure
from ...pipelines.written_caption import CaptionPrompt, caption_result, prompt_of, written_caption
from .decoding import Context, Decoder
from .directory import ExportedModel


class OnnxCaptioner:
    """Captions images. Safe to call from several threads.

    Args:
        model: The exported model.

    Raises:
        ModelError: A graph or the vocabulary is missing or damaged.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.bundle = model
        self._tokenizer, self._preprocessing = model.tokenizer, model.pictures
        self._encoder = model.session("encoder")
        self._decoder = Decoder(model.session("decoder"), model.config["architecture"]["decoder"])

    def stream(
        self,
        inputs: Iterable[PictureSource],
        *,
        maps: None = None,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        **options: Unpack[CaptionOptions],
    ) -> Iterator[CaptionResult | Failure]:
        """Yield the results in the order of the inputs; see `CaptionPipeline.stream`."""
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        search = caption_search(options, self.bundle.decoding, source=self.bundle.source)
        require(not search.sample, "sample", must="False on onnxruntime, which only searches", value=True)
        prompt = prompt_of(options.get("prompt"), self._tokenizer, self.bundle.decoding)
        compute = partial(self._results, search=search, prompt=prompt)
        return stream_pictures(
            inputs, self._preprocessing, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def _results(
        self, batch: list[Prepared], *, search: GenerationConfig, prompt: CaptionPrompt
    ) -> list[CaptionResult]:
        context = Context(self._encoder(images=np.stack([item.pixels for item in batch]))["context"])
        start = (self._decoder.start_token, *prompt.ids)
        found = self._decoder.generate(context, [start] * len(batch), search)
        return [
            caption_result(item, [written_caption(self._tokenizer, one, prompt) for one in candidates])
            for item, candidates in zip(batch, found, strict=True)
        ]
