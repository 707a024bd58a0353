"""Types: their text, and broadcasting against NumPy."""

import itertools

import numpy as np
import pytest

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import named
from tapejit.core.types import Type, broadcast, parse

B, C = named("B"), named("C")


@pytest.mark.parametrize("shape", [(), (3,), (B,), (B, 784), (2 * B + 1, C, 0), (sizes.floordiv(B, 2), sizes.minimum(B, C))])
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_text_reads_back(dtype, shape):
    t = Type(dtype, shape)
    assert parse(str(t)) == t


def test_text():
    assert str(Type(dtypes.float32, (B, 784))) == "f32[B, 784]"
    assert str(Type(dtypes.bool_)) == "bool"


@pytest.mark.parametrize("text", ["float32", "f32[True]", "f32['a']", "f32()", "g[3]", "3", "f32[1.5]", "f32[3:4]"])
def test_what_is_no_type(text):
    with pytest.raises(ValueError, match="not a"):
        parse(text)


def test_broadcast_as_numpy_does():
    shapes = [s for r in range(4) for s in itertools.product((0, 1, 3), repeat=r)]
    for a, b in itertools.product(shapes, repeat=2):
        try:
            expected = np.broadcast_shapes(a, b)
        except ValueError:
            with pytest.raises(ValueError, match="differ"):
                broadcast(a, b)
        else:
            assert broadcast(a, b) == expected
    assert broadcast() == ()
    assert broadcast((3, 1), (1, 4), (5, 1, 1)) == (5, 3, 4)


def test_broadcast_of_sizes():
    assert broadcast((B, 3), (3,)) == (B, 3)
    assert broadcast((B, 1), (1, C)) == (B, C)
    with pytest.raises(ValueError, match="B and C"):
        broadcast((B,), (C,))
    with sizes.assuming() as taken:
        assert broadcast((B,), (4,)) == (4,)
    assert taken == [(B, 4)]


def test_parts():
    t = Type(dtypes.float32, (B, 3))
    assert (t.rank, t.size) == (2, 3 * B)
    assert t.with_shape((2,)) == Type(dtypes.float32, (2,))
    assert t.with_dtype(dtypes.int8).dtype is dtypes.int8
    assert len({t, Type(dtypes.float32, (named("B"), 3))}) == 1
