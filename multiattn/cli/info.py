"""`multiattn info`: what is this model?"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from .options import MODEL_HELP, Parser, add_format, not_empty
from .output import printable, spinner

if TYPE_CHECKING:
    from torch import nn

    from ..attention import Site
    from ..models import ViT
    from ..models.text_stack import TextConfig
    from ..weights import ModelBundle

_FEW = 8  # labels to print of what may be thousands

_DESCRIPTION = """\
Say what a model is: its task, architecture, size, input, preprocessing,
labels or vocabulary, and the attentions one can look into.
"""

_EPILOG = """\
examples
  multiattn info classify
  multiattn info caption
  multiattn info openai/whisper-tiny.en
  multiattn info runs/mine/model --format json
  multiattn info timm/vit_base_patch16_224.augreg2_in21k_ft_in1k
"""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="multiattn info", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("model", metavar="M", type=not_empty, nargs="?", default="classify", help=MODEL_HELP)
    add_format(parser, json_help="json: one object, with all labels and settings")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints what the model is."""
    with spinner("loading"):
        from ..weights import load_bundle

        bundle = load_bundle(args.model)
    print(json.dumps(describe(bundle)) if args.format == "json" else as_text(bundle))
    return 0


def describe(bundle: "ModelBundle") -> dict[str, object]:
    """The facts of a model, as JSON can hold them."""
    facts = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "architecture": asdict(bundle.config),
        "parameters": _count(bundle.model),
    }
    if bundle.task == "transcribe":
        facts["input_seconds"] = bundle.sound.max_seconds
    else:
        facts["input_size"] = list(bundle.pictures.size)
    facts["preprocessing"] = bundle.preprocessing.to_dict()
    if bundle.task in ("classify", "answer"):
        facts["labels"] = list(bundle.labels)
    if bundle.tokenizer is not None:
        facts |= {"vocabulary": bundle.tokenizer.vocab_size, "decoding": bundle.decoding}
    facts["attention_sites"] = [
        {"name": site.name, "heads": site.num_heads, "queries": site.q_len, "keys": site.k_len}
        for site in _sites(bundle)
    ]
    facts["card"] = bundle.card
    return facts


def as_text(bundle: "ModelBundle") -> str:
    """Lines to read; `--format json` has it in full."""
    of_task = {
        "classify": _classifier_lines,
        "caption": _captioner_lines,
        "transcribe": _recognizer_lines,
        "answer": _answerer_lines,
    }
    lines = {
        "model": bundle.source,
        "task": bundle.task,
        "layout": bundle.layout,
        "parameters": f"{_count(bundle.model):,}",
        **(_sound_lines(bundle) if bundle.task == "transcribe" else _picture_lines(bundle)),
        **of_task[bundle.task](bundle),
    }
    for key, value in bundle.card.items():
        if isinstance(value, str | int | float) and value != "":
            lines.setdefault(key, str(value))  # what we say of it ourselves stands
    width = max(len(printable(name)) for name in lines)
    return "\n".join(f"{printable(name):{width}}  {printable(value)}" for name, value in lines.items())


def _picture_lines(bundle: "ModelBundle") -> dict[str, str]:
    from ..inputs import Fit

    pictures = bundle.pictures
    size, resize = f"{_by(pictures.size)} pixels (height x width)", pictures.resize_to
    if isinstance(resize, Fit):
        size += f" for a square picture, up to {resize.longer} a side for others, in steps of {resize.multiple}"
        resized = "the whole picture to that"
    elif isinstance(resize, int):
        resized = f"shorter side to {resize}"
    else:
        resized = f"to {_by(resize)}"
    cropped = "" if isinstance(resize, Fit) else ", crop the center"
    return {
        "input": size,
        "preprocessing": f"resize {resized} ({pictures.interpolation}){cropped}, "
        f"mean {_numbers(pictures.mean)}, std {_numbers(pictures.std)}",
    }


def _sound_lines(bundle: "ModelBundle") -> dict[str, str]:
    sound = bundle.sound
    padded = "" if sound.pad_to is None else f", filled up to {sound.pad_to:g} s"
    return {
        "input": f"pieces of at most {sound.max_seconds:g} s at {sound.sample_rate:,} Hz",
        "preprocessing": f"{sound.mels} mels of {sound.window} samples every {1000 * sound.frame_seconds:g} ms, "
        f"{sound.scale} scale{padded}",
    }


def _classifier_lines(bundle: "ModelBundle") -> dict[str, str]:
    from ..models import ViT

    model, sites = bundle.require(ViT), _sites(bundle)
    return {
        "architecture": f"{_encoder(model)}, "
        f"{'class token' if model.config.pool == 'class' else 'mean of the patches'} read out",
        "attention": f"{len(sites)} sites of {model.config.num_heads} heads: {sites[0].name} to {sites[-1].name}, "
        f"{sites[0].k_len} tokens of which {_by(model.grid(bundle.pictures.size))} are patches",
        "labels": _listed(bundle.labels),
    }


def _captioner_lines(bundle: "ModelBundle") -> dict[str, str]:
    from ..models import Captioner
    from ..pipelines.options import caption_search

    model, sites = bundle.require(Captioner), _sites(bundle)
    assert bundle.tokenizer is not None
    encoder, decoder = model.config.encoder, model.config.decoder
    # what the pipeline makes of what the model says: the same words as there
    search = caption_search({}, bundle.decoding, source=bundle.source)
    said = {"num_beams": search.num_beams, "max_tokens": search.max_tokens} | bundle.decoding
    return {
        "encoder": _encoder(model.encoder) + (f", led to width {decoder.context_dim}" if model.config.bridge else ""),
        "decoder": _text(decoder),
        "attention": f"{len(sites)} sites: encoder.blocks.N.self of {encoder.num_heads} heads, decoder.blocks.N.self "
        f"and decoder.blocks.N.cross of {decoder.num_heads}; {sites[-1].k_len} tokens are looked at, of which "
        f"{_by(model.encoder.grid(bundle.pictures.size))} are patches",
        "vocabulary": f"{bundle.tokenizer.vocab_size:,} tokens",
        "decoding": ", ".join(f"{name} {value!r}" for name, value in said.items()),
    }


def _answerer_lines(bundle: "ModelBundle") -> dict[str, str]:
    from ..models import VQA, SingleStream

    model, sites = bundle.require(VQA, SingleStream), _sites(bundle)
    assert bundle.tokenizer is not None
    lines, question = {}, model.config.question
    looking, places = model, f"blocks.N.self of {question.num_heads} heads"
    if isinstance(model, VQA):
        looking = model.encoder
        bridge = f", led to width {question.context_dim}" if model.config.bridge else ""
        lines["encoder"] = _encoder(looking) + bridge
        places = f"encoder.blocks.N.self of {looking.config.num_heads} heads, question.blocks.N.self and "
        places += f"question.blocks.N.cross of {question.num_heads}"
    lines["question"] = f"{_text(question)}, begins with {_token(bundle, question.start_token)}"
    if isinstance(model, VQA) and (decoder := model.config.decoder) is not None:
        lines["decoder"] = _text(decoder)
        places += f", decoder.blocks.N.self and decoder.blocks.N.cross of {decoder.num_heads}"
    rows, cols = looking.grid(bundle.pictures.size)
    lines["attention"] = (
        f"{len(sites)} sites: {places}; {looking.num_prefix_tokens + rows * cols} tokens of the picture, of which "
        f"{rows} x {cols} are patches"
    )
    lines["vocabulary"] = f"{bundle.tokenizer.vocab_size:,} tokens"
    said = dict(bundle.decoding)
    if bundle.labels:
        lines["answers"] = _listed(bundle.labels)
    else:
        from ..pipelines.options import answer_search

        # what the pipeline makes of what the model says: the same words as there
        search = answer_search({}, bundle.decoding, source=bundle.source)
        said = {"num_beams": search.num_beams, "max_tokens": search.max_tokens} | said
    if said:
        lines["decoding"] = ", ".join(f"{name} {_told(value)}" for name, value in said.items())
    return lines


def _recognizer_lines(bundle: "ModelBundle") -> dict[str, str]:
    from ..inputs import SpeechTokens
    from ..models import SpeechRecognizer
    from ..pipelines.transcribe.options import speech_options

    model, sites = bundle.require(SpeechRecognizer), _sites(bundle)
    assert bundle.tokenizer is not None
    config, encoder, decoder = model.config, model.config.encoder, model.config.decoder
    tokens = SpeechTokens.of(
        bundle.tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size
    )
    # what the pipeline makes of what the model says: the same words as there
    search = speech_options(
        {},
        bundle.decoding,
        tokens=tokens,
        max_length=decoder.max_length,
        has_ctc=config.ctc,
        source=bundle.source,
    ).decoding
    said = {"num_beams": search.num_beams, "max_tokens": search.max_tokens} | bundle.decoding
    frame = 1000 * bundle.sound.frame_seconds * encoder.strides[0] * encoder.strides[1]
    seen = "" if encoder.window is None else f", each seeing {encoder.window} each way"
    vocabulary = [f"{bundle.tokenizer.vocab_size:,} tokens"]
    vocabulary += [f"{len(tokens.languages)} languages"] if tokens.languages else []
    vocabulary += [f"timestamps every {tokens.timestamp_step:g} s"] if tokens.first_timestamp is not None else []
    return {
        "encoder": f"width {encoder.dim}, depth {encoder.depth}, {encoder.num_heads} heads, mlp {encoder.mlp_dim}, "
        f"{encoder.positions} positions, frames of {frame:g} ms{seen}" + (", CTC head" if config.ctc else ""),
        "decoder": _text(decoder),
        "attention": f"{len(sites)} sites: encoder.blocks.N.self of {encoder.num_heads} heads, decoder.blocks.N.self "
        f"and decoder.blocks.N.cross of {decoder.num_heads}; at most {sites[-1].k_len} frames are looked at",
        "vocabulary": ", ".join(vocabulary),
        "decoding": ", ".join(f"{name} {_told(value)}" for name, value in said.items()),
    }


def _text(config: "TextConfig") -> str:
    return (
        f"width {config.dim}, depth {config.depth}, {config.num_heads} heads, mlp {config.mlp_dim}, "
        f"{'pre' if config.pre_norm else 'post'}-norm, {config.positions} positions for {config.max_length} tokens"
    )


def _told(value: object) -> str:
    """A value of a decode, of a long list only how long it is."""
    return f"({len(value)} of them)" if isinstance(value, tuple) and len(value) > _FEW else repr(value)


def _sites(bundle: "ModelBundle") -> tuple["Site", ...]:
    """The attentions one can look into, of a model that writes those for its longest text."""
    from ..models import Captioner, SpeechRecognizer, ViT

    if bundle.task == "classify":
        return bundle.require(ViT).attention_sites()
    if bundle.task == "answer":
        return _answerer_sites(bundle)
    model = bundle.require(SpeechRecognizer, Captioner)
    return model.attention_sites(tokens=model.config.decoder.max_length)


def _answerer_sites(bundle: "ModelBundle") -> tuple["Site", ...]:
    from ..models import VQA, SingleStream

    model, size = bundle.require(VQA, SingleStream), bundle.pictures.size
    length = model.config.question.max_length
    if not isinstance(model, VQA):
        return model.attention_sites(size, question_tokens=length)
    decoder = model.config.decoder
    answer_tokens = 0 if decoder is None else decoder.max_length
    return model.attention_sites(size, question_tokens=length, answer_tokens=answer_tokens)


def _token(bundle: "ModelBundle", token: int) -> str:
    """A token by its name, where it has one, and by its number."""
    assert bundle.tokenizer is not None
    name = bundle.tokenizer.name_of(token)
    return f"token {token}" if name is None else f"{name} (token {token})"


def _listed(names: Sequence[str]) -> str:
    """How many names, and the first of them."""
    return f"{len(names)}: {', '.join(names[:_FEW])}" + (", ..." if len(names) > _FEW else "")


def _encoder(model: "ViT") -> str:
    config = model.config
    return (
        f"ViT, width {config.dim}, depth {config.depth}, {config.num_heads} heads, mlp {config.mlp_dim}, patches of "
        f"{config.patch_size} px, {config.stem} stem, {config.positions} positions"
    )


def _count(model: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
