"""Self-attention among moments, against sums over frames in loops."""

import numpy as np
import pytest
import torch

from multiattn.attention import Tap
from multiattn.maps import moment_attention
from multiattn.models import SpeechRecognizer
from tests.fixtures import tiny_speech_bundle, tiny_whisper_bundle


@pytest.mark.parametrize(("whisper", "length"), [(True, 86), (False, 86)])
def test_moments_are_frames_that_are_merged(whisper, length):
    """Whisper attends to the padding, too; its share is said, and is in no moment."""
    bundle = tiny_whisper_bundle() if whisper else tiny_speech_bundle()
    model = bundle.model
    assert isinstance(model, SpeechRecognizer)
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(model.config.encoder.mels, 200 if whisper else length, generator=generator)
    seconds = 0.02 if whisper else 0.04
    found = moment_attention(model, features, length=length, frame_seconds=seconds, start=7.5)
    frames, own = (int(model.encoder.frames(count)) for count in (features.shape[1], length))
    tap = Tap(model.attention_sites(tokens=1, frames=frames), select="encoder.*")
    with torch.no_grad():
        model.encode(features[None], lengths=torch.tensor([length]), tap=tap)
    weights = np.stack([one[0].numpy() for one in tap.weights.values()])  # (l, h, n, n)
    each = round(0.1 / seconds)
    spans = [range(first, min(own, first + each)) for first in range(0, own, each)]
    expected = np.zeros((*weights.shape[:2], len(spans), len(spans)))
    for i, queries in enumerate(spans):
        for j, keys in enumerate(spans):
            for query in queries:
                for key in keys:
                    expected[:, :, i, j] += weights[:, :, query, key].astype(np.float64) / len(queries)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.names == ("layer", "head", "query", "key") and found.sites == tuple(tap.weights)
    for axis in found.axes[2:]:
        assert (axis.unit, axis.start, axis.step) == ("second", 7.5, pytest.approx(each * seconds))
    padding = 1 - expected.sum(axis=-1).mean()
    assert (f" {padding:.0%} of it went to the silence that fills up the window." in found.note) == whisper
    assert whisper == (padding > 0.005)
