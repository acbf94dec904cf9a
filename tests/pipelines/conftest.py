import pytest

from multiattn.pipelines import Classifier
from tests.fixtures import tiny_bundle


@pytest.fixture(scope="session")
def classify() -> Classifier:
    return Classifier(tiny_bundle(), device="cpu")
