"""Ours against transformers' picture encoders, through the real converter, both ways: classifiers and headless ones."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.models import ViT
from multiattn.weights import load_bundle, save_bundle
from tests.parity.picture_encoders import CASES, LABELS, SIZES, Case

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

UNUSED = ("pooler.dense.", "vision_model.post_layernorm.")
"""What is never run: the pooler of a backbone, and the norm of the class token of a CLIP whose patches are read."""

OTHER_SIZES = {"hf-dinov2": [(25, 25), (50, 35)], "hf-dinov3": [(25, 40)]}
"""Sizes of pictures, other than those of the configuration, that the layout's models are used with."""


@torch.inference_mode()
def relative_difference(ours: ViT, theirs: torch.nn.Module, size: tuple[int, int]) -> float:
    """The largest difference of the logits and of the tokens, against the largest logit and token."""
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(7))
    outputs = theirs(images, output_hidden_states=True)
    if ours.config.num_classes:
        pairs = [(ours(images), outputs.logits)]
    else:
        tokens, pooled = outputs.last_hidden_state, outputs.pooler_output
        if hasattr(getattr(theirs, "pooler", None), "dense"):  # only pre-training needs it
            pooled = tokens[:, 0]
        if pooled is None:
            pooled = tokens.mean(dim=1)
        pairs = [(ours.features(images), tokens), (ours(images), pooled)]
    assert all(0.3 < wanted.std() < 3 for _, wanted in pairs), "a comparison says little unless values are of order 1"
    return max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_transformers_loads_and_saves_back(case: Case, tmp_path: Path) -> None:
    theirs = case.save(tmp_path / "theirs")
    bundle = load_bundle(tmp_path / "theirs")
    assert (bundle.task, bundle.layout) == ("classify", case.layout)
    assert len(bundle.labels) == (LABELS if case.has_head else 0) == bundle.model.config.num_classes
    side = SIZES["image_size"]
    assert relative_difference(bundle.model, theirs, (side, side)) <= 1e-5

    save_bundle(bundle, tmp_path / "ours", layout=case.layout)
    again, report = getattr(transformers, case.kind).from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float32
    )
    # a model without registers has an empty tensor for them
    empty = ["embeddings.register_tokens"] * (case.layout == "hf-dinov3" and not bundle.model.config.num_registers)
    missing = report["missing_keys"] - set(empty)
    assert all(key.startswith(UNUSED) or key.endswith("mask_token") for key in missing)
    assert not any(report[key] for key in ("unexpected_keys", "mismatched_keys"))
    for size in [(side, side), *OTHER_SIZES.get(case.layout, [])]:
        assert relative_difference(bundle.model, again.eval(), size) <= 1e-5
        assert relative_difference(load_bundle(tmp_path / "ours").model, theirs, size) <= 1e-5
    assert again.config.id2label == theirs.config.id2label or not case.has_head
    written = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours")
    wanted = transformers.AutoImageProcessor.from_pretrained(tmp_path / "theirs")
    assert written.image_mean == wanted.image_mean and written.size == wanted.size
    assert type(written) is type(wanted)


@pytest.mark.parametrize("name", ["clip headless", "siglip headless"])
def test_keys_of_older_files_have_a_prefix(name: str, tmp_path: Path) -> None:
    theirs = CASES[name].save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({f"vision_model.{key}": tensor for key, tensor in state.items()}, tmp_path / "model.safetensors")
    assert relative_difference(load_bundle(tmp_path).model, theirs, (35, 35)) <= 1e-5
