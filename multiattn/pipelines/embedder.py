"""What embeds the inputs of a command: the pipeline of a model, or an encoder alone, which is no task's model."""

from pathlib import Path

from torch import nn

from ..errors import ModelError
from ..registry import load_part, task_spec
from ..weights import is_speech_encoder, is_text_encoder, locate, recognize
from .base import Pipeline
from .embed_text import TextEmbedder
from .loading import load
from .precision import Precision
from .transcribe.embed import RecordingEmbedder


def reads_of(name: str | Path, *, revision: str | None = None) -> tuple[str, ...]:
    """Return what a model reads by itself, without loading its weights: among "image", "audio" and "text".

    Args:
        name: As for `multiattn.load`; or a directory or hub id of a BERT, or of Whisper's encoder without its decoder.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: It is not there.
    """
    directory = locate(name, revision=revision)
    if is_text_encoder(directory):
        return ("text",)
    if is_speech_encoder(directory):
        return ("audio",)
    found = recognize(directory)
    spec = task_spec(found[1][0] if found and found[1] else "classify")
    has_texts = hasattr(load_part(spec.pipeline), "stream_text_embeddings")
    return (spec.reads, "text") if has_texts else (spec.reads,)


def load_embedder(
    name: str | Path, *, revision: str | None = None, device: str = "auto", precision: Precision | None = None
) -> Pipeline[nn.Module] | TextEmbedder | RecordingEmbedder:
    """Load a model that embeds its inputs: each has `embed` and `stream_embeddings`.

    Args:
        name: As for `multiattn.load`; or a directory or hub id of a BERT, or of Whisper's encoder without its decoder.
        revision: As for `multiattn.load`, like the others.
        device: As above.
        precision: As above.

    Raises:
        ModelError: As for `multiattn.load`, or the model does not embed.
    """
    directory = locate(name, revision=revision)
    if is_text_encoder(directory):
        return TextEmbedder.load(name, revision=revision, device=device, precision=precision)
    if is_speech_encoder(directory):
        return RecordingEmbedder.load(name, revision=revision, device=device, precision=precision)
    pipeline = load(name, revision=revision, device=device, precision=precision)
    if not hasattr(pipeline, "stream_embeddings"):
        raise ModelError(f"{name} must be a model that embeds, but is one for {pipeline.bundle.task} instead")
    return pipeline
