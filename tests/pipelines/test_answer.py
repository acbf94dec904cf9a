"""The answering pipeline against plain passes of the model, one question about one picture at a time."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.errors import InputError, ModelError
from multiattn.export import load_map
from multiattn.inputs import Fit
from multiattn.maps import ANSWER_METHODS, explain_answer
from multiattn.models import VQA, SingleStream, SingleStreamConfig, TextEncoderConfig, ViT
from multiattn.pipelines import Answer, AnswerPipeline, Failure, save_answers
from multiattn.pipelines import answer_batch as room
from multiattn.pipelines.questions import encoded_question
from multiattn.weights import ModelBundle
from tests.fixtures import ANSWERS, CONFIG, draw, save_drawing, tiny_answer_bundle, tiny_bundle

ASKED = ("what color is the square?", "is there a dog?", "how many?", "where is the small fox, left of the tree?")
SIZES = [(53, 37), (31, 71), (13, 11), (101, 3), (35, 15)]
LIST = ("red", "two", "a red square", "the dog", "left of the tree", "nothing")


@pytest.fixture(scope="module")
def closed() -> AnswerPipeline:
    return AnswerPipeline(tiny_answer_bundle("closed"), device="cpu")


@pytest.fixture(scope="module")
def writing() -> AnswerPipeline:
    return AnswerPipeline(tiny_answer_bundle("decoder"), device="cpu")


@pytest.fixture(scope="module", params=["closed", "decoder"])
def answer(request, closed, writing) -> AnswerPipeline:
    return closed if request.param == "closed" else writing


def tokens_of(bundle: ModelBundle, text: str, *, first: int | None = None) -> list[int]:
    config = bundle.model.config.question
    return [config.start_token if first is None else first, *bundle.tokenizer.encode(text), config.end_token]


def states(bundle: ModelBundle, picture: Image.Image, question: str, *, first: int | None = None) -> torch.Tensor:
    pixels, _ = bundle.preprocessing(picture)
    with torch.no_grad():
        context = bundle.model.encode(pixels[None])
        return bundle.model.read(torch.tensor([tokens_of(bundle, question, first=first)]), context)


def probabilities(
    bundle: ModelBundle, picture: Image.Image, question: str, *, first: int | None = None
) -> torch.Tensor:
    """Of the closed list, by one plain pass."""
    with torch.no_grad():
        return bundle.model.answer_logits(states(bundle, picture, question, first=first))[0].softmax(dim=0)


def log_probs(bundle: ModelBundle, seen: torch.Tensor, tokens: list[int]) -> list[float]:
    """Of each token and the end after them, by one plain pass."""
    decoder = bundle.model.decoder
    following = [*tokens, decoder.config.end_token]
    with torch.no_grad():
        rows = decoder(torch.tensor([[decoder.config.start_token, *tokens]]), seen)[0].log_softmax(dim=-1)
    return [float(row[token]) for row, token in zip(rows, following, strict=True)]


def test_a_closed_list_is_ordered_by_its_probability(closed) -> None:
    bundle = tiny_answer_bundle("closed")
    said = set()
    for seed, question in itertools.product(range(5), ASKED):
        expected = probabilities(bundle, draw(seed), question)
        result = closed(draw(seed), question)
        order = expected.argsort(descending=True).tolist()
        assert [one.text for one in result.candidates] == [ANSWERS[place] for place in order]
        assert [one.score for one in result.candidates] == pytest.approx(expected[order].tolist(), abs=1e-5)
        assert (result.answer, result.score) == (result.candidates[0].text, result.candidates[0].score)
        assert (result.file, result.question, result.error, result.maps) == (None, question, None, ())
        (word,) = result.words
        assert (word.text, word.start, word.end) == (result.answer, 0, len(result.answer))
        assert word.probability == result.score
        said.add(result.answer)
    assert len(said) > 1  # the fixture answers differently


def test_top_k_cuts_the_candidates(closed, writing) -> None:
    whole = closed(draw(1), ASKED[0])
    assert len(whole.candidates) == len(ANSWERS) == 5
    assert closed(draw(1), ASKED[0], top_k=2).candidates == whole.candidates[:2]
    assert closed(draw(1), ASKED[0], top_k=99).candidates == whole.candidates
    assert len(writing(draw(1), ASKED[0]).candidates) == 3
    assert len(writing(draw(1), ASKED[0], top_k=2).candidates) == 2
    assert len(writing(draw(1), ASKED[0], top_k=4).candidates) == 4
    assert len(writing(draw(1), ASKED[0], top_k=2, num_beams=5).candidates) == 2
    assert len(writing(draw(1), ASKED[0], top_k=5, num_beams=2).candidates) == 2
    assert len(writing(draw(1), ASKED[0], answers=LIST).candidates) == 5
    assert len(writing(draw(1), ASKED[0], answers=LIST, top_k=1).candidates) == 1


def test_a_part_of_the_closed_list_shares_the_probability(closed) -> None:
    whole = {one.text: one.score for one in closed(draw(2), ASKED[1]).candidates}
    result = closed(draw(2), ASKED[1], answers=["two", "yes", "above the wall"])
    left = {text: whole[text] for text in ("two", "yes", "above the wall")}
    assert {one.text: one.score for one in result.candidates} == pytest.approx(
        {text: score / sum(left.values()) for text, score in left.items()}, abs=1e-5
    )
    assert result.answer == max(left, key=left.__getitem__)
    (attention,) = closed(draw(2), ASKED[1], answers=["two"], maps="attention").maps
    assert attention.map.axes[0].labels == ("two",)


def test_greedy_is_the_likeliest_token_each_time(writing) -> None:
    bundle = tiny_answer_bundle("decoder")
    decoder = bundle.model.decoder
    for seed, question in itertools.product(range(3), ASKED):
        seen = states(bundle, draw(seed), question)
        tokens = [decoder.config.start_token]
        total, each = 0.0, []
        for _ in range(7):
            with torch.no_grad():
                row = decoder(torch.tensor([tokens]), seen)[0, -1].log_softmax(dim=0)
            tokens.append(int(row.argmax()))
            total += float(row.max())
            each.append(float(row.max()))
            if tokens[-1] == decoder.config.end_token:
                break
        written = [token for token in tokens[1:] if token != decoder.config.end_token]
        result = writing(draw(seed), question, num_beams=1)
        assert result.answer == bundle.tokenizer.decode(written)
        assert result.score == pytest.approx(math.exp(total), rel=1e-3)
        words = bundle.tokenizer.words(written)
        assert [(word.text, word.start, word.end) for word in result.words] == [word[:3] for word in words]
        assert [word.probability for word in result.words] == pytest.approx(
            [math.exp(sum(each[i] for i in word.pieces)) for word in words], rel=1e-3
        )


def test_candidates_that_are_written_are_ordered_by_their_probability(writing) -> None:
    for seed in range(3):
        scores = [one.score for one in writing(draw(seed), ASKED[seed], num_beams=5, top_k=5).candidates]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 5


def test_a_list_is_ranked_by_the_probability_of_whole_answers(writing) -> None:
    bundle = tiny_answer_bundle("decoder")
    orders = set()
    for seed, question in itertools.product(range(3), ASKED):
        seen = states(bundle, draw(seed), question)
        expected = {text: math.exp(sum(log_probs(bundle, seen, bundle.tokenizer.encode(text)))) for text in LIST}
        result = writing(draw(seed), question, answers=LIST, top_k=9)
        assert [one.text for one in result.candidates] == sorted(LIST, key=lambda text: -expected[text])
        assert [one.score for one in result.candidates] == pytest.approx(sorted(expected.values())[::-1], rel=1e-3)
        orders.add(tuple(one.text for one in result.candidates))
    assert len(orders) > 1  # it depends on picture and question


def test_an_answer_out_of_a_list_stands_as_it_was_given(writing) -> None:
    (only,) = writing(draw(0), ASKED[0], answers=["A Red  Square"]).candidates
    assert only.text == "A Red  Square"
    result = writing(draw(0), ASKED[0], answers=["A Red  Square"], maps="attention")
    assert [(word.text, word.start, word.end) for word in result.words] == [
        ("A", 0, 1),
        ("Red", 2, 5),
        ("Square", 7, 13),
    ]
    assert "".join(result.maps[0].map.axes[0].labels) == "A Red  Square"


def test_many_questions_about_a_picture_are_each_question_alone(answer) -> None:
    together = answer(draw(1), list(ASKED))
    assert [result.question for result in together] == list(ASKED)
    for question, result in zip(ASKED, together, strict=True):
        alone = answer(draw(1), question)
        assert [one.text for one in result.candidates] == [one.text for one in alone.candidates]
        assert [one.score for one in result.candidates] == pytest.approx(
            [one.score for one in alone.candidates], rel=1e-3
        )
        assert result.question_words == alone.question_words
    assert answer(draw(1), []) == []


def test_a_picture_is_encoded_once_whatever_is_asked(answer, monkeypatch) -> None:
    encoded, features = [], ViT.features
    monkeypatch.setattr(
        ViT, "features", lambda self, images, **more: encoded.append(images) or features(self, images, **more)
    )
    monkeypatch.setattr(room, "_ROWS", 3)  # several passes over the questions
    results = answer(draw(1), [*ASKED, *ASKED, "what?"])
    assert len(results) == 9
    assert [len(images) for images in encoded] == [1]
    encoded.clear()
    pairs = [(draw(seed), ASKED[: seed % 3 + 1]) for seed in range(5)]
    assert len(list(answer.stream(pairs, batch_size=5, maps="attention"))) == 9
    assert [len(images) for images in encoded] == [5]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_a_stream_is_its_single_questions_in_order(answer, tmp_path, monkeypatch, batch_size, rows) -> None:
    monkeypatch.setattr(room, "_ROWS", rows)
    files = [save_drawing(tmp_path / f"{seed}.png", seed, size=size) for seed, size in enumerate(SIZES)]
    counts = [2, 1, 0, 4, 2]
    pairs = [(file, list(ASKED[:count])) for file, count in zip(files, counts, strict=True)]
    results = list(answer.stream(pairs, batch_size=batch_size))
    expected = [(str(file), question) for file, questions in pairs for question in questions]
    assert [(result.file, result.question) for result in results] == expected
    for result, (file, question) in zip(results, expected, strict=True):
        alone = answer(file, question)
        assert result.answer == alone.answer
        assert result.score == pytest.approx(alone.score, rel=1e-3)


def test_a_single_question_in_a_stream_needs_no_list(closed) -> None:
    results = list(closed.stream([(draw(0), ASKED[0]), (draw(1), (ASKED[1],))]))
    assert [result.question for result in results] == list(ASKED[:2])


def test_what_cannot_be_used_is_a_result_of_its_own(answer, tmp_path) -> None:
    gone = tmp_path / "gone.png"
    pairs = [(draw(0), [ASKED[0], " ", ASKED[1]]), (gone, list(ASKED[:2])), (draw(1), ASKED[2]), (draw(2), [""])]
    results = list(answer.stream(pairs, batch_size=2, maps="attention"))
    assert [isinstance(result, Failure) for result in results] == [False, True, False, True, True, False, True]
    assert str(results[1].error) == "`question` must have a word, but is ' ' instead: ask something"
    assert results[3].error is results[4].error
    assert str(gone) in str(results[3].error)
    assert (results[3].file, results[1].file) == (str(gone), None)
    good = [result for result in results if isinstance(result, Answer)]
    assert [result.answer for result in good] == [
        answer(draw(0), ASKED[0]).answer,
        answer(draw(0), ASKED[1]).answer,
        answer(draw(1), ASKED[2]).answer,
    ]
    of_list = answer(draw(0), [ASKED[0], "", ASKED[1]])
    assert [isinstance(result, Failure) for result in of_list] == [False, True, False]


def test_the_one_picture_or_question_that_cannot_be_used_is_an_error(answer, tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone\.png"):
        answer(tmp_path / "gone.png", ASKED[0])
    with pytest.raises(InputError, match=r"gone\.png"):
        answer(tmp_path / "gone.png", list(ASKED))
    with pytest.raises(InputError, match="`question` must have a word, but is '' instead: ask something"):
        answer(draw(0), "")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("\n\t ", "`question` must have a word, but is '\\\\n\\\\t ' instead: ask something"),
        ("fox " * 10_000, r"must have at most 41 tokens, but 'fox fox .* \.\.\.' has \d{5} instead: shorten it"),
        (
            "何色ですか",
            "must have a word that the model's vocabulary knows, but is '何色ですか' instead: ask in the lang",
        ),
        ("a \ud83d", "must be whole characters, but is"),
    ],
)
def test_questions_that_cannot_be_read(answer, question, message) -> None:
    with pytest.raises(InputError, match=message):
        answer(draw(0), question)


def test_questions_that_are_no_text() -> None:
    with pytest.raises(InputError, match="`question` must be text, but is 7 instead"):
        encoded_question(7, tiny_answer_bundle("closed").tokenizer, first_token=1, end_token=2, most=5)


def test_a_question_with_one_unknown_word_is_read_with_a_place_for_it(answer) -> None:
    result = answer(draw(0), "Is the 猫 left?", maps="attention")
    assert [(word.text, word.start, word.end) for word in result.question_words] == [
        ("Is", 0, 2),
        ("the", 3, 6),
        ("猫", 7, 8),
        ("left", 9, 13),
        ("?", 13, 14),
    ]
    assert "".join(result.maps[0].question.axes[0].labels) == "Is the 猫 left?"
    assert result.unknown_words == ("猫",)
    assert answer(draw(0), ASKED[0]).unknown_words == ()


def test_the_longest_question_there_can_be(closed) -> None:
    bundle = tiny_answer_bundle("closed")
    room_for = bundle.model.config.question.max_length - 2
    text = "fox "
    while len(bundle.tokenizer.encode(text + "f")) <= room_for:
        text += "f"
    assert len(bundle.tokenizer.encode(text)) == room_for
    assert closed(draw(0), text).answer in ANSWERS
    with pytest.raises(InputError, match=f"must have at most {room_for} tokens, but .* has {room_for + 1} instead"):
        closed(draw(0), text + "f")


def test_a_stream_reads_no_further_ahead_than_two_batches(closed) -> None:
    taken = 0

    def endless() -> Iterator[tuple[Image.Image, list[str]]]:
        nonlocal taken
        for seed in itertools.count():
            taken += 1
            yield draw(seed % 5), list(ASKED[:2])

    results = closed.stream(endless(), batch_size=3)
    first = [next(results) for _ in range(6)]
    assert taken == 6
    results.close()
    assert [result.answer for result in first[::2]] == [closed(draw(seed), ASKED[0]).answer for seed in range(3)]


def test_the_first_token_is_the_models_or_the_one_asked_for(closed) -> None:
    bundle = tiny_answer_bundle("closed")
    tokenizer = bundle.tokenizer
    assert closed(draw(1), ASKED[0]).first_token == "[START]"
    for asked, token in (("[PAD]", tokenizer.id_of("[PAD]")), ("7", 7)):
        expected = probabilities(bundle, draw(1), ASKED[0], first=token)
        result = closed(draw(1), ASKED[0], first_token=asked)
        assert result.first_token == tokenizer.name_of(token)
        assert result.score == pytest.approx(float(expected.max()), abs=1e-5)
        assert result.score != pytest.approx(closed(draw(1), ASKED[0]).score, abs=1e-3)


def explained(bundle: ModelBundle, result: Answer, picture: Image.Image, method: str) -> tuple[np.ndarray, np.ndarray]:
    """The maps of an answer of one pass over one picture."""
    pixels, geometry = bundle.preprocessing(picture)
    tokenizer = bundle.tokenizer
    if bundle.labels:
        said, words = ANSWERS.index(result.answer), [result.words[0]]
        words = [type(result.question_words[0])(result.answer, 0, len(result.answer), ())]
    else:
        tokens = tokenizer.encode(result.answer)
        said, words = [bundle.model.decoder.config.start_token, *tokens], tokenizer.words(tokens)
    ids, question_words = tokenizer.encode_words(result.question)
    start, end = bundle.model.config.question.start_token, bundle.model.config.question.end_token
    (found,) = explain_answer(
        bundle.model,
        pixels[None],
        [[start, *ids, end]],
        [question_words],
        answers=[said],
        answer_words=[words],
        method=method,
        geometries=[geometry],
    )
    return found.question.values, found.answer.values


@pytest.mark.parametrize("method", ANSWER_METHODS)
@pytest.mark.parametrize("kind", ["closed", "decoder"])
def test_maps_are_those_of_question_and_answer(kind, method, closed, writing) -> None:
    pipeline, bundle = (closed if kind == "closed" else writing), tiny_answer_bundle(kind)
    # out of a list, so that the answer's tokens are known
    answers = None if kind == "closed" else LIST
    pairs = [(draw(seed), list(ASKED[:count])) for seed, count in ((0, 2), (1, 3), (2, 2))]
    results = list(pipeline.stream(pairs, maps=method, answers=answers))
    pictures = [picture for picture, questions in pairs for _ in questions]
    for picture, result in zip(pictures, results, strict=True):
        (one,) = result.maps
        assert (one.map.method, one.question.method, one.picture.size) == (method, method, (53, 37))
        assert "".join(one.question.axes[0].labels) == result.question
        assert "".join(one.map.axes[0].labels) == result.answer
        assert one.map.geometry.source_size == (37, 53)
        question, said = explained(bundle, result, picture, method)
        np.testing.assert_allclose(one.question.values, question, atol=1e-4)
        np.testing.assert_allclose(one.map.values, said, atol=1e-4)
        asked, answered = result.stacks
        assert asked.values.shape == (3, 2, len(result.question_words), 3, 7)
        assert answered.values.shape == (3, 2, len(result.words), 3, 7)


def test_all_is_every_method_and_asking_changes_no_answer(answer) -> None:
    with_maps, plain = answer(draw(2), ASKED[3], maps="all"), answer(draw(2), ASKED[3])
    assert [one.map.method for one in with_maps.maps] == list(
        dict.fromkeys((answer.bundle.first_map_method, *ANSWER_METHODS))
    )
    assert (with_maps.candidates, with_maps.words) == (plain.candidates, plain.words)
    assert (plain.maps, plain.stacks) == ((), ())
    assert [one.map.method for one in answer(draw(2), ASKED[3], maps=["rollout", "attention", "rollout"]).maps] == [
        "rollout",
        "attention",
    ]


def test_the_heads_that_point_are_those_the_maps_rest_on() -> None:
    heads = ((1, 0), (2, 1))
    pointing = AnswerPipeline(replace(tiny_answer_bundle(), decoding={"pointing_heads": heads}), device="cpu")
    result = pointing(draw(1), ASKED[0], maps="attention")
    (one,) = result.maps
    for values, stack in zip((one.question.values, one.map.values), result.stacks, strict=True):
        expected = np.mean([stack.values[layer, head] for layer, head in heads], axis=0)
        np.testing.assert_allclose(values, expected, atol=1e-6)


def silent(*, but: int | None = None) -> AnswerPipeline:
    """A model that ends each answer at once; or that would, but for its first token."""
    bundle = tiny_answer_bundle("decoder")
    decoder = bundle.model.decoder
    with torch.no_grad():
        decoder.norm.weight.zero_()
        decoder.norm.bias.copy_(decoder.embedding.weight[decoder.config.end_token] * 99)
    return AnswerPipeline(bundle, device="cpu")


def test_an_answer_without_words_has_no_maps(tmp_path) -> None:
    result = silent()(draw(1), ASKED[0], maps="all")
    assert (result.answer, result.words, result.maps) == ("", (), ())
    assert result.score == pytest.approx(1, abs=1e-4)
    with pytest.raises(InputError, match="no maps to save; ask for some: answer"):
        result.save_html(tmp_path / "a.html")


def test_an_answer_without_words_does_not_shift_the_maps_of_others(writing, monkeypatch, tmp_path) -> None:
    pairs = [(draw(seed), list(ASKED[:2])) for seed in range(3)]
    whole = list(writing.stream(pairs, maps="all"))
    finding = room.Answerer._with_maps

    def first_says_nothing(self, seen, questions, found, *rest):
        return finding(self, seen, questions, [found[0]._replace(words=()), *found[1:]], *rest)

    monkeypatch.setattr(room.Answerer, "_with_maps", first_says_nothing)
    nothing, *others = writing.stream(pairs, maps="all")
    assert nothing.maps == ()
    save_answers([nothing, others[0]], tmp_path / "page.html")  # it stands on the page of its picture, without a map
    assert f'"words":[],"gaps":["{ASKED[0]}"],"maps":[]' in (tmp_path / "page.html").read_text(encoding="utf-8")
    for result, expected in zip(others, whole[1:], strict=True):
        for ours, theirs in zip(result.maps, expected.maps, strict=True):
            np.testing.assert_allclose(ours.map.values, theirs.map.values, atol=1e-4)
            np.testing.assert_allclose(ours.question.values, theirs.question.values, atol=1e-4)
            assert ours.picture == theirs.picture


def test_maps_are_saved(answer, tmp_path) -> None:
    picture = save_drawing(tmp_path / "fox.png", 3)
    results = answer(picture, list(ASKED[:2]), maps="all")
    first = results[0].maps[0]
    first.save(tmp_path / "a.npz")
    first.save_png(tmp_path / "a.png")
    assert load_map(tmp_path / "a.npz").equals(first.map)
    assert load_map(tmp_path / "a.question.npz").equals(first.question)
    with Image.open(tmp_path / "a.png") as figure:
        assert figure.format == "PNG"
    results[0].save_html(tmp_path / "one.html")
    save_answers(results, tmp_path / "both.html")
    one, both = ((tmp_path / name).read_text(encoding="utf-8") for name in ("one.html", "both.html"))
    assert "fox.png" in one
    assert '"text":" color"' in one
    assert '"text":" dog"' not in one
    assert '"text":" dog"' in both


def test_results_are_frozen(answer) -> None:
    result = answer(draw(0), ASKED[0], maps="attention")
    for frozen in (result, result.words[0], result.candidates[0], result.maps[0]):
        with pytest.raises(FrozenInstanceError):
            frozen.file = "other"


def test_threads_share_a_pipeline(answer) -> None:
    def one(seed: int) -> list[Answer]:
        return answer(draw(seed), list(ASKED[:2]), maps="attention")

    alone = [one(seed) for seed in range(3)]
    with ThreadPoolExecutor(5) as pool:
        together = list(pool.map(one, [0, 1, 2] * 2))
    for theirs, ours in zip(alone * 2, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.candidates, a.words) == (b.candidates, b.words)
            np.testing.assert_array_equal(a.maps[0].map.values, b.maps[0].map.values)


def single_stream() -> ModelBundle:
    """A model of one stream, that takes pictures at their own proportions."""
    tiny = tiny_answer_bundle()
    question = TextEncoderConfig(
        vocab_size=tiny.tokenizer.vocab_size,
        dim=22,
        depth=2,
        num_heads=2,
        mlp_dim=29,
        max_length=43,
        context_dim=None,
        embed_norm=True,
    )
    config = SingleStreamConfig(question, answers=len(ANSWERS), head_dim=17, image_size=(15, 15), patch_size=5)
    model = SingleStream(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4, generator=generator)
    preprocessing = replace(tiny.preprocessing, size=(15, 15), resize_to=Fit(shorter=15, longer=25, multiple=5))
    return replace(tiny, model=model, preprocessing=preprocessing)


def test_pictures_of_different_sizes_go_through_a_single_stream() -> None:
    bundle = single_stream()
    pipeline = AnswerPipeline(single_stream(), device="cpu")
    pairs = [(draw(seed, size=size), list(ASKED[: seed % 3 + 1])) for seed, size in enumerate(SIZES)]
    results = list(pipeline.stream(pairs, batch_size=5))
    expected = [(picture, question) for picture, questions in pairs for question in questions]
    shapes = set()
    for result, (picture, question) in zip(results, expected, strict=True):
        pixels, _ = bundle.preprocessing(picture)
        shapes.add(pixels.shape)
        with torch.no_grad():
            scores = bundle.model(pixels[None], torch.tensor([tokens_of(bundle, question)]))[0].softmax(dim=0)
        assert result.answer == ANSWERS[int(scores.argmax())]
        assert result.score == pytest.approx(float(scores.max()), abs=1e-5)
    assert len(shapes) > 2
    with_maps = list(pipeline.stream(pairs, batch_size=5, maps="all"))
    for result, plain, (picture, _) in zip(with_maps, results, expected, strict=True):
        assert result.candidates == plain.candidates
        rows, columns = (side // 5 for side in bundle.preprocessing(picture)[0].shape[1:])
        for one in result.maps:
            assert one.question.values.shape == (len(result.question_words), rows, columns)
            assert one.map.values.shape == (1, rows, columns)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"maps": "rolout"}, f"`maps` must be of {', '.join(ANSWER_METHODS)} or all, but is 'rolout' instead."),
        ({"top_k": 0}, "`top_k` must be at least 1, but is 0 instead"),
        ({"first_token": "[HELLO]"}, "`first_token` must be a token of tiny by its name or its number (0 to "),
    ],
)
def test_wrong_arguments_are_named_at_the_call(answer, wrong, message) -> None:
    with pytest.raises(ModelError) as raised:
        answer.stream([], **wrong)
    assert message in str(raised.value)
    with pytest.raises(ModelError, match="`batch_size` must be at least 1, but is 0 instead"):
        answer.stream([], batch_size=0)
    with pytest.raises(
        TypeError,
        match="there is no option 'beems'; there are: top_k, num_beams, max_tokens, min_tokens, no_repeat_ngram",
    ):
        answer(draw(0), ASKED[0], beems=3)


def test_answers_that_the_closed_list_does_not_have(closed) -> None:
    with pytest.raises(InputError, match="`answers` must be of the 5 that tiny knows .*, but 'blue' is not: leave it"):
        closed(draw(0), ASKED[0], answers=["yes", "blue"])


def test_answers_that_cannot_be_ranked(writing) -> None:
    with pytest.raises(InputError, match="must have words that the model's vocabulary knows, but '猫' has none"):
        writing(draw(0), ASKED[0], answers=["red", "猫"])
    with pytest.raises(InputError, match=r"must have at most 16 tokens each, but 'fox fox .* \.\.\.' has \d+: shorten"):
        writing(draw(0), ASKED[0], answers=["red", "fox " * 30])
    with pytest.raises(InputError, match="must be different to the model, but 'Red' and 'red' are the same tokens"):
        writing(draw(0), ASKED[0], answers=["red", "Red"])


def test_models_that_cannot_answer_are_refused() -> None:
    with pytest.raises(ModelError, match="tiny must be a model for answer, but is one for classify instead"):
        AnswerPipeline(tiny_bundle())
    with pytest.raises(ModelError, match="tiny must have a tokenizer, but has none instead"):
        AnswerPipeline(replace(tiny_answer_bundle(), tokenizer=None))
    config = tiny_answer_bundle().model.config
    gray = VQA(replace(config, encoder=replace(CONFIG, num_classes=0, in_channels=1)))
    with pytest.raises(ModelError, match="tiny: `preprocessing.mean` must have a number for each"):
        AnswerPipeline(replace(tiny_answer_bundle(), model=gray))


def test_a_model_whose_scores_are_no_numbers() -> None:
    bundle = tiny_answer_bundle()
    with torch.no_grad():
        bundle.model.head[0].bias.fill_(math.nan)
    with pytest.raises(ModelError, match="the model's scores must be numbers, but are NaN instead"):
        AnswerPipeline(bundle, device="cpu")(draw(0), ASKED[0])
