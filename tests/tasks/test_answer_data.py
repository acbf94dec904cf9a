"""The data module of answering: what is in a batch, and when it is the same again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models import TextDecoderConfig, TextEncoderConfig, ViT, ViTConfig
from multiattn.tasks import AnswerData
from multiattn.tasks.contracts import AnswerNeeds, TokenFormat
from multiattn.tasks.loading.question_batches import AnswerBatch
from multiattn.tasks.loading.transforms import Augmentation

from .attach import grouped, in_process

SIZE = (10, 15)
PREPROCESSING = ImagePreprocessing(SIZE, SIZE, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
COUNTS = {"train": 13, "validation": 5, "test": 3}
DAMAGED = 4  # of the training split and of the validation split
TEN = ("red",) * 2 + ("blue",) * 3 + ("pink",) + ("Red",) * 4


def asked_about(split: str, i: int) -> list[dict[str, Any]]:
    """One to three questions, so that some pictures have fewer than are asked for."""
    rows: list[dict[str, Any]] = [
        {"question": f"Is picture {i} of all of {split} light?", "answer": ("yes", "no")[i % 2], "type": "is"},
        {"question": f"What color is number {i}?", "answers": TEN},
        {"question": f"How many are there in {i}?", "answer": f"{i} things"},  # which no other picture has
    ]
    return rows[: 1 + i % 3]


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asked")
    rng = np.random.default_rng(5)
    for split, count in COUNTS.items():
        (root / split).mkdir()
        rows = []
        for i in range(count):
            name = f"{i}.png"
            Image.fromarray(rng.integers(0, 256, (11, 17, 3), np.uint8)).save(root / split / name)
            rows += [json.dumps({"file_name": name} | row) for row in asked_about(split, i)]
        (root / split / "metadata.jsonl").write_text("\n".join(rows))
    return root


QUESTION = TextEncoderConfig(vocab_size=211, max_length=43, context_dim=14)
DECODER = TextDecoderConfig(vocab_size=211, max_length=43, context_dim=256)


def make(
    root: Path | list[str], *, task: dict[str, Any] | None = None, rank: int = 0, world: int = 1, **options: Any
) -> AnswerData:
    """The data as a trainer and a task have it; `question` and `decoder` of the task are configurations."""
    options = {"batch_size": 3, "num_workers": 0, "vocab_size": 83, "questions_per_picture": 2} | options
    data = AnswerData(root if isinstance(root, list) else str(root), **grouped(**options))
    task = {"question": QUESTION, "decoder": None, "tokenizer": None} | (task or {})
    torch.manual_seed(3)
    encoder = ViT(ViTConfig(image_size=SIZE, patch_size=5, num_classes=0, dim=14, depth=1, num_heads=2, mlp_dim=11))
    data.needs = AnswerNeeds(
        task["tokenizer"],
        None if task["decoder"] is None else TokenFormat.of_config(task["decoder"]),
        encoder,
        PREPROCESSING,
        is_closed=task["decoder"] is None,
        question=TokenFormat.of_config(task["question"]),
    )
    return in_process(data, rank=rank, world=world)


def epoch_of(data: AnswerData, epoch: int) -> list[AnswerBatch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)  # type: ignore[arg-type]


def rows_of(tokens: torch.Tensor, attention_mask: torch.Tensor) -> list[list[int]]:
    return [row[kept].tolist() for row, kept in zip(tokens, attention_mask, strict=True)]


def same(one: list[AnswerBatch], other: list[AnswerBatch]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else a == b

    return len(one) == len(other) and all(map(equal, sum(one, ()), sum(other, ())))


# what is in a batch


@pytest.mark.parametrize("per_picture", [1, 2, 5])
def test_each_picture_brings_questions_of_its_own(per_picture, asked) -> None:
    data = make(asked, questions_per_picture=per_picture)
    for batch in epoch_of(data, 0):
        assert batch.images is not None and batch.images.shape == (3, 3, *SIZE) and batch.features is None
        questions = [asked_about("train", place) for place in batch.indices.tolist()]
        g = min(per_picture, max(map(len, questions)))
        assert len(batch.questions) == len(batch.texts) == 3 * g
        assert all((row[0], row[-1]) == (1, 2) for row in rows_of(batch.questions, batch.attention_mask))
        for i, rows in enumerate(questions):
            mine = slice(i * g, (i + 1) * g)
            known = {row["question"]: row for row in rows}
            assert set(batch.texts[mine]) <= set(known)
            assert len(set(batch.texts[mine])) == int(batch.counts[mine].sum()) == min(per_picture, len(rows))
            assert batch.texts[mine][: len(rows)] == tuple(dict.fromkeys(batch.texts[mine]))
            for text, answers, kind in zip(batch.texts[mine], batch.answers[mine], batch.types[mine], strict=True):
                row = known[text]
                assert answers == tuple(row.get("answers", [row.get("answer")])) and kind == row.get("type", "")
            for text, tokens in zip(
                batch.texts[mine], rows_of(batch.questions, batch.attention_mask)[mine], strict=True
            ):
                assert data.tokenizer.decode(tokens) == text.lower().removesuffix("?")


def test_padding_comes_after_the_end(asked) -> None:
    batches = epoch_of(make(asked), 0)
    assert all(torch.equal(b.attention_mask, b.questions != 0) for b in batches)
    assert all(b.attention_mask.any(0).all() for b in batches) and any(not b.attention_mask.all() for b in batches)


def test_evaluation_is_in_order_and_asks_all_questions(asked) -> None:
    batches: list[Any] = list(make(asked, eval_batch_size=2, questions_per_picture=1).val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1], [2, 3], [4]]
    assert [len(b.questions) for b in batches] == [2 * 2, 2 * 3, 1 * 2]
    found = [text for b in batches for text, counts in zip(b.texts, b.counts.tolist(), strict=True) if counts]
    assert found == [row["question"] for i in range(5) for row in asked_about("validation", i)]
    assert len(list(make(asked).test_dataloader())) == len(list(make(asked).predict_dataloader())) == 1


def test_the_special_tokens_are_the_models(asked) -> None:
    question = TextEncoderConfig(vocab_size=211, context_dim=14, start_token=201, end_token=202, pad_token=203)
    decoder = TextDecoderConfig(vocab_size=211, context_dim=256, start_token=204, end_token=205, pad_token=206)
    batch = epoch_of(make(asked, task={"question": question, "decoder": decoder}), 0)[0]
    assert batch.answer_tokens is not None and batch.answer_attention_mask is not None
    for tokens, attention_mask, (start, end, pad) in (
        (batch.questions, batch.attention_mask, (201, 202, 203)),
        (batch.answer_tokens, batch.answer_attention_mask, (204, 205, 206)),
    ):
        assert all((row[0], row[-1]) == (start, end) for row in rows_of(tokens, attention_mask))
        assert (tokens[~attention_mask] == pad).all() and not attention_mask.all()


def test_the_vocabulary_is_the_tasks_or_of_the_training_questions_and_answers(asked) -> None:
    own = Tokenizer.train(["something else"], kind="bpe", vocab_size=31)
    assert make(asked, task={"tokenizer": own}).tokenizer is own
    data = make(asked)
    assert data.tokenizer is data.tokenizer
    assert data.tokenizer.decode(data.tokenizer.encode("What  color? Things!")) == "what color things"
    assert not set(data.tokenizer.encode("things")) & {data.tokenizer.id_of("[UNK]")}  # only answers have it
    alone = AnswerData(str(asked), vocab_size=83)  # without a trainer
    assert alone.tokenizer.to_json() == data.tokenizer.to_json()


# a closed list


def test_targets_say_how_well_each_answer_of_the_list_answers(asked) -> None:
    data = make(asked, min_count=2, batch_size=13, questions_per_picture=5)
    assert data.answer_list == ("red", "yes", "no")
    (batch,) = epoch_of(data, 0)
    assert batch.answer_tokens is None and batch.answer_attention_mask is None and batch.targets is not None
    expected = {"yes": [0, 1, 0], "no": [0, 0, 1], "red": [0.6, 0, 0]}  # six of ten people say red
    for answers, counts, weight, target in zip(batch.answers, batch.counts, batch.weights, batch.targets, strict=True):
        assert target.tolist() == pytest.approx(expected["red" if len(answers) > 1 else answers[0]])
        assert weight == float(counts)
    assert not any("How many" in text for text in batch.texts)  # of which nothing can be learnt


def test_soft_targets_are_of_all_the_answers_that_the_list_has(asked) -> None:
    data = make(asked)
    batch = epoch_of(data, 0)[0]
    assert batch.targets is not None and batch.targets.shape[1] == len(data.answer_list) == 3 + 4
    row = next(row for row, answers in enumerate(batch.answers) if len(answers) == 10)
    assert batch.targets[row].sum() == pytest.approx(0.6)  # blue and pink are nobody's most frequent answer
    assert batch.targets[row, data.answer_list.index("red")] == pytest.approx(0.6)


def test_a_picture_without_a_question_that_the_list_answers_teaches_nothing(tmp_path, asked) -> None:
    rows = [{"file_name": f"{i}.png", "question": "what?", "answer": ("yes", "no", "yes")[i]} for i in range(3)]
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        for i in range(3):
            (tmp_path / split / f"{i}.png").write_bytes((asked / "train" / f"{i}.png").read_bytes())
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = make(tmp_path, max_answers=1)
    (batch,) = epoch_of(data, 0)
    taught = batch.indices != 1
    assert batch.targets is not None
    assert batch.counts.tolist() == [True] * 3
    assert batch.weights.tolist() == batch.targets[:, 0].tolist() == taught.float().tolist()
    # elsewhere, too, where it counts as wrong
    evaluated: Any = next(iter(data.val_dataloader()))
    assert evaluated.counts.tolist() == [True] * 3 and evaluated.weights.tolist() == [1, 0, 1]
    assert data.coverage == {"train": 2 / 3, "validation": 2 / 3}
    assert data.card() == {"data": str(tmp_path), "answers_cover": {"train": 0.666667, "validation": 0.666667}}


def test_the_coverage_is_told(asked, capsys) -> None:
    make(asked, min_count=2).train_dataloader()
    assert capsys.readouterr().err == (
        "The list of 3 answers covers 84.00% of the 25 training questions and 88.89% of the 9 validation questions; "
        "the other 5 are not learned from, and count as wrong.\n"
    )
    make(asked).train_dataloader()
    told = capsys.readouterr().err
    assert told.startswith("The list of 7 answers covers 100.00% of the 25 training questions and")
    make(asked, task={"decoder": DECODER}).train_dataloader()
    assert capsys.readouterr().err == ""


# answers in words


def test_a_decoder_learns_an_answer_drawn_by_its_agreement(asked) -> None:
    data = make(asked, task={"decoder": DECODER}, questions_per_picture=5)
    items, collate, drawn = data.training_items(), data.collate(), []
    for epoch in range(60):
        batch = collate([items[epoch, place] for place in range(13)])
        assert batch.targets is None and batch.answer_tokens is not None and batch.answer_attention_mask is not None
        assert torch.equal(batch.weights, batch.counts.float())
        written = [data.tokenizer.decode(row) for row in rows_of(batch.answer_tokens, batch.answer_attention_mask)]
        for text, answers in zip(written, batch.answers, strict=True):
            assert text in {answer.lower() for answer in answers}
        drawn += [text for text, answers in zip(written, batch.answers, strict=True) if len(answers) > 1]
    # six, three and one of ten people; 60 x 8 draws, three standard deviations are 7 %
    shares = {answer: drawn.count(answer) / len(drawn) for answer in ("red", "blue", "pink")}
    assert shares == pytest.approx({"red": 0.6, "blue": 0.3, "pink": 0.1}, abs=0.07)
    assert "answers_cover" not in data.card()


def test_elsewhere_it_is_the_most_agreed_answer(asked) -> None:
    data = make(asked, task={"decoder": DECODER}, eval_batch_size=5)
    (batch,) = list(data.val_dataloader())
    rows = rows_of(batch.answer_tokens, batch.answer_attention_mask)  # type: ignore[attr-defined]
    written = [data.tokenizer.decode(row) for row in rows]
    assert written == ["red" if len(a) > 1 else a[0] for a in batch.answers]  # type: ignore[attr-defined]


def test_an_answer_that_is_cut_has_no_end(asked) -> None:
    short = TextDecoderConfig(vocab_size=211, max_length=6, context_dim=256)
    data = make(asked, task={"decoder": short}, vocabulary="characters", eval_batch_size=5)
    (batch,) = list(data.val_dataloader())
    rows = rows_of(batch.answer_tokens, batch.answer_attention_mask)  # type: ignore[attr-defined]
    for row, answers in zip(rows, batch.answers, strict=True):  # type: ignore[attr-defined]
        text = "red" if len(answers) > 1 else answers[0]
        assert data.tokenizer.decode(row) == text[:5].strip()  # a space stands before it
        assert (row[-1] == 2) == (len(text) + 1 <= 5)
        assert len(row) - 1 <= 6


# when it is the same again


def test_an_epoch_is_a_function_of_the_seed(asked) -> None:
    data = make(asked)
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    assert same(epoch_of(make(asked), 0), first) and not same(first, second)
    data.seed = 1
    assert not same(epoch_of(data, 0), first)
    by_place = [
        {place: b.texts[i * 2 : i * 2 + 2] for b in batches for i, place in enumerate(b.indices.tolist())}
        for batches in (first, second)
    ]
    assert any(by_place[0][place] != by_place[1][place] for place in by_place[0].keys() & by_place[1].keys())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("decoder", [None, DECODER])
def test_an_epoch_goes_on_where_it_was_left(workers, decoder, asked) -> None:
    whole = epoch_of(make(asked, task={"decoder": decoder}), 2)
    loader = make(asked, task={"decoder": decoder}, num_workers=workers).train_dataloader()
    loader.load_state_dict({"epoch": 2, "batch": 1})
    loader.sampler.set_epoch(2)
    assert same(list(loader), whole[1:])  # type: ignore[arg-type]


def test_two_processes_see_what_one_sees(asked) -> None:
    whole = epoch_of(make(asked, batch_size=4), 0)
    halves = [epoch_of(make(asked, batch_size=2, rank=rank, world=2), 0) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        for rank, part in enumerate(parts):
            assert batch.indices[rank::2].tolist() == part.indices.tolist()
            texts = {text for text, counts in zip(part.texts, part.counts, strict=True) if counts}
            assert texts <= set(batch.texts)


def test_features_stand_for_pictures(asked, tmp_path) -> None:
    data = make(asked, features=str(tmp_path))
    batch, plain = epoch_of(data, 0)[0], epoch_of(make(asked), 0)[0]
    assert batch.images is None and batch.features is not None and plain.images is not None
    assert same([batch._replace(features=None)], [plain._replace(images=None)])
    with torch.no_grad():
        expected = data.needs.encoder.features(plain.images)
    torch.testing.assert_close(batch.features.float(), expected, atol=2e-3, rtol=2e-3)
    evaluated: Any = next(iter(data.val_dataloader()))
    assert evaluated.features.shape[1:] == expected.shape[1:]


def test_folders_are_joined(asked, tmp_path) -> None:
    data = make([str(asked), str(asked.parent / asked.name / ".")], batch_size=13)
    assert len(data.records("train").items) == 13  # the same files: their questions are joined
    other = tmp_path / "other"
    for split in ("train", "validation"):
        (other / split).mkdir(parents=True)
        (other / split / "0.png").write_bytes((asked / split / "0.png").read_bytes())
        (other / split / "metadata.jsonl").write_text('{"file_name": "0.png", "question": "a?", "answer": "new"}')
    data = make([str(asked), str(other)], batch_size=14)
    (batch,) = epoch_of(data, 0)
    assert sorted(batch.indices.tolist()) == list(range(14)) and "new" in data.answer_list
    assert data.card()["data"] == f"{asked}, {other}"
    with pytest.raises(InputError, match=f"{asked}, {other}: a training batch has 15 x 1 pictures, but the training"):
        make([str(asked), str(other)], batch_size=15).train_dataloader()


# what cannot be used


@pytest.fixture
def damaged(asked: Path, tmp_path: Path) -> Path:
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        for file in (asked / split).iterdir():
            (tmp_path / split / file.name).write_bytes(file.read_bytes())
    (tmp_path / "train" / f"{DAMAGED}.png").write_bytes(b"")
    (tmp_path / "validation" / f"{DAMAGED}.png").unlink()
    return tmp_path


def test_a_damaged_picture_is_replaced_in_training_with_questions_of_its_own(damaged) -> None:
    data = make(damaged, max_bad_share=0.1, batch_size=13)
    with pytest.warns(UserWarning, match=r"Skipped, 1 of 13 pictures in train: `.*4\.png` must be a picture"):
        (batch,) = epoch_of(data, 0)
    assert DAMAGED not in batch.indices.tolist() and len(batch.indices) == 13
    for i, place in enumerate(batch.indices.tolist()):
        assert set(batch.texts[2 * i : 2 * i + 2]) <= {row["question"] for row in asked_about("train", place)}


@pytest.mark.parametrize("decoder", [None, DECODER])
def test_a_missing_picture_is_left_out_in_evaluation(decoder, damaged) -> None:
    data = make(damaged, max_bad_share=0.3, eval_batch_size=4, task={"decoder": decoder})
    with pytest.warns(UserWarning, match=r"Skipped, 1 of 5 pictures in validation: .*4\.png"):
        batches: list[Any] = list(data.val_dataloader())
    assert [b.indices.tolist() for b in batches] == [[0, 1, 2, 3], []]
    empty = batches[1]
    assert empty.texts == () and len(empty.questions) == len(empty.counts) == len(empty.weights) == 0
    assert empty.images.shape == (0, 3, *SIZE)
    assert len(empty.targets if decoder is None else empty.answer_tokens) == 0
    with pytest.raises(InputError, match="1 of 5 pictures in validation cannot be read"), pytest.warns(UserWarning):
        list(make(damaged, max_bad_share=0, task={"decoder": decoder}).val_dataloader())


def test_what_the_vocabulary_or_the_model_cannot_take_is_named(asked, tmp_path) -> None:
    own = Tokenizer.train(["кто там да"], kind="characters", vocab_size=31)
    with pytest.raises(InputError, match=r"0\.png: the question must have words in letters that the vocabulary has"):
        make(asked, task={"tokenizer": own}).train_dataloader()
    short = TextEncoderConfig(vocab_size=211, max_length=7, context_dim=14)
    with pytest.raises(
        InputError, match="a question must have at most 5 tokens, for which the model .* instead. Shorten"
    ):
        make(asked, task={"question": short}).train_dataloader()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "1.png", "question": "what?", "answer": "кот"}')
    own = Tokenizer.train(["what"], kind="characters", vocab_size=31)
    with pytest.raises(InputError, match=r"1\.png: the answer must have words in letters .*, but is 'кот' instead"):
        make(tmp_path, task={"tokenizer": own, "decoder": DECODER}, batch_size=1).train_dataloader()


def test_of_several_answers_those_that_cannot_be_written_are_left_out(tmp_path, asked) -> None:
    said = ["?", "?", "кот", "hat", "hat", "hat", "hat", "what", "", "?"]
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "1.png").write_bytes((asked / split / "1.png").read_bytes())
        row = {"file_name": "1.png", "question": "what?", "answers": said}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(row))
    own = Tokenizer.train(["what"], kind="characters", vocab_size=31)
    data = make(tmp_path, task={"tokenizer": own, "decoder": DECODER}, batch_size=1)
    items, collate = data.training_items(), data.collate()
    batches = [collate([items[epoch, 0]]) for epoch in range(40)]
    written = {own.decode(row) for b in batches for row in rows_of(b.answer_tokens, b.answer_attention_mask)}
    assert written == {"hat", "what"}
    (batch,) = list(data.val_dataloader())
    assert [own.decode(row) for row in rows_of(batch.answer_tokens, batch.answer_attention_mask)] == ["hat"]
    assert batch.answers == (tuple(said),)


def test_what_is_wrong_is_said_before_any_work(tmp_path, asked) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        make(tmp_path / "none").setup("fit")
    with pytest.raises(InputError, match="a training batch has 17 x 1 pictures, but the training split only 13"):
        make(asked, batch_size=17).train_dataloader()
    with pytest.raises(InputError, match="`root` must name at least one folder, but names none instead"):
        make([]).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batches.size` must be at least 1, but is 0 instead"),
        ({"questions_per_picture": 0}, "`questions_per_picture` must be at least 1"),
        ({"max_answers": 0}, "`max_answers` must be at least 1"),
        ({"min_count": 0}, "`min_count` must be at least 1"),
        ({"cache_side": 0}, "`cache_side` must be at least 1"),
        ({"features": "x", "cache_side": 5}, "`cache_side` must not come with `features`"),
        ({"features": "x", "augmentation": Augmentation()}, "`augmentation` must not come with `features`"),
    ],
)
def test_options_out_of_range_are_named(options, message) -> None:
    with pytest.raises(InputError, match=message):
        AnswerData("data", **grouped(**options))


def test_pictures_are_not_changed_unless_that_is_asked_for(asked) -> None:
    plain, evaluated = epoch_of(make(asked, batch_size=13), 0)[0], make(asked).evaluation_items("train")
    assert plain.images is not None
    for image, place in zip(plain.images, plain.indices.tolist(), strict=True):
        expected = evaluated[place].sample.content
        assert expected is not None
        torch.testing.assert_close(image, expected)


def test_a_question_that_is_too_long_is_skipped_and_counted(asked, tmp_path, recwarn) -> None:
    """As a recording is; and a picture that has no other one."""
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        for i in range(4):
            (tmp_path / split / f"{i}.png").write_bytes((asked / "train" / f"{i}.png").read_bytes())
        rows = [{"file_name": f"{i}.png", "question": "is it red?", "answer": "yes"} for i in (0, 1, 1, 2)]
        rows += [{"file_name": f"{i}.png", "question": f"is it red{' or blue' * 9}?", "answer": "no"} for i in (1, 3)]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    short = {"question": replace(QUESTION, max_length=9)}
    data = make(tmp_path, max_bad_share=0.4, task=short)
    (batch,) = epoch_of(data, 0)
    assert sorted(batch.indices.tolist()) == [0, 1, 2] and set(batch.texts) == {"is it red?"}
    assert len(next(iter(data.val_dataloader())).indices) == data.size("validation") == 3
    assert data.size("train") == 3 and len(data.files("train").items) == 4
    told = [str(one.message) for one in recwarn if "Skipped" in str(one.message)]
    assert len(told) == 2 and told[0].startswith("Skipped, 2 of 6 questions in train: a question must have at most 7")
    with pytest.raises(InputError, match="2 of 6 questions in train cannot be used, more than the share of 0.3 that"):
        make(tmp_path, max_bad_share=0.3, task=short).train_dataloader()
