"""The options that several commands share. Importing this imports neither torch nor NumPy."""

import sys

from ..inputs.files import MAX_PIXELS, PICTURES, RECORDINGS, Kind
from ..registry import task_spec
from .arguments import Option, above_zero, at_least_one, at_least_zero, not_empty
from .output import say
from .records import FORMATS

MODEL_HELP = (
    "a model directory (ours, or the published layout of timm, Hugging Face ViT, BLIP, ViT-GPT2, ViLT or Whisper), a "
    "hub id or its short name (`multiattn models` lists them), or a task's name; default: classify, the small "
    "classifier shipped with this package"
)
"""For a command that takes models of all tasks."""

# the parts of the help that the commands share; {0} is "picture" or "recording"

BAD_FILES = """\
A {0} that cannot be used is named on standard error, the others are still
done, and the exit status is 1; as json, csv or parquet, it has a record, too,
with "error". A damaged one gives what can be read of it, is named, too, and has
"damaged" in its result; with --strict it is not used."""

INPUTS = """\
PATH, which may be repeated
  a file, a folder (searched through, in natural order: img2 before img10; links
  to folders are followed, and no folder is searched twice), a pattern, - for
  the bytes of one file on standard input, a file:// address, or one that begins
  with http:// or https://, which is fetched (within half an hour; at most
  {1}); or a shard FILE.tar, or a pattern '{{000000..000099}}.tar' of shards,
  each also at such an address, or a folder that `multiattn shard` wrote; a
  {0} in it is FILE.tar/NAME"""

RECORDS = """\
records
  csv and parquet have the columns
    {0}
  and for all tasks maps, error, damaged, marks, file_bytes, and with --check
  verdict; what is nested is JSON. parquet needs pyarrow (pip install
  'multiattn[parquet]') and --out DIR, a folder of whole files of 1000 rows,
  part-00000.parquet and so on. A name that is no text has U+FFFD for each byte
  that is none, and all its bytes in "file_bytes", in base64. Cells are written
  as they are: a spreadsheet may take one that begins with = for a formula.
  --out FILE grows as FILE.part, which is renamed at the end, or when the run is
  interrupted. --resume goes on with FILE.part after a kill, or with FILE: what
  has a result is not computed again, what failed is tried again, and the file
  is as that of a run that was not interrupted. The options must be the same."""

MANY = """\
many files
  With --processes 8, eight processes compute, and the results are those of one
  process, in the same order. Where one is killed, its inputs are computed
  again; a {0} that ends a process each time is named and left out. A run
  that was killed goes on with --resume, also with another number of processes.
  --engine ray does the same on the machines of a Ray cluster, which find the
  {0}s, the model and the --maps folder under the same paths."""

_PATTERNS = {PICTURES: "photos/*.jpg", RECORDINGS: "talks/*.mp3"}


def paths_of(kind: Kind = PICTURES, *, nargs: str = "+") -> Option:
    """PATH, which takes several; with `nargs` "*", also none."""
    example = f"a {kind.one}, a folder (searched through), a pattern such as '{_PATTERNS[kind]}', an address, or -"
    return Option("paths", "PATH", not_empty, example, nargs=nargs)


def model_of(task: str, name: str = "--model") -> Option:
    """`--model` for a model of this task; without it, `model_or_shipped` gives the shipped one."""
    known = (
        f"a model directory (ours, or the published layout of {task_spec(task).published}), a hub id or its "
        f"short name (see `multiattn models`), or a task's name; default: {task}, the small model shipped "
        "with this package"
    )
    return Option(name, "M", not_empty, known)


def model_or_shipped(model: str | None, task: str, option: str = "--model ", *, quiet: bool = False) -> str:
    """Return the model that was asked for, or else the name of the task, which stands for its shipped model.

    That the shipped model is used, and what it has learned, is said where standard error is a terminal.
    """
    spec = task_spec(task)
    if model is None and spec.shipped and not quiet and sys.stderr.isatty():
        say(
            f"this is the small model shipped for {task}, which knows {spec.shipped}; "
            f"for another: {option}{spec.example_model}"
        )
    return model or task


def listed_files() -> Option:
    """`--files`."""
    return Option(
        "--files",
        "LIST",
        not_empty,
        "after PATH, the paths in the file LIST: one a line, or with NUL characters between them (find -print0), or in "
        "the column file of LIST.parquet; - is standard input",
    )


def record_format(*more: str) -> Option:
    """`--format` of a command that predicts: text, the formats `more`, and those of records."""
    return Option(
        "--format",
        "FORMAT",
        choices=("text", *FORMATS, *more),
        default="text",
        help="text to read (default); json: one object a line; csv or parquet: a table"
        + (f"; {', '.join(more)}" if more else "")
        + " (see below)",
    )


RESUME = Option(
    "--resume", action="store_true", help="with --out and json, csv or parquet: go on after a kill (see below)"
)

ADDRESS = Option(
    "--address",
    "ADDRESS",
    not_empty,
    "with --engine ray: the cluster, HOST:PORT, or auto for the one that this machine is part of (default: a cluster "
    "of this machine alone, for the time of the run)",
)
"""Which Ray cluster."""

PARALLEL = (
    Option(
        "--processes",
        "N",
        at_least_one,
        "compute in N processes at once, each with its own copy of the model; threads and GPUs are divided among them "
        "(default: in this process; with --engine ray, one on each core or GPU of the cluster)",
    ),
    Option(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where the processes run: on this machine (default), or on those of a Ray cluster (needs the extra ray)",
    ),
    ADDRESS,
)
"""Where inputs are computed."""

LOUDNESS = (
    Option(
        "-v",
        also="--verbose",
        action="store_true",
        help="say on standard error when each input is done, and how many a second",
    ),
    Option("-q", also="--quiet", action="store_true", help="say nothing but errors: no progress, no remarks"),
)
"""`-v` and `-q`."""


def output_format(json_help: str) -> Option:
    """`--format`, text or JSON."""
    return Option("--format", choices=("text", "json"), default="text", help=f"text to read (default), or {json_help}")


def out_file(more: str = "") -> Option:
    """`--out`; `more` says what else it may name."""
    return Option("--out", "FILE", not_empty, f"write the results to FILE instead of standard output{more}")


def beams(help: str) -> Option:
    """`--beams`, the width of the search."""
    return Option("--beams", "N", at_least_one, help, dest="num_beams")


WRITING = ("min_tokens", "no_repeat_ngram", "repetition_penalty")
"""The options of `writing`, by their names in the pipelines."""


def writing(text: str) -> tuple[Option, ...]:
    """`--min-tokens`, `--no-repeat-ngram` and `--repetition-penalty` for a text that is written."""
    return (
        Option(
            "--min-tokens",
            "N",
            at_least_zero,
            f"the shortest {text}, in tokens without the one for its end (default: the model's own, or 0)",
        ),
        Option(
            "--no-repeat-ngram",
            "N",
            at_least_zero,
            f"no N tokens in a row come twice in a {text}; 0 for no such rule (default: the model's own, or 0)",
        ),
        Option(
            "--repetition-penalty",
            "X",
            above_zero,
            f"above 1 makes tokens that are in the {text} already less likely (default: the model's own, or 1)",
        ),
    )


STRICT = Option(
    "--strict",
    action="store_true",
    help="refuse damaged inputs; without it, what can be read of them is used, and each is named",
)

PIXELS = Option(
    "--max-pixels",
    "N",
    at_least_one,
    f"most pixels of a picture that is decoded whole (default: {MAX_PIXELS}); JPEG and JPEG 2000 files may have twice "
    "as many, and are then decoded at half their size or less. Decoding one takes up to 9 bytes of memory for each of "
    "N: 800 MB at the default",
    MAX_PIXELS,
)

DEVICE = Option(
    "--device",
    choices=("auto", "cpu", "cuda"),
    default="auto",
    help="where to compute; auto (default) takes a GPU where there is one",
)

PRECISION = Option(
    "--precision",
    choices=("fp32", "bf16", "fp16", "int8"),
    help="what to compute in: fp32 (default, but for a model that was converted to int8); int8 on a CPU, faster and in "
    "less memory, with slightly other results; bf16 on a GPU, or on a CPU that multiplies in it; fp16 on a GPU",
)

COMPUTE = (Option("--batch-size", "N", at_least_one, "pictures computed at once (default: 8)", 8), DEVICE, PRECISION)
"""`--batch-size`, `--device` and `--precision`."""
