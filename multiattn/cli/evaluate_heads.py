"""`multiattn evaluate heads`: which attention heads does a model need, and what does each of them do?"""

import argparse
import json
import random
from dataclasses import asdict
from textwrap import fill
from typing import TYPE_CHECKING, cast

from ..errors import InputError
from ..head_roles import ROLES
from ..registry import task_spec, tasks
from .arguments import Option, Parser, UsageError, at_least_one, at_least_zero, not_empty
from .evaluate_maps import loaded_explainer
from .evaluate_options import DATA, MODEL, SPLIT
from .inputs import status
from .options import DEVICE, model_or_shipped, output_format
from .output import Report, printable

if TYPE_CHECKING:
    from pathlib import Path

    from ..maps.heads import HeadFacts, TappedPrediction

_DESCRIPTION = """\
Say which attention heads a model needs and what each of them does, over many
inputs: pictures, recordings or questions of a folder.
"""

_EPILOG = """\
Predictions are made for inputs in an order drawn with a fixed seed, until there
are N; FOLDER/SPLIT is searched for pictures or recordings, and has questions as
`multiattn evaluate answer` reads them.

columns
  slope       how much the log-odds of the prediction changes with the
              size of the head's output, mean of the absolute value (Michel et
              al. 2019): one backward pass for all heads
  of site     the slope, divided by the root of the squares' sum at its site
  off         what the log-odds lose, mean, with this head switched off:
              of the K heads with the largest slopes and the K with the least.
              The last line says how far slopes and the size of losses order
              these heads alike (Spearman's correlation)
  sharp       1: attention on one token; 0: spread evenly
  role        what its attention does, the first that holds
{roles}

examples
  multiattn evaluate heads --task classify --data .data/cifar10
  multiattn evaluate heads --task answer --data .data/scenes --off 0 \\
      --picture heads.png
  multiattn evaluate heads --task classify --data pets --mean-maps means.png

with --format json, one object
  {{"heads": [{{"site": "blocks.0.self", "head": 0, "role": "local", "slope":
   0.12, "importance": 0.4, "off": null, "sharpness": 0.3, "sink": 0.05,
   "prefix": 0.02, "local": 0.61, "offset": [0, 1], "offset_share": 0.2,
   "pointing": null}}, ...], "agreement": 0.8, "task": "classify", "items": 50,
   "skipped": 0, "model": "classify", "data": ".data/cifar10",
   "split": "validation"}}

A file that cannot be read, or is damaged, is named on standard error, left
out and counted as skipped, and the exit status is 1.
"""

_ENOUGH, _OFF = 50, 5
_LEAST_ORDERED = 8  # heads


def parser() -> Parser:
    """The command's options."""
    known = [name for name, spec in tasks().items() if spec.explainer]
    roles = "\n".join(
        fill(f"{name}: {rule}", 80, initial_indent=" " * 4, subsequent_indent=" " * 6) for name, rule in ROLES.items()
    )
    return Parser(
        Option("--task", "TASK", choices=known, help=", ".join(known), required=True),
        DATA,
        SPLIT,
        Option("--items", "N", at_least_one, f"how many predictions to use (default: {_ENOUGH})", _ENOUGH),
        MODEL,
        Option("--off", "K", at_least_zero, f"how many heads to switch off, of each end (default: {_OFF})", _OFF),
        Option("--picture", "FILE", not_empty, "also draw slope and role of every head, as a PNG"),
        Option("--mean-maps", "FILE", not_empty, "for labels: also draw the mean map of each predicted one, as a PNG"),
        output_format("json: one object"),
        DEVICE,
        prog="multiattn evaluate heads",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(roles=roles),
    )


def run(args: argparse.Namespace) -> int:
    """Collect; return 0 where every input that was tried could be used."""
    if args.mean_maps is not None and args.task != "classify":
        raise UsageError(f"--mean-maps is for labels, which --task classify has, but is given with {args.task} instead")
    args.model = model_or_shipped(args.model, args.task)
    explainer, _ = loaded_explainer(args)
    inputs = list(explainer.read(args.data, args.split))
    random.Random(0).shuffle(inputs)
    from ..maps.heads import HeadStatistics, off_losses

    kept: list[TappedPrediction] = []
    used: list[object] = []
    statistics, skipped, tried = HeadStatistics(), 0, iter(inputs)
    with Report(args.items, doing="collecting heads") as report:
        while len(kept) < args.items and (one := next(tried, None)) is not None:
            try:
                prediction = explainer.tapped(one)
            except InputError as error:
                skipped += 1
                report.message(f"skipped: {error}")
                continue
            if prediction is None:
                continue
            statistics.add(explainer.model, prediction)
            kept.append(prediction)
            used.append(one)
            report.advance()
        if not kept:
            raise InputError(f"{args.data}: there is no input that could be used: give other data")
        facts = statistics.result()
        off = off_losses(explainer.model, kept, facts, args.off)
        alike = agreement(facts, off)
        about = {"agreement": alike, "task": args.task, "items": len(kept), "skipped": skipped}
        about |= {name: getattr(args, name) for name in ("model", "data", "split")}
        if args.format == "json":
            heads = [{"role": one.role, "off": off.get((one.site, one.head))} | asdict(one) for one in facts]
            report.result(json.dumps({"heads": heads} | about))
        else:
            line = printable(f"{len(kept)} predictions on {args.data} ({args.split}) with {args.model}")
            line += f"; {skipped} skipped" * bool(skipped)
            if alike is not None:
                line += f"; slopes and losses order the {len(off)} heads alike by {alike:.2f}"
            report.result("\n".join([*table(facts, off), line]))
    title = f"{args.data} ({args.split}) with {args.model}"
    if args.picture is not None:
        from ..export.head_figure import draw_heads

        draw_heads(facts, args.picture, title=title)
    if args.mean_maps is not None:
        from ..export.head_figure import draw_mean_maps
        from ..maps.mean_map import mean_maps
        from ..pipelines import ClassifyPipeline, ClassifyResult

        classify = ClassifyPipeline(explainer.bundle, device=explainer.device)
        results = classify.stream(cast("list[Path]", used), maps=task_spec("classify").default_map_method)
        found = mean_maps(one.maps[0].map for one in results if isinstance(one, ClassifyResult))
        draw_mean_maps(found, args.mean_maps, title=title)
    return status(skipped, len(kept) + skipped)


def agreement(facts: "list[HeadFacts]", off: dict[tuple[str, int], float]) -> float | None:
    """Return Spearman's correlation of slopes with the size of losses, -1 to 1; None for fewer than 8 heads."""
    import numpy as np

    from ..maps.evaluation import spearman

    pairs = [(one.slope, abs(off[one.site, one.head])) for one in facts if (one.site, one.head) in off]
    if len(pairs) < _LEAST_ORDERED:
        return None
    slopes, losses = zip(*pairs, strict=True)
    return spearman(np.array(slopes), np.array(losses))


def table(facts: "list[HeadFacts]", off: dict[tuple[str, int], float]) -> list[str]:
    """Return a row for each head, the largest slope first."""
    from ..maps.heads import most_important

    cells = [["head", "slope", "of site", "off", "sharp", "role"]]
    for one in most_important(facts, len(facts)):
        loss = off.get((one.site, one.head))
        cells.append(
            [
                f"{one.site}.{one.head}",
                f"{one.slope:.4f}",
                f"{one.importance:.2f}",
                "-" if loss is None else f"{loss:.4f}",
                f"{one.sharpness:.2f}",
                one.described,
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(f"{cell:>{w}}" for cell, w in zip(row[1:5], widths[1:5], strict=True)), row[5]]
        )
        for row in cells
    ]
