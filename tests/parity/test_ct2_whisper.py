"""Directories of CTranslate2's Whisper, by their converter and by ours."""

import copy
import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs.whisper_vocabulary import read_speech_vocabulary
from multiattn.weights import load_bundle, save_bundle
from tests.fixtures import WHISPER_SECONDS, tiny_whisper_bundle, whisper_vocabulary
from tests.parity.random_weights import randomize

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")
ctranslate2 = pytest.importorskip("ctranslate2", reason="the reference is in the `parity` extra")

FRAMES = WHISPER_SECONDS * 50


def features(mels: int) -> torch.Tensor:
    return torch.randn(3, mels, 2 * FRAMES, generator=torch.Generator().manual_seed(7))


def texts() -> torch.Tensor:
    return torch.randint(0, 281, (3, 7), generator=torch.Generator().manual_seed(3))


def their_model(**changes: object) -> torch.nn.Module:
    vocabulary = whisper_vocabulary(languages=("en", "zh", "de"))
    end = vocabulary.id_of("<|endoftext|>")
    fields = {"d_model": 28, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 37}
    fields |= {"decoder_layers": 3, "decoder_attention_heads": 7, "decoder_ffn_dim": 41, "num_mel_bins": 80}
    fields |= {"max_source_positions": FRAMES, "max_target_positions": 53, "vocab_size": vocabulary.vocab_size}
    ends = {"decoder_start_token_id": end + 1, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = transformers.WhisperConfig(**(fields | ends | {"begin_suppress_tokens": None} | changes))
    return randomize(transformers.WhisperForConditionalGeneration(config), seed=13)


@torch.no_grad()
def converted(model: torch.nn.Module, directory: Path, kind: str = "float32") -> Path:
    """The model as their converter writes it, with the vocabulary as a list of names only."""
    from ctranslate2.converters.transformers import WhisperLoader

    spec = WhisperLoader().get_model_spec(copy.deepcopy(model))  # quantization writes into it
    vocabulary = whisper_vocabulary(languages=("en", "zh", "de"))
    spec.register_vocabulary([vocabulary.name_of(i) for i in range(vocabulary.vocab_size)])
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.lang_ids = [1, 2], [3], [272]
    spec.config.alignment_heads = [[1, 0], [2, 3]]
    spec.validate()
    spec.optimize(quantization=kind)
    directory.mkdir()
    spec.save(str(directory))
    return directory


@torch.inference_mode()
def logits_of(model: torch.nn.Module, mels: int = 80) -> torch.Tensor:
    return model(input_features=features(mels), decoder_input_ids=texts()).logits


def stored_as(model: torch.nn.Module, kind: str) -> torch.nn.Module:
    """A copy of a model of transformers whose weights are those that are left of them in a type of CTranslate2's."""
    copied = copy.deepcopy(model)
    integers, _, floats = kind.partition("_") if kind.startswith("int") else ("", "", kind)
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            if not integers or weight.ndim == 1 or "embed_positions" in name:
                weight.copy_(weight.to(getattr(torch, floats or "float32")).float())
                continue
            if integers == "int8":  # by the row
                most, levels = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)), 127
            else:  # by the matrix, in which q, k and v, or k and v, are one
                most, levels = weight.abs().max(), 1024
                if match := re.search(r"(.*)\.([qkv])_proj\.weight", name):
                    fused = "kv" if "encoder_attn" in name else "qkv"
                    parts = fused if match[2] in fused else match[2]
                    matrices = [model.get_parameter(f"{match[1]}.{part}_proj.weight") for part in parts]
                    most = torch.cat(matrices).abs().max()
            scale = levels / most
            weight.copy_((weight * scale).round() / scale)
    return copied


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "int8", "int8_float16", "int16"])
def test_their_directories_are_read(kind: str, tmp_path: Path) -> None:
    theirs = their_model()
    bundle = load_bundle(converted(theirs, tmp_path / kind, kind))
    assert (bundle.layout, bundle.sound.mels, bundle.sound.max_seconds) == ("ct2-whisper", 80, WHISPER_SECONDS)
    assert bundle.decoding == {"suppress": (1, 2), "suppress_first": (3,), "alignment_heads": ((1, 0), (2, 3))}
    assert bundle.tokenizer.encode(" the red fox") == whisper_vocabulary(languages=("en", "zh", "de")).encode(
        " the red fox"
    )
    reference = logits_of(stored_as(theirs, kind))
    with torch.inference_mode():
        found = bundle.model(features(80), texts())
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-5 * max(1.0, float(reference.std())))
    plain = logits_of(theirs)
    assert (kind == "float32") == torch.equal(reference, plain), "the reference itself is no other model"


@pytest.mark.parametrize(
    ("mels", "changes"),
    [(128, {"decoder_layers": 2}), (128, {"decoder_layers": 4})],
    ids=["distil", "turbo"],
)
def test_shapes_of_later_models(mels: int, changes: dict[str, object], tmp_path: Path) -> None:
    theirs = their_model(num_mel_bins=mels, **changes)
    directory = converted(theirs, tmp_path / "theirs")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"alignment_heads": [[0, 0]]}))
    bundle = load_bundle(directory)
    with torch.inference_mode():
        found = bundle.model(features(mels), texts())
    torch.testing.assert_close(found, logits_of(theirs, mels), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_their_engine_runs_what_ours_writes(dtype: torch.dtype, tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path / "ours", layout="ct2-whisper", dtype=dtype)
    bundle = load_bundle(tmp_path / "ours")
    engine = ctranslate2.models.Whisper(str(tmp_path / "ours"), compute_type="float32", inter_threads=1)
    mels = bundle.sound.mels
    wanted = np.array(engine.encode(ctranslate2.StorageView.from_array(features(mels).numpy()), to_cpu=True))
    with torch.inference_mode():
        encoded = bundle.model.encode(features(mels))
    torch.testing.assert_close(encoded, torch.from_numpy(wanted), rtol=0, atol=1e-4)
    tokens = [271, 272]
    found = engine.generate(
        ctranslate2.StorageView.from_array(wanted[:1]),
        [tokens],
        beam_size=1,
        max_length=4,
        suppress_tokens=[],
        suppress_blank=False,
        return_logits_vocab=True,
    )[0]
    with torch.inference_mode():
        ours = bundle.model(features(mels)[:1], torch.tensor([tokens]))[0, -1]
    theirs = torch.from_numpy(np.array(found.logits[0][0]))
    within = theirs > -1e30  # what their rules for timestamps leave
    assert int(within.sum()) > 5
    torch.testing.assert_close(
        ours[within] - ours[within].max(), theirs[within] - theirs[within].max(), rtol=0, atol=1e-3
    )


def broken(change: Callable[[bytes], bytes], directory: Path) -> Path:
    save_bundle(tiny_whisper_bundle(), directory, layout="ct2-whisper")
    file = directory / "model.bin"
    file.write_bytes(change(file.read_bytes()))
    return directory


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-9], "model.bin` must be a model.bin of CTranslate2, but is .*it ends after"),
        (lambda data: b"", "model.bin` must be a model.bin of CTranslate2, but is .* empty"),
        (lambda data: struct.pack("<I", 7) + data[4:], "its version is 7, where 6 is known"),
        (lambda data: data.replace(b"WhisperSpec", b"WhatterSpec"), "`spec` must be WhisperSpec, revision 3, but is"),
        (lambda data: data.replace(b"encoder/num_heads", b"encoder/mum_heads"), "mum_heads"),
        (lambda data: data.replace(b"conv1/bias\0\x01", b"conv1/bias\0\x02"), "it ends after|has the shape"),
    ],
)
def test_damaged_files_are_named(change: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load_bundle(broken(change, tmp_path / "bad"))


@pytest.mark.parametrize(
    "names",
    [
        [f"model.bin.part{i}" for i in range(1, 12)],
        ["model.bin.aa", "model.bin.ab", "model.bin.ac"],
        ["model.bin.00001-of-00002", "model.bin.00002-of-00002"],
        ["model.bin.part-0", "model.bin.part-1"],
    ],
    ids=lambda names: names[0],
)
def test_a_file_in_parts_is_read_as_one(names: list[str], tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    save_bundle(bundle, tmp_path, layout="ct2-whisper")
    data = (tmp_path / "model.bin").read_bytes()
    (tmp_path / "model.bin").unlink()
    (tmp_path / "model.bin.lock").write_text("not a part")
    bounds = [len(data) * i // len(names) for i in range(len(names) + 1)]
    for name, start, end in zip(names, bounds, bounds[1:], strict=False):
        (tmp_path / name).write_bytes(data[start:end])
    found = load_bundle(tmp_path).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in bundle.model.state_dict().items())
    (tmp_path / names[-1]).unlink()
    count = len(names) - 1
    message = rf"model.bin` in {count} parts \(model.bin" if count > 1 else f"{names[0]}` must be a model.bin"
    with pytest.raises(ModelError, match=f"{message}.*it ends after"):
        load_bundle(tmp_path)


def test_a_directory_without_weights_is_named(tmp_path: Path) -> None:
    save_bundle(tiny_whisper_bundle(), tmp_path, layout="ct2-whisper")
    (tmp_path / "model.bin").unlink()
    with pytest.raises(ModelError, match="must have model.bin, but has none instead: download it again"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["vocabulary.json", "vocabulary.txt"])
def test_a_list_of_names_is_a_vocabulary(name: str, tmp_path: Path) -> None:
    wanted = tiny_whisper_bundle().tokenizer
    names = [wanted.name_of(i) for i in range(wanted.vocab_size)]
    text = json.dumps(names) if name.endswith("json") else "".join(f"{one}\n" for one in names)
    (tmp_path / name).write_text(text)
    found = read_speech_vocabulary(tmp_path, vocab_size=len(names))
    for text in (" the red fox's train, 日本!", "  two  spaces\n"):
        assert found.encode(text) == wanted.encode(text)
        assert found.decode(found.encode(text)) == text
    assert found.id_of("<|0.04|>") == wanted.id_of("<|0.04|>")
    with pytest.raises(ModelError, match=f"must name {len(names) + 1} tokens, as the weights have, but names"):
        read_speech_vocabulary(tmp_path, vocab_size=len(names) + 1)


def test_what_it_cannot_say_is_refused(tmp_path: Path) -> None:
    bundle = tiny_whisper_bundle()
    config = bundle.model.config
    other = replace(config, encoder=replace(config.encoder, activation="gelu_tanh"))
    with pytest.raises(ModelError, match="the ct2-whisper layout needs `activation` of the sound encoder to be 'gelu'"):
        save_bundle(replace(bundle, model=type(bundle.model)(other).eval()), tmp_path, layout="ct2-whisper")
