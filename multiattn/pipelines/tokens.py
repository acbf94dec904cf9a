"""Self-attention among patches of a picture or moments of a recording, for a page on which each can be chosen."""

from typing import Any

import torch

from ..checks import require
from ..errors import ModelError
from ..inputs import ImageSource
from ..maps import AttentionMap, moment_attention
from ..maps.tokens import MOST_BYTES, picture_self_attention
from ..models import VQA, Captioner, ViT
from .base import Pipeline, stacked
from .pictures import prepare
from .results import Failure, first_map
from .transcribe.pipeline import TranscribePipeline
from .transcribe.results import Transcript


def token_attention(pipeline: Pipeline[Any], picture: ImageSource) -> AttentionMap:
    """Compute which tokens of a picture attend to which, in every layer and head: (layer, head, query, key).

    A page shows it: `result.save_html("cat.html", tokens=token_attention(pipeline, "cat.jpg"))`. Where all layers would
    take more than 1 GiB, it is that of fewer, evenly spread; its `sites` say which.

    Args:
        pipeline: A pipeline over pictures whose model encodes them by themselves.
        picture: What the pipeline is called with.

    Raises:
        InputError: The picture cannot be used.
        ModelError: The model is of another kind, or one layer would take more than 1 GiB.
    """
    model = pipeline._model
    kind = type(model).__name__
    require(isinstance(model, ViT | Captioner | VQA), "pipeline", must="one with an encoder of pictures", value=kind)
    ready = prepare(picture, pipeline.bundle.pictures)
    if isinstance(ready, Failure):
        raise ready.error
    images = stacked([ready], pipeline.device)
    encoder = model if isinstance(model, ViT) else model.encoder
    sites = encoder.attention_sites((images.shape[-2], images.shape[-1]), of="features")
    layer_bytes = 4 * sites[0].num_heads * sites[0].k_len ** 2
    fitting = MOST_BYTES // layer_bytes
    if not fitting:
        raise ModelError(
            f"`picture` must have few enough patches for its self-attention, at most 1 GiB a layer, but has "
            f"{sites[0].k_len:,} tokens and would take {layer_bytes / 2**30:.1f} GiB instead."
        )
    step = -(-len(sites) // fitting)  # rounded up
    layers = range(len(sites) - 1, -1, -step)[::-1]
    return picture_self_attention(model, images, geometries=[ready.geometry], layers=layers)[0]


def recording_attention(pipeline: TranscribePipeline, transcript: Transcript) -> list[AttentionMap]:
    """Compute which moments of a recording attend to which in the encoder: for each window of its maps, in order.

    A page shows it: `transcript.save_html("call.html", tokens=recording_attention(pipeline, transcript))`.

    Args:
        pipeline: The one that transcribed it.
        transcript: With maps.

    Raises:
        InputError: It has no maps.
    """
    first_map(transcript.maps, 'transcribe(recording, maps="attention")')
    speech, found = pipeline.speech, dict[float, AttentionMap]()
    for one in transcript.maps:
        time = one.map.axes[-1]
        if time.start in found:  # by another method
            continue
        first = round(time.start * one.rate)
        samples = one.samples[first : first + round(one.map.values.shape[-1] * time.step * one.rate)]
        features = speech.preprocessing.features(torch.as_tensor(samples)).to(speech.device)
        found[time.start] = moment_attention(
            speech.model,
            features,
            length=speech.preprocessing.frames(len(samples)),
            frame_seconds=speech.frame_seconds,
            start=time.start,
        )
    return [found[start] for start in sorted(found)]
