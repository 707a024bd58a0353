"""How tapejit takes its seat in Keras, and how it says what is in the way. Each in an interpreter of its own."""

import os
import subprocess
import sys

import pytest


def said(program, **environment):
    """What a program prints, or the last line of its error."""
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | environment
    out = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    return out.stdout.strip() if out.returncode == 0 else out.stderr


def test_tapejit_alone_does_not_import_keras():
    assert said("import sys, tapejit; print('keras' in sys.modules, 'tapejit.keras' in sys.modules)") == "False False"


@pytest.mark.parametrize("environment", [{}, {"KERAS_BACKEND": "tapejit"}])
def test_keras_is_real_and_runs_on_us(environment):
    program = """
import os, tapejit as tf
before = os.environ.get("KERAS_BACKEND")
layer = tf.keras.layers.Dense(2)
import keras
from tapejit import keras as ours
import tapejit.keras.layers as layers
from tapejit.keras.models import Sequential
assert os.environ.get("KERAS_BACKEND") == before
print(keras.backend.backend(), type(layer) is keras.layers.Dense is ours.layers.Dense is layers.Dense, Sequential is keras.Sequential,
      type(layer(tf.ones([1, 3]))) is tf.Tensor or tf.is_tensor(layer(tf.ones([1, 3]))), "jax" in __import__("sys").modules)
"""
    assert said(program, **environment) == "tapejit True True True False"


def test_a_module_that_keras_has_not():
    assert "No module named 'tapejit.keras.nothing'" in said("import tapejit.keras.nothing")
    assert "has no attribute 'nothing'" in said("import tapejit as tf; tf.keras.nothing")


def test_another_backend_is_refused():
    error = said("import tapejit as tf; tf.keras.layers", KERAS_BACKEND="jax")
    assert "KERAS_BACKEND is 'jax'" in error
    assert "os.environ['KERAS_BACKEND'] = 'tapejit'" in error


def test_keras_imported_before_is_refused():
    error = said("import sys, types; sys.modules['keras'] = types.ModuleType('keras'); import tapejit as tf; tf.keras.layers")
    assert "keras was imported before" in error
    assert "keras = tf.keras" in error
