from dataclasses import replace

import pytest
import torch
from torch import nn

from multiattn.attention import Mask, Tap
from multiattn.errors import ModelError
from multiattn.models import TextDecoder, TextDecoderConfig, TextEncoder, TextEncoderConfig

V, D, C, M, MAX, N = 37, 22, 13, 5, 17, 7
SIZES = {"vocab_size": V, "dim": D, "depth": 3, "num_heads": 2, "mlp_dim": 29, "max_length": MAX}
POST_NORM = {"pre_norm": False, "norm_eps": 1e-12, "embed_norm": True, "final_norm": False}
CONFIGS = {
    "pre-norm": TextEncoderConfig(**SIZES, context_dim=C),
    "bert, looking": TextEncoderConfig(**SIZES, **POST_NORM, context_dim=C),
    "bert": TextEncoderConfig(**SIZES, **POST_NORM, context_dim=None),
    "t5": TextEncoderConfig(
        **SIZES,
        context_dim=None,
        positions="relative",
        num_buckets=6,
        max_distance=5,
        norm="rms",
        linear_bias=False,
        scale_scores=False,
    ),
}
FIRST = TextEncoderConfig(**{**SIZES, "dim": 26, "depth": 2, "max_length": 19}, **POST_NORM, context_dim=None)
CONFIGS["another reads first"] = replace(CONFIGS["pre-norm"], text=FIRST)

CONFIGS["pairs and a summary"] = replace(CONFIGS["another reads first"], pairs=41, summary=True)


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def encoder(request):
    return random_weights(TextEncoder(request.param))


def random_weights(module):
    generator = torch.Generator().manual_seed(3)
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name), std=0.3, generator=generator)
    return module.eval().requires_grad_(False)


def context(encoder, batch=2):
    if encoder.config.context_dim is None:
        return None
    return torch.randn(batch, M, C, generator=torch.Generator().manual_seed(1))


def texts(rows=6, count=N):
    return torch.randint(V, (rows, count), generator=torch.Generator().manual_seed(2))


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_every_token_sees_every_other(encoder):
    tokens = texts()
    before = encoder(tokens, context(encoder))
    for place in (0, 4, N - 1):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % V
        changed = (encoder(other, context(encoder)) - before).abs().amax(dim=2)  # (r, n)
        assert changed.min() > 1e-4


def test_padding_changes_nothing_wherever_it_stands(encoder):
    tokens = texts()
    alone = encoder(tokens, context(encoder))
    for left, right in ((0, 3), (2, 0), (1, 2)):
        padded = nn.functional.pad(tokens, (left, right), value=5)
        attention_mask = torch.zeros(padded.shape, dtype=torch.bool)
        attention_mask[:, left : left + N] = True
        close(encoder(padded, context(encoder), attention_mask=attention_mask)[:, left : left + N], alone)


def test_rows_share_a_context_projected_or_not():
    encoder = random_weights(TextEncoder(CONFIGS["pre-norm"]))
    tokens, seen = texts(), context(encoder)
    states = encoder(tokens, seen)
    close(encoder(tokens, encoder.project_context(seen)), states)
    close(encoder(tokens, seen.repeat_interleave(3, dim=0)), states)
    close(encoder(tokens[3:5], seen[1:]), states[3:5])
    assert (encoder(tokens, seen.flip(0)) - states).abs().max() > 1e-3


def test_padding_of_the_context_is_not_looked_at():
    encoder = random_weights(TextEncoder(CONFIGS["bert, looking"]))
    tokens, seen = texts(), context(encoder)
    attention_mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    states = encoder(tokens, seen, context_attention_mask=attention_mask)
    close(states[:3], encoder(tokens[:3], seen[:1, :3]))
    close(states[3:], encoder(tokens[3:], seen[1:]))
    close(encoder(tokens, encoder.project_context(seen, attention_mask)), states)


def test_the_sites_are_those_that_run(encoder):
    seen = context(encoder)
    sites = encoder.attention_sites(tokens=N, context_tokens=M)
    tap = Tap(sites)
    assert torch.equal(encoder(texts(), seen, tap=tap), encoder(texts(), seen))
    kinds = ("self",) if seen is None else ("self", "cross")
    assert list(tap.weights) == [f"blocks.{i}.{kind}" for i in range(3) for kind in kinds]
    for site in sites:
        weights = tap.weights[site.name]
        assert tuple(weights.shape) == (6, site.num_heads, site.q_len, site.k_len)
        close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


def test_the_first_state_alone_is_the_first_of_all(encoder):
    tokens, attention_mask = texts(), torch.ones(6, N, dtype=torch.bool)
    attention_mask[2, 4:] = False
    whole = encoder(tokens, context(encoder), attention_mask=attention_mask)
    close(encoder(tokens, context(encoder), attention_mask=attention_mask, first_only=True), whole[:, :1])


def test_what_another_encoder_reads_first_is_added_to_the_embedded_tokens():
    encoder = random_weights(TextEncoder(CONFIGS["another reads first"]))
    alone = TextEncoder(CONFIGS["pre-norm"])
    alone.load_state_dict({name: tensor for name, tensor in encoder.state_dict().items() if "text" not in name})
    tokens, seen = texts(), context(encoder)
    attention_mask = torch.ones(6, N, dtype=torch.bool)
    attention_mask[2, 4:] = False
    states = encoder.text(tokens, attention_mask=attention_mask) @ encoder.text_bridge.weight.T
    embedded = alone.embedding(tokens) + states + encoder.text_bridge.bias + alone.positions.weight[:N]
    found = alone.norm(alone.run(embedded, seen, mask=Mask(keys=attention_mask)))
    close(encoder(tokens, seen, attention_mask=attention_mask)[attention_mask], found[attention_mask])
    nn.init.zeros_(encoder.text_bridge.weight)
    nn.init.zeros_(encoder.text_bridge.bias)
    close(encoder(tokens, seen), alone.eval()(tokens, seen))


def test_pairs_are_added_to_the_second_token_and_the_mean_of_all_to_the_first():
    encoder = random_weights(TextEncoder(CONFIGS["pairs and a summary"]))
    alone = TextEncoder(CONFIGS["pre-norm"])
    alone.load_state_dict({k: v for k, v in encoder.state_dict().items() if "text" not in k and "pairs" not in k})
    tokens, seen = texts(), context(encoder)
    attention_mask = torch.ones(6, N, dtype=torch.bool)
    attention_mask[2, 4:] = False
    states = encoder.text(tokens, attention_mask=attention_mask)
    embedded = alone.embedding(tokens) + encoder.text_bridge(states) + alone.positions.weight[:N]
    for row in range(6):
        length = int(attention_mask[row].sum())
        ids = tokens[row].tolist()
        for place in range(length):
            before = ids[place - 1] if place else ids[0]
            embedded[row, place] += encoder.pairs.weight[(before * 1_000_003 + ids[place]) % 41]
        embedded[row, 0] += embedded[row, :length].mean(dim=0)
    found = alone.norm(alone.run(embedded, seen, mask=Mask(keys=attention_mask)))
    close(encoder(tokens, seen, attention_mask=attention_mask)[attention_mask], found[attention_mask])
    # states that are known are used as they are
    close(encoder(tokens, seen, text_states=encoder.text(tokens)), encoder(tokens, seen))
    with_double = encoder(tokens, seen, text_states=2 * encoder.text(tokens))
    encoder.text_bridge.weight.mul_(2)
    close(with_double, encoder(tokens, seen))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_dim": C}, "`text.context_dim` must be None, for the encoder that reads first sees no context, but"),
        ({"text": FIRST}, "`text.text` must be None, for one encoder reads first, but is "),
        ({"max_length": 16}, r"`text.max_length` must be at least `max_length` \(17\), but is 16 instead"),
        ({"vocab_size": 38}, r"`text.vocab_size` must be `vocab_size` \(37\), but is 38 instead"),
        ({"start_token": 7}, r"`text.start_token` must be `start_token` \(1\), but is 7 instead"),
    ],
)
def test_an_encoder_that_cannot_read_first(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIGS["pre-norm"], text=replace(FIRST, **changes))


def test_it_has_the_decoder_s_parameters_under_the_same_names():
    """So that one table of keys serves both."""
    sizes = {**SIZES, **POST_NORM, "context_dim": C}
    encoder = TextEncoder(TextEncoderConfig(**sizes)).state_dict()
    decoder = TextDecoder(TextDecoderConfig(**sizes)).state_dict()
    assert {name: tensor.shape for name, tensor in encoder.items()} == {
        name: tensor.shape for name, tensor in decoder.items()
    }


def test_what_does_not_fit_is_refused():
    encoder = TextEncoder(CONFIGS["pre-norm"])
    alone = TextEncoder(CONFIGS["bert"])
    with pytest.raises(ModelError, match="a text may have 17 tokens, .* but has 18 instead: shorten it"):
        encoder(texts(count=18), context(encoder))
    with pytest.raises(ModelError, match="`context` must be given to an encoder with cross-attention"):
        encoder(texts())
    with pytest.raises(ModelError, match="`context` must be left out for an encoder without cross-attention"):
        alone(texts(), context(encoder))
    with pytest.raises(ValueError, match="`context_dim` must be at least 1, but is 0 instead"):
        replace(CONFIGS["bert"], context_dim=0)
    with pytest.raises(ValueError, match="`start_token` must be from 0 to 36, but is 37 instead"):
        replace(CONFIGS["bert"], start_token=37)
