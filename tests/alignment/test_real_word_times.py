"""Word times of a real Whisper on real speech that was cut at known places: spoken digits, joined."""

import io
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

import multiattn
from multiattn.alignment import group_words, word_times
from multiattn.inputs import SpeechTokens
from tests.fixtures import real_whisper

DIGITS = Path(__file__).parents[2] / "../shared/data/fsdd.tar"
SPOKEN = ["seven", "three", "nine", "one", "six"]
NAMES = {word: number for number, word in enumerate("zero one two three four five six seven eight nine".split())}
RATE = 16_000


def edges(samples: np.ndarray) -> tuple[int, int]:
    """The first and the last sample of a clip that are not faint."""
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max())
    return int(loud[0]), int(loud[-1])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = real_whisper("tiny.en", tmp_path_factory.mktemp("whisper"))
    return multiattn.load(folder, task="transcribe", device="cpu")


@pytest.fixture(scope="module")
def spoken():
    """The digits with pauses between them, in faint noise, and where each is loud: seconds."""
    if not DIGITS.is_file():
        pytest.skip(f"needs {DIGITS}")
    rng, parts, truth, at = np.random.default_rng(0), [np.zeros(RATE // 2)], [], RATE // 2
    with tarfile.open(DIGITS) as archive:
        for word, pause in zip(SPOKEN, (0.35, 0.0, 1.4, 0.6, 0.5), strict=True):
            name = f"validation/{NAMES[word]}_jackson_0.flac"
            member = next(one for one in archive if one.name.removeprefix("./").endswith(name))
            file = archive.extractfile(member)
            assert file is not None
            clip, rate = soundfile.read(io.BytesIO(file.read()), dtype="float32")
            clip = torchaudio.functional.resample(torch.from_numpy(clip), rate, RATE).numpy()
            first, last = edges(clip)
            truth.append(((at + first) / RATE, (at + last) / RATE))
            parts += [clip, np.zeros(round(pause * RATE))]
            at += len(clip) + round(pause * RATE)
    samples = np.concatenate(parts) + 2e-4 * rng.normal(size=at)
    return torch.from_numpy(samples.astype(np.float32)), np.array(truth)


@torch.inference_mode()
def timed(pipeline, recording, **options):
    bundle, model = pipeline.bundle, pipeline.bundle.model
    decoder, sound = model.config.decoder, bundle.sound
    tokens = SpeechTokens.of(
        bundle.tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size
    )
    prompt, ids = tokens.prompt(language=None), bundle.tokenizer.encode(" " + ", ".join(SPOKEN) + ".")
    lengths = torch.tensor([sound.frames(len(recording))])
    features = sound.features(torch.nn.functional.pad(recording, (0, sound.max_samples - len(recording))))
    encoded = model.encode(features[None], lengths=lengths)
    (found,) = word_times(
        model,
        encoded,
        [[*prompt, *ids]],
        [group_words(bundle.tokenizer, ids)],
        prompt_lengths=[len(prompt)],
        frames=[int(model.encoder.frames(int(lengths)))],
        heads=bundle.decoding["alignment_heads"],
        frame_seconds=sound.frame_seconds * math.prod(model.config.encoder.strides),
        **options,
    )
    return np.array([(word.start, word.end) for word in found])


def test_words_are_where_they_were_put(pipeline, spoken):
    samples, truth = spoken
    found = timed(pipeline, samples, samples=[samples])
    off = np.abs(found - truth)
    assert off.mean() < 0.1 and off.max() < 0.25  # what is faint at the edges of a clip counts as nothing
    assert (found[:, 1] - found[:, 0] >= 0.04 - 1e-9).all()
    path = np.abs(timed(pipeline, samples) - truth)  # openai-whisper's way
    assert off.mean() < 0.7 * path.mean()
