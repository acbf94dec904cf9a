"""`multiattn answer`: what is the answer, and where did the model look for each word of the question and of it?"""

import argparse
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from .inputs import BAD_FILES, MAP_FILES, add_paths, status
from .map_files import MapFiles, Written
from .options import ANSWER_METHODS, Parser, add_model, at_least_one, not_blank, not_empty
from .output import Report, printable, spinner
from .pictures import add_results, check_out, find_pictures, map_methods_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..pipelines import Answer, Failure
    from .questions_file import Asked

_DESCRIPTION = """\
Answer questions about pictures, in the order of the inputs, each picture as
soon as it is ready; a picture is looked at once for all questions about it.
With --maps, also writes where the model looked for each word of the question
and of the answer: pictures, numbers, and pages to explore.
"""

_EPILOG = f"""\
map methods
  attention         what the question's words looked at, and through them the
                    answer's: mean of all layers and heads, or of those that the
                    model's directory says point
  relevance         attention weighted by how much it raised the answer's score,
                    followed back through question and picture (Chefer et al.
                    2021)
  rollout           attention followed back through the encoder (Abnar & Zuidema
                    2020)
  all               all of these

files in the --maps folder, for a picture NAME.jpg
  NAME.html         one page, complete in itself, for all its questions; each
                    word of question and answer shows its map; every layer and
                    head too, where those of all questions take at most 16 MB
  NAME.METHOD.png   the picture again for each word, with the word's map over it
{MAP_FILES.format("picture")}
These numbers are of the answer's words; those of the question's are in
NAME.METHOD.question.npz. The second question about a picture has NAME.2 in
place of NAME, and so on; the page is one for all.

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
score is the answer's probability: among the list it was chosen from, or of all
its tokens together where the model writes; start and end are characters of the
question or the answer.

{BAD_FILES.format("picture")}
So it is with a question that the model cannot read; one of --questions is named
by its line. Words of a question that the model's vocabulary does not know are
named there, too; the question is still answered, and the exit status is 0.
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn answer", description=_DESCRIPTION, epilog=_EPILOG)
    add_paths(parser, nargs="*")
    parser.add_argument(
        "--question",
        metavar="Q",
        type=not_blank,
        action="append",
        help="what to ask about every PATH; repeat it to ask more",
    )
    parser.add_argument(
        "--questions",
        metavar="FILE",
        type=not_empty,
        help="instead of PATH and --question: pictures and what to ask about each, lines of JSON with `file_name` "
        "(from FILE's folder) and `question`, or a .csv with these columns",
    )
    parser.add_argument(
        "--answers",
        metavar="FILE",
        type=not_empty,
        help="the answers to choose from, one a line; where the model has a list, of that list (default: all of its "
        "list, or whatever it writes)",
    )
    add_model(parser, task="answer")
    parser.add_argument(
        "--top-k",
        metavar="K",
        type=at_least_one,
        help="answers to give for each question (default: 5, or as many as --beams)",
    )
    parser.add_argument(
        "--first-token",
        metavar="NAME",
        type=not_empty,
        help="for published BLIP weights: '[ENC]', with which they were trained, or '[CLS]', with which transformers "
        "runs them; any token that the question is to begin with, by name or number (default: the model's own)",
    )
    parser.add_argument(
        "--beams",
        dest="num_beams",
        metavar="N",
        type=at_least_one,
        help="of a model that writes: texts that the search keeps at once; 1 takes the likeliest token each time "
        "(default: the model's own, or 3; as many as --top-k)",
    )
    add_results(parser, methods=ANSWER_METHODS, default_method="attention")
    return parser


def run(args: argparse.Namespace) -> int:
    """Answers; returns 0 when every picture and question could be used."""
    _check_usage(args)
    methods = map_methods_of(args, parser())
    with spinner("loading the model"):
        import multiattn

        from .questions_file import read_answers, read_questions, same_for_all

        unusable = 0
        if args.questions:
            asked = read_questions(args.questions)
            check_out(args, parser(), [one.picture for one in asked])
        else:
            pictures, unusable = find_pictures(args, parser())
            asked = same_for_all(pictures, args.question)
        if not asked:
            return 1
        answers = read_answers(args.answers) if args.answers else None
        map_files = MapFiles(args.maps) if args.maps else None
        pipeline = multiattn.load(args.model, task="answer", device=args.device)
        results = pipeline.stream(
            ((one.picture, one.questions) for one in asked),
            answers=answers,
            maps=methods,
            batch_size=args.batch_size,
            top_k=args.top_k,
            first_token=args.first_token,
            num_beams=args.num_beams,
        )
    total = sum(len(one.questions) for one in asked)
    failures = unusable + _work_through(args, asked, results, map_files)
    return status(failures, unusable + total)


def _check_usage(args: argparse.Namespace) -> None:
    if args.questions and (args.paths or args.question):
        parser().error("--questions names pictures and their questions; leave out PATH and --question")
    if not args.questions and not args.paths:
        parser().error("the following arguments are required: PATH (or --questions FILE, which names pictures)")
    if not args.questions and not args.question:
        parser().error("--question Q (or --questions FILE) must say what to ask")
    if args.answers and args.num_beams:
        parser().error("--beams says how to write an answer, and --answers what to choose it from; give one")


def _work_through(
    args: argparse.Namespace,
    asked: "list[Asked]",
    results: "Iterator[Answer | Failure]",
    map_files: MapFiles | None,
) -> int:
    """Writes the results, those of one picture together; returns how many there were not."""
    failures = 0
    told: set[str] = set()  # what is wrong with a question is said once, not for every picture
    with Report(len(asked), out=args.out, doing="answering") as report:
        for one in asked:
            of_picture = list(islice(results, len(one.questions)))
            answers = [result for result in of_picture if result.error is None]
            has_page = map_files and any(answer.maps for answer in answers)
            files = iter(map_files.write_answers(answers) if map_files and has_page else [])
            told_of_picture: list[Exception] = []  # of a picture that cannot be used, all questions fail of one error
            for number, result in enumerate(of_picture):
                if result.error is not None:
                    failures += 1
                    message = f"{one.places[number]}: {result.error}" if one.places else str(result.error)
                    if message not in told and not any(result.error is error for error in told_of_picture):
                        told.add(message)
                        told_of_picture.append(result.error)
                        report.message(message)
                    continue
                if (unknown := _unknown(result)) and unknown not in told:
                    told.add(unknown)
                    report.message(unknown)
                written = next(files, None)
                report.result(as_json(result, written) if args.format == "json" else as_text(result, written))
            report.advance()
    return failures


def _unknown(result: "Answer") -> str | None:
    """What is to be said of words that the model could not read."""
    if not result.unknown_words:
        return None
    words = ", ".join(result.unknown_words)
    return f"the question {result.question!r} is answered without what the model's vocabulary does not know: {words}"


def as_text(result: "Answer", written: Written | None) -> str:
    """A block to read: the file and the question, the answers, and where the page lies."""
    lines = [f"{printable(result.file)}: {printable(result.question)}"]
    lines += [f"  {candidate.score:6.1%}  {printable(candidate.text)}" for candidate in result.candidates]
    if written:
        lines.append(f"    maps  {printable(written.page)}")
    return "\n".join(lines)


def as_json(result: "Answer", written: Written | None) -> str:
    """One line, one object."""
    line: dict[str, Any] = {
        "file": result.file,
        "question": result.question,
        "answer": result.answer,
        "score": result.score,
        "candidates": [{"answer": one.text, "score": one.score} for one in result.candidates],
        "question_words": [{"word": word.text, "start": word.start, "end": word.end} for word in result.question_words],
        "words": [
            {"word": word.text, "start": word.start, "end": word.end, "probability": word.probability}
            for word in result.words
        ],
        "first_token": result.first_token,
    }
    if written and result.maps:
        line["maps"] = written.by_method
    return json.dumps(line)
