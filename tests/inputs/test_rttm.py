from pathlib import Path

import pytest

from multiattn.errors import InputError
from multiattn.inputs.rttm import Turn, read_rttm, turns_of

GOOD = """\
;; a comment
SPKR-INFO talk 1 <NA> <NA> <NA> unknown Ann <NA> <NA>
SPEAKER talk 1 2.50 1.25 <NA> <NA> Bob <NA> <NA>

SPEAKER talk 1 0 2.5 <NA> <NA> Ann <NA> <NA>
SPEAKER other 1 1e1 0.5 <NA> <NA> Zoë <NA>
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_turns_of_each_recording_come_by_their_start(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "all.rttm"
    path.write_text(GOOD, encoding=encoding)
    found = read_rttm(path)
    assert found == {
        "talk": (Turn(0.0, 2.5, "Ann"), Turn(2.5, 3.75, "Bob")),
        "other": (Turn(10.0, 10.5, "Zoë"),),
    }
    assert turns_of(found, "talk", source="all.rttm", is_only=False) == found["talk"]
    with pytest.raises(InputError, match=r"^all.rttm must have the turns of 'x', but has those of talk, other instead"):
        turns_of(found, "x", source="all.rttm", is_only=True)


def test_turns_of_a_single_recording_are_taken_whatever_its_name() -> None:
    one = {"take 1": (Turn(0.0, 1.0, "Ann"),)}
    assert turns_of(one, "x", source="f", is_only=True) == one["take 1"]
    with pytest.raises(InputError, match="must have the turns of 'x'"):
        turns_of(one, "x", source="f", is_only=False)


@pytest.mark.parametrize(
    "line, reason",
    [
        ("SPEAKER talk 1 0 2.5 <NA> <NA> Ann Lee <NA> <NA>", "must have 10 fields .* but has 11 instead"),
        ("SPEAKER talk 1 0", "must have 10 fields .* but has 4 instead"),
        ("SPEAKER talk 1 -1 2.5 <NA> <NA> Ann <NA> <NA>", "must have seconds of at least 0 as its start, but has '-1'"),
        ("SPEAKER talk 1 0 inf <NA> <NA> Ann <NA> <NA>", "must have seconds of at least 0 as its duration, but has"),
        ("SPEAKER talk 1 0 0.0 <NA> <NA> Ann <NA> <NA>", "must have a duration above 0, but has '0.0' instead"),
        ("SPEAKER talk 1 0 1 <NA> <NA> <NA> <NA> <NA>", "must name its speaker in field 8"),
        ("1 00:00:01,000 --> 00:00:02,000", "must begin with SPEAKER, or another type of RTTM, but has '1' instead"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "bad.rttm"
    path.write_text(f"{GOOD}{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"bad\.rttm, line 7, {reason}"):
        read_rttm(path)


def test_files_that_hold_no_turns(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.rttm", tmp_path / "binary.rttm"
    empty.write_text(";; nobody\n")
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must have at least one SPEAKER line"):
        read_rttm(empty)
    with pytest.raises(InputError, match="binary.rttm must be an RTTM file in UTF-8"):
        read_rttm(binary)
    with pytest.raises(InputError, match="none.rttm must be an RTTM file, but does not exist"):
        read_rttm(tmp_path / "none.rttm")


def test_the_name_of_a_file_is_found_however_its_letters_are_composed() -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    turn = Turn(0.0, 1.0, "ann")
    for name, other in ((composed, apart), (apart, composed)):
        assert turns_of({"x": (), name: (turn,)}, other, source="f", is_only=False) == (turn,)
