"""What the two layouts of Whisper share: rows of the key table, fixed fields, alignment heads, and the vocabulary."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..inputs import AudioPreprocessing, SpeechTokens, Tokenizer
from ..models.speech import SpeechConfig, SpeechRecognizer
from .bundle import VOCABULARY, ModelBundle, build_model
from .hf_common import PLAIN_BLOCKS, PLAIN_HEAD, TEXT, check_fixed
from .model_files import ModelFiles
from .table import CONCAT, NO_KEY_BIAS, KeyTable, Row, Transform

SOUND = "sound encoder"
"""The name of the encoder in messages."""

_NEW = "fine-tune it with a new vocabulary: `model.init_args.pretrained: {where}` and `vocabulary: new`"

ONLY_VALUE_BIAS = Transform(
    "only value bias",
    lambda theirs: torch.cat([torch.zeros_like(theirs[0]), theirs[0]]),
    lambda ours, count: [ours.chunk(2)[1].clone()],
)
"""The bias of v against our one of k and v."""


def block_rows(ours: str, theirs: str, names: Mapping[str, str], *, cross: bool = False) -> tuple[Row, ...]:
    """Return the rows of a block.

    Args:
        ours: Prefix of our keys.
        theirs: Prefix of their keys.
        names: Their names of the block's parts, and of the projections `q`, `k`, `v` and `out` in an attention.
        cross: Whether the block has a cross-attention.
    """
    attention, crossing = f"{theirs}{names['attention']}.", f"{theirs}{names['cross_attention']}."
    q, k, v, out = (names[name] for name in ("q", "k", "v", "out"))
    rows = (
        *(Row(f"{ours}{name}.{{p}}", f"{theirs}{names[name]}.{{p}}") for name in ("norm1", "norm2")),
        Row(f"{ours}attention.qkv.weight", tuple(f"{attention}{name}.weight" for name in (q, k, v)), CONCAT),
        Row(f"{ours}attention.qkv.bias", tuple(f"{attention}{name}.bias" for name in (q, v)), NO_KEY_BIAS),
        Row(f"{ours}attention.out.{{p}}", f"{attention}{out}.{{p}}"),
        *(Row(f"{ours}feedforward.{name}.{{p}}", f"{theirs}{names[name]}.{{p}}") for name in ("fc1", "fc2")),
    )
    if not cross:
        return rows
    return (
        *rows,
        Row(f"{ours}cross_norm.{{p}}", f"{theirs}{names['cross_norm']}.{{p}}"),
        Row(f"{ours}cross_attention.q.{{p}}", f"{crossing}{q}.{{p}}"),
        Row(f"{ours}cross_attention.kv.weight", tuple(f"{crossing}{name}.weight" for name in (k, v)), CONCAT),
        Row(f"{ours}cross_attention.kv.bias", f"{crossing}{v}.bias", ONLY_VALUE_BIAS),
        Row(f"{ours}cross_attention.out.{{p}}", f"{crossing}{out}.{{p}}"),
    )


TOKEN_NAMES = {"start_token": "<|startoftranscript|>", "end_token": "<|endoftext|>"}
"""The names of the special tokens that a decoder's configuration states, by the names of its fields."""

TOKEN_FIELDS = (*TOKEN_NAMES, "pad_token")
"""All such fields; there is no token of its own for padding."""

_ENDS = {51864: 50256, 51865: 50257, 51866: 50257}  # end token of each published vocabulary, by its size

# fields of ours that neither layout can express, and their values in all its models
FIXED_SOUND: dict[str, Any] = {
    "strides": (1, 2),
    "positions": "sinusoidal",
    "window": None,
    "attention": "full",
    "reversible": False,
    "norm_eps": 1e-5,
    "stochastic_depth": 0.0,
    "masked": False,
}
FIXED_TEXT: dict[str, Any] = {
    **PLAIN_BLOCKS,
    **PLAIN_HEAD,
    "positions": "learned",
    "pre_norm": True,
    "norm_eps": 1e-5,
    "scale_embedding": False,
    "embed_norm": False,
    "final_norm": True,
}
_FIXED_WHOLE = {"ctc": False, "context": "all"}

# "block.head" of the cross-attentions that follow the speech, by the decoder's blocks, heads and vocabulary.
# Source: openai-whisper, __init__.py. The first two versions of "large" have the same sizes and different heads.
_HEADS: dict[tuple[int, int, int], str] = {
    (4, 6, 51864): "1.0 2.0 2.5 3.0 3.1 3.2 3.3 3.4",
    (4, 6, 51865): "2.2 3.0 3.2 3.3 3.4 3.5",
    (6, 8, 51864): "3.3 4.7 5.1 5.5 5.7",
    (6, 8, 51865): "3.1 4.2 4.3 4.7 5.1 5.2 5.4 5.6",
    (12, 12, 51864): "6.6 7.0 7.3 7.8 8.2 8.5 8.7 9.0 9.4 9.8 9.10 10.0 10.1 10.2 10.3 10.6 10.11 11.2 11.4",
    (12, 12, 51865): "5.3 5.9 8.0 8.4 8.7 8.8 9.0 9.7 9.9 10.5",
    (
        24,
        16,
        51864,
    ): "11.4 14.1 14.12 14.14 15.4 16.0 16.4 16.9 17.12 17.14 18.7 18.10 18.15 20.0 20.3 20.9 20.14 21.12",
    (24, 16, 51865): "13.15 15.4 15.15 16.1 20.0 23.4",
    (32, 20, 51866): "7.0 10.17 12.18 13.12 16.1 17.14 19.11 21.4 24.1 25.6",
    (4, 20, 51866): "2.4 2.11 3.3 3.6 3.11 3.14",
}


def published_heads(architecture: SpeechConfig) -> tuple[tuple[int, int], ...]:
    """Return the cross-attention heads that follow the speech in the published model of these sizes.

    Empty where there is none: a decoder of published size with another width or encoder is another model.
    """
    text, sound = architecture.decoder, architecture.encoder
    of_published = text.dim == 64 * text.num_heads and sound.dim == text.dim and sound.max_frames == 1500
    # the encoder of the turbo model is as deep as that of the large one
    of_published = of_published and sound.depth == (32 if text.num_heads == 20 else text.depth)
    said = _HEADS.get((text.depth, text.num_heads, text.vocab_size), "") if of_published else ""
    return tuple((int(block), int(head)) for block, head in (pair.split(".") for pair in said.split()))


def check_structure(bundle: ModelBundle, layout: str) -> None:
    """Check that Whisper can express the model.

    Raises:
        ModelError: It cannot; the message names the field.
    """
    architecture = bundle.require(SpeechRecognizer).config
    check_fixed(architecture, _FIXED_WHOLE, layout)
    check_fixed(architecture.encoder, FIXED_SOUND, layout, of=SOUND)
    check_fixed(architecture.decoder, {**FIXED_TEXT, "dim": architecture.encoder.dim}, layout, of=TEXT)
    # the position table fixes the number of frames; another duration would change the speed of the speech
    frames = architecture.encoder.max_frames * 2
    sound = bundle.sound
    check_fixed(sound, {"scale": "whisper", "pad_to": sound.max_seconds}, layout, of="preprocessing")
    if sound.frames(sound.max_samples) != frames:
        raise ModelError(
            f"the {layout} layout needs `max_seconds` of the preprocessing to make {frames} frames, two for each of "
            f"the encoder's `max_frames`, but it is {sound.max_seconds} instead: choose the layout multiattn"
        )


def whisper_sound(architecture: SpeechConfig) -> AudioPreprocessing:
    """Return the preprocessing of every Whisper model of these sizes."""
    sound = AudioPreprocessing(mels=architecture.encoder.mels)
    seconds = architecture.encoder.max_frames * 2 * sound.frame_seconds
    return AudioPreprocessing(mels=architecture.encoder.mels, pad_to=seconds, max_seconds=seconds)


def check_embedding(state: Mapping[str, Tensor], table: KeyTable, *, where: str) -> int:
    """Check that the weights have the embedding, before the vocabulary is read, and return its number of rows.

    Raises:
        ModelError: They do not; the message says what to do.
    """
    (embedding,), _ = table.names(VOCABULARY[0])
    if embedding not in state:
        raise ModelError(
            f"{where} lacks the tensor {embedding}, the table of the vocabulary, without which the model cannot write: "
            f"take a copy that has it, or {_NEW.format(where=where)}"
        )
    return len(state[embedding])


def whisper_model(
    architecture: SpeechConfig,
    files: ModelFiles,
    *,
    table: KeyTable,
    state: Mapping[str, Tensor],
    without: Sequence[str],
) -> nn.Module:
    """Call `build_model`; where tensors are missing, the error says what to do.

    Raises:
        ModelError: The weights do not fit.
    """
    try:
        return build_model(architecture, files, table=table, state=state, without=without)
    except ModelError as error:
        if "\n  - " not in str(error):
            raise
        raise ModelError(f"{error}\nIf what is needed is missing, download or save the weights again.") from error


def read_tokenizer(files: ModelFiles, vocab_size: int) -> Tokenizer:
    """Read the vocabulary beside a recognizer's weights.

    Args:
        files: The model's directory, or the file of its weights.
        vocab_size: Rows of the embedding.

    Raises:
        ModelError: There is none.
    """
    try:
        return files.speech_tokenizer(vocab_size)
    except ModelError as error:
        raise ModelError(f"{error} Or {_NEW.format(where=files)}.") from error


def tokens_of(tokenizer: Tokenizer, architecture: SpeechConfig) -> SpeechTokens:
    """Return the special tokens of a vocabulary."""
    text = architecture.decoder
    return SpeechTokens.of(tokenizer, start=text.start_token, end=text.end_token, vocab_size=text.vocab_size)


def special_tokens(tokenizer: Tokenizer | None, vocab_size: int, *, where: str) -> dict[str, int]:
    """Return the special tokens that a decoder's configuration states, by the names of its fields.

    Args:
        tokenizer: The vocabulary; the tokens are those of the published ones where None.
        vocab_size: Rows of the embedding.
        where: The file, for messages.

    Raises:
        ModelError: It is not one of Whisper's.
    """
    if tokenizer is not None:
        found = {field: tokenizer.id_of(name) for field, name in TOKEN_NAMES.items()}
    else:
        end = _ENDS.get(vocab_size)
        found = {"start_token": None if end is None else end + 1, "end_token": end}
    tokens = {field: token for field, token in found.items() if token is not None}
    for field, name in TOKEN_NAMES.items():
        if field not in tokens:
            raise ModelError(f"{where}: {name} cannot be told, for the vocabulary is not one of Whisper's")
    return {**tokens, "pad_token": tokens["end_token"]}
