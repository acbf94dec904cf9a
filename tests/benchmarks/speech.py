"""Whisper's two smallest sizes, 30 s: ours beside three peers.

The weights are the published ones and the sound is LibriSpeech's, where they are at hand; what is not is said, and its
place is taken by random weights and noise. The texts have a fixed number of tokens. In fp32 they are the same, or part
at a tie of rounding, which is told; those in int8 may differ.
"""

import math
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchaudio
import whisper
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor

from multiattn.alignment.word_timestamps import word_times
from multiattn.attention import ProjectedContext
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.packing import lay_out_for_decoding, lay_out_for_reading
from multiattn.inputs import AudioPreprocessing, Recording
from multiattn.inputs.text import Word
from multiattn.models import SpeechEncoderConfig, SpeechRecognizer
from multiattn.models.speech import PRESETS
from multiattn.models.speech_encoder import SpeechEncoder
from multiattn.pipelines.precision import converted
from multiattn.weights.hf_whisper import TABLE

from .memory import peak_bytes
from .speech_peers import Peers, Special, build, decoders, encoders
from .timing import Timing, interleaved, show

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "librispeech-dev-clean.tar"
FRAMES = 1500  # of the encoder, in 30 s
HEADS = {  # that align, as they are published
    "tiny": [(2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)],
    "base": [(3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)],
}


def speech_tiny(rounds: int) -> None:
    """Whisper tiny: the encoder, greedy and with five beams, word times; 1 and 4 recordings, 64 and 200 tokens."""
    _size("tiny", rounds=rounds)


def speech_base(rounds: int) -> None:
    """The same for Whisper base."""
    _size("base", rounds=rounds // 2)


def _size(size: str, *, rounds: int) -> None:
    peers, plain, ours, quantized = _models(size)
    print(f"\nWhisper {size}, {'published' if peers.is_published else 'random'} weights", flush=True)
    with torch.inference_mode():
        for batch in (1, 4):
            features = _sound(batch)
            several = max(5, rounds // (4 * batch))
            context = peers.transformers.model.encoder(features).last_hidden_state
            # a few channels of the published weights are large inside, so that rounding shows
            atol = 1e-2 if peers.is_published else 1e-4
            torch.testing.assert_close(ours.encode(features), context, atol=atol, rtol=0)
            ways = {**encoders(peers, features), "multiattn": partial(ours.encode, features)}
            ways["multiattn, int8"] = partial(quantized.encode, features)
            encoder = interleaved(ways, rounds=several)
            show(f"encoder, Whisper {size}, 30 s, batch {batch}", encoder)
            for tokens in (64, 200):
                _texts(size, peers, plain, ours, quantized, context, encoder, tokens=tokens, rounds=several)


def _models(size: str) -> tuple[Peers, SpeechRecognizer, SpeechRecognizer, SpeechRecognizer]:
    """The peers, ours as it is trained, and ours as the pipeline lays it out on a CPU, in fp32 and in int8."""
    peers = build(size)
    preset = PRESETS[f"whisper_{size}" + ("_en" if peers.special.vocabulary == 51864 else "")]
    plain, ours, quantized = (SpeechRecognizer(preset).eval() for _ in range(3))
    state = TABLE.to_ours(peers.transformers.state_dict(), plain.state_dict())
    for model in (plain, ours, quantized):
        model.load_state_dict(state)
    lay_out_for_reading(ours.encoder)
    lay_out_for_decoding(ours.decoder)
    return peers, plain, ours, converted(quantized, "int8")


def _sound(count: int) -> Tensor:
    """The features of recordings of 30 s, each of utterances one after the other; of noise where there are none."""
    preprocessing = AudioPreprocessing()
    length = preprocessing.sample_rate * 30
    if not RECORDINGS.exists():
        print(f"noise: there is no {RECORDINGS.name}")
        torch.manual_seed(0)
        return torch.stack([preprocessing.features(0.1 * torch.randn(length)) for _ in range(count)])
    samples = torch.empty(0)
    with tarfile.open(RECORDINGS) as archive:
        for member in archive:
            if len(samples) >= count * length:
                break
            if member.name.endswith((".mp3", ".flac")):
                file = archive.extractfile(member)
                assert file is not None
                recording = Recording.open(file.read(), rate=preprocessing.sample_rate)
                samples = torch.cat([samples, *recording.blocks()])
    return torch.stack([preprocessing.features(part) for part in samples[: count * length].split(length)])


def _texts(
    size: str,
    peers: Peers,
    plain: SpeechRecognizer,
    ours: SpeechRecognizer,
    quantized: SpeechRecognizer,
    context: Tensor,
    encoder: dict[str, Timing],
    *,
    tokens: int,
    rounds: int,
) -> None:
    batch = len(context)
    decodes, texts = {}, {}
    for num_beams in (1, 5):
        ways = decoders(peers, context, tokens=tokens, num_beams=num_beams)
        ways |= {
            name: _decoder(model.decoder, context, peers.special, tokens=tokens, num_beams=num_beams)
            for name, model in (
                ("multiattn", ours),
                ("multiattn, plain weights", plain),
                ("multiattn, int8", quantized),
            )
        }
        texts = {name: run() for name, run in ways.items()}
        for name, rows in texts.items():
            if "int8" not in name:
                _tell_ties(plain, context, peers.special, texts["transformers"], rows, name=name, num_beams=num_beams)
        assert all(len(row) == tokens for row in texts["transformers"])
        distinct = len({token for row in texts["transformers"] for token in row})
        assert distinct > 2, texts["transformers"]
        decodes[num_beams] = interleaved(ways, rounds=rounds)
        title = "greedy" if num_beams == 1 else f"{num_beams} beams"
        show(
            f"decode, Whisper {size}, {title}, batch {batch}, {tokens} tokens ({distinct} distinct)", decodes[num_beams]
        )
        _rates(decodes[num_beams], encoder, tokens=batch * tokens)
    _word_times(size, ours, peers.special, context, texts["transformers"], decodes, encoder, rounds=rounds)


TIE = 1e-2
"""Log-probabilities that are no further apart may change places by rounding."""


def _tell_ties(
    plain: SpeechRecognizer,
    context: Tensor,
    special: Special,
    wanted: list[list[int]],
    found: list[list[int]],
    *,
    name: str,
    num_beams: int,
) -> None:
    """Say where a text parts from the first one. Greedily that may only be where two tokens are equally likely; beams
    that are left for others at a tie may end anywhere, so that the two texts' log-probabilities are told."""
    for row, (one, other) in enumerate(zip(wanted, found, strict=True)):
        if one == other:
            continue
        at = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
        totals = []
        for text in (one, other):
            tokens = torch.tensor([[*special.prompt, *text]])
            logits = plain.decoder(tokens[:, :-1], context[row : row + 1])[0, len(special.prompt) - 1 :]
            logits[:, list(special.suppressed)] = -math.inf
            log_probs = logits.log_softmax(dim=-1).gather(1, torch.tensor(text)[:, None])[:, 0]
            totals.append(log_probs[at].item() if num_beams == 1 else log_probs.sum().item())
        gap = totals[0] - totals[1]
        print(f"  {name} parts from transformers at token {at} of text {row}: log-probabilities {gap:.1e} apart")
        assert num_beams > 1 or abs(gap) < TIE, (name, totals)


def _decoder(
    model: nn.Module, context: Tensor, special: Special, *, tokens: int, num_beams: int
) -> Callable[[], list[list[int]]]:
    """From what the encoder made to texts, what is projected of it for the decoder included."""
    options = GenerationConfig(max_tokens=tokens, num_beams=num_beams, suppress=special.suppressed)

    def run() -> list[list[int]]:
        made = generate(model, context, [special.prompt] * len(context), options)
        return [list(candidates[0].tokens) for candidates in made]

    return run


def _rates(decode: dict[str, Timing], encoder: dict[str, Timing], *, tokens: int) -> None:
    """Tokens a second of processor time, of the decode alone and with the encoder."""
    first = decode["transformers"].cpu + encoder["transformers"].cpu
    for name, timing in decode.items():
        whole = timing.cpu + encoder.get(name, encoder["multiattn"]).cpu
        print(
            f"  {name:34} {tokens / timing.cpu:6.1f} tokens/s; "
            f"with the encoder {tokens / whole:6.1f}, {first / whole:.2f} x transformers",
            flush=True,
        )


def _word_times(
    size: str,
    model: SpeechRecognizer,
    special: Special,
    context: Tensor,
    texts: list[list[int]],
    decodes: dict[int, dict[str, Timing]],
    encoder: dict[str, Timing],
    *,
    rounds: int,
) -> None:
    """When each token was spoken, each a word, from what the decode projected and scored already."""
    batch, tokens = len(texts), len(texts[0])
    projected = model.decoder.project_context(context)
    run = _timed(model, projected, special, texts, heads=HEADS[size])
    timing = interleaved({"word times": run}, rounds=2 * rounds)["word times"]
    print(f"\nword times, Whisper {size}, batch {batch}, {tokens} tokens: {timing.cpu * 1e3:.1f} ms", flush=True)
    for num_beams, timings in decodes.items():
        decode = timings["multiattn"].cpu
        whole = decode + encoder["multiattn"].cpu
        title = "greedy" if num_beams == 1 else f"{num_beams} beams"
        print(f"  {title}: + {timing.cpu / decode:.1%} of the decode, + {timing.cpu / whole:.1%} with the encoder")
    print(f"  held at the most: {peak_bytes(run) / batch / 2**20:.1f} MiB a recording", flush=True)


def _timed(
    model: SpeechRecognizer,
    context: ProjectedContext,
    special: Special,
    texts: list[list[int]],
    *,
    heads: list[tuple[int, int]],
) -> Callable[[], object]:
    words = [[Word(f"{i:03}", 4 * i, 4 * i + 3, (i,)) for i in range(len(row))] for row in texts]
    known = [[-1.0] * len(row) for row in texts]  # `generate` gives them; which they are does not matter here
    return lambda: word_times(
        model,
        context,
        [[*special.prompt, *row] for row in texts],
        words,
        prompt_lengths=[len(special.prompt)] * len(texts),
        frames=[FRAMES] * len(texts),
        heads=heads,
        log_probs=known,
    )


def speech_features(rounds: int) -> None:
    """Log-mel features of 30 s of noise: ours, the peers', and torchaudio's mel spectrogram with its logarithm."""
    torch.manual_seed(0)
    samples = 0.1 * torch.randn(30 * 16_000)
    ours, theirs = AudioPreprocessing(), WhisperFeatureExtractor()
    spectrogram = torchaudio.transforms.MelSpectrogram(
        n_fft=400, hop_length=160, n_mels=80, norm="slaney", mel_scale="slaney"
    )
    ways = {
        "openai-whisper": lambda: whisper.log_mel_spectrogram(samples),
        "transformers": lambda: theirs(samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_features[0],
        "torchaudio, without the scaling": lambda: spectrogram(samples).clamp(min=1e-10).log10(),
        "multiattn": lambda: ours.features(samples),
    }
    for name in ("transformers", "multiattn"):
        torch.testing.assert_close(ways[name](), ways["openai-whisper"](), atol=1e-4, rtol=0)
    show("log-mel features of 30 s", interleaved(ways, rounds=rounds))


def speech_long(rounds: int) -> None:
    """The encoder with a window at growing lengths in one piece, up to ten minutes, and with full attention beside it.

    Tiny's width and depth, rotary positions, 128 frames (2.56 s) each way.
    """
    print("\nencoder of tiny's size with rotary positions, a window of 2.56 s each way, one piece")
    print(f"  {'minutes':>8} {'frames':>8} {'windowed cpu s':>15} {'held MiB':>9} {'open cpu s':>11}")
    windowed, whole = (
        SpeechEncoder(SpeechEncoderConfig(positions="rotary", max_frames=30_000, window=window)).eval()
        for window in (128, None)
    )
    for seconds in (75, 150, 300, 600):
        features = torch.randn(1, 80, 100 * seconds)
        ways = {"windowed": partial(windowed, features), "open": partial(whole, features)}
        with torch.inference_mode():
            timings = interleaved(ways, rounds=max(2, rounds // 20))
            held = peak_bytes(ways["windowed"])
        print(
            f"  {seconds / 60:8.2f} {50 * seconds:8} {timings['windowed'].cpu:15.2f} {held / 2**20:9.1f} "
            f"{timings['open'].cpu:11.2f}",
            flush=True,
        )
