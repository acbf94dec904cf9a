"""Invented captions for the tests of the metrics: few words, so that many are shared and repeated."""

import random

WORDS = "a the dog dogs man men runs running in red of ball with two jumps jumping grass".split()


def sentence(generator: random.Random, *, longest: int = 11) -> str:
    """One to `longest` words."""
    return " ".join(generator.choice(WORDS) for _ in range(generator.randint(1, longest)))


def captions(seed: int, *, items: int = 13, most: int = 5) -> tuple[list[str], list[list[str]]]:
    """Candidates, and for each one to `most` references."""
    generator = random.Random(seed)
    references = [[sentence(generator) for _ in range(generator.randint(1, most))] for _ in range(items)]
    return [sentence(generator) for _ in range(items)], references
