"""`multiattn evaluate match`: how often do pictures and their texts find each other?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Option, at_least_one
from .evaluate import Evaluator as BaseEvaluator
from .evaluate import Figures
from .match import say_cut

if TYPE_CHECKING:
    from ..metrics.retrieval import RetrievalScores
    from ..pipelines import Failure
    from ..pipelines.match_results import Similarities

_GROUPS = Option(
    "--groups",
    "N",
    at_least_one,
    "also compare only within groups of N pictures, in the order of the data (a smaller rest is left out)",
)


class Evaluator(BaseEvaluator[Path, Sequence[str], "Similarities"]):
    """Measures retrieval among pictures and the texts that people wrote about them, both ways."""

    measures = """\
figures of a model that matches pictures and texts
  text_r1, text_r5, text_r10
         how often one of a picture's own texts is among the 1, 5, 10 that fit
         it best, of the texts of all pictures
  picture_r1, picture_r5, picture_r10
         how often a text's own picture is among the 1, 5, 10 that fit it best
  groups the same within groups of N pictures, with --groups N
"""
    data = """\
  for matches  as for captions
"""
    examples = """\
  multiattn evaluate match --data flickr8k --split test --groups 100 --model M
"""
    output = """\
  {"text_r1": 0.21, "text_r5": 0.48, "text_r10": 0.61, "picture_r1": 0.17,
   "picture_r5": 0.42, "picture_r10": 0.56, "groups": {"size": 100, "text_r1":
   0.44, ...}, "texts": 2500, "items": 500, "skipped": 0, "model": "match",
   "data": "flickr8k", "split": "test"}
"""
    own_options = (_GROUPS,)
    options = ("captions", "pictures", "groups")

    def read(self) -> Sequence[tuple[Path, Sequence[Sequence[str]]]]:
        """Read the pictures, each with its texts."""
        from ..data.captions import read_captions

        args = self.args
        records = read_captions(args.data, args.split, captions=args.captions, pictures=args.pictures)
        return [(path, (texts,)) for path, texts in records.items]

    def results(self, items: Sequence[tuple[Path, Sequence[Sequence[str]]]]) -> "Iterator[Similarities | Failure]":
        """Load the model, encode the texts of all pictures, and return how well each picture fits each text."""
        import multiattn

        args = self.args
        pipeline = multiattn.load(args.model, task="match", device=args.device, precision=args.precision)
        owners = [(index, text) for index, (_, (texts,)) in enumerate(items) for text in texts]
        self._owners = [index for index, _ in owners]
        encoded = pipeline.encode_texts([text for _, text in owners])
        say_cut(encoded)
        return pipeline.similarities(
            (path for path, _ in items),
            texts=encoded,
            batch_size=args.batch_size,
            strict=True,
            max_pixels=args.max_pixels,
        )

    def figures(self, truths: Sequence[Sequence[str]], results: "Sequence[Similarities]") -> Figures:
        """Compute the recalls, without the texts of pictures that could not be used."""
        import numpy as np

        from ..metrics.retrieval import retrieval_scores

        rows = {result.index: row for row, result in enumerate(results)}
        columns = [column for column, owner in enumerate(self._owners) if owner in rows]
        owners = [rows[self._owners[column]] for column in columns]
        similarities = np.stack([result.values[columns] for result in results])
        scores = {"all": retrieval_scores(similarities, owners)}
        values: dict[str, object] = dict(asdict(scores["all"]))
        if (size := self.args.groups) is not None:
            scores[f"groups of {min(size, len(results))}"] = found = retrieval_scores(similarities, owners, group=size)
            values["groups"] = {"size": min(size, len(results)), **asdict(found)}
        return Figures(values | {"texts": len(columns)}, _table(scores, texts=len(columns)))


def _table(scores: "dict[str, RetrievalScores]", *, texts: int) -> list[str]:
    """Return a row for each direction, among all and in groups."""
    width = max(map(len, scores))
    lines = [f"{'':{width}}  {'text of a picture':^23}  {'picture of a text':^23}  ({texts} texts)"]
    lines.append(f"{'':{width}}" + "  {:>7} {:>7} {:>7}".format("R@1", "R@5", "R@10") * 2)
    for name, one in scores.items():
        found = asdict(one)
        halves = [" ".join(f"{found[f'{side}_r{at}']:7.1%}" for at in (1, 5, 10)) for side in ("text", "picture")]
        lines.append(f"{name:{width}}  {halves[0]}  {halves[1]}")
    return lines
