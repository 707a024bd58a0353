"""Tests of `tf.keras`, which are skipped where Keras is not installed."""

from importlib.metadata import PackageNotFoundError, version

import pytest

try:
    FOUND = version("keras")
except PackageNotFoundError:
    FOUND = ""


def pytest_collection_modifyitems(items):
    if not FOUND:
        for item in items:
            if "tests/keras/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="Keras is not installed: pip install 'tapejit[keras]'"))
