"""A transcript that is given: the probability of each word, against a pass token by token, and its maps."""

import numpy as np
import pytest
import torch

from multiattn.errors import InputError, ModelError
from multiattn.pipelines import TranscribePipeline
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle

WHISPER = ("whisper", "ctc")


@pytest.fixture(scope="module", params=WHISPER)
def transcribe(request: pytest.FixtureRequest) -> TranscribePipeline:
    bundle = tiny_whisper_bundle() if request.param == "whisper" else tiny_speech_bundle()
    return TranscribePipeline(bundle, device="cpu")


def sound(transcribe: TranscribePipeline, share: float = 0.7) -> np.ndarray:
    count = round(share * transcribe.bundle.sound.max_samples)
    return 0.1 * np.random.default_rng(5).standard_normal(count).astype(np.float32)


def text_of(transcribe: TranscribePipeline) -> str:
    """A text of the model's vocabulary: it need not be what the model would write."""
    tokenizer = transcribe.speech.tokenizer
    return "one two" if tokenizer.decode(tokenizer.encode("one two")).strip() == "one two" else "12"


def test_each_word_has_the_probability_that_a_growing_text_gives_it(transcribe) -> None:
    speech, samples, text = transcribe.speech, sound(transcribe), text_of(transcribe)
    language = {"language": "en"} if speech.tokens.languages else {}
    found = transcribe(samples, explain_text=f"  {text} ", maps="all", check=True, **language)
    assert found.text == text
    (segment,) = found.segments
    model = speech.model
    features = speech.preprocessing.features(torch.from_numpy(samples))[None]
    length = torch.tensor([speech.preprocessing.frames(len(samples))])
    said = list(speech.tokens.prompt(language="en" if language else None))
    log_probs = []
    for token in segment.tokens:
        with torch.no_grad():
            logits = model(features, torch.tensor([said]), lengths=length)[0, -1].double()
        log_probs.append(float(logits.log_softmax(0)[token]))
        said.append(token)
    assert segment.log_probs == pytest.approx(log_probs, abs=1e-4)
    assert [word.text.strip() for word in found.words] == text.split()
    for word in found.words:  # the mean of its tokens
        assert word.score == pytest.approx(np.mean(np.exp([log_probs[piece] for piece in word.pieces])), rel=1e-3)
    left = set(range(len(log_probs))) - {piece for word in found.words for piece in word.pieces}
    assert not speech.tokenizer.decode([segment.tokens[piece] for piece in left]).strip()
    assert {one.map.method for one in found.maps} == {"attention", "lrp"}
    for one in found.maps:
        assert [label.strip() for label in one.map.axes[0].labels or ()] == text.split()
    assert len(found.verdicts) == len(found.maps)


def test_nothing_is_searched_for(transcribe, monkeypatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("multiattn.pipelines.transcribe.decode.generate", never)
    other, text = sound(transcribe, 0.3), text_of(transcribe)
    first, second = transcribe([sound(transcribe), other], explain_text=text, batch_size=2)
    assert first.text == second.text == text and not first.maps and first.words
    assert [word.score for word in first.words] != [word.score for word in second.words], "the sound must matter"


def test_what_cannot_be_used_is_named(transcribe) -> None:
    long, text = sound(transcribe, 1.3), text_of(transcribe)
    with pytest.raises(InputError, match="must be at most .* seconds long for `explain_text`, one window of the model"):
        transcribe(long, explain_text=text)
    with pytest.raises(InputError, match="`explain_text` must have a word, but is ' ' instead"):
        transcribe(sound(transcribe), explain_text=" ")
    with pytest.raises(InputError, match="`explain_text` must have at most [0-9]+ tokens, but has"):
        transcribe(sound(transcribe), explain_text=f"{text} " * 500)
    with pytest.raises(ModelError, match="`explain_text` must be of one channel, but `channel` is 'each' instead"):
        transcribe(sound(transcribe), explain_text=text, channel="each")
    message = "`explain_text` must be None but for a transcription of whole recordings"
    with pytest.raises(ModelError, match=message):
        transcribe.align(sound(transcribe), text, explain_text=text)
    if transcribe.speech.tokens.first_timestamp is not None:
        with pytest.raises(ModelError, match=message):
            transcribe.live(explain_text=text)
