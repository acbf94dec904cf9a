"""One grammar for options that are out of range, unknown or of another kind."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, get_origin, get_type_hints

from multiattn.errors import ModelError, MultiattnError
from multiattn.weights.field_kinds import fits, name_of


def require(holds: bool, name: str, *, must: str, value: object, error: type[MultiattnError] = ModelError) -> None:
    """Raise unless the option `name` with `value` is what it `must` be.

    Raises:
        MultiattnError: In the class `error`.
    """
    if not holds:
        raise error(f"`{name}` must be {must}, but is {value!r} instead.")


def require_fields(values: Mapping[str, Any], config: type, name: str, *, but: Sequence[str] = ()) -> None:
    """Raise unless the option `name` has only fields of the dataclass `config`, of the kinds that it says.

    A field that is one of several words is left to the dataclass, whose message names them.

    Args:
        values: Of the option.
        config: Whose fields it may have.
        name: Of the option.
        but: Fields that somebody else decides about.

    Raises:
        ModelError: A field is unknown, or of another kind.
    """
    kinds = get_type_hints(config)
    known = [field.name for field in fields(config) if field.name not in but]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ModelError(f"`{name}` must be among {', '.join(known)}, but has {', '.join(unknown)} instead.")
    for field, value in values.items():
        if get_origin(kinds[field]) is not Literal and not fits(value, kinds[field]):
            raise ModelError(f"`{name}.{field}` must be {name_of(kinds[field])}, but is {value!r} instead.")


def require_every_gradient(trainer: Any, *, unfreeze_epoch: int) -> None:
    """Raise unless each weight has a gradient in every step, or a training of several processes does not mind.

    Args:
        trainer: Lightning's.
        unfreeze_epoch: Before which an encoder has none.

    Raises:
        ModelError: The processes would wait for them, and stop with an error of torch's.
    """
    forgiving = getattr(trainer.strategy, "_ddp_kwargs", {}).get("find_unused_parameters")
    if trainer.world_size > 1 and unfreeze_epoch and not forgiving:
        raise ModelError(
            "`unfreeze_epoch` must be 0 with several processes that wait for every gradient, but is "
            f"{unfreeze_epoch} instead. Or set `trainer.strategy` to ddp_find_unused_parameters_true."
        )
