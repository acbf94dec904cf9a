"""Ours against pycocoevalcap: its scorers in Python, and, where Java is there, its tokenizer and Meteor."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from multiattn.metrics import CiderD, caption_scores
from multiattn.metrics import tokenize as tokenize
from multiattn.metrics.caption import bleu, rouge_l
from multiattn.metrics.meteor import counts
from tests.metrics.sentences import captions
from tests.metrics.test_tokenize import KNOWN

pycocoevalcap = pytest.importorskip("pycocoevalcap", reason="needs the extra `parity`")
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")

SEEDS = range(5)


def as_theirs(candidates: list[str], references: list[list[str]]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and candidates as their scorers take them: tokenized, and by the item's key."""
    return (
        {i: [" ".join(tokenize(text)) for text in texts] for i, texts in enumerate(references)},
        {i: [" ".join(tokenize(text))] for i, text in enumerate(candidates)},
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("items", [1, 2, 29])
def test_bleu(seed, items):
    from pycocoevalcap.bleu.bleu import Bleu

    candidates, references = captions(seed, items=items)
    theirs, _ = Bleu(4).compute_score(*as_theirs(candidates, references), verbose=0)
    words = [tokenize(text) for text in candidates]
    assert bleu(words, [[tokenize(text) for text in texts] for texts in references]) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_rouge_l(seed):
    from pycocoevalcap.rouge.rouge import Rouge

    candidates, references = captions(seed, items=29)
    theirs, _ = Rouge().compute_score(*as_theirs(candidates, references))
    words = [tokenize(text) for text in candidates]
    ours = rouge_l(words, [[tokenize(text) for text in texts] for texts in references])
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("items", [2, 29])
def test_cider(seed, items):
    from pycocoevalcap.cider.cider import Cider

    candidates, references = captions(seed, items=items)
    mean, each = Cider().compute_score(*as_theirs(candidates, references))
    assert CiderD(references).score(candidates, range(items)) == pytest.approx(np.asarray(each), abs=1e-9)
    assert caption_scores(candidates, references).cider == pytest.approx(mean, abs=1e-9)


@needs_java
def test_the_tokenizer(tmp_path):
    """Every sentence that has an answer in our own table has the same from Stanford's tokenizer."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    sentences = [text for text in KNOWN if text.strip(" .") and "\n" not in text]
    (tmp_path / "sentences.txt").write_text("\n".join(sentences), encoding="utf-8")
    jar = Path(pycocoevalcap.__path__[0]) / "tokenizer" / STANFORD_CORENLP_3_4_1_JAR
    command = ["java", "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    command += ["-encoding", "UTF-8", tmp_path / "sentences.txt"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    lines = done.stdout.splitlines()
    theirs = [[word for word in line.split() if word not in PUNCTUATIONS] for line in lines]
    assert theirs == [tokenize(text) for text in sentences]


@needs_java
def test_meteor_with_two_stages():
    pairs = [
        (text, other)
        for seed in SEEDS
        for text, texts in zip(*captions(seed, items=29, most=1), strict=True)
        for other in texts
    ]
    jar = Path(pycocoevalcap.__path__[0]) / "meteor" / "meteor-1.5.jar"
    command = ["java", "-Xmx1G", "-jar", jar, "-", "-", "-stdio", "-l", "en", "-m", "exact stem", "-w", "1.0 0.6"]
    asked = "".join(f"SCORE ||| {other} ||| {text}\n" for text, other in pairs)
    first = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout.splitlines()
    again = "".join(f"EVAL ||| {statistics}\n" for statistics in first)
    second = subprocess.run(command, input=again, capture_output=True, text=True, check=True).stdout.splitlines()
    theirs = [float(line) for line in second[::2]]  # each is given twice: of the one sentence, and of the set
    assert [counts(tokenize(text), tokenize(other)).score() for text, other in pairs] == pytest.approx(theirs, abs=1e-6)
