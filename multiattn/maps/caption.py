"""Maps of a captioner: which patches each word of a caption was read from, as `AttentionMap`s over (word, y, x).

`replay_captions` lays captions out for one pass; the methods run it with taps and carry the decoder's cross-attention
back through the image encoder.

Notation: b pictures, n rows of a caption, w words, l layers, h heads, m picture tokens (prefix first, then patches).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..alignment.replay import Replay, predicting_rows
from ..attention import ProjectedContext, Tap
from ..checks import check_one_each, require
from ..inputs import Geometry, Word
from ..models import Captioner
from ..registry import task_spec
from .attention_map import AttentionMap
from .building import check_method, check_pictures, checked_geometries, image_size, word_attention, word_map
from .propagation import leaf, raising_blocks, relevance, rollout

WORD_METHOD_NOTES = {
    "attention": "The share of the decoder's attention, while it predicted the word, that went to each patch. "
    "It shows where the model looked, not what for.",
    "relevance": "Attention weighted by how much it raised the word's probability, followed back through the encoder. "
    "Bright patches raised the probability of the word.",
    "rollout": "The share of each patch in what the decoder attended to for the word, as if attention were all that "
    "moves information in the encoder. It stays nearly as it is when the decoder loses what it learned.",
}
"""How to read a map, by method."""

WORD_METHODS = task_spec("caption").map_methods
"""The methods of `explain_words`."""


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
    """Compute one map for each picture, axes (word, y, x): the caption's words, each with the space before it.

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
        context: `model.encode(images)`, or the decoder's `project_context` of that, where the caller has it already;
            `attention` then runs the decoder alone.

    Raises:
        ModelError: An unknown method, layer or head; a layer or head for a method that uses all of them; or captions
            and words, or pictures and geometries, that do not fit each other.
    """
    check_method(method, WORD_METHODS, of=" for words", layer=layer, head=head)
    if method == "attention":
        stacks = word_attention_stack(
            model, images, tokens, words, prompt_length=prompt_length, geometries=geometries, context=context
        )
        return [word_attention(stack, layer=layer, head=head) for stack in stacks]
    geometries = checked_geometries(geometries, len(images))
    replay = replay_captions(model, images, tokens, words, prompt_length=prompt_length)
    rows = (_relevance if method == "relevance" else _rollout)(model, images, replay)
    return _maps(model, images, replay, rows, geometries, method=method, select=["encoder.*", "decoder.*.cross"])


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
    """Compute what every layer and head of the decoder attended to: one stack a picture, (layer, head, word, y, x).

    Takes and raises what `explain_words` does. `word_attention` turns a stack into the map by the method `attention`.
    """
    geometries = checked_geometries(geometries, len(images))
    replay = replay_captions(model, images, tokens, words, prompt_length=prompt_length)
    weights = _cross_attention(model, images, replay, context)  # (b, l, h, n, m)
    rows = [share @ of_picture for share, of_picture in zip(replay.shares, weights, strict=True)]  # (l, h, w, m)
    return _maps(model, images, replay, rows, geometries, method="attention", select="decoder.*.cross")


def replay_captions(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
) -> Replay:
    """Check captions as `explain_words` takes them, and lay them out for one pass of the decoder.

    Raises:
        ModelError: There are no pictures, or captions, pictures and words do not fit each other.
    """
    check_pictures(images)
    check_one_each(len(images), "pictures", tokens=tokens)
    rule = "at least 1, for nothing predicts the start token"
    require(prompt_length >= 1, "prompt_length", must=rule, value=prompt_length)
    return Replay.of(
        tokens,
        predicting_rows(tokens, [prompt_length] * len(tokens)),
        words,
        pad_token=model.config.decoder.pad_token,
        device=images.device,
        kind="caption",
        predicts=True,
    )


def _tap(
    model: Captioner, images: Tensor, replay: Replay, select: str | Sequence[str], *, gradients: bool = False
) -> Tap:
    sites = model.attention_sites(image_size(images), tokens=replay.inputs.shape[1])
    return Tap(sites, select=select, gradients=gradients)


def _maps(
    model: Captioner,
    images: Tensor,
    replay: Replay,
    rows: Sequence[Tensor],
    geometries: Sequence[Geometry | None],
    *,
    method: str,
    select: str | Sequence[str],
) -> list[AttentionMap]:
    """The maps of rows over picture tokens, which were computed from the selected sites."""
    sites = tuple(site.name for site in _tap(model, images, replay, select).sites)
    return [
        word_map(
            row,
            labels,
            grid=model.encoder.grid(image_size(images)),
            method=method,
            sites=sites,
            geometry=geometry,
            note=WORD_METHOD_NOTES[method],
        )
        for row, labels, geometry in zip(rows, replay.labels, geometries, strict=True)
    ]


@torch.no_grad()
def _cross_attention(
    model: Captioner, images: Tensor, replay: Replay, context: Tensor | ProjectedContext | None
) -> Float[Tensor, "b l h n m"]:
    """The decoder's attention to the picture in each layer and head, from every row of the captions."""
    tap = _tap(model, images, replay, "decoder.*.cross")
    context = model.encode(images) if context is None else context
    # logits of the last row alone: the vocabulary is the widest of all layers
    model.decoder(replay.inputs, context, last_only=True, tap=tap.at("decoder"))
    return torch.stack(list(tap.weights.values()), dim=1)


def _rollout(model: Captioner, images: Tensor, replay: Replay) -> list[Float[Tensor, "w m"]]:
    """The decoder's mean attention for each word, carried back through the encoder; for each picture."""
    tap = _tap(model, images, replay, "encoder.*")
    with torch.no_grad():
        context = model.encode(images, tap=tap)
    attention = _cross_attention(model, images, replay, context).mean(dim=(1, 2))  # (b, n, m)
    weights = list(tap.weights.values())
    return [
        rollout((share @ attention[i])[None], [block[i : i + 1] for block in weights])[0]
        for i, share in enumerate(replay.shares)
    ]


def _relevance(model: Captioner, images: Tensor, replay: Replay) -> list[Float[Tensor, "w m"]]:
    """Cross-attention that raised a word's log-probability, carried back through the encoder; for each picture.

    All rows count, not only the word's own: earlier rows attended to the picture as well, and self-attention passed on
    what they took. In the encoder the score is that of the whole caption, with one pass for all words.
    Source: Chefer et al. 2021, "Generic attention-model explainability", equations 5 and 10; there with one target.
    """
    of_encoder = _tap(model, images, replay, "encoder.*", gradients=True)
    of_decoder = _tap(model, images, replay, "decoder.*.cross", gradients=True)
    with torch.inference_mode(False), torch.enable_grad():
        context = model.encode(leaf(images), tap=of_encoder)
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        log_probs = replay.log_probs(model.decoder.forward(replay.inputs, context, tap=of_decoder.at("decoder")))
        weights = list(of_decoder.weights.values())
        rows: list[list[Tensor]] = [[] for _ in log_probs]
        for w in range(max(map(len, log_probs))):
            having = [i for i, of_caption in enumerate(log_probs) if w < len(of_caption)]
            # pictures do not mix, so each has its own gradient in that of the sum
            score = torch.stack([log_probs[i][w] for i in having]).sum()
            gradients = of_decoder.gradients(score, keep_graph=True).values()
            of_word = torch.stack(raising_blocks(weights, list(gradients))).sum(dim=(0, 2))  # (b, m)
            for i in having:
                rows[i].append(of_word[i])
        by_block = list(of_encoder.gradients(torch.cat(log_probs).sum()).values())
    blocks = list(of_encoder.weights.values())
    return [
        relevance(torch.stack(row)[None], [one[i : i + 1] for one in blocks], [one[i : i + 1] for one in by_block])[0]
        for i, row in enumerate(rows)
    ]
