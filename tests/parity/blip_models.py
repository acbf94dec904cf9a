"""Random models of transformers' BLIP, saved as transformers and as the original BLIP save them."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.parity.random_weights import randomize
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

START, END = len(WORDPIECES), 3
"""Of what is written."""

TEXT = {
    "vocab_size": len(WORDPIECES) + 2,  # [DEC] and [ENC] are named in no published vocabulary file
    "hidden_size": 26,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 41,
    "bos_token_id": START,
    "sep_token_id": END,
}
VISION = {
    "hidden_size": 34,  # another width than the text's, as in the large variant
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 29,
    "image_size": 35,
    "patch_size": 5,
}

# transformers' names for the part that looks, and those of the original files
_ORIGINAL = {
    "vision_model.embeddings.class_embedding": "visual_encoder.cls_token",
    "vision_model.embeddings.position_embedding": "visual_encoder.pos_embed",
    "vision_model.embeddings.patch_embedding": "visual_encoder.patch_embed.proj",
    "vision_model.encoder.layers": "visual_encoder.blocks",
    "vision_model.post_layernorm": "visual_encoder.norm",
    "self_attn.qkv": "attn.qkv",
    "self_attn.projection": "attn.proj",
    "layer_norm": "norm",
}


def save_theirs(
    directory: Path, kind: str, *, text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None
) -> nn.Module:
    """A random model of theirs, of the class of that name, saved with its processor and vocabulary as they save it."""
    import transformers

    config = transformers.BlipConfig(text_config=TEXT | (text or {}), vision_config=VISION | (vision or {}))
    model = randomize(getattr(transformers, kind)(config), seed=13)
    model.save_pretrained(directory)
    side = config.vision_config.image_size
    transformers.BlipImageProcessor(size={"height": side, "width": side}).save_pretrained(directory)
    save_wordpieces(directory)
    return model


def save_original(path: Path, theirs: nn.Module) -> None:
    """The weights of a model of transformers as the original BLIP saves it."""
    state = {}
    for key, tensor in theirs.state_dict().items():
        for name, original in _ORIGINAL.items():
            key = key.replace(name, original)
        state[key] = tensor
        if key.endswith("embeddings.position_embeddings.weight"):
            state[key.replace("position_embeddings.weight", "position_ids")] = torch.arange(len(tensor))[None]
    torch.save({"model": state, "epoch": 4}, path)


def pictures(side: int, count: int = 3) -> torch.Tensor:
    """Random normalized ones."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7))
