import numpy as np
import pytest
import torch

from multiattn.alignment import merge_punctuation, progress, token_attention, word_times
from multiattn.alignment.teacher_forcing import check_heads
from multiattn.alignment.word_grouping import SpokenWord
from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.inputs.text import Word
from multiattn.maps import speech_attention, speech_attention_stack
from tests.alignment.following import END, FRAMES, HEADS, LAYERS, START, VOCABULARY, context, recognizer
from tests.fixtures import tiny_speech_bundle

FRAMES_OF_ROWS = [12.0, 26.0, 31.0, 47.0, 60.0, 71.0]  # of the rows that predict the five tokens and the end
TOKENS = [START, 5, 7, 3, 11, 4]
WORDS = [Word("half", 0, 4, (0,)), Word("seven", 5, 10, (1, 2)), Word("?", 10, 11, (3,)), Word("12", 12, 14, (4,))]
BEGINS = [
    0.0,
    0.38,
    0.78,
    1.07,
    1.31,
]  # half way between the attended frames, in seconds: of the words, and of the end token
HEAD = (1, 1)


def following():
    return recognizer([*FRAMES_OF_ROWS, 75.0], {HEAD: "follows", (2, 0): "parked"})


def times_of(model=None, *, texts=(TOKENS,), words=None, prompt=1, frames=FRAMES, recordings=1, **options):
    of_each = {"prompt_lengths": [prompt] * len(texts), "frames": [frames] * len(texts)}
    words = [WORDS] * len(texts) if words is None else words
    options = {"heads": [HEAD], "merge": False, **of_each, **options}
    return word_times(model or following(), context(recordings), texts, words, **options)


def test_words_begin_where_the_attention_moves_on_and_end_where_the_next_begins():
    (found,) = times_of()
    np.testing.assert_allclose([word.start for word in found], BEGINS[:-1], atol=0.05)
    np.testing.assert_allclose([word.end for word in found], BEGINS[1:], atol=0.05)
    for word, given in zip(found, WORDS, strict=True):
        assert (word.text, word.start_char, word.end_char, word.pieces) == tuple(given)
        assert word.score == pytest.approx(1 / VOCABULARY)  # the model knows nothing of words


def test_the_end_token_may_be_there_already():
    assert times_of(texts=[[*TOKENS, END]]) == times_of()


def test_times_scale_with_the_frame_duration():
    twice = times_of(frame_seconds=0.04)[0]
    assert [word.start for word in twice] == [2 * word.start for word in times_of()[0]]


def test_the_prompt_has_no_times():
    shifted = [Word(word.text, word.start, word.end, tuple(p - 1 for p in word.pieces)) for word in WORDS[1:]]
    (found,) = times_of(words=[shifted], prompt=2)
    np.testing.assert_allclose([word.end for word in found], BEGINS[2:], atol=0.05)
    assert found[0].start == 0  # nothing comes before it


def test_frames_after_the_recording_have_no_words():
    (found,) = times_of(frames=53)
    assert found[-1].end <= 52 * 0.02
    np.testing.assert_allclose([word.start for word in found][:2], BEGINS[:2], atol=0.05)


def test_no_words_no_times():
    assert times_of(words=[[]]) == [[]]


def test_heads_are_the_later_half_of_the_layers_where_none_are_named():
    model = following()
    assert check_heads(model, None) == ((1, 0), (1, 1), (2, 0), (2, 1))
    assert check_heads(model, [(2, 1), (0, 0), (2, 1)]) == ((2, 1), (0, 0))
    np.testing.assert_allclose(  # flat and parked heads contribute nothing
        [word.start for word in times_of(model, heads=None)[0]], BEGINS[:-1], atol=0.05
    )


@pytest.fixture(scope="module")
def drawn():
    """A model with random weights, three ragged transcripts of two recordings each, and what the decoder attends to."""
    model = tiny_speech_bundle().model
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(2, 13, 163, generator=generator)
    lengths = torch.tensor([163, 97])
    with torch.inference_mode():
        encoded = model.encode(features, lengths=lengths)
        attention_mask = model.context_attention_mask(encoded.shape[1], lengths)
        projected = model.decoder.project_context(encoded, attention_mask=attention_mask)
    config = model.config.decoder
    texts = [
        [config.start_token, *torch.randint(4, config.vocab_size, (count,), generator=generator).tolist()]
        for count in (7, 13, 2, 5, 11, 3)
    ]
    words = [[Word(f"w{i}", 3 * i, 3 * i + 2, (i,)) for i in range(len(text) - 1)] for text in texts]
    frames = [41] * 3 + [25] * 3
    return model, projected, texts, words, frames


def test_a_batch_of_ragged_transcripts_gives_the_times_of_each_alone(drawn):
    model, projected, texts, words, frames = drawn
    together = word_times(model, projected, texts, words, prompt_lengths=[1] * 6, frames=frames, frame_seconds=0.04)
    for i in range(6):
        one = projected.select(torch.tensor([i // 3]))
        (alone,) = word_times(
            model, one, texts[i : i + 1], words[i : i + 1], prompt_lengths=[1], frames=frames[i : i + 1],
            frame_seconds=0.04,
        )  # fmt: skip
        for a, b in zip(together[i], alone, strict=True):
            assert a[:3] == b[:3] and a.score == pytest.approx(b.score, rel=1e-4)


def test_scores_are_the_probabilities_of_the_tokens(drawn):
    model, projected, texts, _, frames = drawn
    whole = [Word("all", 0, 3, tuple(range(len(texts[1]) - 1)))]
    words = [whole if i == 1 else [] for i in range(6)]
    found = word_times(model, projected, texts, words, prompt_lengths=[1] * 6, frames=frames)[1][0]
    first = projected.select(torch.tensor([0]))
    tokens = torch.tensor([texts[1]])
    with torch.inference_mode():
        shares = model.decoder(tokens[:, :-1], first).softmax(-1).gather(-1, tokens[:, 1:, None])
        without = model.decoder(tokens[:, :-1], first)[..., 4:].softmax(-1).gather(-1, tokens[:, 1:, None] - 4)
    assert found.score == pytest.approx(float(shares.mean()), rel=1e-4)
    listed = [[0.0]] * 6
    listed[1] = [-float(i) for i in range(13)]
    options = {"prompt_lengths": [1] * 6, "frames": frames}
    of_text = word_times(model, projected, texts, words, special_ids=range(4), **options)[1][0]
    assert of_text.score == pytest.approx(float(without.mean()), rel=1e-4)
    known = word_times(model, projected, texts, words, log_probs=listed, **options)[1][0]
    assert known.score == pytest.approx(np.exp(listed[1]).mean())
    assert known[:3] == of_text[:3] == found[:3]


def step_by_step(model, projected, text):
    """The cross weights of a cached decode, one token and one tap at a time: (l, h, n, m)."""
    cache = model.decoder.start(projected, rows=1, capacity=len(text) + 1)
    rows = []
    for token in text:
        sites = model.decoder.attention_sites(tokens=1, context_tokens=projected.layers[0].keys.shape[2])
        tap = Tap(sites, select="*.cross")
        with torch.inference_mode():
            model.decoder(torch.tensor([[token]]), cache=cache, tap=tap)
        rows.append(torch.stack(list(tap.weights.values()))[:, 0, :, 0])
    return torch.stack(rows, dim=2).numpy()


def test_attention_of_step_by_step_decoding_equals_the_replay(drawn):
    model, projected, texts, words, frames = drawn
    (stack,) = speech_attention_stack(
        model, projected.select(torch.tensor([1])), texts[4:5], words[4:5], prompt_lengths=[1], frames=frames[4:5]
    )
    seen = step_by_step(model, projected.select(torch.tensor([1])), texts[4])
    assert stack.names == ("layer", "head", "word", "time")
    np.testing.assert_allclose(stack.values, seen[:, :, :-1, : frames[4]], atol=1e-5)
    (attention,) = token_attention(
        model, projected.select(torch.tensor([1])), texts[4:5], prompt_lengths=[1], frames=frames[4:5], heads=[(0, 1)]
    )
    np.testing.assert_allclose(attention.mean, seen[0, 1, :, : frames[4]], atol=1e-5)
    assert attention.log_probs is None
    assert progress(attention.mean[None, :-1]).tokens == 11


def test_maps_are_means_of_the_stack_and_can_be_chosen(drawn):
    model, projected, texts, _, frames = drawn
    words = [[Word("ab", 1, 3, (0, 1)), Word("c", 3, 4, (1,))]] * 6
    options = {"prompt_lengths": [1] * 6, "frames": frames, "frame_seconds": 0.04}
    stack = speech_attention_stack(model, projected, texts, words, **options, starts=[30.0] * 6)[5]
    seen = step_by_step(model, projected.select(torch.tensor([1])), texts[5])[:, :, :-1, :25]
    np.testing.assert_allclose(stack.values[:, :, 0], seen[:, :, :2].mean(axis=2), atol=1e-5)
    word, time = stack.axes[2:]
    assert (word.labels, time.unit, time.start, time.step) == ((" ab", "c"), "second", 30.0, 0.04)
    assert stack.target == "abc" and stack.sites == ("decoder.blocks.0.cross", "decoder.blocks.1.cross")
    every = speech_attention(stack)
    np.testing.assert_allclose(every.values, stack.values.mean(axis=(0, 1)), atol=1e-7)
    assert every.names == ("word", "time") and every.sites == stack.sites and every.heads is None
    one = speech_attention(stack, layer=-1, head=0)
    np.testing.assert_array_equal(one.values, stack.values[1, 0])
    assert (one.sites, one.heads) == (("decoder.blocks.1.cross",), (0,))
    some = speech_attention(stack, heads=[(0, 1), (1, 0)])
    np.testing.assert_allclose(some.values, (stack.values[0, 1] + stack.values[1, 0]) / 2, atol=1e-7)
    assert (some.sites, some.heads) == (stack.sites, (0, 1))
    np.testing.assert_allclose(speech_attention(stack, head=1).values, stack.values[:, 1].mean(axis=0), atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, "`layer` must be from -2 to 1, but is 2 instead"),
        ({"head": 2}, "`head` must be from 0 to 1, but is 2 instead"),
        (
            {"heads": [(0, -1)]},
            r"the layers 0 to 1 and the heads 0 to 1, but one is \(0, -1\) instead: `multiattn align",
        ),
        ({"heads": [(-1, 0)]}, r"the layers 0 to 1 and the heads 0 to 1, but one is \(-1, 0\) instead"),
        ({"heads": []}, "`heads` must be at least one, but are none: `multiattn align-heads` finds some"),
        ({"heads": [(0, 0)], "head": 0}, "a layer or head must not be chosen together with `heads`"),
    ],
)
def test_heads_that_are_not_in_the_stack_are_refused(drawn, options, message):
    model, projected, texts, words, frames = drawn
    stack = speech_attention_stack(model, projected, texts, words, prompt_lengths=[1] * 6, frames=frames)[0]
    with pytest.raises(ModelError, match=message):
        speech_attention(stack, **options)


def test_pauses_belong_to_no_word():
    times = np.arange(round(FRAMES * 0.02 * 16_000)) / 16_000
    spoken = [(0.1, 0.3), (0.45, 0.7), (1.12, 1.25)]
    loud = np.any([(times >= a) & (times < b) for a, b in spoken], axis=0)
    samples = torch.from_numpy((loud * np.sin(times * 9000) * 0.3).astype(np.float32))
    words = [word for word in WORDS if word.text != "?"]
    (found,) = times_of(words=[words], samples=[samples])
    np.testing.assert_allclose([(word.start, word.end) for word in found], spoken, atol=0.03)


def test_punctuation_joins_its_word_and_leaves_it_its_times():
    apart, (joined,) = times_of()[0], times_of(merge=True)
    assert [word.text for word in joined] == ["half", "seven?", "12"]
    assert joined[1] == apart[1]._replace(text="seven?", end_char=11, pieces=(1, 2, 3))


def word(text, start_char):
    return SpokenWord(text, 0.0, 0.1, 0.5, start_char, start_char + len(text), (start_char,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("( so ) , no", ["( so", ")", ",", "no"]),
        ("a (b) c.", ["a", "(b)", "c."]),
        ("what ?! - no", ["what", "?!", "- no"]),
        ('"go!" - he', ['"go!"', "- he"]),
        ("7 . 5", ["7", ".", "5"]),
        ("", []),
    ],
)
def test_which_punctuation_joins_what(text, expected):
    words, start = [], 0
    for i, character in enumerate([*text, " "]):
        is_letter = character.isalnum()
        if start < i and (not is_letter or not text[i - 1].isalnum()):
            words.append(word(text[start:i], start))
            start = i
        if character == " ":
            start = i + 1
    found = merge_punctuation(words)
    assert [one.text for one in found] == expected
    assert all(text[one.start_char : one.end_char] == one.text for one in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": [TOKENS] * 3, "recordings": 2}, "as many transcripts for each of 2 recordings, but are of 3"),
        ({"texts": []}, "as many transcripts for each of 1 recordings, but are of 0"),
        ({"words": [WORDS] * 2}, "`words` must be one for each of 1 transcripts, but are 2"),
        ({"samples": []}, "`samples` must be one for each of 1 transcripts, but are 0"),
        ({"log_probs": []}, "`log_probs` must be one for each of 1 transcripts, but are 0"),
        ({"log_probs": [[-1.0]]}, "`log_probs` must be of all 5 tokens of the text, but are 1 instead"),
        ({"prompt_lengths": []}, "`prompt_lengths` must be one for each of 1 transcripts, but are 0"),
        ({"frames": 0}, f"`frames` of transcript 0 must be from 1 to the {FRAMES} the encoder gave, but is 0"),
        ({"frames": 84}, f"`frames` of transcript 0 must be from 1 to the {FRAMES} the encoder gave, but is 84"),
        ({"prompt": 0}, "`prompt_lengths` of transcript 0 must be from 1 to its 6 tokens"),
        ({"prompt": 7}, "`prompt_lengths` of transcript 0 must be from 1 to its 6 tokens"),
        ({"heads": []}, "`heads` must be at least one, but are none: `multiattn align-heads` finds some"),
        (
            {"heads": [(0, HEADS)]},
            f"layers 0 to {LAYERS - 1} and the heads 0 to {HEADS - 1}, but one is \\(0, {HEADS}\\) instead",
        ),
        ({"heads": [(-1, 0)]}, r"but one is \(-1, 0\) instead"),
        ({"words": [[Word("a", 0, 1, (5,))]]}, r"`pieces` of the word 'a' must be from 0 to 4, but are \(5,\) instead"),
        ({"words": [[Word("a", 0, 1, ())]]}, r"must be from 0 to 4, but are \(\) instead"),
        ({"texts": [[*TOKENS, *TOKENS]]}, "a text may have 7 tokens"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        times_of(**changes)


@pytest.mark.parametrize("pieces", [(5,), (-1,), ()])
def test_pieces_that_do_not_fit_are_refused_with_samples_too(pieces):
    with pytest.raises(ModelError, match=r"`pieces` of the word 'a' must be from 0 to 4, but are"):
        times_of(words=[[Word("a", 0, 1, pieces)]], samples=[torch.zeros(16_000)])


@pytest.mark.parametrize("count", [0, 1, 399, 16_000, 26_560])
def test_any_recording_gives_words_in_order_that_last(count):
    generator = torch.Generator().manual_seed(count)
    samples = torch.randn(count, generator=generator) * torch.linspace(0, 1, max(count, 1))[:count]
    (found,) = times_of(samples=[samples], merge=True)
    flat = [time for word in found for time in (word.start, word.end)]
    assert flat == sorted(flat) and flat[0] >= 0 and flat[-1] <= count / 16_000 + 1e-9
    assert all(word.end - word.start >= min(0.04, count / 16_000 / len(found)) - 1e-9 for word in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": [[]]}, "`words` of transcript 0 must be at least one, but are none: it has no maps"),
        ({"words": []}, "`words` must be one for each of 1 transcripts, but are 0"),
        ({"starts": []}, "`starts` must be one for each of 1 transcripts, but are 0"),
        ({"words": [[Word("a", 0, 1, (5,))]]}, r"`pieces` of the word 'a' must be from 0 to 4, but are \(5,\) instead"),
        ({"words": [[Word("a", 0, 1, (-1,))]]}, r"must be from 0 to 4, but are \(-1,\) instead"),
    ],
)
def test_arguments_of_maps_that_do_not_fit_are_refused(changes, message):
    options = {"words": [WORDS], "starts": None, **changes}
    words = options.pop("words")
    with pytest.raises(ModelError, match=message):
        speech_attention_stack(following(), context(), [TOKENS], words, prompt_lengths=[1], frames=[FRAMES], **options)


def test_scores_must_come_from_somewhere():
    given = {"heads": [HEAD], "prompt_lengths": [1], "frames": [FRAMES]}
    attention = token_attention(following(), context(), [TOKENS], **given)
    with pytest.raises(ModelError, match="`log_probs` must be of all 5 tokens of the text, but are none instead"):
        times_of(attention=attention)


def test_attention_that_is_known_saves_the_decoder_pass():
    model = following()
    attention = token_attention(
        model, context(), [TOKENS], heads=[HEAD], prompt_lengths=[1], frames=[FRAMES], scored=True
    )
    expected = times_of(model)
    model.decoder.forward = None  # is not called
    assert times_of(model, attention=attention) == expected
    with pytest.raises(ModelError, match="`attention` must be one for each of 1 transcripts, but are 0"):
        times_of(model, attention=[])
