"""Dtypes: every way to name one, and the facts about each."""

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

from tapejit.core import dtypes
from tapejit.core.dtypes import as_dtype


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_every_name_is_the_one_object(dtype):
    for x in (dtype, dtype.name, dtype.short, dtype.np, dtype.as_numpy_dtype, np.zeros(2, dtype.np).dtype):
        assert as_dtype(x) is dtype
        assert dtype == x
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert copy.deepcopy(dtype) is dtype
    assert repr(dtype) == f"tf.{dtype.name}"
    assert dtype.size * 8 == (8 if dtype.kind == "b" else dtype.bits)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (float, "float32"),
        (int, "int32"),
        (bool, "bool"),
        (complex, "complex128"),
        ("half", "float16"),
        ("double", "float64"),
        (ml_dtypes.bfloat16, "bfloat16"),
    ],
)
def test_python_names(name, expected):
    assert as_dtype(name).name == expected


@pytest.mark.parametrize("x", [None, "no such", 3, object(), [1], np.dtype("U3"), np.dtype("datetime64[s]"), {}])
def test_what_is_no_dtype(x):
    with pytest.raises(TypeError, match="to a tapejit DType"):
        as_dtype(x)
    assert dtypes.float32 != x


def test_numbers_are_those_of_tensorflows_files():
    assert [d.as_datatype_enum for d in (dtypes.float32, dtypes.int64, dtypes.bfloat16, dtypes.uint64)] == [1, 9, 14, 23]
    assert len({d.as_datatype_enum for d in dtypes.ALL}) == len(dtypes.ALL)


def test_names_and_dtypes_may_share_a_dict():
    table = dict.fromkeys(dtypes.ALL, 0) | {d.name: 1 for d in dtypes.ALL} | {d.np: 2 for d in dtypes.ALL}
    assert [table[d] for d in dtypes.ALL] == [0] * len(dtypes.ALL)
    assert [table[d.name] for d in dtypes.ALL] == [1] * len(dtypes.ALL)
    assert [table[d.np] for d in dtypes.ALL] == [2] * len(dtypes.ALL)


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d.kind in "iuf"], ids=str)
def test_limits(dtype):
    info = np.iinfo(dtype.np) if dtype.is_integer else ml_dtypes.finfo(dtype.np)
    assert (dtype.min, dtype.max) == (info.min, info.max)
    assert dtype.limits == ((dtype.min, dtype.max) if dtype.is_integer else (0, 1))


def test_limits_of_the_others():
    assert dtypes.bool_.limits == (False, True)
    with pytest.raises(TypeError, match="maximum"):
        _ = dtypes.complex64.max


def test_kinds():
    def those(test):
        return {d.short for d in dtypes.ALL if test(d)}

    assert those(lambda d: d.is_floating) == {"f16", "bf16", "f32", "f64"}
    assert those(lambda d: d.is_unsigned) == {"u8", "u16", "u32", "u64"}
    assert those(lambda d: d.is_integer) == {f"{k}{b}" for k in "iu" for b in (8, 16, 32, 64)}
    assert those(lambda d: d.differentiable) == {"f16", "bf16", "f32", "f64", "c64", "c128"}
    assert those(lambda d: not d.is_numeric) == those(lambda d: d.is_bool) == {"bool"}
    assert dtypes.complex64.real_dtype is dtypes.float32
    assert dtypes.complex128.real_dtype is dtypes.float64
    assert dtypes.int8.real_dtype is dtypes.int8
