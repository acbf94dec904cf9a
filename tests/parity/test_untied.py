"""Models whose output matrix is not their embedding's table: ours against transformers', there and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from multiattn.weights import load_bundle, save_bundle
from tests.parity import blip_models, test_vit_gpt2
from tests.parity.random_weights import randomize

transformers = pytest.importorskip("transformers", reason="the reference is in the `parity` extra")
pytestmark = pytest.mark.usefixtures("quiet")


def blip(directory: Path) -> tuple[Any, Callable[[Any], torch.Tensor]]:
    config = transformers.BlipConfig(
        text_config={**blip_models.TEXT, "tie_word_embeddings": False},
        vision_config=blip_models.VISION,
        tie_word_embeddings=False,
    )
    theirs = randomize(transformers.BlipForConditionalGeneration(config), seed=13)
    theirs.save_pretrained(directory)
    transformers.BlipImageProcessor(size={"height": 35, "width": 35}).save_pretrained(directory)
    blip_models.save_wordpieces(directory)
    return theirs, lambda model: model(pixel_values=blip_models.pictures(35), input_ids=TOKENS).logits


def vit_gpt2(directory: Path) -> tuple[Any, Callable[[Any], torch.Tensor]]:
    theirs = test_vit_gpt2.save_theirs(directory, tie_word_embeddings=False)
    return theirs, lambda model: model(pixel_values=blip_models.pictures(35), decoder_input_ids=TOKENS).logits


TOKENS = torch.randint(0, 14, (3, 7), generator=torch.Generator().manual_seed(3))
KINDS = {
    "hf-blip": (blip, "text_decoder.bert.embeddings.word_embeddings.weight", "text_decoder.cls.predictions.decoder"),
    "vit-gpt2": (vit_gpt2, "decoder.transformer.wte.weight", "decoder.lm_head"),
}


@pytest.mark.parametrize("says", [False, True], ids=["config says untied", "config says tied"])
@pytest.mark.parametrize("layout", KINDS)
@torch.inference_mode()
def test_an_untied_output_matrix_is_loaded_and_saved(layout: str, says: bool, tmp_path: Path) -> None:
    save, _, head = KINDS[layout]
    theirs, run = save(tmp_path / "theirs")
    wanted = run(theirs)
    if says:  # the file knows better: transformers loads it untied, too
        path = tmp_path / "theirs" / "config.json"
        path.write_text(path.read_text().replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
        again = type(theirs).from_pretrained(tmp_path / "theirs").eval()
        torch.testing.assert_close(run(again), wanted, atol=1e-6, rtol=0)

    bundle = load_bundle(tmp_path / "theirs")
    assert not bundle.config.decoder.tied
    pictures = blip_models.pictures(35)
    found = bundle.model(pictures, TOKENS)
    assert (found - wanted).abs().max() <= 1e-5
    assert (found - tied_logits(bundle.model, pictures)).abs().max() > 0.1, "the table would give other logits"

    save_bundle(bundle, tmp_path / "ours", layout=layout)
    again, report = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True, dtype=torch.float32)
    assert not {key for key in report["missing_keys"] if key.startswith(head)} and not report["unexpected_keys"]
    assert (run(again.eval()) - wanted).abs().max() <= 1e-5
    assert torch.equal(load_bundle(tmp_path / "ours").model(pictures, TOKENS), found)


def tied_logits(model: Any, pictures: torch.Tensor) -> torch.Tensor:
    head, model.decoder.head.weight.data = model.decoder.head.weight.data, model.decoder.embedding.weight.data
    try:
        return model(pictures, TOKENS)
    finally:
        model.decoder.head.weight.data = head
