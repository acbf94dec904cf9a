"""Every test runs with the library's shape annotations checked at each call, and on one thread."""

import os
import signal

# The models of the tests are so small that a second thread costs more than it brings, on a busy machine eight times
# more. Set before torch is imported, and for the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"  # openai-whisper's time warping would set torch's threads to all there are

import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# before the first import of the package: the hook rewrites modules as they are loaded
_CHECKED = ("attention", "blocks", "models", "inputs", "metrics", "weights", "generation", "alignment", "maps")
install_import_hook([f"multiattn.{room}" for room in (*_CHECKED, "export", "pipelines")], "beartype.beartype")

# a job in the background starts with Ctrl-C ignored and hands that on; the programs under test must not inherit it
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in ("parity", "goldens"):
            item.add_marker(pytest.mark.parity)
