"""`multiattn align-heads`: which attention heads of a speech model follow the speech?"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.spread import evenly_spread
from ..errors import InputError, ModelError
from ..inputs.files import RECORDINGS
from ..registry import task_spec
from ..writing import write_json
from .arguments import Option, Parser, at_least_one
from .inputs import find_files, status
from .options import BAD_FILES, DEVICE, PRECISION, model_of, model_or_shipped, output_format, paths_of
from .output import Report, named_errors, say, spinner

if TYPE_CHECKING:
    from ..alignment import HeadScore
    from ..pipelines import TranscribePipeline

_DESCRIPTION = """\
Find the attention heads of a speech model that word times are taken from: those
whose attention moves through the recording in the order of the text and is
sharp. Each head of each layer is scored on a few recordings of speech, with the
text that a metadata.jsonl beside them states, or else with the model's own
transcript.
"""

_EPILOG = f"""\
columns
  layer, head
  score  order x focus; heads with at least 70 % of the best score are chosen
         (marked *), at most 10
  order  pairs of tokens whose attention is in the order of the text, less those
         in the opposite order (-1 to 1)
  focus  share of a token's attention within 0.2 s of its middle (0 to 1)
A text of one or two tokens has no order to measure and is left out; clips of
one word each can be joined first: python -m multiattn.data.concat_files --help

With --save the heads are stated in the model's directory, and `multiattn
transcribe --words` uses them. Without such a statement, word times are taken
from all heads of the later half of the layers, which is less exact.

examples
  multiattn align-heads recordings/ --model runs/mine/model --save
  multiattn align-heads talk.mp3 --model WHISPER-FOLDER --format json

with --format json: one object
  {{"model": "...", "recordings": 20, "tokens": 813, "alignment_heads": [[2, 0],
   ...], "heads": [{{"layer": 2, "head": 0, "score": 0.91, "order": 0.97,
                   "focus": 0.94}}, ...]}}

{BAD_FILES.format("recording")}
"""

_ENOUGH = 20  # recordings: the scores hardly change with more


def parser() -> Parser:
    """The command's options."""
    return Parser(
        paths_of(RECORDINGS),
        model_of("transcribe"),
        Option(
            "--limit",
            "N",
            at_least_one,
            f"recordings to use, evenly spread over those found (default: {_ENOUGH})",
            _ENOUGH,
        ),
        Option("--save", action="store_true", help="state the chosen heads in the model's directory"),
        output_format("json: one object, with the scores of all heads"),
        DEVICE,
        PRECISION,
        prog="multiattn align-heads",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )


def run(args: argparse.Namespace) -> int:
    """Find heads; return 0 where every input could be used."""
    args.model = model_or_shipped(args.model, "transcribe")
    with spinner("loading the model"):
        import multiattn

        found, unusable = find_files(args.paths, RECORDINGS)
        if not found:
            return 1
        recordings = evenly_spread(found, args.limit)
        pipeline = multiattn.load(args.model, task="transcribe", device=args.device, precision=args.precision)
        file = file_of_heads(pipeline) if args.save else None
    from ..alignment import choose_heads, rank_heads
    from ..alignment.heads import LEAST_TOKENS

    texts = given_texts(recordings)
    scored: list[tuple[list[HeadScore], int]] = []
    with Report(len(recordings), doing="scoring heads") as report:
        for recording in recordings:
            try:
                scored.append(score(pipeline, recording, texts.get(recording.resolve())))
            except InputError as error:
                report.message(str(error))
            report.advance()
    failures = unusable + len(recordings) - len(scored)
    if not scored:
        return status(failures, unusable + len(recordings))
    if not any(scores for scores, _ in scored):
        raise InputError(
            f"no recording has a text of at least {LEAST_TOKENS} tokens, and shorter ones tell nothing about order: "
            "give recordings in which more is said, or join clips first: python -m multiattn.data.concat_files --help"
        )
    ranked = rank_heads([scores for scores, _ in scored])
    chosen = choose_heads(ranked)
    if args.format == "json":
        facts = {
            "model": pipeline.bundle.source,
            "recordings": len(scored),
            "tokens": sum(tokens for _, tokens in scored),
            "alignment_heads": chosen,
            "heads": [_facts(one) for one in ranked],
        }
        print(json.dumps(facts))
    else:
        print(as_text(ranked, chosen))
    if file is not None:
        save_heads(file, chosen, inside="decoding" if pipeline.bundle.layout == "multiattn" else None)
        say(f"the {len(chosen)} heads are stated in {file}")
    return status(failures, unusable + len(recordings))


def score(pipeline: "TranscribePipeline", file: Path, text: str | None) -> tuple[list["HeadScore"], int]:
    """Score every head on a recording, or on its beginning, as much as the model takes at once.

    Args:
        pipeline: The model.
        file: The recording.
        text: What is said in it; where None, or where the recording is longer, the model's transcript is used.

    Returns:
        The scores, and the number of tokens of the text.

    Raises:
        InputError: The recording cannot be used.
    """
    import torch

    from ..alignment import score_heads
    from ..inputs.audio import Recording

    speech = pipeline.speech
    sound = speech.preprocessing
    with Recording.open(str(file), rate=sound.sample_rate) as recording:
        samples = recording.read(0.0, sound.max_seconds)
        is_whole = not len(recording.read(sound.max_seconds, sound.max_seconds + 0.1))
    if not len(samples):
        raise InputError(f"{file}: has no sound in it, and no head follows it: leave it out.")
    language, spoken = None, text
    if spoken is None or not is_whole:
        transcript = pipeline(samples, rate=sound.sample_rate)
        language, spoken = transcript.language, transcript.text
    prompt = speech.tokens.prompt(language=language or ("en" if speech.tokens.languages else None))
    room = speech.model.config.decoder.max_length - len(prompt) - 1
    ids = speech.tokenizer.encode(f" {spoken.strip()}")[:room]
    with torch.inference_mode():
        encoded = speech.encode(sound.features(samples)[None], [sound.frames(len(samples))])
        (scores,) = score_heads(
            speech.model,
            encoded.projected,
            [[*prompt, *ids]],
            prompt_lengths=[len(prompt)],
            frames=encoded.frames,
            frame_seconds=speech.frame_seconds,
        )
    return scores, len(ids)


def given_texts(recordings: Sequence[Path]) -> dict[Path, str]:
    """Return what is said in those recordings whose folder has a manifest."""
    from ..data.recordings import read_recordings

    texts: dict[Path, str] = {}
    for folder in dict.fromkeys(recording.resolve().parent for recording in recordings):
        if any((folder / name).is_file() for name in ("metadata.jsonl", "metadata.csv")):
            listed = read_recordings(folder.parent, folder.name).items
            texts |= {path.resolve(): text for path, text in listed if text.strip()}
    return texts


def file_of_heads(pipeline: "TranscribePipeline") -> Path:
    """Return the file in the model's directory that states its heads.

    Raises:
        ModelError: The model is not in a directory, or its layout has no such file.
    """
    bundle = pipeline.bundle
    directory = Path(bundle.source)
    files = {"multiattn": "config.json", **task_spec("transcribe").decoding_files}
    if not directory.is_dir() or bundle.layout not in files:
        raise ModelError(
            f"--save needs a model directory of yours, ours or in the layout hf-whisper, but {bundle.source} is none: "
            "write one with `multiattn convert`, or take the heads from --format json"
        )
    return directory / files[bundle.layout]


def save_heads(file: Path, heads: list[tuple[int, int]], *, inside: str | None) -> None:
    """Write the heads into a JSON file: into its object `inside`, or at its top where None.

    Raises:
        MultiattnError: The file cannot be read or written.
    """
    with named_errors(f"--save: {file}"):
        facts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        part = facts if inside is None else facts.setdefault(inside, {})
        part["alignment_heads"] = heads
        write_json(file, facts)


def as_text(ranked: list["HeadScore"], chosen: list[tuple[int, int]]) -> str:
    """Return a table, the best head first, down to a few that were not chosen."""
    rows = [
        f"{'*' if (one.layer, one.head) in chosen else ' '} {one.layer:5}  {one.head:4}  {one.score:5.3f}"
        f"  {one.monotonic:5.2f}  {one.sharp:5.2f}"
        for one in ranked[: len(chosen) + 5]
    ]
    return "\n".join(["  layer  head  score  order  focus", *rows, f"alignment heads: {json.dumps(chosen)}"])


def _facts(one: "HeadScore") -> dict[str, float]:
    return {"layer": one.layer, "head": one.head, "score": one.score, "order": one.monotonic, "focus": one.sharp}
