"""Arithmetic, comparison and logic: the elementwise rows that everything else is written with.

Columns: name, NumPy function, scalar text, gradient per operand (g: of the result, z: the result, x, y: the operands).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.families import binary, compare, ternary, unary

ANY = "iufc"

add = binary("add", np.add, "x + y", (lambda g, z, x, y: g, lambda g, z, x, y: g), symbol="+", kinds=ANY, on_sizes=True)
sub = binary("sub", np.subtract, "x - y", (lambda g, z, x, y: g, lambda g, z, x, y: -g), symbol="-", kinds=ANY, on_sizes=True)
mul = binary("mul", np.multiply, "x * y", (lambda g, z, x, y: g * y, lambda g, z, x, y: g * x), symbol="*", kinds=ANY, on_sizes=True)
div = binary(
    "div", np.true_divide, "x / y", (lambda g, z, x, y: g / y, lambda g, z, x, y: -(g * z) / y), symbol="/", kinds="fc", domain=((-3, 3), (0.5, 3))
)
neg = unary("neg", np.negative, "-x", lambda g, z, x: -g, kinds="ifc", on_sizes=True)
abs_ = unary("abs", np.abs, "abs(x)", lambda g, z, x: g * sign(x), kinds="iuf", kinks=(0.0,))
sign = unary("sign", np.sign, "sign(x)", lambda g, z, x: zeros_like(x), kinds="if", kinks=(0.0,))
square = unary("square", np.square, "x * x", lambda g, z, x: g * (2 * x), kinds=ANY)
reciprocal = unary("reciprocal", np.reciprocal, "1 / x", lambda g, z, x: -(g * z) * z, kinds="fc", domain=(0.5, 3))
sqrt = unary("sqrt", np.sqrt, "sqrt(x)", lambda g, z, x: g * 0.5 / z, kinds="fc", domain=(0.2, 4))
rsqrt = unary("rsqrt", lambda x: np.reciprocal(np.sqrt(x)), "1 / sqrt(x)", lambda g, z, x: g * -0.5 * z / x, domain=(0.2, 4))
maximum = binary(
    "maximum", np.maximum, "max(x, y)",
    (lambda g, z, x, y: select(x >= y, g, zeros_like(g)), lambda g, z, x, y: select(x >= y, zeros_like(g), g)), kinds="iuf",
)  # fmt: skip
minimum = binary(
    "minimum", np.minimum, "min(x, y)",
    (lambda g, z, x, y: select(x <= y, g, zeros_like(g)), lambda g, z, x, y: select(x <= y, zeros_like(g), g)), kinds="iuf",
)  # fmt: skip
floordiv = binary("floordiv", np.floor_divide, "x // y", None, symbol="//", kinds="iuf", domain=((-9, 9), (1, 4)), on_sizes=True)
mod = binary(
    "mod", np.mod, "x % y", (lambda g, z, x, y: g, lambda g, z, x, y: -g * floordiv(x, y)), symbol="%", kinds="iuf", domain=((-2.9, -2.1), (1.5, 1.8)), on_sizes=True
)

equal = compare("equal", np.equal, "==", "biufc")
not_equal = compare("not_equal", np.not_equal, "!=", "biufc")
less = compare("less", np.less, "<")
less_equal = compare("less_equal", np.less_equal, "<=")
greater = compare("greater", np.greater, ">")
greater_equal = compare("greater_equal", np.greater_equal, ">=")

logical_and = binary("logical_and", np.logical_and, "x & y", None, kinds="b")
logical_or = binary("logical_or", np.logical_or, "x | y", None, kinds="b")
logical_xor = binary("logical_xor", np.logical_xor, "x ^ y", None, kinds="b")
logical_not = unary("logical_not", np.logical_not, "not x", None, kinds="b")

bitwise_and = binary("bitwise_and", np.bitwise_and, "x & y", None, kinds="iu")
bitwise_or = binary("bitwise_or", np.bitwise_or, "x | y", None, kinds="iu")
bitwise_xor = binary("bitwise_xor", np.bitwise_xor, "x ^ y", None, kinds="iu")
bitwise_not = unary("bitwise_not", np.bitwise_not, "~x", None, kinds="iu")

select = ternary(
    "select", np.where, "y if x else z",
    (None, lambda g, s, x, y, z: select(x, g, zeros_like(g)), lambda g, s, x, y, z: select(x, zeros_like(g), g)),
    kinds="biufc", mixed=True, doc="y where the bool x holds, z elsewhere (`tf.where` of three).",
)  # fmt: skip

exp = unary("exp", np.exp, "exp(x)", lambda g, z, x: g * z, kinds="fc")
log = unary("log", np.log, "log(x)", lambda g, z, x: g / x, kinds="fc", domain=(0.2, 4))
tanh = unary("tanh", np.tanh, "tanh(x)", lambda g, z, x: g * (1 - z * z), kinds="fc")

# pow: the gradient of the exponent is taken where the base is positive, 0 elsewhere, as TensorFlow does
pow_ = binary(
    "pow", np.power, "pow(x, y)",
    (lambda g, z, x, y: g * y * pow_(x, y - 1), lambda g, z, x, y: g * z * log(select(x > 0, x, ones_like(x)))), kinds=ANY, symbol="**",
    domain=((0.3, 2.5), (0.5, 3)),
)  # fmt: skip


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


sigmoid = unary("sigmoid", _sigmoid, "sigmoid(x)", lambda g, z, x: g * (z * (1 - z)))


class Cast(Op):
    """Elements converted to `dtype` (`tf.cast`): floats truncate towards zero to integers, complex numbers keep the real part."""

    name = "cast"

    def infer(self, x: Type, *, dtype: DType) -> Type:
        return x.with_dtype(dtype)

    def eager(self, x: Any, *, dtype: DType) -> Any:
        if x.dtype.kind == "c" and dtype.kind != "c":
            x = x.real
        return x.astype(dtype.np)

    def vjp(self, g: Any, z: Any, x: Any, *, dtype: DType) -> tuple[Any, ...]:
        if not (dtype.differentiable and x.dtype.differentiable):
            return (None,)
        return (lambda: cast(g, dtype=x.dtype),)

    def at(self, index: tuple[Expr, ...], x: Any, *, dtype: DType) -> Expr:
        return expr.cast(x[index], dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for dtype in (dtypes.float64, dtypes.float32, dtypes.int32, dtypes.int64, dtypes.bool_, dtypes.float16, dtypes.bfloat16):
            for shape in ((5,), (), (2, 3)):
                yield (draw(shape, -3, 3, kinds="biuf"),), {"dtype": dtype}


cast = register(Cast())


class Full(Op):
    """An array of `shape` filled with `value` (a Python number), of `dtype` (`tf.fill`, `tf.zeros`, `tf.ones`)."""

    name = "full"
    no_gradient = True

    def infer(self, *, shape: tuple[Any, ...], value: Any, dtype: DType) -> Type:
        return Type(dtype, shape)

    def eager(self, *, shape: tuple[int, ...], value: Any, dtype: DType) -> Any:
        return np.full(shape, value, dtype.np)

    def at(self, index: tuple[Expr, ...], *, shape: tuple[Any, ...], value: Any, dtype: DType) -> Expr:
        if dtype.bits == 16 and dtype.kind == "f":
            return expr.cast(expr.as_expr(value, dtypes.float32), dtype)
        return expr.as_expr(value, dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((2, 3), (), (0, 2)):
            for value, dtype in ((1.5, dtypes.float32), (-2, dtypes.int64), (True, dtypes.bool_), (0.1, dtypes.float64)):
                yield (), {"shape": shape, "value": value, "dtype": dtype}


full = register(Full())


def zeros_like(x: Any) -> Any:
    """Zeros of the shape and dtype of `x`."""
    return full(shape=x.dims, value=False if x.dtype.kind == "b" else 0, dtype=x.dtype)


def ones_like(x: Any) -> Any:
    """Ones of the shape and dtype of `x`."""
    return full(shape=x.dims, value=True if x.dtype.kind == "b" else 1, dtype=x.dtype)
