"""Help and wrong usage: quick, on the right stream, with the right status."""

import subprocess
import sys
from pathlib import Path

import pytest

from multiattn.cli.main import main

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "classify",
    "caption",
    "transcribe",
    "answer",
    "evaluate",
    "evaluate maps",
    "evaluate heads",
    "models",
    "info",
    "convert",
    "align",
    "align-heads",
    "demo",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(run, command) -> None:
    outcome = run(*command.split(), "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"usage: multiattn {command} ")
    assert f"multiattn {command} " in outcome.out.partition("\nexamples\n")[2]
    assert max(map(len, outcome.out.splitlines())) <= 80  # unbroken in any terminal


def test_help_of_the_program_names_every_command(run) -> None:
    outcome = run("--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80
    for command in (*COMMANDS, "fit", "validate", "test", "predict"):
        assert f"\n  {command} " in outcome.out


def test_version(run) -> None:
    outcome = run("--version")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("multiattn 0.")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_is_quick_and_imports_nothing_heavy(command) -> None:
    # the processor's time, not the clock's: other processes on the machine are not what is tested
    code = (
        "import sys, time; from multiattn.cli.main import main; status = main([*sys.argv[1:], '--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'PIL', 'rich'} & set(sys.modules); "
        "assert not heavy, heavy; assert time.process_time() < 0.5; sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "",
            "a command is needed: classify, caption, transcribe, answer, match, align, embed, search, evaluate, "
            "evaluate maps, evaluate heads, serve, models, info, shard, convert, export, align-heads, demo, fit, "
            "validate, test, predict",
        ),
        ("clasify cat.jpg", "multiattn: there is no command 'clasify'; did you mean classify?"),
        ("xyz", "multiattn: there is no command 'xyz'; there are: classify, caption, transcribe, "),
        ("--modl", "multiattn: unrecognized arguments: --modl"),
        ("classify", "multiattn classify: the following arguments are required: PATH"),
        ("classify x.png --top-k 0", "--top-k: must be a whole number of at least 1, but is '0' instead"),
        ("classify x.png --top-k=-3", "--top-k: must be a whole number of at least 1, but is '-3' instead"),
        ("classify x.png --top-k many", "--top-k: must be a whole number of at least 1, but is 'many' instead"),
        ("classify x.png --batch-size 0", "--batch-size: must be a whole number of at least 1, but is '0' instead"),
        ("classify x.png --top 3", "unrecognized arguments: --top 3"),
        ("classify x.png --device tpu", "--device: invalid choice: 'tpu'"),
        ("classify x.png --format xml", "--format: invalid choice: 'xml'"),
        (
            "classify x.png --maps out --map-method rolout",
            "--map-method: must be of attention, rollout, relevance, lrp, gradient_x_input or all, but is 'rolout' ",
        ),
        ("classify x.png --maps out --map-method rollout,", "or all, but is '' instead"),
        ("classify x.png --map-method rollout", "--map-method says how to make maps, and needs --maps DIR"),
        ("evaluate", "the following arguments are required: TASK, --data"),
        ("caption", "multiattn caption: the following arguments are required: PATH"),
        ("caption x.png --beams 0", "--beams: must be a whole number of at least 1, but is '0' instead"),
        ("caption x.png --candidates=-1", "--candidates: must be a whole number of at least 1, but is '-1' instead"),
        ("caption x.png --max-tokens 2.5", "--max-tokens: must be a whole number of at least 1, but is '2.5' instead"),
        ("caption x.png --length-penalty nan", "--length-penalty: must be a number from -10 to 10, but is 'nan'"),
        ("caption x.png --length-penalty long", "--length-penalty: must be a number from -10 to 10, but is 'long'"),
        ("caption x.png --length-penalty 11", "--length-penalty: must be a number from -10 to 10, but is '11'"),
        ("caption x.png --sample --temperature 0", "--temperature: must be a number above 0, but is '0' instead"),
        ("caption x.png --sample --temperature inf", "--temperature: must be a number above 0, but is 'inf' instead"),
        ("caption x.png --sample --top-p 1.5", "--top-p: must be a number above 0 and at most 1, but is '1.5' instead"),
        ("caption x.png --sample --top-p 0", "--top-p: must be a number above 0 and at most 1, but is '0' instead"),
        ("caption x.png --sample --top-k 0", "--top-k: must be a whole number of at least 1, but is '0' instead"),
        ("caption x.png --sample --seed=-1", "--seed: must be a whole number from 0 to 2**64 - 1, but is '-1' instead"),
        ("caption x.png --sample --seed 18446744073709551616", "--seed: must be a whole number from 0 to 2**64 - 1"),
        ("caption x.png --beams 2 --candidates 3", "--candidates must be at most --beams (2), but is 3 instead"),
        ("caption x.png --temperature 2", "--temperature says how to draw, and needs --sample"),
        ("caption x.png --top-p .5", "--top-p says how to draw, and needs --sample"),
        ("caption x.png --seed 0", "--seed says how to draw, and needs --sample"),
        ("caption x.png --sample --beams 3", "--beams and --sample are two ways to find a caption; give one"),
        ("caption x.png --map-method rollout", "--map-method says how to make maps, and needs --maps DIR"),
        (
            "caption x.png --maps m --map-method gradient_x_input",
            "must be of attention, relevance, lrp, rollout or all, but",
        ),
        ("transcribe", "multiattn transcribe: the following arguments are required: PATH"),
        ("transcribe x.wav --beams 0", "--beams: must be a whole number of at least 1, but is '0' instead"),
        ("transcribe x.wav --batch-size 0", "--batch-size: must be a whole number of at least 1, but is '0' instead"),
        ("transcribe x.wav --task summarize", "--task: invalid choice: 'summarize'"),
        (
            "transcribe x.wav --format xml",
            "--format: must be of text, json, csv, parquet, srt, vtt, textgrid, ctm, tsv",
        ),
        ("transcribe x.wav --map-method attention", "--map-method says how to make maps, and needs --maps DIR"),
        (
            "transcribe a.wav b.wav --format srt",
            "--format srt holds one recording; for several, --out DIR says in which folder each is written",
        ),
        ("transcribe talks/*.wav --format textgrid", "--format textgrid holds one recording; for several, --out"),
        ("evaluate guess --data x", "argument TASK: invalid choice: 'guess'"),
        ("convert a b", "the following arguments are required: --to"),
        ("convert a b --to onnx", "argument --to: invalid choice: 'onnx'"),
        ("info a b", "unrecognized arguments: b"),
        ("demo cat.jpg", "unrecognized arguments: cat.jpg"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run, arguments, message) -> None:
    outcome = run(*arguments.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert "--help tells more)" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["classify", ""], "PATH"),
        (["classify", "x.png", ""], "PATH"),
        (["classify", "x.png", "--maps", ""], "--maps"),
        (["classify", "x.png", "--maps="], "--maps"),
        (["classify", "x.png", "--out", ""], "--out"),
        (["classify", "x.png", "--model", ""], "--model"),
        (["caption", ""], "PATH"),
        (["caption", "x.png", "--prompt", ""], "--prompt"),
        (["caption", "x.png", "--model", ""], "--model"),
        (["transcribe", ""], "PATH"),
        (["transcribe", "x.wav", "--language", ""], "--language"),
        (["transcribe", "x.wav", "--prompt", ""], "--prompt"),
        (["transcribe", "x.wav", "--out", ""], "--out"),
        (["transcribe", "x.wav", "--maps", ""], "--maps"),
        (["answer", "x.png", "--question", ""], "--question"),
        (["answer", "--questions", ""], "--questions"),
        (["answer", "x.png", "--question", "q", "--answers", ""], "--answers"),
        (["answer", "x.png", "--question", "q", "--first-token", ""], "--first-token"),
        (["answer", "x.png", "--question", "q", "--model", ""], "--model"),
        (["evaluate", "classify", "--data", ""], "--data"),
        (["evaluate", "classify", "--data", "x", "--split", ""], "--split"),
        (["evaluate", "classify", "--data", "x", "--model", ""], "--model"),
        (["info", ""], "M"),
        (["convert", "", "x", "--to", "timm"], "SRC"),
        (["convert", "x", "", "--to", "timm"], "DST"),
        (["demo", "--out", ""], "--out"),
        (["demo", "--model", ""], "--model"),
        (["demo", "--captioner", ""], "--captioner"),
        (["demo", "--answerer", ""], "--answerer"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(run, monkeypatch, tmp_path, arguments, name) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert f": argument {name}: must not be empty, but is '' instead; is a variable of the shell not set? (" in (
        outcome.err
    )
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_was_closed_is_like_one_that_leads_nowhere(monkeypatch, capsys, model, photos, stream) -> None:
    monkeypatch.setattr(sys, stream, None)  # what Python makes of `>&-` and `2>&-`
    status = main(["classify", str(photos / "a.png"), str(photos / "gone.png"), "--model", model])
    getattr(sys, stream).close()
    monkeypatch.undo()
    captured = capsys.readouterr()
    assert status == 1
    assert captured.out.startswith(f"{photos}/a.png\n") if stream == "stderr" else captured.out == ""
    assert captured.err == "" if stream == "stderr" else "gone.png" in captured.err


@pytest.mark.parametrize(
    ("old", "arguments"), [("--normaliser", ["evaluate", "transcribe", "--data", "x"]), ("--recogniser", ["demo"])]
)
def test_older_spellings_are_understood_and_not_advertised(run, old, arguments) -> None:
    assert f"argument {old}: " in run(*arguments, old, "").err  # refused for its value, not for its name
    assert old not in run(arguments[0], "--help").out


@pytest.mark.parametrize("task", ["classify", "caption", "transcribe", "answer"])
def test_the_shipped_model_is_introduced_on_a_terminal(monkeypatch, capsys, task) -> None:
    from multiattn.cli.options import model_or_shipped

    assert model_or_shipped(None, task) == task
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert model_or_shipped("mine", task) == "mine"
    assert capsys.readouterr().err == ""
    assert model_or_shipped(None, task) == task
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"multiattn: this is the small model shipped for {task}, which knows ")
    assert "for another: --model " in line


def test_what_the_registry_says_is_what_the_library_has() -> None:
    from multiattn.maps import ANSWER_METHODS, MATCH_METHODS, METHODS, SPEECH_METHODS, WORD_METHODS
    from multiattn.registry import tasks

    known = {"classify": METHODS, "caption": WORD_METHODS, "answer": ANSWER_METHODS, "transcribe": SPEECH_METHODS}
    known["match"] = MATCH_METHODS
    assert {name: spec.map_methods for name, spec in tasks().items()} == known


def test_what_the_yaml_names_is_found_when_it_is_asked_for() -> None:
    from multiattn import tasks
    from multiattn.tasks.classify import ClassifyTask

    assert tasks.ClassifyTask is ClassifyTask
    with pytest.raises(AttributeError, match="module 'multiattn.tasks' has no attribute 'GuessTask'"):
        tasks.GuessTask  # noqa: B018


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_the_lightning_verbs_get_all_that_was_typed(monkeypatch, verb) -> None:
    import types

    seen = []
    training = types.SimpleNamespace(main=lambda arguments: seen.append(arguments) or 5)
    monkeypatch.setitem(sys.modules, "multiattn.tasks.training", training)  # the real one takes ten seconds to import
    assert main([verb, "--config", "x.yaml", "--help", "--data.batch_size", "3"]) == 5
    assert seen == [[verb, "--config", "x.yaml", "--help", "--data.batch_size", "3"]]
