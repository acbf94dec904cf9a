"""Whispers of the later shapes: 128 mels, the vocabulary of 51,866 tokens, decoders of 2 (distil) or 4 blocks (turbo).

The weights are random and narrow; the vocabulary, the heads and the numbers of blocks of the decoder are the real ones.
"""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

import multiattn
from multiattn.inputs import SpeechTokens
from multiattn.inputs.whisper_vocabulary import read_speech_vocabulary
from multiattn.weights import load_bundle, save_bundle
from tests.parity.random_weights import randomize

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")
ctranslate2 = pytest.importorskip("ctranslate2", reason="the reference is in the `parity` extra")
whisper = pytest.importorskip("whisper", reason="the vocabulary is in the `parity` extra")

SECONDS, HEADS, WIDTH = 2, 20, 40
SHAPES = {"large-v3": 5, "turbo": 4, "distil": 2}  # name -> blocks of the decoder
VOCABULARY = 51866


def their_model(depth: int) -> torch.nn.Module:
    config = transformers.WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=128,
        d_model=WIDTH,
        encoder_layers=3,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_layers=depth,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=4 * WIDTH,
        max_source_positions=SECONDS * 50,
        max_target_positions=448,
        decoder_start_token_id=50258,
        bos_token_id=50257,
        eos_token_id=50257,
        pad_token_id=50257 if depth == 2 else 50256,  # as their files state it; no text depends on it
        begin_suppress_tokens=[220, 50257],
    )
    return randomize(transformers.WhisperForConditionalGeneration(config), seed=11)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real one, as `tokenizer.json`."""
    folder = tmp_path_factory.mktemp("vocabulary")
    shutil.copyfile(Path(whisper.__file__).parent / "assets" / "multilingual.tiktoken", folder / "its.tiktoken")
    (folder / "tokenizer.json").write_text(read_speech_vocabulary(folder, vocab_size=VOCABULARY).to_json())
    return folder / "tokenizer.json"


def as_transformers(theirs: torch.nn.Module, directory: Path, vocabulary: Path) -> Path:
    theirs.save_pretrained(directory)
    extractor = transformers.WhisperFeatureExtractor(feature_size=128, chunk_length=SECONDS)
    extractor.save_pretrained(directory)
    shutil.copyfile(vocabulary, directory / vocabulary.name)
    return directory


@torch.no_grad()
def as_ctranslate2(theirs: torch.nn.Module, directory: Path, vocabulary: Path) -> Path:
    from ctranslate2.converters.transformers import WhisperLoader

    spec = WhisperLoader().get_model_spec(copy.deepcopy(theirs))
    spec.register_vocabulary([f"<{i}>" for i in range(VOCABULARY)])
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.lang_ids = [1, 2], [220, 50257], [50259]
    spec.config.alignment_heads = [[0, 1], [1, HEADS - 1]]
    spec.validate()
    spec.optimize(quantization="float32")
    directory.mkdir()
    spec.save(str(directory))
    (directory / "vocabulary.json").unlink()  # those are no names
    shutil.copyfile(vocabulary, directory / vocabulary.name)
    return directory


@pytest.mark.parametrize(
    "name", ["turbo", *(pytest.param(one, marks=pytest.mark.slow) for one in ("large-v3", "distil"))]
)
def test_logits_and_tokens_are_theirs_in_every_layout(name: str, vocabulary: Path, tmp_path: Path) -> None:
    theirs = their_model(SHAPES[name])
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(2, 128, SECONDS * 100, generator=generator)
    texts = torch.randint(0, VOCABULARY, (2, 7), generator=generator)
    with torch.inference_mode():
        wanted = theirs(input_features=features, decoder_input_ids=texts).logits
    bundle = load_bundle(as_transformers(theirs, tmp_path / "hf", vocabulary))
    save_bundle(bundle, tmp_path / "pt", layout="whisper")
    save_bundle(bundle, tmp_path / "ours-in-ct2", layout="ct2-whisper")
    others = (as_ctranslate2(theirs, tmp_path / "ct2", vocabulary), tmp_path / "pt", tmp_path / "ours-in-ct2")
    for one in (bundle, *map(load_bundle, others)):
        with torch.inference_mode():
            found = one.model(features, texts)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1.0, float(wanted.std())))
        assert (one.sound.mels, one.sound.max_seconds) == (128, SECONDS)
        assert (one.config.decoder.depth, one.config.decoder.vocab_size) == (SHAPES[name], VOCABULARY)
        tokens = SpeechTokens.of(one.tokenizer, start=50258, end=50257, vocab_size=VOCABULARY)
        assert len(tokens.languages) == 100 and tokens.languages["yue"] == 50358
        assert tokens.prompt(language="yue", timestamps=True) == [50258, 50358, 50360]
        assert (tokens.no_timestamps, tokens.first_timestamp, tokens.last_timestamp) == (50364, 50365, 51865)
    assert json.loads((tmp_path / "ours-in-ct2" / "config.json").read_text())["lang_ids"][-1] == 50358


def test_one_is_transcribed_with_words(vocabulary: Path, tmp_path: Path) -> None:
    transcribe = multiattn.load(as_ctranslate2(their_model(2), tmp_path / "ct2", vocabulary))
    sound = torch.randn(16_000 * 3, generator=torch.Generator().manual_seed(5)) * 0.1
    result = transcribe(sound, rate=16_000, words=True, language="yue", temperatures=(0.0,), max_tokens=5, vad="off")
    assert result.duration == 3.0 and result.language == "yue"
