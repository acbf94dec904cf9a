"""The models: for each a frozen configuration, its presets, and the module."""

from .vit import PRESETS, ViT, ViTConfig

__all__ = ["PRESETS", "ViT", "ViTConfig"]
