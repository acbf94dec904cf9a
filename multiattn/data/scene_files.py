"""Drawn scenes with questions and answers, written as a folder that `AnswerData` reads.

    python -m multiattn.data.scene_files --out .data/scenes --pictures 20000 --questions 12
    python -m multiattn.data.scene_files --out .data/scenes --pictures 2000 --questions 12 --split validation

Rows of `metadata.jsonl` hold the picture (`file_name`), `question`, `answer`, `type`, and boxes `[x0, y0, x1, y1]` in
pixels: of the things that the answer is about (`boxes`), and of those that the question names (`named`). The same seed
and split give the same pictures.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from ..errors import InputError, MultiattnError
from ..writing import write_bytes, write_text
from .questions import Question
from .scene_questions import TYPES, Questioner
from .scenes import Scene, draw_scene, paint
from .whole_data import MANIFEST, whole_data


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the scenes of a split; on an error exit with status 1 and one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder for the split's folder")
    parser.add_argument("--split", default="train", help="default: train")
    parser.add_argument("--pictures", type=int, default=20_000, help="default: 20000")
    parser.add_argument("--questions", type=int, default=12, help="about each picture (default: 12)")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=tuple(TYPES), help="of questions (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    args = parser.parse_args(arguments)
    for name in ("pictures", "questions"):
        if (value := getattr(args, name)) < 1:
            parser.error(f"argument --{name}: must be at least 1, but is {value} instead")
    folder = args.out / args.split
    scenes = scenes_with_questions(
        args.split, args.pictures, questions=args.questions, seed=args.seed, types=args.types
    )
    try:
        pictures, questions = write_scenes(scenes, folder)
    except MultiattnError as error:
        sys.exit(str(error))
    print(f"{pictures} pictures with {questions} questions are in {folder}")


def scenes_with_questions(
    split: str, count: int, *, questions: int, seed: int, types: Sequence[str] = tuple(TYPES)
) -> Iterator[tuple[Scene, list[Question]]]:
    """Draw scenes with questions about each.

    Args:
        split: The name of the split; it is part of the seed.
        count: The number of scenes.
        questions: The number of questions about each scene; fewer where the scene does not allow as many.
        seed: Of scenes and questions.
        types: The types of the questions, among `TYPES`.
    """
    questioner = Questioner(types)
    for number in range(count):
        random = Random(f"{seed}/{split}/{number}")  # so that a scene does not depend on earlier ones
        scene = draw_scene(random)
        yield scene, questioner.ask(scene, questions, random)


def write_scenes(scenes: Iterator[tuple[Scene, list[Question]]], folder: Path) -> tuple[int, int]:
    """Write pictures as PNG, and a `metadata.jsonl` with the questions.

    The files take their places in the folder once all are complete, `metadata.jsonl` last.

    Args:
        scenes: In the order of their names, `000000.png` and so on.
        folder: The folder to write to; created where it is missing.

    Returns:
        The number of pictures and the number of questions.

    Raises:
        InputError: A file cannot be written.
    """
    lines: list[str] = []
    number = -1
    try:
        with whole_data(folder) as part:
            for number, (scene, questions) in enumerate(scenes):
                name = f"{number:06}.png"
                png = io.BytesIO()
                paint(scene).save(png, format="PNG", compress_level=1)  # noise cannot be compressed much further
                write_bytes(part / name, png.getvalue())
                for question in questions:
                    row = {"file_name": name, "question": question.text, "answer": question.answers[0]}
                    lines.append(
                        json.dumps(row | {"type": question.type, "boxes": question.boxes, "named": question.named})
                    )
            write_text(part / MANIFEST, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise InputError(f"{folder}: pictures cannot be written here: {error}") from error
    return number + 1, len(lines)


if __name__ == "__main__":
    main()
