"""Whisper as the peers have it: one set of random weights in transformers, openai-whisper and CTranslate2."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import ctranslate2
import torch
from ctranslate2.converters.transformers import WhisperLoader
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from tests.parity.random_weights import randomize

VOCABULARY = 51865  # the multilingual one
LONGEST = 448  # tokens of a text, the prompt included
SIZES = {"tiny": (384, 4, 6), "base": (512, 6, 8)}  # width, blocks of the encoder and of the decoder, heads

_TOKENIZER = get_tokenizer(multilingual=True, num_languages=99, language="en", task="transcribe")
PROMPT = tuple(_TOKENIZER.sot_sequence_including_notimestamps)
END = _TOKENIZER.eot
PAD = 0  # never written, for no text ends before the others
SUPPRESSED = (  # openai-whisper always forbids those after the first; without the first all texts are equally long
    END,
    _TOKENIZER.transcribe,
    _TOKENIZER.translate,
    _TOKENIZER.sot,
    _TOKENIZER.sot_prev,
    _TOKENIZER.sot_lm,
    _TOKENIZER.no_speech,
)

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


@dataclass(frozen=True)
class Peers:
    """One set of weights in every implementation."""

    transformers: WhisperForConditionalGeneration
    openai: Whisper
    ctranslate2: ctranslate2.models.Whisper
    ctranslate2_int8: ctranslate2.models.Whisper


def build(size: str) -> Peers:
    """Weights that are random, but such that a text is not one token again and again."""
    reference = randomize(WhisperForConditionalGeneration(_config(size)), seed=0)
    with torch.no_grad():
        reference.model.decoder.embed_positions.weight.mul_(20)
        for name, parameter in reference.model.decoder.named_parameters():
            if ".fc2." in name or ".out_proj." in name:  # or all tokens would end up as what is heard
                parameter.mul_(0.3)
    reference.tie_weights()
    fp32, int8 = _in_ctranslate2(reference)
    return Peers(reference, _in_openai(reference, size), fp32, int8)


def _config(size: str) -> WhisperConfig:
    dim, depth, heads = SIZES[size]
    return WhisperConfig(
        vocab_size=VOCABULARY,
        d_model=dim,
        encoder_layers=depth,
        decoder_layers=depth,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * dim,
        decoder_ffn_dim=4 * dim,
        max_target_positions=LONGEST,
    )


def _in_openai(reference: WhisperForConditionalGeneration, size: str) -> Whisper:
    dim, depth, heads = SIZES[size]
    model = Whisper(ModelDimensions(80, 1500, dim, heads, depth, VOCABULARY, LONGEST, dim, heads, depth)).eval()
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
    reference: WhisperForConditionalGeneration,
) -> tuple[ctranslate2.models.Whisper, ctranslate2.models.Whisper]:
    """The engine of faster-whisper in full precision and with quantised weights."""
    spec = WhisperLoader().get_model_spec(reference)
    words = {END: "<|endoftext|>", **{i: _TOKENIZER.decode([i]) for i in range(END + 1, VOCABULARY)}}
    spec.register_vocabulary([words.get(i, f"token{i}") for i in range(VOCABULARY)])
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
    prompts = torch.tensor([PROMPT]).expand(len(context), -1)
    view = ctranslate2.StorageView.from_array(context.numpy())
    at_once = len(context) if num_beams == 1 else 1
    task = DecodingTask(
        peers.openai,
        DecodingOptions(
            language="en",
            sample_len=tokens,
            beam_size=None if num_beams == 1 else num_beams,
            suppress_tokens=[END],
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
            suppress_tokens=list(SUPPRESSED),
            eos_token_id=END,
            pad_token_id=PAD,
            decoder_start_token_id=PROMPT[0],
        )
        return [row[len(PROMPT) :] for row in made.tolist()]

    def by_ctranslate2(model: ctranslate2.models.Whisper) -> list[list[int]]:
        made = model.generate(
            view,
            [list(PROMPT)] * len(context),
            beam_size=num_beams,
            max_length=2 * tokens,  # of which it takes a half for what is new
            suppress_blank=False,
            suppress_tokens=list(SUPPRESSED),
        )
        return [one.sequences_ids[0] for one in made]

    return {
        "transformers": transformers,
        # recordings one after the other where there are beams: several at once end in an error of shapes (20250625)
        "openai-whisper": lambda: [one.tokens for part in context.split(at_once) for one in task.run(part)],
        "CTranslate2": lambda: by_ctranslate2(peers.ctranslate2),
        "CTranslate2, int8": lambda: by_ctranslate2(peers.ctranslate2_int8),
    }
