"""multiattn align: what is printed, written, and told of wrong usage."""

import json
import shutil
from pathlib import Path

import pytest

from multiattn.cli.align import Align, parser
from multiattn.cli.main import main
from multiattn.errors import InputError

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"


@pytest.fixture(scope="module")
def said() -> str:
    """What the model that comes with the package hears."""
    import multiattn

    return str(multiattn.load("transcribe", device="cpu")(str(DIGITS), num_beams=1).text)


def test_a_text_in_time(run, said: str, tmp_path: Path) -> None:
    text = tmp_path / "digits.txt"
    text.write_bytes(b"\xef\xbb\xbf" + f"{said}\r\nand this is not said".encode())
    found = run("align", DIGITS, text, "-q")
    name, first, second = found.out.splitlines()
    assert found.status == 0 and found.err == ""
    assert name == str(DIGITS) and first.endswith(f"  {said}") and second.endswith("  and this is not said  [not_said]")
    words = run("align", DIGITS, text, "--words", "-q").out.splitlines()
    assert len(words) == 3 + len(said.split()) + 5
    record = json.loads(run("align", DIGITS, text, "--format", "json", "-q").out)
    assert record["text"] == f"{said} and this is not said" and record["not_written"] == []
    assert [segment["flags"] for segment in record["segments"]] == [[], ["not_said"]]
    remark = run("align", DIGITS, "--text", f"{said} and this is not said").err
    assert f"{DIGITS}: 5 of {len(said.split()) + 5} words of the text are not said" in remark
    assert "not said" not in run("align", DIGITS, text, "--format", "srt", "-q").out


def test_what_is_not_in_the_text_and_a_text_of_something_else_are_told(run, said: str) -> None:
    first, *_, last = said.split()
    less = run("align", DIGITS, "--text", " ".join(said.split()[1:]), "-q")
    assert less.status == 0 and less.out.splitlines()[-1].endswith(f"  not in the text: {first}")
    other = run("align", DIGITS, "--text", "Something else altogether.", "-q")
    assert f"{DIGITS} does not belong to this text" in other.err and other.status == 0
    del last


def test_folders_of_recordings_and_texts(run, said: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(DIGITS, tmp_path / f"{name}.flac")
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(said)
    out = tmp_path / "out"
    found = run("align", tmp_path, "--format", "srt,ctm", "--out", out, "-q")
    assert found.status == 1 and "c.txt` must be a file with the recording's text, but cannot be read" in found.err
    assert sorted(path.name for path in out.iterdir()) == ["a.ctm", "a.srt", "b.ctm", "b.srt"]
    assert len((out / "b.ctm").read_text().splitlines()) == len(said.split())


def test_texts_in_sub_folders_belong_to_recordings_in_sub_folders(said: str, tmp_path: Path) -> None:
    sounds, texts = tmp_path / "sounds", tmp_path / "texts"
    for name in ("a/talk", "b/talk", "c/other"):
        (sounds / name).parent.mkdir(parents=True)
        (sounds / f"{name}.wav").touch()
    (texts / "a").mkdir(parents=True)
    for name in ("a/talk", "talk", "other"):
        (texts / f"{name}.txt").write_text(name)

    def text_of(name: str) -> str:
        return command._text_of(str(sounds / f"{name}.wav"))

    args = parser().parse_args([str(sounds), str(texts)])
    args.paths, args.files = [args.recording], None
    command = Align(args)
    assert [text_of(name) for name in ("a/talk", "b/talk", "c/other")] == ["a/talk", "talk", "other"]
    (texts / "a" / "talk.txt").unlink()
    message = r"talk.txt` must be the text of one recording, but would be that of b/talk and a/talk instead"
    with pytest.raises(InputError, match=message):
        text_of("a/talk")


def test_speakers_are_named(run, said: str, tmp_path: Path) -> None:
    turns = tmp_path / "turns.rttm"
    turns.write_text("SPEAKER x 1 0.0 20.0 <NA> <NA> Ann <NA> <NA>\n")
    assert f"Ann: {said}" in run("align", DIGITS, "--text", said, "--speakers", turns, "-q").out
    assert "  Ann: " in run("transcribe", DIGITS, "--speakers", turns, "-q").out
    turns.write_text("SPEAKER x 1 0.0 20.0 <NA> <NA> Ann\n")
    wrong = run("transcribe", DIGITS, "--speakers", turns, "-q")
    assert wrong.status == 1 and wrong.err.count("\n") == 1 and "turns.rttm, line 1, must have 10 fields" in wrong.err


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["x.wav"], "TEXT (or --text 'WORDS')"),
        (["x.wav", "x.txt", "--text", "one"], "--text is the text of one recording, and replaces TEXT"),
        (["-", "-"], "- is standard input, which can be read once only"),
        (["x.wav", "--text", " "], "must have more than spaces"),
        (["."], "must hold at least one recording"),
    ],
)
def test_wrong_usage_is_one_line(run, tmp_path: Path, monkeypatch, arguments: list[str], reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("align", *arguments)
    assert found.status in (1, 2) and reason in found.err and len(found.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "content, reason", [(b"", "must have at least one word"), (b"caf\xe9", "must be text in UTF-8, but its byte 3")]
)
def test_a_text_that_is_none_is_one_line(run, tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    found = run("align", DIGITS, tmp_path / "bad.txt", "-q")
    assert found.status == 1 and reason in found.err


def test_a_text_in_utf_16_is_read(run, said: str, tmp_path: Path) -> None:
    (tmp_path / "wide.txt").write_bytes(said.encode("utf-16"))
    assert said in run("align", DIGITS, tmp_path / "wide.txt", "-q").out


def test_the_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and "align " in capsys.readouterr().out
    assert main(["align", "--help"]) == 0 and "not_written" in capsys.readouterr().out


def test_verdicts_on_the_maps_of_a_given_text(run, said: str, tmp_path: Path) -> None:
    found = run("align", DIGITS, "--text", said, "--check", "--maps", tmp_path / "maps", "--map-format", "html", "-q")
    assert found.status == 0 and found.err == ""
    checked = [line for line in found.out.splitlines() if "without its brightest quarter" in line]
    assert len(checked) == 1 and "the middle of the recording" in checked[0]
    assert '"verdicts":[{' in (tmp_path / "maps" / "digits.html").read_text(encoding="utf-8")
