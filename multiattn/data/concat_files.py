"""The fixed strings of a split as files, for commands that take recordings.

    python -m multiattn.data.concat_files --data .data/fsdd --out .data/strings
    multiattn align-heads .data/strings/validation --model runs/digits/model --save
    multiattn evaluate transcribe --data .data/strings --normalizer basic

The last command gives the same figures as `--join` without the files, if `--rate` is the model's. Files are needed for
`align-heads`, which finds nothing in clips of one word each, for listening, and for other programs.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import InputError, MultiattnError
from ..writing import write_bytes, write_text
from .concat_clips import FIXED_STRINGS, ConcatRecording, fixed_strings
from .recordings import read_recordings
from .whole_data import MANIFEST, whole_data


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the strings of a split; on an error exit with status 1 and one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the splits of the clips")
    parser.add_argument("--split", default="validation", help="default: validation")
    parser.add_argument("--out", required=True, type=Path, help="folder for the strings, in a sub-folder of that name")
    parser.add_argument("--count", type=int, default=FIXED_STRINGS, help=f"strings (default: {FIXED_STRINGS})")
    parser.add_argument("--rate", type=int, default=16_000, help="samples a second (default: 16000)")
    args = parser.parse_args(arguments)
    for name in ("count", "rate"):
        if (value := getattr(args, name)) < 1:
            parser.error(f"argument --{name}: must be at least 1, but is {value} instead")
    try:
        records = read_recordings(args.data, args.split)
        strings = fixed_strings(records, rate=args.rate, count=args.count)
        written = write_strings(strings, args.out / args.split, rate=args.rate)
    except MultiattnError as error:
        sys.exit(str(error))
    print(f"{written} recordings are in {args.out / args.split}")


def write_strings(strings: Iterable[ConcatRecording], folder: Path, *, rate: int) -> int:
    """Write strings as 16-bit wav files, and a `metadata.jsonl` with the transcript and the word times of each.

    The files take their places in the folder once all are complete, `metadata.jsonl` last.

    Args:
        strings: In the order of their names, `0000.wav` and so on.
        folder: The folder to write to; created where it is missing.
        rate: Sample rate of the strings in Hz.

    Returns:
        The number of strings.

    Raises:
        InputError: A file cannot be written, or a clip cannot be read.
    """
    import soundfile

    lines = []
    try:
        with whole_data(folder) as part:
            for number, string in enumerate(strings):
                name = f"{number:04}.wav"
                sound = io.BytesIO()
                soundfile.write(sound, string.samples.numpy(), rate, format="WAV", subtype="PCM_16")
                write_bytes(part / name, sound.getvalue())
                words = [{"word": text, "start": round(a, 4), "end": round(b, 4)} for text, a, b in string.words]
                lines.append(json.dumps({"file_name": name, "text": string.text, "words": words}, ensure_ascii=False))
            write_text(part / MANIFEST, "".join(f"{line}\n" for line in lines), errors="backslashreplace")
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{folder}: recordings cannot be written here: {error}") from error
    return len(lines)


if __name__ == "__main__":
    main()
