"""The options of `multiattn transcribe` in groups."""

import math

from ..inputs.files import RECORDINGS
from .arguments import Option, Parser, at_least_one, length_penalty, not_blank, not_empty, seed, share
from .map_options import maps_of, tokens_of
from .options import (
    DEVICE,
    LOUDNESS,
    PARALLEL,
    PRECISION,
    RESUME,
    STRICT,
    beams,
    listed_files,
    model_of,
    out_file,
    paths_of,
)
from .records import FORMATS
from .runtime import RUNTIME
from .transcribe_arguments import (
    at_least_one_x,
    channel,
    clip,
    formats,
    line_width,
    on_or_off,
    seconds,
    temperatures,
    threshold,
)
from .transcribe_help import DESCRIPTION, EPILOG

TRANSCRIPTS = ("srt", "vtt", "textgrid", "ctm", "tsv", "lrc", "verbose_json")
"""Formats of a transcript for other programs, beside those of records."""

SPEAKERS = Option(
    "--speakers",
    "FILE",
    not_empty,
    "who speaks when, as RTTM, from a diarization program: segments are cut where the speaker changes, and named. Of "
    "several recordings, each must be in FILE by its name without suffix",
)

WRITING = (
    Option("--words", action="store_true", help="say when each word was spoken, and how sure the model is"),
    Option(
        "--language",
        "CODE",
        not_empty,
        "the language spoken, as a code or an English name, such as fr or French; for models of several languages "
        "(default: detected where somebody speaks)",
    ),
    Option(
        "--multilingual",
        action="store_true",
        help="detect the language of every window, for recordings in which it changes; for models of several languages",
    ),
    Option(
        "--language-threshold",
        "P",
        share,
        "say that the language is uncertain where it is less probable than this (default: 0.5)",
    ),
    Option(
        "--task",
        choices=("transcribe", "translate"),
        help="transcribe (default) writes in the language spoken; translate, in English, for models trained to do so",
    ),
    SPEAKERS,
)
"""What is written."""

CHOICE = (
    Option(
        "--channel",
        "CHANNEL",
        channel,
        "of a recording with several channels: left, right, or a number from 1; mix, their mean; each, every one by "
        "itself, named in the result; or auto (default), the mean, or the loudest where they cancel each other in it",
    ),
    Option(
        "--clip",
        "FROM-TO",
        clip,
        "transcribe only this part, such as 0:30-1:10, 5.5-7 or, to the end, 1:00:00-; repeat it for several",
        dest="clips",
        action="append",
    ),
)
"""Which part of a recording is transcribed."""
SPEAKING = (
    Option(
        "--vad",
        choices=("auto", "on", "off"),
        help="how speech is told from silence, noise and music: on, by a voice activity detector (Silero VAD); off, by "
        "loudness alone. auto (default) is on for models that write timestamps, such as Whisper, unless the model's "
        "directory says otherwise",
    ),
    Option(
        "--keep-flagged",
        action="store_true",
        help="keep text that the model wrote where nobody speaks, marked with flags; by default it is dropped, and "
        "listed as such with --format json",
    ),
)
"""What counts as speech."""

STEERING = (
    Option(
        "--prompt",
        "TEXT",
        not_blank,
        "text that came before the recording, such as names and words to expect; like the next three, for models that "
        "take it, such as Whisper",
    ),
    Option(
        "--carry-prompt", action="store_const", const=True, help="put the prompt before every window, not the first"
    ),
    Option(
        "--hotwords",
        "TEXT",
        not_blank,
        "words to expect, put before every window; a long list is cut to a fourth of what the model can read",
    ),
    Option(
        "--previous-text",
        "on|off",
        on_or_off,
        "whether the text of the window before is given to the model; off where errors repeat (default: on)",
        dest="condition_on_previous",
    ),
    Option("--prefix", "TEXT", not_blank, "text with which the transcript begins, and goes on from there"),
    Option(
        "--suppress",
        "LIST",
        not_empty,
        "what is never written, with commas between: numbers of tokens, words that are one token each, --suppress=-1 "
        "for all marks that are not spoken, or none; instead of the model's own list",
    ),
)
"""What the model is told beside the sound."""

BATCH_SIZE = Option(
    "--batch-size",
    "N",
    at_least_one,
    "chunks of a recording computed at once. With 1, windows follow each other as in Whisper, each with the "
    "text before it; more is faster, and cuts the recording at its pauses (default: 1 for models that write "
    "timestamps, such as Whisper, 8 for others)",
)

DECODING = (
    beams("beams of the search; 1 takes the most likely token each time (default: the model's own, or 5)"),
    Option(
        "--patience",
        "X",
        at_least_one_x,
        "the search ends when X times as many texts as beams are finished (default: the model's own, or 1)",
    ),
    Option(
        "--length-penalty",
        "X",
        length_penalty,
        "exponent of the length by which a text's score is divided; above 1 favors long texts (default: 1)",
    ),
    Option(
        "--max-tokens", "N", at_least_one, "the longest text of a window (default: half of what the model can read)"
    ),
    Option(
        "--temperatures",
        "LIST",
        temperatures,
        "tried in order until a text passes the thresholds: 0 searches, others sample (default: 0,0.2,0.4,0.6,0.8,1)",
    ),
    Option("--best-of", "N", at_least_one, "texts sampled at each temperature above 0 (default: 5)"),
    Option(
        "--compression-ratio-threshold",
        "X",
        threshold(0.0, math.inf),
        "a text that is compressed to less than 1/X repeats itself and fails; none: no text does (default: 2.4)",
    ),
    Option(
        "--log-prob-threshold",
        "X",
        threshold(-math.inf, 0.0),
        "a text whose tokens have a lower mean log-probability fails; none: no text does (default: -1)",
    ),
    Option(
        "--no-speech-threshold",
        "X",
        threshold(0.0, 1.0),
        "a text that fails the threshold above is left out if silence is more probable than X; none: none is (default: "
        "0.6)",
    ),
    Option("--seed", "N", seed, "seed of sampling (default: 0)"),
    BATCH_SIZE,
    DEVICE,
    PRECISION,
    RUNTIME,
)
"""How text is searched and computed."""

CUES = (
    Option(
        "--line-width", "N", line_width, "most columns of a line; a wide character of East Asia has two (default: 42)"
    ),
    Option("--max-lines", "N", at_least_one, "most lines of a subtitle (default: 2)"),
    Option("--words-per-cue", "N", at_least_one, "most words of a subtitle (default: what fits)", dest="max_words"),
    Option(
        "--least-seconds",
        "S",
        seconds,
        "how long a subtitle is shown at least, unless the next one begins (default: 1)",
        dest="min_seconds",
    ),
    Option(
        "--highlight-words",
        action="store_const",
        const=True,
        dest="highlight",
        help="underline each word while it is spoken",
    ),
)
"""How subtitles are cut and shown."""

CUE_OPTIONS = {option.dest or option.name.removeprefix("--").replace("-", "_"): option.name for option in CUES}
"""Fields of `CueStyle`, and the options that set them."""

PIPELINE_OPTIONS = (
    "language",
    "multilingual",
    "language_threshold",
    "task",
    *(
        option.dest or option.name.removeprefix("--").replace("-", "_")
        for option in (*CHOICE, *SPEAKING, *STEERING, *DECODING)
        if option not in (BATCH_SIZE, DEVICE, PRECISION, RUNTIME)
    ),
)
"""The options that are handed to the pipeline, by their names there."""

LIVE = (
    Option(
        "--live",
        "SOURCE",
        help="in place of PATH: mic, the default microphone (needs the extra sounddevice, and PortAudio); or -, "
        "samples on standard input, 16-bit PCM, little-endian, mono (see below)",
        choices=("mic", "-"),
    ),
    Option("--rate", "HZ", at_least_one, "samples a second of --live (default: the model's, 16000 for Whisper)"),
)
"""Sound that comes in while it is transcribed."""

OUTPUT = (
    Option(
        "--format",
        "FORMAT",
        formats(("text", *FORMATS), TRANSCRIPTS),
        "text to read (default); json: one object a line; csv or parquet: a table; or of these, one or several with "
        f"commas between: {', '.join(TRANSCRIPTS)} (see below)",
        default="text",
    ),
    out_file(
        "; for several recordings in a format for one, and for several formats, FILE is the folder for their files"
    ),
    RESUME,
    *maps_of("transcribe"),
    tokens_of("transcribe"),
    STRICT,
    *PARALLEL,
    *LOUDNESS,
)
"""Where results go, and in which form."""


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(RECORDINGS, nargs="*"),
        listed_files(),
        model_of("transcribe"),
        groups={
            "what is written": WRITING,
            "which part": CHOICE,
            "speech and silence": SPEAKING,
            "what the model is told": STEERING,
            "decoding": DECODING,
            "subtitles (--format srt or vtt; these compute the times of words)": CUES,
            "live": LIVE,
            "output": OUTPUT,
        },
        prog="multiattn transcribe",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
