"""ROUGE-L: the longest common subsequence of a caption and a reference, against the length of both.

Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3; the best precision and the best
recall of any reference, and beta, as in pycocoevalcap, `rouge/rouge.py`.
"""

from collections.abc import Sequence

_BETA = 1.2  # how many times more recall counts than precision


def rouge_l(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """The mean ROUGE-L of a set, 0 to 1; arguments as for `bleu`."""
    scores = [_one(words, several) for words, several in zip(candidates, references, strict=True)]
    return sum(scores) / len(scores)


def _one(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    common = [(common_subsequence(words, one), len(one)) for one in references]
    if not any(shared for shared, _ in common):
        return 0.0
    precision = max(shared for shared, _ in common) / len(words)
    recall = max(shared / length for shared, length in common if length)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """How many words the longest common subsequence has: same order, gaps allowed."""
    row = [0] * (len(second) + 1)  # row[j]: of the words of `first` so far and the first j of `second`
    for word in first:
        before = 0  # the previous row at j
        for j, other in enumerate(second):
            above = row[j + 1]
            row[j + 1] = before + 1 if word == other else max(above, row[j])
            before = above
    return row[-1]
