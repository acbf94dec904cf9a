"""A small captioner with attention that is not flat, and two captions of unequal length for it."""

import torch

from multiattn.inputs.text import Word
from multiattn.models import Captioner, CaptionerConfig, TextDecoderConfig, ViTConfig

GRID = (5, 7)
LAYERS, HEADS = 3, 2
_VIT = {"image_size": (15, 21), "patch_size": 3, "num_classes": 0, "dim": 21, "num_heads": 3, "mlp_dim": 29}
_TEXT = {"vocab_size": 31, "dim": 22, "depth": LAYERS, "num_heads": HEADS, "mlp_dim": 23, "max_length": 13}
CONFIGS = {
    "class token, register": CaptionerConfig(
        ViTConfig(**_VIT, depth=2, num_registers=1), TextDecoderConfig(**_TEXT, context_dim=21)
    ),
    "patches alone, bridge, post-norm": CaptionerConfig(
        ViTConfig(**_VIT, depth=3, class_token=False, pool="mean"),
        TextDecoderConfig(**_TEXT, context_dim=17, pre_norm=False, final_norm=False, embed_norm=True),
        bridge=True,
    ),
}

PROMPT = 2  # the start token and one of a prompt
TOKENS = [[1, 9, 5, 17, 29, 7, 2], [1, 9, 8, 3, 11]]
WORDS = [
    [Word("a", 0, 1, (0,)), Word("fox", 2, 5, (1, 2)), Word("!", 5, 6, (3,))],
    [Word("dogs", 0, 4, (0, 1, 2))],
]


def captioner(config: CaptionerConfig) -> Captioner:
    torch.manual_seed(0)
    model = Captioner(config).eval()
    with torch.no_grad():  # the usual start is so small that every row of attention is flat
        for parameter in model.parameters():
            parameter.normal_(std=0.25)
    return model


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 15, 21, generator=torch.Generator().manual_seed(1))
