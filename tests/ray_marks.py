"""The marks of tests that import Ray."""

import importlib.util

import pytest

RAY = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray` or `serve-ray`"),
    # of Ray itself: sockets, files and loops that it leaves to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
