import pytest

from multiattn.pipelines import Classifier
from tests.fixtures import one_thread, tiny_bundle

quiet = pytest.fixture(scope="package", autouse=True)(one_thread)


@pytest.fixture(scope="session")
def classify() -> Classifier:
    return Classifier(tiny_bundle(), device="cpu")
