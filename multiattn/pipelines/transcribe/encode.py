"""Chunks of a batch through the encoder.

On a CPU they are encoded one after the other, into memory for the keys and values of all: one chunk's activations stay
in the processor's cache, and those of several would be the peak of the memory.

Notation: b chunks, h heads, m encoder frames with padding, d head width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...attention import KeysValues, ProjectedContext
from .model import Encoded, SpeechModel


@torch.inference_mode()
def encode_chunks(speech: SpeechModel, samples: Sequence[Tensor], *, with_ctc: bool) -> Encoded:
    """Compute what the decoder attends to, for each chunk as it would be for all at once.

    Args:
        speech: The model.
        samples: (t,) those of each chunk, at least one.
        with_ctc: Whether to compute the scores of the CTC head.
    """
    preprocessing = speech.preprocessing
    lengths = [preprocessing.frames(len(one)) for one in samples]
    padded = (
        0
        if preprocessing.pad_to is None
        else preprocessing.frames(round(preprocessing.pad_to * preprocessing.sample_rate))
    )
    longest = max(padded, *lengths)

    def features(index: int) -> Tensor:
        found = preprocessing.features(samples[index])  # (mels, frames)
        return F.pad(found, (0, longest - found.shape[-1]))

    if speech.device.type != "cpu" or len(samples) == 1:
        return speech.encode(torch.stack([features(i) for i in range(len(samples))]), lengths, with_ctc=with_ctc)
    layers, masks, frames, log_probs = list[KeysValues](), list[Tensor](), list[int](), list[Tensor]()
    for index, length in enumerate(lengths):
        one = speech.encode(features(index)[None], [length], with_ctc=with_ctc)
        if not layers:
            layers = [_memory(layer, len(samples)) for layer in one.projected.layers]
        for layer, own in zip(layers, one.projected.layers, strict=True):
            layer.keys[index], layer.values[index] = own.keys[0], own.values[0]
        frames += one.frames
        if one.projected.attention_mask is not None:
            masks.append(one.projected.attention_mask)
        if one.ctc_log_probs is not None:
            log_probs.append(one.ctc_log_probs)
    projected = ProjectedContext(tuple(layers), torch.cat(masks) if masks else None)
    return Encoded(projected, frames, torch.cat(log_probs) if log_probs else None)


def _memory(layer: KeysValues, count: int) -> KeysValues:
    """Return memory for the keys and values of `count` contexts like this one."""
    keys, values = (one.new_empty(count, *one.shape[1:]) for one in (layer.keys, layer.values))
    return KeysValues(keys, values)
