"""Ours against openai-whisper's `find_alignment`: the same weights, tokens and words."""

from functools import partial

import pytest
import torch

from multiattn.alignment import dtw, group_words, median_filter, word_times
from multiattn.inputs import Tokenizer
from multiattn.models import SpeechConfig, SpeechEncoderConfig, SpeechRecognizer, TextDecoderConfig
from multiattn.weights.state import load_into
from multiattn.weights.whisper import TABLE
from tests.parity.random_weights import randomize

pytest.importorskip("whisper", reason="the reference is in the `parity` extra")
from whisper import timing  # noqa: E402
from whisper.model import ModelDimensions, Whisper  # noqa: E402
from whisper.tokenizer import get_tokenizer  # noqa: E402

# their vocabulary is read from a file that is left to the collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

FRAMES = 127
TEXTS = {
    "en": ' The price was 3.14 (about); she said: "don\'t!" 2 miles -- ok?',
    "de": " Schöne Grüße, über 1.000 Maß...",
    "zh": "红色的狐狸跑了，真的吗？",
    "ru": " «Да», сказал он.",
}


class Theirs(Tokenizer):
    """Their vocabulary behind our interface."""

    def __init__(self, theirs):
        self.theirs = theirs
        self.special_ids = frozenset(range(theirs.eot, theirs.encoding.n_vocab))

    def decode(self, ids):
        return self.theirs.encoding.decode([i for i in ids if i < self.theirs.eot])


def pair(*, multilingual):
    vocabulary, end = (51865, 50257) if multilingual else (51864, 50256)
    theirs = Whisper(ModelDimensions(80, FRAMES, 26, 2, 2, vocabulary, 97, 26, 2, 3)).eval()
    randomize(theirs, seed=11)
    config = SpeechConfig(
        SpeechEncoderConfig(dim=26, depth=2, num_heads=2, mlp_dim=104, max_frames=FRAMES),
        TextDecoderConfig(
            vocab_size=vocabulary,
            dim=26,
            depth=3,
            num_heads=2,
            mlp_dim=104,
            max_length=97,
            context_dim=26,
            start_token=end + 1,
            end_token=end,
            pad_token=end,
        ),
    )
    ours = SpeechRecognizer(config).eval()
    load_into(ours, theirs.state_dict(), table=TABLE, where="random weights")
    return theirs, ours


def heads_of(theirs):
    return [tuple(head) for head in theirs.alignment_heads.indices().T.tolist()]


@pytest.fixture(scope="module")
def models():
    return {multilingual: pair(multilingual=multilingual) for multilingual in (False, True)}


def vocabulary(multilingual, language):
    return get_tokenizer(multilingual, language=language if multilingual else None)


CASES = [(False, "en", 254), (False, "en", 101), (True, "de", 254), (True, "zh", 203), (True, "ru", 254)]


@pytest.mark.parametrize(("multilingual", "language", "feature_frames"), CASES)
@pytest.mark.parametrize("some_heads", [False, True])
def test_words_and_their_times_are_the_same(models, multilingual, language, feature_frames, some_heads):
    theirs, ours = models[multilingual]
    if some_heads:
        mask = torch.zeros(3, 2, dtype=torch.bool)
        mask[1, 0] = mask[2, 1] = True
        theirs.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    tokenizer = vocabulary(multilingual, language)
    ids = tokenizer.encode(TEXTS[language])
    features = torch.randn(80, 2 * FRAMES, generator=torch.Generator().manual_seed(3))
    expected = timing.find_alignment(theirs, tokenizer, list(ids), features, feature_frames)
    own = Theirs(tokenizer)
    words = group_words(own, ids, language=language)
    prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
    with torch.inference_mode():
        context = ours.encode(features[None])
    times = partial(
        word_times,
        ours,
        context,
        [[*prompt, *ids]],
        [words],
        prompt_lengths=[len(prompt)],
        frames=[feature_frames // 2],
        heads=heads_of(theirs),
        special_ids=own.special_ids,
    )
    (found,) = times(merge=False)
    check(found, expected)
    assert len({word.start for word in found}) > 2  # or the comparison would say little
    text = own.decode(ids)
    assert all(text[word.start_char : word.end_char] == word.text for word in found)
    timing.merge_punctuations(expected, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    (joined,) = times(merge=True)
    check(joined, [word for word in expected if word.word])
    assert len(joined) < len(found)


def check(found, expected):
    assert [word.text for word in found] == [word.word.strip() for word in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.start, ours.end) == pytest.approx((theirs.start, theirs.end), abs=1e-9)
        assert ours.score == pytest.approx(theirs.probability, rel=1e-4)
        assert len(ours.pieces) == len(theirs.tokens)


def test_paths_and_filters_are_the_same():
    x = torch.randn(37, 211, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(dtw(x.numpy()), timing.dtw_cpu(x.double().numpy()), strict=True):
        assert ours.tolist() == theirs.tolist()
    for width in (3, 7, 9):
        assert torch.equal(torch.from_numpy(median_filter(x.numpy(), width)), timing.median_filter(x, width))
