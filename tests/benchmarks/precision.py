"""fp32, bf16 and int8 on the same random weights: ViT-B/16, and BLIP-base writing a caption, on a CPU."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from multiattn.attention import ProjectedContext
from multiattn.blocks.packed import has_bf16_products
from multiattn.generation import GenerationConfig, generate
from multiattn.generation.packing import lay_out_for_decoding
from multiattn.models import PRESETS, Captioner, ViT
from multiattn.models.captioner import PRESETS as CAPTIONERS
from multiattn.pipelines.precision import PRECISIONS, converted
from tests.parity.random_weights import randomize

from .timing import interleaved, show

TOKENS = 20
"""Of each caption."""


def precision(rounds: int) -> None:
    """A forward pass of ViT-B/16 at 224 px, and BLIP-base: 20 tokens greedily, in 3 beams, and with the encoder."""
    print(f"products in bf16 by the processor itself: {'yes' if has_bf16_products() else 'no'}")
    rounds = max(3, rounds // 5)
    _vits(rounds)
    _blips(rounds)


def _vits(rounds: int) -> None:
    models = _each(ViT(PRESETS["base"]))
    for batch in (1, 4):
        images = torch.randn(batch, 3, 224, 224)
        _timed(f"forward, ViT-B/16, batch {batch}", models, lambda model, images=images: model(images), rounds=rounds)


def _blips(rounds: int) -> None:
    models = _each(Captioner(CAPTIONERS["blip_base"]))
    with torch.inference_mode():
        contexts = {id(model): _seen(model) for model in models.values()}
    for beams in (1, 3):
        _timed(
            f"decoding, BLIP-base, {TOKENS} tokens, {beams} beam{'s' * (beams > 1)}",
            models,
            lambda model, beams=beams: _written(model, contexts[id(model)], beams),
            rounds=rounds,
        )
    _timed(
        f"picture to caption, BLIP-base, 384 px, {TOKENS} tokens, 1 beam",
        models,
        lambda model: _written(model, _seen(model), 1),
        rounds=rounds,
    )


def _seen(model: Captioner) -> ProjectedContext:
    images = torch.randn(1, 3, 384, 384, generator=torch.Generator().manual_seed(0))
    return model.decoder.project_context(model.encode(images))


def _each(model: nn.Module) -> dict[str, nn.Module]:
    """The model in each precision that a CPU has, as the pipelines lay it out."""
    model = randomize(model, seed=0)
    models = {name: converted(copy.deepcopy(model), name) for name in PRECISIONS if name != "fp16"}
    for one in models.values():
        if isinstance(one, Captioner):
            lay_out_for_decoding(one.decoder)
    return models


def _written(model: Captioner, context: ProjectedContext, beams: int) -> object:
    search = GenerationConfig(num_beams=beams, min_tokens=TOKENS, max_tokens=TOKENS)
    return generate(model.decoder, context, [[model.config.decoder.start_token]], search)


def _timed(title: str, models: dict[str, nn.Module], run: Callable[[nn.Module], object], *, rounds: int) -> None:
    ways = {name: lambda model=model: run(model) for name, model in models.items()}
    with torch.inference_mode():
        show(title, interleaved(ways, rounds=rounds))
