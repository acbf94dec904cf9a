"""`reading` turns whatever a library raises into one line that names the file."""

import pytest

from multiattn.errors import InputError, ModelError, brief, reading


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (ValueError("line 1\n  line\x1b 2."), r"line 1 line\? 2"),
        (RecursionError(), "it is nested too deeply"),
        (MemoryError(), "it needs more memory than there is"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 500), "x{200}[.]{3}"),
    ],
)
def test_foreign_errors_become_one_line(raised: Exception, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^`a` must be a table, but is damaged or unusual instead \({reason}\)[.]"):
        with reading("`a`", "a table"):
            raise raised


def test_an_error_of_the_system_gives_its_reason() -> None:
    with pytest.raises(ModelError, match="^`a` must be a readable file, but opening it fails instead: Not a directory"):
        with reading("`a`", "a table", error=ModelError):
            raise NotADirectoryError(20, "Not a directory")


def test_a_panic_of_a_library_in_rust_is_an_error_of_the_file() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(InputError, match="^`a` must be a table, but is .* instead .index out of bounds"):
        with reading("`a`", "a table"):
            raise panic("index out of bounds")


def test_our_own_errors_and_ctrl_c_pass() -> None:
    for raised in (InputError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(raised)) as got:
            with reading("`a`", "a table", error=ModelError):
                raise raised
        assert got.value is raised


def test_a_message_that_repeats_a_file_is_cut_to_a_line() -> None:
    assert brief("one line  with two spaces") == "one line  with two spaces"
    assert brief("two\nlines") == "two lines"
    long = brief("a" * 5000 + "b" * 5000)
    assert (len(long), long[:700], long[-300:]) == (1005, "a" * 700, "b" * 300)
