"""The graphs of models that write or read text: encoders, and decoders whose state goes in and out.

Notation: l layers, b contexts (pictures, recordings, questions), g rows of each (beams, questions), n new tokens, p
tokens before them, m context tokens, h heads, d head width, V vocabulary. Sizes are two axes where the model has one,
rows, so that a graph knows that there are g rows of each context.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...attention import DecoderCache, GrowingCache, KeysValues, ProjectedContext
from ...errors import ModelError
from ...models import VQA, Captioner, SingleStream, SpeechRecognizer, TextDecoder
from ...models.domain import Domain
from ...models.text_stack import TextConfig, TextStack
from ...weights import ModelBundle
from .graphs import EXAMPLES, Graph, picture_example

_ROWS, _TOKENS, _PAST, _CONTEXT = 3, 5, 4, 7  # of the examples


class _Growing(GrowingCache):
    """The keys and values of one self-attention, as tensors that are given and returned."""

    def __init__(self, past: KeysValues) -> None:
        self._past = self.present = past

    def append(self, keys: Tensor, values: Tensor) -> KeysValues:
        """Return all positions so far, which are kept as `present`."""
        past = self._past
        self.present = KeysValues(torch.cat([past.keys, keys], dim=2), torch.cat([past.values, values], dim=2))
        return self.present


class _State(DecoderCache):
    """The state of a decoder in an exported graph: nothing is written in place.

    Args:
        context: What the decoder attends to.
        past: Keys and values of the tokens before, (l, 2, r, h, p, d).
    """

    def __init__(self, context: ProjectedContext, past: Tensor) -> None:
        self.context, self.length = context, past.shape[4]
        self._layers = [
            _Growing(KeysValues(keys, values)) for keys, values in (one.unbind(0) for one in past.unbind(0))
        ]

    def layer(self, index: int) -> GrowingCache:
        """Return one layer's self-attention."""
        return self._layers[index]

    def advance(self, count: int, attention_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the positions of new tokens; none are padded."""
        start, self.length = self.length, self.length + count
        return torch.arange(start, start + count)[None], None

    def present(self) -> Tensor:
        """Return the keys and values of all tokens so far, (l, 2, r, h, p + n, d)."""
        return torch.stack([torch.stack([one.present.keys, one.present.values]) for one in self._layers])


def packed(context: ProjectedContext) -> Tensor:
    """Return the keys and values of a context as one tensor, (l, 2, b, h, m, d)."""
    return torch.stack([torch.stack([one.keys, one.values]) for one in context.layers])


def unpacked(context: Tensor, attention_mask: Tensor | None) -> ProjectedContext:
    """Return a context (l, 2, b, h, m, d) as the model takes it, with the mask (b, m) of its tokens."""
    layers = tuple(KeysValues(keys, values) for keys, values in (one.unbind(0) for one in context.unbind(0)))
    return ProjectedContext(layers, attention_mask)


class PictureEncoder(nn.Module):
    """Pictures (b, c, H, W) to the keys and values that a text part attends to, and their distances if known.

    Args:
        model: The model.
        part: The part that attends to pictures.
        domain: Where it is known, the distance from the training pictures is an output.
    """

    def __init__(self, model: Captioner | VQA, part: TextStack, domain: Domain | None) -> None:
        super().__init__()
        self.model, self.part, self._domain = model, part, domain

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the context, and distances (b,) if any."""
        features = self.model.encoder.features(images)
        context = packed(
            self.part.project_context(self.model.bridged(features, image_size=(images.shape[-2], images.shape[-1])))
        )
        if self._domain is None:
            return (context,)
        return context, self._domain.distances(features[:, self.model.encoder.num_prefix_tokens :])


class SoundEncoder(nn.Module):
    """Log-mel features (b, mels, t) and their lengths (b,) to what a decoder attends to.

    Args:
        model: The recognizer.
    """

    def __init__(self, model: SpeechRecognizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the context, and the mask of its tokens where the decoder has one."""
        encoded = self.model.encode(features, lengths=lengths)
        mask = self.model.context_attention_mask(encoded.shape[1], lengths)
        context = packed(self.model.decoder.project_context(encoded))
        return (context,) if mask is None else (context, mask)


class Decoder(nn.Module):
    """One step of a decoder, of one token or several: the logits of the next token, and the state after it.

    Args:
        decoder: The decoder.
    """

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, tokens: Tensor, past: Tensor, context: Tensor, context_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take tokens (b, g, n), the state (l, 2, b, g, h, p, d) and the context; return logits (b, g, V) and state."""
        contexts, rows = tokens.shape[0], tokens.shape[1]
        state = _State(unpacked(context, context_mask), past.flatten(2, 3))
        logits = self.decoder(tokens.flatten(0, 1), cache=state, last_only=True)[:, 0]  # (r, V)
        present = state.present()  # (l, 2, r, h, p + n, d)
        shape = (*present.shape[:2], contexts, rows, *present.shape[3:])
        return logits.reshape(contexts, rows, -1), present.reshape(shape)


class QuestionReader(nn.Module):
    """Questions (b, g, n) about encoded pictures to the scores of a list of answers, or to a decoder's context.

    Args:
        model: The model.
    """

    def __init__(self, model: VQA) -> None:
        super().__init__()
        self.model = model

    def forward(self, questions: Tensor, mask: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Return logits (b, g, A), or a context (l, 2, b g, h, n, d)."""
        tokens, keys = questions.flatten(0, 1), mask.flatten(0, 1)
        states = self.model.read(tokens, unpacked(context, None), attention_mask=keys)
        if self.model.decoder is None:
            return (self.model.answer_logits(states).reshape(questions.shape[0], questions.shape[1], -1),)
        return (packed(self.model.decoder.project_context(states)),)


class PairReader(nn.Module):
    """Pictures (b, c, H, W) with one question (b, n) each to the scores of a list of answers, (b, A).

    Args:
        model: The model.
    """

    def __init__(self, model: SingleStream) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, questions: Tensor, mask: Tensor) -> tuple[Tensor]:
        """Return the logits."""
        states = self.model.read(questions, self.model.encode(images), attention_mask=mask)
        return (self.model.answer_logits(states),)


# --- which graphs a model has ---


def _state_example(config: TextConfig, rows: tuple[int, ...], length: int) -> Tensor:
    return torch.zeros(config.depth, 2, *rows, config.num_heads, length, config.head_width)


def decoder_graph(decoder: TextDecoder, *, masked: bool) -> Graph:
    """Return the graph of a decoder's steps.

    Args:
        decoder: The decoder, with cross-attention and without relative positions.
        masked: Whether its contexts have padding.

    Raises:
        ModelError: It has none.
    """
    config = decoder.config
    if config.context_dim is None or config.positions == "relative":
        raise ModelError(
            "`decoder` must attend to a context and have positions of its own to be exported, but does not"
        )
    inputs = {
        "tokens": torch.zeros(EXAMPLES, _ROWS, _TOKENS, dtype=torch.long),
        "past": _state_example(config, (EXAMPLES, _ROWS), _PAST),
        "context": _state_example(config, (EXAMPLES,), _CONTEXT),
    }
    axes = {
        "tokens": {0: "batch", 1: "rows", 2: "tokens"},
        "past": {2: "batch", 3: "rows", 5: "past"},
        "context": {2: "batch", 4: "context"},
    }
    if masked:
        inputs["context_mask"] = torch.ones(EXAMPLES, _CONTEXT, dtype=torch.bool)
        axes["context_mask"] = {0: "batch", 1: "context"}
    return Graph(Decoder(decoder), inputs, axes, ("logits", "present"))


def captioner_graphs(bundle: ModelBundle, sites: Sequence[str]) -> dict[str, Graph]:
    """Return the graphs of a captioner: encoder and decoder."""
    no_maps(sites)
    model = bundle.require(Captioner)
    encoder = PictureEncoder(model, model.decoder, None)
    return {
        "encoder": Graph(encoder, {"images": picture_example(bundle)}, {"images": {0: "batch"}}, ("context",)),
        "decoder": decoder_graph(model.decoder, masked=False),
    }


def recognizer_graphs(bundle: ModelBundle, sites: Sequence[str]) -> dict[str, Graph]:
    """Return the graphs of a speech recognizer: encoder and decoder."""
    no_maps(sites)
    model = bundle.require(SpeechRecognizer)
    sound = bundle.sound
    padded = sound.frames(sound.max_samples)
    inputs = {"features": torch.zeros(EXAMPLES, sound.mels, padded)}
    axes = {"features": {0: "batch"}} if sound.pad_to == sound.max_seconds else {"features": {0: "batch", 2: "frames"}}
    masked = model.config.context == "real"
    if masked or model.config.encoder.masked:
        inputs["lengths"] = torch.full((EXAMPLES,), padded)
        axes["lengths"] = {0: "batch"}
    outputs = ("context", "context_mask") if masked else ("context",)
    return {
        "encoder": Graph(SoundEncoder(model), inputs, axes, outputs, ("frames",)),
        "decoder": decoder_graph(model.decoder, masked=masked),
    }


def answerer_graphs(bundle: ModelBundle, sites: Sequence[str]) -> dict[str, Graph]:
    """Return the graphs of a model that answers: encoder, question and perhaps decoder."""
    no_maps(sites)
    model = bundle.require(VQA)
    encoder = PictureEncoder(model, model.question, bundle.domain)
    questions = {
        "questions": torch.zeros(EXAMPLES, _ROWS, _TOKENS, dtype=torch.long),
        "mask": torch.ones(EXAMPLES, _ROWS, _TOKENS, dtype=torch.bool),
        "context": _state_example(model.config.question, (EXAMPLES,), _CONTEXT),
    }
    rows = {0: "batch", 1: "rows", 2: "tokens"}
    axes = {"questions": rows, "mask": rows, "context": {2: "batch", 4: "context"}}
    outputs = ("context", "distances") if bundle.domain else ("context",)
    graphs = {
        "encoder": Graph(encoder, {"images": picture_example(bundle)}, {"images": {0: "batch"}}, outputs),
        "question": Graph(QuestionReader(model), questions, axes, ("logits" if model.decoder is None else "context",)),
    }
    if model.decoder is not None:
        graphs["decoder"] = decoder_graph(model.decoder, masked=True)
    return graphs


def single_stream_graphs(bundle: ModelBundle, sites: Sequence[str]) -> dict[str, Graph]:
    """Return the graph of a model that reads a question and a picture in one stack."""
    no_maps(sites)
    model = bundle.require(SingleStream)
    texts = torch.zeros(EXAMPLES, _TOKENS, dtype=torch.long)
    inputs = {"images": picture_example(bundle), "questions": texts, "mask": texts == 0}
    sides = {2: "height", 3: "width"} if bundle.pictures.varies else {}
    axes = {
        "images": {0: "batch", **sides},
        "questions": {0: "batch", 1: "tokens"},
        "mask": {0: "batch", 1: "tokens"},
    }
    return {"model": Graph(PairReader(model), inputs, axes, ("logits",), tuple(sides.values()))}


def no_maps(sites: Sequence[str]) -> None:
    """Raise ModelError where maps are asked for."""
    if sites:
        raise ModelError(f"`maps` must be of a classifier, but are of a model that writes or answers: {sites[0]!r}")
