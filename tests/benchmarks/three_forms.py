"""`python -m tests.benchmarks.three_forms [--minilm DIR]`: how far the Transformer's three forms are transformers'.

Tiny random models go through the real converter; a row says by how much the logits differ at most, relative to the
largest, also after they were saved back and loaded by transformers; and whether greedy texts and those of three beams
are the same tokens. With the directory of a real MiniLM, the same of its states.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import nn

from multiattn.generation import GenerationConfig, generate
from multiattn.models import TextDecoder, TextToText
from multiattn.weights import TextModel, load_text_model, save_text_model
from tests.parity.text_models import (
    bert_difference,
    generated,
    gpt2_difference,
    real_difference,
    save_bert,
    save_gpt2,
    save_t5,
    t5_difference,
    texts,
    without_end,
)
from tests.parity.vocabularies import UNIGRAMS

_TEXTS, _NEW = 40, 30
_OPTIONS = {
    "encoder: BERT, tied head": (save_bert, {}, bert_difference),
    "encoder: BERT, untied head, tanh GELU": (
        save_bert,
        {"tie_word_embeddings": False, "hidden_act": "gelu_new"},
        bert_difference,
    ),
    "decoder: GPT-2, tied head": (save_gpt2, {}, gpt2_difference),
    "decoder: GPT-2, untied head": (save_gpt2, {"tie_word_embeddings": False}, gpt2_difference),
    "both: the first T5, ReLU, tied head, states scaled": (save_t5, {}, t5_difference),
    "both: T5 1.1, gated GELU, untied head": (
        save_t5,
        {"feed_forward_proj": "gated-gelu", "untied": True, "tie_word_embeddings": False},
        t5_difference,
    ),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.three_forms", description=__doc__)
    parser.add_argument("--minilm", type=Path, help="directory of MiniLM, which `make minilm` fetches")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, fp32")
    print(f"| {'form and model':50} | loaded | saved back | greedy | 3 beams |")
    for name, (save, options, difference) in _OPTIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {name:50} | {_row(Path(folder), save, options, difference)} |")
    if args.minilm is not None:
        theirs = transformers.BertModel.from_pretrained(args.minilm).eval()
        ours, tokenizer = load_text_model(args.minilm)
        with tempfile.TemporaryDirectory() as folder:
            save_text_model(ours, tokenizer, folder)
            again = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
            found = [real_difference(ours, one, tokenizer) for one in (theirs, again)]
        print(f"| {'encoder: MiniLM-L6, real weights, states':50} | {found[0]:.0e} | {found[1]:.0e} |  |  |")


def _row(folder: Path, save: Callable[..., nn.Module], options: dict, difference: Callable[..., float]) -> str:
    theirs = save(folder / "theirs", **options)
    ours, tokenizer = load_text_model(folder / "theirs")
    save_text_model(ours, tokenizer, folder / "ours")
    again = type(theirs).from_pretrained(folder / "ours").eval()
    cells = [f"{difference(ours, one):.0e}" for one in (theirs, again)]
    for num_beams in (1, 3):
        same = _same_texts(ours, theirs, num_beams)
        cells.append("" if same is None else f"{same} of {_TEXTS}")
    return " | ".join(cells)


@torch.inference_mode()
def _same_texts(ours: TextModel, theirs: nn.Module, num_beams: int) -> int | None:
    """How many texts are the same tokens; None for a model that writes none."""
    options = GenerationConfig(max_tokens=_NEW, num_beams=num_beams)
    if isinstance(ours, TextDecoder):
        rows, _ = texts(_TEXTS, 5, ours.config.vocab_size)
        prompts = [row[: 1 + i % 5].tolist() for i, row in enumerate(rows)]
        wanted = generated(theirs, prompts, num_beams=num_beams, max_new_tokens=_NEW)
        found = generate(ours, ours.no_context(_TEXTS), prompts, options)
    elif isinstance(ours, TextToText):
        tokens, _ = texts(_TEXTS, 14, len(UNIGRAMS))
        mask = torch.arange(14)[None] < 1 + torch.arange(_TEXTS)[:, None] % 14
        made = theirs.generate(
            tokens, attention_mask=mask.long(), num_beams=num_beams, max_new_tokens=_NEW, do_sample=False
        )
        wanted = [without_end(row[1:], end=1) for row in made.tolist()]
        found = generate(ours.decoder, ours.read(tokens, attention_mask=mask), [[0]] * _TEXTS, options)
    else:
        return None
    return sum(list(best.tokens) == text for (best, *_), text in zip(found, wanted, strict=True))


if __name__ == "__main__":
    main()
