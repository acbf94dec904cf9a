from dataclasses import replace

import pytest
import torch

from multiattn.inputs import Tokenizer
from multiattn.models import Captioner
from multiattn.pipelines import CaptionPipeline, ClassifyPipeline
from multiattn.weights import ModelBundle
from tests.fixtures import SENTENCES, tiny_bundle, tiny_caption_bundle


@pytest.fixture(scope="session")
def classify() -> ClassifyPipeline:
    return ClassifyPipeline(tiny_bundle(), device="cpu")


def wordy_bundle(**decoding: object) -> ModelBundle:
    """The tiny captioner with whole words in its vocabulary, so that its captions have several words."""
    tiny = tiny_caption_bundle()
    tokenizer = Tokenizer.train(SENTENCES, kind="bpe", vocab_size=199)
    config = tiny.model.config
    model = Captioner(replace(config, decoder=replace(config.decoder, vocab_size=tokenizer.vocab_size))).eval()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # what the decoder sees counts, or it would say the same of every picture
            parameter.normal_(std=2.0 if "cross_attention" in name else 1.0, generator=generator)
    return replace(tiny, model=model, tokenizer=tokenizer, decoding={"max_tokens": 7} | decoding)


@pytest.fixture(scope="session")
def caption() -> CaptionPipeline:
    return CaptionPipeline(wordy_bundle(), device="cpu")
