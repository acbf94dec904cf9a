"""Pictures over HTTP: the same as from the pipelines."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import multiattn
from tests.deploy.serving import INPUTS, picture


@cache
def pipeline(task: str) -> Any:
    return multiattn.load(task, device="cpu")


def same(found: Any, expected: Any) -> bool:
    """Whether two JSON values are the same, numbers within 1e-4."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return abs(found - expected) <= 1e-4 if isinstance(expected, float) else bool(found == expected)


def posted(client: httpx.Client, path: str, name: str = "scene.png", **fields: Any) -> dict[str, Any]:
    answer = client.post(path, files=picture(name), data=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def of_json(result: Any) -> Any:
    return json.loads(json.dumps(result.to_dict()))


def test_labels(client: httpx.Client) -> None:
    found = posted(client, "/v1/classify", "frog.png", top_k=3)
    expected = of_json(pipeline("classify")(INPUTS / "frog.png", top_k=3))
    assert same(found, expected | {"model": "classify", "file": "frog.png"})


def test_labels_of_ones_own(client: httpx.Client) -> None:
    labels = ["a red circle", "a blue square", "a green triangle"]
    found = posted(client, "/v1/classify", labels=labels)
    expected = of_json(pipeline("match").classify(INPUTS / "scene.png", labels))
    assert same(found, expected | {"model": "match", "file": "scene.png"})


def test_captions(client: httpx.Client) -> None:
    found = posted(client, "/v1/caption", num_beams=4, num_return_sequences=2)
    expected = of_json(pipeline("caption")(INPUTS / "scene.png", num_beams=4, num_return_sequences=2))
    assert same(found, expected | {"model": "caption", "file": "scene.png"})


def test_answers(client: httpx.Client) -> None:
    questions = ["what color is the circle?", "how many shapes are there?"]
    found = posted(client, "/v1/answer", question=questions, top_k=2)
    expected = [of_json(one) for one in pipeline("answer")((INPUTS / "scene.png").read_bytes(), questions, top_k=2)]
    assert same(found, {"model": "answer", "file": "scene.png", "answers": expected})


def test_texts(client: httpx.Client) -> None:
    texts = ["a red circle", "a blue square"]
    found = posted(client, "/v1/match", texts=texts)
    assert same(
        found, of_json(pipeline("match")(INPUTS / "scene.png", texts)) | {"model": "match", "file": "scene.png"}
    )


def test_vectors(client: httpx.Client) -> None:
    found = posted(client, "/v1/embed", model="classify", normalize=True)
    expected = of_json(pipeline("classify").embed(INPUTS / "scene.png", normalize=True))
    assert same(found, expected | {"model": "classify", "file": "scene.png"})
    text = client.post("/v1/embed", json={"text": "a red circle"}).json()
    (vector,) = pipeline("match").embed_texts(["a red circle"])
    assert text["model"] == "match" and text["text"] == "a red circle"
    np.testing.assert_allclose(text["embedding"], vector, atol=1e-4)


def test_json_with_base64_is_as_a_form(client: httpx.Client) -> None:
    data = base64.b64encode((INPUTS / "scene.png").read_bytes()).decode()
    fields = {"question": "what color is the circle?", "top_k": 2}
    expected = posted(client, "/v1/answer", **fields)
    for file in (data, f"data:image/png;base64,{data}"):
        found = client.post("/v1/answer", json={"file": file, "filename": "scene.png", **fields})
        assert found.status_code == 200 and same(found.json(), expected)


def test_many_at_once_have_each_their_own(client: httpx.Client) -> None:
    """Requests of several pictures, options and questions, which share batches where they can."""
    names = ["frog.png", "ship.png", "truck.png", "airplane.png", "scene.png"]
    wanted: list[tuple[str, str, dict[str, Any]]] = [
        ("/v1/classify", name, {"top_k": 1 + i}) for i in (0, 1) for name in names
    ]
    wanted += [
        ("/v1/answer", name, {"question": ["what color is it?", "how many?"][i]}) for i in (0, 1) for name in names
    ]
    alone = [posted(client, path, name, **fields) for path, name, fields in wanted]
    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(lambda one: posted(client, one[0], one[1], **one[2]), wanted))
    assert all(same(found, expected) for found, expected in zip(together, alone, strict=True))


def test_pictures_of_maps(client: httpx.Client) -> None:
    found = posted(client, "/v1/classify", "frog.png", maps="png", map_method=["rollout", "attention"])
    assert [one["name"] for one in found["maps"]] == ["rollout.png", "attention.png"]
    for one in found["maps"]:
        assert one["media_type"] == "image/png"
        assert Image.open(io.BytesIO(base64.b64decode(one["data"]))).format == "PNG"


def test_numbers_of_maps(client: httpx.Client) -> None:
    found = posted(client, "/v1/classify", "frog.png", maps="json", check=True)
    (expected,) = pipeline("classify")(INPUTS / "frog.png", maps="lrp", check=True).maps
    (one,) = found["maps"]
    np.testing.assert_allclose(one["map"]["values"], expected.map.values, atol=1e-4)
    assert one["name"] == "lrp.json" and one["map"]["method"] == "lrp"
    assert same(found["verdict"], [json.loads(json.dumps(expected.checked.to_dict()))])


@pytest.mark.slow
def test_numbers_of_the_maps_of_questions(client: httpx.Client) -> None:
    found = posted(client, "/v1/answer", question=["what is it?", "how many?"], maps="json", map_method="attention")
    names = [f"{number}.attention{end}.json" for number in (1, 2) for end in ("", ".question")]
    assert sorted(one["name"] for one in found["maps"]) == sorted(names)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("/v1/caption", {}, marks=pytest.mark.slow),
        ("/v1/answer", {"question": ["what is it?", "how many?"]}),
        pytest.param("/v1/match", {"texts": ["a red circle", "a blue square"]}, marks=pytest.mark.slow),
    ],
)
def test_a_page_of_maps(client: httpx.Client, path: str, fields: dict[str, Any]) -> None:
    found = posted(client, path, maps="html", map_method="attention", **fields)
    (one,) = found["maps"]
    page = base64.b64decode(one["data"]).decode()
    assert one["name"] == "maps.html" and one["media_type"].startswith("text/html")
    assert page.startswith("<!doctype html>")


def test_check_without_maps_has_a_verdict_and_no_files(client: httpx.Client) -> None:
    found = posted(client, "/v1/classify", "frog.png", check="true")
    assert len(found["verdict"]) == 1 and "maps" not in found


def test_questions_about_one_picture_share_its_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiattn.deploy import computing
    from multiattn.deploy.work import Work

    model = pipeline("answer")
    data = (INPUTS / "scene.png").read_bytes()
    asked = ["what color is the circle?", "how many?", "what color is the circle?"]
    batch = [
        computing.read(model, Work("answer", "answer", data, questions=(one,)), computing.Limits()) for one in asked
    ]
    assert len({one.key for one in batch}) == len({one.same for one in batch}) == 1
    encoded = []
    features = model.vision.features
    monkeypatch.setattr(
        model.vision, "features", lambda pixels, **more: encoded.append(len(pixels)) or features(pixels, **more)
    )
    found = computing.compute(model, batch)
    assert encoded == [1]
    assert [one[0].question for one in found] == asked
    assert [one[0].answer for one in found] == [model(data, question).answer for question in asked]
