"""What is asked of a decode, and what comes of it."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from ..errors import ModelError

MOST_BEAMS = 1000
"""Time and memory grow with them, and beyond a few nothing better is found."""


@dataclass(frozen=True)
class GenerationConfig:
    """How a text is found. The default is greedy: at each step the likeliest token."""

    max_tokens: int = 30
    """The longest text, in new tokens, the end token included."""

    min_tokens: int = 0
    """The shortest text, in new tokens, the end token not included."""

    num_beams: int = 1
    """Texts that a beam search keeps of each item, at most `MOST_BEAMS`; 1 is no beam search."""

    num_return_sequences: int = 1
    """Texts to give for each item: so many samples, or the best of the beams."""

    length_penalty: int | float = 1.0
    """A text's log-probability is divided by the number of its new tokens to this power; 0 leaves it as it is."""

    early_stopping: bool | Literal["never"] = False
    """When a beam search with as many finished texts as beams ends: at once (True); when the best running one, at the
    length it has, is no better than the worst of them (False); or when it is no better at the longest length either
    ("never": with a length penalty above 0, no better text is missed for being longer)."""

    patience: int | float | None = None
    """A beam search ends when this many times `num_beams` texts have ended, and these are all it knows: Whisper's search.
    None: it ends as `early_stopping` says, and better texts take the place of worse ones. At least 1.
    Source: Kasai et al. 2022, "A Call for Clarity in Beam Search"."""

    renormalize: bool = False
    """Whether texts are compared by the probabilities of their tokens among those that the constraints left, as Whisper
    does it. False: a beam search lets what is forbidden keep its share, and samples by what the model itself says."""

    count_end: bool = True
    """Whether the end token counts in the length that a text's log-probability is divided by."""

    sample: bool = False
    """Draw each token at random, and do not search for the likeliest text."""

    temperature: int | float = 1.0
    """Scores are divided by it before sampling: below 1 keeps to likely tokens, above 1 spreads."""

    top_k: int | None = None
    """Sample among so many of the likeliest tokens; all where None."""

    top_p: int | float | None = None
    """Sample among the fewest likeliest tokens that have this share of the probability together; all where None."""

    repetition_penalty: int | float = 1.0
    """Above 1, tokens that are in the text already, prompt included, lose score: times this where it is negative,
    divided by it where it is positive."""

    no_repeat_ngram: int = 0
    """So many tokens in a row occur once at most, prompt included; 0 for no such rule."""

    suppress: tuple[int, ...] = ()
    """Tokens that are never written."""

    suppress_first: tuple[int, ...] = ()
    """Tokens that are not written first."""

    forced: tuple[tuple[int, int], ...] = ()
    """Places among the new tokens, from 0, and the token that is to stand there, whatever else is asked. It costs
    nothing in the score by which beams are compared."""

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
                `max_tokens` lowers a `min_tokens` of the model's that is above it.
            source: See `stated_options`.

        Raises:
            ModelError: `decoding` has an unknown key, or a value is out of range or does not fit another.
        """
        wanted = {name: value for name, value in asked.items() if name in _field_names() and value is not None}
        values = {**defaults, **stated_options(decoding, beside=beside, source=source), **wanted}
        if "max_tokens" in wanted and type(wanted["max_tokens"]) is int:
            values["min_tokens"] = min(values.get("min_tokens", 0), wanted["max_tokens"])
        return cls(**values)

    def __post_init__(self) -> None:
        """Check that a decode can be so.

        Raises:
            ModelError: It cannot; the message names the option.
        """
        for name, least in (("max_tokens", 1), ("min_tokens", 0), ("num_beams", 1), ("num_return_sequences", 1)):
            self._whole(name, least)
        if self.num_beams > MOST_BEAMS:
            raise _refused("num_beams", f"at most {MOST_BEAMS}", self.num_beams)
        self._whole("no_repeat_ngram", 0)
        if self.top_k is not None:
            self._whole("top_k", 1)
        for name in ("temperature", "repetition_penalty"):
            self._number(name, lambda value: 0 < value < math.inf, "above 0 and finite")
        self._number("length_penalty", lambda value: -10 <= value <= 10, "from -10 to 10")
        if self.top_p is not None:
            self._number("top_p", lambda value: 0 < value <= 1, "above 0 and at most 1")
        if self.patience is not None:
            self._number("patience", lambda value: 1 <= value < math.inf, "at least 1 and finite")
        for name in ("sample", "renormalize", "count_end"):
            if type(getattr(self, name)) is not bool:
                raise _refused(name, "True or False", getattr(self, name))
        if self.early_stopping != "never" and type(self.early_stopping) is not bool:
            raise _refused("early_stopping", 'True, False or "never"', self.early_stopping)
        for name in ("suppress", "suppress_first"):
            self._tokens(name)
        self._forced()
        if self.min_tokens > self.max_tokens:
            raise _refused("min_tokens", f"at most `max_tokens` ({self.max_tokens})", self.min_tokens)
        if self.sample and self.num_beams > 1:
            raise _refused("num_beams", "1 with `sample`: a text is sampled or searched for", self.num_beams)
        if not self.sample and self.num_return_sequences > self.num_beams:
            raise _refused(
                "num_return_sequences",
                f"at most `num_beams` ({self.num_beams}) without `sample`",
                self.num_return_sequences,
            )

    def _whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if type(value) is not int:
            raise _refused(name, "a whole number", value)
        if value < least:
            raise _refused(name, f"at least {least}", value)

    def _number(self, name: str, fits: Callable[[float], bool], rule: str) -> None:
        value = getattr(self, name)
        if type(value) not in (int, float):
            raise _refused(name, "a number", value)
        if not fits(value):
            raise _refused(name, rule, value)

    def _tokens(self, name: str) -> None:
        value = getattr(self, name)
        # JSON and YAML have lists
        tokens = tuple(value) if isinstance(value, list | tuple) else None
        if tokens is None or not _are_whole(tokens):
            raise _refused(name, "tokens, whole numbers from 0", value)
        object.__setattr__(self, name, tokens)

    def _forced(self) -> None:
        rule = "pairs of a place and a token, whole numbers from 0"
        if not isinstance(self.forced, list | tuple):
            raise _refused("forced", rule, self.forced)
        for pair in self.forced:
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not _are_whole(pair):
                raise _refused("forced", rule, pair)
        places = [place for place, _ in self.forced]
        if len(set(places)) < len(places):
            raise _refused("forced", "of one token for a place", self.forced)
        object.__setattr__(self, "forced", tuple((place, token) for place, token in self.forced))


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
    """A text that was found."""

    tokens: tuple[int, ...]
    """The new ones: no prompt, and no end token."""

    log_probs: tuple[float, ...]
    """What the model itself gives each new token, natural logarithm, whatever was forbidden or penalized, and whatever
    the temperature; the end token's is the last, where the text has one."""

    score: float
    """What texts are compared by: the sum of the log-probabilities over their number to the power of the length
    penalty. Of a beam search, or renormalized, the log-probabilities are those that constraints left."""

    finished: bool
    """Whether it came to its end, and was not cut off."""


def normalized(total: float, count: int, length_penalty: int | float) -> float:
    """The score of a text with so many new tokens, whose log-probabilities have this sum."""
    return total / math.pow(max(count, 1), length_penalty)


def _are_whole(values: Iterable[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _refused(name: str, rule: str, value: object) -> ModelError:
    return ModelError(f"`{name}` must be {rule}, but is {value!r} instead")
