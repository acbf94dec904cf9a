"""multiattn transcribe: what is printed, written, and told of bad input."""

import io
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import multiattn
from multiattn.alignment import SpokenWord
from multiattn.cli.transcribe import Transcribe, clock, segment_lines
from multiattn.pipelines import Segment, Transcript
from multiattn.weights import save_bundle
from tests.fixtures import tiny_speech_bundle

RATE = 16_000  # Hz


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that is sure of what it says: other random weights fail the limits, and are asked at every temperature."""
    bundle = tiny_speech_bundle()
    norm = bundle.model.decoder.norm
    assert norm is not None
    with torch.no_grad():
        norm.weight.fill_(9.0)
    directory = tmp_path_factory.mktemp("recognizer") / "tiny"
    save_bundle(bundle, directory)
    return str(directory)


@pytest.fixture(scope="module")
def transcribe(recognizer):
    return multiattn.load(recognizer, task="transcribe", device="cpu")


def chirp(seed: int, *, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """A rising tone, another for each seed."""
    times = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 + 90 * seed + 500 * times) * times)


def save(path: Path, samples: np.ndarray, *, rate: int = RATE, **how: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)
    return path


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three recordings, one of them a level deeper."""
    folder = tmp_path_factory.mktemp("talks")
    for seed, name in enumerate(("a.wav", "b.flac", "deep/c.ogg")):
        save(folder / name, chirp(seed))
    return folder


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line_in_order(run, recognizer, transcribe, talks) -> None:
    outcome = run("transcribe", talks / "deep/c.ogg", talks, "--model", recognizer, "--format", "json", "--words")
    assert (outcome.status, outcome.err) == (0, "")
    found = lines(outcome.out)
    names = ("deep/c.ogg", "a.wav", "b.flac", "deep/c.ogg")
    assert [line["file"] for line in found] == [str(talks / name) for name in names]
    assert len({line["text"] for line in found}) > 1
    for line in found[:2]:
        assert line.keys() == {"file", "text", "duration", "segments", "words", "dropped", "flags"}
        assert line == {"file": line["file"], **transcribe(line["file"], words=True).to_dict()}
        assert line["words"] and line["words"][0].keys() == {"word", "start", "end", "score"}


def test_maps_and_their_page_agree_with_the_words(run, recognizer, talks, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ("--words", "--maps", out, "--format", "json")
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = lines(outcome.out)
    words, files = line["words"], line["maps"]["attention"]
    assert len(words) > 1
    assert all(0 <= one["start"] < one["end"] <= line["duration"] for one in words)
    with Image.open(files["png"]) as picture:
        assert picture.format == "PNG" and min(picture.size) > 100
    facts = json.loads(Path(files["json"]).read_text(encoding="utf-8"))
    axes = {axis["name"]: axis for axis in facts["axes"]}
    assert [label.strip() for label in axes["word"]["labels"]] == [one["word"] for one in words]
    with np.load(files["npz"]) as saved:
        values = saved["values"]
    assert values.shape[0] == len(words) and np.isfinite(values).all()
    assert values.shape[1] * axes["time"]["step"] == pytest.approx(line["duration"], abs=axes["time"]["step"])
    page = Path(files["html"]).read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    shown = [word for segment in data["segments"] for word in segment["words"]]
    assert [one["text"].strip() for one in shown] == [one["word"] for one in words]
    for one, word in zip(shown, words, strict=True):
        assert (one["start"], one["end"]) == pytest.approx((word["start"], word["end"]), abs=6e-4)
    assert data["seconds"] == pytest.approx(line["duration"], abs=1e-3)
    assert {one["name"] for one in data["maps"]} == {"attention", "layer and head"}
    assert all(sum(window["words"] for window in one["windows"]) == len(words) for one in data["maps"])


def test_text_is_a_block_a_recording(run, recognizer, transcribe, talks) -> None:
    outcome = run("transcribe", talks / "a.wav", talks / "b.flac", "--model", recognizer, "--words")
    assert (outcome.status, outcome.err) == (0, "")
    expected = []
    for name in ("a.wav", "b.flac"):
        expected.append(str(talks / name))
        for segment in transcribe(talks / name, words=True).segments:
            expected += segment_lines(segment).split("\n")
    assert outcome.out.splitlines() == expected
    assert len(expected) > 4


def test_a_segment_as_lines() -> None:
    words = (
        SpokenWord("o\x1bne", 3599.994, 3600.5, 0.257, 0, 4, (0,)),
        SpokenWord("two", 3601.0, 3602.0, 1.0, 5, 8, (1,)),
    )
    segment = Segment(3599.994, 3602.0, " o\x1bne two", (), (), -1.0, 1.0, None, 0.0, ("stalled", "repeats"), words)
    assert segment_lines(segment).split("\n") == [
        r"  59:59.99 - 1:00:02.00  o\x1bne two  [stalled, repeats]",
        r"    59:59.99 - 1:00:00.50   25.7%  o\x1bne",
        r"    1:00:01.00 - 1:00:02.00  100.0%  two",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.00"), (59.996, "1:00.00"), (61.5, "1:01.50"), (3661.25, "1:01:01.25")]
)
def test_a_clock(seconds, text) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("kind", ["srt", "vtt", "textgrid"])
def test_a_format_of_one_recording(run, recognizer, transcribe, talks, tmp_path, kind) -> None:
    plain = run("transcribe", talks / "a.wav", "--model", recognizer, "--format", kind)
    assert (plain.status, plain.err) == (0, "")
    assert plain.out == transcribe(talks / "a.wav").formatted(kind).rstrip("\n") + "\n"
    out = tmp_path / "deep" / "a.txt"
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, "--format", kind, "--out", out)
    assert (outcome.status, outcome.out) == (0, "")
    assert out.read_text(encoding="utf-8") == plain.out


def test_several_recordings_get_a_file_each(run, recognizer, talks, tmp_path) -> None:
    copy = save(tmp_path / "a.wav", chirp(7))
    out = tmp_path / "subs"
    outcome = run("transcribe", talks, copy, "--model", recognizer, "--format", "textgrid", "--out", out)
    assert (outcome.status, outcome.err) == (0, "")
    names = ["a.TextGrid", "b.TextGrid", "c.TextGrid", "a-2.TextGrid"]
    assert outcome.out.splitlines() == [str(out / name) for name in names]
    for name, file in zip(names, (talks / "a.wav", talks / "b.flac", talks / "deep/c.ogg", copy), strict=True):
        alone = run("transcribe", file, "--model", recognizer, "--format", "textgrid").out
        assert (out / name).read_text(encoding="utf-8") == alone


def test_ctm_has_the_words_of_all(run, recognizer, transcribe, talks) -> None:
    outcome = run("transcribe", talks / "a.wav", talks / "b.flac", "--model", recognizer, "--format", "ctm")
    assert (outcome.status, outcome.err) == (0, "")
    fields = [line.split() for line in outcome.out.splitlines()]
    assert {len(one) for one in fields} == {6}
    words = [word for name in ("a.wav", "b.flac") for word in transcribe(talks / name, words=True).words]
    assert [one[4] for one in fields] == [word.text for word in words]
    assert [one[0] for one in fields if one[0] == "a"] + [one[0] for one in fields if one[0] == "b"] == [
        one[0] for one in fields
    ]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("--beams 1", {"num_beams": 1}),
        ("--batch-size 1", {"batch_size": 1}),
        ("--task transcribe", {"task": "transcribe"}),
        ("--previous-text off --seed 7", {"condition_on_previous": False, "seed": 7}),
        ("--prompt Zoe --carry-prompt", {"prompt": "Zoe", "carry_prompt": True}),
        ("--hotwords Zoe --prefix Dear", {"hotwords": "Zoe", "prefix": "Dear"}),
        ("--temperatures 0,0.4", {"temperatures": (0.0, 0.4)}),
        ("--best-of 3 --patience 1.5", {"best_of": 3, "patience": 1.5}),
        ("--compression-ratio-threshold none", {"compression_ratio_threshold": "none"}),
        ("--log-prob-threshold -0.5", {"log_prob_threshold": -0.5}),
        ("--no-speech-threshold 0.9", {"no_speech_threshold": 0.9}),
        ("--clip 1:00:00- --clip 0:30-1:10.5", {"clips": [(30.0, 70.5), (3600.0, float("inf"))]}),
        ("--clip=-5", {"clips": [(0.0, 5.0)]}),
        ("--vad off --keep-flagged", {"vad": "off", "keep_flagged": True}),
        ("--multilingual --language-threshold 0.7", {"multilingual": True, "language_threshold": 0.7}),
        ("--channel each", {"channel": "each"}),
        ("--channel 2", {"channel": "2"}),
        ("--suppress=-1,the", {"suppress": "-1,the"}),
        ("--max-tokens 9 --length-penalty 0.5", {"max_tokens": 9, "length_penalty": 0.5}),
    ],
)
def test_the_options_are_those_of_the_pipeline(run, recognizer, talks, monkeypatch, arguments, options) -> None:
    from multiattn.pipelines import TranscribePipeline

    seen = []

    def stream(self, inputs, **given):
        seen.append(given)
        return (Transcript(str(one), (), 0.5) for one in inputs)

    monkeypatch.setattr(TranscribePipeline, "stream", stream)
    assert run("transcribe", talks / "a.wav", "--model", recognizer, "--format", "json", *arguments.split()).status == 0
    given = {name: value for name, value in seen[0].items() if value is not None}
    switches = {"words": False, "strict": False, "keep_flagged": False, "multilingual": False}
    assert given == switches | options


def test_what_is_handed_on_are_options_of_the_pipeline() -> None:
    from multiattn.pipelines.transcribe.options import TranscribeOptions

    assert set(Transcribe.options) <= TranscribeOptions.__annotations__.keys()


def test_a_model_that_cannot_do_what_is_asked(run, recognizer, talks) -> None:
    for arguments, message in (
        (("--task", "translate"), "cannot translate"),
        (("--language", "fr"), "knows one language only: leave `language` ('fr') out"),
        (("--prompt", "names"), "has no token for text that came before: leave `prompt` out"),
    ):
        outcome = run("transcribe", talks / "a.wav", "--model", recognizer, *arguments)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith(f"multiattn: {recognizer} {message}")
        assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--previous-text maybe", "--previous-text: must be on or off, but is 'maybe' instead"),
        ("--clip 30", "--clip: must be FROM-TO in seconds, m:ss or h:mm:ss, with FROM before TO, but is '30' instead"),
        ("--clip 10-5", "with FROM before TO, but is '10-5' instead"),
        ("--clip 0:75-2:00", "with FROM before TO, but is '0:75-2:00' instead"),
        ("--clip -", "with FROM before TO, but is '-' instead"),
        ("--clip 0-5 --clip 4-6", "--clip names parts that overlap; join them to one"),
        ("--channel middle", "--channel: must be of auto, mix, each, left, right, or a number from 1, but is 'middle'"),
        ("--temperatures 0,x", "--temperatures: must be numbers of at least 0 with commas between them, but is '0,x'"),
        ("--no-speech-threshold 2", "--no-speech-threshold: must be a number from 0 to 1, or none, but is '2' instead"),
        ("--log-prob-threshold 1", "--log-prob-threshold: must be a number of at most 0, or none, but is '1' instead"),
        ("--compression-ratio-threshold x", "must be a number of at least 0, or none, but is 'x' instead"),
        ("--patience 0.5", "--patience: must be a number of at least 1, but is '0.5' instead"),
        ("--carry-prompt", "--carry-prompt puts a prompt before every window, and needs --prompt TEXT"),
        ("--line-width 20", "--line-width is for subtitles, and needs --format srt or vtt"),
        ("--line-width 3 --format srt", "--line-width: must be a whole number of at least 4, but is '3' instead"),
        ("--format srt,json --out x", "--format: json stands alone, but is one of srt, json instead"),
        (
            "--format srt,wav --out x",
            "--format: must be of text, json, csv, parquet, srt, vtt, textgrid, ctm, tsv, lrc",
        ),
        ("--format srt,vtt", "each format is a file; for several, --out DIR says in which folder each is written"),
        ("--channel each --maps x", "--maps shows one channel, and --channel each has several; name one"),
    ],
)
def test_options_that_cannot_be_are_one_line(run, talks, arguments, message) -> None:
    outcome = run("transcribe", talks / "a.wav", *arguments.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err and outcome.err.count("\n") == 1


def test_several_formats_are_files_in_a_folder(run, recognizer, transcribe, talks, tmp_path) -> None:
    out, kinds = tmp_path / "new", "srt,vtt,lrc,tsv,verbose_json,ctm"
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, "--format", kinds, "--out", out)
    assert (outcome.status, outcome.err) == (0, "")
    names = [f"a.{suffix}" for suffix in ("srt", "vtt", "lrc", "tsv", "json", "ctm")]
    assert outcome.out.splitlines() == [str(out / name) for name in names]
    result = transcribe(talks / "a.wav", words=True)  # ctm has words only
    for name, kind in zip(names, kinds.split(","), strict=True):
        assert (out / name).read_text(encoding="utf-8").rstrip("\n") == result.formatted(kind).rstrip("\n")
    found = json.loads((out / "a.json").read_text(encoding="utf-8"))
    assert found.keys() == {"task", "language", "duration", "text", "segments", "words"}
    assert (found["task"], found["language"], found["text"]) == ("transcribe", "unknown", result.text)
    assert found["segments"][0].keys() == {
        *("id", "seek", "start", "end", "text", "tokens", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }
    assert [one["id"] for one in found["segments"]] == list(range(len(result.segments)))
    assert [one["word"] for one in found["words"]] == [word.text.strip() for word in result.words]


def test_subtitles_are_cut_as_asked(run, recognizer, transcribe, talks) -> None:
    arguments = ("--format", "srt", "--words-per-cue", "1", "--least-seconds", "0", "--highlight-words")
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, *arguments)
    assert outcome.status == 0
    texts = outcome.out.split("\n\n")
    assert len(texts) == len(transcribe(talks / "a.wav", words=True).words) > 1
    assert all(one.count("<u>") == 1 for one in texts)


def test_channels_that_cancel_are_told_on_standard_error(run, recognizer, tmp_path) -> None:
    samples = np.concatenate([chirp(0), chirp(1), chirp(2)])
    file = save(tmp_path / "two.wav", np.stack([samples, -samples], axis=1))
    outcome = run("transcribe", file, "--model", recognizer, "--format", "json")
    said = "has channels that cancel each other in their mean: channel left alone is transcribed"
    assert (outcome.status, outcome.err) == (0, f"multiattn: {file} {said}\n")
    [line] = lines(outcome.out)
    assert line["remark"] == said and line["text"]
    outcome = run("transcribe", file, "--model", recognizer, "--channel", "each")
    assert outcome.err == "" and "  left: " in outcome.out and "  right: " in outcome.out


def test_beams_have_a_limit(run, recognizer, talks) -> None:
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, "--beams", "1001")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "multiattn: `num_beams` must be at most 1000, but is 1001 instead.\n"


def test_a_model_for_another_task(run, model, talks) -> None:
    outcome = run("transcribe", talks, "--model", model)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"multiattn: {model} must be a model for transcribe, but is one for classify instead: give another\n"
    )


def nothing(path: Path) -> None:
    pass


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("These are words.\n" * 50)


def no_samples(path: Path) -> None:
    save(path, np.zeros(0))


def truncated(path: Path) -> None:
    save(path, np.random.default_rng(1).normal(scale=0.1, size=RATE), format="FLAC")
    path.write_bytes(path.read_bytes()[:9001])


def not_numbers(path: Path) -> None:
    samples = chirp(1)
    samples[77] = np.nan
    save(path, samples, subtype="FLOAT")


def infinite(path: Path) -> None:
    samples = chirp(1)
    samples[78] = np.inf
    save(path, samples, subtype="FLOAT")


def header_only(path: Path) -> None:
    path.write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt ")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (nothing, "gone.wav"),
        (nothing, "gone/*.wav"),
        (empty, "empty.wav"),
        (text, "words.wav"),
        (header_only, "header.wav"),
    ],
)
def test_a_bad_recording_is_named_and_the_others_are_done(run, recognizer, talks, tmp_path, make, name) -> None:
    make(tmp_path / name)
    before, after = talks / "b.flac", talks / "a.wav"
    outcome = run("transcribe", before, tmp_path / name, after, "--model", recognizer, "--format", "json")
    assert outcome.status == 1
    found = lines(outcome.out)
    assert [line["file"] for line in found] == [str(before), str(tmp_path / name), str(after)]
    assert [line.keys() == {"file", "error"} for line in found] == [False, True, False]
    named, counted = outcome.err.splitlines()
    assert named.startswith("multiattn: ") and str(tmp_path / name) in named
    assert counted == "multiattn: 1 of 3 inputs could not be used"


@pytest.mark.parametrize(("make", "name"), [(truncated, "half.flac"), (not_numbers, "nan.wav"), (infinite, "inf.wav")])
def test_a_damaged_recording_is_used_as_far_as_it_goes(run, recognizer, talks, tmp_path, make, name) -> None:
    make(tmp_path / name)
    arguments = ("transcribe", tmp_path / name, talks / "a.wav", "--model", recognizer, "--format", "json")
    outcome = run(*arguments)
    assert outcome.status == 1
    damaged, whole = lines(outcome.out)
    assert damaged["damaged"]["reason"] and "damaged" not in whole
    named, counted = outcome.err.splitlines()
    assert named.startswith(f"multiattn: {tmp_path / name} is damaged (") and damaged["damaged"]["place"] in named
    assert counted == "multiattn: 1 of 2 inputs could be used only in part"
    outcome = run(*arguments, "--strict")
    refused, done = lines(outcome.out)
    assert outcome.status == 1
    assert (refused["file"], refused.keys()) == (str(tmp_path / name), {"file", "error"})
    assert (done["file"], "error" in done) == (str(talks / "a.wav"), False)
    assert str(tmp_path / name) in outcome.err.splitlines()[0]


def test_a_recording_without_samples_is_empty_and_marked(run, recognizer, tmp_path) -> None:
    no_samples(tmp_path / "none.wav")
    outcome = run("transcribe", tmp_path / "none.wav", "--model", recognizer, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = lines(outcome.out)
    assert (line["text"], line["duration"], line["flags"]) == ("", 0.0, ["empty"])


@pytest.mark.parametrize("seconds", [3.0, 1 / RATE])
def test_silence_has_no_text(run, recognizer, tmp_path, seconds) -> None:
    file = save(tmp_path / "silence.wav", np.zeros(round(seconds * RATE)))
    outcome = run("transcribe", file, "--model", recognizer, "--format", "json", "--words", "--maps", tmp_path / "m")
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = lines(outcome.out)
    assert (line["text"], line["segments"], line["words"]) == ("", [], [])
    assert "maps" not in line
    outcome = run("transcribe", file, "--model", recognizer)
    assert (outcome.status, outcome.out) == (0, f"{file}\n  nothing is said\n")
    for kind in ("srt", "vtt", "textgrid", "ctm"):
        assert run("transcribe", file, "--model", recognizer, "--format", kind).status == 0


def test_in_one_sample_nothing_is_said(run, recognizer, tmp_path) -> None:
    file = save(tmp_path / "click.wav", np.full(1, 0.7))
    outcome = run("transcribe", file, "--model", recognizer, "--words")
    assert (outcome.status, outcome.out, outcome.err) == (0, f"{file}\n  nothing is said\n", "")


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(8000, 1, "PCM_U8"), (96_000, 8, "PCM_24"), (44_100, 2, "PCM_16")]
)
def test_any_rate_width_and_number_of_channels(run, recognizer, tmp_path, rate, channels, subtype) -> None:
    file = save(tmp_path / "a.wav", np.stack([chirp(3, rate=rate)] * channels, axis=1), rate=rate, subtype=subtype)
    outcome = run("transcribe", file, "--model", recognizer, "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = lines(outcome.out)
    assert line["duration"] == pytest.approx(0.5, abs=1e-3)
    assert line["text"]


def test_out_may_be_no_recording(run, recognizer, talks, tmp_path) -> None:
    other = save(tmp_path / "mine.wav", chirp(2))
    kept = other.read_bytes()
    for out, rule in ((talks / "a.wav", "one of the recordings"), (other, "a recording")):
        outcome = run("transcribe", talks / "a.wav", "--model", recognizer, "--out", out)
        assert (outcome.status, outcome.out) == (2, "")
        assert f"--out {out} must not be {rule}, which it would replace" in outcome.err
    assert other.read_bytes() == kept


def test_a_folder_for_subtitles_that_is_a_file(run, recognizer, talks, tmp_path) -> None:
    (tmp_path / "subs").touch()
    outcome = run("transcribe", talks, "--model", recognizer, "--format", "srt", "--out", tmp_path / "subs")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"multiattn: --out {tmp_path}/subs must be a folder, but is a file instead\n"


def test_a_segment_is_written_before_the_next_is_decoded(run, recognizer, tmp_path, monkeypatch) -> None:
    from multiattn.errors import MultiattnError
    from multiattn.pipelines.transcribe import chunked

    plain, calls = chunked.decode_windows, []

    def sometimes(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise MultiattnError("the cable was pulled")
        return plain(*arguments, **options)

    monkeypatch.setattr(chunked, "decode_windows", sometimes)
    pause = np.random.default_rng(0).normal(scale=1e-4, size=3 * RATE)
    file = save(tmp_path / "a.wav", np.concatenate([chirp(1), pause, chirp(2), pause, chirp(3)]))
    outcome = run("transcribe", file, "--model", recognizer, "--batch-size", "1")
    assert (outcome.status, outcome.err) == (1, "multiattn: the cable was pulled\n")
    first, *segments = outcome.out.splitlines()
    assert first == str(file) and len(segments) == 1


def test_json_of_a_transcript_with_maps_names_them() -> None:
    from multiattn.cli.map_files import Written

    result = Transcript("a.wav", (), 2.0, "en")
    written = Written("m/a.html", {"attention": {"html": "m/a.html", "png": "m/a.attention.png"}})
    assert json.loads(Transcribe.as_json(result, written)) == {
        "file": "a.wav",
        "text": "",
        "duration": 2.0,
        "language": "en",
        "segments": [],
        "words": [],
        "dropped": [],
        "flags": [],
        "maps": written.by_method,
    }


def test_standard_input_is_a_recording(run, recognizer, talks, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((talks / "b.flac").read_bytes())))
    outcome = run("transcribe", "-", "--model", recognizer, "--format", "json")
    (expected,) = lines(run("transcribe", talks / "b.flac", "--model", recognizer, "--format", "json").out)
    assert (outcome.status, lines(outcome.out)) == (0, [expected | {"file": "-"}])


def test_dropped_segments_are_counted() -> None:
    segment = Segment(1.0, 2.0, " You", (5,), (-0.1,), -0.1, 1.0, 0.9, 0.0, ("unheard",), is_dropped=True)
    result = Transcript("a.wav", (), 2.0, dropped=(segment, segment))
    one = Transcript("a.wav", (), 2.0, dropped=(segment,))
    remarks = [Transcribe.remark(None, each) for each in (result, one, Transcript("a.wav", (), 2.0))]  # type: ignore[arg-type]
    assert remarks == [
        "a.wav: 2 segments dropped, where nobody speaks; --keep-flagged keeps them",
        "a.wav: 1 segment dropped, where nobody speaks; --keep-flagged keeps them",
        None,
    ]
    assert one.to_dict()["dropped"] == [
        {"start": 1.0, "end": 2.0, "text": "You", "flags": ["unheard"]}
        | {"score": 0.9048, "no_speech": 0.9, "temperature": 0.0}
    ]


def test_moments_can_be_clicked_with_tokens(run, recognizer, talks, tmp_path) -> None:
    command = ("transcribe", talks / "a.wav", "--model", recognizer, "--maps", tmp_path / "m", "--map-format", "html")
    for more in ((), ("--tokens",)):
        assert run(*command, *more).status == 0
        assert ('"name":"moment to moment"' in (tmp_path / "m" / "a.html").read_text()) == bool(more)
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, "--tokens")
    assert outcome.status == 2 and "--tokens needs --maps DIR" in outcome.err


def test_a_given_text_is_explained_in_place_of_the_transcript(run, recognizer, transcribe, talks, tmp_path) -> None:
    arguments = ("--explain-text", "one two", "--maps", tmp_path / "m", "--map-format", "html", "--format", "json")
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = lines(outcome.out)
    known = transcribe(str(talks / "a.wav"), explain_text="one two")
    assert line["text"] == "one two" and [one["score"] for one in line["words"]] == [
        pytest.approx(one.score, abs=1e-3) for one in known.words
    ]
    outcome = run("transcribe", talks / "a.wav", "--model", recognizer, "--explain-text", "\u6f22", "--format", "json")
    assert outcome.status == 1 and "`explain_text` must have words of the model's vocabulary" in outcome.err
