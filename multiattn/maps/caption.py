"""Where a captioner looked for each word: the methods by name, as `AttentionMap`s over (word, y, x).

Notation: b pictures, n rows of a caption, w words, l layers, h heads, m picture tokens (prefix first, then patches).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..errors import ModelError
from ..inputs import Geometry
from ..inputs.text import Word
from ..models import Captioner
from .attention_map import AttentionMap
from .propagation import raising, relevance, rollout
from .readout import leaf
from .replay import Replay, caption_tap, check_geometries, cross_attention, replay_captions
from .word_maps import word_attention, word_map

WORD_METHOD_NOTES = {
    "attention": "The share of the decoder's look, while it chose the word, that went to each patch. "
    "It says where the model looked, not what for.",
    "relevance": "Attention weighted by how much it raised the word's probability, followed back through the encoder. "
    "Bright patches spoke for the word.",
    "rollout": "The share of each patch in what the decoder looked at for the word, were attention all that moves "
    "information in the encoder.",
}
WORD_METHODS = tuple(WORD_METHOD_NOTES)
"""The names `explain_words` knows."""


def explain_words(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    method: str,
    geometries: Sequence[Geometry | None] | None = None,
    layer: int | None = None,
    head: int | None = None,
    context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
) -> list[AttentionMap]:
    """One map a picture, axes (word, y, x): the caption's words, each with the space before it, over patches.

    Args:
        model: A captioner in eval mode.
        images: Its input.
        tokens: Of each caption, from the start token on, prompt included; the end token may follow.
        words: Of each caption, at least one; their pieces count from the first token after the prompt.
        prompt_length: Tokens before the first that a piece may name, the start token included: at least 1.
        method: One of `WORD_METHODS`.
        geometries: How each picture was cut from its source.
        layer: For `attention`: which decoder block, negative from the end; the mean of all where None.
        head: For `attention`: which head, or the mean where None.
        context: `model.encode(images)` or what the decoder's `project_context` made of it, where the caller has it
            already; `attention` then runs the decoder alone.

    Raises:
        ModelError: An unknown method, layer or head; a layer or head for a method that uses all of them; or captions
            and words, or pictures and geometries, that do not fit each other.
    """
    if method not in WORD_METHODS:
        raise ModelError(f"there is no map method {method!r} for words; there are: {', '.join(WORD_METHODS)}")
    if method == "attention":
        stacks = word_attention_stack(
            model, images, tokens, words, prompt_length=prompt_length, geometries=geometries, context=context
        )
        return [word_attention(stack, layer=layer, head=head) for stack in stacks]
    if layer is not None or head is not None:
        raise ModelError(f"a layer or head can be chosen for the method 'attention', not for {method!r}")
    replay = _replay(model, images, tokens, words, prompt_length=prompt_length, geometries=geometries)
    rows = (_relevance if method == "relevance" else _rollout)(model, images, replay)
    sites = tuple(
        site.name
        for site in model.attention_sites(tokens=replay.tokens.shape[1])
        if site.name.startswith("encoder.") or site.name.endswith(".cross")
    )
    grid = _grid(model, images)
    return [
        word_map(
            row,
            replay.labels[i],
            grid=grid,
            method=method,
            sites=sites,
            geometry=None if geometries is None else geometries[i],
            note=WORD_METHOD_NOTES[method],
        )
        for i, row in enumerate(rows)
    ]


def word_attention_stack(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    geometries: Sequence[Geometry | None] | None = None,
    context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
) -> list[AttentionMap]:
    """What every layer and head of the decoder looked at for each word: one map a picture, (layer, head, word, y, x).

    Takes what `explain_words` takes, and raises what it raises. `word_attention` makes the map of that method from it.
    """
    replay = _replay(model, images, tokens, words, prompt_length=prompt_length, geometries=geometries)
    weights = cross_attention(model, images, replay, context)  # (b, l, h, n, m)
    names = tuple(site.name for site in caption_tap(model, images, replay, select="decoder.*.cross").sites)
    grid = _grid(model, images)
    return [
        word_map(
            share @ weights[i],  # (l, h, w, m)
            replay.labels[i],
            grid=grid,
            method="attention",
            sites=names,
            geometry=None if geometries is None else geometries[i],
            note=WORD_METHOD_NOTES["attention"],
        )
        for i, share in enumerate(replay.shares)
    ]


def _replay(
    model: Captioner,
    images: Tensor,
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    geometries: Sequence[Geometry | None] | None,
) -> Replay:
    """The captions, ready to be read, after a check that there is a geometry for each picture, or none."""
    check_geometries(geometries, len(images))
    return replay_captions(model, images, tokens, words, prompt_length=prompt_length)


def _rollout(model: Captioner, images: Tensor, replay: Replay) -> list[Tensor]:
    """What was looked at, carried to the patches it came from; (w, m) for each picture."""
    tap = caption_tap(model, images, replay, select="encoder.*")
    with torch.no_grad():
        context = model.encode(images, tap=tap)
    looks = cross_attention(model, images, replay, context).mean(dim=(1, 2))  # (b, n, m)
    weights = list(tap.weights.values())
    return [
        rollout((share @ looks[i])[None], [block[i : i + 1] for block in weights])[0]
        for i, share in enumerate(replay.shares)
    ]


def _relevance(model: Captioner, images: Tensor, replay: Replay) -> list[Tensor]:
    """Cross-attention that raised a word's log-probability, carried through the encoder; (w, m) for each picture.

    A word's own row is not all that speaks for it: earlier rows looked, and self-attention brought what they saw. The
    gradient has both, so all rows count. In the encoder the score is the whole caption's, one pass for all words.
    Source: Chefer et al. 2021, "Generic attention-model explainability", equations 5 and 10; there with one target.
    """
    seen = caption_tap(model, images, replay, select="encoder.*", gradients=True)
    looked = caption_tap(model, images, replay, select="decoder.*.cross", gradients=True)
    with torch.inference_mode(False), torch.enable_grad():
        # weights may all be frozen; the pictures then carry the graph
        context = model.encode(leaf(images), tap=seen)
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        log_probs = replay.log_probs(model.decoder.forward(replay.tokens[:, :-1], context, tap=looked.at("decoder")))
        looks = list(looked.weights.values())
        rows: list[list[Tensor]] = [[] for _ in log_probs]
        for w in range(max(map(len, log_probs))):
            having = [i for i, row in enumerate(log_probs) if w < len(row)]
            # pictures do not mix, so each keeps its own gradient
            score = torch.stack([log_probs[i][w] for i in having]).sum()
            gradients = looked.gradients(score, keep_graph=True).values()
            of_layers = [raising(look, gradient) for look, gradient in zip(looks, gradients, strict=True)]
            of_word = torch.stack(of_layers).sum(dim=(0, 2))  # (b, m)
            for i in having:
                rows[i].append(of_word[i])  # (m,)
        by_block = list(seen.gradients(torch.cat(log_probs).sum()).values())
    blocks = list(seen.weights.values())
    return [
        relevance(torch.stack(row)[None], [one[i : i + 1] for one in blocks], [one[i : i + 1] for one in by_block])[0]
        for i, row in enumerate(rows)
    ]


def _grid(model: Captioner, images: Tensor) -> tuple[int, int]:
    return model.encoder.grid((images.shape[-2], images.shape[-1]))
