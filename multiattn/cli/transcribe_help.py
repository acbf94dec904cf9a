"""What `multiattn transcribe --help` says before and after the options."""

from .map_options import CHECK, MAP_FILES
from .options import BAD_FILES, INPUTS, MANY, RECORDS

DESCRIPTION = """\
Write down what is said in recordings of any length, in the order of the
inputs, each segment as soon as it is ready. With --words, also says when each
word was spoken. With --maps, also writes what the model listened to for each
word: pictures, numbers, and pages that play the recording.
"""

EPILOG = f"""\
map methods
  attention         what the decoder listened to while it chose the word: its
                    cross-attention, mean of the alignment heads
  lrp               the contribution of each moment and mel band to the word's
                    probability, through every operation (Achtibat et al. 2024):
                    which sound made it; a backward pass for each word
  all               all of these

files in the --maps folder, for a recording NAME.wav
  NAME.html         one self-contained page that plays the recording and
                    highlights the word being spoken; a click on a word plays it
  NAME.METHOD.png   the words over time, on a spectrogram
{MAP_FILES.format("recording")}
A long recording has a picture and numbers for each window of the model; those
of the second window are NAME.2.METHOD.png, and so on.

{CHECK}
  The middle of a word is where it would be if all words took the same time.
  Each window of the model has a verdict of its own ("start", "end").

formats
  text      to read: start, end and text of each segment (default)
  json      an object for each recording, on one line (see below)
  srt, vtt  subtitles for a video or audio player, one for each segment. With
            --words, long segments are cut between words, to two lines of 42
            columns and 7 seconds, and pauses are left out; vtt then also says
            when each word is spoken
  lrc       lyrics: a line for each segment, with --words the time of each word
  tsv       a table of start and end in milliseconds, and text, as
            openai-whisper writes it
  verbose_json
            the answer of OpenAI's API
  textgrid  for Praat: a tier of the segments, and with --words one of the words
  ctm       for scoring tools: a line for each word, also without --words:
            recording, channel, start, duration, word, score
A segment is about a sentence. A file of these formats holds one recording (but
ctm any number); for several PATHs, a folder, a pattern or several formats,
--out names a folder for the files NAME.srt, NAME.vtt and so on.

live
  Words are written as soon as they are settled: they never change then. Each
  utterance is a line; on a terminal, words that may still change follow, dim.
  Silence costs nothing. Ctrl-C ends, with the words that were not settled yet.
  With --format json, each line is an update ("text", "settled",
  "unsettled_text", "unsettled", "seconds", "is_end"), and the last has the
  "transcript"; other formats, and --out, have the whole at the end. The search
  is greedy.

channels
  With --channel each, segments are in order of time and have their channel:
  left, right, or a number from 1 where there are more than two. It stands
  before the text (text, srt, lrc), is the voice (vtt), the channel (ctm), a
  tier (textgrid), "channel" (json) or a column (tsv). Where the channels of a
  recording cancel each other in their mean, or have voices of their own, that
  is said on standard error and in the result ("remark").

examples
  multiattn transcribe talk.mp3
  multiattn transcribe talk.mp3 --words --format srt --out talk.srt
  multiattn transcribe talks/ --words --format vtt,lrc --out subs/
  multiattn transcribe call.wav --channel each --words-per-cue 8 --format srt
  multiattn transcribe talk.mp3 --clip 0:30-1:10 --clip 1:05:00-
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --prompt 'Zoe, Noah.'
  multiattn transcribe talk.mp3 --model WHISPER-FOLDER --language fr \\
      --task translate
  multiattn transcribe talk.mp3 --words --format json --maps out/
  multiattn transcribe talk.mp3 --speakers talk.rttm --format vtt --out talk.vtt
  multiattn transcribe --live mic --model openai/whisper-tiny.en
  ffmpeg -i URL -f s16le -ac 1 -ar 16000 - | multiattn transcribe --live -

with --format json, each line is one object ("words" only with --words, "maps"
only with --maps, "language" only from models for several languages, its
probability only where it was detected)
  {{"file": "talk.mp3", "text": "one two", "duration": 2.4, "language": "en",
   "language_probability": 0.97,
   "segments": [{{"start": 0.0, "end": 2.4, "text": "one two", "score": 0.98,
                 "no_speech": 0.01, "temperature": 0.0, "flags": []}}, ...],
   "words": [{{"word": "one", "start": 0.3, "end": 0.8, "score": 0.99}}, ...],
   "dropped": [], "flags": [],
   "maps": {{"attention": {{"html": "out/talk.html", "png": ..., "npz": ...,
                          "json": ...}}}}}}
Times are in seconds. score is the mean probability of the tokens (geometric for
a segment); no_speech is the probability that there is no speech, null for
models without it; temperature is above 0 where the most likely text failed a
check and another one was sampled. flags name what may be wrong: repeats (the
text repeats itself), stalled (the model's attention did not move on), backwards
(it moved back in time), silence (there was no sound), unheard (nobody speaks
there), empty (the recording has no samples at all), uncovered (somebody speaks
where no text came of it: "uncovered" has start and end). dropped lists the
segments that were left out: nobody speaks there, or they have a flag and the
model says itself that there is no speech. A remark says so if the language is
uncertain.

{RECORDS.format("file, text, duration, language, flags, segments, words")}

{INPUTS.format("recording", "2 GiB")}

{MANY.format("recording")}

{BAD_FILES.format("recording")}
"""
