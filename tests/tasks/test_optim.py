"""The schedule and the parameter groups."""

import math

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import nn

from multiattn.errors import ModelError
from multiattn.models import Captioner, CaptionerConfig, TextDecoderConfig, ViT, ViTConfig
from multiattn.tasks.optim import Optimization, configure, lr_factor, training_steps


@given(warmup=st.integers(0, 29), rest=st.integers(1, 53), final=st.floats(0, 1))
def test_the_rate_rises_then_falls(warmup: int, rest: int, final: float) -> None:
    total = warmup + rest
    factors = [lr_factor(s, warmup_steps=warmup, total_steps=total, final=final) for s in range(total + 1)]
    assert all(0 < f <= 1 for f in factors[:total])
    assert factors[warmup] == 1
    assert all(a < b for a, b in zip(factors[:warmup], factors[1 : warmup + 1], strict=True))
    assert all(a >= b - 1e-12 for a, b in zip(factors[warmup:], factors[warmup + 1 :], strict=False))
    assert factors[total] == pytest.approx(final)
    middle = lr_factor(warmup + 1, warmup_steps=warmup, total_steps=total, final=final)
    assert middle == pytest.approx(final + (1 - final) * 0.5 * (1 + math.cos(math.pi / rest)))


def test_lower_layers_learn_less_and_vectors_do_not_decay() -> None:
    torch.manual_seed(3)
    config = ViTConfig(image_size=(14, 14), patch_size=7, num_classes=5, dim=12, depth=3, num_heads=2, mlp_dim=13)
    model = ViT(config)
    names = {id(p): name for name, p in model.named_parameters()}
    numbers = Optimization(lr=0.7, weight_decay=0.11, layer_decay=0.5, warmup_epochs=0)
    optimizer = configure(model, numbers, steps_per_epoch=11, total_steps=31)["optimizer"]
    rates, decays = {}, {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            rates[names[id(p)]], decays[names[id(p)]] = group["initial_lr"], group["weight_decay"]
    assert rates.keys() == set(names.values())
    assert rates["head.weight"] == pytest.approx(0.7)
    assert rates["blocks.2.norm1.weight"] == pytest.approx(0.7)  # of timm's order: the head goes with the last block
    assert rates["blocks.0.attention.qkv.weight"] == pytest.approx(0.7 / 4)
    assert rates["stem.proj.weight"] == rates["class_token"] == rates["positions.weight"] == pytest.approx(0.7 / 8)
    assert {name for name, decay in decays.items() if decay == 0.11} == {
        name for name, p in model.named_parameters() if p.ndim > 1 and name not in ("class_token", "positions.weight")
    }


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_a_part_learns_at_its_share_of_the_rate_and_a_frozen_one_not_at_all(layer_decay: float) -> None:
    torch.manual_seed(3)
    encoder = ViTConfig(image_size=(14, 14), patch_size=7, num_classes=0, dim=12, depth=3, num_heads=2, mlp_dim=13)
    decoder = TextDecoderConfig(vocab_size=17, dim=10, depth=2, num_heads=2, mlp_dim=13, max_length=7, context_dim=12)
    model = Captioner(CaptionerConfig(encoder, decoder))
    names = {id(p): name for name, p in model.named_parameters()}

    def groups(share: float) -> list[dict]:
        numbers = Optimization(lr=0.7, weight_decay=0.11, layer_decay=layer_decay, warmup_epochs=0)
        made = configure(model, numbers, steps_per_epoch=11, total_steps=31, lr_shares={"encoder": share})
        return made["optimizer"].param_groups

    def by_name(key: str, share: float) -> dict[str, float]:
        return {names[id(p)]: group[key] for group in groups(share) for p in group["params"]}

    plain, rates, decays = by_name("initial_lr", 1.0), by_name("initial_lr", 0.25), by_name("weight_decay", 0.25)
    assert rates.keys() == set(names.values())
    for name, rate in rates.items():
        assert rate == pytest.approx(plain[name] * (0.25 if name.startswith("encoder.") else 1))
    assert rates["decoder.embedding.weight"] == pytest.approx(0.7)
    assert rates["encoder.blocks.0.attention.qkv.weight"] < rates["decoder.blocks.0.attention.qkv.weight"]
    no_decay = {"encoder.class_token", "encoder.positions.weight", "decoder.positions.weight"}
    assert {name for name, decay in decays.items() if decay == 0.11} == {
        name for name, p in model.named_parameters() if p.ndim > 1 and name not in no_decay
    }
    model.encoder.requires_grad_(False)
    assert not any(name.startswith("encoder.") for name in by_name("lr", 0.0))


def test_steps_are_counted_with_the_accumulation_of_each_epoch() -> None:
    plain = pl.Trainer(max_epochs=5, accumulate_grad_batches=3, accelerator="cpu", logger=False)
    assert training_steps(plain, 10) == (4, 20)
    schedule = GradientAccumulationScheduler({0: 1, 2: 4})
    trainer = pl.Trainer(max_epochs=5, callbacks=[schedule], accelerator="cpu", logger=False)
    assert training_steps(trainer, 10) == (10, 10 + 10 + 3 * 3)


@pytest.mark.parametrize("name", ["fallback_list", "fallback_no_weight_decay", "layer_decay", "filter_bias_and_bn"])
def test_options_that_timm_would_ignore_are_refused(name: str) -> None:
    numbers = Optimization(optimizer="muon", optimizer_options={"nesterov": True, name: True})
    with pytest.raises(ModelError, match=f"must be arguments of muon itself, but has `{name}` instead"):
        configure(nn.Linear(3, 2), numbers, steps_per_epoch=1, total_steps=1)


def test_a_model_of_which_nothing_learns_is_refused() -> None:
    with pytest.raises(ModelError, match="must have something to learn, but all of its weights are frozen"):
        configure(nn.Linear(3, 2).requires_grad_(False), Optimization(), steps_per_epoch=1, total_steps=1)
