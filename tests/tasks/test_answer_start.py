"""What a training of answers starts from: a text encoder beside the question encoder, a vocabulary of the data's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.tasks.answer import AnswerTask
from multiattn.tasks.contracts import TextFacts
from multiattn.tasks.optim import configure
from multiattn.tasks.parts import TextSource, VisionEncoder
from multiattn.weights import load_bundle, load_text_encoder, save_bundle
from tests.fixtures import save_tiny_answerer

from .test_answer_options import SMALL, built, save_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert") / "bert")


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_text_encoder_reads_beside_the_question_encoder(bert: Path, share: float, tmp_path: Path) -> None:
    task = AnswerTask(vision=SMALL, text=TextSource(str(bert), lr_share=share), question={"dim": 24, "max_length": 13})
    task.model = model = built(task, "red", "no")
    wanted, tokenizer = load_text_encoder(bert)
    found = model.question.text
    assert found is not None and task.tokenizer is not None
    assert task.tokenizer.to_json() == tokenizer.to_json()
    for key, value in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
    config = model.question.config
    assert (config.dim, config.max_length, config.vocab_size, config.start_token, config.end_token) == (
        24,
        13,
        11,
        2,
        3,
    )
    model.train()
    task._trainer.current_epoch = task._trainer.global_rank = 0
    task.on_train_batch_start(SimpleNamespace(), 0)
    assert model.question.training and found.training == (share > 0)
    assert all(weight.requires_grad == (share > 0) for weight in found.parameters())
    made = configure(model, task.optimization, steps_per_epoch=3, total_steps=9, lr_shares=task.lr_shares())
    rates = {id(weight): group["initial_lr"] for group in made["optimizer"].param_groups for weight in group["params"]}
    inside = {id(weight) for weight in found.parameters()}
    for weight in model.parameters():
        if weight.requires_grad:
            assert rates[id(weight)] == pytest.approx(task.optimization.lr * (share if id(weight) in inside else 1))
    save_bundle(task.bundle(), tmp_path)
    again = load_bundle(tmp_path).model
    assert again.config.question.text is not None and again.config.question.text.dropout == 0
    tokens, images = torch.tensor([[2, 5, 6, 7, 3]]), torch.zeros(1, 3, 16, 16)
    torch.testing.assert_close(again(images, tokens), model.eval()(images, tokens))


def test_a_directory_without_a_text_encoder_says_nothing_of_one(tmp_path: Path) -> None:
    """As directories from before there were any."""
    config = (save_tiny_answerer(tmp_path) / "config.json").read_text()
    assert '"question"' in config and '"text"' not in config


@torch.inference_mode()
def test_the_first_blocks_of_a_trained_encoder(encoder: Path, bert: Path) -> None:
    trained = load_bundle(encoder).model
    task = AnswerTask(vision=VisionEncoder(pretrained=str(encoder), depth=1), question_pretrained=str(bert))
    found = built(task, "red", "no").encoder
    assert len(found.blocks) == 1 < len(trained.blocks)
    images = torch.randn(2, 3, *trained.config.image_size, generator=torch.Generator().manual_seed(1))
    whole = trained.features(images)
    trained.blocks = trained.blocks[:1]
    torch.testing.assert_close(found.features(images), trained.features(images))
    assert (found.features(images) - whole).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["closed", "decoder"])
def test_a_new_vocabulary_keeps_what_is_known_of_its_tokens(kind: Any, tmp_path: Path) -> None:
    source = save_tiny_answerer(tmp_path / "tiny", kind)
    old = load_bundle(source)
    assert old.tokenizer is not None
    task = AnswerTask(pretrained=str(source), vocabulary="new", question={"max_length": 47, "dropout": 0.1})
    assert task.tokenizer is None
    texts = ["what is on the tall shelf of the kitchen?", "how many green rings are there?", "above the wall"]
    tokenizer = Tokenizer.train(texts, kind="bpe", vocab_size=79)
    task._trainer = SimpleNamespace(world_size=1, strategy=SimpleNamespace())
    labels = ("no", "kettle") if kind == "closed" else ()
    model = task.build_model(TextFacts(tokenizer, answers=labels))
    task.model = model
    own = {"question.embedding.weight"}
    assert set(task.fresh_parts()) == own | ({"head"} if kind == "closed" else {"decoder.embedding.weight"})
    before, after = old.model.state_dict(), model.state_dict()
    names = {key for key in after if key.endswith("embedding.weight")}
    assert len(names) == (1 if kind == "closed" else 2)
    for key in names:
        kept = 0
        for token in range(tokenizer.vocab_size):
            name = tokenizer.name_of(token)
            known = None if name is None else old.tokenizer.id_of(name)
            assert (known is not None and torch.equal(after[key][token], before[key][known])) == (known is not None)
            kept += known is not None
        assert 20 < kept < tokenizer.vocab_size == len(after[key])
    positions = "question.positions.weight"
    assert len(after[positions]) == 47 and torch.equal(after[positions][:43], before[positions])
    assert after[positions][43:].std() > 0
    same = [key for key in before if key in after and key not in {*names, positions} and not key.startswith("head.3")]
    assert len(same) > 40 and all(torch.equal(after[key], before[key]) for key in same)
    if kind == "closed":
        row = old.labels.index("no")
        assert torch.equal(after["head.3.weight"][0], before["head.3.weight"][row])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vision": SMALL, "vocabulary": "new"}, '`vocabulary` must be "own" without `pretrained`: another start'),
        ({"vision": SMALL, "text": "bert", "question_pretrained": "bert"}, "`text` must not come with `question_pre"),
        ({"pretrained": "tiny", "text": "bert"}, "`text` must not come with `pretrained`, which has a question enc"),
        ({"vision": SMALL, "text": "bert", "question": {"max_length": 18}}, "`question` cannot be used: `text.max_l"),
        ({"pretrained": "tiny", "question": {"max_length": 42}}, "`question.max_length` must be at least that of `p"),
        ({"vision": SMALL, "question": {"text": None}}, "`question` must be among dim, depth, num_heads"),
    ],
)
def test_a_start_that_cannot_be(options: dict[str, Any], message: str, bert: Path, tmp_path: Path) -> None:
    places = {"bert": str(bert), "tiny": str(save_tiny_answerer(tmp_path))}
    named = {name: places.get(value, value) if isinstance(value, str) else value for name, value in options.items()}
    if "text" in named:
        named["text"] = TextSource(named["text"])
    with pytest.raises(ModelError) as raised:
        built(AnswerTask(**named), "no")
    assert str(raised.value).startswith(message)


def test_options_that_cannot_be(encoder: Path) -> None:
    with pytest.raises(ModelError, match="`text.lr_share` must be at least 0 and finite, but is -1 instead"):
        TextSource("bert", lr_share=-1)
    with pytest.raises(ModelError, match="`vision.depth` must be left out without `vision.pretrained`, but is 3"):
        VisionEncoder(preset="compact", depth=3)
    with pytest.raises(ModelError, match="`vision.depth` must be at least 1, but is 0 instead"):
        VisionEncoder(pretrained="classify", depth=0)
    with pytest.raises(ModelError, match=r"`vision.depth` must be at most \d, as the trained model has, but is 99"):
        AnswerTask(vision=VisionEncoder(pretrained=str(encoder), depth=99))
