"""Tables of rules: a row is a function of fresh variables and tensors, run outside and inside a traced function where it applies to both.

The decorator says what the values that the function returns have to be.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import tapejit as tf

eager_only = ("eager",)
NONE = None


class Table:
    """The rows of a module."""

    def __init__(self):
        self.rows = []

    def __call__(self, name, *expected, modes=("eager", "traced")):
        """Enter a row: its name, the values expected of what it returns (None for None), and where it applies."""

        def enter(f):
            self.rows.extend(pytest.param(f, expected, mode, id=f"{name} [{mode}]") for mode in modes)
            return f

        return enter

    def __len__(self):
        return len({row.id.rsplit(" [", 1)[0] for row in self.rows})


def environment():
    return SimpleNamespace(
        v=tf.Variable(3.0, name="v"),
        w=tf.Variable([1.0, 2.0, 3.0], name="w"),
        n=tf.Variable(2, name="n"),
        fixed=tf.Variable(5.0, trainable=False, name="fixed"),
        table=tf.Variable(np.arange(8.0, dtype="float32").reshape(4, 2), name="table"),
        c=tf.constant(2.0),
        x=tf.constant(np.linspace(0.5, 2.5, 20, dtype="float32")),
    )


def check(f, expected, mode):
    """Run a row and compare what it returns."""
    e = environment()
    found = f(e) if mode == "eager" else tf.function(lambda: f(e), autograph=False)()
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        assert (got is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_allclose(np.asarray(tf.convert_to_tensor(got)), np.asarray(wanted), rtol=1e-6)


def raises(error, text, f):
    with pytest.raises(error, match=text):
        f()
