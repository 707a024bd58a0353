"""Every scalar function, for every dtype it takes, natively and in the printed Python against its NumPy reference."""

from __future__ import annotations

import numpy as np
import pytest
from running import Native, program_of, run_python

from tapejit.codegen import numba
from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops import reference
from tapejit.loops.expr import Call, Const, Load, Var
from tapejit.loops.nest import For, Kernel, Param, Store
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import DEFINITIONS

SKIPPED = {"select", "guarded", "cast", "bitcast"}  # tested with the kernels, and below
KINDS = {
    "b": [dtypes.bool_],
    "i": [dtypes.int8, dtypes.int32, dtypes.int64],
    "u": [dtypes.uint8, dtypes.uint32],
    "f": [dtypes.float32, dtypes.float64],
}
ALL = [(fn, d) for fn, row in FUNCTIONS.items() if fn not in SKIPPED for kind in row.kinds for d in KINDS[kind]]
ALL = [(fn, d) for fn, d in ALL if fn != "mulhi_u32" or d is dtypes.uint32]
PROBABILITIES = {"ndtri", "betainc"}
POSITIVE = {"gammainc", "gammaincc"}


def operands(fn: str, d: DType, arity: int) -> list[np.ndarray]:
    r = np.random.default_rng(3)
    out = []
    for k in range(arity):
        if d.kind == "b":
            a = r.integers(0, 2, 64)
        elif d.kind == "f":
            a = r.normal(size=64) * (1 if fn in ("atanh", "asin", "acos", "erfinv") else 3)
            a = np.clip(a, -0.95, 0.95) if fn in ("atanh", "asin", "acos", "erfinv") else a
            a = 1 + np.abs(a) if fn == "acosh" else np.abs(a) if fn in ("pow",) and k == 0 else a
            a = 0.5 + 0.4 * np.tanh(a) if fn in PROBABILITIES else np.abs(a) if fn in POSITIVE else a
            if fn in ("add", "mul", "min", "max", "eq", "lt", "isnan", "isinf", "isfinite", "exp", "tanh", "sqrt", "floor", "abs", "neg"):
                a[:6] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30]
        else:
            low, high = int(d.min), int(d.max)
            a = r.integers(low, high, 64, endpoint=True, dtype=d.np)
            a[:4] = [0, 1, high, low]
            if k == 1:
                a[:8] = [0, 1, high, 255 if d.kind == "u" else -1, 2, 3, 0, 1]
            if fn == "pow":
                a = a % 7 if k else a
            if fn in ("shl", "shr") and k:
                a = r.integers(0, d.bits + 3, 64)
        out.append(np.asarray(a).astype(d.np))
    return out


def kernel_of(fn: str, d: DType) -> Kernel:
    row = FUNCTIONS[fn]
    index = (Var(dtypes.int64, "i"),)
    to = dtypes.bool_ if row.result == "bool" else d
    loads = tuple(Load(d, f"x{k}", index) for k in range(row.arity))
    params = (*(Param(f"x{k}", d, (64,)) for k in range(row.arity)), Param("y", to, (64,), "out"))
    return Kernel("f", params, (), (For("i", 64, "vector", (Store("y", index, Call(to, fn, loads)),)),))


def has_code(fn: str, d: DType) -> bool:
    return fn not in ("digamma", "erfinv", "ndtri") or (fn, d.short) in DEFINITIONS


@pytest.mark.parametrize(("fn", "d"), ALL, ids=lambda v: v if isinstance(v, str) else v.short)
def test_native_functions(fn: str, d: DType) -> None:
    if not has_code(fn, d):
        pytest.skip("the math library does not define it for this dtype")
    if d.kind == "i" and fn in ("truncdiv", "floordiv", "abs", "neg", "rem", "mod") and d is dtypes.int8:
        pytest.skip("NumPy warns of or widens the smallest value divided by -1 in its narrowest type")
    kernel = kernel_of(fn, d)
    arrays = {f"x{k}": a for k, a in enumerate(operands(fn, d, FUNCTIONS[fn].arity))}
    y = kernel.params[-1].dtype
    got, want = {**arrays, "y": np.zeros(64, y.np)}, {**arrays, "y": np.zeros(64, y.np)}
    assert Native(program_of(kernel))(got) == 0
    reference.run_kernel(kernel, want)
    if y.kind == "f":
        precision = 3e-6 if d is dtypes.float32 else 1e-13
        np.testing.assert_allclose(got["y"], want["y"], rtol=precision, atol=precision)
    else:
        np.testing.assert_array_equal(got["y"], want["y"])
    text = numba.module(program_of(kernel))
    again = {**arrays, "y": np.zeros(64, y.np)}
    run_python(text, program_of(kernel), again, {}, compiled=False)
    np.testing.assert_allclose(again["y"], want["y"], rtol=1e-5, atol=1e-6)


def test_the_smallest_integer_divided_by_minus_one_is_itself() -> None:
    index = (Var(dtypes.int64, "i"),)
    x, y = Load(dtypes.int32, "x", index), Load(dtypes.int32, "y", index)
    for fn in ("floordiv", "truncdiv", "mod", "rem"):
        params = (Param("x", dtypes.int32, (1,)), Param("y", dtypes.int32, (1,)), Param("z", dtypes.int32, (1,), "out"))
        kernel = Kernel("f", params, (), (For("i", 1, "serial", (Store("z", index, Call(dtypes.int32, fn, (x, y))),)),))
        arrays = {"x": np.array([-(2**31)], "i4"), "y": np.array([-1], "i4"), "z": np.array([5], "i4")}
        assert Native(program_of(kernel))(arrays) == 0
        assert arrays["z"][0] == (-(2**31) if "div" in fn else 0)


def test_shifts_and_divisions_by_constants_need_no_guard() -> None:
    index = (Var(dtypes.int64, "i"),)
    x = Load(dtypes.int32, "x", index)
    for fn in ("floordiv", "shl"):
        params = (Param("x", dtypes.int32, (8,)), Param("z", dtypes.int32, (8,), "out"))
        kernel = Kernel(
            "f", params, (), (For("i", 8, "serial", (Store("z", index, Call(dtypes.int32, fn, (x, Const(dtypes.int32, 3)))),)),)
        )
        text = Native(program_of(kernel)).source.text
        assert text.count("select") == (1 if fn == "floordiv" else 0)
