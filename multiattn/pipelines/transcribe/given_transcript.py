"""A transcript that the caller gives, in place of one that is searched for: its words with their probabilities.

It is read in one window of the model. `align` follows a text through a longer recording.
"""

from collections.abc import Iterator, Sequence

from ...alignment.word_grouping import UNSPACED
from ...checks import require
from ...errors import InputError
from ...inputs import Recording
from ..given_caption import given_tokens, score_tokens
from .cutting import compression_ratio
from .model import SpeechModel
from .options import SpeechOptions, TranscribeOptions
from .segments import DecodedWindow, Segment, WindowResult
from .word_timestamps import WordTimestamper


def given_segments(
    speech: SpeechModel, recording: Recording, text: str, options: SpeechOptions, *, add_words: WordTimestamper
) -> Iterator[Segment]:
    """Yield the given text as the one segment of a recording, with the probability of each of its tokens.

    Args:
        speech: The model.
        recording: At most as long as a window of the model.
        text: What is to be explained.
        options: `language` and `task`.
        add_words: Adds the words, and keeps their maps.

    Raises:
        InputError: The recording is longer, or the text has no word, one that the vocabulary lacks, or too many.
    """
    most, seconds = speech.preprocessing.max_seconds, recording.measure()
    if seconds > most:
        raise InputError(
            f"{recording.name} must be at most {most:g} seconds long for `explain_text`, one window of the model, but "
            f"is {seconds:.1f} instead. Cut it, or use `multiattn align`, which follows a text through a recording."
        )
    samples = recording.read(0.0, most)
    length = speech.preprocessing.frames(len(samples))
    encoded = speech.encode(speech.preprocessing.features(samples)[None], [length])
    language = options.language or next(iter(speech.tokens.languages), None)
    prompt = speech.tokens.prompt(language=language, task=options.task)
    tokens = spoken_tokens(speech, text, prompt, language=language)
    (one,) = score_tokens(speech.model.decoder, encoded.projected, prompt, tokens)
    written = speech.text_of(tokens)
    result = WindowResult(
        tokens=tokens,
        log_probs=one.log_probs,
        text=written.strip(),
        avg_log_prob=one.score / len(one.log_probs),
        compression_ratio=compression_ratio(written),
        no_speech_prob=None,
        temperature=0.0,
        hottest=0.0,
        language=language,
    )
    segment = Segment(
        start=0.0,
        end=seconds,
        text=written,
        tokens=tokens,
        log_probs=one.log_probs[: len(tokens)],
        avg_log_prob=result.avg_log_prob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=None,
        temperature=0.0,
        language=language,
    )
    window = DecodedWindow(
        encoded.projected, 0, samples, 0.0, encoded.frames[0], result, options.task, segments=(segment,)
    )
    yield from add_words(window)


def refuse_given(options: TranscribeOptions) -> None:
    """Refuse a text where nothing is transcribed as a whole: `align` has one of its own, and live sound goes on.

    Raises:
        ModelError: There is one.
    """
    text = options.get("explain_text")
    require(text is None, "explain_text", must="None but for a transcription of whole recordings", value=text)


def spoken_tokens(speech: SpeechModel, text: str, prompt: Sequence[int], *, language: str | None) -> tuple[int, ...]:
    """Return the tokens of a text as the model would write it after its prompt.

    Raises:
        InputError: As for `given_tokens`.
    """
    room = speech.model.config.decoder.max_length - len(prompt) - 1  # the end token
    given_tokens(text, speech.tokenizer, (), most=room)
    # Whisper writes a space before its first word, too
    space = " " if language not in UNSPACED and speech.tokens.first_timestamp is not None else ""
    tokens = tuple(speech.tokenizer.encode(f"{space}{text.strip()}"))
    if len(tokens) > room:
        raise InputError(f"`explain_text` must have at most {room} tokens, but has {len(tokens)} instead: shorten it")
    return tokens
