"""Ours against openai-whisper's own decoding: one window, and recordings of several, with the same weights."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from multiattn.generation import GenerationConfig
from multiattn.inputs import AudioPreprocessing, Recording, SpeechTokens, Tokenizer
from multiattn.pipelines.transcribe.decode import decode_windows
from multiattn.pipelines.transcribe.model import SpeechModel
from multiattn.pipelines.transcribe.options import SpeechOptions
from multiattn.pipelines.transcribe.segments import WindowResult
from multiattn.pipelines.transcribe.sequential import transcribe_in_order
from multiattn.pipelines.transcribe.steering import suppressed_tokens
from multiattn.weights import load_bundle
from tests.parity.random_weights import randomize

whisper = pytest.importorskip("whisper", reason="the reference is in the `parity` extra")

# theirs sorts a tensor with numpy
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")

RATE = 16_000
END, FIRST_TIME, ROWS = 50257, 50364, 51865
ALONE = SpeechOptions(
    temperatures=(0.0,),
    compression_ratio_threshold=None,
    log_prob_threshold=None,
    no_speech_threshold=None,
    language="de",
)


class Theirs(Tokenizer):
    """Their vocabulary behind our interface: ours reads the same file, but takes its time to."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # they leave the file open
            self.encoding = whisper.tokenizer.get_tokenizer(True).encoding
        self.vocab_size = self.encoding.n_vocab
        self.special_ids = frozenset(range(END, self.vocab_size))

    def encode(self, text: str) -> list[int]:
        return self.encoding.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.encoding.decode([i for i in ids if i < END])

    def id_of(self, token: str) -> int | None:
        return self.encoding._special_tokens.get(token)

    def name_of(self, token: int) -> str | None:
        return self.encoding.decode([token])


class Pair(NamedTuple):
    theirs: torch.nn.Module
    ours: SpeechModel
    suppressed: GenerationConfig


@cache
def vocabulary() -> Theirs:
    return Theirs()


SIZES = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 48, "n_audio_head": 3, "n_audio_layer": 2}
SIZES |= {"n_vocab": ROWS, "n_text_ctx": 448, "n_text_state": 48, "n_text_head": 3, "n_text_layer": 2}


def make(folder: Path, *, seed: int, heard: float, period: int, length: int) -> Pair:
    """Random weights, but for four dimensions that know the place in the text.

    Drawn plainly, no text would end, and no time follow another. Here the end grows likelier with the place, times come
    with a period, and grow.

    Args:
        folder: Where the weights go.
        seed: Of them.
        heard: Factor of the cross-attention.
        period: Tokens from one pair of times to the next, or so.
        length: Tokens of a text, or so.
    """
    model = randomize(whisper.model.Whisper(whisper.model.ModelDimensions(**SIZES)), seed=seed)
    decoder = model.decoder
    places, times = torch.arange(448), torch.arange(ROWS - FIRST_TIME) / 1500
    with torch.no_grad():
        table, positions = decoder.token_embedding.weight, decoder.positional_embedding
        table.mul_(0.6)
        positions.mul_(12)
        for block in decoder.blocks:
            block.cross_attn.out.weight.mul_(heard)
            for last in (block.attn.out, block.cross_attn.out, block.mlp[2]):
                last.weight[:4], last.bias[:4] = 0, 0
        decoder.ln.weight.fill_(1)
        decoder.ln.bias.zero_()
        ramp = (places / length).clamp(max=1.5)
        along = [ramp - 0.5, torch.sin(2 * torch.pi * places / period), 0.5 * ramp, torch.ones(448)]
        positions[:, :4] = 12 * torch.stack(along, dim=1)
        table[:, :4] = 0
        table[END, 0] = 10
        # nearest to the ramp is the likeliest: of -20 (time - ramp)^2, what depends on the time
        table[FIRST_TIME:, 1:4] = torch.stack([torch.full_like(times, 4), 40 * times, -20 * times**2], dim=1)
    torch.save({"dims": SIZES, "model_state_dict": model.state_dict()}, folder / "model.pt")
    # without a tensor, so that the vocabulary is not looked for; then with it
    bundle = load_bundle(folder / "model.pt", without=("encoder.norm.bias",))
    with torch.no_grad():
        bundle.model.encoder.norm.bias.copy_(model.encoder.ln_post.bias)
    tokenizer = vocabulary()
    tokens = SpeechTokens.of(tokenizer, start=END + 1, end=END, vocab_size=ROWS)
    their_tokenizer = whisper.tokenizer.get_tokenizer(True, language="de", task="transcribe")
    never = {*their_tokenizer.non_speech_tokens, *tokens.never_written()}
    options = GenerationConfig(
        max_tokens=40, suppress=tuple(sorted(never)), suppress_first=(*tokenizer.encode(" "), END)
    )
    return Pair(model, SpeechModel(bundle.model, AudioPreprocessing(), tokenizer, tokens), options)


@pytest.fixture(scope="module", params=[(5, 6, 7, 30), (7, 12, 6, 20)], ids=["long", "short"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    seed, heard, period, length = request.param
    return make(tmp_path_factory.mktemp("whisper"), seed=seed, heard=heard, period=period, length=length)


def sound(seed: int, seconds: float) -> torch.Tensor:
    """Half seconds of tones, some loud and some not, in a little noise."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for _ in range(round(2 * seconds)):
        pitch, loudness = torch.rand(2, generator=generator).tolist()
        time = torch.arange(RATE // 2) / RATE
        tone = torch.sin(2 * torch.pi * (100 + 3000 * pitch) * time)
        pieces.append(loudness**2 * (tone + 0.02 * torch.randn(RATE // 2, generator=generator)))
    return 0.9 * torch.cat(pieces)


def windows() -> torch.Tensor:
    return torch.stack([whisper.log_mel_spectrogram(sound(i, 30)) for i in range(2)])


def decoded(pair: Pair, options: SpeechOptions, *, previous: list[int] | None = None) -> list[WindowResult]:
    encoded = pair.ours.encode(windows(), [3000] * 2)
    return decode_windows(pair.ours, encoded, options, previous=None if previous is None else [previous] * 2)


@pytest.mark.parametrize(
    ("num_beams", "asked"),
    [(1, {}), (1, {"without_timestamps": True}), (1, {"prompt": [400, 500, 600]})]
    + [(5, {}), (5, {"without_timestamps": True}), (5, {"prompt": [400, 500, 600]})]
    + [(5, {"patience": 2.0}), (5, {"length_penalty": 0.0})],
    ids=lambda asked: next(iter(asked), "times") if isinstance(asked, dict) else f"beams={asked}",
)
def test_a_window_is_decoded_as_theirs(pair: Pair, num_beams: int, asked: dict) -> None:
    their_options = {"language": "de", "fp16": False, "sample_len": 40, **asked}
    if num_beams > 1:
        their_options["beam_size"] = num_beams
    # one by one, for their beams and several windows do not go together
    expected = [whisper.decode(pair.theirs, mel, whisper.DecodingOptions(**their_options)) for mel in windows()]
    decoding = replace(pair.suppressed, num_beams=num_beams, patience=asked.get("patience"))
    if "length_penalty" in asked:
        decoding = replace(decoding, length_penalty=asked["length_penalty"])
    options = replace(ALONE, decoding=decoding, timestamps="without_timestamps" not in asked)
    found = decoded(pair, options, previous=asked.get("prompt"))
    assert [list(one.tokens) for one in found] == [one.tokens for one in expected]
    for mine, one in zip(found, expected, strict=True):
        assert mine.text == one.text
        assert mine.avg_log_prob == pytest.approx(one.avg_logprob, abs=1e-4)
        assert mine.no_speech_prob == pytest.approx(one.no_speech_prob, abs=1e-6)
        assert mine.compression_ratio == pytest.approx(one.compression_ratio)
        assert (mine.temperature, mine.hottest, mine.language) == (0.0, 0.0, "de")


def test_the_comparison_is_of_texts_that_say_something(pair: Pair) -> None:
    results = decoded(pair, replace(ALONE, decoding=pair.suppressed, timestamps=True))
    assert max(len(one.tokens) for one in results) > 7
    assert all(len(set(one.tokens)) > 2 for one in results)
    assert len({one.tokens for one in results}) > 1


def test_the_language_is_heard_as_theirs(pair: Pair) -> None:
    encoded = pair.ours.encode(windows(), [3000] * 2)
    _, probs = pair.theirs.detect_language(windows(), whisper.tokenizer.get_tokenizer(True))
    expected = [max(of_one, key=of_one.get) for of_one in probs]
    logits = pair.ours.next_token_logits(encoded.projected, [[pair.ours.tokens.start]] * 2)
    found = pair.ours.languages_of(logits).exp()
    assert pair.ours.likeliest_languages(logits) == expected
    for ours, theirs in zip(found.tolist(), probs, strict=True):
        assert dict(zip(pair.ours.tokens.languages, ours, strict=True)) == pytest.approx(theirs, abs=1e-4)
    options = replace(ALONE, decoding=replace(pair.suppressed, max_tokens=3), language=None, timestamps=True)
    assert [one.language for one in decode_windows(pair.ours, encoded, options)] == expected


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"initial_prompt": "Guten Tag"},
        {"carry_initial_prompt": True, "initial_prompt": "Guten Tag"},
        {"suppress_tokens": "-1,11"},
        {"condition_on_previous_text": False},
        {"clip_timestamps": [3.3, 17.0, 21.2, 40.0]},
    ],
    ids=lambda asked: next(iter(asked), "plain"),
)
def test_a_long_recording_is_gone_through_as_theirs(pair: Pair, asked: dict) -> None:
    samples = torch.cat([sound(11, 41.5), torch.zeros(77)])  # of no whole frames
    limits = dict.fromkeys(("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold"))
    expected = whisper.transcribe(
        pair.theirs, samples, temperature=0.0, language="de", fp16=False, sample_len=40, **limits, **asked
    )["segments"]
    # theirs go on into the silence that the last window is filled up with
    expected = [one for one in expected if one["text"].strip() and one["start"] < 41.5]
    options = replace(
        ALONE,
        decoding=pair.suppressed,
        initial_prompt=asked.get("initial_prompt"),
        carry_prompt=asked.get("carry_initial_prompt", False),
        condition_on_previous=asked.get("condition_on_previous_text", True),
    )
    if never := asked.get("suppress_tokens"):
        size = pair.ours.model.config.decoder.vocab_size
        tokens = suppressed_tokens(never, pair.ours.tokenizer, pair.ours.tokens, vocab_size=size)
        options = replace(options, decoding=replace(options.decoding, suppress=tokens))
    if times := asked.get("clip_timestamps"):
        options = replace(options, clips=tuple(zip(times[::2], times[1::2], strict=True)))
    with Recording.open(samples) as recording:
        found = list(transcribe_in_order(pair.ours, recording, options))
    assert len(expected) > 2
    assert [list(one.tokens) for one in found] == [one["tokens"] for one in expected]
    for mine, one in zip(found, expected, strict=True):
        assert mine.text == one["text"]
        assert round(100 * mine.window) == one["seek"]
        assert (mine.start, mine.end) == pytest.approx((one["start"], min(one["end"], 41.5)), abs=1e-6)
        assert mine.avg_log_prob == pytest.approx(one["avg_logprob"], abs=1e-4)
        assert len(mine.log_probs) == len(mine.tokens)
