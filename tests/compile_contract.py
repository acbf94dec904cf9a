"""Run as a program by `test_compile.py`: the models compile to one graph, with the tap off and on, and in many steps.

A process of its own because the shape checker that pytest installs is no part of what is compiled.
"""

from dataclasses import replace

import numpy as np
import torch

from multiattn.attention import Tap
from multiattn.maps import explain
from multiattn.models import (
    PRESETS,
    VQA,
    Captioner,
    CaptionerConfig,
    SingleStream,
    SingleStreamConfig,
    TextDecoderConfig,
    TextEncoderConfig,
    TextToText,
    TextToTextConfig,
    ViT,
    ViTConfig,
    VQAConfig,
)

SIZES = {"image_size": (15, 21), "patch_size": 3, "num_classes": 5, "dim": 24, "depth": 2, "num_heads": 3}
VARIANTS = {
    "learned": ViTConfig(**SIZES),
    "rotary, q/k norm, registers": ViTConfig(**SIZES, positions="rotary_2d", qk_norm=True, num_registers=2),
    "plain": ViTConfig(**SIZES, positions="sinusoidal_2d", class_token=False, pool="mean", layer_scale=0.1),
    "clip": ViTConfig(**SIZES, stem_norm=True, activation="gelu_quick", pool="mean", pool_norm=True, final_norm=False),
    "compact": PRESETS["compact"],
    "relative bias": ViTConfig(**SIZES, positions="none", relative_bias="block", pool="mean"),
    "mixed rotary": ViTConfig(**SIZES, positions="learned_rotary_2d", rotary="mixed", rotary_pairs="neighbors"),
    "centered rotary, grouped": ViTConfig(**SIZES, positions="rotary_2d", rotary="centered", num_kv_heads=(3, 1)),
    "window": ViTConfig(**SIZES, window=3, dilation=2, global_tokens=1),
    "lsh, two streams": ViTConfig(**SIZES, attention="lsh", lsh_chunk=8, reversible=True),
    "distilled": ViTConfig(**SIZES, distilled=True, gated=True, activation="silu", norm="rms"),
    "learned query": ViTConfig(**SIZES, class_token=False, pool="attention", attention_norm=True, mlp_norm=True),
}
TEXT = {"vocab_size": 31, "dim": 24, "depth": 2, "num_heads": 3, "mlp_dim": 29, "max_length": 11, "context_dim": 24}
DECODERS = {
    "pre-norm": TextDecoderConfig(**TEXT),
    "bert": TextDecoderConfig(**TEXT, pre_norm=False, embed_norm=True, final_norm=False, head="transform"),
}
RELATIVE = {"positions": "relative", "norm": "rms", "linear_bias": False, "head_dim": 7, "scale_scores": False}
READER = TextEncoderConfig(**TEXT)
ANSWERERS = {
    "closed list": VQA(VQAConfig(ViTConfig(**SIZES | {"num_classes": 0}), READER, answers=5)),
    "with a text encoder": VQA(
        VQAConfig(
            ViTConfig(**SIZES | {"num_classes": 0}),
            replace(READER, text=replace(READER, dim=18, context_dim=None)),
            answers=5,
        )
    ),
    "answer decoder": VQA(VQAConfig(ViTConfig(**SIZES | {"num_classes": 0}), READER, DECODERS["pre-norm"])),
    "single stream": SingleStream(
        SingleStreamConfig(replace(READER, context_dim=None), answers=5, image_size=(15, 21), patch_size=3)
    ),
}


def main() -> None:
    for name, config in VARIANTS.items():
        torch.manual_seed(0)
        model = ViT(config).eval()
        images = torch.randn(2, 3, *config.image_size)

        asked = {"rows": [0], "heads": [2, 0]} if name == "learned" else {}
        tap = Tap(model.attention_sites(), **asked)
        plain = model(images, tap=tap)
        for backend in ("eager", "inductor") if name == "learned" else ("eager",):
            torch.compiler.reset()
            compiled = torch.compile(model, fullgraph=True, backend=backend)
            torch.testing.assert_close(compiled(images), plain, atol=1e-5, rtol=0)
            compiled_tap = Tap(model.attention_sites(), **asked)
            torch.testing.assert_close(compiled(images, tap=compiled_tap), plain, atol=1e-5, rtol=0)
            assert list(compiled_tap.weights) == list(tap.weights)
            for site, expected in tap.weights.items():
                torch.testing.assert_close(compiled_tap.weights[site], expected, atol=1e-6, rtol=0)
            print(f"{name}: one graph under {backend}")
        relevance = explain(model, images, method="relevance", target=[1, 2])
        torch.compiler.reset()
        model.compile(backend="eager")  # in place, as a training does it
        for before, after in zip(relevance, explain(model, images, method="relevance", target=[1, 2]), strict=True):
            np.testing.assert_allclose(after.values, before.values, atol=1e-6)
    for name, config in DECODERS.items():
        captioner(name, config)
    for name, model in ANSWERERS.items():
        answerer(name, model.eval())
    text_to_text()


def answerer(name: str, model: VQA | SingleStream) -> None:
    """A whole pass over padded questions with a tap is one graph."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    images = torch.randn(2, 3, *SIZES["image_size"], generator=generator)
    questions = torch.randint(31, (4, 7), generator=generator)
    attention_mask = torch.arange(7) < torch.tensor([[7], [3], [5], [7]])
    answers = (questions[:, :5],) if isinstance(model, VQA) and model.decoder is not None else ()
    counts = {"question_tokens": 7, **({"answer_tokens": 5} if answers else {})}
    taps = [Tap(model.attention_sites(**counts)) for _ in range(2)]
    with torch.no_grad():
        expected = model(images, questions, *answers, attention_mask=attention_mask, tap=taps[0])
        torch.compiler.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        found = compiled(images, questions, *answers, attention_mask=attention_mask, tap=taps[1])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            compiled(images, questions, *answers, attention_mask=attention_mask), expected, atol=1e-5, rtol=1e-5
        )
    for site, weights in taps[0].weights.items():
        torch.testing.assert_close(taps[1].weights[site], weights, atol=1e-6, rtol=0)
    print(f"answerer, {name}: one graph")


def captioner(name: str, config: TextDecoderConfig) -> None:
    """A whole pass with a tap, and a decode of several cached steps, are one graph each."""
    torch.manual_seed(0)
    encoder = ViTConfig(**SIZES | {"num_classes": 0})
    model = Captioner(CaptionerConfig(encoder, config)).eval()
    images, tokens = torch.randn(2, 3, *encoder.image_size), torch.randint(31, (4, 7))

    def looked(images, tokens, tap):
        return model(images, tokens, tap=tap), tap.weights["decoder.blocks.1.cross"]

    def decoded(images, tokens, _):
        cache = model.start(images, rows=4, capacity=7)
        parts = [model.decoder(tokens[:, :3], cache=cache)]
        cache.select(torch.tensor([1, 0, 3, 2]))
        return torch.cat([*parts, *(model.decoder(tokens[:, i : i + 1], cache=cache) for i in range(3, 7))], dim=1)

    with torch.no_grad():
        for function in (looked, decoded):
            torch.compiler.reset()
            compiled = torch.compile(function, fullgraph=True, backend="eager")
            taps = [Tap(model.attention_sites(tokens=7), select="decoder.*.cross") for _ in range(2)]
            expected = function(images, tokens, taps[0])
            torch.testing.assert_close(compiled(images, tokens, taps[1]), expected, atol=1e-5, rtol=0)
            print(f"captioner, {name}, {function.__name__}: one graph")
    trained(name, CaptionerConfig(replace(encoder, dropout=0.3), replace(config, dropout=0.3)))


def text_to_text() -> None:
    """A whole pass with relative positions and a tap, and a decode of several cached steps, are one graph each."""
    torch.manual_seed(0)
    encoder = TextEncoderConfig(**TEXT | {"context_dim": None}, **RELATIVE)
    model = TextToText(TextToTextConfig(encoder, TextDecoderConfig(**TEXT, **RELATIVE, gated=True))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens, written = torch.randint(31, (2, 9)), torch.randint(31, (2, 7))
    attention_mask = torch.arange(9) < torch.tensor([[9], [4]])

    def looked(tokens, written, tap):
        logits = model(tokens, written, attention_mask=attention_mask, tap=tap)
        return logits, tap.weights["encoder.blocks.1.self"], tap.weights["decoder.blocks.1.self"]

    def decoded(tokens, written, _):
        cache = model.decoder.start(model.read(tokens, attention_mask=attention_mask), rows=2, capacity=7)
        parts = [model.decoder(written[:, :3], cache=cache)]
        return torch.cat([*parts, *(model.decoder(written[:, i : i + 1], cache=cache) for i in range(3, 7))], dim=1)

    with torch.no_grad():
        for function in (looked, decoded):
            torch.compiler.reset()
            compiled = torch.compile(function, fullgraph=True, backend="eager")
            taps = [Tap(model.attention_sites(tokens=9, written=7), select="*.self") for _ in range(2)]
            expected = function(tokens, written, taps[0])
            torch.testing.assert_close(compiled(tokens, written, taps[1]), expected, atol=1e-5, rtol=1e-5)
            print(f"text to text, {function.__name__}: one graph")


def trained(name: str, config: CaptionerConfig) -> None:
    """A pass with dropout and checkpointed activations is one graph, whose gradients are those without."""
    torch.manual_seed(0)
    model = Captioner(config).train()
    images, tokens = torch.randn(2, 3, *config.encoder.image_size), torch.randint(31, (4, 7))
    found = []
    for checkpoint_activations in (False, True):
        torch.compiler.reset()
        # the backend whose partitioner decides what the backward pass computes again
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager_decomp_partition")
        model.zero_grad()
        torch.manual_seed(1)
        compiled(images, tokens, checkpoint_activations=checkpoint_activations).square().sum().backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert len(found[0]) > 30
    torch.testing.assert_close(found[1], found[0], atol=0, rtol=0)
    print(f"captioner, {name}, checkpointed: one graph")


if __name__ == "__main__":
    main()
