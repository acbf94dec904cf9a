"""Whisper as the peers have it: one set of weights in transformers, openai-whisper and CTranslate2.

The weights are the published ones where the packages of the extra `parity` are installed, else random.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ctranslate2
import pytest
import torch
from ctranslate2.converters.transformers import WhisperLoader
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from multiattn.weights import load_bundle
from multiattn.weights.hf_whisper import TABLE
from tests.fixtures import real_whisper
from tests.parity.random_weights import randomize

LONGEST = 448  # tokens of a text, the prompt included
SIZES = {"tiny": (384, 4, 6), "base": (512, 6, 8)}  # width, blocks of the encoder and of the decoder, heads

PUBLISHED: dict[str, Literal["tiny.en", "base"]] = {"tiny": "tiny.en", "base": "base"}
PAD = 0  # never written, for no text ends before the others

_OPENAI_NAMES = (  # transformers' and openai-whisper's, applied in this order
    ("model.", ""),
    ("encoder.embed_positions.weight", "encoder.positional_embedding"),
    ("decoder.embed_positions.weight", "decoder.positional_embedding"),
    ("embed_tokens", "token_embedding"),
    (".layers.", ".blocks."),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
    ("self_attn", "attn"),
    ("encoder_attn", "cross_attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
)


class Special:
    """The special tokens of the English or the multilingual vocabulary."""

    def __init__(self, *, english: bool) -> None:
        self.tokenizer = one = get_tokenizer(
            multilingual=not english, num_languages=99, language="en", task="transcribe"
        )
        self.vocabulary = 51864 if english else 51865
        self.prompt = tuple(one.sot_sequence_including_notimestamps)
        self.end = one.eot
        # openai-whisper always forbids those after the first; without the first all texts are equally long
        self.suppressed = (one.eot, one.transcribe, one.translate, one.sot, one.sot_prev, one.sot_lm, one.no_speech)


@dataclass(frozen=True)
class Peers:
    """One set of weights in every implementation."""

    special: Special
    is_published: bool
    transformers: WhisperForConditionalGeneration
    openai: Whisper
    ctranslate2: ctranslate2.models.Whisper
    ctranslate2_int8: ctranslate2.models.Whisper


def build(size: str) -> Peers:
    """The published weights of a size (of tiny, those for English), or random ones, and says that they are."""
    is_published = True
    with tempfile.TemporaryDirectory() as folder:
        try:
            state = load_bundle(real_whisper(PUBLISHED[size], Path(folder) / "model")).model.state_dict()
        except pytest.skip.Exception as absent:
            print(f"random weights: {absent}")
            is_published = False
            special = Special(english=False)
            reference = _random(size, special)
        else:
            special = Special(english=PUBLISHED[size].endswith(".en"))
            reference = WhisperForConditionalGeneration(_config(size, special)).eval()
            missing, unexpected = reference.load_state_dict(TABLE.to_theirs(state), strict=False)
            assert set(missing) <= {"proj_out.weight"} and not unexpected, (missing, unexpected)
            reference.tie_weights()
    return Peers(
        special, is_published, reference, _in_openai(reference, size, special), *_in_ctranslate2(reference, special)
    )


def _random(size: str, special: Special) -> WhisperForConditionalGeneration:
    """Weights that are random, but such that a text is not one token again and again."""
    reference = randomize(WhisperForConditionalGeneration(_config(size, special)), seed=0)
    with torch.no_grad():
        reference.model.decoder.embed_positions.weight.mul_(20)
        for name, parameter in reference.model.decoder.named_parameters():
            if ".fc2." in name or ".out_proj." in name:  # or all tokens would end up as what is heard
                parameter.mul_(0.3)
    reference.tie_weights()
    return reference


def _config(size: str, special: Special) -> WhisperConfig:
    dim, depth, heads = SIZES[size]
    return WhisperConfig(
        vocab_size=special.vocabulary,
        d_model=dim,
        encoder_layers=depth,
        decoder_layers=depth,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * dim,
        decoder_ffn_dim=4 * dim,
        max_target_positions=LONGEST,
    )


def _in_openai(reference: WhisperForConditionalGeneration, size: str, special: Special) -> Whisper:
    dim, depth, heads = SIZES[size]
    model = Whisper(ModelDimensions(80, 1500, dim, heads, depth, special.vocabulary, LONGEST, dim, heads, depth)).eval()
    state = {}
    for name, value in reference.state_dict().items():
        for theirs, openais in _OPENAI_NAMES:
            name = name.replace(theirs, openais)
        if name != "proj_out.weight":  # the embedding's
            state[name] = value
    model.load_state_dict(state)
    return model


@torch.no_grad()
def _in_ctranslate2(
    reference: WhisperForConditionalGeneration, special: Special
) -> tuple[ctranslate2.models.Whisper, ctranslate2.models.Whisper]:
    """The engine of faster-whisper in full precision and with quantised weights."""
    spec = WhisperLoader().get_model_spec(reference)
    after = range(special.end + 1, special.vocabulary)
    words = {special.end: "<|endoftext|>", **{i: special.tokenizer.decode([i]) for i in after}}
    spec.register_vocabulary([words.get(i, f"token{i}") for i in range(special.vocabulary)])
    spec.config.suppress_ids = spec.config.suppress_ids_begin = spec.config.lang_ids = []
    spec.config.alignment_heads = []
    spec.validate()
    spec.optimize()
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        return tuple(
            ctranslate2.models.Whisper(folder, compute_type=kind, inter_threads=1, intra_threads=1)
            for kind in ("float32", "int8")
        )


def encoders(peers: Peers, features: Tensor) -> dict[str, Callable[[], object]]:
    """From log-mel features to what the decoder attends to."""
    view = ctranslate2.StorageView.from_array(features.numpy())
    return {
        "transformers": lambda: peers.transformers.model.encoder(features).last_hidden_state,
        "openai-whisper": lambda: peers.openai.encoder(features),
        "CTranslate2": lambda: peers.ctranslate2.encode(view, to_cpu=True),
        "CTranslate2, int8": lambda: peers.ctranslate2_int8.encode(view, to_cpu=True),
    }


def decoders(peers: Peers, context: Tensor, *, tokens: int, num_beams: int) -> dict[str, Callable[[], list[list[int]]]]:
    """From what the encoder made to so many new tokens; the context's keys and values are computed in each."""
    special = peers.special
    prompts = torch.tensor([special.prompt]).expand(len(context), -1)
    view = ctranslate2.StorageView.from_array(context.numpy())
    at_once = len(context) if num_beams == 1 else 1
    task = DecodingTask(
        peers.openai,
        DecodingOptions(
            language="en",
            sample_len=tokens,
            beam_size=None if num_beams == 1 else num_beams,
            suppress_tokens=[special.end],
            suppress_blank=False,
            without_timestamps=True,
            fp16=False,
        ),
    )

    def transformers() -> list[list[int]]:
        made = GenerationMixin.generate(  # without Whisper's own frame around it, which looks for windows
            peers.transformers,
            encoder_outputs=BaseModelOutput(context),
            decoder_input_ids=prompts,
            max_new_tokens=tokens,
            num_beams=num_beams,
            do_sample=False,
            suppress_tokens=list(special.suppressed),
            eos_token_id=special.end,
            pad_token_id=PAD,
            decoder_start_token_id=special.prompt[0],
        )
        return [row[len(special.prompt) :] for row in made.tolist()]

    def by_ctranslate2(model: ctranslate2.models.Whisper) -> list[list[int]]:
        made = model.generate(
            view,
            [list(special.prompt)] * len(context),
            beam_size=num_beams,
            max_length=2 * tokens,  # of which it takes a half for what is new
            suppress_blank=False,
            suppress_tokens=list(special.suppressed),
        )
        return [one.sequences_ids[0] for one in made]

    return {
        "transformers": transformers,
        # recordings one after the other where there are beams: several at once end in an error of shapes (20250625)
        "openai-whisper": lambda: [one.tokens for part in context.split(at_once) for one in task.run(part)],
        "CTranslate2": lambda: by_ctranslate2(peers.ctranslate2),
        "CTranslate2, int8": lambda: by_ctranslate2(peers.ctranslate2_int8),
    }
