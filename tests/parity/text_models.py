"""Tiny random models of transformers for each form of the Transformer, saved as they save them, and comparisons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multiattn.inputs import Tokenizer
from multiattn.models import MaskedLanguageModel, TextDecoder, TextEncoder, TextToText
from tests.parity.random_weights import randomize
from tests.parity.vocabularies import (
    BYTE_PIECES,
    UNIGRAMS,
    WORDPIECES,
    save_byte_pieces,
    save_unigrams,
    save_wordpieces,
)

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")

END = 16
"""The token that ends GPT-2's texts: a letter, so that random models say it at times."""

BERT = {
    "vocab_size": len(WORDPIECES),
    "hidden_size": 26,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 41,
}
GPT2 = {
    "vocab_size": len(BYTE_PIECES),
    "n_embd": 26,
    "n_layer": 3,
    "n_head": 2,
    "n_positions": 41,
    "bos_token_id": 0,
    "eos_token_id": END,
}


T5 = {
    "vocab_size": len(UNIGRAMS),
    "d_model": 26,
    "d_kv": 7,
    "d_ff": 37,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "decoder_start_token_id": 0,
}


def save_bert(directory: Path, kind: str = "BertForMaskedLM", *, seed: int = 13, **changes: Any) -> torch.nn.Module:
    """Save a random BERT of this class of transformers, and return it."""
    theirs = randomize(getattr(transformers, kind)(transformers.BertConfig(**BERT | changes)), seed=seed)
    theirs.save_pretrained(directory)
    save_wordpieces(directory)
    return theirs


@torch.no_grad()
def save_gpt2(directory: Path, *, seed: int = 13, **changes: Any) -> torch.nn.Module:
    """Save a random GPT-2 whose texts differ and end: one that is drawn plainly says one token over and over."""
    theirs = randomize(transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2 | changes)), seed=seed)
    for name, parameter in theirs.named_parameters():
        if name.endswith("weight") and ".c_" in name:  # which are transposed, and `randomize` cannot know it
            parameter.mul_((parameter.shape[1] / parameter.shape[0]) ** 0.5)
    theirs.transformer.wpe.weight.mul_(3)
    if theirs.config.tie_word_embeddings:
        theirs.transformer.wte.weight.mul_(0.5)
        theirs.transformer.ln_f.weight.mul_(2)
    theirs.save_pretrained(directory)
    save_byte_pieces(directory)
    return theirs


@torch.no_grad()
def save_t5(directory: Path, *, seed: int = 13, untied: bool = False, **changes: Any) -> torch.nn.Module:
    """Save a random T5; `untied` gives it an output matrix of its own, as the files of T5 1.1 have."""
    theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**T5 | changes))
    if untied:
        theirs.lm_head.weight = torch.nn.Parameter(theirs.lm_head.weight.clone())
    randomize(theirs, seed=seed)
    for name, parameter in theirs.named_parameters():
        if name.endswith("relative_attention_bias.weight"):
            parameter.mul_(3)  # of the order of the scores
    if theirs.config.scale_decoder_outputs:  # logits of order 1 all the same, and texts that do not say one token only
        theirs.decoder.final_layer_norm.weight.mul_(theirs.config.d_model**0.5)
    theirs.save_pretrained(directory)
    save_unigrams(directory)
    return theirs


def texts(rows: int, count: int, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Random tokens, and a mask that leaves each row fewer of them than the one before."""
    tokens = torch.randint(5, vocab_size, (rows, count), generator=torch.Generator().manual_seed(3))
    return tokens, torch.arange(count)[None] < count - 3 * torch.arange(rows)[:, None]


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert wanted.std() > 0.3, "a comparison says little unless the values are of order 1"
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.inference_mode()
def bert_difference(ours: torch.nn.Module, theirs: torch.nn.Module) -> float:
    """Of the logits of every token, or of the states of a model without a head, padding left out."""
    tokens, mask = texts(3, 11, len(WORDPIECES))
    wanted = theirs(tokens, attention_mask=mask.long())
    wanted = wanted.logits if isinstance(ours, MaskedLanguageModel) else wanted.last_hidden_state
    return relative(ours(tokens, attention_mask=mask)[mask], wanted[mask])


@torch.inference_mode()
def gpt2_difference(ours: TextDecoder, theirs: torch.nn.Module) -> float:
    """Of the logits of the token that follows each token."""
    tokens, _ = texts(3, 17, len(BYTE_PIECES))
    return relative(ours(tokens), theirs(tokens).logits)


@torch.inference_mode()
def t5_difference(ours: TextToText, theirs: torch.nn.Module) -> float:
    """Of the logits of the token that follows each written one, for texts with padding."""
    tokens, mask = texts(3, 47, len(UNIGRAMS))
    written = tokens[:, :29].flip(1)
    wanted = theirs(input_ids=tokens, attention_mask=mask.long(), decoder_input_ids=written).logits
    return relative(ours(tokens, written, attention_mask=mask), wanted)


SENTENCES = (
    "What is on the desk?",
    "how many electrical outlets are above the kitchen counter",
    "a small red circle is left of the blue square",
)


@torch.inference_mode()
def real_difference(ours: TextEncoder, theirs: torch.nn.Module, tokenizer: Tokenizer) -> float:
    """Of the states of real sentences, of which the shorter ones are padded."""
    c = ours.config
    rows = [torch.tensor([c.start_token, *tokenizer.encode(text), c.end_token]) for text in SENTENCES]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=c.pad_token)
    mask = tokens != c.pad_token
    wanted = theirs(tokens, attention_mask=mask.long()).last_hidden_state
    return relative(ours(tokens, attention_mask=mask)[mask], wanted[mask])


def generated(theirs: torch.nn.Module, prompts: Sequence[Sequence[int]], **options: Any) -> list[list[int]]:
    """What a decoder of transformers says after each prompt, without the end; shorter prompts are padded before."""
    longest = max(map(len, prompts))
    rows = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    made = theirs.generate(rows, attention_mask=mask, do_sample=False, pad_token_id=END, **options)
    return [without_end(row[longest:]) for row in made.tolist()]


def without_end(row: list[int], end: int = END) -> list[int]:
    """The tokens of a row before its end."""
    return row[: row.index(end)] if end in row else row
