"""`multiattn match`: how well do these texts fit these pictures?"""

import argparse
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..inputs.files import PICTURES
from .arguments import Option, Parser, UsageError, not_blank
from .map_files import Written
from .map_options import CHECK, MAP_FILES, ON_PAGE, results_of
from .options import BAD_FILES, INPUTS, MANY, RECORDS, listed_files, model_of, paths_of
from .output import printable, say
from .predict import Predictor
from .records import Column, Record
from .result_lines import block, verdict_lines

if TYPE_CHECKING:
    from ..pipelines import MatchResult
    from ..pipelines.match_texts import Texts


_DESCRIPTION = """\
Say how well texts fit pictures, in the order of the inputs, each picture as
soon as it is ready; the texts are encoded once. Prints, best first, each text
with its probability and the similarity of its embedding to the picture's. With
--maps, also writes which patches and which words made the best text fit.
"""

_EPILOG = f"""\
The probability of a text is its share among the texts given (CLIP), so that one
text alone has 100 %, or, of a model with a sigmoid (SigLIP), that of the pair by
itself. The similarity, a cosine from -1 to 1, does not depend on other texts.
Of a text that is longer than the model reads, the beginning is used, and a line
on standard error says so.

map methods, each for the picture's tower and for the text's
  attention         attention of the last layer, mean of its heads
  rollout           attention followed back through all layers (Abnar & Zuidema
                    2020)
  relevance         attention weighted by how much it raised the similarity,
                    followed through all layers (Chefer et al. 2021, on CLIP)
  lrp               the contribution of each patch and word to the similarity,
                    through every operation (Achtibat et al. 2024)
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one self-contained page: the picture with the maps over it,
                    the words of the text in the shade of what each counts
  NAME.METHOD.png   the same as a picture; the words' numbers are in
                    NAME.METHOD.text.npz
{MAP_FILES.format("picture")}

{CHECK}
For a match 24 passes, half of them without words of the text.

examples
  multiattn match photo.jpg --text 'a dog' --text 'a cat' --maps out/ --model M
  multiattn match photo.jpg --text 'a dog on grass' --text 'two dogs' --model M
  multiattn match photos/ --text 'a red shirt' --format json --model M

with --format json, each line is one object, the texts in the order given
  {{"file": "dog.jpg", "texts": [{{"text": "a dog on grass", "score": 0.97,
   "similarity": 0.31}}, ...]}}
of a model with a sigmoid, with "score_kind": "independent probability"

{RECORDS.format("file, text, score, similarity (of the best text), texts, score_kind")}

{INPUTS.format("picture", "256 MiB")}

{MANY.format("picture")}

{BAD_FILES.format("picture")}
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(PICTURES, nargs="*"),
        listed_files(),
        Option(
            "--text", "T", not_blank, "a text to compare with every picture; repeat it for several", action="append"
        ),
        model_of("match"),
        *results_of("match"),
        prog="multiattn match",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Match; return 0 where every picture could be used."""
    return Match(args).run()


class Match(Predictor["MatchResult"]):
    """One run of the command."""

    task = "match"
    columns = (
        Column("text"),
        Column("score", is_number=True),
        Column("similarity", is_number=True),
        Column("texts"),
        Column("score_kind"),
    )

    def __init__(self, args: argparse.Namespace) -> None:
        if not args.text:
            raise UsageError("--text T must say what to compare the pictures with")
        super().__init__(args)

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs."""
        # the page has a map for each text that is shown, chosen by a click
        on_page = min(len(self.args.text), ON_PAGE) if self.args.maps and "html" in self.map_formats else 0
        return super().stream_options() | {"texts": self._texts, "map_labels": on_page if on_page > 1 else 0}

    def loaded(self, pipeline: Any) -> None:
        """Encode the texts, and say which are longer than the model reads."""
        from ..pipelines.match_texts import checked_texts

        self._texts = pipeline.encode_texts(checked_texts(self.args.text, "texts"))
        say_cut(self._texts, quiet=self._quiet or self._is_worker)
        if self.args.target is not None and self.args.target not in self.args.text:
            raise UsageError(
                f"--target must be one of the texts, but is {self.args.target!r} instead: add it as --text"
            )

    def flat(self, record: Record) -> Record:
        """Add the columns of the best text."""
        texts = record.get("texts")
        if isinstance(texts, list):
            record |= max(texts, key=itemgetter("score", "similarity"))
            record.setdefault("score_kind", "probability")
        return record

    @staticmethod
    def as_text(result: "MatchResult", written: Written | None) -> str:
        """Return the file and its texts, best first."""
        best_first = sorted(result.matches, key=lambda one: (-one.score, -one.similarity))
        lines = [f"{one.score:6.1%}  {one.similarity:+.3f}  {printable(one.text)}" for one in best_first]
        words = [f"words  {' '.join(f'{printable(one.word)} {one.value:.3g}' for one in result.words)}"]
        lines += words if result.words else []
        return block(str(result.file), [*lines, *verdict_lines(result)], written)


def say_cut(texts: "Texts", *, quiet: bool = False) -> None:
    """Say in one line which texts are longer than the text tower reads, if any."""
    if texts.cut and not quiet:
        first = printable(texts.cut[0] if len(texts.cut[0]) <= 60 else f"{texts.cut[0][:60]} ...")
        some = "1 text is" if len(texts.cut) == 1 else f"{len(texts.cut)} texts are"
        say(f"{some} longer than the model reads ({texts.longest} tokens), and cut there: {first}")
