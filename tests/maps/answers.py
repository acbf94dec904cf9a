"""Small models that answer, with attention that is not flat, and questions of unequal length for them."""

import torch

from multiattn.inputs.text import Word
from multiattn.models import (
    VQA,
    SingleStream,
    SingleStreamConfig,
    TextDecoderConfig,
    TextEncoderConfig,
    ViTConfig,
    VQAConfig,
)

GRID = (5, 7)
LAYERS, HEADS = 3, 2
ANSWERS = 13
_VIT = {"image_size": (15, 21), "patch_size": 3, "num_classes": 0, "dim": 21, "num_heads": 3, "mlp_dim": 29}
_TEXT = {"vocab_size": 31, "dim": 22, "depth": LAYERS, "num_heads": HEADS, "mlp_dim": 23, "max_length": 13}
_POST = {"pre_norm": False, "final_norm": False, "embed_norm": True}
CONFIGS = {
    "closed list": VQAConfig(
        ViTConfig(**_VIT, depth=2, num_registers=1),
        TextEncoderConfig(**_TEXT, context_dim=21),
        answers=ANSWERS,
        head_dim=17,
    ),
    "decoder": VQAConfig(
        ViTConfig(**_VIT, depth=3, class_token=False, pool="mean"),
        TextEncoderConfig(**_TEXT, context_dim=17, **_POST),
        TextDecoderConfig(
            vocab_size=31, dim=26, depth=2, num_heads=2, mlp_dim=19, max_length=11, context_dim=22, **_POST
        ),
        bridge=True,
    ),
    "single stream": SingleStreamConfig(
        TextEncoderConfig(**_TEXT, context_dim=None), answers=ANSWERS, head_dim=17, image_size=(15, 21), patch_size=3
    ),
}

QUESTIONS = [[1, 9, 5, 17, 29, 7, 2], [1, 9, 8, 3, 2], [1, 11, 4, 2], [1, 30, 23, 6, 19, 5, 7, 2]]
"""Two of each of two pictures."""

QUESTION_WORDS = [
    [Word("what", 0, 4, (0,)), Word("color", 5, 11, (1, 2)), Word("?", 11, 12, (4,))],
    [Word("where", 0, 5, (0, 1, 2))],
    [Word("how", 0, 3, (0,)), Word("many", 4, 8, (1,))],
    [Word("is", 0, 2, (0,)), Word("it", 3, 5, (1,)), Word("red", 6, 9, (2, 3)), Word("?", 9, 10, (5,))],
]
_PLACES = [3, 0, ANSWERS - 1, 5]
_WHOLE = [[Word(text, 0, len(text), ())] for text in ("red", "to the left", "two", "no")]
_WRITTEN = [[1, 12, 4, 2], [1, 7, 8, 19, 6], [1, 5, 2], [1, 22, 2]]
_WRITTEN_WORDS = [
    [Word("dark", 0, 4, (0,)), Word("red", 5, 8, (1,))],
    [Word("left", 0, 4, (0, 1)), Word("of", 5, 7, (2,)), Word("it", 8, 10, (3,))],
    [Word("two", 0, 3, (0,))],
    [Word("no", 0, 2, (0,))],
]


def answerer(config: VQAConfig | SingleStreamConfig) -> VQA | SingleStream:
    torch.manual_seed(0)
    model = (VQA(config) if isinstance(config, VQAConfig) else SingleStream(config)).eval()
    with torch.no_grad():  # the usual start is so small that every row of attention is flat
        for parameter in model.parameters():
            parameter.normal_(std=0.25)
    return model


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 15, 21, generator=torch.Generator().manual_seed(1))


def asked(model: VQA | SingleStream, rows: list[int]) -> tuple[tuple, dict]:
    """The arguments of `explain_answer` for some of the questions, after the pictures."""
    questions = [QUESTIONS[i] for i in rows], [QUESTION_WORDS[i] for i in rows]
    written = isinstance(model, VQA) and model.decoder is not None
    answers, words = (_WRITTEN, _WRITTEN_WORDS) if written else (_PLACES, _WHOLE)
    return questions, {"answers": [answers[i] for i in rows], "answer_words": [words[i] for i in rows]}
