"""One grammar for options that are out of range."""

from multiattn.errors import ModelError, MultiattnError


def require(holds: bool, name: str, *, must: str, value: object, error: type[MultiattnError] = ModelError) -> None:
    """Raise unless the option `name` with `value` is what it `must` be.

    Raises:
        MultiattnError: In the class `error`.
    """
    if not holds:
        raise error(f"`{name}` must be {must}, but is {value!r} instead.")
