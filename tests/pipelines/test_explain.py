"""`multiattn.explain` and `multiattn.from_module`, on timm's modules and ours; tests/parity has transformers'."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

import multiattn
from multiattn.errors import InputError, ModelError
from multiattn.maps import NO_CLASS
from multiattn.pipelines import ClassifyPipeline
from tests.fixtures import QUESTIONS, draw, tiny_answer_bundle, tiny_bundle, tiny_caption_bundle, tiny_match_bundle


def small(**arguments: object) -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model("vit_tiny_patch16_224", embed_dim=24, depth=2, img_size=32, **arguments)


def test_a_module_of_timm_is_explained_as_its_pipeline_does(tmp_path: Path) -> None:
    module = small(num_classes=5)
    pipeline = multiattn.from_module(module, labels=["ant", "bee", "cow", "dog", "elk"])
    assert isinstance(pipeline, ClassifyPipeline)
    wanted = pipeline(draw(3), maps="relevance")
    found = multiattn.explain(module, draw(3), method="relevance", labels=pipeline.labels)
    assert found.to_dict() == wanted.to_dict() and len(found.maps) == 1
    assert found.maps[0].map.equals(wanted.maps[0].map) and found.maps[0].map.target == wanted.label
    found.save_html(tmp_path / "one.html")
    assert wanted.label in (tmp_path / "one.html").read_text()


def test_a_tensor_is_the_modules_input_and_an_array_is_a_picture() -> None:
    module = small(num_classes=5)
    pipeline = multiattn.from_module(module)
    pixels, _ = pipeline.bundle.pictures(draw(3))
    wanted = np.array(pipeline(draw(3), maps="relevance").maps[0])
    for given in (pixels, pixels[None], draw(3), np.array(draw(3))):
        found = multiattn.explain(module, given, method="relevance")
        np.testing.assert_allclose(np.array(found.maps[0]), wanted, rtol=1e-4, atol=1e-7)
    shown = np.array(multiattn.explain(module, pixels).maps[0].picture)
    resized = np.array(pipeline.bundle.pictures.resized(draw(3)))
    np.testing.assert_allclose(shown.astype(int), resized.astype(int), atol=1)


def test_pixels_of_a_model_whose_preprocessing_is_not_known() -> None:
    bundle = tiny_bundle()
    pixels = torch.randn(3, 15, 35, generator=torch.Generator().manual_seed(7))
    found = multiattn.explain(bundle.model, pixels, labels=bundle.labels)
    with torch.inference_mode():
        assert found.label == bundle.labels[int(bundle.model(pixels[None]).argmax())]
    shown = np.array(found.maps[0].picture)
    assert shown.shape == (15, 35, 3) and shown.min() == 0 and shown.max() == 255


@pytest.mark.parametrize("wrapped", [torch.compile, nn.DataParallel])
def test_a_compiled_or_wrapped_module_is_explained(wrapped) -> None:
    module = small(num_classes=5)
    wanted = multiattn.explain(module, draw(3)).maps[0].map
    assert multiattn.explain(wrapped(module), draw(3)).maps[0].map.equals(wanted)


def test_training_leaves_no_trace() -> None:
    """Dropout does not count, no gradient is kept, and the module stays in its mode."""
    module = small(num_classes=5, proj_drop_rate=0.5, pos_drop_rate=0.5).train()
    one, other = (np.array(multiattn.explain(module, draw(3), method="relevance").maps[0]) for _ in range(2))
    assert np.array_equal(one, other)
    assert all(part.training for part in module.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert np.array_equal(one, np.array(multiattn.explain(module.eval(), draw(3), method="relevance").maps[0]))


@pytest.mark.parametrize("method", NO_CLASS)
def test_a_backbone_has_maps_without_labels(method: str, tmp_path: Path) -> None:
    module = small(num_classes=0)
    found = multiattn.explain(module, draw(3), method=method)
    assert found.to_dict() == {"file": None, "predictions": []} and found.maps[0].map.method == method
    found.maps[0].save_png(tmp_path / "one.png")
    found.save_html(tmp_path / "one.html")
    with_head = small(num_classes=5)
    with_head.load_state_dict(module.state_dict(), strict=False)
    wanted = multiattn.explain(with_head, draw(3), method=method)
    assert found.maps[0].map.equals(wanted.maps[0].map)


def test_texts_and_answers_are_explained() -> None:
    caption = tiny_caption_bundle()
    given = {"processor": caption.preprocessing, "tokenizer": caption.tokenizer}
    found = multiattn.explain(caption.model, draw(3), method="relevance", max_tokens=5, **given)
    assert len(found.maps) == 1 and found.maps[0].map.axes[0].name == "word"
    answer = tiny_answer_bundle("closed")
    given = {"processor": answer.preprocessing, "tokenizer": answer.tokenizer, "labels": answer.labels}
    found = multiattn.explain(answer.model, draw(3), question=QUESTIONS[0], **given)
    assert found.to_dict()["answer"] in answer.labels and len(found.maps) == 1


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    module, backbone = small(num_classes=5), small(num_classes=0)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")

    def refuses(message: str, *given: object, error: type[Exception] = ModelError, **options: object) -> None:
        with pytest.raises(error, match=message) as raised:
            multiattn.explain(*given, **options)  # type: ignore[arg-type]
        assert "\n" not in str(raised.value)

    refuses("there is no|`maps` must be of", module, draw(3), method="sight")
    refuses(
        r"`source` must be a tensor \(3, height, width\), .* is \(2, 3, 32, 32\)", module, torch.zeros(2, 3, 32, 32)
    )
    refuses(r"`source` must be a tensor \(3, height, width\), .* is \(1, 32, 32\)", module, torch.zeros(1, 32, 32))
    refuses("sides that are multiples of 16, the patch, but is .30, 32.", module, torch.zeros(3, 30, 32))
    refuses("`question` must be given for a model that answers, but is 'why", module, draw(3), question="why?")
    refuses("has no head: the others explain a class, but is 'relevance'", backbone, draw(3), method="relevance")
    refuses("`target` must be left out for a VisionTransformer, which has no head", backbone, draw(3), target=1)
    refuses("broken.jpg.* must be", module, broken, error=InputError)
    refuses("broken.jpg.* must be", backbone, broken, error=InputError)
    answer = tiny_answer_bundle("closed")
    given = {"processor": answer.preprocessing, "tokenizer": answer.tokenizer, "labels": answer.labels}
    refuses("`question` must be given for a model that answers, but is None", answer.model, draw(3), **given)
    with pytest.raises(
        ModelError, match="VisionTransformer must have labels to classify, but is a model without a head"
    ):
        multiattn.from_module(backbone)(draw(3))


def test_two_towers_are_explained_for_a_text() -> None:
    bundle = tiny_match_bundle()
    given = {"processor": bundle.preprocessing, "tokenizer": bundle.tokenizer}
    with pytest.raises(ModelError, match="`texts` must be given for a model that matches texts, but is None instead"):
        multiattn.explain(bundle.model, draw(3), **given)
    found = multiattn.explain(bundle.model, draw(3), texts=["a dog", "red grass"], **given)
    wanted = multiattn.from_module(bundle.model, **given)(draw(3), ["a dog", "red grass"], maps="relevance")
    assert found.to_dict() == wanted.to_dict()
    np.testing.assert_array_equal(np.array(found.maps[0]), np.array(wanted.maps[0]))
