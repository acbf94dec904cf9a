"""A question encoder's start against transformers' BERT."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from multiattn.errors import ModelError
from multiattn.weights import load_text_encoder, save_text_encoder
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import WORDPIECES, save_wordpieces

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

pytestmark = pytest.mark.usefixtures("quiet")

MINILM = Path(__file__).parents[2] / ".models" / "minilm"

SIZES = {
    "vocab_size": len(WORDPIECES),
    "hidden_size": 26,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 41,
}


def save_theirs(directory: Path, kind: str = "BertModel", **changes: Any) -> torch.nn.Module:
    model = randomize(getattr(transformers, kind)(transformers.BertConfig(**SIZES | changes)), seed=13)
    model.save_pretrained(directory)
    save_wordpieces(directory)
    return model


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@torch.inference_mode()
def largest_difference(encoder: torch.nn.Module, theirs: torch.nn.Module) -> float:
    tokens = torch.randint(5, len(WORDPIECES), (3, 11), generator=torch.Generator().manual_seed(3))
    attention_mask = torch.arange(11)[None] < torch.tensor([11, 7, 2])[:, None]
    wanted = theirs(tokens, attention_mask=attention_mask.long()).last_hidden_state
    assert wanted.std() > 0.3
    return float((encoder(tokens, attention_mask=attention_mask) - wanted)[attention_mask].abs().max())


@pytest.mark.parametrize("kind", ["BertModel", "BertForPreTraining", "BertForMaskedLM"])
@pytest.mark.parametrize(
    "changes", [{}, {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3, "hidden_dropout_prob": 0.0}]
)
def test_states_are_theirs(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path, kind, **changes)
    encoder, tokenizer = load_text_encoder(tmp_path)
    assert not encoder.training
    config = encoder.config
    assert (config.start_token, config.end_token, config.pad_token, config.context_dim) == (2, 3, 0, None)
    assert (config.dropout, config.attention_dropout) == (changes.get("hidden_dropout_prob", 0.1), 0.1)
    assert tokenizer.encode("a red fox") == [WORDPIECES.index(word) for word in ("a", "red", "fox")]
    assert largest_difference(encoder, getattr(theirs, "bert", theirs)) <= 1e-5


def test_norms_of_early_files_have_other_names(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path, "BertForPreTraining")
    state = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for key, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    assert any("gamma" in key for key in state)
    state["bert.embeddings.position_ids"] = torch.arange(41)[None]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert largest_difference(load_text_encoder(tmp_path)[0], theirs.bert) <= 1e-5


@torch.inference_mode()
def test_what_looks_at_a_picture_is_new(tmp_path: Path) -> None:
    save_theirs(tmp_path)
    plain = load_text_encoder(tmp_path)[0].state_dict()
    torch.manual_seed(7)
    encoder, _ = load_text_encoder(tmp_path, context_dim=34)
    state = encoder.state_dict()
    crossing = {key for key in state if key not in plain}
    assert crossing and all(".cross_" in key for key in crossing)
    assert all(torch.equal(plain[key], state[key]) for key in plain)
    torch.manual_seed(7)
    again = load_text_encoder(tmp_path, context_dim=34)[0].state_dict()
    assert all(torch.equal(again[key], state[key]) for key in state)
    assert state["blocks.0.cross_attention.q.weight"].std() > 0
    states = encoder(torch.tensor([[2, 7, 3]]), torch.randn(1, 5, 34))
    assert states.shape == (1, 3, 26) and states.isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"model_type": "gpt2"},
            r"config\.json: `model_type` must be bert, but is gpt2 instead: name the directory of",
        ),
        ({"is_decoder": True}, "`is_decoder` must be False, but is True instead"),
        ({"add_cross_attention": True}, "`add_cross_attention` must be False, but is True instead"),
        (
            {"position_embedding_type": "relative_key"},
            "`position_embedding_type` must be absolute, but is relative_key",
        ),
        ({"type_vocab_size": 3}, "`type_vocab_size` must be 2, but is 3 instead"),
        ({"num_attention_heads": None}, r"config\.json: `num_attention_heads` must be stated, but is missing"),
        ({"hidden_act": "tanh"}, "`hidden_act` must be one of gelu, .*, but is tanh instead"),
        ({"num_attention_heads": 3}, "`dim` must be a multiple of `num_heads`"),
        ({"vocab_size": 97}, f"has a vocabulary of {len(WORDPIECES)} entries, but its weights are made for 97"),
        ({"vocab_size": "x"}, "must be a BERT, but is damaged or unusual instead"),
        ({"intermediate_size": 41}, r"  - encoder\.layer\.0\.intermediate\.dense\.bias \[41\]"),
    ],
)
def test_a_bert_that_ours_is_not(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_theirs(tmp_path)
    change(tmp_path / "config.json", **values)
    with pytest.raises(ModelError, match=message):
        load_text_encoder(tmp_path)


def test_a_vocabulary_that_is_not_berts(tmp_path: Path) -> None:
    save_theirs(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join("x" if word == "[CLS]" else word for word in WORDPIECES))
    with pytest.raises(ModelError, match=r"has a vocabulary without '\[CLS\]', which is its `cls_token`"):
        load_text_encoder(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(ModelError, match="there is no vocabulary"):
        load_text_encoder(tmp_path)


def test_the_tokens_around_a_text_may_have_other_names(tmp_path: Path) -> None:
    save_theirs(tmp_path)
    other = {"[CLS]": "<begin>", "[SEP]": "<end>"}
    (tmp_path / "vocab.txt").write_text("\n".join(other.get(word, word) for word in WORDPIECES))
    # as a string, and as an older tokenizer writes it
    stated = {"cls_token": "<begin>", "sep_token": {"content": "<end>", "lstrip": False}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    config = load_text_encoder(tmp_path)[0].config
    assert (config.start_token, config.end_token, config.pad_token) == (2, 3, 0)


@torch.inference_mode()
def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    theirs = save_theirs(tmp_path / "theirs")
    encoder, tokenizer = load_text_encoder(tmp_path / "theirs")
    save_text_encoder(encoder, tokenizer, tmp_path / "ours")
    for again in (
        transformers.BertModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False).eval(),
        load_text_encoder(tmp_path / "ours")[0],
    ):
        tokens = torch.tensor([[2, 7, 8, 9, 3]])
        wanted, found = theirs(tokens).last_hidden_state, again(tokens)
        found = found if isinstance(found, torch.Tensor) else found.last_hidden_state
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")("a red fox")["input_ids"]
    assert ids == [2, *tokenizer.encode("a red fox"), 3]
    crossing, _ = load_text_encoder(tmp_path / "theirs", context_dim=34)
    with pytest.raises(ModelError, match="the hf-bert layout needs `context_dim` to be None, but it is 34 instead"):
        save_text_encoder(crossing, tokenizer, tmp_path / "no")


@pytest.mark.skipif(not MINILM.is_dir(), reason="`make minilm` fetches the weights")
@torch.inference_mode()
def test_a_real_sentence_encoder_gives_the_same_embeddings() -> None:
    sentences = [
        "What is on the desk?",
        "how many electrical outlets are above the kitchen counter",
        "a cœur, ok; 日本",
    ]
    encoder, tokenizer = load_text_encoder(MINILM)
    config = encoder.config
    theirs = transformers.BertModel.from_pretrained(MINILM).eval()
    encoded = transformers.AutoTokenizer.from_pretrained(MINILM)(sentences, padding=True, return_tensors="pt")
    rows = [[config.start_token, *tokenizer.encode(sentence), config.end_token] for sentence in sentences]
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    assert torch.equal(tokens, encoded["input_ids"])
    attention_mask = encoded["attention_mask"].bool()
    found, wanted = (
        torch.nn.functional.normalize((states * attention_mask[..., None]).sum(dim=1), dim=1)
        for states in (encoder(tokens, attention_mask=attention_mask), theirs(**encoded).last_hidden_state)
    )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert (found @ found.T)[0, 1] < 0.9


def test_what_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        load_text_encoder(tmp_path / "nothing")
