"""The part of `multiattn info` that differs by task: architecture, attentions, vocabulary and search.

The `TaskSpec` of each task names its function here as `details`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..attention import Site
from ..inputs import SpeechTokens
from ..models import VQA, BlipMatcher, Captioner, ScoreFunction, SingleStream, SpeechRecognizer, TwoTowers, ViT
from ..pipelines.options import answer_search, caption_search
from ..pipelines.transcribe.options import speech_options
from .info import Details, by

if TYPE_CHECKING:
    from ..generation import GenerationConfig
    from ..models.text_stack import TextConfig
    from ..weights import ModelBundle


_SCORES: Mapping[ScoreFunction, str] = {
    "softmax": "the probabilities of all labels together are 1",
    "sigmoid": "the probability of each label by itself",
    "identity": "values, no probabilities",
}

_READ = {
    "class": "class token",
    "distilled": "class token and distilled token",
    "mean": "mean of the patches",
    "class_mean": "class token and mean of the patches",
    "attention": "attention of a learned query",
}


_PAIRS: Mapping[str, str] = {
    "softmax": "the probabilities of a picture's texts together are 1",
    "sigmoid": "the probability of each pair by itself",
}


def classifier(bundle: "ModelBundle") -> Details:
    """Describe a classifier."""
    model = bundle.require(ViT)
    config = model.config
    sites = model.attention_sites()
    lines = {
        "architecture": f"{_vit(model)}, {_READ['distilled' if config.distilled else config.pool]} read out",
        "attention": f"{len(sites)} sites of {config.num_heads} heads: {sites[0].name} to {sites[-1].name}, "
        f"{sites[0].k_len} tokens of which {by(model.grid(bundle.pictures.size))} are patches",
    }
    if bundle.labels:
        lines["scores"] = f"{bundle.score_function}: {_SCORES[bundle.score_function]}"
    return Details(lines, sites)


def captioner(bundle: "ModelBundle") -> Details:
    """Describe a captioner."""
    model = bundle.require(Captioner)
    decoder = model.config.decoder
    sites = model.attention_sites(tokens=decoder.max_length)
    keys = f"{sites[-1].k_len} tokens are looked at, of which {by(model.encoder.grid(bundle.pictures.size))}"
    lines = {
        "encoder": _vit(model.encoder) + _bridge(model.config.bridge, decoder),
        "decoder": _text(decoder),
        "attention": _attention(sites, f"{keys} are patches"),
    }
    search = caption_search({}, bundle.decoding, source=bundle.source)
    return Details(lines, sites, decoding=_defaults(search))


def recognizer(bundle: "ModelBundle") -> Details:
    """Describe a speech recognizer."""
    model = bundle.require(SpeechRecognizer)
    config, encoder, decoder = model.config, model.config.encoder, model.config.decoder
    sites = model.attention_sites(tokens=decoder.max_length)
    frame = 1000 * bundle.sound.frame_seconds * encoder.strides[0] * encoder.strides[1]
    window = "" if encoder.window is None else f", each seeing {encoder.window} each way"
    lines = {
        "encoder": f"width {encoder.dim}, depth {encoder.depth}, {encoder.num_heads} heads, mlp {encoder.mlp_dim}, "
        f"{encoder.positions} positions, frames of {frame:g} ms{window}" + (", CTC head" if config.ctc else ""),
        "decoder": _text(decoder),
        "attention": _attention(sites, f"at most {sites[-1].k_len} frames are looked at"),
    }
    if bundle.tokenizer is None:
        return Details(lines, sites)
    tokens = SpeechTokens.of(
        bundle.tokenizer, start=decoder.start_token, end=decoder.end_token, vocab_size=decoder.vocab_size
    )
    vocabulary = [f"{len(tokens.languages)} languages"] if tokens.languages else []
    vocabulary += [f"timestamps every {tokens.timestamp_step:g} s"] if tokens.first_timestamp is not None else []
    search = speech_options(
        {},
        bundle.decoding,
        tokens=tokens,
        max_length=decoder.max_length,
        has_ctc=config.ctc,
        source=bundle.source,
    )
    return Details(lines, sites, vocabulary, _defaults(search.decoding))


def answerer(bundle: "ModelBundle") -> Details:
    """Describe a model that answers questions: one with an image encoder, or with a single stream."""
    model, size = bundle.require(VQA, SingleStream), bundle.pictures.size
    question, lines = model.config.question, {}
    if isinstance(model, VQA):
        decoder, prefix = model.config.decoder, model.encoder.num_prefix_tokens
        rows, cols = model.encoder.grid(size)
        answer_tokens = 0 if decoder is None else decoder.max_length
        sites = model.attention_sites(size, question_tokens=question.max_length, answer_tokens=answer_tokens)
        lines["encoder"] = _vit(model.encoder) + _bridge(model.config.bridge, question)
    else:
        decoder, prefix = None, model.num_prefix_tokens
        rows, cols = model.grid(size)
        sites = model.attention_sites(size, question_tokens=question.max_length)
    name = None if bundle.tokenizer is None else bundle.tokenizer.name_of(question.start_token)
    start = f"token {question.start_token}"
    lines["question"] = f"{_text(question)}, begins with {start if name is None else f'{name} ({start})'}"
    if decoder is not None:
        lines["decoder"] = _text(decoder)
    patches = f"{prefix + rows * cols} tokens of the picture, of which {rows} x {cols} are patches"
    lines["attention"] = _attention(sites, patches)
    if bundle.labels:
        return Details(lines, sites)
    return Details(lines, sites, decoding=_defaults(answer_search({}, bundle.decoding, source=bundle.source)))


def matcher(bundle: "ModelBundle") -> Details:
    """Describe a model that matches pictures and texts."""
    size = bundle.pictures.size
    if isinstance(bundle.model, BlipMatcher):
        return _blip_matcher(bundle.model, size)
    model = bundle.require(TwoTowers)
    config, grid = model.config, model.vision.grid(size)
    sites = model.attention_sites(size)
    causal = "causal" if config.text.causal else "bidirectional"
    lines = {
        "picture tower": _vit(model.vision),
        "text tower": f"{_text(config.text)}, {causal}, read at the {config.text.pool} token",
        "embeddings": f"of width {config.dim}",
        "scores": f"{config.scores}: {_PAIRS[config.scores]}",
        "attention": _attention(sites, f"a picture has {by(grid)} patches"),
    }
    return Details(lines, sites)


def _blip_matcher(model: BlipMatcher, size: tuple[int, int]) -> Details:
    """Describe a BLIP that matches pictures and texts."""
    sites = model.attention_sites(size)
    lines = {
        "encoder": _vit(model.vision),
        "text encoder": f"{_text(model.config.text)}, bidirectional, by itself or before the picture",
        "embeddings": f"of width {model.config.dim}",
        "scores": f"sigmoid: {_PAIRS['sigmoid']}",
        "attention": _attention(sites, f"a picture has {by(model.vision.grid(size))} patches"),
    }
    return Details(lines, sites)


def _attention(sites: Sequence[Site], what: str) -> str:
    """Return the number of sites, their kinds with N for the block and the number of heads, and what they look at."""
    kinds: dict[str, dict[str, int]] = {}  # part -> kind of site -> heads
    for site in sites:
        kind = ".".join("N" if part.isdigit() else part for part in site.name.split("."))
        kinds.setdefault(kind.partition(".")[0], {})[kind] = site.num_heads
    parts = [f"{' and '.join(names)} of {next(iter(names.values()))}" for names in kinds.values()]
    parts[0] += " heads"  # said once
    return f"{len(sites)} sites: {', '.join(parts)}; {what}"


def _defaults(search: "GenerationConfig") -> dict[str, object]:
    """Return what the pipeline uses where neither the caller nor the model states it."""
    return {"num_beams": search.num_beams, "max_tokens": search.max_tokens}


def _vit(model: ViT) -> str:
    config = model.config
    return (
        f"ViT, width {config.dim}, depth {config.depth}, {config.num_heads} heads, mlp {config.mlp_dim}, patches of "
        f"{config.patch_size} px, {config.stem} stem, {config.positions} positions"
    )


def _bridge(bridge: bool, text: "TextConfig") -> str:
    return f", projected to width {text.context_dim}" if bridge else ""


def _text(config: "TextConfig") -> str:
    return (
        f"width {config.dim}, depth {config.depth}, {config.num_heads} heads, mlp {config.mlp_dim}, "
        f"{'pre' if config.pre_norm else 'post'}-norm, {config.positions} positions for {config.max_length} tokens"
    )
