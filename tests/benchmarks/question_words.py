"""How far the words of a question alone go, without the picture: what a model that answers has to exceed.

    python -m tests.benchmarks.question_words --data .data/daquar [--split validation] [--words 2]

A logistic regression over the words of the questions (1 where a question has the word, or the sequence of up to
`--words` words), whose L2 penalty the validation split chooses, whatever `--split` is measured; and the most frequent
answer of the kind of question. Figures are the shares of exact answers, as `multiattn evaluate answer` has them.
"""

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from multiattn.data.answer_list import frequent_answers
from multiattn.data.questions import Question, read_questions
from multiattn.metrics.vqa import answer_scores, most_frequent, normalize_question, question_type

PENALTIES = (1e-5, 3e-5, 1e-4, 3e-4)
"""Weights of half the sum of squares beside the mean cross-entropy."""


def sequences(question: Question, *, words: int) -> set[str]:
    """The words of a question, and their sequences up to this length, the beginning included."""
    found = ["<", *normalize_question(question.text).replace("_", " ").split()]
    return {" ".join(found[i : i + n]) for n in range(1, words + 1) for i in range(len(found) - n + 1)}


def table(questions: Sequence[Question], columns: dict[str, int], *, words: int) -> torch.Tensor:
    """A row for each question, with ones in the columns of what it has."""
    rows = torch.zeros(len(questions), len(columns))
    for row, question in zip(rows, questions, strict=True):
        row[[columns[one] for one in sequences(question, words=words) if one in columns]] = 1
    return rows


def fitted(rows: torch.Tensor, targets: torch.Tensor, *, penalty: float) -> torch.nn.Linear:
    """The regression from rows to classes."""
    model = torch.nn.Linear(rows.shape[1], int(targets.max()) + 1)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(model(rows), targets) + penalty / 2 * model.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return model


def exact(answers: Sequence[str], questions: Sequence[Question]) -> float:
    """The share of answers that are the one that most people gave."""
    given = [question.answers for question in questions]
    return answer_scores(answers, given, [""] * len(questions)).accuracy


def main() -> None:
    """Print the share of exact answers of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=".data/daquar")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--words", type=int, default=1, help="words of a sequence at most (default: 1)")
    parser.add_argument(
        "--min-count", type=int, default=2, help="training questions of an answer at least (default: 2)"
    )
    args = parser.parse_args()
    records = {split: read_questions(args.data, split) for split in ("train", "validation", args.split)}
    asked = {split: list(one.questions()) for split, one in records.items()}
    train = asked["train"]
    labels = frequent_answers(records["train"], max_answers=len(train), min_count=args.min_count)
    columns = {one: i for i, one in enumerate(sorted({s for q in train for s in sequences(q, words=args.words)}))}
    known = [(i, next(iter(found))) for i, q in enumerate(train) if (found := labels.targets(q.answers))]
    rows = {split: table(questions, columns, words=args.words) for split, questions in asked.items()}
    targets = torch.tensor([target for _, target in known])
    best, model = max(
        (
            (exact(answers_of(one, rows["validation"], labels.labels), asked["validation"]), one)
            for one in (fitted(rows["train"][[i for i, _ in known]], targets, penalty=p) for p in PENALTIES)
        ),
        key=lambda found: found[0],
    )
    print(
        f"{len(labels.labels)} answers, {len(columns)} words or sequences; validation, by which was chosen: {best:.4f}"
    )
    frequent = most_frequent([q.answers for q in train], [question_type(q.text) for q in train])
    guessed = [frequent.get(question_type(question.text), frequent[""]) for question in asked[args.split]]
    print(f"{args.split}, {len(guessed)} questions")
    print(f"  most frequent answer of the kind of question  {exact(guessed, asked[args.split]):.4f}")
    found = answers_of(model, rows[args.split], labels.labels)
    print(f"  logistic regression over the question's words {exact(found, asked[args.split]):.4f}")


@torch.inference_mode()
def answers_of(model: torch.nn.Linear, rows: torch.Tensor, labels: Sequence[str]) -> list[str]:
    """The likeliest answer of each row."""
    return [labels[index] for index in model(rows).argmax(dim=1).tolist()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
