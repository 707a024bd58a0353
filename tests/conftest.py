"""A cache of compiled code for the session alone, so that nothing a user's cache holds decides a test."""

import os
import shutil
import tempfile


def pytest_configure(config):
    config.tapejit_cache = os.environ["TAPEJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="tapejit-tests-")


def pytest_unconfigure(config):
    shutil.rmtree(config.tapejit_cache, ignore_errors=True)
