"""The maps of a match: of the picture, as a classifier whose labels are the texts, and of the words of the text."""

from collections.abc import Sequence
from dataclasses import fields, replace

from jaxtyping import Float
from torch import Tensor

from ..maps import MATCH_NOTES, AttentionMap, Checked, explain_texts, judge, masked_text
from ..maps.image import BY_CLASS
from ..models import TwoTowers
from .classify import ClassifyPipeline
from .image_results import PictureMap
from .map_request import MapRequest
from .match_results import MatchMap, TextWord
from .match_texts import Texts
from .pictures import Prepared
from .verdicts import MIDDLE_WORDS


class MatchExplainer:
    """Explains how well texts fit pictures.

    Args:
        towers: The model.
        classifier: The same model as a classifier, whose labels are the texts.
        texts: The texts.
        request: The maps asked for.
    """

    def __init__(self, towers: TwoTowers, classifier: ClassifyPipeline, texts: Texts, request: MapRequest) -> None:
        self._towers, self._classifier, self._texts, self._request = towers, classifier, texts, request

    def __call__(
        self, batch: list[Prepared], pictures: Float[Tensor, "b E"], logits: Float[Tensor, "b r"]
    ) -> list[tuple[MatchMap, ...]]:
        """Return the maps of each picture, one for each method; none where none were asked for.

        A text without a word that the model reads has no maps.

        Args:
            batch: The pictures.
            pictures: Their embeddings.
            logits: Of every picture with every text.
        """
        request = self._request
        if not request.methods:
            return [()] * len(batch)
        found = self._classifier.explained(batch, request=request, top_k=len(self._texts.texts))
        best = logits.argmax(dim=1).tolist()
        targets = [one if request.target is None else request.target for one in best]
        ranks = logits.topk(min(request.labels, logits.shape[1])).indices.T.tolist()
        texts = {method: self._of_texts(method, pictures, targets) for method in request.methods}
        by_rank = {
            method: [self._of_texts(method, pictures, of_rank) for of_rank in (ranks if method in BY_CLASS else ())]
            for method in request.methods
        }
        shown = []
        for i, result in enumerate(found):
            maps = []
            for one in result.maps:
                if (text := texts[one.map.method][i]) is None:
                    continue
                others = [of_rank[i] for of_rank in by_rank[one.map.method]]
                maps.append(
                    MatchMap(
                        **{name: getattr(one, name) for name in _FIELDS},
                        map=_noted(one.map),
                        by_label=tuple(map(_noted, one.by_label)),
                        checked=self._checked(one, text, pictures[i], targets[i]),
                        text=text,
                        explained=self._texts.texts[targets[i]],
                        by_text=tuple(other for other in others if other is not None),
                    )
                )
            shown.append(tuple(maps))
        return shown

    def words(self, shown: tuple[MatchMap, ...]) -> tuple[TextWord, ...]:
        """Return the words of the text that the first of some maps explains."""
        if not shown:
            return ()
        index = self._texts.texts.index(shown[0].explained)
        values = shown[0].text.values.tolist()
        return tuple(
            TextWord(word.text, word.start, word.end, value)
            for word, value in zip(self._texts.words[index], values, strict=True)
        )

    def _of_texts(self, method: str, pictures: Tensor, indices: Sequence[int]) -> list[AttentionMap | None]:
        """The map of one text for each picture; None for a text without words."""
        texts = self._texts
        having = [i for i, index in enumerate(indices) if texts.words[index]]
        found: list[AttentionMap | None] = [None] * len(indices)
        if having:
            chosen = [indices[i] for i in having]
            maps = explain_texts(
                self._towers,
                pictures[having],
                [texts.tokens[index] for index in chosen],
                [texts.words[index] for index in chosen],
                method=method,
                names=[texts.texts[index] for index in chosen],
            )
            for i, one in zip(having, maps, strict=True):
                found[i] = one
        return found

    def _checked(self, shown: PictureMap, text: AttentionMap, picture: Tensor, target: int) -> Checked | None:
        """The verdict on a picture's map, with the one on the words of its text."""
        if shown.checked is None:
            return None
        texts = self._texts
        others = [i for i in range(len(texts.texts)) if i != target]
        masked = masked_text(self._towers, picture, texts.tokens[target], texts.words[target], texts.embeddings[others])
        return replace(shown.checked, question=judge(text.values, masked, place=MIDDLE_WORDS), asked="text")


_FIELDS = tuple(one.name for one in fields(PictureMap) if one.name not in ("checked", "map", "by_label"))


def _noted(one: AttentionMap) -> AttentionMap:
    return replace(one, note=MATCH_NOTES[one.method])
