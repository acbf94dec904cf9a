"""Ours against transformers' ViltForQuestionAnswering, through the real converter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.inputs import Fit
from multiattn.models import SingleStream
from multiattn.models.single_stream import PRESETS
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

ANSWERS = ("red", "blue", "two", "on the wall", "fox", "no", "yes")
SIZES = {
    "vocab_size": len(WORDPIECES),
    "hidden_size": 26,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
    "image_size": 35,
    "patch_size": 5,
}
QUESTION = "two red dogs on the wall"


def save_theirs(directory: Path, **changes: object) -> torch.nn.Module:
    """A random model of theirs, saved with its processor and vocabulary as they save it."""
    labels = {"id2label": dict(enumerate(ANSWERS)), "label2id": {name: i for i, name in enumerate(ANSWERS)}}
    config = transformers.ViltConfig(**{**SIZES, **labels, **changes})
    model = randomize(transformers.ViltForQuestionAnswering(config), seed=13)
    model.save_pretrained(directory)
    processor = transformers.ViltImageProcessor(size={"shortest_edge": config.image_size}, size_divisor=5)
    processor.save_pretrained(directory)
    save_wordpieces(directory)
    return model


def pictures(height: int, width: int, count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7))


@torch.inference_mode()
def largest_difference(bundle: ModelBundle, theirs: torch.nn.Module, size: tuple[int, int] = (35, 35)) -> float:
    """Over three questions, of which two are padded."""
    images = pictures(*size)
    questions = torch.randint(5, bundle.model.config.question.vocab_size, (3, 11), generator=torch.manual_seed(3))
    attention_mask = torch.arange(11) < torch.tensor([[11], [7], [3]])
    wanted = theirs(pixel_values=images, input_ids=questions, attention_mask=attention_mask.long()).logits
    assert 0.3 < wanted.std() < 3, "a comparison of logits says little unless they are of order 1"
    assert (wanted - wanted.flip(0)).abs().max() > 0.1
    return float((bundle.model(images, questions, attention_mask=attention_mask) - wanted).abs().max())


@pytest.mark.parametrize(
    "changes",
    [{}, {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5}, {"num_attention_heads": 13}, {"patch_size": 7}],
    ids=str,
)
def test_transformers_loads_and_saves_back(changes: dict, tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs", **changes)
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout, bundle.labels) == ("answer", "hf-vilt", ANSWERS)
    assert isinstance(bundle.model, SingleStream)
    assert bundle.pictures.resize_to == Fit(shorter=35, longer=58, multiple=5)
    assert largest_difference(bundle, theirs) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout="hf-vilt")
    again, report = transformers.ViltForQuestionAnswering.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert again.config.id2label == theirs.config.id2label
    assert largest_difference(bundle, again.eval()) <= 1e-5
    loaded = load_bundle(tmp_path / "ours")
    assert loaded.model.config == bundle.model.config and loaded.preprocessing == bundle.preprocessing
    assert largest_difference(loaded, theirs) <= 1e-5


@pytest.mark.parametrize("size", [(35, 50), (20, 35), (50, 5), (70, 70)])
def test_pictures_of_other_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path)
    assert largest_difference(load_bundle(tmp_path), theirs, size) <= 1e-5


def test_the_whole_way_from_files_and_words(tmp_path: Path) -> None:
    """Their processor pads pictures and questions of a batch; ours come one by one, with the same result."""
    theirs = save_theirs(tmp_path / "theirs")
    bundle = load_bundle(tmp_path / "theirs")
    save_bundle(bundle, tmp_path / "ours", layout="hf-vilt")
    processor = transformers.ViltProcessor.from_pretrained(tmp_path / "ours")
    assert processor.image_processor.size["shortest_edge"] == 35 and processor.image_processor.size_divisor == 5
    rng = np.random.default_rng(5)
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((35, 50), (45, 35))]
    asked = [QUESTION, "a fox"]
    batch = processor(images, asked, padding=True, return_tensors="pt")
    config = bundle.model.config.question
    with torch.inference_mode():
        wanted = theirs(**{name: value for name, value in batch.items() if name != "token_type_ids"}).logits
        for i, (image, question) in enumerate(zip(images, asked, strict=True)):
            ids = [config.start_token, *bundle.tokenizer.encode(question), config.end_token]
            assert ids == batch["input_ids"][i][batch["attention_mask"][i] == 1].tolist()
            pixels, geometry = bundle.pictures(image)
            assert geometry.resized_size == (image.height, image.width)  # nothing is resampled here
            found = bundle.model(pixels[None], torch.tensor([ids]))[0]
            assert (found - wanted[i]).abs().max() <= 1e-5
        assert (wanted[0] - wanted[1]).abs().max() > 0.1


def test_files_of_earlier_versions_have_more_in_them(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["vilt.embeddings.text_embeddings.position_ids"] = torch.arange(13)[None]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    old = '{"feature_extractor_type": "ViltFeatureExtractor", "size": 35, "size_divisor": 5, "resample": 3}'
    (tmp_path / "preprocessor_config.json").write_text(old)
    bundle = load_bundle(tmp_path)
    assert bundle.pictures.resize_to == Fit(35, 58, 5) and bundle.pictures.mean == (0.5, 0.5, 0.5)
    assert largest_difference(bundle, theirs) <= 1e-5


def test_our_own_layout_holds_it_too(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs")
    bundle = load_bundle(tmp_path / "theirs")
    save_bundle(bundle, tmp_path / "ours")
    again = load_bundle(tmp_path / "ours")
    assert again.model.config == bundle.model.config and again.preprocessing == bundle.preprocessing
    assert again.labels == ANSWERS
    assert largest_difference(again, theirs, (35, 50)) <= 1e-5


def test_base_size(tmp_path: Path) -> None:
    """ViLT-B/32 with two of its blocks: the widths that people use; and with all, the number of their parameters."""
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 2}
    theirs = save_theirs(tmp_path, **sizes, image_size=96, patch_size=32)
    assert largest_difference(load_bundle(tmp_path), theirs, (96, 160)) <= 1e-5
    with torch.device("meta"):
        ours = SingleStream(PRESETS["vilt_base"])
        published = transformers.ViltForQuestionAnswering(transformers.ViltConfig(num_labels=3129))
    # two kinds of sentence, of which questions are all the first, are one table with the positions
    extra = published.vilt.embeddings.text_embeddings.token_type_embeddings.weight.numel()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in published.parameters()) - extra


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "config.json",
            "ViltForQuestionAnswering",
            "ViltForMaskedLM",
            "`architectures` must be ViltForQuestionAnswering, but is ViltForMaskedLM instead",
        ),
        ("config.json", '"qkv_bias": true', '"qkv_bias": false', "`qkv_bias` must be True, but is False instead"),
        (
            "config.json",
            '"max_image_length": -1',
            '"max_image_length": 7',
            "`max_image_length` must be -1, but is 7 instead",
        ),
        ("config.json", '"gelu"', '"tanh"', "`hidden_act` must be one of gelu, .*, but is tanh instead"),
        ("config.json", '"6": "yes"', '"6": "no"', "must have each answer of the closed list once, but has 'no' twice"),
        ("vocab.txt", "[SEP]", "[ODD]", r"has a vocabulary without '\[SEP\]', which is its `sep_token`"),
        (
            "preprocessor_config.json",
            '"size_divisor": 5',
            '"size_divisor": 0',
            "`size_divisor` must be .*, but is 0 instead",
        ),
        ("preprocessor_config.json", "shortest_edge", "height", "`size` must be a length in pixels, but is .* instead"),
    ],
)
def test_refusals_on_the_way_in(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    save_theirs(tmp_path)
    edit(tmp_path / file, old, new)
    with pytest.raises(ModelError, match=message):
        load_bundle(tmp_path)


def test_refusals_on_the_way_out(tmp_path: Path) -> None:
    save_theirs(tmp_path / "theirs")
    bundle = load_bundle(tmp_path / "theirs")

    def refuses(message: str, **changes: object) -> None:
        with pytest.raises(ModelError, match=message):
            save_bundle(replace(bundle, **changes), tmp_path / "ours", layout="hf-vilt")

    def other(**changes: object) -> SingleStream:
        return SingleStream(replace(bundle.model.config, **changes)).eval()

    refuses(r"needs a square `image_size`, but it is 35 x 40 instead", model=other(image_size=(35, 40)))
    refuses("needs `head_dim` to be 52, but it is 17 instead", model=other(head_dim=17))
    question = replace(bundle.model.config.question, pre_norm=False)
    refuses("needs `pre_norm` of the question to be True, but it is False", model=other(question=question))
    refuses("has no place for `pointing_heads` of the bundle's `decoding`", decoding={"pointing_heads": ((1, 1),)})
    square = replace(bundle.pictures, resize_to=(35, 35))
    refuses(r"a ViltImageProcessor has no way to say a resize to \(35, 35\)", preprocessing=square)
    narrow = replace(bundle.pictures, resize_to=Fit(35, 40, 5))
    refuses(r"a ViltImageProcessor has no way to say a resize to Fit\(shorter=35, longer=40", preprocessing=narrow)
    unnamed = replace(bundle.model.config.question, vocab_size=len(WORDPIECES) + 1, start_token=len(WORDPIECES))
    refuses(r"needs a name for `start_token` \(\d+\), but the vocabulary has none", model=other(question=unnamed))
