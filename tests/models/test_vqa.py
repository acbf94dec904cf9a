from dataclasses import replace

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from multiattn.attention import Tap, sinusoidal_2d
from multiattn.errors import ModelError
from multiattn.models import VQA, TextDecoderConfig, TextEncoderConfig, ViTConfig, VQAConfig
from multiattn.models.vqa import PRESETS

V, N, T, A = 31, 7, 3, 11
ENCODER = ViTConfig(image_size=(15, 21), patch_size=3, num_classes=0, dim=14, depth=2, num_heads=2, mlp_dim=19)
PICTURE_TOKENS = 1 + 5 * 7
QUESTION = TextEncoderConfig(vocab_size=V, dim=22, depth=3, num_heads=2, mlp_dim=29, max_length=11, context_dim=14)
DECODER = TextDecoderConfig(vocab_size=V, dim=26, depth=2, num_heads=2, mlp_dim=23, max_length=5, context_dim=22)
CONFIGS = {
    "list": VQAConfig(ENCODER, QUESTION, answers=A, head_dim=17),
    "bridged list": VQAConfig(ENCODER, replace(QUESTION, context_dim=10), answers=A, bridge=True),
    "places once more": VQAConfig(
        ENCODER, replace(QUESTION, context_dim=12), answers=A, bridge=True, output_positions=True
    ),
    "decoder": VQAConfig(ENCODER, QUESTION, DECODER),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    model = VQA(request.param)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval().requires_grad_(False)


def pictures(batch=2):
    return torch.randn(batch, 3, 15, 21, generator=torch.Generator().manual_seed(1))


def questions(rows=6):
    return torch.randint(V, (rows, N), generator=torch.Generator().manual_seed(2))


def answers(model, rows=6):
    if model.decoder is None:
        return None
    return torch.randint(V, (rows, T), generator=torch.Generator().manual_seed(4))


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_the_answer_depends_on_picture_question_and_what_was_answered(model):
    given = answers(model)
    logits = model(pictures(), questions(), given)
    assert logits.shape == ((6, A) if given is None else (6, T, V))
    assert (model(pictures().flip(0), questions(), given) - logits).abs().max() > 1e-3
    assert (model(pictures(), questions().flip(0), given) - logits).abs().max() > 1e-3
    if given is not None:
        assert (model(pictures(), questions(), given.flip(0)) - logits).abs().max() > 1e-3


def test_the_parts_in_turn_are_the_whole(model):
    """A picture that is encoded and projected once answers each of its questions as if it stood alone."""
    given = answers(model)
    context = model.question.project_context(model.encode(pictures()))
    states = model.read(questions(), context)
    assert states.shape == (6, N, 22)
    close(model.read(questions(), context, first_only=True), states[:, :1])
    logits = model.answer_logits(states) if given is None else model.decoder(given, states)
    close(logits, model(pictures(), questions(), given))
    for row in range(6):
        one = None if given is None else given[row : row + 1]
        picture = pictures()[row // 3 : row // 3 + 1]
        close(model(picture, questions()[row : row + 1], one), logits[row : row + 1])
    assert torch.equal(model.bridged(model.encoder.features(pictures())), model.encode(pictures()))


def test_places_are_added_to_the_patches_alone():
    model = VQA(CONFIGS["places once more"]).eval()
    images = torch.randn(2, 3, 9, 12)  # not the size of the configuration
    features = model.encoder.features(images)
    added = model.encode(images) - model.bridge(features)
    close(added[:, 0], torch.zeros(2, 12))
    close(added[:, 1:], sinusoidal_2d(3, 4, 12).expand(2, -1, -1))
    close(model.bridged(features, image_size=(9, 12)), model.encode(images))


def test_padded_questions_and_answers_are_read_as_if_they_were_not(model):
    given = answers(model)
    attention_mask = torch.ones(6, N, dtype=torch.bool)
    attention_mask[2, 4:] = attention_mask[5, 2:] = False
    answer_attention_mask = None if given is None else torch.tensor([[True, True, False]] * 6)
    logits = model(
        pictures(), questions(), given, attention_mask=attention_mask, answer_attention_mask=answer_attention_mask
    )
    for row, length in ((2, 4), (5, 2), (0, N)):
        one = None if given is None else given[row : row + 1, :2]
        alone = model(pictures()[row // 3 : row // 3 + 1], questions()[row : row + 1, :length], one)
        close(logits[row : row + 1] if given is None else logits[row : row + 1, :2], alone)


def test_sites_are_those_of_all_parts(model):
    given = answers(model)
    tokens = 0 if given is None else T
    sites = model.attention_sites(question_tokens=N, answer_tokens=tokens)
    tap = Tap(sites)
    assert torch.equal(model(pictures(), questions(), given, tap=tap), model(pictures(), questions(), given))
    expected = [f"encoder.blocks.{i}.self" for i in range(2)]
    expected += [f"question.blocks.{i}.{kind}" for i in range(3) for kind in ("self", "cross")]
    expected += [f"decoder.blocks.{i}.{kind}" for i in range(2) for kind in ("self", "cross")] * (given is not None)
    assert [site.name for site in sites] == expected
    for site in sites:
        rows = 2 if site.name.startswith("encoder") else 6
        assert tuple(tap.weights[site.name].shape) == (rows, site.num_heads, site.q_len, site.k_len)
    reading = model.attention_sites((9, 12), question_tokens=5)
    assert [site.name for site in reading] == [name for name in expected if not name.startswith("decoder")]
    assert reading[0].k_len == reading[-1].k_len == 1 + 3 * 4 and reading[-1].q_len == 5


def test_every_parameter_has_its_layer(model):
    found = {}
    names = {id(parameter): name for name, parameter in model.requires_grad_(True).named_parameters()}
    groups = param_groups_layer_decay(
        model, weight_decay=0.1, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5
    )
    for group in groups:
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["lr_scale"], group["weight_decay"])
    assert found.keys() == set(names.values())
    assert found["encoder.stem.proj.weight"] == (0.125, 0.1)
    assert found["encoder.blocks.1.attention.qkv.weight"] == (0.5, 0.1)
    assert found["question.embedding.weight"] == (1.0, 0.1)
    assert found["question.positions.weight"] == (1.0, 0.0)
    last = "head.3.weight" if model.decoder is None else "decoder.embedding.weight"
    assert found[last] == (1.0, 0.1)


def test_parts_that_do_not_fit_are_refused(model):
    whole = CONFIGS["list"]
    for changes, message in (
        ({"encoder": replace(ENCODER, num_classes=5)}, "`encoder.num_classes` must be 0, but is 5 instead"),
        ({"question": replace(QUESTION, context_dim=None)}, "`question.context_dim` must be a width, .* but is None"),
        (
            {"question": replace(QUESTION, context_dim=13)},
            r"`question.context_dim` must be the encoder's `dim` \(14\) without a `bridge`, but is 13 instead",
        ),
        ({"decoder": DECODER}, "either a `decoder` or `answers`, but there are a `decoder` and 11"),
        ({"answers": 0}, "either a `decoder` or `answers`, but there are no `decoder` and 0"),
        ({"answers": -1}, "either a `decoder` or `answers`, but there are no `decoder` and -1"),
        (
            {"output_positions": True, "encoder": replace(ENCODER, dim=14)},
            "`question.context_dim` must be a multiple of 4 with `output_positions`, but is 14 instead",
        ),
        ({"head_dim": 0}, "`head_dim` must be at least 1, but is 0 instead"),
        (
            {"answers": 0, "decoder": replace(DECODER, context_dim=21)},
            r"`decoder.context_dim` must be the question encoder's `dim` \(22\), but is 21 instead",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            replace(whole, **changes)
    if model.decoder is None:
        with pytest.raises(ModelError, match="`answers` must be left out for a model with a closed list"):
            model(pictures(), questions(), questions())
    else:
        with pytest.raises(ModelError, match="`answers` must be given to a model that writes them"):
            model(pictures(), questions())
        with pytest.raises(ModelError, match="must answer out of a closed list, but writes its answers: decode them"):
            model.answer_logits(torch.zeros(1, 1, 22))


def test_the_presets_are_the_published_sizes():
    """Parameters of the published file, as transformers counts them, and of the one a CPU can train."""
    sizes = {"blip_base": 361_478_972, "compact": 2433432}
    for name, expected in sizes.items():
        with torch.device("meta"):
            model = VQA(PRESETS[name])
        assert sum(parameter.numel() for parameter in model.parameters()) == expected, name
