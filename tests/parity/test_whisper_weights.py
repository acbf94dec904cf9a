"""Ours against transformers' and OpenAI's Whisper, through the real converter."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.inputs import SpeechTokens
from multiattn.inputs.speech_tokens import not_speech
from multiattn.inputs.whisper_vocabulary import read_speech_vocabulary
from multiattn.models.speech import PRESETS
from multiattn.weights import ModelBundle, convert, load_bundle, save_bundle
from multiattn.weights.whisper_common import published_heads
from tests.fixtures import WHISPER_SECONDS, tiny_whisper_bundle, whisper_vocabulary
from tests.parity.random_weights import randomize

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")
whisper = pytest.importorskip("whisper", reason="the reference is in the `parity` extra")

FRAMES = WHISPER_SECONDS * 50
# openai-whisper leaves the files of its vocabularies open
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ASSETS = Path(whisper.__file__).parent / "assets"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()
    transformers.utils.logging.set_verbosity(verbosity)


def sound(mels: int = 80) -> torch.Tensor:
    return torch.randn(3, mels, 2 * FRAMES, generator=torch.Generator().manual_seed(7))


def texts() -> torch.Tensor:
    return torch.randint(0, 281, (3, 7), generator=torch.Generator().manual_seed(3))


def save_theirs(directory: Path, *, english: bool = False, mels: int = 80, **changes: object) -> torch.nn.Module:
    """A random model of transformers', saved with its processor and vocabulary as they save it."""
    vocabulary = whisper_vocabulary(languages=() if english else ("en", "zh", "de"))
    end = vocabulary.id_of("<|endoftext|>")
    fields = {"d_model": 26, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 37}
    fields |= {
        "decoder_layers": 3,
        "decoder_attention_heads": 13,
        "decoder_ffn_dim": 41,
        "max_source_positions": FRAMES,
    }
    fields |= {"max_target_positions": 53, "num_mel_bins": mels, "vocab_size": vocabulary.vocab_size}
    ends = {"decoder_start_token_id": end + 1, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = transformers.WhisperConfig(**(fields | ends | {"begin_suppress_tokens": None} | changes))
    model = randomize(transformers.WhisperForConditionalGeneration(config), seed=13)
    model.save_pretrained(directory)
    transformers.WhisperFeatureExtractor(feature_size=mels, chunk_length=WHISPER_SECONDS).save_pretrained(directory)
    vocabulary.save(directory)
    return model


@torch.inference_mode()
def check_same(bundle: ModelBundle, wanted: torch.Tensor) -> None:
    assert 0.3 < wanted.std() < 10, "a comparison of logits says little unless they are of order 1"
    found = bundle.model(sound(bundle.sound.mels), texts())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1.0, float(wanted.std())))


@torch.inference_mode()
def logits_of_transformers(model: torch.nn.Module, mels: int = 80) -> torch.Tensor:
    return model(input_features=sound(mels), decoder_input_ids=texts()).logits


@pytest.mark.parametrize(
    ("english", "mels", "changes"),
    [(False, 80, {}), (True, 80, {"activation_function": "gelu_new"}), (False, 128, {"dropout": 0.1})],
    ids=["multilingual", "English", "128 mels"],
)
def test_transformers_loads_and_saves_back(english: bool, mels: int, changes: dict, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", english=english, mels=mels, **changes)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout, bundle.decoding) == ("transcribe", "hf-whisper", {})
    assert (bundle.sound.mels, bundle.sound.max_seconds, bundle.sound.pad_to) == (mels, 2.0, 2.0)
    check_same(bundle, logits_of_transformers(theirs, mels))

    save_bundle(bundle, tmp_path / "ours", layout="hf-whisper")
    again, report = transformers.WhisperForConditionalGeneration.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    # tied to the embedding, which is there
    assert set(report["missing_keys"]) <= {"proj_out.weight"}
    assert not any(report[key] for key in ("unexpected_keys", "mismatched_keys"))
    check_same(bundle, logits_of_transformers(again.eval(), mels))
    check_same(load_bundle(tmp_path / "ours"), logits_of_transformers(theirs, mels))


def test_their_processor_reads_what_ours_writes(tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path, layout="hf-whisper")
    processor = transformers.WhisperProcessor.from_pretrained(tmp_path)
    text = " the red fox's nine-o'clock train, 日本!"
    ids = bundle.tokenizer.encode(text)
    assert processor.tokenizer.encode(text, add_special_tokens=False) == ids
    assert processor.tokenizer.decode(ids) == bundle.tokenizer.decode(ids) == text
    times = bundle.tokenizer.id_of("<|0.00|>")
    assert processor.tokenizer.convert_tokens_to_ids("<|0.02|>") == times + 1
    assert processor.tokenizer.decode([times, *ids, times + 5], skip_special_tokens=True) == text
    processor.tokenizer.set_prefix_tokens(language="german", task="translate")
    tokens = SpeechTokens.of(bundle.tokenizer, start=271, end=270, vocab_size=bundle.tokenizer.vocab_size)
    assert processor.tokenizer.prefix_tokens == tokens.prompt(language="de", task="translate")
    heard = torch.randn(16_000, generator=torch.Generator().manual_seed(3)) * 0.1
    theirs = processor(heard.numpy(), sampling_rate=16_000, return_tensors="pt").input_features[0]
    torch.testing.assert_close(bundle.sound.features(heard), theirs, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_transformers_writes_with_what_ours_wrote(tmp_path: Path) -> None:
    """Their own decoding takes language, task and suppressed tokens from the files."""
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path, layout="hf-whisper")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    settings = model.generation_config
    assert settings.suppress_tokens == list(bundle.decoding["suppress"])
    assert settings.begin_suppress_tokens == list(bundle.decoding["suppress_first"])
    assert settings.alignment_heads == [[1, 0], [2, 1]]
    assert settings.lang_to_id["<|de|>"] == bundle.tokenizer.id_of("<|de|>")
    found = model.generate(sound(), language="de", task="transcribe", max_new_tokens=5, num_beams=1)
    never = set(bundle.decoding["suppress"])
    assert found.shape[0] == 3 and not never & set(found[:, -3:].flatten().tolist())


def test_their_heads_and_suppressed_tokens_are_read(tmp_path: Path) -> None:
    save_theirs(tmp_path)
    path = tmp_path / "generation_config.json"
    stated = {"suppress_tokens": [3, 7], "begin_suppress_tokens": [32, 270], "alignment_heads": [[0, 12], [2, 5]]}
    path.write_text(json.dumps(json.loads(path.read_text()) | stated))
    heads = ((0, 12), (2, 5))
    assert load_bundle(tmp_path).decoding == {
        "suppress": (3, 7),
        "suppress_first": (32, 270),
        "alignment_heads": heads,
    }


def test_files_of_earlier_versions(tmp_path: Path) -> None:
    """They hold the tied table twice, in half precision, the vocabulary in three files, and timestamps nowhere."""
    theirs = save_theirs(tmp_path)
    state = {key: tensor.half() for key, tensor in load_file(tmp_path / "model.safetensors").items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"].clone()
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    theirs.load_state_dict({key: tensor.float() for key, tensor in state.items()})
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary["model"]["vocab"]))
    merges = "".join(f"{' '.join(pair)}\n" for pair in vocabulary["model"]["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    added = {token["content"]: token["id"] for token in vocabulary["added_tokens"] if "." not in token["content"]}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    bundle = load_bundle(tmp_path)
    check_same(bundle, logits_of_transformers(theirs))
    whole = whisper_vocabulary()
    assert bundle.tokenizer.vocab_size == whole.vocab_size
    ids = [whole.id_of("<|de|>"), *whole.encode(" the red (fox"), whole.id_of("<|2.00|>")]
    assert bundle.tokenizer.encode(" the red (fox") == ids[1:-1]
    assert bundle.tokenizer.decode(ids) == " the red (fox"
    assert bundle.tokenizer.id_of("<|2.00|>") == ids[-1]


def openai_model(*, mels: int = 80, vocab_size: int | None = None) -> torch.nn.Module:
    sizes = {"n_mels": mels, "n_audio_ctx": FRAMES, "n_audio_state": 26, "n_audio_head": 2, "n_audio_layer": 2}
    vocab_size = whisper_vocabulary().vocab_size if vocab_size is None else vocab_size
    sizes |= {"n_vocab": vocab_size, "n_text_ctx": 53, "n_text_state": 26, "n_text_head": 13, "n_text_layer": 3}
    return randomize(whisper.model.Whisper(whisper.model.ModelDimensions(**sizes)), seed=17)


def save_openai(model: torch.nn.Module, path: Path) -> Path:
    torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, path)
    return path


@pytest.mark.parametrize("mels", [80, 128])
def test_openai_loads_and_saves_back(mels: int, tmp_path: Path) -> None:
    theirs = openai_model(mels=mels)
    whisper_vocabulary().save(tmp_path)
    bundle = load_bundle(save_openai(theirs, tmp_path / "tiny.pt"))
    assert (bundle.task, bundle.layout, bundle.sound.mels) == ("transcribe", "whisper", mels)
    text = bundle.model.config.decoder
    assert (text.start_token, text.end_token, text.pad_token) == (271, 270, 270)
    with torch.inference_mode():
        wanted = theirs(sound(mels), texts())
    check_same(bundle, wanted)

    save_bundle(bundle, tmp_path / "ours", layout="whisper")
    again = whisper.load_model(str(tmp_path / "ours" / "model.pt"), device="cpu")
    assert again.dims == theirs.dims
    with torch.inference_mode():
        check_same(bundle, again(sound(mels), texts()))
    check_same(load_bundle(tmp_path / "ours"), wanted)
    convert(tmp_path / "ours", tmp_path / "hf", to="hf-whisper")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    check_same(bundle, logits_of_transformers(model.eval(), mels))


@pytest.mark.parametrize("of", ["whisper", "hf-whisper"])
def test_a_key_bias_is_dropped_and_nothing_changes(of: str, tmp_path: Path) -> None:
    """Ours has one, which training may move; no softmax sees it."""
    bundle = tiny_whisper_bundle()
    blocks = [*bundle.model.encoder.blocks, *bundle.model.decoder.blocks]
    assert all(block.attention.qkv.bias.chunk(3)[1].abs().min() > 1e-4 for block in blocks)
    save_bundle(bundle, tmp_path, layout=of)
    again = load_bundle(tmp_path)
    assert not again.model.encoder.blocks[1].attention.qkv.bias.chunk(3)[1].any()
    assert not again.model.decoder.blocks[1].cross_attention.kv.bias.chunk(2)[0].any()
    with torch.inference_mode():
        check_same(again, bundle.model(sound(), texts()))


@pytest.mark.parametrize(
    ("file", "vocab_size"), [("gpt2", 51864), ("multilingual", 51865), ("multilingual", 51866)], ids=str
)
def test_the_published_vocabularies(file: str, vocab_size: int, tmp_path: Path) -> None:
    for name in ("gpt2", "multilingual"):  # both lie there, as in their package; the size says which
        (tmp_path / f"{name}.tiktoken").write_bytes((ASSETS / f"{name}.tiktoken").read_bytes())
    found = read_speech_vocabulary(tmp_path, vocab_size=vocab_size)
    multilingual = vocab_size > 51864
    languages = vocab_size - 51765 - multilingual
    theirs = whisper.tokenizer.get_tokenizer(multilingual, num_languages=languages, language="ta", task="translate")
    assert found.vocab_size == vocab_size == theirs.encoding.n_vocab
    for text in (" It's 12.5 % of nine-o'clock trains — naïve!", "  two  \n spaces ", " 日本語のテスト ♪♪ 🎈", "don't"):
        ids = theirs.encode(text)
        assert found.encode(text) == ids
        assert found.decode(ids) == theirs.decode(ids) == text
    assert all(found.id_of(name) == token for name, token in theirs.special_tokens.items())

    tokens = SpeechTokens.of(found, start=theirs.sot, end=theirs.eot, vocab_size=vocab_size)
    assert (tokens.transcribe, tokens.translate) == (theirs.transcribe, theirs.translate)
    assert (tokens.no_timestamps, tokens.no_speech) == (theirs.no_timestamps, theirs.no_speech)
    assert (tokens.previous, tokens.before) == (theirs.sot_prev, theirs.sot_lm)
    assert (tokens.first_timestamp, tokens.last_timestamp) == (theirs.timestamp_begin, vocab_size - 1)
    assert tokens.seconds(vocab_size - 1) == 30.0
    assert not_speech(found) == theirs.non_speech_tokens
    if multilingual:
        assert set(tokens.languages) == set(theirs.all_language_codes)
        assert all(theirs.to_language_token(code) == token for code, token in tokens.languages.items())
        wanted = theirs.sot_sequence
        assert tokens.prompt(language="ta", task="translate", timestamps=True) == list(wanted)
    else:
        assert tokens.languages == {}
        assert tokens.prompt() == list(theirs.sot_sequence_including_notimestamps)


def test_the_prompt_is_theirs(tmp_path: Path) -> None:
    """With text before it, cut where openai-whisper cuts it."""
    (tmp_path / "m.tiktoken").write_bytes((ASSETS / "multilingual.tiktoken").read_bytes())
    found = read_speech_vocabulary(tmp_path, vocab_size=51865)
    tokens = SpeechTokens.of(found, start=50258, end=50257, vocab_size=51865)
    sizes = whisper.model.ModelDimensions(80, 1500, 26, 2, 1, 51865, 448, 26, 2, 1)
    model = whisper.model.Whisper(sizes)
    for length, timestamps in ((0, True), (3, False), (223, True), (224, False), (500, True)):
        before = [1000 + i for i in range(length)]
        options = whisper.DecodingOptions(language="de", prompt=before, without_timestamps=not timestamps, fp16=False)
        task = whisper.decoding.DecodingTask(model, options)
        ours = tokens.prompt(language="de", timestamps=timestamps, previous=before)
        assert ours == list(task.initial_tokens)
        suppressed = {*not_speech(found), *tokens.never_written()}
        assert tuple(sorted(suppressed)) == task._get_suppress_tokens()


def test_published_heads_are_theirs() -> None:
    names = {"whisper_large_v3": "large-v3", "whisper_large_v3_turbo": "large-v3-turbo"}
    for preset, config in PRESETS.items():
        name = names.get(preset, preset.removeprefix("whisper_").replace("_en", ".en"))
        found = published_heads(config)
        if preset in ("compact", "whisper_large"):
            assert found == (), "two published versions have these sizes" if preset == "whisper_large" else ""
            continue
        text = config.decoder
        sizes = whisper.model.ModelDimensions(80, 1, 4, 1, 1, 1, 1, text.num_heads * 2, text.num_heads, text.depth)
        model = whisper.model.Whisper(sizes)
        model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
        assert [list(pair) for pair in found] == model.alignment_heads.indices().T.tolist(), name
