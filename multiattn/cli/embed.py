"""`multiattn embed`: pictures, texts and recordings as vectors."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..errors import InputError
from ..inputs.files import PICTURES, RECORDINGS
from ..inputs.walk import Unusable
from ..registry import load_part
from .arguments import Option, Parser, UsageError, not_blank, not_empty
from .engines import Place
from .feed import Job
from .map_files import Written
from .npy_file import NpyFile
from .options import (
    BAD_FILES,
    COMPUTE,
    INPUTS,
    LOUDNESS,
    MANY,
    PARALLEL,
    PIXELS,
    RESUME,
    STRICT,
    listed_files,
    out_file,
)
from .out_file import OutFile
from .parquet_folder import ParquetFolder
from .path_lists import read_texts
from .predict import Predictor
from .records import Column, Record, json_line, key_of, with_exact_name

if TYPE_CHECKING:
    from ..pipelines import Embedding, Failure
    from ..pipelines.base import Pipeline

_TEXTS_AT_ONCE = 32

_DESCRIPTION = """\
Give pictures, recordings or texts as vectors (features) of a model: to compare,
to search, to cluster, or to train something small on. Any model that reads
pictures or recordings will do, also one without a head; texts are read by a
text encoder in BERT's layout, such as MiniLM.
"""

_EPILOG = f"""\
vectors: which of the model's tokens they are made of
  pooled   what the model's head reads, after the last norm (timm's num_classes=0
           gives the same); of recordings and texts the mean
  class    the class token; of a text the first one
  mean     the mean of the patches; of a recording, of the frames without those
           of padding; of a text, of all its tokens
  all      each patch, row by row, or each frame or token: several vectors

formats
  json     a line for each input: {{"file": "cat.jpg", "embedding": [0.1, ...]}};
           of a text also "text"; of all patches "grid", of all frames
           "frame_seconds"
  npy      --out FILE.npy, an array (vectors, width) in float32 to read with
           numpy.load, and FILE.jsonl beside it, a line for each input with its
           "row" there, and with --vectors all the number of its "rows"
  parquet  --out DIR, a folder of whole files of 1000 rows with the columns file,
           text, embedding, error, damaged, marks, file_bytes (needs pyarrow: pip
           install 'multiattn[parquet]')
  --out grows beside its place, and --resume goes on after a kill: what has a
  vector is not computed again. The options must be the same.

{INPUTS.format("picture", "256 MiB")}

{MANY.format("picture")}

{BAD_FILES.format("picture")}

examples
  multiattn embed photos/ --format npy --out photos.npy
  multiattn embed cat.jpg --vectors all --model timm/vit_small_patch14_dinov2.lvd142m
  multiattn embed talks/ --model openai/whisper-tiny --format parquet --out talks/
  multiattn embed --model sentence-transformers/all-MiniLM-L6-v2 --normalize \\
      --text 'a dog on a beach' --text 'two people talk'
"""


def parser() -> Parser:
    """The command's options."""
    kinds = "a picture or recording, a folder (searched through), a pattern such as 'photos/*.jpg', an address, or -"
    found = Parser(
        Option("paths", "PATH", not_empty, kinds, nargs="*"),
        listed_files(),
        Option("--text", "T", not_blank, "embed this text; repeat it for several", action="append"),
        Option("--texts", "FILE", not_empty, "embed the lines of FILE, without empty ones; - is standard input"),
        Option(
            "--model",
            "M",
            not_empty,
            "a model directory, a hub id or its short name (see `multiattn models`), or a task's name (default: "
            "classify, the small model shipped with this package); for texts a text encoder in BERT's layout, or two "
            "towers (default: match, shipped, too)",
        ),
        Option(
            "--vectors",
            choices=("pooled", "class", "mean", "all"),
            default="pooled",
            help="what the vectors are made of (default: pooled; see below)",
        ),
        Option("--normalize", action="store_true", help="divide each vector by its length"),
        Option(
            "--format",
            choices=Embed.formats,
            default="json",
            help="json: an object a line (default); npy: an array and its index; parquet: a table (see below)",
        ),
        out_file("; with npy FILE.npy, with parquet a folder"),
        RESUME,
        STRICT,
        PIXELS,
        *COMPUTE,
        *PARALLEL,
        *LOUDNESS,
        prog="multiattn embed",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    found.set_defaults(maps=None, map_method=None)
    return found


def run(args: argparse.Namespace) -> int:
    """Embed; return 0 where every input could be used."""
    return Embed(args).run()


class Embed(Predictor["Embedding"]):
    """One run of the command."""

    task = "classify"  # whose shipped model embeds where none is named
    doing = "embedding"
    formats: ClassVar[tuple[str, ...]] = ("json", "npy", "parquet")

    def __init__(self, args: argparse.Namespace) -> None:
        if args.model is None and (args.text or args.texts):
            args.model = "match"  # which reads texts, too
        super().__init__(args)
        if args.format == "npy" and not args.out:
            raise UsageError("--format npy writes a file, and needs --out FILE.npy to say where")

    @property
    def _has_texts(self) -> bool:
        return bool(self.args.text or self.args.texts)

    def _check_paths(self) -> None:
        if not self._has_texts:
            super()._check_paths()
        if self.args.texts == "-" and (self._list == "-" or "-" in self.args.paths):
            raise UsageError("- is standard input, which can be read once only")

    def jobs(self) -> Iterator[Job | Unusable]:
        """Find the inputs, of the kind that the model reads."""
        model = self.args.model or self.task
        reads: tuple[str, ...] = load_part("multiattn.pipelines.embedder:reads_of")(model)
        paths = bool(self.args.paths or self._list)
        if reads == ("text",) and paths:
            raise UsageError(f"--model {model} reads texts, and no files: give --text or --texts, or another model")
        if "text" not in reads and self._has_texts:
            what = "recordings" if "audio" in reads else "pictures"
            raise UsageError(
                "--text and --texts need a text encoder in BERT's layout or a model of two towers, but --model "
                f"{model} reads {what} only"
            )
        self.kind = RECORDINGS if "audio" in reads else PICTURES
        return chain(super().jobs() if paths else (), self._texts())

    def _texts(self) -> Iterator[Job | Unusable]:
        text_input = load_part("multiattn.pipelines:TextInput")
        for text in self.args.text or ():
            yield Job(text_input(text))
        if self.args.texts:
            try:
                for number, text in read_texts(self.args.texts):
                    yield Job(text_input(text, f"{self.args.texts}:{number}"))
            except InputError as error:
                yield Unusable(self.args.texts, error)

    def load(self, place: Place | None = None) -> "Pipeline[Any]":
        """Load the model."""
        device = self.args.device if place is None else place.take(self.args.device)
        load: Callable[..., Pipeline[Any]] = load_part("multiattn.pipelines.embedder:load_embedder")
        return load(self.args.model, device=device, precision=self.args.precision)

    def stream(self, pipeline: "Pipeline[Any]", jobs: Iterable[Job]) -> "Iterator[Embedding | Failure]":
        """Return the embeddings of all inputs, in order: files first, then texts."""
        text_input = load_part("multiattn.pipelines:TextInput")
        list(cast(Any, pipeline).stream_embeddings((), tokens=self.args.vectors))  # which checks it, at once
        return self._streamed(pipeline, groupby((job.input for job in jobs), lambda one: isinstance(one, text_input)))

    def _streamed(self, pipeline: Any, groups: Iterable[tuple[bool, Iterator[Any]]]) -> "Iterator[Embedding | Failure]":
        args = self.args
        for are_texts, inputs in groups:
            options: dict[str, object] = {"tokens": args.vectors, "normalize": args.normalize}
            if are_texts:
                yield from pipeline.stream_text_embeddings(inputs, **options, batch_size=_TEXTS_AT_ONCE)
                continue
            options |= {"strict": args.strict}
            if self.kind is PICTURES:
                options |= {"batch_size": args.batch_size, "max_pixels": args.max_pixels}
            yield from pipeline.stream_embeddings(inputs, **options)

    @staticmethod
    def as_text(result: "Embedding", written: Written | None) -> str:
        """Return a line of JSON: vectors are not for reading."""
        return json_line(result.to_dict())

    def _columns(self) -> tuple[Column, ...]:
        axes = 2 if self.args.vectors == "all" else 1
        texts = map(Column, ("error", "damaged", "marks", "file_bytes"))
        return (Column("file"), Column("text"), Column("embedding", axes=axes), *texts)

    def _opened(self) -> "OutFile | ParquetFolder | NpyFile | None":
        if self.args.format == "npy":
            return NpyFile(self.out or "", resume=self._resume, options=self._settings())
        return super()._opened()

    def write(self, result: "Embedding", written: Written | None) -> None:
        """Write an embedding in the format that was asked for."""
        if self.args.format == "json":
            super().write(result, written)
        else:
            self._write_vectors(result.facts, result.values, result.marks)

    def _write_record(self, record: Record, marks: "Any" = None) -> None:
        if isinstance(self._store, NpyFile):
            self._write_vectors(record, None, marks)
        else:
            super()._write_record(record, marks)

    def _write_vectors(self, record: Record, values: Any, marks: Any) -> None:
        if not isinstance(self._store, NpyFile):
            super()._write_record(record | {"embedding": values}, marks)
            return
        if record.get("error"):
            self._store.earlier.replace(key_of(with_exact_name(record)))
        self._store.append(record, values)
