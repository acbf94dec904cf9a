import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from multiattn.attention import Tap
from multiattn.errors import ModelError
from multiattn.inputs import Geometry
from multiattn.inputs.text import Word
from multiattn.maps import (
    ANSWER_METHODS,
    ANSWER_NOTES,
    QUESTION_NOTES,
    answer_attention,
    answer_attention_stack,
    explain_answer,
    read_questions,
    word_attention,
)
from multiattn.models import VQA
from tests.maps.answers import (
    ANSWERS,
    CONFIGS,
    GRID,
    HEADS,
    LAYERS,
    QUESTION_WORDS,
    QUESTIONS,
    answerer,
    asked,
    pictures,
)
from tests.maps.explicit import Explicit

ROWS = [0, 1, 2, 3]


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request):
    return answerer(request.param)


@pytest.fixture(params=["closed list", "decoder"])
def two_parts(request):
    """A picture encoder, and a question encoder that attends to it."""
    return answerer(CONFIGS[request.param])


@pytest.fixture
def images():
    return pictures()


def explained(model, images, rows=ROWS, **options):
    questions, said = asked(model, rows)
    return explain_answer(model, images, *questions, **(said | options))


def stacked(model, images, rows=ROWS, **options):
    questions, said = asked(model, rows)
    return answer_attention_stack(model, images, *questions, **(said | options))


class Alone:
    """One question by itself, in fp64: all weights, and the score of each word of its answer."""

    def __init__(self, model, images, row):
        model = model.double()
        (questions, (self.words,)), said = asked(model, [row])
        self.encoder, self.selves, self.crosses, self.decoder_selves, self.decoder_crosses = [], [], [], [], []
        if not isinstance(model, VQA):
            for block in model.stack.blocks:
                block.attention.score = Explicit(self.selves)
        else:
            for block in model.encoder.blocks:
                block.attention.score = Explicit(self.encoder)
            for part, selves, crosses in (
                (model.question, self.selves, self.crosses),
                (model.decoder, self.decoder_selves, self.decoder_crosses),
            ):
                for block in part.blocks if part is not None else ():
                    block.attention.score, block.cross_attention.score = Explicit(selves), Explicit(crosses)
        tokens = torch.tensor(questions[0])[None]
        self.count = len(questions[0])
        image = images[row // 2][None].double().requires_grad_()
        if not self.decoder_selves and (not isinstance(model, VQA) or model.decoder is None):
            self.answers = [(0,)]  # the row that is read off
            self.scores = [model(image, tokens)[0, said["answers"][0]]]
        else:
            answer = said["answers"][0]
            logits = model(image, tokens, torch.tensor([answer[:-1]]))[0]
            self.answers = [word.pieces for word in said["answer_words"][0]]  # of piece p, row p predicts it
            self.scores = [sum(logits[p, answer[p + 1]] for p in pieces) for pieces in self.answers]

    def rows_of(self, word):
        return [1 + piece for piece in word.pieces]

    def read(self):
        """For each word of the answer, how much it reads of each token of the question."""
        if not self.decoder_crosses:
            return [torch.eye(self.count, dtype=torch.float64)[0]]
        attention = torch.stack(self.decoder_crosses)[:, 0].mean((0, 1))  # (t, n)
        return [attention[list(rows)].mean(0) for rows in self.answers]


def patches(row):
    return row[..., -GRID[0] * GRID[1] :].unflatten(-1, GRID).detach().numpy()


def rolled(blocks):
    """The share of each input token in each token after some blocks, were attention all that moves information."""
    product = torch.eye(blocks[0].shape[-1], dtype=torch.float64) if blocks else None
    for block in blocks:
        mixed = block[0].mean(0) + torch.eye(block.shape[-1], dtype=torch.float64)[: block.shape[-2]]
        product = (mixed / mixed.sum(-1, keepdim=True)) @ product
    return product


def papers_relevance(alone, score, heads=None):
    """The paper's update rules as they stand: what is in each token of the question, and of the answer, of the picture.

    In the encoder the score is the whole answer's.

    Source: Chefer et al. 2021, equations 5 to 11.
    """

    def bar(weights, score=score, chosen=None):
        (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
        of_heads = (gradient * weights)[0].clamp(min=0)
        if chosen is None:
            return of_heads.mean(0)
        return of_heads[chosen].mean(0) if chosen else torch.zeros_like(of_heads[0])

    def normalized(matrix):
        more = matrix - torch.eye(len(matrix), dtype=torch.float64)
        sums = more.sum(-1, keepdim=True)
        return torch.where(sums > 0, more / sums, 0) + torch.eye(len(matrix), dtype=torch.float64)

    of_picture = torch.eye(alone.encoder[0].shape[-1], dtype=torch.float64)
    for weights in alone.encoder:
        of_picture = of_picture + bar(weights, sum(alone.scores)) @ of_picture
    own = torch.eye(alone.count, dtype=torch.float64)
    found = torch.zeros(alone.count, len(of_picture), dtype=torch.float64)
    for layer, (self_weights, cross) in enumerate(zip(alone.selves, alone.crosses, strict=True)):
        chosen = None if heads is None else [head for of_layer, head in heads if of_layer == layer]
        own, found = own + bar(self_weights) @ own, found + bar(self_weights) @ found
        found = found + normalized(own).T @ bar(cross, chosen=chosen) @ normalized(of_picture)
    if not alone.decoder_crosses:
        return found, found
    above = torch.zeros(alone.decoder_crosses[0].shape[-2], len(of_picture), dtype=torch.float64)
    for self_weights, cross in zip(alone.decoder_selves, alone.decoder_crosses, strict=True):
        above = above + bar(self_weights) @ above
        above = above + bar(cross) @ found
    return found, above


@pytest.mark.parametrize("row", ROWS)
def test_a_words_stack_holds_the_rows_of_its_tokens(model, images, row):
    stack = stacked(model, images)[row].question
    alone = Alone(model, images, row)
    assert stack.names == ("layer", "head", "word", "y", "x")
    assert stack.values.shape == (LAYERS, HEADS, len(alone.words), *GRID)
    for layer, weights in enumerate(alone.crosses or alone.selves):
        for w, word in enumerate(alone.words):
            expected = patches(weights[0, :, alone.rows_of(word)].mean(1))
            np.testing.assert_allclose(stack.values[layer, :, w], expected, atol=1e-6)


@pytest.mark.parametrize("row", ROWS)
def test_an_answer_attends_through_the_tokens_it_reads_and_those_that_they_attend_to(two_parts, images, row):
    stack = stacked(two_parts, images)[row].answer
    alone = Alone(two_parts, images, row)
    for layer, cross in enumerate(alone.crosses):
        for w, read in enumerate(alone.read()):
            above = alone.selves[layer + 1 :]
            row_there = read if not above else read @ rolled(above)
            np.testing.assert_allclose(stack.values[layer, :, w], patches(row_there @ cross[0]), atol=1e-6)


def test_the_answer_of_a_single_stream_attends_from_the_first_token(images):
    model = answerer(CONFIGS["single stream"])
    stack = stacked(model, images)[1].answer
    for layer, weights in enumerate(Alone(model, images, 1).selves):
        np.testing.assert_allclose(stack.values[layer, :, 0], patches(weights[0, :, 0]), atol=1e-6)


@pytest.mark.parametrize("row", ROWS)
def test_rollout_carries_the_attention_through_the_encoder(two_parts, images, row):
    found = explained(two_parts, images, method="rollout")[row]
    stacks = stacked(two_parts, images)[row]
    alone = Alone(two_parts, images, row)
    product = rolled(alone.encoder)
    cross = torch.stack(alone.crosses)[:, 0].mean(1)  # (l, n, m)
    for w, word in enumerate(alone.words):
        attention = cross.mean(0)[alone.rows_of(word)].mean(0)
        np.testing.assert_allclose(found.question.values[w], patches(attention @ product), atol=1e-6)
    for w, read in enumerate(alone.read()):
        ways = [rolled(alone.selves[layer + 1 :]) for layer in range(LAYERS)]
        attention = (
            sum((read if way is None else read @ way) @ one for way, one in zip(ways, cross, strict=True)) / LAYERS
        )
        np.testing.assert_allclose(found.answer.values[w], patches(attention @ product), atol=1e-6)
    assert len(found.answer.values) == len(alone.answers) == stacks.answer.values.shape[2]


@pytest.mark.parametrize("row", ROWS)
def test_relevance_is_the_papers(two_parts, images, row):
    found = explained(two_parts, images, method="relevance")[row]
    alone = Alone(two_parts, images, row)
    in_question, _ = papers_relevance(alone, sum(alone.scores))
    for w, word in enumerate(alone.words):
        expected = patches(in_question[alone.rows_of(word)].mean(0))
        np.testing.assert_allclose(found.question.values[w], expected, rtol=1e-3, atol=1e-7)
    for w, (rows, score) in enumerate(zip(alone.answers, alone.scores, strict=True)):
        expected = patches(papers_relevance(alone, score)[1][list(rows)].mean(0))
        assert expected.max() > 1e-8
        np.testing.assert_allclose(found.answer.values[w], expected, rtol=1e-3, atol=1e-3 * expected.max())


@pytest.mark.parametrize("row", ROWS)
def test_a_single_stream_is_followed_through_all_of_its_tokens(images, row):
    model = answerer(CONFIGS["single stream"])
    found = {method: explained(model, images, method=method)[row] for method in ("rollout", "relevance")}
    alone = Alone(model, images, row)
    relevance = torch.eye(alone.selves[0].shape[-1], dtype=torch.float64)
    for weights in alone.selves:
        (gradient,) = torch.autograd.grad(alone.scores[0], weights, retain_graph=True)
        cam = (gradient * weights)[0].clamp(min=0).mean(0)
        brought = cam @ relevance
        relevance = brought + relevance[: len(brought)]  # the last block has the question's rows alone
    for method, matrix in (("rollout", rolled(alone.selves)), ("relevance", relevance)):
        for w, word in enumerate(alone.words):
            expected = patches(matrix[alone.rows_of(word)].mean(0))
            np.testing.assert_allclose(found[method].question.values[w], expected, rtol=1e-3, atol=1e-7)
        assert matrix[0].max() > 1e-4
        np.testing.assert_allclose(found[method].answer.values[0], patches(matrix[0]), rtol=1e-3, atol=1e-7)


def test_a_capture_while_decoding_step_by_step_equals_the_replay(images):
    """Cached, one token at a time, with a tap for each step."""
    model = answerer(CONFIGS["decoder"])
    (questions, _), said = asked(model, [1])
    answer, (words,) = said["answers"][0], said["answer_words"]
    stack = stacked(model, images[:1], [1], answers=[answer])[0].answer
    tokens = torch.tensor(questions)
    with torch.no_grad():
        context = model.encode(images[:1])
        sites = model.question.attention_sites(tokens=tokens.shape[1], context_tokens=context.shape[1])
        of_question = Tap(sites)
        states = model.question(tokens, context, tap=of_question)
        cache = model.decoder.start(states, rows=1, capacity=len(answer))
        steps = []
        for token in answer[:-1]:
            sites = model.decoder.attention_sites(tokens=1, context_tokens=tokens.shape[1])
            step = Tap(sites, select="*.cross")
            model.decoder(torch.tensor([[token]]), cache=cache, tap=step)
            steps.append(torch.stack(list(step.weights.values()))[:, 0, :, 0].mean((0, 1)))  # (n,)
    weights = {name: one[0].double() for name, one in of_question.weights.items()}
    for w, word in enumerate(words):
        read = torch.stack([steps[piece] for piece in word.pieces]).mean(0).double()
        for layer in reversed(range(LAYERS)):
            expected = patches(read @ weights[f"blocks.{layer}.cross"])
            np.testing.assert_allclose(stack.values[layer, :, w], expected, atol=1e-6)
            read = (read + read @ weights[f"blocks.{layer}.self"].mean(0)) / 2


def test_rows_sum_to_what_they_share_out(images):
    """To 1, over patches alone, where there are no other tokens."""
    model = answerer(CONFIGS["decoder"])
    for method in ("attention", "rollout"):
        for maps in explained(model, images, method=method):
            for one in maps:
                np.testing.assert_allclose(one.values.sum((1, 2)), 1, atol=1e-5)
    for stacks in stacked(model, images):
        for one in (stacks.question, stacks.answer):
            np.testing.assert_allclose(one.values.sum((3, 4)), 1, atol=1e-5)


def test_attention_is_the_stacks_mean_and_can_be_chosen(model, images):
    stacks = stacked(model, images)
    sites = stacks[0].question.sites
    name = "question.blocks.{}.cross" if isinstance(model, VQA) else "blocks.{}.self"
    assert sites == tuple(name.format(layer) for layer in range(LAYERS))
    for i, found in enumerate(explained(model, images, method="attention")):
        for part, stack in zip(found, stacks[i][:2], strict=True):
            assert part.equals(word_attention(stack))
            assert part.names == ("word", "y", "x") and part.heads is None
            np.testing.assert_allclose(part.values, stack.values.mean((0, 1)), atol=1e-7)
    chosen = explained(model, images, method="attention", layer=-2, head=1)[0]
    for part, stack in zip(chosen, stacks[0][:2], strict=True):
        np.testing.assert_array_equal(part.values, stack.values[LAYERS - 2, 1])
        assert (part.sites, part.heads) == (sites[LAYERS - 2 : LAYERS - 1], (1,))


def test_heads_that_point_are_the_only_ones_that_count(model, images):
    heads = [(0, 1), (2, 0), (2, 1)]
    stacks = stacked(model, images)
    found = explained(model, images, method="attention", heads=heads)[1].answer
    values = stacks[1].answer.values
    np.testing.assert_allclose(found.values, (values[0, 1] + values[2, 0] + values[2, 1]) / 3, atol=1e-7)
    assert found.sites == (stacks[1].answer.sites[0], stacks[1].answer.sites[2])
    assert found.heads == (0, 1), "not all, which a figure would say of None"
    assert "Only the heads that point: 0.1, 2.0, 2.1." in found.note
    of_one = answer_attention(stacks[1], heads=[(2, 1), (2, 0), (2, 1)]).question
    np.testing.assert_allclose(of_one.values, stacks[1].question.values[2].mean(0), atol=1e-7)
    assert (of_one.sites, of_one.heads) == (stacks[1].question.sites[2:], None), "all that the layer has"


@pytest.mark.parametrize("method", ["rollout", "relevance"])
def test_all_heads_are_none_in_particular(model, images, method):
    every = [(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    some = explained(model, images, method=method, heads=[(0, 1), (2, 0)])
    for found, named, chosen in zip(
        explained(model, images, method=method), explained(model, images, method=method, heads=every), some, strict=True
    ):
        for one, other, another in zip(found, named, chosen, strict=True):
            np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-8)
            assert not np.allclose(one.values, another.values, rtol=1e-2, atol=1e-8)
            assert another.note == f"{one.note} Of the question's attention, only the heads that point: 0.1, 2.0."


@pytest.mark.parametrize("row", [0, 3])
def test_relevance_of_some_heads_is_of_their_attention_alone(two_parts, images, row):
    heads = [(0, 1), (2, 0)]
    found = explained(two_parts, images, method="relevance", heads=heads)[row]
    alone = Alone(two_parts, images, row)
    in_question, _ = papers_relevance(alone, sum(alone.scores), heads=heads)
    for w, word in enumerate(alone.words):
        expected = patches(in_question[alone.rows_of(word)].mean(0))
        np.testing.assert_allclose(found.question.values[w], expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("method", ANSWER_METHODS)
@pytest.mark.parametrize("row", [0, 3])
def test_a_question_has_the_same_maps_alone_and_among_others(model, images, method, row):
    """Of its picture, and of other pictures."""
    together = explained(model, images, method=method)[row]
    alone = explained(model, images[row // 2][None], [row], method=method)[0]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("method", ANSWER_METHODS)
def test_frozen_weights_inference_mode_and_a_context_at_hand_do_not_matter(model, images, method):
    before = explained(model, images, method=method)
    model.requires_grad_(False)
    with torch.inference_mode():
        images = images.clone()  # a tensor that autograd refuses
        contexts = [model.encode(images)]
        if isinstance(model, VQA):
            contexts.append(model.question.project_context(contexts[0]))
        within = [explained(model, images, method=method, context=context) for context in contexts]
    outside = [explained(model, images, method=method, context=context) for context in contexts]
    for found in (*within, *outside):
        for maps, others in zip(found, before, strict=True):
            for one, other in zip(maps, others, strict=True):
                np.testing.assert_array_equal(one.values, other.values)


def read_at_first(model, images, rows=ROWS):
    """Questions as a pipeline reads them, padded on the right."""
    (tokens, _), _ = asked(model, rows)
    padded = pad_sequence([torch.tensor(one) for one in tokens], batch_first=True)
    with torch.inference_mode():
        context = model.question.project_context(model.encode(images))
        return read_questions(model, images, padded, context, attention_mask=padded != 0)


def test_reading_with_a_tap_is_reading_without_one(two_parts, images):
    padded = torch.tensor([[1, 9, 5, 2], [1, 8, 2, 0]])
    for attention_mask in (padded != 0, None):
        context = two_parts.encode(images)
        found = read_questions(two_parts, images, padded, context, attention_mask=attention_mask)
        assert torch.equal(found.states, two_parts.read(padded, context, attention_mask=attention_mask))
        assert list(found.weights) == [
            f"question.blocks.{i}.{kind}" for i in range(LAYERS) for kind in ("self", "cross")
        ]


@pytest.mark.parametrize("method", ["attention", "rollout"])
def test_maps_of_the_first_reading_are_those_of_a_second_one(two_parts, images, method, monkeypatch):
    """Nor is there a second one."""
    before = explained(two_parts, images, method=method)
    reading = read_at_first(two_parts, images)
    monkeypatch.setattr(type(two_parts.question), "forward", None)
    for found, expected in zip(explained(two_parts, images, method=method, reading=reading), before, strict=True):
        for one, other in zip(found, expected, strict=True):
            assert one.equals(other)


def test_a_reading_of_other_questions_is_refused(two_parts, images):
    with pytest.raises(ModelError, match="the same 4 questions of 8 tokens at most, but is of 2 of 7 instead"):
        stacked(two_parts, images, reading=read_at_first(two_parts, images, [0, 1]))


@pytest.mark.parametrize("method", ANSWER_METHODS)
def test_what_a_map_says_of_itself(model, images, method):
    geometry = Geometry(source_size=(43, 61), resized_size=(15, 21), crop=(0, 0, 15, 21))
    found = explained(model, images, method=method, geometries=[None, geometry])
    assert [maps.answer.geometry for maps in found] == [None, None, geometry, geometry]
    assert [maps.question.geometry for maps in found] == [None, None, geometry, geometry]
    assert found[3].question.axes[0].labels == ("is", " it", " red", "?")
    assert [maps.question.target for maps in found] == ["what color?", "where", "how many", "is it red?"]
    written = isinstance(model, VQA) and model.decoder is not None
    assert found[1].answer.axes[0].labels == (("left", " of", " it") if written else ("to the left",))
    assert found[1].answer.target == ("left of it" if written else "to the left")
    for maps in found:
        for one, notes in zip(maps, (QUESTION_NOTES, ANSWER_NOTES), strict=True):
            assert one.method == method and one.note.startswith(notes[method])
            assert one.values.shape[1:] == GRID
    if isinstance(model, VQA):  # the stack's layers are the question encoder's
        kinds = {
            "attention": (["question.cross"], ["question.cross"]),
            "relevance": (
                ["encoder.self", "question.self", "question.cross"],
                ["encoder.self", "question.self", "question.cross", *["decoder.self", "decoder.cross"] * written],
            ),
            "rollout": (
                ["encoder.self", "question.cross"],
                ["encoder.self", "question.self", "question.cross", *["decoder.cross"] * written],
            ),
        }[method]
        for one, expected in zip(found[0], kinds, strict=True):
            parts = (site.split(".") for site in one.sites)
            assert list(dict.fromkeys(f"{part}.{kind}" for part, _, _, kind in parts)) == expected


def test_a_confident_answer_still_has_relevance(images):
    """Its probability is 1 in fp32, so that no logarithm of it has a gradient."""
    model = answerer(CONFIGS["closed list"])
    with torch.no_grad():
        model.head[-1].bias[ANSWERS - 1] += 1000.0
    assert explained(model, images, method="relevance")[2].answer.values.max() > 1e-4


@pytest.mark.parametrize("method", ANSWER_METHODS)
@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ("decoder", {"method": "gradcam"}, "no map method 'gradcam' for answers; there are: attention, relevance, ro"),
        ("decoder", {"geometries": [None]}, "`geometries` must be one for each of 2 pictures, but are 1"),
        ("decoder", {"answers": [3, 0, 1, 5]}, "`answers` must be tokens, from the start .*, but one is 3 instead"),
        ("decoder", {"answers": [[1, 2]]}, "`answers` must be one for each of 4 questions, but are 1"),
        ("decoder", {"answer_words": [[]] * 4}, "`words` of answer 0 must be at least one, but are none"),
        ("decoder", {"answer_words": []}, "`words` must be one for each of 4 answers, but are 0"),
        (
            "decoder",
            {"answer_words": [[Word("a", 0, 1, (3,))]] * 4},
            r"of the word 'a' must be from 0 to 1?\d, but are \(3,\) instead",
        ),
        ("closed list", {"answers": [3, 0, ANSWERS, 5]}, "closed list, from 0 to 12, but one is 13 instead"),
        ("closed list", {"answers": [3, 0, -1, 5]}, "closed list, from 0 to 12, but one is -1 instead"),
        ("closed list", {"answers": [[1, 2]] * 4}, r"closed list, from 0 to 12, but one is \[1, 2\] instead"),
        ("single stream", {"answers": [3, 0, ANSWERS, 5]}, "closed list, from 0 to 12, but one is 13 instead"),
        ("closed list", {"answer_words": []}, "`answer_words` must be one for each question"),
        ("closed list", {"answer_words": QUESTION_WORDS}, "`answer_words` must be one for each question"),
        ("closed list", {"heads": []}, "`heads` must be at least one, but are none"),
        ("decoder", {"heads": [(0, HEADS)]}, r"layers 0 to 2 and the heads 0 to 1, but one is \(0, 2\) instead"),
        ("single stream", {"heads": [(LAYERS, 0)]}, r"layers 0 to 2 and the heads 0 to 1, but one is \(3, 0\) inst"),
    ],
)
def test_refusals(images, method, config, changes, message):
    with pytest.raises(ModelError, match=message):
        explained(answerer(CONFIGS[config]), images, **{"method": method, **changes})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rollout", "head": 1}, "can be chosen for the method 'attention', not for 'rollout'"),
        ({"method": "attention", "layer": 3}, "`layer` must be from -3 to 2, but is 3 instead"),
        ({"method": "attention", "head": 2}, "`head` must be from 0 to 1, but is 2 instead"),
        ({"method": "attention", "head": 1, "heads": [(0, 0)]}, "must not be chosen together with `heads`"),
    ],
)
def test_a_choice_that_cannot_be_made(model, images, options, message):
    with pytest.raises(ModelError, match=message):
        explained(model, images, **options)


@pytest.mark.parametrize(
    ("pictures_there", "rows", "words", "message"),
    [
        (0, [], [], r"`images` must be at least one picture, but is \(0, "),
        (2, [], [], "`questions` must be as many for each of 2 pictures, but are 0"),
        (2, [0, 1, 2], QUESTION_WORDS[:3], "`questions` must be as many for each of 2 pictures, but are 3"),
        (1, [0], QUESTION_WORDS, "`words` must be one for each of 1 questions, but are 4"),
        (1, [0], [[]], "`words` of question 0 must be at least one, but are none: it has no maps"),
        (1, [1], [[Word("a", 0, 1, (3,))]], r"of the word 'a' must be from 0 to 2, but are \(3,\) instead"),
        (1, [1], [[Word("a", 0, 1, (-1,))]], r"of the word 'a' must be from 0 to 2, but are \(-1,\) instead"),
    ],
)
def test_questions_that_do_not_fit(model, images, pictures_there, rows, words, message):
    _, said = asked(model, rows)
    with pytest.raises(ModelError, match=message):
        answer_attention_stack(model, images[:pictures_there], [QUESTIONS[i] for i in rows], words, **said)
