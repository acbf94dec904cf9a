from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.export.pictures import CASES, Salient, make_salient


@pytest.fixture(params=CASES)
def salient(request: pytest.FixtureRequest) -> Salient:
    return make_salient(request.param)


@pytest.fixture
def photo() -> Image.Image:
    """A picture with structure everywhere, 61 x 43 pixels."""
    pixels = np.random.default_rng(3).integers(0, 256, (43, 61, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def chromium() -> Path:
    path = Path("/usr/bin/chromium")
    if not path.exists():
        pytest.skip("needs /usr/bin/chromium (Debian's package `chromium`)")
    return path
