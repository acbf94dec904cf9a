"""The recognizer that a training starts from, made anew or to fine-tune; its pass in training; its transcripts.

b recordings, t feature frames, m encoder frames, D the encoder's width, n tokens of a text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.attention import ProjectedContext
from multiattn.checks import require_fields
from multiattn.errors import ModelError
from multiattn.generation import Generated, GenerationConfig, generate
from multiattn.inputs import AudioPreprocessing, Tokenizer
from multiattn.models.speech import PRESETS, SpeechConfig, SpeechEncoderConfig, SpeechRecognizer
from multiattn.models.text_decoder import TextDecoder, TextDecoderConfig
from multiattn.weights import ModelBundle, load_bundle
from multiattn.weights.bundle import VOCABULARY

from .text_fields import TEXT_TRAINING_ONLY
from .transcribe_loss import SpeechOutput
from .vision import TRAINING_ONLY, require_training_only, with_tuples

Vocabulary = Literal["own", "new"]
"""Of a trained model: the one it has; or one learnt from the data, for which only the embedding starts anew."""

_OF_THE_DATA = ("vocab_size", "start_token", "end_token", "pad_token", "context_dim")
"""Fields of the decoder that the tokenizer and the encoder decide about."""

NO_OPTIONS = ("alignment_heads", "ctc_weight")
"""What a model directory's `decoding` may hold beside the fields of `GenerationConfig`."""

_NAMING_TOKENS = ("suppress", "suppress_first", "forced")
"""Fields of `GenerationConfig` that mean nothing with another vocabulary."""


@dataclass
class SpeechStart:
    """What is known of a recognizer before the data is."""

    preprocessing: AudioPreprocessing
    config: SpeechConfig
    """Of the model; what it says of the vocabulary is the data's business unless the vocabulary is kept."""

    trained: ModelBundle | None = None
    """The model to fine-tune, where it is one."""

    keeps_vocabulary: bool = False
    """Whether its vocabulary is kept, too."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The trained model's; None where the data makes one."""
        return self.trained.tokenizer if self.trained is not None and self.keeps_vocabulary else None

    @property
    def decoding(self) -> dict[str, Any]:
        """What the trained model says of how it writes, as far as it still holds."""
        kept = {} if self.trained is None else dict(self.trained.decoding)
        return kept if self.keeps_vocabulary else {k: v for k, v in kept.items() if k not in _NAMING_TOKENS}

    def build(self, tokenizer: Tokenizer) -> SpeechRecognizer:
        """The recognizer for texts of this tokenizer."""
        config = self.config
        if not self.keeps_vocabulary:
            special = {f"{name.lower()}_token": tokenizer.id_of(f"[{name}]") for name in ("START", "END", "PAD")}
            decoder = replace(config.decoder, vocab_size=tokenizer.vocab_size, **special)  # type: ignore[arg-type]
            config = replace(config, decoder=decoder)
        model = SpeechRecognizer(config)
        if self.trained is not None:
            drawn = model.state_dict()
            anew = () if self.keeps_vocabulary else VOCABULARY
            state = self.trained.model.state_dict()
            kept = {key: value for key, value in state.items() if key in drawn and key not in anew}
            model.load_state_dict(drawn | kept)
        return model


def start(
    *,
    architecture: str | None,
    pretrained: str | None,
    vocabulary: Vocabulary,
    encoder: dict[str, Any] | None,
    decoder: dict[str, Any] | None,
    context: Literal["all", "real"] | None,
    ctc: bool,
    preprocessing: dict[str, Any] | None,
) -> SpeechStart:
    """Read what there is to read, and check the options against each other; they are those of `TranscribeTask`.

    Raises:
        ModelError: They do not go together, name nothing that exists, or no such model can be.
    """
    if (architecture is None) == (pretrained is None):
        found = "neither" if architecture is None else "both"
        raise ModelError(
            f"one of `architecture` and `pretrained` must say what to start from, but {found} of them are given"
        )
    encoder, decoder, sound = with_tuples(encoder), with_tuples(decoder), dict(preprocessing or {})
    if pretrained is None:
        if vocabulary == "new":
            raise ModelError('`vocabulary` must be "own" without `pretrained`: the data makes it in any case.')
        if architecture not in PRESETS:
            raise ModelError(f"`architecture` must be one of {', '.join(PRESETS)}, but is {architecture!r} instead.")
        preset = PRESETS[architecture]
        require_fields(encoder, SpeechEncoderConfig, "encoder")
        require_fields(decoder, TextDecoderConfig, "decoder", but=_OF_THE_DATA)
        config = _changed(preset, encoder, decoder, context=context, ctc=ctc)
        require_fields(sound, AudioPreprocessing, "preprocessing", but=("mels",))
        made = AudioPreprocessing(**{"mels": config.encoder.mels, "pad_to": None} | sound)
        if "max_seconds" not in sound:
            made = replace(made, max_seconds=min(made.max_seconds, _longest(config.encoder) * made.frame_seconds))
        return SpeechStart(_fitting(made, config), config)
    for name, values, allowed, config_of in (
        ("encoder", encoder, TRAINING_ONLY, SpeechEncoderConfig),
        ("decoder", decoder, TEXT_TRAINING_ONLY, TextDecoderConfig),
        ("preprocessing", sound, ("pad_to", "max_seconds"), AudioPreprocessing),
    ):
        require_training_only(values, name, source="pretrained", allowed=allowed)
        require_fields(values, config_of, name)
    # a new vocabulary needs none of the old one's weights, nor its tokenizer: they may be missing
    bundle = load_bundle(pretrained, without=() if vocabulary == "own" else VOCABULARY)
    config = _changed(bundle.require(SpeechRecognizer).config, encoder, decoder, context=context, ctc=ctc)
    if "pad_to" in sound and sound["pad_to"] is None:
        # what fills a batch up is then no silence of the recording's own: nothing may attend to it
        config = replace(config, encoder=replace(config.encoder, masked=True), context="real")
    kept = _fitting(replace(bundle.sound, **sound), config)
    return SpeechStart(kept, config, bundle, vocabulary == "own")


def without_dropout(config: SpeechConfig) -> SpeechConfig:
    """The same recognizer without what matters only in training."""
    encoder = replace(config.encoder, **dict.fromkeys(TRAINING_ONLY, 0.0))
    return replace(config, encoder=encoder, decoder=replace(config.decoder, dropout=0.0, attention_dropout=0.0))


def encoded_of(
    model: SpeechRecognizer,
    features: Float[Tensor, "b mels t"] | None,
    encoded: Float[Tensor, "b m D"] | None,
    lengths: Int64[Tensor, " b"],
    *,
    frozen: bool,
) -> Float[Tensor, "b m D"]:
    """What the decoder attends to: of features, or what the encoder gave earlier.

    Args:
        model: The recognizer.
        features: Of each recording; None where the encoder's are there.
        encoded: What `model.encode` gave, in any precision.
        lengths: Feature frames of each recording.
        frozen: Whether nothing that the encoder does is to be kept for a gradient.
    """
    if encoded is not None:
        return encoded.to(model.decoder.embedding.weight.dtype)
    assert features is not None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        return model.encode(features, lengths=lengths)


def teacher_forced(
    model: SpeechRecognizer,
    features: Float[Tensor, "b mels t"] | None,
    encoded: Float[Tensor, "b m D"] | None,
    lengths: Int64[Tensor, " b"],
    tokens: Int64[Tensor, "b n"],
    attention_mask: Bool[Tensor, "b n"],
    *,
    frozen: bool,
) -> SpeechOutput:
    """The scores of what follows each token, padding or not; the other arguments as `encoded_of`."""
    context = encoded_of(model, features, encoded, lengths, frozen=frozen)
    context_attention_mask = model.context_attention_mask(context.shape[1], lengths)
    logits = model.decoder(
        tokens, context, context_attention_mask=context_attention_mask, attention_mask=attention_mask
    )
    return SpeechOutput(logits, None if model.ctc_head is None else model.ctc_log_probs(context))


def transcripts_of(
    decoder: TextDecoder,
    context: ProjectedContext,
    prompt: Sequence[int],
    options: GenerationConfig,
    *,
    generator: torch.Generator | None = None,
) -> list[Generated]:
    """What the decoder writes about each recording.

    Args:
        decoder: Who writes.
        context: Of each recording.
        prompt: What every transcript goes on from, the start token included.
        options: How.
        generator: Where chance comes from, for sampling.
    """
    found = generate(decoder, context, [list(prompt)] * len(context), options, generator=generator)
    return [candidates[0] for candidates in found]


def _changed(
    config: SpeechConfig,
    encoder: dict[str, Any],
    decoder: dict[str, Any],
    *,
    context: Literal["all", "real"] | None,
    ctc: bool,
) -> SpeechConfig:
    """The configuration with other fields; its cross-attention is as wide as the encoder."""
    try:
        changed = replace(config.encoder, **encoder)
    except ValueError as error:
        raise ModelError(f"`encoder` cannot be used: {error}") from error
    try:
        writer = replace(config.decoder, **decoder, context_dim=changed.dim)
    except ValueError as error:
        raise ModelError(f"`decoder` cannot be used: {error}") from error
    try:
        return SpeechConfig(changed, writer, ctc=ctc, context=context or config.context)
    except ValueError as error:
        raise ModelError(f"`context` cannot be used: {error}") from error


def _longest(encoder: SpeechEncoderConfig) -> int | float:
    """Feature frames that the encoder has positions for."""
    return math.inf if encoder.positions == "rotary" else encoder.max_frames * encoder.strides[0] * encoder.strides[1]


def _fitting(preprocessing: AudioPreprocessing, config: SpeechConfig) -> AudioPreprocessing:
    """The preprocessing, once it is sure that the encoder has a position for all that it lets through."""
    asked = max(preprocessing.max_seconds, preprocessing.pad_to or 0.0)
    possible = _longest(config.encoder)
    if preprocessing.frames(round(asked * preprocessing.sample_rate)) > possible:
        raise ModelError(
            f"`max_seconds` and `pad_to` must be at most {possible * preprocessing.frame_seconds:g} s, for which the "
            f"encoder has positions, but are {asked:g} s instead. Lower them, or raise `encoder.max_frames`."
        )
    return preprocessing
