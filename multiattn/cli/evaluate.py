"""`multiattn evaluate`: how good is a model on data of which the right answers are known?"""

import argparse

from .options import Parser, add_compute, add_format, at_least_one, not_empty

_DESCRIPTION = """\
Measure a classifier on labeled pictures, a captioner on pictures with captions
that people wrote, a recognizer on recordings of which it is known what is said,
or a model that answers on pictures with questions that people answered. A
classifier's labels are matched to the data's classes by name.
"""

_EPILOG = """\
what is measured of a classifier
  top1   share of the pictures whose label is the model's first choice
  top5   share of the pictures whose label is among its first five
  ece    expected calibration error: how far the stated probability is from the
         share that is right, in the mean over 15 bins (Guo et al. 2017); 0 is a
         model that can be taken at its word

what is measured of a captioner (by the published definitions, without Java)
  bleu1, bleu2, bleu3, bleu4
         runs of one to four words that are in a reference too
  meteor words matched with the best reference, exactly or by their stem;
         without synonyms and paraphrases, so a little below Meteor 1.5
  rouge_l   longest common subsequence with a reference
  cider  CIDEr-D: likeness to the references, rare words counting more; 0 to 10
  self_retrieval   how often a caption is more like its own picture's references
         than like those of 99 other pictures: a model that says the same of
         every picture gets 0.01

what is measured of a recognizer
  wer    word error rate: words that are others, missing or put in, over the
         words that were said
  cer    the same of characters
  both after --normalizer: english, Whisper's rules (numbers in figures,
  contractions in full, no punctuation; but without its table of British
  spellings); basic, lower case without punctuation; none
  "one two three" is one word by the English rules: take basic for digits

what is measured of answers (compared in lower case, without punctuation and
articles, with numbers up to ten in figures)
  accuracy      share that is the answer most people gave
  vqa_accuracy  right in full where three others gave it, by a third where one
         did, each person left out in turn (Antol et al. 2015)
  by_type       accuracy by the data's `type`, or the question's first two words
  --baselines   question_only: the same model, but each picture is of the mean
         color everywhere; most_frequent: for each type the most frequent
         answer of the train split
  WUPS, which lets a near word pass, is left out: it needs WordNet

data
  FOLDER/SPLIT/CLASS/*.jpg, or FOLDER/SPLIT/metadata.jsonl (or metadata.csv)
  with the columns file_name and label; for captions file_name and text or texts
  COCO and Flickr8k as published: --captions and --pictures ({split} in them is
  the name of the split)
  for answers file_name, question, and answer or answers (a list of what several
  people said), and type where known; VQA v2 as published: --questions,
  --annotations and --pictures
  recordings: file_name and text, or LibriSpeech's folders as published;
  --join makes 400 fixed recordings of 1 to 8 short ones each, with pauses and
  noise

examples
  multiattn evaluate classify --data .data/cifar10
  multiattn evaluate classify --data pets --split test --model runs/pets/model
  multiattn evaluate caption --data flickr8k --split test --beams 3
  multiattn evaluate caption --data coco --limit 500 --pictures {split}2017 \\
      --captions annotations/captions_{split}2017.json
  multiattn evaluate transcribe --data LibriSpeech --split test-clean --model M
  multiattn evaluate transcribe --data .data/fsdd --join --normalizer basic
  multiattn evaluate answer --data .data/easy-vqa --baselines

with --format json, one object
  {"top1": 0.84, "top5": 0.99, "ece": 0.02, "items": 10000, "skipped": 0,
   "model": "classify", "data": "pets", "split": "test"}
  {"bleu1": 0.61, "bleu2": 0.42, "bleu3": 0.28, "bleu4": 0.18, "meteor": 0.19,
   "rouge_l": 0.44, "cider": 0.45, "self_retrieval": 0.41, "items": 500,
   "skipped": 0, "model": "caption", "data": "flickr8k", "split": "test"}
  {"wer": 0.0123, "cer": 0.0098, "substitutions": 9, "deletions": 7,
   "insertions": 6, "words": 1800, "normalizer": "basic", "items": 400,
   "skipped": 0, "model": "transcribe", "data": "digits", "split": "validation"}
  {"accuracy": 0.99, "vqa_accuracy": 0.99, "by_type": {"what color":
   {"accuracy": 1.0, "items": 880}, ...}, "baselines": {"question_only":
   {"accuracy": 0.52, ...}, "most_frequent": {...}}, "items": 4847,
   "skipped": 0, "model": "answer", "data": "easy-vqa", "split": "validation"}

A file that cannot be read is named on standard error, left out and counted
as skipped, and the exit status is 1.
"""

_MADE = {"caption": "captions", "transcribe": "transcripts", "answer": "answers"}
_ONLY = {  # options, and the tasks that have them
    "num_beams": ("caption", "transcribe", "answer"),
    "captions": ("caption",),
    "pictures": ("caption", "answer"),
    "questions": ("answer",),
    "annotations": ("answer",),
    "baselines": ("answer",),
    "normalizer": ("transcribe",),
    "language": ("transcribe",),
    "join": ("transcribe",),
}


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn evaluate", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "task",
        metavar="TASK",
        choices=("classify", "caption", "transcribe", "answer"),
        help="classify, caption, transcribe or answer",
    )
    parser.add_argument("--data", metavar="FOLDER", type=not_empty, required=True, help="the files (see below)")
    parser.add_argument(
        "--split",
        metavar="NAME",
        type=not_empty,
        default="validation",
        help="sub-folder to use (default: validation)",
    )
    parser.add_argument(
        "--limit", metavar="N", type=at_least_one, help="use only N files, evenly spread over the split"
    )
    parser.add_argument(
        "--model",
        metavar="M",
        type=not_empty,
        help="a model directory, a hub id, or a task's name; default: the small model for TASK that is shipped with "
        "this package",
    )
    add_format(parser, json_help="json: one object")
    add_compute(parser)
    texts = parser.add_argument_group("captions, transcripts and answers only")
    texts.add_argument(
        "--beams",
        dest="num_beams",
        metavar="N",
        type=at_least_one,
        help="texts that the search keeps at once (default: as the model says, or 3, for transcripts 5); not for a "
        "model that chooses its answers out of a list",
    )
    texts.add_argument(
        "--pictures",
        metavar="DIR",
        type=not_empty,
        help="not for transcripts: the pictures of --captions, in FOLDER; or, with {id:012} for the number of one, "
        "those of --questions",
    )
    captions = parser.add_argument_group("captions only")
    captions.add_argument(
        "--captions",
        metavar="FILE",
        type=not_empty,
        help="a captions JSON of COCO, or Flickr8k's token file, in FOLDER",
    )
    transcripts = parser.add_argument_group("transcripts only")
    transcripts.add_argument(
        "--normalizer",
        choices=("english", "basic", "none"),
        help="what is done to texts before they are compared (see below; default: english)",
    )
    transcripts.add_argument(
        "--language", metavar="CODE", type=not_empty, help="of the recordings, for a model of several languages"
    )
    # None, not False, where it is not given: as with the other options of one task
    transcripts.add_argument(
        "--join", action="store_const", const=True, help="join short recordings by a fixed recipe (see below)"
    )
    answers = parser.add_argument_group("answers only")
    answers.add_argument("--questions", metavar="FILE", type=not_empty, help="a questions JSON of VQA v2, in FOLDER")
    answers.add_argument("--annotations", metavar="FILE", type=not_empty, help="the JSON with its answers, in FOLDER")
    answers.add_argument(
        "--baselines",
        action="store_const",
        const=True,
        help="also measure what the question alone gives away (see below)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluates; returns 0 when every picture could be used."""
    args.model = args.model or args.task
    for name, tasks in _ONLY.items():
        if getattr(args, name) is not None and args.task not in tasks:
            things = " and ".join(_MADE[task] for task in tasks)
            parser().error(f"argument --{name.removeprefix('num_')}: is for {things} only, but the task is {args.task}")
    if args.task == "caption":
        from .evaluate_caption import run as run_caption  # NumPy, which the help need not wait for

        return run_caption(args)
    if args.task == "transcribe":
        from .evaluate_transcribe import run as run_transcribe

        return run_transcribe(args)
    if args.task == "answer":
        from .evaluate_answer import run as run_answer

        return run_answer(args)
    from .evaluate_classify import run as run_classify

    return run_classify(args)
