"""Maps of a text beside a picture: which of its words brought its embedding near the picture's.

The maps of the picture are those of a classifier whose classes are texts (`multiattn.models.text_classifier`): each
tower is a stack of its own, and what is followed back through both is the similarity of their embeddings.

Notation: r pairs of a picture and a text, n tokens, w words, E width of the embeddings.
Source: Chefer et al. 2021, "Generic attention-model explainability", and its example of CLIP.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..alignment.replay import word_labels
from ..attention import Site, Tap
from ..checks import check_one_each
from ..inputs import Word
from ..models import TwoTowers
from ..models.two_towers import paired_logits
from ..registry import task_spec
from .attention_map import AttentionMap, Axis
from .building import check_method
from .lrp import PropagationRules, TokensTap
from .masking import PICTURES_AT_ONCE, MaskedInput
from .propagation import EmbeddingsAsLeaves, relevance, rollout

MATCH_METHODS = task_spec("match").map_methods
"""The methods of `explain_texts`, and those of the maps of the picture."""

TEXT_NOTES = {
    "attention": "The share of the text tower's attention, in its last layer, that went to each word. "
    "It shows what the model read, not what for.",
    "rollout": "The share of each word in what the text tower read, as if attention were all that moves information.",
    "relevance": "Attention weighted by how much it raised the similarity to the picture, followed through all layers. "
    "High words brought the text near the picture.",
    "lrp": "The contribution of each word to the similarity to the picture, followed back from it through every "
    "operation. Words above 0 raised it, those below 0 lowered it.",
}
"""How to read the words of a text, by method."""


MATCH_NOTES = {
    "attention": "The share of the picture tower's attention that went to each patch. It shows where the model looked, "
    "not for which text.",
    "rollout": "The share of each patch in what the picture tower read, as if attention were all that moves "
    "information. It is the same for every text.",
    "relevance": "Attention weighted by how much it raised the similarity to this text, followed through all layers. "
    "Bright patches brought the picture near the text.",
    "lrp": "The contribution of each patch to the similarity to this text, followed back from it through every "
    "operation. Patches above 0 raised it, those below 0 lowered it.",
}
"""How to read the map of a picture, by method."""


def explain_texts(
    model: TwoTowers,
    pictures: Float[Tensor, "r E"],
    texts: Sequence[Sequence[int]],
    words: Sequence[Sequence[Word]],
    *,
    method: str,
    names: Sequence[str] | None = None,
) -> list[AttentionMap]:
    """Compute one map for each text, axes (word,): how much each word counts in its similarity to its picture.

    Args:
        model: In eval mode.
        pictures: The embedding of the picture of each text.
        texts: The tokens of each text, special ones included.
        words: Of each text, at least one; their pieces count from the first token after the start token.
        method: One of `MATCH_METHODS`.
        names: What each text is called, for `AttentionMap.target`; its words where None.

    Raises:
        ModelError: The method is unknown, or there are not as many pictures and words as texts.
    """
    check_method(method, MATCH_METHODS, of=" for texts", layer=None, head=None)
    check_one_each(len(texts), "texts", pictures=pictures, words=words)
    tokens, mask = (part.to(pictures.device) for part in model.config.text.padded(texts))
    sites = _sites(model, tokens.shape[1])
    rows = _METHODS[method](model, pictures, tokens, mask, sites).cpu()  # (r, n)
    first = int(model.config.text.has_start)
    used = sites[-1:] if method == "attention" else sites
    maps = []
    for i, (row, of_text) in enumerate(zip(rows, words, strict=True)):
        values = [row[[first + piece for piece in word.pieces]].sum().item() for word in of_text]
        labels = word_labels(of_text)
        maps.append(
            AttentionMap(
                values=np.array(values, dtype=np.float32),
                axes=(Axis("word", "word", labels=labels),),
                method=method,
                sites=tuple(site.name for site in used),
                heads=None,
                geometry=None,
                target="".join(labels).strip() if names is None else names[i],
                note=TEXT_NOTES[method],
            )
        )
    return maps


def _sites(model: TwoTowers, tokens: int) -> tuple[Site, ...]:
    """The attentions of the text tower."""
    return tuple(site for site in model.attention_sites(tokens=tokens) if site.name.startswith("text."))


def _read(model: TwoTowers, tokens: Tensor, mask: Tensor) -> Float[Tensor, "r 1 n"]:
    """Rows that are 1 at the token whose state stands for the text."""
    filled = model.text.filled(tokens, mask)
    return torch.nn.functional.one_hot(model.text.read_at(filled), filled.shape[1]).float()[:, None]


@torch.no_grad()
def _attention(model: TwoTowers, pictures: Tensor, tokens: Tensor, mask: Tensor, sites: tuple[Site, ...]) -> Tensor:
    tap = Tap(sites, select=sites[-1].name)
    model.encode_texts(tokens, mask, tap=tap)
    (weights,) = tap.weights.values()  # (r, h, n, n)
    return (_read(model, tokens, mask) @ weights.mean(dim=1))[:, 0]


@torch.no_grad()
def _rollout(model: TwoTowers, pictures: Tensor, tokens: Tensor, mask: Tensor, sites: tuple[Site, ...]) -> Tensor:
    tap = Tap(sites)
    model.encode_texts(tokens, mask, tap=tap)
    return rollout(_read(model, tokens, mask), list(tap.weights.values()))[:, 0]


def _relevance(model: TwoTowers, pictures: Tensor, tokens: Tensor, mask: Tensor, sites: tuple[Site, ...]) -> Tensor:
    tap = Tap(sites, gradients=True)
    with torch.inference_mode(False), torch.enable_grad(), EmbeddingsAsLeaves():
        gradients = tap.gradients(paired_logits(model, pictures, model.encode_texts(tokens, mask, tap=tap)).sum())
    rows = _read(model, tokens, mask)
    return relevance(rows, list(tap.weights.values()), list(gradients.values()))[:, 0]


def _lrp(model: TwoTowers, pictures: Tensor, tokens: Tensor, mask: Tensor, sites: tuple[Site, ...]) -> Tensor:
    tap = TokensTap(sites, "text.blocks")
    with torch.inference_mode(False), torch.enable_grad(), PropagationRules(), EmbeddingsAsLeaves():
        return tap.contributions(paired_logits(model, pictures, model.encode_texts(tokens, mask, tap=tap)).sum())


_METHODS: dict[str, Callable[[TwoTowers, Tensor, Tensor, Tensor, tuple[Site, ...]], Tensor]] = {
    "attention": _attention,
    "rollout": _rollout,
    "relevance": _relevance,
    "lrp": _lrp,
}


def masked_text(
    model: TwoTowers,
    picture: Float[Tensor, " E"],
    text: Sequence[int],
    words: Sequence[Word],
    others: Float[Tensor, "s E"],
    *,
    batch_size: int = PICTURES_AT_ONCE,
) -> MaskedInput:
    """Return a text, of which words can be left out; the picture stays as it is.

    Args:
        model: In eval mode.
        picture: The embedding of the picture.
        text: The tokens, special ones included.
        words: Of the text; their pieces count from the first token after the start token.
        others: The embeddings of the texts that the probability is shared with; empty where there are none.
        batch_size: Texts computed at once.
    """
    config = model.config.text
    first = int(config.has_start)
    device = picture.device

    def score(hidden: Bool[Tensor, "n words"]) -> Tensor:
        rows = []
        for row in hidden.tolist():
            gone = {
                first + piece for word, is_hidden in zip(words, row, strict=True) if is_hidden for piece in word.pieces
            }
            rows.append([token for i, token in enumerate(text) if i not in gone])
        tokens, mask = config.padded(rows)
        embeddings = model.encode_texts(tokens.to(device), mask.to(device)).float()
        found: Tensor = paired_logits(model, picture.expand_as(embeddings), embeddings)  # (n,)
        if model.config.scores == "sigmoid":
            return found.sigmoid()
        against = model.logits(picture[None], others.float()).expand(len(found), -1)  # (n, s)
        return torch.cat([found[:, None], against], dim=1).softmax(dim=1)[:, 0]

    return MaskedInput((len(words),), score, batch_size, device)
