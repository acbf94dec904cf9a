"""With checkpointed activations every model gives the same outputs and gradients, from blocks that run twice."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from multiattn.attention import Attention, Tap
from multiattn.models import (
    VQA,
    Captioner,
    CaptionerConfig,
    SingleStream,
    SingleStreamConfig,
    SpeechConfig,
    SpeechEncoderConfig,
    SpeechRecognizer,
    TextDecoderConfig,
    TextEncoderConfig,
    ViT,
    ViTConfig,
    VQAConfig,
)

DROPPED = {"dropout": 0.3, "attention_dropout": 0.2}
SIZES = {"dim": 12, "depth": 2, "num_heads": 3, "mlp_dim": 17}
VISION = ViTConfig(
    image_size=(10, 15), patch_size=5, num_classes=0, positions="rotary_2d", stochastic_depth=0.4, **SIZES, **DROPPED
)
TEXT = {"vocab_size": 19, "max_length": 11, "context_dim": 12, **SIZES, **DROPPED}
DECODER, READER = TextDecoderConfig(**TEXT, pre_norm=False), TextEncoderConfig(**TEXT)
SOUND = SpeechEncoderConfig(mels=7, max_frames=13, window=2, masked=True, **SIZES, **DROPPED)

IMAGES = torch.randn(2, 3, 10, 15, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(19, (4, 7), generator=torch.Generator().manual_seed(2))
REAL = torch.arange(7) < torch.tensor([[7], [3], [5], [7]])
FEATURES = torch.randn(4, 7, 26, generator=torch.Generator().manual_seed(3))

MODELS = {
    "vit": (lambda: ViT(replace(VISION, num_classes=5)), (IMAGES,), {}),
    "captioner": (lambda: Captioner(CaptionerConfig(VISION, DECODER)), (IMAGES, TOKENS), {"attention_mask": REAL}),
    "recognizer": (
        lambda: SpeechRecognizer(SpeechConfig(SOUND, DECODER, context="real")),
        (FEATURES, TOKENS),
        {"attention_mask": REAL, "lengths": torch.tensor([26, 9, 20, 26])},
    ),
    "closed list": (
        lambda: VQA(VQAConfig(VISION, READER, answers=5)),
        (IMAGES, TOKENS),
        {"attention_mask": REAL},
    ),
    "answer decoder": (
        lambda: VQA(VQAConfig(VISION, READER, DECODER)),
        (IMAGES, TOKENS, TOKENS[:, :5]),
        {"attention_mask": REAL},
    ),
    "single stream": (
        lambda: SingleStream(
            SingleStreamConfig(replace(READER, context_dim=None), answers=5, image_size=(10, 15), patch_size=5)
        ),
        (IMAGES, TOKENS),
        {"attention_mask": REAL},
    ),
}


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name][0]().train()


def attention_runs(model: nn.Module) -> list[str]:
    """The names of the attentions, in the order in which they run from now on."""
    runs: list[str] = []
    for name, part in model.named_modules():
        if isinstance(part, Attention):
            part.register_forward_hook(lambda *_, name=name: runs.append(name))
    return runs


def learned(name: str, **options: object) -> tuple[torch.Tensor, list[torch.Tensor | None], list[str]]:
    """A model's output, its gradients, and the attentions that ran for them."""
    _, args, keywords = MODELS[name]
    model = built(name)
    runs = attention_runs(model)
    torch.manual_seed(4)
    output = model(*args, **keywords, **options)
    output.square().sum().backward()
    return output, [parameter.grad for parameter in model.parameters()], runs


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_are_the_same_with_all_kinds_of_dropout(name: str) -> None:
    output, gradients, runs = learned(name)
    other_output, other_gradients, other_runs = learned(name, checkpoint_activations=True)
    assert torch.equal(other_output, output)
    for gradient, other in zip(gradients, other_gradients, strict=True):
        assert torch.equal(other, gradient) if gradient is not None else other is None
    assert runs and sorted(other_runs) == sorted(2 * runs)  # that of the backward pass, too
    with torch.no_grad():
        model = built(name)
        runs = attention_runs(model)
        model(*MODELS[name][1], **MODELS[name][2], checkpoint_activations=True)
    assert len(runs) == len(set(runs))


def test_attention_that_is_captured_is_kept_and_learned_from() -> None:
    _, args, keywords = MODELS["captioner"]
    found = []
    for checkpoint_activations in (False, True):
        model = built("captioner")
        runs = attention_runs(model)
        tap = Tap(model.attention_sites(tokens=7), select="decoder.blocks.1.cross", learn=True)
        torch.manual_seed(4)
        output = model(*args, **keywords, tap=tap, checkpoint_activations=checkpoint_activations)
        (weights,) = tap.weights.values()
        (output.sum() + weights.square().sum()).backward()
        assert tap.weights["decoder.blocks.1.cross"] is weights
        found.append((output, weights, *(parameter.grad for parameter in model.parameters())))
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert [runs.count(f"decoder.blocks.{block}.cross_attention") for block in range(2)] == [2, 1]
