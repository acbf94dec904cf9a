"""The options of a generation and its result."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from ..checks import require
from ..errors import ModelError

MOST_BEAMS = 1000
"""Time and memory grow with the beams, and more than a few hardly find better texts."""


@dataclass(frozen=True)
class GenerationConfig:
    """The options of a generation. The default is greedy: the likeliest token at each step."""

    max_tokens: int = 30
    """The longest text, in new tokens, the end token included."""

    min_tokens: int = 0
    """The shortest text, in new tokens, the end token not included."""

    num_beams: int = 1
    """Texts that a beam search keeps for each item of the batch, at most `MOST_BEAMS`; 1 means no beam search."""

    num_return_sequences: int = 1
    """Texts to return for each item of the batch: samples, or the best of the beams."""

    length_penalty: int | float = 1.0
    """A text's log-probability is divided by the number of its new tokens to this power; 0 leaves it unchanged."""

    early_stopping: bool | Literal["never"] = False
    """When a beam search with as many finished texts as beams ends. True: at once. False: when the best running text,
    at its present length, is no better than the worst finished one. "never": when it is no better at the greatest
    length either, so that with a length penalty above 0 no longer text is missed."""

    patience: int | float | None = None
    """Whisper's search: it ends when this many times `num_beams` texts are finished, and returns the best of them.
    None: it ends as `early_stopping` says, and better texts replace worse ones. At least 1.
    Source: Kasai et al. 2022, "A Call for Clarity in Beam Search"."""

    renormalize: bool = False
    """Compare texts by token probabilities that are normalized over the allowed tokens, as Whisper does. False: a beam
    search leaves forbidden tokens their share of the probability, and samples are compared by the model's own."""

    count_end: bool = True
    """Count the end token in the length that a text's log-probability is divided by."""

    sample: bool = False
    """Draw each token at random instead of searching for the likeliest text."""

    temperature: int | float = 1.0
    """Divides the logits before sampling: below 1 favors likely tokens, above 1 spreads."""

    top_k: int | None = None
    """Sample among this many of the likeliest tokens; among all where None."""

    top_p: int | float | None = None
    """Sample among the fewest likeliest tokens that together have this share of the probability; all where None."""

    repetition_penalty: int | float = 1.0
    """Above 1 lowers the scores of tokens that are in the text already, prompt included: negative ones are multiplied
    by it, positive ones divided."""

    no_repeat_ngram: int = 0
    """Length of token sequences that may not occur twice, prompt included; 0 for no such rule."""

    suppress: tuple[int, ...] = ()
    """Tokens that are never generated."""

    suppress_first: tuple[int, ...] = ()
    """Tokens that are not generated first."""

    forced: tuple[tuple[int, int], ...] = ()
    """Pairs of a position among the new tokens, from 0, and the token that must be there, whatever the other options
    say. A forced token does not change the score by which beams are compared."""

    @classmethod
    def from_decoding(
        cls,
        decoding: Mapping[str, Any],
        *,
        beside: Collection[str] = (),
        defaults: Mapping[str, Any] = MappingProxyType({}),
        asked: Mapping[str, Any] = MappingProxyType({}),
        source: str = "",
    ) -> "GenerationConfig":
        """Merge what a caller asks for, over the `decoding` of a model, over the defaults of a task.

        Args:
            decoding: From a model's directory, or from a training configuration.
            beside: Keys that `decoding` may have which are no fields here, as `TaskSpec.not_generation` names them.
            defaults: Fields for which the task has another default than this class.
            asked: From the caller of a pipeline. None means not asked for; keys that are no fields here are ignored. A
                `max_tokens` lowers a `min_tokens` of the model's that is above it, but not one that is asked for.
            source: See `stated_options`.

        Raises:
            ModelError: `decoding` has an unknown key, or a value is out of range or does not fit another.
        """
        wanted = {name: value for name, value in asked.items() if name in _field_names() and value is not None}
        values = {**defaults, **stated_options(decoding, beside=beside, source=source), **wanted}
        if "max_tokens" in wanted and "min_tokens" not in wanted and type(wanted["max_tokens"]) is int:
            values["min_tokens"] = min(values.get("min_tokens", 0), wanted["max_tokens"])
        return cls(**values)

    def __post_init__(self) -> None:
        """Check the fields, each by itself and against each other.

        Raises:
            ModelError: A value is out of range or does not fit another; the message names the field.
        """
        for name, least in _WHOLE.items():
            self._check(name, lambda value: type(value) is int, "a whole number")
            self._check(name, least.__le__, f"at least {least}")
        self._check("num_beams", lambda value: value <= MOST_BEAMS, f"at most {MOST_BEAMS}")
        for name, (fits, rule) in _NUMBERS.items():
            self._check(name, lambda value: type(value) in (int, float), "a number")
            self._check(name, fits, rule)
        for name in ("sample", "renormalize", "count_end"):
            self._check(name, lambda value: type(value) is bool, "True or False")
        self._check("early_stopping", lambda value: value == "never" or type(value) is bool, 'True, False or "never"')
        for name in ("suppress", "suppress_first"):
            self._check(name, _are_tokens, "tokens, whole numbers from 0")
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON and YAML have lists
        self._check_forced()
        self._check("min_tokens", lambda value: value <= self.max_tokens, f"at most `max_tokens` ({self.max_tokens})")
        if self.sample:
            self._check("num_beams", lambda value: value == 1, "1 with `sample`: a text is sampled or searched for")
        else:
            rule = f"at most `num_beams` ({self.num_beams}) without `sample`"
            self._check("num_return_sequences", lambda value: value <= self.num_beams, rule)

    def check_vocabulary(self, size: int) -> None:
        """Check that the tokens which options name are of a vocabulary of this size.

        Raises:
            ModelError: One is not.
        """
        named = {"suppress": self.suppress, "suppress_first": self.suppress_first}
        for name, tokens in {**named, "forced": tuple(token for _, token in self.forced)}.items():
            if unknown := [token for token in tokens if token >= size]:
                raise ModelError(
                    f"`{name}` must name tokens of the model's vocabulary, from 0 to {size - 1}, but names "
                    f"{unknown[0]} instead"
                )

    def _check(self, name: str, fits: Callable[[Any], bool], rule: str) -> None:
        value = getattr(self, name)
        if value is not None or name not in _OPTIONAL:
            require(fits(value), name, must=rule, value=value)

    def _check_forced(self) -> None:
        rule = "pairs of a position and a token, whole numbers from 0"
        require(isinstance(self.forced, list | tuple), "forced", must=rule, value=self.forced)
        for pair in self.forced:
            require(_are_tokens(pair) and len(pair) == 2, "forced", must=rule, value=pair)
        pairs = tuple((position, token) for position, token in self.forced)
        require(len(dict(pairs)) == len(pairs), "forced", must="of one token for a position", value=self.forced)
        object.__setattr__(self, "forced", pairs)


_WHOLE = {
    "max_tokens": 1,
    "min_tokens": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "no_repeat_ngram": 0,
    "top_k": 1,
}
"""The fields that are whole numbers, and the least value of each."""

_NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda value: 0 < value < math.inf, "above 0 and finite"),
    "repetition_penalty": (lambda value: 0 < value < math.inf, "above 0 and finite"),
    "length_penalty": (lambda value: -10 <= value <= 10, "from -10 to 10"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "patience": (lambda value: 1 <= value < math.inf, "at least 1 and finite"),
}
_OPTIONAL = ("top_k", "top_p", "patience")  # may be None


def _are_tokens(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(type(value) is int and value >= 0 for value in values)


def stated_options(decoding: Mapping[str, Any], *, beside: Collection[str] = (), source: str = "") -> dict[str, Any]:
    """Return the fields of `GenerationConfig` that a `decoding` states.

    Args:
        decoding: From a model's directory, or from a training configuration.
        beside: Keys that it may have which are no fields.
        source: The model that `decoding` belongs to, for messages. The stated fields must then be valid by themselves;
            with "", which is for a training configuration, they are checked only when the configuration is made.

    Raises:
        ModelError: A key is unknown, or the values cannot be used.
    """
    known = [*_field_names(), *beside]
    if unknown := sorted(decoding.keys() - set(known)):
        if source:
            raise ModelError(f"{source}: `decoding` must hold known options, but holds {unknown[0]!r} instead")
        raise ModelError(f"`decoding` must be among {', '.join(known)}, but has {', '.join(unknown)} instead.")
    stated = {name: value for name, value in decoding.items() if name not in beside}
    if source:
        try:
            GenerationConfig(**stated)
        except ModelError as error:
            raise ModelError(f"{source}: `decoding` cannot be used: {error}") from error
    return stated


def _field_names() -> tuple[str, ...]:
    return tuple(field.name for field in fields(GenerationConfig))


@dataclass(frozen=True)
class Generated:
    """A generated text."""

    tokens: tuple[int, ...]
    """The new tokens, without the prompt and the end token."""

    log_probs: tuple[float, ...]
    """The model's own natural log-probability of each new token, before logits processors and temperature; the last is
    that of the end token, if the text has one."""

    score: float
    """The value by which texts are compared: the sum of the log-probabilities over their number to the power of the
    length penalty. With a beam search or `renormalize`, the log-probabilities are those after the logits processors."""

    finished: bool
    """Whether the text is complete, and not cut off."""


def normalized(total: float, count: int, length_penalty: int | float) -> float:
    """Return the score of a text with `count` new tokens, whose log-probabilities add up to `total`."""
    return total / math.pow(max(count, 1), length_penalty)
