"""What the model is told beside the sound, against the plain statement of each option."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs.speech_tokens import not_speech
from multiattn.pipelines import TranscribePipeline
from multiattn.pipelines.transcribe.decode import decode_windows
from multiattn.pipelines.transcribe.model import Encoded, SpeechModel
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.segments import Segment, WindowResult
from multiattn.pipelines.transcribe.steering import context_of, initial_prompt, prefix_of, suppressed_tokens
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle
from tests.pipelines.speaking import RATE, decoding, hush, speech_model, tone

QUICK = {"num_beams": 1, "temperatures": [0.0], "max_tokens": 9, "language": "en", "vad": "off"}


@pytest.fixture(scope="module")
def speech() -> SpeechModel:
    return speech_model(tiny_whisper_bundle())


@pytest.fixture(scope="module")
def whisper() -> TranscribePipeline:
    return TranscribePipeline(tiny_whisper_bundle(), device="cpu")


ASKED = SpeechOptions(
    decoding=decoding(tiny_whisper_bundle()), language="de", timestamps=True, temperatures=(0.0,), best_of=2
)


def encoded(speech: SpeechModel, count: int = 3) -> Encoded:
    samples = torch.stack([tone(2.0, pitch=300.0 + 170 * i) for i in range(count)])
    features = speech.preprocessing.features(samples)
    return speech.encode(features, [speech.preprocessing.frames(samples.shape[-1])] * count)


def plain(results: Sequence[WindowResult]) -> list[tuple]:
    return [(one.tokens, one.log_probs, one.avg_log_prob, one.no_speech_prob) for one in results]


def test_hotwords_and_a_carried_prompt_stand_before_the_text_so_far(speech) -> None:
    red, nine, the = (speech.tokenizer.encode(f" {word}") for word in ("red", "nine", "the"))
    options = replace(ASKED, hotwords=" red ", initial_prompt="nine", carry_prompt=True)
    assert context_of(speech, options, the) == [*red, *nine, *the]
    assert initial_prompt(speech, options) == []
    assert context_of(speech, replace(options, carry_prompt=False), the) == [*red, *the]
    assert initial_prompt(speech, replace(options, carry_prompt=False)) == nine
    assert context_of(speech, ASKED, the) == list(the) and context_of(speech, ASKED, ()) == []
    windows = encoded(speech)
    texts = [list(the), [], list(nine)]
    told = decode_windows(speech, windows, options, previous=texts)
    by_hand = decode_windows(speech, windows, ASKED, previous=[[*red, *nine, *text] for text in texts])
    assert plain(told) == plain(by_hand) != plain(decode_windows(speech, windows, ASKED, previous=texts))


def test_what_is_told_fits_the_prompt(speech) -> None:
    room = speech.model.config.decoder.max_length // 2 - 1
    hot, prompt, before = " red" * 99, " nine" * 99, speech.tokenizer.encode(" the" * 99)
    red, nine, the = (speech.tokenizer.encode(f" {word}")[0] for word in ("red", "nine", "the"))
    options = replace(ASKED, hotwords=hot)
    assert context_of(speech, options, before) == [red] * (room // 2) + [the] * (room - room // 2)
    options = replace(options, initial_prompt=prompt, carry_prompt=True)
    assert context_of(speech, options, before) == [red] * (room // 2) + [nine] * (room - room // 2)
    options = replace(ASKED, initial_prompt=prompt, carry_prompt=True)
    assert context_of(speech, options, before) == [nine] * room
    assert len(decode_windows(speech, encoded(speech, 1), replace(options, hotwords=hot), previous=[before])) == 1


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("timestamps", [True, False])
def test_a_text_begins_with_its_prefix_and_goes_on_as_the_model_would(speech, num_beams, timestamps) -> None:
    search = replace(ASKED.decoding, num_beams=num_beams)
    asked = replace(ASKED, decoding=search, timestamps=timestamps, prefix="red nine")
    tokens = [token for _, token in prefix_of(speech, asked)]
    spelled = speech.tokenizer.encode(" red nine")
    assert tokens == ([speech.tokens.first_timestamp, *spelled] if timestamps else list(spelled))
    windows = encoded(speech)
    found = decode_windows(speech, windows, asked)
    forced = replace(asked, prefix=None, decoding=replace(search, forced=tuple(enumerate(tokens))))
    assert [one.tokens for one in found] == [one.tokens for one in decode_windows(speech, windows, forced)]
    for one in found:
        assert list(one.tokens[: len(tokens)]) == tokens and one.text.startswith("red nine")
        # the mean is that of what the model chose, as the rules left it
        assert one.avg_log_prob < 0 and len(one.log_probs) >= len(one.tokens)
    some = decode_windows(speech, windows, asked, with_prefix=[False, True, False])
    bare = decode_windows(speech, windows, replace(asked, prefix=None))
    assert [one.tokens for one in some] == [bare[0].tokens, found[1].tokens, bare[2].tokens]


def test_a_prefix_must_leave_room(speech) -> None:
    with pytest.raises(ModelError, match="`prefix` must leave room for more text, but has .* of 13 tokens instead"):
        decode_windows(speech, encoded(speech, 1), replace(ASKED, prefix="red " * 20))


def test_only_the_first_text_of_a_recording_has_the_prefix(whisper) -> None:
    samples = torch.cat([part for i in range(2) for part in (tone(1.4, pitch=200 + 70 * i), hush(0.6))]).numpy()
    for batch_size in (1, 3):
        found = whisper([samples, samples], prefix="nine red", batch_size=batch_size, **QUICK)
        for result in found:
            assert result.text.startswith("nine red") and len(result.segments) > 1
        assert found[0].text == found[1].text
        bare = whisper(samples, batch_size=batch_size, **QUICK)
        assert not bare.text.startswith("nine red")


def test_tokens_are_suppressed_by_number_text_and_list(speech) -> None:
    tokenizer, tokens = speech.tokenizer, speech.tokens
    size = speech.model.config.decoder.vocab_size

    def never(asked) -> set[int]:
        return set(suppressed_tokens(asked, tokenizer, tokens, vocab_size=size)) - set(tokens.never_written())

    assert never("none") == never("") == never([]) == set()
    assert never("-1") == never(-1) == never([-1]) == set(not_speech(tokenizer)) - set(tokens.never_written())
    [the], [spaced] = tokenizer.encode("the"), tokenizer.encode(" the")
    assert never("the") == never(["the"]) == {the, spaced}
    assert never("7, 9,the") == {7, 9, the, spaced} == never([7, "9", "the"])
    assert set(tokens.never_written()) <= set(suppressed_tokens("none", tokenizer, tokens, vocab_size=size))
    for wrong, message in (
        ("-2", "`suppress` must be -1 or numbers of tokens, 0 to"),
        (str(size), "`suppress` must be -1 or numbers of tokens, 0 to"),
        ("therednine", "'therednine' is 3 instead"),
    ):
        with pytest.raises(ModelError, match=message):
            never(wrong)


def test_what_is_suppressed_is_never_written(whisper) -> None:
    samples = tone(3.0).numpy()
    tokens = {token for one in whisper(samples, **QUICK).segments for token in one.tokens}
    words = sorted(token for token in tokens if not whisper.speech.tokens.is_timestamp(token))[:3]
    other = {token for one in whisper(samples, suppress=words, **QUICK).segments for token in one.tokens}
    assert words and not other & set(words)


def test_thresholds_can_be_switched_off(whisper) -> None:
    samples = tone(2.0).numpy()
    options = {**QUICK, "temperatures": [0.0, 0.5]}
    loose = whisper(
        samples, log_prob_threshold="none", compression_ratio_threshold="none", no_speech_threshold="none", **options
    )
    strict = whisper(samples, log_prob_threshold=0.0, no_speech_threshold="none", **options)
    assert {one.temperature for one in loose.segments} == {0.0}
    assert loose.segments and strict.segments


def said(segments: Sequence[Segment]) -> list[tuple]:
    """What must not depend on the other chunks of a batch, which round probabilities."""
    return [(one.start, one.end, one.tokens, [word.text for word in one.words]) for one in segments]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_channel_is_transcribed_by_itself(whisper, batch_size) -> None:
    left = torch.cat([tone(1.1), hush(0.9), tone(0.7, pitch=900), hush(0.3)]).numpy()
    right = torch.cat([hush(1.0), tone(1.2, pitch=300), hush(0.1), tone(0.7, pitch=700)]).numpy()
    both, options = np.stack([left, right]), {"batch_size": batch_size, "words": True, **QUICK}
    seen: list = []
    [found] = whisper.stream([both], channel="each", on_segment=seen.append, **options)
    assert tuple(seen) == found.segments and {one.channel for one in seen} == {"left", "right"}
    starts = [one.start for one in seen]
    assert starts == sorted(starts)
    for name, samples in (("left", left), ("right", right)):
        alone = whisper(samples, **options)
        own = [one for one in found.segments if one.channel == name]
        assert said(own) == said(alone.segments) and own
        picked = whisper(both, channel=name, **options)
        assert said(picked.segments) == said(alone.segments) and picked.remark is None
    assert said(list(whisper.segments(both, channel="each", **options))) == said(seen)
    record = found.to_dict()
    assert [one["channel"] for one in record["segments"]] == [one.channel for one in seen]
    assert {one["channel"] for one in record["words"]} == {"left", "right"}
    assert "left: " in found.formatted("srt") and "<v right>" in found.formatted("vtt")
    assert [line.split()[1] for line in found.formatted("ctm").splitlines()].count("2") == sum(
        len(one.words) for one in seen if one.channel == "right"
    )
    assert found.formatted("tsv").splitlines()[0] == "start\tend\ttext\tspeaker"
    assert found.duration == pytest.approx(len(left) / RATE)


def test_channels_that_cancel_are_told_and_heard(whisper) -> None:
    samples = torch.cat([tone(1.5), hush(0.5, level=0.01), tone(1.0, pitch=700)]).numpy()
    found = whisper(np.stack([samples, -samples]), **QUICK)
    assert found.segments == whisper(samples, **QUICK).segments and found.segments
    assert found.to_dict()["remark"].startswith("has channels that cancel each other in their mean: channel left")
    with pytest.raises(ModelError, match="`maps` must be of one channel, but `channel` is 'each' instead"):
        whisper(samples, channel="each", maps="attention")


def test_models_without_times_take_channels_and_clips() -> None:
    ours = TranscribePipeline(tiny_speech_bundle(), device="cpu")
    options = {"num_beams": 1, "temperatures": [0.0], "max_tokens": 9}
    samples = torch.cat([tone(1.5), hush(3.0), tone(1.0, pitch=700)]).numpy()
    whole = ours(samples, **options)
    part = ours(np.stack([samples, samples]), clips=[(3.0, float("inf"))], channel="each", **options)
    assert {one.channel for one in part.segments} == {"left", "right"}
    assert all(one.start >= 3.0 for one in part.segments) and len(whole.segments) > 1
