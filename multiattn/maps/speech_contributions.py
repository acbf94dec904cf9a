"""Maps of a recognizer by layer-wise relevance propagation: which sound made each word, over (word, mel, time).

The contributions are read at the log-mel itself, summed over cells of a few mel bands and one encoder frame.

Notation: b recordings, t feature frames, m encoder frames, w words.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ..alignment.replay import Replay, predicting_rows
from ..checks import check_one_each
from ..inputs.text import Word
from ..models import SpeechRecognizer
from .attention_map import AttentionMap, Axis
from .lrp import PropagationRules, check_has_rules
from .propagation import leaf
from .speech import SPEECH_METHOD_NOTES

MEL_CELLS = 8
"""Cells along the mel bands: a third of an octave in the middle of speech, and few enough to store for each word."""


def speech_lrp(
    model: SpeechRecognizer,
    features: Float[Tensor, "b mels t"],
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_lengths: Sequence[int],
    lengths: Sequence[int],
    frame_seconds: float = 0.02,
    starts: Sequence[float] | None = None,
) -> list[AttentionMap]:
    """Compute one map for each recording, axes (word, mel, time): the contributions to each word's log-probability.

    Costs a forward pass, and for each word of the longest text a backward pass, which takes about twice as long.

    Args:
        model: A recognizer in eval mode.
        features: Log-mel features with their padding.
        tokens: Of each transcript, from the start token on, prompt included; the end token may follow.
        words: Of each transcript, at least one; their pieces count from the first token after the prompt.
        prompt_lengths: Of each transcript: tokens before the first of the text, the start token included.
        lengths: Of each recording: feature frames without the padding.
        frame_seconds: From one encoder frame to the next, in seconds.
        starts: Of each: when its first frame begins, in seconds; 0 where None.

    Raises:
        ModelError: The arguments do not fit each other; or the model is compiled or in int8, without gradients.
    """
    check_one_each(
        len(features),
        "recordings",
        tokens=tokens,
        words=words,
        prompt_lengths=prompt_lengths,
        lengths=lengths,
        starts=starts,
    )
    replay = Replay.of(
        tokens,
        predicting_rows(tokens, prompt_lengths),
        words,
        pad_token=model.config.decoder.pad_token,
        device=features.device,
        kind="transcript",
        predicts=True,
    )
    check_has_rules(model)
    found: list[list[np.ndarray]] = [[] for _ in tokens]
    with torch.inference_mode(False), torch.enable_grad(), PropagationRules():
        sound, of_each = leaf(features), torch.tensor(lengths, device=features.device)
        # `forward` and not a call, which may be compiled: gradients need the graph of the eager pass
        context = model.encoder.forward(sound, lengths=of_each)
        mask = model.context_attention_mask(context.shape[1], of_each)
        logits = model.decoder.forward(replay.inputs, context, context_attention_mask=mask)
        scores = replay.log_probs(logits)
        for w in range(max(map(len, scores))):
            having = [i for i, of_text in enumerate(scores) if w < len(of_text)]
            score = torch.stack([scores[i][w] for i in having]).sum()  # recordings do not mix
            (gradient,) = torch.autograd.grad(score, sound, retain_graph=True)
            contributions = (sound.detach() * gradient).float().cpu().numpy()  # (b, mels, t)
            for i in having:
                frames = max(1, min(int(model.encoder.frames(lengths[i])), context.shape[1]))
                found[i].append(_cells(contributions[i, :, : lengths[i]], frames))
    sites = tuple(site.name for site in model.attention_sites(tokens=replay.inputs.shape[1], frames=context.shape[1]))
    return [
        AttentionMap(
            values=np.stack(of_words),
            axes=(
                Axis("word", "word", labels=labels),
                Axis("mel", "band", step=features.shape[1] / len(of_words[0])),
                Axis("time", "second", start=start, step=frame_seconds),
            ),
            method="lrp",
            sites=sites,
            heads=None,
            geometry=None,
            target="".join(labels).strip(),
            note=SPEECH_METHOD_NOTES["lrp"],
        )
        for of_words, labels, start in zip(found, replay.labels, starts or [0.0] * len(found), strict=True)
    ]


def _cells(contributions: Float32[np.ndarray, "mels t"], frames: int) -> Float32[np.ndarray, "cells m"]:
    """Sum contributions over bands, and over the feature frames of each encoder frame."""
    mels, count = contributions.shape
    cells, stride = min(MEL_CELLS, mels), -(-count // frames)
    of_bands = np.add.reduceat(contributions, np.arange(cells) * mels // cells, axis=0)
    padded = np.pad(of_bands, ((0, 0), (0, frames * stride - count)))
    return padded.reshape(cells, frames, stride).sum(axis=2)  # type: ignore[no-any-return]
