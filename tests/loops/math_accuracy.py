"""How far the scalar mathematics is from the truth: a NumPy evaluator of definitions, compiled versions, truths, errors in ulps."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from collections.abc import Callable

import numpy as np
import scipy.special

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops.expr import Call, Const, Expr, Load, Var
from tapejit.loops.nest import For, Kernel, Param, Store
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import Definition

# ------------------------------------------------------------------------------------------------ evaluation with NumPy
_SPLIT = 134217729.0  # 2^27 + 1, Veltkamp's splitter


def _exact_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a * b as a sum of two float64 (Dekker), where nothing overflows."""
    p = a * b
    ah = a * _SPLIT - (a * _SPLIT - a)
    bh = b * _SPLIT - (b * _SPLIT - b)
    return p, ((ah * bh - p) + ah * (b - bh) + (a - ah) * bh) + (a - ah) * (b - bh)


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, but for a possible second rounding rounded once."""
    a, b, c = (np.asarray(v) for v in (a, b, c))
    if c.dtype == np.float32:
        return (a.astype("f8") * b.astype("f8") + c.astype("f8")).astype("f4")
    p, e = _exact_product(a, b)
    s = p + c
    part = s - p
    rest = (p - (s - part)) + (c - part)
    plain = ~np.isfinite(e) | ~np.isfinite(rest) | (p == 0)
    return np.where(plain, a * b + c, s + (rest + e))


_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt,
    "rint": np.rint, "copysign": np.copysign, "isnan": np.isnan, "fma": fma, "select": np.where, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "not": np.invert, "shl": np.left_shift, "shr": np.right_shift,
}  # fmt: skip


def evaluate(definition: Definition, *arrays: np.ndarray) -> np.ndarray:
    """The definition on arrays, one NumPy call for each of its operations."""
    env = {p.name: np.asarray(a, p.dtype.np) for p, a in zip(definition.params, arrays, strict=True)}

    def value(e: Expr) -> np.ndarray:
        if isinstance(e, Const):
            return np.asarray(e.value, e.dtype.np)
        if isinstance(e, Var):
            return env[e.name]
        assert isinstance(e, Call)
        args = [value(a) for a in e.args]
        if e.fn == "cast":
            return args[0].astype(e.dtype.np)
        if e.fn == "bitcast":
            return args[0].view(e.dtype.np)
        return np.asarray(_NUMPY[e.fn](*args)).astype(e.dtype.np, copy=False)

    with np.errstate(all="ignore"):
        for let in definition.lets:
            env[let.name] = value(let.value)
        return value(definition.result)


# ------------------------------------------------------------------------------------------------ compiled
@functools.cache
def compiled(fn: str, dtype: DType) -> Callable[..., np.ndarray]:
    """The scalar function over arrays of up to 65536 elements."""
    run = Compiled(fn, dtype, 65536)

    def call(*arrays: np.ndarray) -> np.ndarray:
        assert len(arrays[0]) <= 65536
        full = [aligned(np.resize(a.astype(dtype.np), 65536)) for a in arrays]
        return run(*full)[: len(arrays[0])]

    return call


class Compiled:
    """A scalar function over whole arrays of `n` elements, compiled as kernels compile it."""

    def __init__(self, fn: str, dtype: DType, n: int) -> None:
        from tapejit.codegen import llvm
        from tapejit.loops.program import Buffer, Launch, Program
        from tapejit.runtime import compile as native
        from tapejit.runtime import host
        from tapejit.runtime.load import Module

        self.arity, self.dtype = FUNCTIONS[fn].arity, dtype
        index = (Var(dtypes.int64, "i"),)
        names = [f"x{k}" for k in range(self.arity)]
        value = Call(dtype, fn, tuple(Load(dtype, name, index) for name in names))
        params = (*(Param(name, dtype, (n,)) for name in names), Param("y", dtype, (n,), "out"))
        kernel = Kernel("f", params, (), (For("i", n, "vector", (Store("y", index, value),)),))
        buffers = {p.name: Buffer(p.name, p.dtype, p.shape, "argument") for p in params}
        program = Program("run_f", buffers, (Launch(kernel, tuple(buffers)),), (*buffers, "error"))
        target = host.target(threads=1)
        source = llvm.module(program, target)
        self.module = Module(native.object_code(source.text, target.cpu, target.features), source.symbols)
        self.step = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.module.address(source.entry))
        self.error = np.zeros(8, np.int64)

    def table(self, *arrays: np.ndarray) -> np.ndarray:
        """What a call takes: addresses of operands and result."""
        return np.array([*(a.ctypes.data for a in arrays), self.error.ctypes.data, *[0] * 8], np.int64)

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        y = np.empty_like(arrays[0])
        assert self.step(self.table(*arrays, y).ctypes.data) == 0
        return y


def aligned(a: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes."""
    memory = np.empty(a.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    out = memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


# ------------------------------------------------------------------------------------------------ truths
def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))


def _digamma(x: np.ndarray) -> np.ndarray:
    """By reflection left of zero: SciPy's is inexact near the poles."""
    left = x < 0
    y = scipy.special.digamma(np.where(left, 1 - x, x))
    if left.any():
        f = x - np.rint(x)
        with np.errstate(all="ignore"):
            y = np.where(left, np.where(f == 0, np.nan, y - np.pi / np.tan(np.pi * f)), y)
    return y


def _between(f: Callable[..., np.ndarray], low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    """`f` from `low` to `high`, NaN elsewhere, where SciPy takes its time."""

    def inside(x: np.ndarray) -> np.ndarray:
        y, known = np.full_like(x, np.nan), (x >= low) & (x <= high)
        y[known] = f(x[known])
        return y

    return inside


ELEMENTARY: dict[str, Callable[..., np.ndarray]] = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "rsqrt": lambda x: 1 / np.sqrt(x), "sigmoid": _sigmoid, "softplus": _softplus, "pow": np.power,
    "atan2": np.arctan2,
}  # fmt: skip
SPECIAL: dict[str, Callable[..., np.ndarray]] = {
    "erf": scipy.special.erf, "erfc": scipy.special.erfc, "erfinv": _between(lambda x: np.copysign(scipy.special.erfinv(x), x), -1, 1),
    "ndtri": _between(scipy.special.ndtri, 0, 1), "lgamma": lambda x: np.where(np.isinf(x), np.inf, scipy.special.gammaln(x)), "digamma": _digamma,
}  # fmt: skip


def truth(fn: str, *x: np.ndarray) -> np.ndarray:
    """The function of float32 arrays in float64, and of float64 arrays in the longest float (special functions: float64 too)."""
    wide = np.float64 if x[0].dtype == np.float32 else np.longdouble
    if fn == "nextafter":  # the next number is one of the dtype
        return np.nextafter(*x).astype(wide)
    with np.errstate(all="ignore"):
        if fn in ELEMENTARY:
            return ELEMENTARY[fn](*(a.astype(wide) for a in x))
        return SPECIAL[fn](*(a.astype(np.float64) for a in x)).astype(wide)


def library(fn: str, x: np.ndarray) -> np.ndarray:
    """The C library's long double function, element by element."""
    f = getattr(ctypes.CDLL(ctypes.util.find_library("m")), fn + "l")
    f.restype, f.argtypes = ctypes.c_longdouble, [ctypes.c_longdouble]
    return np.array([f(v) for v in x.astype(np.longdouble)], np.longdouble)


# ------------------------------------------------------------------------------------------------ errors
def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got - exact| in units of the last place of `exact` rounded to the type of `got`.

    Infinite where NaN, infinity, or the sign of a zero result differ from the rounded truth, but for an overflow within 4 ulp.
    """
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        want = exact.astype(got.dtype)
        unit = np.spacing(np.minimum(np.abs(want), info.max)).astype(exact.dtype)
        error = np.abs(got.astype(exact.dtype) - exact) / unit
        at_the_edge = np.abs(exact) > exact.dtype.type(info.max) * (1 - 4 * float(info.eps))
        error = np.where(at_the_edge & (np.abs(got) >= info.max * (1 - 4 * info.eps)) & (np.sign(got) == np.sign(exact)), 0, error)
        error = np.where((got == want) | (np.isnan(got) & np.isnan(want)), np.where(np.isfinite(want), error, 0), error)
        error = np.where((got == 0) & (want == 0) & (np.signbit(got) != np.signbit(want)), np.inf, error)
    return np.where(np.isnan(error), np.inf, error)


def patterns(count: int, dtype: DType = dtypes.float32, seed: int = 0) -> np.ndarray:
    """`count` floats of both signs spread evenly over all exponents, zeros, subnormals, infinities, NaN and the extremes included."""
    r = np.random.default_rng(seed)
    bits = {4: np.uint32, 8: np.uint64}[dtype.size]
    top = np.iinfo(bits).max
    step = top // count
    x = (np.arange(count, dtype=bits) * bits(step) + r.integers(0, step, count, dtype=bits, endpoint=True)).view(dtype.np)
    info = np.finfo(dtype.np)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, -0.5, 2, -2, 3, info.max, -info.max, info.tiny, info.smallest_subnormal]
    x[: len(special)] = special
    return aligned(x)
