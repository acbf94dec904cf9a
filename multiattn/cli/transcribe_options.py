"""The options of `multiattn transcribe` in groups, and its help."""

from ..inputs.files import RECORDINGS
from .options import (
    BAD_FILES,
    DEVICE,
    INPUTS,
    LOUDNESS,
    MAP_FILES,
    PRECISION,
    RECORDS,
    RESUME,
    STRICT,
    Option,
    Parser,
    at_least_one,
    beams,
    listed_files,
    maps_of,
    model_of,
    not_blank,
    not_empty,
    out_file,
    paths_of,
    record_format,
    share,
)

_DESCRIPTION = """\
Write down what is said in recordings of any length, in the order of the
inputs, each segment as soon as it is ready. With --words, also says when each
word was spoken. With --maps, also writes what the model listened to for each
word: pictures, numbers, and pages that play the recording.
"""

_EPILOG = f"""\
files in the --maps folder, for a recording NAME.wav
  NAME.html         one self-contained page that plays the recording and
                    highlights the word being spoken; a click on a word plays it
  NAME.METHOD.png   the words over time, on a spectrogram
{MAP_FILES.format("recording")}
A long recording has a picture and numbers for each window of the model; those
of the second window are NAME.2.METHOD.png, and so on.

formats
  text      to read: start, end and text of each segment (default)
  json      an object for each recording, on one line (see below)
  srt, vtt  subtitles for a video or audio player, one for each segment. With
            --words, long segments are cut between words, to two lines of 42
            characters and 7 seconds, and pauses are left out; vtt then also
            says when each word is spoken
  textgrid  for Praat: a tier of the segments, and with --words one of the words
  ctm       for scoring tools: a line for each word, also without --words:
            recording, channel, start, duration, word, score
A segment is about a sentence. A file of srt, vtt or textgrid holds one
recording; for several PATHs, a folder or a pattern, --out names a folder for
the files NAME.srt, NAME.vtt or NAME.TextGrid of the recordings.

examples
  multiattn transcribe talk.mp3
  multiattn transcribe talk.mp3 --words --format srt --out talk.srt
  multiattn transcribe talks/ --words --format vtt --out subs/
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --prompt 'Zoe, Noah.'
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --language fr \\
      --task translate
  multiattn transcribe talk.mp3 --words --format json --maps out/

with --format json, each line is one object ("words" only with --words, "maps"
only with --maps, "language" only from models for several languages, its
probability only where it was detected)
  {{"file": "talk.mp3", "text": "one two", "duration": 2.4, "language": "en",
   "language_probability": 0.97,
   "segments": [{{"start": 0.0, "end": 2.4, "text": "one two", "score": 0.98,
                 "no_speech": 0.01, "temperature": 0.0, "flags": []}}, ...],
   "words": [{{"word": "one", "start": 0.3, "end": 0.8, "score": 0.99}}, ...],
   "dropped": [], "flags": [], "maps": {{"attention": {{"html": "out/talk.html", "png": ...,
                         "npz": ..., "json": ...}}}}}}
Times are in seconds. score is the mean probability of the tokens (geometric for
a segment); no_speech is the probability that there is no speech, null for
models without it; temperature is above 0 where the most likely text failed a
check and another one was sampled. flags name what may be wrong: repeats (the
text repeats itself), stalled (the model's attention did not move on), backwards
(it moved back in time), silence (there was no sound), unheard (nobody speaks
there), empty (the recording has no samples at all). dropped lists the segments
that were left out: nobody speaks there, or they have a flag and the model says
itself that there is no speech. A remark says so if the language is uncertain.

{RECORDS.format("file, text, duration, language, flags, segments, words")}

{INPUTS.format("recording", "2 GiB")}

{BAD_FILES.format("recording")}
"""

TRANSCRIPTS = ("srt", "vtt", "textgrid", "ctm")
"""Formats of a transcript for other programs, beside those of records."""

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
)
"""What is written."""

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
        "text that came before, such as names and words to expect; for models that take it, such as Whisper",
    ),
)
"""What the model is told beside the sound."""

DECODING = (
    beams("beams of the search; 1 takes the most likely token each time (default: the model's own, or 5)"),
    Option(
        "--batch-size",
        "N",
        at_least_one,
        "chunks of a recording computed at once. With 1, windows follow each other as in Whisper, each with the "
        "text before it; more is faster, and cuts the recording at its pauses (default: 1 for models that write "
        "timestamps, such as Whisper, 8 for others)",
    ),
    DEVICE,
    PRECISION,
)
"""How text is searched and computed."""

OUTPUT = (
    record_format(*TRANSCRIPTS),
    out_file("; for several recordings as srt, vtt or textgrid, FILE is the folder for their files"),
    RESUME,
    *maps_of("transcribe"),
    STRICT,
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
            "speech and silence": SPEAKING,
            "steering": STEERING,
            "decoding": DECODING,
            "output": OUTPUT,
        },
        prog="multiattn transcribe",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
