"""The errors that a user can cause, a warning, and the one helper that turns a library's errors into them.

Each message names the subject, the reason and, where there is one, the remedy.
"""

import errno
import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PANIC = "PanicException"  # of libraries in Rust, such as `tokenizers`; it is no `Exception`
_LONGEST = 200  # characters of a library's own words in a message; some print what they read


class MultiattnError(ValueError):
    """The base class: the command line prints such an error as one line and exits with status 1."""


class InputError(MultiattnError):
    """A file, a picture, a recording or a data set cannot be used."""


class WrongKindError(InputError):
    """A file is of another kind than the one that is read: no picture, or no recording."""


class TooLargeError(InputError):
    """A file has more pixels, seconds or bytes than are allowed."""


class ModelError(MultiattnError):
    """A model, its directory, its configuration or an option for it cannot be used."""


class MultiattnWarning(UserWarning):
    """What a caller should know about what was asked for; the command line prints it as one line."""


@contextmanager
def reading(
    name: str, must: str, *, mend: str = "Fetch or export it again.", error: type[MultiattnError] = InputError
) -> Iterator[None]:
    """Read a file in the body; whatever a library raises there becomes one line that names the file.

    A file may hold anything, and its decoder may raise nearly anything: no list of types is complete. This stands
    around every call that reads a file's content. Our own errors pass as they are, and so do Ctrl-C and the like.

    Args:
        name: The file, as messages name it.
        must: What it must be, as the message words it after "must be".
        mend: What the user can do.
        error: The class of the error.

    Raises:
        MultiattnError: Of the class `error`; something was raised in the body.
    """
    try:
        yield
    except MultiattnError:
        raise
    except BaseException as raised:
        if not isinstance(raised, Exception) and type(raised).__name__ != _PANIC:
            raise
        # EINVAL: a decoder seeks to where the content sends it, such as before the start
        if isinstance(raised, OSError) and raised.errno not in (None, errno.EINVAL):
            raise error(
                f"{name} must be a readable file, but opening it fails instead: {raised.strerror or reason_of(raised)}."
            ) from raised
        raise error(
            f"{name} must be {must}, but is damaged or unusual instead ({reason_of(raised)}). {mend}".rstrip()
        ) from raised


def brief(message: str) -> str:
    """Return a message on one line that a person can read, whatever it repeats of a file."""
    line = " ".join(message.split()) if "\n" in message else message
    return line if len(line) <= 1000 else f"{line[:700]} ... {line[-300:]}"


def reason_of(raised: BaseException) -> str:
    """Return a library's error as one short line without characters that control a terminal."""
    if isinstance(raised, MemoryError):
        return "it needs more memory than there is"
    if isinstance(raised, RecursionError):
        return "it is nested too deeply"
    is_key = isinstance(raised, KeyError) and raised.args  # whose text is the key alone
    words = " ".join(f"it lacks {raised}".split() if is_key else str(raised).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in words).rstrip(".")
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return text or type(raised).__name__


def portable(error: BaseException) -> BaseException:
    """Return an error that another process can read, with where it was raised."""
    told = "".join(traceback.format_exception(error))
    with suppress(Exception):
        error.add_note(told)
        pickle.loads(pickle.dumps(error))
        return error
    return RuntimeError(told)
