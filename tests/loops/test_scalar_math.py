"""Every definition of the scalar mathematics against the truth: as NumPy evaluates it, and as kernels compile it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from math_accuracy import SPECIAL, aligned, compiled, evaluate, library, patterns, truth, ulps

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops import scalar_math
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import DEFINITIONS

# The largest errors in ulps, float32 (over all bit patterns) and float64, rounded up.
LIMITS: dict[str, tuple[float, float]] = {
    "exp": (1.1, 1.1), "expm1": (1.6, 1.9), "log": (0.9, 0.9), "log1p": (1.5, 1.5), "sigmoid": (2.6, 2.3), "softplus": (1.9, 1.8),
    "tanh": (2.7, 2.7), "sinh": (2.6, 2.6), "cosh": (1.7, 1.7), "asinh": (2.1, 2.1), "acosh": (2.4, 2.1), "atanh": (2.4, 2.0),
    "sin": (1.7, 1.7), "cos": (1.7, 1.7), "tan": (3.8, 3.2), "asin": (2.5, 2.3), "acos": (1.3, 1.3), "atan": (1.4, 1.6),
    "rsqrt": (1.5, 1.5), "erf": (1.2, 1.0), "erfc": (1.3, 2.7), "pow": (0.6, 1.8), "atan2": (1.6, 1.6), "erfinv": (0.6, 4.0),
    "ndtri": (0.6, 4.0), "lgamma": (0.6, 4.0), "digamma": (0.6, 4.0), "nextafter": (0.0, 0.0),
}  # fmt: skip
SIZE = 65536
FLOATS = [dtypes.float32, dtypes.float64]
ONE = [fn for fn in LIMITS if FUNCTIONS[fn].arity == 1]
extended = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="float64 results need a longer float to be judged")


def arguments(fn: str, dtype: DType) -> np.ndarray:
    """All exponents, and the range where the function is interesting; 65536 numbers."""
    r = np.random.default_rng(5)
    low, high = {"acosh": (1.0, 9.0), "ndtri": (0.0, 1.0), "lgamma": (-20.0, 40.0), "digamma": (-20.0, 40.0), "log": (0.2, 4.0)}.get(
        fn, (-12.0, 12.0)
    )
    x = np.concatenate(
        [patterns(SIZE // 2, dtype), r.uniform(low, high, SIZE // 4).astype(dtype.np), r.uniform(-1, 1, SIZE // 4).astype(dtype.np)]
    )
    return aligned(x)


def judge(fn: str, dtype: DType, got: np.ndarray, *x: np.ndarray) -> None:
    limit = LIMITS[fn][dtype is dtypes.float64]
    error = ulps(got, truth(fn, *x))
    k = int(np.argmax(error))
    at = ", ".join(repr(a[k]) for a in x)
    assert error[k] <= limit, f"{fn}({at}) = {got[k]!r}, {error[k]:.3f} ulp off; the truth is {truth(fn, *(a[k : k + 1] for a in x))[0]!r}"


def test_every_elementary_function_is_defined_in_both_precisions() -> None:
    assert {fn for fn, _ in DEFINITIONS} == set(LIMITS)
    assert set(DEFINITIONS) == {(fn, d.short) for fn in LIMITS for d in FLOATS}


@pytest.mark.parametrize("key", DEFINITIONS, ids="-".join)
def test_definitions_use_one_instruction_functions_only(key: tuple[str, str]) -> None:
    known = {
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "abs",
        "sqrt",
        "rint",
        "copysign",
        "isnan",
        "fma",
        "select",
        "cast",
        "bitcast",
        "shl",
        "shr",
    }
    known |= {"and", "or", "xor", "not", "lt", "le", "gt", "ge", "eq", "ne"}
    definition = DEFINITIONS[key]
    assert scalar_math.primitives(definition) <= known
    names = [p.name for p in definition.params] + [let.name for let in definition.lets]
    assert len(set(names)) == len(names)
    assert definition.result.dtype.short == key[1]


# ------------------------------------------------------------------------------------------------ accuracy
@pytest.mark.parametrize("fn", ONE)
def test_evaluated_float32(fn: str) -> None:
    x = arguments(fn, dtypes.float32)
    judge(fn, dtypes.float32, evaluate(DEFINITIONS[fn, "f32"], x), x)


@pytest.mark.parametrize("fn", ONE)
def test_compiled_float32(fn: str) -> None:
    x = arguments(fn, dtypes.float32)
    judge(fn, dtypes.float32, compiled(fn, dtypes.float32)(x), x)


@extended
@pytest.mark.parametrize("fn", [fn for fn in ONE if fn not in SPECIAL])
def test_compiled_float64(fn: str) -> None:
    x = arguments(fn, dtypes.float64)
    judge(fn, dtypes.float64, compiled(fn, dtypes.float64)(x), x)


@extended
@pytest.mark.parametrize("fn", ["erf", "erfc"])
def test_compiled_float64_error_functions(fn: str) -> None:
    r = np.random.default_rng(2)
    x = aligned(np.concatenate([r.uniform(-7, 28, 6000), r.uniform(-1, 1, 2000), patterns(2000, dtypes.float64)]))
    assert ulps(compiled(fn, dtypes.float64)(x), library(fn, x)).max() <= LIMITS[fn][1]


@pytest.mark.parametrize(("fn", "low", "high"), [("lgamma", -30, 50), ("digamma", -30, 50), ("erfinv", -1, 1), ("ndtri", 0, 1)])
def test_compiled_float64_special(fn: str, low: float, high: float) -> None:
    """Relative to the value, or absolute near the zeros between the poles, where the truth in float64 is no better."""
    r = np.random.default_rng(2)
    x = aligned(r.uniform(low, high, 20000))
    got, want = compiled(fn, dtypes.float64)(x), SPECIAL[fn](x)
    assert (
        np.max(np.abs(got - want) / np.maximum(np.abs(want), 1)) < 3e-14 if low < -1 else np.max(np.abs(got - want) / np.abs(want)) < 4e-15
    )


def test_compiled_float64_lgamma_and_digamma_for_large_and_small_arguments() -> None:
    x = aligned(10.0 ** np.linspace(-300, 300, 5000))
    for fn in ("lgamma", "digamma"):
        np.testing.assert_allclose(compiled(fn, dtypes.float64)(x), SPECIAL[fn](x), rtol=1e-15, atol=8e-15)


def test_compiled_float64_ndtri_of_tiny_probabilities() -> None:
    x = aligned(10.0 ** np.linspace(-304, -1, 5000))
    np.testing.assert_allclose(compiled("ndtri", dtypes.float64)(x), scipy.special.ndtri(x), rtol=2e-15)


# ------------------------------------------------------------------------------------------------ two operands
def pairs(fn: str, dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    """Special values against each other, bit patterns, and bases and exponents whose powers fill the range."""
    r = np.random.default_rng(4)
    f = dtype.np
    special = np.array(
        [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 2, -2, 3, -3, 0.5, -0.5, 1e-40, -1e-40, 1e30, 2**24, 1e38, 1.5, 2.5, -1.5], f
    )
    a, b = (g.ravel() for g in np.meshgrid(special, special))
    n = (SIZE - len(a)) // 4
    x = np.exp(r.uniform(-80, 80, n))
    limit = 103 if dtype is dtypes.float32 else 745
    near = r.uniform(0.5, 2, n)
    first = [a, patterns(n, dtype, 1), x, near, r.uniform(-4, 4, n)]
    second = [
        b,
        patterns(n, dtype, 2)[::-1],
        r.uniform(-limit, limit, n) / np.log(x),
        r.uniform(-limit, limit, n) / np.log(near),
        r.integers(-9, 9, n),
    ]
    with np.errstate(over="ignore"):
        return tuple(aligned(np.concatenate([np.asarray(p).astype(f) for p in part])) for part in (first, second))  # type: ignore[return-value]


@pytest.mark.parametrize("fn", ["pow", "atan2", "nextafter"])
@pytest.mark.parametrize("dtype", [dtypes.float32, pytest.param(dtypes.float64, marks=extended)], ids=["f32", "f64"])
def test_two_operands(fn: str, dtype: DType) -> None:
    x, y = pairs(fn, dtype)
    judge(fn, dtype, compiled(fn, dtype)(x, y), x, y)


# ------------------------------------------------------------------------------------------------ special values
@pytest.mark.parametrize("d", FLOATS, ids=lambda d: d.short)
def test_special_values(d: DType) -> None:
    inf, nan = np.inf, np.nan
    for fn, x, y in [
        ("exp", [inf, -inf, nan, 0.0, -0.0, 1e4, -1e4], [inf, 0, nan, 1, 1, inf, 0]),
        ("log", [0.0, -0.0, -1.0, inf, -inf, nan, 1.0], [-inf, -inf, nan, inf, nan, nan, 0.0]),
        ("log1p", [-1.0, -2.0, inf, -inf, nan, -0.0], [-inf, nan, inf, nan, nan, -0.0]),
        ("expm1", [inf, -inf, nan, -0.0], [inf, -1, nan, -0.0]),
        ("tanh", [inf, -inf, nan, -0.0], [1, -1, nan, -0.0]),
        ("sigmoid", [inf, -inf, nan, 0.0], [1, 0, nan, 0.5]),
        ("softplus", [inf, -inf, nan], [inf, 0, nan]),
        ("sin", [inf, -inf, nan, -0.0], [nan, nan, nan, -0.0]),
        ("cos", [inf, -inf, nan, -0.0], [nan, nan, nan, 1]),
        ("asin", [1.0, -1.0, 1.0001, nan, -0.0], [np.pi / 2, -np.pi / 2, nan, nan, -0.0]),
        ("acos", [1.0, -1.0, -1.0001, nan], [0, np.pi, nan, nan]),
        ("atan", [inf, -inf, nan, -0.0], [np.pi / 2, -np.pi / 2, nan, -0.0]),
        ("acosh", [1.0, 0.99, inf, -inf, nan], [0, nan, inf, nan, nan]),
        ("atanh", [1.0, -1.0, 1.1, nan, -0.0], [inf, -inf, nan, nan, -0.0]),
        ("sinh", [inf, -inf, nan, -0.0], [inf, -inf, nan, -0.0]),
        ("erf", [inf, -inf, nan, -0.0], [1, -1, nan, -0.0]),
        ("erfc", [inf, -inf, nan], [0, 2, nan]),
        ("erfinv", [1.0, -1.0, 1.1, nan, 0.0], [inf, -inf, nan, nan, 0]),
        ("ndtri", [0.0, 1.0, 0.5, -0.1, 1.1, nan], [-inf, inf, 0, nan, nan, nan]),
        ("lgamma", [1.0, 2.0, 0.0, -3.0, inf, -inf, nan], [0, 0, inf, inf, inf, inf, nan]),
        ("digamma", [inf, 0.0, -0.0, -2.0, nan], [inf, -inf, inf, nan, nan]),
        ("rsqrt", [0.0, -0.0, inf, -1.0, nan], [inf, -inf, 0, nan, nan]),
    ]:
        got = compiled(fn, d)(aligned(np.array(x, d.np)))
        want = np.array(y, d.np)
        np.testing.assert_allclose(got, want, rtol=2 * np.finfo(d.np).eps, atol=1e-14, err_msg=fn)
        zero = want == 0
        if fn not in ("ndtri", "lgamma"):
            np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]), err_msg=fn)


# ------------------------------------------------------------------------------------------------ the source language
def test_calls_are_expanded_and_literals_take_the_dtype() -> None:
    source = """
def halves(x: f32, c: f32):
    y = c * x
    return y, 1.0 - y

def sigmoid(x: f32):
    a, b = halves(x + 1.0, 0.1)
    return horner(a, 1, b, 3.0)
"""
    definition = scalar_math.Definitions(source)["sigmoid", "f32"]
    assert scalar_math.primitives(definition) == {"add", "sub", "mul", "fma"}
    np.testing.assert_allclose(evaluate(definition, np.float32([2.0])), [1 + 0.3 * (0.7 + 0.3 * 3)], rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("y = x + 1", SyntaxError),
        ("return z", NameError),
        ("return x + f64(x)", TypeError),
        ("for i in x: pass\n    return x", SyntaxError),
        ("return halve(i32(x))", SyntaxError),
    ],
)
def test_what_the_language_does_not_have(body: str, error: type[Exception]) -> None:
    source = f"def exp(x: f32):\n    {body}\n\ndef halve(x: f32):\n    return 0.5 * x\n"
    with pytest.raises(error):
        scalar_math.Definitions(source)["exp", "f32"]
