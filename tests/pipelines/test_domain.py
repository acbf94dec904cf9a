"""Pictures and questions unlike those that a model was trained on are marked, and nothing else changes."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image

from multiattn.data.scenes import draw_scene, paint
from multiattn.errors import InputError, ModelError
from multiattn.models.domain import Domain
from multiattn.pipelines import AnswerPipeline, ClassifyPipeline, OutOfDomain, load
from multiattn.pipelines.fit_domain import fit_domain, main
from multiattn.weights import ModelBundle, load_bundle, save_bundle
from multiattn.weights.domain_file import DOMAIN, write_domain
from tests.fixtures import draw, save_drawing, save_tiny_model, tiny_answer_bundle, tiny_bundle

SEEN = [draw(seed) for seed in range(60)]
UNLIKE = Image.new("RGB", (53, 37), (255, 255, 255))


@pytest.fixture(scope="module")
def labeled() -> ModelBundle:
    bundle = tiny_bundle()
    return replace(bundle, domain=fit_domain(ClassifyPipeline(bundle, device="cpu"), SEEN, prototypes=31, marked=0.1))


@pytest.fixture(scope="module")
def answering() -> ModelBundle:
    bundle = tiny_answer_bundle("closed")
    questions = ["what color is the square?", "is there a dog?"]
    pipeline = AnswerPipeline(bundle, device="cpu")
    return replace(bundle, domain=fit_domain(pipeline, SEEN, questions=questions, prototypes=53, marked=0.1))


def test_a_classifier_marks_a_picture_unlike_all_and_few_others(labeled) -> None:
    found = ClassifyPipeline(labeled, device="cpu")([*SEEN, UNLIKE])
    assert sum(result.out_of_domain is not None for result in found[:-1]) <= 6
    with torch.no_grad():
        pooled = labeled.model.pooled(labeled.pictures(UNLIKE)[0][None])
    mark = found[-1].out_of_domain
    assert mark.picture == pytest.approx(float(labeled.domain.distances(pooled[:, None])), rel=1e-3)
    assert mark.picture > 1
    assert found[-1].to_dict()["out_of_domain"] == {"picture": round(mark.picture, 3)}


def test_the_class_token_is_the_one_that_the_head_reads() -> None:
    model, images = tiny_bundle().model, torch.randn(3, 3, 15, 35)
    with torch.no_grad():
        assert torch.equal(model.head(model.pooled(images)), model(images))


@pytest.mark.parametrize("maps", [None, "rollout"])
def test_nothing_else_changes(labeled, answering, maps) -> None:
    for bundle, make, call in (
        (labeled, ClassifyPipeline, lambda pipeline, one: pipeline(one, maps=maps)),
        (answering, AnswerPipeline, lambda pipeline, one: pipeline(one, "is there a dog?", maps=maps)),
    ):
        inside = replace(bundle, domain=replace(bundle.domain, threshold=1e6))
        outside = replace(bundle, domain=replace(bundle.domain, threshold=1e-6))
        plain, kept, marked = (
            call(make(one, device="cpu"), SEEN[0]) for one in (replace(bundle, domain=None), inside, outside)
        )
        assert plain.out_of_domain is None and kept.out_of_domain is None and marked.out_of_domain is not None
        assert plain.to_dict() == kept.to_dict()
        facts = marked.to_dict()
        assert facts.pop("out_of_domain")
        assert facts == plain.to_dict()


def test_an_answer_is_marked_for_its_picture_and_its_words(answering) -> None:
    model, domain = answering.model, answering.domain
    with torch.no_grad():
        features = model.encoder.features(torch.stack([answering.pictures(picture)[0] for picture in SEEN]))
    distances = domain.distances(features[:, 1:])  # without the class token
    near, other, *_, far = distances.argsort().tolist()
    middle = domain.threshold * float(distances[other] + distances[far]) / 2
    answer = AnswerPipeline(replace(answering, domain=replace(domain, threshold=middle)), device="cpu")
    known, new = "is there a dog?", "is there a TABLE, or a 猫?"
    first, second = answer(SEEN[far], [known, new])
    assert first.out_of_domain.words == () and second.out_of_domain.words == ("table", "猫")
    assert first.out_of_domain.picture == second.out_of_domain.picture
    assert first.out_of_domain.picture == pytest.approx(float(distances[far] * domain.threshold / middle), rel=1e-3)
    assert answer(SEEN[near], known).out_of_domain is None
    assert answer(SEEN[near], new).to_dict()["out_of_domain"] == {"words": ["table", "猫"]}
    # pictures with different numbers of questions: each question has the mark of its own picture
    asked = [(SEEN[near], known), (SEEN[far], [known, new]), (SEEN[other], new)]
    marks = [one.out_of_domain for one in answer.stream(asked)]
    assert [mark is not None and mark.picture is not None for mark in marks] == [False, True, True, False]


def test_what_a_mark_says() -> None:
    assert str(OutOfDomain(1.234, ("table", "wall"))) == (
        "the picture is unlike the training pictures (1.23 times the threshold) and no training question has the words "
        "table, wall"
    )


def test_the_domain_is_saved_with_our_layout_and_goes_with_its_model(labeled, tmp_path: Path) -> None:
    save_bundle(labeled, tmp_path)
    loaded = load_bundle(tmp_path).domain
    for name in ("mean", "whitening", "prototypes"):
        torch.testing.assert_close(getattr(loaded, name), getattr(labeled.domain, name), atol=1e-2, rtol=1e-2)
    assert (loaded.threshold, loaded.worst, loaded.words) == (labeled.domain.threshold, 1, frozenset())
    assert (tmp_path / DOMAIN).stat().st_mode == (tmp_path / "config.json").stat().st_mode
    save_bundle(tiny_bundle(), tmp_path)
    assert load_bundle(tmp_path).domain is None and not (tmp_path / DOMAIN).exists()
    save_bundle(labeled, tmp_path / "other", layout="hf-vit")
    assert load_bundle(tmp_path / "other").domain is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path, domain: path.write_bytes(b"{" * 64), "must be the domain of a model, but is damaged or unusual"),
        (lambda path, domain: path.write_bytes(b""), "must be the domain of a model, but is damaged or unusual"),
        (
            lambda path, domain: path.write_bytes((path.parent / "model.safetensors").read_bytes()),
            "`format` must be 'multiattn domain 1', but is 'pt' instead",
        ),
        (
            lambda path, domain: write_domain(Domain(torch.zeros(5), torch.eye(5), torch.zeros(3, 5)), path),
            r"`mean` must have the shape \[22\] of the model's tokens, but has \[5\]",
        ),
        (
            lambda path, domain: write_domain(replace(domain, mean=domain.mean * torch.nan), path),
            "`mean` must be finite, but has NaN or infinite values",
        ),
        (
            lambda path, domain: path.write_bytes(path.read_bytes().replace(b'"worst":"1"', b'"worst":"x"')),
            "must be the domain of a model, but is damaged or unusual",
        ),
    ],
)
def test_a_file_that_is_no_domain(labeled, tmp_path: Path, change, message) -> None:
    save_bundle(labeled, tmp_path)
    change(tmp_path / DOMAIN, labeled.domain)
    with pytest.raises(ModelError, match=message) as error:
        load_bundle(tmp_path)
    assert str(tmp_path / DOMAIN) in str(error.value) and "\n" not in str(error.value)


def test_too_few_pictures(labeled) -> None:
    pipeline = ClassifyPipeline(tiny_bundle(), device="cpu")
    with pytest.raises(InputError, match="`pictures` must be at least 50, but is 3 instead"):
        fit_domain(pipeline, SEEN[:3])
    with pytest.raises(ModelError, match="`marked` must be above 0 and below 1, but is 1.0 instead"):
        fit_domain(pipeline, SEEN, marked=1.0)


def test_the_command_writes_the_domain_of_a_model(tmp_path: Path, capsys) -> None:
    for number, picture in enumerate(SEEN[:55]):
        save_drawing(tmp_path / "data" / f"{number}.png", number, size=picture.size)
    directory = save_tiny_model(tmp_path / "model")
    main([str(directory), "--data", str(tmp_path / "data"), "--prototypes", "17", "--marked", "0.2"])
    assert capsys.readouterr().out == f"{directory / DOMAIN}: 17 prototypes\n"
    assert load(directory, task="classify", device="cpu")(UNLIKE).out_of_domain is not None
    with pytest.raises(SystemExit, match="`pictures` must be at least 50, but is 3 instead"):
        main([str(directory), "--data", str(tmp_path / "data"), "--pictures", "3"])


@pytest.fixture(scope="module")
def shipped() -> AnswerPipeline:
    return load("answer", device="cpu")


def test_the_shipped_answerer_knows_scenes_and_no_photographs(shipped) -> None:
    skimage = pytest.importorskip("skimage")
    scenes = [paint(draw_scene(Random(f"held out {number}"))) for number in range(40)]
    marks = [one.out_of_domain for one in shipped.stream([(scene, "how many circles are there?") for scene in scenes])]
    assert sum(mark is not None for mark in marks) <= 1
    folder = Path(skimage.__file__).parent / "data"
    for name in ("chelsea.png", "coffee.png", "astronaut.png", "motorcycle_left.png", "rocket.jpg"):
        mark = shipped(folder / name, "what color is the table?").out_of_domain
        assert mark.picture > 1 and mark.words == ("table",)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("what color is the large circle?", ()),
        ("How many RED objects are there?", ()),
        ("what is left of the chair behind the wall?", ("chair", "behind", "wall")),
        ("who is in the picture?", ("who",)),
    ],
)
def test_the_words_that_the_shipped_answerer_has_read(shipped, question, words) -> None:
    assert shipped.bundle.domain.new_words(question) == words
