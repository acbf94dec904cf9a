"""info for models that answer."""

import json
from dataclasses import replace
from pathlib import Path

from multiattn.weights import save_bundle
from tests.fixtures import ANSWERS, save_tiny_answerer, tiny_answer_bundle


def test_info_as_json(run, tmp_path: Path) -> None:
    outcome = run("info", save_tiny_answerer(tmp_path, "decoder"), "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    facts = json.loads(outcome.out)
    assert (facts["task"], facts["labels"], facts["vocabulary"]) == ("answer", [], 97)
    assert facts["decoding"] == {"max_tokens": 7}
    sites = {site["name"]: (site["heads"], site["queries"], site["keys"]) for site in facts["attention_sites"]}
    assert sites["question.blocks.2.self"] == (2, 43, 43)
    assert sites["question.blocks.2.cross"] == (2, 43, 22)
    assert sites["decoder.blocks.1.cross"] == (2, 17, 43)
    assert len(sites) == 3 + 2 * 3 + 2 * 2


def test_info_to_read(run, tmp_path: Path) -> None:
    found = lines(run("info", save_tiny_answerer(tmp_path / "decoder", "decoder")))
    text = "heads, mlp 37, pre-norm, learned positions for"
    assert found["question"] == f"width 26, depth 3, 2 {text} 43 tokens, begins with [START] (token 1)"
    assert found["decoder"] == f"width 34, depth 2, 2 {text} 17 tokens"
    assert found["attention"] == (
        "13 sites: encoder.blocks.N.self of 2 heads, question.blocks.N.self and question.blocks.N.cross of 2, "
        "decoder.blocks.N.self and decoder.blocks.N.cross of 2; 22 tokens of the picture, of which 3 x 7 are patches"
    )
    assert (found["vocabulary"], found["decoding"]) == ("97 tokens", "num_beams 3, max_tokens 7")
    assert "answers" not in found


def test_info_of_a_closed_list(run, tmp_path: Path) -> None:
    save_bundle(replace(tiny_answer_bundle(), decoding={"pointing_heads": ((1, 0),)}), tmp_path)
    found = lines(run("info", tmp_path))
    assert found["answers"] == f"5: {', '.join(ANSWERS)}"
    assert found["decoding"] == "pointing_heads ((1, 0),)"
    assert "decoder" not in found and "labels" not in found


def lines(outcome) -> dict[str, str]:
    assert (outcome.status, outcome.err) == (0, "")
    return dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
