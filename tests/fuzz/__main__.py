"""Run the fuzzer, and print the table of outcomes."""

import argparse
import contextlib
import itertools
import re
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from .corpus import expected, first_jobs, made
from .kinds import KINDS, SHARES, Job
from .outcome import Outcome, table
from .pool import run_all

_KEPT = Path("out/fuzz")
_MOST = 5  # inputs that are kept for faults that end in the same line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzzer; the exit status is 1 where an input found a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="a kind of input; all where none is given")
    parser.add_argument("--inputs", type=int, help="number of inputs in all, after the corpus")
    parser.add_argument("--seconds", type=float, help="stop after this many seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", type=int, help="run this input alone, and say everything about it")
    parser.add_argument("--first", type=int, default=0, help="the first index of each kind")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--keep", type=Path, default=_KEPT, help="folder for the inputs that find a fault")
    parser.add_argument("--no-corpus", action="store_true", help="leave out the inputs found so far")
    parser.add_argument("--noise", action="store_true", help="list what libraries write to standard error")
    args = parser.parse_args(arguments)
    kinds = tuple(args.kind or KINDS)
    if args.index is not None:
        return _one({"kind": kinds[0], "seed": args.seed, "index": args.index}, args.keep)
    if args.inputs is None and args.seconds is None:
        parser.error("give --inputs, --seconds or --index")
    run = Run(args.keep, time.monotonic() + (args.seconds or 1e9), noise=args.noise)
    jobs = itertools.islice(jobs_of(kinds, seed=args.seed, first=args.first), args.inputs)
    corpus: Iterator[Job] = iter(()) if args.no_corpus else first_jobs(kinds)
    # ctrl-c, or an end from outside, prints what was found so far
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        run_all(itertools.chain(corpus, jobs), run.done, workers=args.workers)
    print(run.report())
    return 1 if run.faults else 0


def jobs_of(kinds: Sequence[str], *, seed: int, first: int = 0) -> Iterator[Job]:
    """Endless jobs, the kinds in turn by their shares."""
    turn = [kind for step in range(max(SHARES.values())) for kind in kinds if step < SHARES[kind]]
    counts = dict.fromkeys(kinds, first)
    for kind in itertools.cycle(turn):
        yield {"kind": kind, "seed": seed, "index": counts[kind]}
        counts[kind] += 1


class Run:
    """The outcomes of a run."""

    def __init__(self, keep: Path, deadline: float, *, noise: bool = False) -> None:
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.faults: defaultdict[str, list[str]] = defaultdict(list)
        self.noises: defaultdict[str, list[str]] = defaultdict(list)
        self.slowest = self.largest = Outcome("result")
        self._keep, self.deadline, self._noise = keep, deadline, noise
        self._start = time.monotonic()

    def done(self, job: Job, outcome: Outcome) -> bool:
        """Count an outcome; return whether there is time for more."""
        self.counts[job["kind"]][outcome.column] += 1
        self.slowest = max(self.slowest, outcome, key=lambda one: one.seconds)
        self.largest = max(self.largest, outcome, key=lambda one: one.megabytes)
        if outcome.noise:
            self.noises[f"{job['kind']}: {outcome.noise.strip().splitlines()[0][:160]}"].append(_named(job))
        if outcome.column not in (wanted := expected(job)):
            # the same fault found again: the line of code, or where the detail begins
            of = job["kind"] if "index" in job else _named(job)
            key = f"{of} | {outcome.column} instead of {wanted} | {_cause(outcome)}"
            self.faults[key].append(_named(job))
            if len(self.faults[key]) <= _MOST:
                _save(job, outcome, self._keep)
            if len(self.faults[key]) == 1:
                print(f"{_named(job)}: {key}", file=sys.stderr, flush=True)
        if self.total % 1000 == 0:
            print(f"{self.total:,} inputs, {time.monotonic() - self._start:.0f} s", file=sys.stderr, flush=True)
        return time.monotonic() < self.deadline

    @property
    def total(self) -> int:
        """The number of inputs so far."""
        return sum(found.total() for found in self.counts.values())

    def report(self) -> str:
        """The table, and a line for each fault."""
        kinds = {kind: self.counts[kind] for kind in KINDS if kind in self.counts}
        seconds = time.monotonic() - self._start
        lines = [table(kinds), "", f"{self.total:,} inputs in {seconds:.0f} s"]
        lines.append(f"slowest {self.slowest.seconds:.1f} s, largest {self.largest.megabytes:.0f} MB over base")
        lines += [f"{len(jobs):6} x {key}  [{', '.join(jobs[:3])}]" for key, jobs in self.faults.items()]
        if self._noise:
            lines += [f"{len(jobs):6} x noise: {words}  [{jobs[0]}]" for words, jobs in self.noises.items()]
        return "\n".join(lines)


def _cause(outcome: Outcome) -> str:
    """What tells a fault from another one."""
    if outcome.column == "foreign exception":
        first = outcome.detail.partition("\n")[0]
        return re.sub(r"/\S*/input/?|\d\d\d+", "*", first)[:160]  # without the folder, and numbers of the file
    inner = [line.strip() for line in outcome.detail.splitlines() if "multiattn/" in line and "File" in line]
    return (outcome.detail.splitlines() or [""])[0][:60] + " " + (inner[0][:160] if inner else "")


def _named(job: Job) -> str:
    if "name" in job:
        return f"{job['kind']} {job['name']}"
    if "whole" in job:
        return f"{job['kind']} {made(job).name}, unchanged"
    return f"--kind {job['kind']} --seed {job['seed']} --index {job['index']}"


def _save(job: Job, outcome: Outcome, keep: Path) -> Path:
    name = "-".join(re.sub(r"\W", "-", str(part)) for part in job.values())
    folder, sample = keep / name, made(job)
    shutil.rmtree(folder, ignore_errors=True)
    sample.write(folder)
    said = f"{sample.name}\n{sample.how}\n{outcome.column}\n{outcome.seconds:.2f} s\n{outcome.detail}\n"
    (keep / f"{name}.txt").write_text(said, encoding="utf-8", errors="backslashreplace")
    return folder


def _one(job: Job, keep: Path) -> int:
    found: list[Outcome] = []
    run_all(iter([job]), lambda _, outcome: bool(found.append(outcome)), workers=1)
    (outcome,) = found
    print(f"{_save(job, outcome, keep)}: {made(job).how}")
    print(f"{outcome.column}: {outcome.seconds:.2f} s, {outcome.megabytes:.0f} MB over base\n{outcome.detail}")
    if outcome.noise:
        print(f"on standard error:\n{outcome.noise}")
    return 0 if outcome.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
