"""What the layouts of transformers share: the words for activations, special tokens and decoding options."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.text_decoder import TextDecoderConfig
from ..models.text_stack import TextConfig
from .bundle import CONFIG, TOKENIZER, ModelBundle
from .json_files import check_value, short, tuples
from .model_files import ModelFiles

GENERATION = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
VISION, TEXT, QUESTION = "vision encoder", "text decoder", "question encoder"
"""The names of a model's parts in messages."""

PLAIN_BLOCKS: dict[str, Any] = {
    "norm": "layer",
    "gated": False,
    "linear_bias": True,
    "head_dim": None,
    "scale_scores": True,
}
"""Fields of a text stack that T5 has otherwise, and that no other layout can express."""
PLAIN_HEAD: dict[str, Any] = {"head": "plain", "head_bias": False, "scale_states": False}
"""Fields of a decoder's head that is a linear map."""

# theirs to ours; where two of theirs mean the same, the first is written
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "gelu_quick",
    "relu": "relu",
    "silu": "silu",
}

# the special tokens of a text that is read: our field, BERT's name for the role, and the token that has it by default
_ROLES = {
    "start_token": ("cls_token", "[CLS]"),
    "end_token": ("sep_token", "[SEP]"),
    "pad_token": ("pad_token", "[PAD]"),
}

# decoding options, theirs to ours; `_SAMPLING` counts only where `do_sample` is true
_SEARCH = {
    "num_beams": "num_beams",
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "repetition_penalty": "repetition_penalty",
    "suppress_tokens": "suppress",
    "begin_suppress_tokens": "suppress_first",
}
_SAMPLING = {"do_sample": "sample", "temperature": "temperature", "top_k": "top_k", "top_p": "top_p"}


# options of transformers' decoding that no model here has, and their values that change nothing
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "num_beam_groups": (1,),
    "diversity_penalty": (0,),
    "penalty_alpha": (0,),
    "guidance_scale": (1,),
    "min_length": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "renormalize_logits": (False,),
    **dict.fromkeys(("bad_words_ids", "force_words_ids", "constraints", "sequence_bias", "dola_layers"), ()),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty"), ()),
}
_SAMPLING_WITHOUT_EFFECT = {"typical_p": (1,), "min_p": (0,), "epsilon_cutoff": (0,), "eta_cutoff": (0,)}


_TOP_K = 50  # of transformers' sampling where nothing is stated
_DEFAULTS: dict[str, Any] = {
    "num_beams": 1,
    "length_penalty": 1.0,
    "early_stopping": False,
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
    "do_sample": False,
    "temperature": 1.0,
    "top_k": _TOP_K,
    "top_p": 1.0,
}
"""Transformers' values of options that nothing states."""


def read_activation(theirs: str, name: str, *, where: str) -> str:
    """Return our word for the activation in the field `name`."""
    check_value(theirs in _ACTIVATIONS, name, must=f"one of {', '.join(_ACTIVATIONS)}", value=theirs, where=where)
    return _ACTIVATIONS[theirs]


def write_activation(ours: str) -> str:
    """Return their word for an activation."""
    return {name: theirs for theirs, name in reversed(_ACTIVATIONS.items())}[ours]


def check_fixed(
    config: Any, fixed: Mapping[str, Any], layout: str, *, of: str = "", instead: str = "multiattn"
) -> None:
    """Check that a configuration of ours has the values that a layout takes for granted.

    Args:
        config: The configuration.
        fixed: The fields, and the only value of each that the layout can express.
        layout: The layout's name.
        of: The part of the model that is configured, where it has several.
        instead: The layouts that can express other values.

    Raises:
        ModelError: A field has another value.
    """
    for field, wanted in fixed.items():
        value = getattr(config, field)
        if value != wanted:
            raise ModelError(
                f"the {layout} layout needs `{field}`{of and f' of the {of}'} to be {wanted!r}, but it is "
                f"{value!r} instead, which it has no way to say: choose the layout {instead}"
            )


def require(config: Mapping[str, Any], name: str, *, where: str) -> Any:
    """Return a value that must be stated: a wrong default for the number of heads would load, as no tensor tells it.

    Raises:
        ModelError: It is missing.
    """
    if config.get(name) is None:
        raise ModelError(f"{where}: `{name}` must be stated, but is missing: add it to the file")
    return config[name]


def check_stated(config: Mapping[str, Any], needed: Mapping[str, Any], *, where: str, of: str = "") -> None:
    """Check that a foreign configuration has the values without which ours cannot be this model.

    Args:
        config: The object that was read; what it does not state is as needed.
        needed: The keys, and the only value of each that our model can have.
        where: The file, for messages.
        of: The part of the model that is configured, where it has several.

    Raises:
        ModelError: A key has another value.
    """
    for name, wanted in needed.items():
        if (found := config.get(name, wanted)) != wanted:
            raise ModelError(
                f"{where}: `{name}`{of and f' of the {of}'} must be {wanted}, but is {str(found)[:200]} instead"
            )


def read_kind(config: Mapping[str, Any], known: Collection[str], *, where: str) -> str:
    """Return the class of transformers that saved a model: the first of those known where the file states none.

    Raises:
        ModelError: It is none of those known.
    """
    kind: str = (config.get("architectures") or list(known))[0]
    check_value(kind in known, "architectures", must=" or ".join(known), value=kind, where=where)
    return kind


def settle_tied(
    state: Mapping[str, Tensor], embedding: str, head: str, *, stated: bool
) -> tuple[dict[str, Tensor], bool]:
    """Find whether a model's output matrix is the table of its embedding, as transformers does.

    Args:
        state: The tensors, in the keys of the file.
        embedding: The key of the table.
        head: The key of the output matrix.
        stated: Whether the configuration says that they are one.

    Returns:
        The tensors, with the table under its own key where the file has it under the other's alone; and whether they
        are one: not where the file has both, and they differ.

    Source: transformers 5, `PreTrainedModel.tie_weights`.
    """
    if stated and head in state and embedding not in state:
        return {**state, embedding: state[head]}, True
    both = head in state and embedding in state
    return dict(state), stated and not (both and not torch.equal(state[embedding], state[head]))


def square_side(image_size: tuple[int, int], layout: str) -> int:
    """Return the side of a square `image_size`, in pixels, for a layout that has one number for it.

    Raises:
        ModelError: It is not square.
    """
    height, width = image_size
    if height != width:
        raise ModelError(
            f"the {layout} layout needs a square `image_size`, but it is {height} x {width} instead: "
            "choose the layout multiattn"
        )
    return height


def read_roles(
    files: ModelFiles, tokenizer: Tokenizer, roles: Mapping[str, tuple[str, str]] = _ROLES
) -> dict[str, int]:
    """Return the start, end and padding token of texts, as a tokenizer's files name them.

    Args:
        files: The model's files.
        tokenizer: Its vocabulary.
        roles: For each field of ours the name of the role in the files, and the token that has it by default; BERT's
            where nothing else is given.

    Raises:
        ModelError: The vocabulary lacks one.
    """
    stated = files.json(TOKENIZER_CONFIG) if files.has(TOKENIZER_CONFIG) else {}
    found = {}
    for ours, (theirs, default) in roles.items():
        name = stated.get(theirs) or default
        name = name["content"] if isinstance(name, Mapping) else name  # the form of older tokenizers
        token = tokenizer.id_of(name)
        if token is None:
            raise ModelError(
                f"{files} has a vocabulary without {name!r}, which is its `{theirs}`: "
                "put the model's own vocabulary beside it"
            )
        found[ours] = token
    return found


def describe_roles(tokenizer: Tokenizer, config: TextConfig, layout: str) -> dict[str, dict[str, Any]]:
    """Return the file that `read_roles` reads.

    Raises:
        ModelError: One of the tokens has no name.
    """
    return _tokenizer_config(
        model_max_length=config.max_length,
        **{theirs: token_name(tokenizer, ours, getattr(config, ours), layout) for ours, (theirs, _) in _ROLES.items()},
    )


def _tokenizer_config(**said: Any) -> dict[str, dict[str, Any]]:
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    return {TOKENIZER_CONFIG: {**plain, **said}}


def read_decoding(files: ModelFiles, config: Mapping[str, Any], *, prompt: str = "") -> dict[str, Any]:
    """Return the decoding options that a directory states.

    Args:
        files: The model's files.
        config: Its `config.json`, which may have a `prompt`: a key of ours, as transformers leaves it to the caller.
        prompt: The prompt where `config` has none.

    Raises:
        ModelError: It states an option that no model here has.
    """
    has_file = files.has(GENERATION)
    stated = read_generation(files) if has_file else _in_config(config)
    where = files.where(GENERATION if has_file else CONFIG)
    samples = bool(stated.get("do_sample"))
    for name, values in (_WITHOUT_EFFECT | (_SAMPLING_WITHOUT_EFFECT if samples else {})).items():
        value = stated.get(name)
        must = " or ".join(["left out", *map(str, values)])
        check_value(value is None or value in values, name, must=must, value=short(value), where=where)
    names = {**_SEARCH, **(_SAMPLING if samples else {})}
    search = {ours: tuples(stated[theirs]) for theirs, ours in names.items() if stated.get(theirs) is not None}
    if samples and search.setdefault("top_k", _TOP_K) == 0:
        del search["top_k"]  # among all
    prompt = config.get("prompt", prompt)
    return {"prompt": prompt, **search} if prompt else search


def read_generation(files: ModelFiles) -> Mapping[str, Any]:
    """Return the content of `generation_config.json`; empty where there is none."""
    return files.json(GENERATION) if files.has(GENERATION) else {}


def first_stated(stated: Sequence[Mapping[str, Any]], *names: str, default: int) -> Any:
    """Return the first value that is not null of these objects, in each by the first of these names."""
    return next((one[name] for one in stated for name in names if one.get(name) is not None), default)


def _in_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the decoding options in a `config.json`, as directories without `generation_config.json` have them.

    What the model leaves at transformers' default is taken from the decoder's part.

    Source: transformers, `GenerationConfig.from_model_config`.
    """
    parts = (config.get(name) for name in ("decoder", "text_config"))
    part = next((one for one in parts if isinstance(one, Mapping)), {})
    names = (*_SEARCH, *_SAMPLING, *_WITHOUT_EFFECT, *_SAMPLING_WITHOUT_EFFECT)
    stated = {name: value for name in names if (value := config.get(name)) is not None and value != _DEFAULTS.get(name)}
    return {name: part[name] for name in names if part.get(name) is not None} | stated


def describe_text(
    bundle: ModelBundle, decoder: TextDecoderConfig, layout: str, *, elsewhere: str = "prompt"
) -> dict[str, dict[str, Any]]:
    """Return the files about the vocabulary and the decoding.

    Args:
        bundle: What is written.
        decoder: The configuration of its decoder.
        layout: The layout's name.
        elsewhere: The key of `decoding` that the caller writes to another file.

    Raises:
        ModelError: The layout has no word for a decoding option.
    """
    words = {ours: theirs for theirs, ours in (_SEARCH | _SAMPLING).items()}
    if lacking := sorted(bundle.decoding.keys() - words.keys() - {elsewhere}):
        raise ModelError(f"the {layout} layout has no place for `{lacking[0]}` of the bundle's `decoding`")
    files = describe_vocabulary(bundle.vocabulary, decoder)
    files[GENERATION] |= {words[ours]: value for ours, value in bundle.decoding.items() if ours in words}
    if bundle.decoding.get("sample") and bundle.decoding.get("top_k") is None:
        files[GENERATION]["top_k"] = 0  # among all: where nothing is stated, transformers draws among 50
    return files


def describe_vocabulary(tokenizer: Tokenizer, decoder: TextDecoderConfig) -> dict[str, dict[str, Any]]:
    """Return the files about the vocabulary of a decoder, and its special tokens."""
    vocabulary = json.loads(tokenizer.to_json())
    names = {token["id"]: token["content"] for token in vocabulary["added_tokens"]}
    # BLIP's [DEC] often has no name
    roles = {"bos_token": decoder.start_token, "eos_token": decoder.end_token, "pad_token": decoder.pad_token}
    generation: dict[str, Any] = {
        "decoder_start_token_id": decoder.start_token,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "pad_token_id": decoder.pad_token,
    }
    return {
        TOKENIZER: vocabulary,
        **_tokenizer_config(**{role: names[token] for role, token in roles.items() if token in names}),
        GENERATION: generation,
    }


def around_questions(tokenizer: Tokenizer, start: int | None, end: int, layout: str) -> dict[str, Any]:
    """Return a `tokenizer.json` with which transformers too puts these tokens around a text; no `start` where None.

    Raises:
        ModelError: One of the tokens has no name.
    """
    tokens = {"end_token": end} if start is None else {"start_token": start, "end_token": end}
    names = [token_name(tokenizer, role, token, layout) for role, token in tokens.items()]
    *opening, closing = ({"SpecialToken": {"id": name, "type_id": 0}} for name in names)
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    around = {
        "type": "TemplateProcessing",
        "single": [*opening, first, closing],
        "pair": [first, second],
        "special_tokens": {
            name: {"id": name, "ids": [token], "tokens": [name]}
            for name, token in zip(names, tokens.values(), strict=True)
        },
    }
    return {**json.loads(tokenizer.to_json()), "post_processor": around}


def token_name(tokenizer: Tokenizer, role: str, token: int, layout: str) -> str:
    """Return the name of a special token in the vocabulary.

    Raises:
        ModelError: It has no name.
    """
    if (name := tokenizer.name_of(token)) is None:
        raise ModelError(f"the {layout} layout needs a name for `{role}` ({token}), but the vocabulary has none")
    return name
