"""Random picture encoders of transformers of every kind that is read, saved as they save them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

from tests.parity.random_weights import randomize

SIZES: dict[str, Any] = {
    "hidden_size": 26,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 35,
    "patch_size": 5,
}
WIDTH = {"intermediate_size": 37}
LABELS = 11


class Case(NamedTuple):
    """A class of transformers, with what its configuration states beside `SIZES`."""

    kind: str
    config: str
    processor: str
    layout: str
    fields: Mapping[str, Any]

    def make(self) -> torch.nn.Module:
        """A model with random weights."""
        sizes = {} if "vision_config" in self.fields else SIZES
        config = getattr(transformers, self.config)(**{**sizes, "num_labels": LABELS, **self.fields})
        return randomize(getattr(transformers, self.kind)(config), seed=13)

    def save(self, directory: Path) -> torch.nn.Module:
        """A model with random weights, saved with its processor as they save it."""
        model = self.make()
        model.save_pretrained(directory)
        processor = getattr(transformers, self.processor)
        side = SIZES["image_size"]
        size = {"height": side, "width": side}
        crop = {"crop_size": size} if getattr(processor, "do_center_crop", False) else {}
        processor(size={"shortest_edge": side} if crop else size, **crop).save_pretrained(directory)
        return model

    @property
    def has_head(self) -> bool:
        """Whether it is a classifier."""
        return "ForImageClassification" in self.kind


def _vit(kind: str, **fields: Any) -> Case:
    return Case(kind, "ViTConfig", "ViTImageProcessor", "hf-vit", {**WIDTH, **fields})


def _dinov2(kind: str, **fields: Any) -> Case:
    config = "Dinov2WithRegistersConfig" if "Registers" in kind else "Dinov2Config"
    return Case(kind, config, "BitImageProcessor", "hf-dinov2", {"mlp_ratio": 2, **fields})


def _deit(kind: str, **fields: Any) -> Case:
    return Case(kind, "DeiTConfig", "DeiTImageProcessor", "hf-deit", {**WIDTH, **fields})


def _beit(kind: str, **fields: Any) -> Case:
    return Case(kind, "BeitConfig", "BeitImageProcessor", "hf-beit", {**WIDTH, **fields})


def _dinov3(**fields: Any) -> Case:
    sizes = {**WIDTH, "hidden_size": 24, **fields}
    return Case("DINOv3ViTModel", "DINOv3ViTConfig", "DINOv3ViTImageProcessor", "hf-dinov3", sizes)


def _tower(kind: str, **fields: Any) -> Case:
    name = "CLIP" if kind.startswith("CLIP") else "Siglip"
    layout = f"hf-{name.lower()}-vision"
    sizes = {**WIDTH, **fields}
    if "ForImage" in kind:
        text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        towers = {"vision_config": {**SIZES, **sizes}, "text_config": {**text, "vocab_size": 9}}
        return Case(kind, f"{name}Config", f"{name}ImageProcessor", layout, towers)
    return Case(kind, f"{name}VisionConfig", f"{name}ImageProcessor", layout, sizes)


CASES: dict[str, Case] = {
    "vit": _vit("ViTForImageClassification"),
    "vit headless": _vit("ViTModel", qkv_bias=False, hidden_act="quick_gelu"),
    "dinov2": _dinov2("Dinov2ForImageClassification"),
    "dinov2 headless": _dinov2("Dinov2Model", qkv_bias=False, layer_norm_eps=1e-5, mlp_ratio=3),
    "dinov2 registers": _dinov2("Dinov2WithRegistersForImageClassification", num_register_tokens=3),
    "dinov2 registers headless": _dinov2("Dinov2WithRegistersModel"),
    "dinov2 giant": _dinov2("Dinov2ForImageClassification", use_swiglu_ffn=True, mlp_ratio=4),
    "dinov2 giant headless": _dinov2("Dinov2WithRegistersModel", use_swiglu_ffn=True, mlp_ratio=3),
    "deit": _deit("DeiTForImageClassification"),
    "deit distilled": _deit("DeiTForImageClassificationWithTeacher", qkv_bias=False),
    "deit headless": _deit("DeiTModel", hidden_act="relu"),
    "beit": _beit("BeitForImageClassification", use_relative_position_bias=True),
    "beit by the class token": _beit(
        "BeitForImageClassification",
        use_mean_pooling=False,
        use_shared_relative_position_bias=True,
        use_absolute_position_embeddings=True,
        layer_scale_init_value=0.0,
    ),
    "beit headless": _beit("BeitModel", use_relative_position_bias=True),
    "beit headless, shared": _beit("BeitModel", use_shared_relative_position_bias=True, use_mask_token=True),
    "dinov3": _dinov3(num_register_tokens=3),
    "dinov3 gated": _dinov3(use_gated_mlp=True, hidden_act="silu", key_bias=True),
    "dinov3 without biases": _dinov3(query_bias=False, value_bias=False, proj_bias=False, mlp_bias=False),
    "clip": _tower("CLIPForImageClassification"),
    "clip headless": _tower("CLIPVisionModel", hidden_act="gelu", layer_norm_eps=1e-6),
    "siglip": _tower("SiglipForImageClassification"),
    "siglip headless": _tower("SiglipVisionModel"),
    "siglip without a query": _tower("SiglipVisionModel", vision_use_head=False),
}
"""By what is special about each."""
