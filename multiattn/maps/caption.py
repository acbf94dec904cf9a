"""Maps of a captioner: which patches each word of a caption was read from, as `AttentionMap`s over (word, y, x).

`replay_captions` lays captions out for one pass; the methods run it with taps and carry the decoder's cross-attention
back through the image encoder.

Notation: b pictures, n rows of a caption, w words, l layers, h heads, m picture tokens (prefix first, then patches).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..alignment.replay import Replay, predicting_rows
from ..attention import ProjectedContext, Tap
from ..checks import check_one_each, require
from ..inputs import Geometry, Word
from ..models import Captioner
from ..registry import task_spec
from .attention_map import AttentionMap
from .building import check_method, check_pictures, checked_geometries, image_size, word_attention, word_map
from .lrp import PropagationRules, TokensTap, check_has_rules
from .propagation import EmbeddingsAsLeaves, attended, leaf, normalized_relevance, of_part, raising_blocks, rollout
from .word_to_word import PROMPT, START, WORD_NOTES, among_words, words_map

WORD_METHOD_NOTES = {
    "attention": "The share of the decoder's attention, while it predicted the word, that went to each patch. "
    "It shows where the model looked, not what for.",
    "relevance": "Attention weighted by how much it raised the word's probability, followed back through both stacks. "
    "Bright patches raised the probability of the word.",
    "lrp": "The contribution of each patch to the word's log-probability, followed back from it through every "
    "operation. Patches above 0 raised the probability of the word, those below 0 lowered it.",
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
    rows = _METHODS[method](model, images, replay)
    select = ["encoder.*", "decoder.*.cross"] if method == "rollout" else "*"
    return _maps(model, images, replay, rows, geometries, method=method, select=select)


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


@torch.no_grad()
def caption_word_attention(
    model: Captioner,
    images: Float[Tensor, "b c H W"],
    tokens: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    prompt_length: int,
    context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
) -> list[AttentionMap]:
    """Compute which words before it the decoder attended to while it predicted each word of a caption.

    The queries are the words; the keys are the start token, the prompt if there is one, and the words. Takes and raises
    what `explain_words` does. Costs a pass of the decoder.
    """
    replay = replay_captions(model, images, tokens, words, prompt_length=prompt_length)
    tap = _tap(model, images, replay, "decoder.*.self")
    context = model.encode(images) if context is None else context
    model.decoder(replay.inputs, context, last_only=True, tap=tap.at("decoder"))
    weights = torch.stack(list(tap.weights.values()), dim=1)  # (b, l, h, n, n)
    names = [START] + [PROMPT] * (prompt_length > 1)
    others = torch.zeros(len(names), replay.inputs.shape[1])
    others[0, 0] = 1
    others[1:, 1:prompt_length] = 1
    found = []
    for of_picture, share, labels in zip(weights, replay.shares, replay.labels, strict=True):
        # a word is read by its own tokens, each one row after that which predicts it
        own = F.pad((share > 0).float(), (1, 0))[:, :-1]
        values = among_words(of_picture, share, torch.cat([others.to(own), own]))
        names_of_sites = [site.name for site in tap.sites]
        target, note = "".join(labels).strip(), WORD_NOTES["caption"]
        found.append(words_map(values, labels, [*names, *labels], sites=names_of_sites, target=target, note=note))
    return found


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
    """Attention that raised a word's log-probability, carried back through both stacks; for each picture.

    A word is read off the rows that predict it, which took from earlier rows what those had attended to. In the encoder
    the score is that of the whole caption, with one pass for all words.
    Source: Chefer et al. 2021, "Generic attention-model explainability", equations 5 to 11; there with one target.
    """
    of_encoder = _tap(model, images, replay, "encoder.*", gradients=True)
    of_decoder = _tap(model, images, replay, "decoder.*", gradients=True)
    with torch.inference_mode(False), torch.enable_grad(), EmbeddingsAsLeaves():
        context = model.encode(leaf(images), tap=of_encoder)
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        logits = model.decoder.forward(replay.inputs, context, tap=of_decoder.at("decoder"))
        scores = pad_sequence(replay.log_probs(logits), batch_first=True)  # (b, w)
        # pictures do not mix, so each has its own gradient in that of the sum
        by_word = [of_decoder.gradients(of_word.sum(), keep_graph=True) for of_word in scores.unbind(1)]
        by_block = list(of_encoder.gradients(scores.sum()).values())
    shares = pad_sequence(list(replay.shares), batch_first=True)  # (b, w, n)
    of_words = []
    for w, gradients in enumerate(by_word):
        selves, crosses = (
            raising_blocks(of_part(of_decoder.weights, kind), of_part(gradients, kind)) for kind in ("self", "cross")
        )
        found = attended(selves, crosses)  # (b, n, m)
        of_words.append((shares[:, w : w + 1] @ found)[:, 0])  # (b, m)
    rows = normalized_relevance(torch.stack(of_words, dim=1), list(of_encoder.weights.values()), by_block)  # (b, w, m)
    return [row[: len(share)] for row, share in zip(rows, replay.shares, strict=True)]


def _lrp(model: Captioner, images: Tensor, replay: Replay) -> list[Float[Tensor, "w m"]]:
    """The contributions of the picture's tokens to each word's log-probability; for each picture."""
    check_has_rules(model)
    sites = model.attention_sites(image_size(images), tokens=replay.inputs.shape[1])
    tap = TokensTap(sites, "encoder.blocks")
    with torch.inference_mode(False), torch.enable_grad(), PropagationRules():
        logits = model.decoder.forward(replay.inputs, model.encode(leaf(images), tap=tap))
        scores = pad_sequence(replay.log_probs(logits), batch_first=True)  # (b, w)
        rows = torch.stack([tap.contributions(of_word.sum(), keep_graph=True) for of_word in scores.unbind(1)], dim=1)
    return [row[: len(share)] for row, share in zip(rows, replay.shares, strict=True)]


_METHODS: dict[str, Callable[[Captioner, Tensor, Replay], list[Tensor]]] = {
    "relevance": _relevance,
    "lrp": _lrp,
    "rollout": _rollout,
}
