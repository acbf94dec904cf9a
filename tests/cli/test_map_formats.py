"""`--map-format`: which files are written of the maps."""

from pathlib import Path

import pytest

from .test_classify import lines


def ends(folder: Path) -> set[str]:
    return {file.name.partition(".")[2] for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ((), {"html", "attention.png", "attention.npz", "attention.json"}),
        (("--map-format", "npz"), {"attention.npz", "attention.json"}),
        (("--map-format", "png", "--map-format", "html"), {"html", "attention.png"}),
        (("--map-format", "svg,pdf"), {"attention.svg", "attention.pdf"}),
    ],
)
def test_only_what_is_asked_for_is_written(run, model, photos, tmp_path, options, files) -> None:
    command = ("classify", photos / "a.png", "--model", model, "--maps", tmp_path / "m", "--map-method", "attention")
    (record,) = lines(run(*command, "--format", "json", *options).out)
    assert ends(tmp_path / "m") == files
    assert {Path(file).name.partition(".")[2] for file in record["maps"]["attention"].values()} == files
    shown = run(*command, *options).out.splitlines()[-1].partition("maps  ")[2]
    assert Path(shown).is_file()


def test_two_methods_are_compared(run, model, photos, tmp_path) -> None:
    command = ("classify", photos / "a.png", "--model", model, "--maps", tmp_path / "m", "--format", "json")
    (record,) = lines(run(*command, "--map-method", "rollout,attention", "--map-format", "compare").out)
    assert record["maps"] == {"rollout": {"compare": str(tmp_path / "m" / "a.compare.html")}, "attention": {}}
    assert "rollout and attention order the patches alike" in (tmp_path / "m" / "a.compare.html").read_text()
    outcome = run(*command, "--map-method", "rollout", "--map-format", "compare")
    assert outcome.status == 2
    assert "--map-format compare is for maps of pictures, and needs two names of --map-method" in outcome.err


def test_a_run_goes_on_without_pages(run, model, photos, tmp_path) -> None:
    command = ["classify", photos, photos / "a.png", "--model", model, "--format", "json", "--map-format", "npz"]
    command += ["--map-method", "attention", "--maps", tmp_path / "m", "--out", tmp_path / "r"]
    assert run(*command).status == 0
    whole, files = (tmp_path / "r").read_text(), ends(tmp_path / "m")
    (tmp_path / "r.part").write_text("".join(whole.splitlines(keepends=True)[:2]))
    (tmp_path / "r").unlink()
    assert run(*command, "--resume").status == 0
    assert (tmp_path / "r").read_text() == whole
    assert ends(tmp_path / "m") == files


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--map-format", "npz"), "--map-format says what to write of maps, and needs --maps DIR to say where to"),
        (("--maps", "m", "--map-format", "gif"), "must be of html, png, npz, svg, pdf, compare, but is 'gif' instead"),
    ],
)
def test_what_cannot_be_written_is_named(run, options, message) -> None:
    outcome = run("classify", "x.png", *options)
    assert outcome.status == 2
    assert message in outcome.err


def test_patches_can_be_clicked_with_tokens(run, model, photos, tmp_path) -> None:
    command = ("classify", photos / "a.png", "--model", model, "--maps", tmp_path / "m", "--map-method", "attention")
    assert run(*command).status == 0
    page = tmp_path / "m" / "a.html"
    assert '"tokens":null' in page.read_text()
    assert run(*command, "--tokens").status == 0
    assert '"tokens":{"name":"patch to patch"' in page.read_text()
    outcome = run("classify", photos / "a.png", "--model", model, "--tokens")
    assert outcome.status == 2 and "--tokens needs --maps DIR" in outcome.err
