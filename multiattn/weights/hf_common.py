"""What the layouts of transformers have in common: the words for activations, vocabularies and decoding."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..inputs import Tokenizer
from ..models.text_decoder import TextDecoderConfig
from ..models.text_stack import TextConfig
from .bundle import TOKENIZER, ModelBundle
from .checks import check_vocabulary
from .json_files import read_json
from .own import tuples

GENERATION = "generation_config.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
VISION, TEXT, QUESTION = "vision encoder", "text decoder", "question encoder"
"""What messages call a model's parts."""

# theirs to ours; where two of theirs mean one of ours, the first is written
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "gelu_quick",
}

# of a text that is read: a token's role in our configuration, what BERT's tokenizer calls the role, and the token that
# has it by default
_ROLES = {
    "start_token": ("cls_token", "[CLS]"),
    "end_token": ("sep_token", "[SEP]"),
    "pad_token": ("pad_token", "[PAD]"),
}

# of a decode, theirs to ours; the second group says nothing unless the first of it is true
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


def read_activation(theirs: str, name: str, *, where: str) -> str:
    """Our word for an activation, which stands in the field `name`."""
    if theirs not in _ACTIVATIONS:
        raise ModelError(f"{where}: `{name}` must be one of {', '.join(_ACTIVATIONS)}, but is {theirs} instead")
    return _ACTIVATIONS[theirs]


def write_activation(ours: str) -> str:
    """Their word for an activation."""
    return {name: theirs for theirs, name in reversed(_ACTIVATIONS.items())}[ours]


def check_fixed(
    config: Any, fixed: Mapping[str, Any], layout: str, *, of: str = "", instead: str = "multiattn"
) -> None:
    """Make sure that a configuration of ours has these values, for which a layout has no words.

    Args:
        config: Has the fields.
        fixed: The fields, and the only value that the layout knows of each.
        layout: Its name.
        of: The part of the model that is configured, where it has several.
        instead: The layouts that have words for other values.

    Raises:
        ModelError: It has not; the message names the field.
    """
    for field, wanted in fixed.items():
        value = getattr(config, field)
        if value != wanted:
            raise ModelError(
                f"the {layout} layout needs `{field}`{of and f' of the {of}'} to be {wanted!r}, but it is "
                f"{value!r} instead, which it has no way to say: choose the layout {instead}"
            )


def require(config: Mapping[str, Any], name: str, *, where: str) -> Any:
    """A value that must be stated, because a default would load and be wrong: the number of heads is in no tensor.

    Raises:
        ModelError: It is not there.
    """
    if config.get(name) is None:
        raise ModelError(f"{where}: `{name}` must be stated, but is missing: add it to the file")
    return config[name]


def read_tokenizer(directory: Path, vocab_size: int) -> Tokenizer:
    """The vocabulary that lies in a directory.

    Raises:
        ModelError: There is none, or it does not fit weights for a vocabulary of that size.
    """
    tokenizer = Tokenizer.load(directory)
    check_vocabulary(tokenizer, vocab_size, where=str(directory))
    return tokenizer


def read_roles(directory: Path, tokenizer: Tokenizer) -> dict[str, int]:
    """The tokens that a text begins and ends with, and is filled up with, as BERT's tokenizer has them.

    Raises:
        ModelError: The vocabulary lacks one.
    """
    path = directory / _TOKENIZER_CONFIG
    stated = read_json(path) if path.is_file() else {}
    found = {}
    for ours, (theirs, default) in _ROLES.items():
        name = stated.get(theirs) or default
        name = name["content"] if isinstance(name, Mapping) else name  # as an older tokenizer writes it
        token = tokenizer.id_of(name)
        if token is None:
            raise ModelError(
                f"{directory} has a vocabulary without {name!r}, which is its `{theirs}`: "
                "put the model's own vocabulary beside it"
            )
        found[ours] = token
    return found


def describe_roles(bundle: ModelBundle, config: TextConfig, layout: str) -> dict[str, dict[str, Any]]:
    """The inverse of `read_roles`: the file that says them.

    Raises:
        ModelError: One of the tokens has no name.
    """
    return _tokenizer_config(
        model_max_length=config.max_length,
        **{theirs: token_name(bundle, ours, getattr(config, ours), layout) for ours, (theirs, _) in _ROLES.items()},
    )


def _tokenizer_config(**said: Any) -> dict[str, dict[str, Any]]:
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    return {_TOKENIZER_CONFIG: {**plain, **said}}


def read_decoding(directory: Path, config: Mapping[str, Any], *, prompt: str = "") -> dict[str, Any]:
    """How the model is to write, where the directory says so.

    Args:
        directory: Of the model.
        config: Its `config.json`, in which the prompt stands: a key of ours, for transformers leaves it to the caller.
        prompt: Where it does not stand there.
    """
    path = directory / GENERATION
    stated = read_json(path) if path.is_file() else {}
    names = {**_SEARCH, **(_SAMPLING if stated.get("do_sample") else {})}
    search = {ours: tuples(stated[theirs]) for theirs, ours in names.items() if stated.get(theirs) is not None}
    prompt = config.get("prompt", prompt)
    return {"prompt": prompt, **search} if prompt else search


def describe_text(
    bundle: ModelBundle, decoder: TextDecoderConfig, layout: str, *, elsewhere: str = "prompt"
) -> dict[str, dict[str, Any]]:
    """The files about the vocabulary and the decoding.

    Args:
        bundle: What is written.
        decoder: Of its model.
        layout: Its name.
        elsewhere: What `decoding` may say that the caller writes.

    Raises:
        ModelError: There is no word for something that the model does when it writes.
    """
    words = {ours: theirs for theirs, ours in (_SEARCH | _SAMPLING).items()}
    if lacking := sorted(bundle.decoding.keys() - words.keys() - {elsewhere}):
        raise ModelError(f"the {layout} layout has no place for `{lacking[0]}` of the bundle's `decoding`")
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    vocabulary = json.loads(bundle.tokenizer.to_json())
    names = {token["id"]: token["content"] for token in vocabulary["added_tokens"]}
    # the roles whose token has a name: BLIP's [DEC] often has none
    roles = {"bos_token": decoder.start_token, "eos_token": decoder.end_token, "pad_token": decoder.pad_token}
    generation: dict[str, Any] = {
        "decoder_start_token_id": decoder.start_token,
        "bos_token_id": decoder.start_token,
        "eos_token_id": decoder.end_token,
        "pad_token_id": decoder.pad_token,
    }
    generation |= {words[ours]: value for ours, value in bundle.decoding.items() if ours in words}
    return {
        TOKENIZER: vocabulary,
        **_tokenizer_config(**{role: names[token] for role, token in roles.items() if token in names}),
        GENERATION: generation,
    }


def around_questions(bundle: ModelBundle, start: int, end: int, layout: str) -> dict[str, Any]:
    """The `tokenizer.json` of a model that reads questions, with which transformers too puts these tokens around them.

    Raises:
        ModelError: One of the tokens has no name.
    """
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    tokens = {"start_token": start, "end_token": end}
    names = [token_name(bundle, role, token, layout) for role, token in tokens.items()]
    opening, closing = ({"SpecialToken": {"id": name, "type_id": 0}} for name in names)
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    around = {
        "type": "TemplateProcessing",
        "single": [opening, first, closing],
        "pair": [first, second],
        "special_tokens": {
            name: {"id": name, "ids": [token], "tokens": [name]}
            for name, token in zip(names, tokens.values(), strict=True)
        },
    }
    return {**json.loads(bundle.tokenizer.to_json()), "post_processor": around}


def token_name(bundle: ModelBundle, role: str, token: int, layout: str) -> str:
    """What the vocabulary calls a token with a role.

    Raises:
        ModelError: It has no name.
    """
    assert bundle.tokenizer is not None  # `save_bundle` has made sure
    if (name := bundle.tokenizer.name_of(token)) is None:
        raise ModelError(f"the {layout} layout needs a name for `{role}` ({token}), but the vocabulary has none")
    return name
