import inspect

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.maps import METHODS, Attribution, explain
from tests.fixtures import tiny_bundle, tiny_caption_bundle


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [3, [3, 1], torch.tensor([3, 1]), None])
def test_a_pixel_has_its_share_of_its_patch(method, target) -> None:
    model = tiny_bundle().model
    inputs = torch.randn(2, 3, 15, 35, generator=torch.Generator().manual_seed(3))
    found = Attribution(model, method).attribute(inputs, target)
    assert (found.shape, found.dtype) == (inputs.shape, inputs.dtype)
    classes = None if target is None else [3, 3] if isinstance(target, int) else [3, 1]
    for one, attribution in zip(explain(model, inputs, method=method, target=classes), found, strict=True):
        for y in range(15):
            for x in range(35):
                expected = one.values[y // 5, x // 5] / 75
                np.testing.assert_allclose(attribution[:, y, x], expected, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(float(attribution.sum()), one.values.sum(), rtol=1e-4, atol=1e-6)


def test_it_is_called_as_those_of_captum() -> None:
    """The names and the order that `captum.attr.Saliency.attribute` has, and the property that tools ask for."""
    names = list(inspect.signature(Attribution.attribute).parameters)
    assert names == ["self", "inputs", "target"]
    assert Attribution(tiny_bundle().model).has_convergence_delta() is False


def test_what_cannot_be_attributed_is_named() -> None:
    with pytest.raises(ModelError, match=r"`model` must be a multiattn.models.ViT, but is 'Captioner' instead"):
        Attribution(tiny_caption_bundle().model)
    with pytest.raises(ModelError, match=r"`method` must be one of .*relevance.*, but is 'ig' instead"):
        Attribution(tiny_bundle().model, "ig")
    with pytest.raises(ModelError, match=r"`target` must be a class from 0 to 6, but is 9 instead"):
        Attribution(tiny_bundle().model).attribute(torch.zeros(1, 3, 15, 35), 9)
