"""`multiattn answer`: answers to questions about pictures, and where did the model look for each word of both?"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..inputs.files import PICTURES
from ..inputs.walk import Unusable
from .arguments import Option, Parser, UsageError, at_least_one, not_blank, not_empty
from .inputs import check_out
from .map_files import Written
from .map_options import CHECK, MAP_FILES, ON_PAGE, results_of
from .options import BAD_FILES, INPUTS, MANY, RECORDS, WRITING, beams, listed_files, model_of, paths_of, writing
from .predict import Job, Predictor
from .questions_file import read_answers, read_questions
from .records import Column
from .result_lines import block, domain_line, score_line, verdict_lines
from .runtime import RUNTIME

if TYPE_CHECKING:
    from ..pipelines import Answer

_DESCRIPTION = """\
Answer questions about pictures, in the order of the inputs, each picture as
soon as it is ready; a picture is encoded once for all questions about it. With
--maps, also writes where the model looked for each word of the question and of
the answer: pictures, numbers, and pages to explore.
"""

_COLUMNS = """\
file, question, answer, score, candidates, question_words, words,
    first_token"""

_EPILOG = f"""\
map methods
  attention         cross-attention of the question's words, and through them of
                    the answer's: mean of all layers and heads, or of the
                    pointing heads that the model's directory states
  relevance         attention weighted by how much it raised the answer's score,
                    followed back through question and picture (Chefer et al.
                    2021)
  rollout           attention followed back through the encoder (Abnar & Zuidema
                    2020)
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one self-contained page for all its questions; each word of
                    question and answer shows its map; every layer and head too,
                    where those of all questions take at most 16 MB
  NAME.METHOD.png   the picture again for each word, with the word's map over it
{MAP_FILES.format("picture")}

{CHECK}
These numbers are for the words of the answer; those for the question are in
NAME.METHOD.question.npz. The second question about a picture has NAME.2 instead
of NAME, and so on; they share the page.

examples
  multiattn answer photo.jpg --question 'what is on the table?'
  multiattn answer photos/ --question 'how many?' --question 'what color is it?'
  multiattn answer --questions data/test/metadata.jsonl --format json
  multiattn answer photo.jpg --question 'what is it?' --answers animals.txt
  multiattn answer photo.jpg --question 'is it red?' --maps out/

with --format json, each line is one object ("maps" only with --maps)
  {{"file": "cat.jpg", "question": "what is it?", "answer": "a cat",
   "score": 0.83, "candidates": [{{"answer": "a cat", "score": 0.83}}, ...],
   "question_words": [{{"word": "what", "start": 0, "end": 4}}, ...],
   "words": [{{"word": "a", "start": 0, "end": 1, "probability": 0.9}}, ...],
   "first_token": "[ENC]",
   "maps": {{"attention": {{"html": "out/cat.html", "png": ..., "npz": ...,
                          "json": ...}}, ...}}}}
score is the answer's probability: among the list it was chosen from, or the
product over its tokens where the model writes; start and end are indices of
characters in the question or the answer.

{RECORDS.format(_COLUMNS)}

{INPUTS.format("picture", "256 MiB")}

{MANY.format("picture")}

{BAD_FILES.format("picture")}
The same holds for a question that the model cannot read; one from --questions
is named by its line. A picture unlike the training pictures, and a question
with words that no training question had, are answered, but marked, where the
model states what it was trained on: "out of domain" in a line there and in the
text, "out_of_domain" in JSON. Words that the model's vocabulary lacks are named
there, too. In either case the exit status is 0.
"""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(PICTURES, nargs="*"),
        listed_files(),
        Option("--question", "Q", not_blank, "what to ask about every PATH; repeat it to ask more", action="append"),
        Option(
            "--questions",
            "FILE",
            not_empty,
            "instead of PATH and --question: pictures and what to ask about each, lines of JSON with `file_name` "
            "(from FILE's folder) and `question`, or a .csv with these columns",
        ),
        Option(
            "--answers",
            "FILE",
            not_empty,
            "the answers to choose from, one a line; for a model with a list, some of that list (default: its whole "
            "list, or any text that it writes)",
        ),
        model_of("answer"),
        Option(
            "--top-k",
            "K",
            at_least_one,
            "answers to give for each question (default: 5, or as many as --beams)",
        ),
        Option(
            "--first-token",
            "NAME",
            not_empty,
            "the token that the question begins with, by name or number; for published BLIP weights '[ENC]', as "
            "they were trained, or '[CLS]', as transformers runs them (default: the model's own)",
        ),
        beams(
            "for a model that writes: beams of the search; 1 takes the most likely token each time (default: the "
            "model's own, or 3; at least --top-k)"
        ),
        *writing("written answer"),
        *results_of("answer"),
        RUNTIME,
        prog="multiattn answer",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Answer; return 0 where every picture and question could be used."""
    return AnswerQuestions(args).run()


class AnswerQuestions(Predictor["Answer"]):
    """One run of the command."""

    task = "answer"
    columns = (
        Column("question"),
        Column("answer"),
        Column("score", is_number=True),
        Column("candidates"),
        Column("question_words"),
        Column("words"),
        Column("first_token"),
    )
    options = ("top_k", "first_token", "num_beams", *WRITING)

    def __init__(self, args: argparse.Namespace) -> None:
        if args.questions and (args.paths or args.question or args.files):
            raise UsageError("--questions names pictures and their questions; leave out PATH and --question")
        if not args.questions and not args.paths and not args.files:
            raise UsageError("the following arguments are required: PATH (or --questions FILE, which names pictures)")
        if not args.questions and not args.question:
            raise UsageError("--question Q (or --questions FILE) must say what to ask")
        if args.answers and args.num_beams:
            raise UsageError("--beams says how to write an answer, and --answers what to choose it from; give one")
        super().__init__(args)

    def _check_paths(self) -> None:
        if not self.args.questions:
            super()._check_paths()

    def jobs(self) -> Iterator[Job | Unusable]:
        """Find the pictures with their questions."""
        if self.args.questions:
            jobs = read_questions(self.args.questions)
            check_out(self.out, [job.file for job in jobs if isinstance(job.file, Path)])
            return iter(jobs)
        return (Job(one.file, self.args.question) if isinstance(one, Job) else one for one in super().jobs())

    def _settings(self) -> dict[str, str]:
        settings = super()._settings()
        if self.args.answers:
            settings["--answers"] = hashlib.sha256(Path(self.args.answers).read_bytes()).hexdigest()[:16]
        return settings

    def stream_options(self) -> dict[str, object]:
        """What the pipeline's `stream` is given beside the inputs."""
        answers = read_answers(self.args.answers) if self.args.answers else None
        found = super().stream_options() | {"answers": answers}
        # the page has maps for each of the first answers of a closed list, chosen by a click
        return found | ({"map_labels": ON_PAGE} if self.args.maps and "html" in self.map_formats else {})

    def save_page(self, results: "Sequence[Answer]", path: str) -> None:
        """Write one page for all questions about a picture."""
        from ..pipelines import save_answers

        save_answers(results, path, **self.page_options(results))

    def remark(self, result: "Answer") -> str | None:
        """Say in one line what is unlike the training data, and which words the model could not read."""
        mark, unknown = result.out_of_domain, result.unknown_words
        if mark is not None and (mark.words or not unknown):
            about = f", {result.question!r}" if mark.words else ""
            return f"{result.file}{about}: out of domain: {mark}; the answer may mean nothing"
        if not unknown:
            return None
        also = "" if mark is None else f"; and {result.file} is out of domain: {mark}"
        words = ", ".join(unknown)
        return (
            f"the question {result.question!r} is answered without what the model's vocabulary does not know: {words}"
            + also
        )

    @staticmethod
    def as_text(result: "Answer", written: Written | None) -> str:
        """Return the file and the question, the answers, and the path of the page."""
        lines = [score_line(candidate.score, candidate.text) for candidate in result.candidates]
        return block(
            f"{result.file}: {result.question}", [*lines, *verdict_lines(result), *domain_line(result)], written
        )
