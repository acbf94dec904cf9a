"""`multiattn transcribe --live`: words while they are spoken, from a microphone or from samples on standard input."""

import argparse
import json
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from ..errors import InputError, MultiattnError
from ..registry import load_part
from ..writing import write_text
from .arguments import UsageError
from .options import model_or_shipped
from .output import named_errors, printable, say, spinner
from .records import FORMATS, json_line

if TYPE_CHECKING:
    import numpy as np

    from ..pipelines.transcribe import LiveTranscriber, LiveUpdate

MICROPHONE = "mic"
MOST_SECONDS = 60.0
"""Sound that waits, at most, where decoding cannot keep up; a microphone's older sound is then lost, which is said."""

_BLOCK_SECONDS = 0.1
_WAIT = 0.05  # seconds after which a reader looks again


class Waiting:
    """Sound that has come in and waits to be decoded.

    Args:
        rate: Samples a second (Hz).
        drops: Whether older sound is dropped where more than `MOST_SECONDS` wait; else `put` waits.
    """

    def __init__(self, rate: int, *, drops: bool) -> None:
        self._most, self._drops = round(MOST_SECONDS * rate), drops
        self._blocks: deque[np.ndarray] = deque()
        self._count = 0
        self._changed = threading.Condition()
        self._is_over = False
        self._error: Exception | None = None
        self.lost = 0
        """Samples that were dropped."""

    def put(self, block: "np.ndarray") -> None:
        """Add a block of samples."""
        with self._changed:
            while self._count + len(block) > self._most and self._blocks and not self._is_over:
                if self._drops:
                    gone = len(self._blocks.popleft())
                    self._count, self.lost = self._count - gone, self.lost + gone
                else:
                    self._changed.wait(_WAIT)
            self._blocks.append(block)
            self._count += len(block)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """Say that no more sound follows, and why, if that is an error."""
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def blocks(self) -> "Iterator[np.ndarray]":
        """Yield all that waits, as one block, whenever there is any."""
        import numpy as np

        while True:
            with self._changed:
                while not self._blocks and not self._is_over:
                    self._changed.wait(_WAIT)  # not for ever: Ctrl-C is only seen in between
                if not self._blocks:
                    if self._error is not None:
                        raise self._error
                    return
                there = np.concatenate(list(self._blocks))
                self._blocks.clear()
                self._count = 0
                self._changed.notify_all()
            yield there


def run(args: argparse.Namespace) -> int:
    """Transcribe live sound until it ends or Ctrl-C; return 0."""
    _check(args)
    args.model = model_or_shipped(args.model, "transcribe", quiet=args.quiet)
    with spinner("loading the model", quiet=args.quiet):
        pipeline = load_part("multiattn:load")(
            args.model, task="transcribe", device=args.device, precision=args.precision
        )
        options = {name: getattr(args, name) for name in _options()}
        live: LiveTranscriber = pipeline.live(**options)
    rate = args.rate or pipeline.bundle.sound.sample_rate
    shown = Lines(sys.stdout if args.format == "text" else sys.stderr) if args.format != "json" else None
    write: Callable[[LiveUpdate], None] = _write_json if shown is None else shown.write
    if args.format not in ("text", "json") and not sys.stderr.isatty():
        write = _write_nothing
    source = _microphone if args.live == MICROPHONE else _standard_input
    with source(rate) as waiting:
        if args.live == MICROPHONE and not args.quiet:
            say("listening; Ctrl-C ends")
        _transcribe(live, waiting, rate, write)
    if shown is not None:
        shown.end()
    if waiting.lost:
        say(f"{waiting.lost / rate:.1f} s of sound were lost, for decoding could not keep up; try a smaller model")
    _finish(live, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.paths or args.files:
        raise UsageError(f"--live {args.live} takes the place of PATH; give one of them")
    if args.live == "-" and sys.stdin.isatty():
        raise UsageError("--live - reads samples (16-bit PCM, mono) from standard input, which is a terminal here")
    for name in ("maps", "check", "resume", "speakers", "clips", "processes", "address"):
        if getattr(args, name, None):
            raise UsageError(
                f"--{name.rstrip('s') if name == 'clips' else name} needs a recording, and --live has none"
            )
    if "," in args.format or args.format in FORMATS and args.format != "json":
        raise UsageError(f"--live writes text, json or one format for another program, not {args.format}")


def _options() -> tuple[str, ...]:
    from .transcribe_options import PIPELINE_OPTIONS

    return tuple(name for name in PIPELINE_OPTIONS if name not in ("clips", "channel", "num_beams"))


def _transcribe(live: "LiveTranscriber", waiting: Waiting, rate: int, write: "Callable[[LiveUpdate], None]") -> None:
    """Feed sound until it ends, or Ctrl-C, and settle the rest."""
    import torch

    from ..inputs.stream_resampler import StreamResampler

    resampler = StreamResampler(rate, live.rate)
    try:
        for block in waiting.blocks():
            write(live.feed(resampler.feed(torch.from_numpy(block))))
        write(live.feed(resampler.feed(torch.zeros(0), is_last=True)))
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # SIGTERM
            raise
    write(live.finish())


def _finish(live: "LiveTranscriber", args: argparse.Namespace) -> None:
    """Write the whole transcript, where it is asked for."""
    result = live.transcript()
    if args.format == "json":
        print(json_line({"transcript": result.to_dict()}), flush=True)
    if args.out is None:
        if args.format not in ("text", "json"):
            print(result.formatted(args.format), end="", flush=True)
        return
    if args.format == "text":
        text = "".join(f"{segment.text}\n" for segment in result.segments)
    elif args.format == "json":
        text = json.dumps(result.to_dict(), ensure_ascii=False) + "\n"
    else:
        text = result.formatted(args.format)
    with named_errors(f"--out {args.out}:"):
        write_text(Path(args.out), text)


# --- sound ---


@contextmanager
def _standard_input(rate: int) -> Iterator[Waiting]:
    waiting = Waiting(rate, drops=False)
    threading.Thread(target=_read, args=(sys.stdin.buffer, waiting, rate), daemon=True).start()
    try:
        yield waiting
    finally:
        waiting.end()


def _read(stream: BinaryIO, waiting: Waiting, rate: int) -> None:
    """Read 16-bit samples, little-endian, until the stream ends."""
    import numpy as np

    rest, error = b"", None
    try:
        read = getattr(stream, "read1", stream.read)
        while data := read(2 * max(1, round(_BLOCK_SECONDS * rate))):
            data = rest + data
            whole = len(data) // 2 * 2
            rest = data[whole:]
            if whole:
                waiting.put(np.frombuffer(data[:whole], dtype="<i2").astype(np.float32) / 32768)
    except OSError as raised:
        error = InputError(f"standard input cannot be read: {raised.strerror}.")
    waiting.end(error)


@contextmanager
def _microphone(rate: int) -> Iterator[Waiting]:
    try:
        import sounddevice  # type: ignore[import-untyped]
    except ImportError:
        raise MultiattnError("--live mic needs the package sounddevice: pip install 'multiattn[sounddevice]'") from None
    except OSError as error:  # it looks for PortAudio when it is imported
        raise MultiattnError(
            f"--live mic needs the system's PortAudio ({error}): install libportaudio2 or portaudio, or give samples "
            "by --live -"
        ) from None
    waiting = Waiting(rate, drops=True)

    def take(data: "np.ndarray", frames: int, when: object, status: object) -> None:
        del frames, when, status
        waiting.put(data[:, 0].copy())

    try:
        size = round(_BLOCK_SECONDS * rate)
        with sounddevice.InputStream(rate, size, channels=1, dtype="float32", callback=take):
            yield waiting
    except sounddevice.PortAudioError as error:
        reason = " ".join(str(error).split())
        raise MultiattnError(
            f"--live mic cannot record: {printable(reason)}; is a microphone there and free?"
        ) from None
    finally:
        waiting.end()


# --- output ---


def _write_nothing(update: "LiveUpdate") -> None:
    del update


def _write_json(update: "LiveUpdate") -> None:
    """Write an update as a line, if it has words."""
    if not update.settled and not update.unsettled:
        return
    print(json_line(update.to_dict()), flush=True)


class Lines:
    """Text as it comes: settled words at once, a line for each utterance; on a terminal, unsettled ones after it, dim.

    Args:
        stream: Where it is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._line = ""

    def write(self, update: "LiveUpdate") -> None:
        """Write what an update settles, and on a terminal what it does not."""
        width = shutil.get_terminal_size().columns - 1
        if self._is_terminal:
            self._put("\r\x1b[K")
            if self._line and len(self._line) + len(update.text) > width:
                self._put(self._line + "\n")
                self._line = ""
            self._line = (self._line + printable(update.text)).lstrip()
            rest = printable(update.unsettled_text)[: max(0, width - len(self._line))]
            self._put(self._line + (f"\x1b[2m{rest}\x1b[0m" if rest else ""))
        elif update.text:
            text = printable(update.text if self._line else update.text.lstrip())
            self._line += text
            self._put(text)
        if update.is_end:
            self.end()

    def end(self) -> None:
        """End the line that is begun."""
        if self._line:
            self._put("\n")
            self._line = ""

    def _put(self, text: str) -> None:
        print(text, end="", file=self._stream, flush=True)
