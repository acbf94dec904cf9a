"""The recognizer that a training starts from, new or to fine-tune; and its teacher-forced pass.

b recordings, t feature frames, m encoder frames, D the encoder's width, n tokens of a text.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.checks import require_fields
from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, Tokenizer
from multiattn.models.speech import PRESETS, SpeechConfig, SpeechRecognizer
from multiattn.models.speech_encoder import SpeechEncoderConfig
from multiattn.models.text_decoder import TextDecoderConfig
from multiattn.weights import ModelBundle
from multiattn.weights.bundle import VOCABULARY

from .contracts import TextFacts, special_tokens
from .losses import SpeechOutput
from .parts import (
    OF_THE_DATA,
    TEXT_TRAINING_ONLY,
    TRAINING_ONLY,
    AudioEncoder,
    changed,
    require_training_only,
    with_tuples,
    without_tokens,
)
from .trained import TrainedModels

Vocabulary = Literal["own", "new"]
"""Of a trained model: its own, or one learned from the data, for which only the embedding starts anew."""


@dataclass
class SpeechStart:
    """A recognizer before its data is known."""

    preprocessing: AudioPreprocessing
    config: SpeechConfig
    """Of the model; the data decides its vocabulary, unless that is kept."""

    trained: ModelBundle | None = None
    """The model to fine-tune; None from scratch."""

    keeps_vocabulary: bool = False

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the trained model; None where the data makes one."""
        return self.trained.tokenizer if self.trained is not None and self.keeps_vocabulary else None

    @property
    def decoding(self) -> dict[str, Any]:
        """How the trained model decodes, without what names tokens of a vocabulary that is not kept."""
        kept = {} if self.trained is None else dict(self.trained.decoding)
        return kept if self.keeps_vocabulary else without_tokens(kept)

    @property
    def fresh_parts(self) -> tuple[str, ...]:
        """The names of the weights that start anew beside trained ones; the model may have only some of them."""
        if self.trained is None or not self.keeps_vocabulary:
            return VOCABULARY
        return () if self.trained.config.ctc else tuple(name for name in VOCABULARY if name.startswith("ctc_head"))

    def build(self, facts: TextFacts) -> SpeechRecognizer:
        """Build the recognizer for the data's tokenizer."""
        config = self.config
        if not self.keeps_vocabulary:
            config = replace(config, decoder=replace(config.decoder, **special_tokens(facts.tokenizer)))
        model = SpeechRecognizer(config)
        if self.trained is not None:
            new = model.state_dict()
            anew = () if self.keeps_vocabulary else VOCABULARY
            state = self.trained.model.state_dict()
            model.load_state_dict(new | {k: v for k, v in state.items() if k in new and k not in anew})
        return model

    @classmethod
    def of(
        cls,
        audio: AudioEncoder,
        decoder: dict[str, Any] | None,
        pretrained: str | None,
        *,
        models: TrainedModels,
        vocabulary: Vocabulary,
        ctc: bool,
    ) -> "SpeechStart":
        """Read the trained weights that the options name, and check the options; see `TranscribeTask`.

        Raises:
            ModelError: They do not go together, name nothing that exists, or make no valid model.
        """
        if (audio.preset is None) == (pretrained is None):
            found = "neither of them is" if pretrained is None else "both of them are"
            raise ModelError(
                f"one of `audio.preset` and `pretrained` must say what to start from, but {found} given. Give one."
            )
        overrides, decoder = with_tuples(audio.overrides), with_tuples(decoder)
        sound = dict(audio.preprocessing or {})
        if pretrained is None:
            return cls._from_scratch(audio, overrides, decoder, sound, vocabulary=vocabulary, ctc=ctc)
        for name, values, allowed, config_of in (
            ("audio.overrides", overrides, TRAINING_ONLY, SpeechEncoderConfig),
            ("decoder", decoder, TEXT_TRAINING_ONLY, TextDecoderConfig),
            ("audio.preprocessing", sound, ("pad_to", "max_seconds", "background_seconds"), AudioPreprocessing),
        ):
            require_training_only(values, name, source="pretrained", allowed=allowed)
            require_fields(values, config_of, name)
        # a new vocabulary needs none of the old one's weights, nor its tokenizer: they may be missing
        bundle = models.bundle(pretrained, without=() if vocabulary == "own" else VOCABULARY)
        config = _changed(bundle.require(SpeechRecognizer).config, overrides, decoder, context=audio.context, ctc=ctc)
        if "pad_to" in sound and sound["pad_to"] is None:
            # what fills a batch up is then not the recording's own silence: nothing may attend to it
            config = replace(config, encoder=replace(config.encoder, masked=True), context="real")
        kept = _checked(replace(bundle.sound, **sound), config)
        return cls(kept, config, bundle, vocabulary == "own")

    @classmethod
    def _from_scratch(
        cls,
        audio: AudioEncoder,
        overrides: dict[str, Any],
        decoder: dict[str, Any],
        sound: dict[str, Any],
        *,
        vocabulary: Vocabulary,
        ctc: bool,
    ) -> "SpeechStart":
        if vocabulary == "new":
            raise ModelError('`vocabulary` must be "own" without `pretrained`: the data makes it in any case.')
        if audio.preset not in PRESETS:
            raise ModelError(f"`audio.preset` must be one of {', '.join(PRESETS)}, but is {audio.preset!r} instead.")
        require_fields(overrides, SpeechEncoderConfig, "audio.overrides")
        require_fields(decoder, TextDecoderConfig, "decoder", but=(*OF_THE_DATA, "context_dim"))
        config = _changed(PRESETS[audio.preset], overrides, decoder, context=audio.context, ctc=ctc)
        require_fields(sound, AudioPreprocessing, "audio.preprocessing", but=("mels",))
        made = AudioPreprocessing(**{"mels": config.encoder.mels, "pad_to": None} | sound)
        if "max_seconds" not in sound:
            made = replace(made, max_seconds=min(made.max_seconds, _longest(config.encoder) * made.frame_seconds))
        return cls(_checked(made, config), config)


def encoded(
    model: SpeechRecognizer,
    features: Float[Tensor, "b mels t"] | None,
    stored: Float[Tensor, "b m D"] | None,
    lengths: Int64[Tensor, " b"],
    *,
    frozen: bool,
    checkpoint_activations: bool = False,
) -> Float[Tensor, "b m D"]:
    """What the decoder attends to, from mel features or from the encoder's stored output.

    Args:
        model: The recognizer.
        features: Log-mel features of each recording; None where there is `stored`.
        stored: The output of `model.encode`, in any precision.
        lengths: Feature frames of each recording.
        frozen: Whether the encoder runs without a gradient.
        checkpoint_activations: See `TransformerBlock`.
    """
    if stored is not None:
        return stored.to(model.decoder.embedding.weight.dtype)
    assert features is not None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        return model.encode(features, lengths=lengths, checkpoint_activations=checkpoint_activations)


def teacher_forced(
    model: SpeechRecognizer,
    features: Float[Tensor, "b mels t"] | None,
    stored: Float[Tensor, "b m D"] | None,
    lengths: Int64[Tensor, " b"],
    tokens: Int64[Tensor, "b n"],
    attention_mask: Bool[Tensor, "b n"],
    *,
    frozen: bool,
    checkpoint_activations: bool = False,
) -> SpeechOutput:
    """The scores of the next token at each position; the other arguments are those of `encoded`."""
    context = encoded(model, features, stored, lengths, frozen=frozen, checkpoint_activations=checkpoint_activations)
    context_attention_mask = model.context_attention_mask(context.shape[1], lengths)
    logits = model.decoder(
        tokens,
        context,
        context_attention_mask=context_attention_mask,
        attention_mask=attention_mask,
        checkpoint_activations=checkpoint_activations,
    )
    return SpeechOutput(logits, None if model.ctc_head is None else model.ctc_log_probs(context))


def _changed(
    config: SpeechConfig,
    encoder: dict[str, Any],
    decoder: dict[str, Any],
    *,
    context: Literal["all", "real"] | None,
    ctc: bool,
) -> SpeechConfig:
    """The configuration with other fields, and a cross-attention as wide as the encoder."""
    new_encoder = changed(config.encoder, encoder, "audio.overrides")
    new_decoder = changed(config.decoder, decoder | {"context_dim": new_encoder.dim}, "decoder")
    try:
        return SpeechConfig(new_encoder, new_decoder, ctc=ctc, context=context or config.context)
    except ValueError as error:
        raise ModelError(f"`audio.context` cannot be used: {error}") from error


def _longest(encoder: SpeechEncoderConfig) -> int | float:
    """The number of feature frames that the encoder has positions for."""
    return math.inf if encoder.positions == "rotary" else encoder.max_frames * encoder.strides[0] * encoder.strides[1]


def _checked(preprocessing: AudioPreprocessing, config: SpeechConfig) -> AudioPreprocessing:
    """Return the preprocessing, after checking that the encoder has positions for its longest recording."""
    asked = max(preprocessing.max_seconds, preprocessing.pad_to or 0.0)
    possible = _longest(config.encoder)
    if preprocessing.frames(round(asked * preprocessing.sample_rate)) > possible:
        raise ModelError(
            f"`max_seconds` and `pad_to` must be at most {possible * preprocessing.frame_seconds:g} s, for which the "
            f"encoder has positions, but are {asked:g} s instead. Lower them, or raise `audio.overrides.max_frames`."
        )
    return preprocessing
