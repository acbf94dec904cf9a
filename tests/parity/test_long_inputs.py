"""Longformer and Reformer against transformers, on their own random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multiattn.attention import Attention, Buckets, Chunking, LSHScore, Mask
from multiattn.blocks import FeedForward, Streams, TransformerBlock, run_reversible
from multiattn.errors import ModelError
from multiattn.models import TextEncoder
from multiattn.weights import load_text_model, save_text_model
from multiattn.weights.hf_longformer import TABLE
from multiattn.weights.table import CONCAT, KeyTable, Row
from tests.parity.random_weights import randomize
from tests.parity.test_bert import change
from tests.parity.vocabularies import ROBERTA_PIECES, save_roberta_pieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

B, N, WINDOW = 3, 48, 8
LENGTHS = torch.tensor([N, 31, 5])
SIZES = {
    "vocab_size": len(ROBERTA_PIECES),
    "hidden_size": 26,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 61,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "attention_window": WINDOW,
}
GLOBAL = torch.tensor([[0, 17, 40], [0, -1, -1], [2, 4, -1]])


def longformer(kind: str = "LongformerModel", **changes: Any) -> torch.nn.Module:
    return randomize(getattr(transformers, kind)(transformers.LongformerConfig(**SIZES | changes)), seed=13)


def global_mask() -> Tensor:
    return torch.zeros(B, N + 1).scatter(1, torch.where(GLOBAL < 0, N, GLOBAL), 1.0)[:, :N]


@torch.inference_mode()
def test_longformer_attention_has_their_result_and_their_weights() -> None:
    theirs = longformer().encoder.layer[1].attention.self.eval()
    ours = Attention(26, 2, global_projections=True).eval()
    ours.out = torch.nn.Identity()  # theirs has no projection of the result
    state = {f"encoder.layer.1.attention.self.{key}": tensor for key, tensor in theirs.state_dict().items()}
    wanted = [f"blocks.1.attention.{key}" for key in ours.state_dict()]
    ours.load_state_dict({key[19:]: tensor for key, tensor in TABLE.to_ours(state, wanted).items()})

    x = torch.randn(B, N, 26, generator=torch.Generator().manual_seed(1))
    keys, far = torch.arange(N) < LENGTHS[:, None], global_mask().bool()
    expected = theirs(
        x,
        attention_mask=torch.zeros(B, N).masked_fill(far, 10_000.0).masked_fill(~keys, -10_000.0),
        is_index_masked=~keys,
        is_index_global_attn=far,
        is_global_attn=True,
    )[0]
    found = ours(x, mask=Mask(window=WINDOW // 2, keys=keys, global_tokens=GLOBAL))
    scale = expected.abs().max()
    assert float((found - expected)[keys].abs().max() / scale) <= 1e-5


@pytest.mark.parametrize("kind", ["LongformerModel", "LongformerForMaskedLM"])
@pytest.mark.parametrize("length", [N, 43, 7])
@torch.inference_mode()
def test_the_states_of_a_longformer_are_theirs_and_it_goes_back(kind: str, length: int, tmp_path: Path) -> None:
    theirs = longformer(kind).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    save_roberta_pieces(tmp_path / "theirs")
    ours, tokenizer = load_text_model(tmp_path / "theirs")
    assert isinstance(ours, TextEncoder)
    assert (ours.config.window, ours.config.max_length, ours.config.pad_token) == (WINDOW // 2, 59, 1)

    tokens = torch.randint(4, len(ROBERTA_PIECES), (B, length), generator=torch.Generator().manual_seed(3))
    attention_mask = torch.arange(length) < LENGTHS.clamp(max=length)[:, None]
    tokens = tokens.masked_fill(~attention_mask, 1)
    places = GLOBAL.masked_fill(GLOBAL >= length, -1)
    for far in (None, places):
        marks = None if far is None else global_mask()[:, :length].long()
        expected = getattr(theirs, "longformer", theirs)(
            tokens, attention_mask=attention_mask.long(), global_attention_mask=marks
        ).last_hidden_state
        found = ours(tokens, attention_mask=attention_mask, global_tokens=far)
        assert float((found - expected)[attention_mask].abs().max() / expected.abs().max()) <= 1e-5
    first = ours(tokens, attention_mask=attention_mask, global_tokens=places, first_only=True)
    torch.testing.assert_close(first, found[:, :1])

    save_text_model(ours, tokenizer, tmp_path / "ours")
    again, report = transformers.LongformerModel.from_pretrained(
        tmp_path / "ours", add_pooling_layer=False, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = again.eval()(tokens, attention_mask=attention_mask.long(), global_attention_mask=marks).last_hidden_state
    assert float((found - expected)[attention_mask].abs().max() / expected.abs().max()) <= 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"attention_window": [8, 8, 16]},
            r"`attention_window` must be one even number for all blocks, but is \[8, 8, 16",
        ),
        ({"attention_window": 7}, "`attention_window` must be one even number for all blocks, but is 7"),
        ({"type_vocab_size": 2}, "`type_vocab_size` must be 1, but is 2"),
        ({"pad_token_id": 0}, "`pad_token_id` must be 1, but is 0"),
    ],
)
def test_a_longformer_that_ours_cannot_be_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    longformer().save_pretrained(tmp_path)
    save_roberta_pieces(tmp_path)
    change(tmp_path / "config.json", **changes)
    with pytest.raises(ModelError, match=message):
        load_text_model(tmp_path)


# --- Reformer

_THEIRS = "attention.self_attention."
REFORMER = KeyTable(
    "hf-reformer, a layer",
    (
        Row("norm1.{p}", "attention.layer_norm.{p}"),
        Row("attention.qk_v.{p}", (f"{_THEIRS}query_key.{{p}}", f"{_THEIRS}value.{{p}}"), CONCAT),
        Row("attention.out.{p}", "attention.output.dense.{p}"),
        Row("norm2.{p}", "feed_forward.layer_norm.{p}"),
        Row("feedforward.fc1.{p}", "feed_forward.dense.dense.{p}"),
        Row("feedforward.fc2.{p}", "feed_forward.output.dense.{p}"),
    ),
)
CHUNK, ROUNDS, HEADS, DIM = 8, 3, 2, 26


def reformer_layer(*, causal: bool, before: int, after: int) -> torch.nn.Module:
    config = transformers.ReformerConfig(
        hidden_size=DIM,
        num_attention_heads=HEADS,
        attention_head_size=DIM // HEADS,
        feed_forward_size=37,
        attn_layers=["lsh"],
        lsh_attn_chunk_length=CHUNK,
        lsh_num_chunks_before=before,
        lsh_num_chunks_after=after,
        num_hashes=ROUNDS,
        num_buckets=4,
        hash_seed=7,
        is_decoder=causal,
        hidden_act="relu",
    )
    from transformers.models.reformer.modeling_reformer import ReformerLayer

    return randomize(ReformerLayer(config), seed=5)


def our_layer(theirs: torch.nn.Module, *, before: int, after: int) -> TransformerBlock:
    score = LSHScore(HEADS, DIM // HEADS, chunking=Chunking(CHUNK, before, after), rounds=ROUNDS)
    ours = TransformerBlock(
        DIM,
        attention=Attention(DIM, HEADS, bias=False, out_bias=False, shared_qk=True, score=score),
        feedforward=FeedForward(DIM, 37, activation=torch.nn.ReLU()),
        norm_eps=1e-12,
    )
    keys = [key for key in ours.state_dict() if "rotations" not in key]
    ours.load_state_dict(REFORMER.to_ours(theirs.state_dict(), keys), strict=False)
    return ours


@pytest.mark.parametrize(
    ("causal", "before", "after", "padded"),
    [(False, 1, 0, False), (True, 1, 0, False), (False, 1, 1, True), (True, 1, 0, True)],
    ids=["bidirectional", "causal", "both sides, padded", "causal, padded"],
)
def test_a_reformer_layer_has_their_streams_and_their_gradients(
    causal: bool, before: int, after: int, padded: bool
) -> None:
    # causal in double precision: in fp32, theirs is 0.5 % off where a token meets itself alone, whose score is -1e5
    dtype = torch.float64 if causal else torch.float32
    theirs = reformer_layer(causal=causal, before=before, after=after).to(dtype)
    ours = our_layer(theirs, before=before, after=after).to(dtype)
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randn(B, N, DIM, generator=generator).to(dtype) for _ in range(2))
    keys = torch.arange(N) < LENGTHS[:, None] if padded else None
    theirs.train()  # their backward pass needs it; nothing is dropped
    theirs.attention.self_attention.dropout = theirs.attention.output.dropout = 0.0
    theirs.feed_forward.dense.dropout = theirs.feed_forward.output.dropout = 0.0
    mask = None if keys is None else keys.long()
    expected = theirs(first, second, attention_mask=mask)
    buckets = expected.buckets  # (b, h, t, n), with an offset for each round
    found = run_reversible(
        [ours],
        Streams(first.requires_grad_(), second.requires_grad_()),
        mask=Mask(causal=causal, keys=keys, buckets=Buckets(buckets)),
    )
    real = torch.ones(B, N, dtype=torch.bool) if keys is None else keys
    for a, b in zip(found, (expected.attn_output, expected.hidden_states), strict=True):
        assert float((a - b)[real].detach().abs().max() / b.abs().max()) <= 1e-5

    cotangents = [torch.randn(B, N, DIM, generator=generator).to(dtype) * real[..., None] for _ in range(2)]
    parameters = dict(ours.named_parameters())
    gradients = torch.autograd.grad(list(found), [first, second, *parameters.values()], cotangents)
    back = theirs.backward_pass(
        expected.attn_output, expected.hidden_states, *cotangents, attention_mask=mask, buckets=buckets
    )
    of_theirs = REFORMER.to_ours({key: one.grad for key, one in theirs.named_parameters()}, parameters)
    pairs = [*zip(gradients, (back.grad_attn_output, back.grad_hidden_states), strict=False)]
    pairs += zip(gradients[2:], of_theirs.values(), strict=True)
    for a, b in pairs:
        assert float((a - b).abs().max() / b.abs().max()) <= 1e-4


@torch.inference_mode()
def test_buckets_from_their_rotations_are_their_buckets() -> None:
    theirs = reformer_layer(causal=False, before=1, after=0).eval().attention.self_attention
    x = torch.randn(B, HEADS, N, DIM // HEADS, generator=torch.Generator().manual_seed(2))
    wanted = theirs._hash_vectors(x, ROUNDS, None).view(B, HEADS, ROUNDS, N)
    torch.manual_seed(7)  # theirs is drawn anew from this seed in each call
    rotations = torch.randn(HEADS, DIM // HEADS, ROUNDS, 2)
    from multiattn.attention.lsh import hashed

    assert torch.equal(hashed(x, rotations, (4,)) + 4 * torch.arange(ROUNDS)[:, None], wanted)
