"""Self-attention among the patches of one picture, for a page on which each of them can be chosen."""

from typing import Any

from ..checks import require
from ..errors import ModelError
from ..inputs import ImageSource
from ..maps import AttentionMap
from ..maps.tokens import MOST_BYTES, picture_self_attention
from ..models import VQA, Captioner, ViT
from .base import Pipeline, prepare, stacked
from .results import Failure


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
