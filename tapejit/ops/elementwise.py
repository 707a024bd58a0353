"""Arithmetic, comparison and logic: the elementwise rows that everything else is written with.

Columns: name, NumPy function, scalar text, gradient per operand (g: of the result, z: the result, x, y: the operands).
"""

# mypy: disable-error-code="has-type"
# gradients name rows further down

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
from tapejit.ops.batching import leading
from tapejit.ops.families import binary, compare, ternary, unary
from tapejit.ops.tangents import multilinear

ANY = "iufc"


# -------------------------------------------------------------------------------- NumPy functions and gradients longer than a row
def real_part_dtype(dtype: DType) -> DType:
    """The dtype of the absolute value: that of the parts of a complex number."""
    return dtype.real_dtype


def _along(g: Any, z: Any, x: Any) -> Any:
    """The gradient of |x| = z: along the sign of x, for complex numbers against their direction, 0 at 0."""
    if x.dtype.is_complex:
        return cast(g, dtype=x.dtype) * div_no_nan(conjugate(x), cast(z, dtype=x.dtype))
    return g * sign(x)


def _or_one(x: Any) -> Any:
    """`x` where its logarithm is taken, else 1."""
    return select(not_equal(x, 0) if x.dtype.is_complex else x > 0, x, ones_like(x))


def _not_half(dtype: DType) -> DType:
    if dtype.bits == 16:
        raise TypeError(f"nextafter is not defined for {dtype.name}; it takes float32 or float64")
    return dtype


def _floordiv(x: Any, y: Any) -> Any:
    """Floats as TensorFlow rounds them: floor(x / y), which is infinite where the quotient is."""
    return np.floor(np.true_divide(x, y)) if x.dtype.kind in "fV" else np.floor_divide(x, y)


def _truncdiv(x: Any, y: Any) -> Any:
    return np.floor_divide(x - np.fmod(x, y), y)  # divisible, so rounding down changes nothing


def _sigmoid(x: Any) -> Any:
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    e = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _power(x: Any, y: Any) -> Any:
    if y.ndim == 0 and y.dtype.kind in "fV":  # the exponents that programs are full of
        if y == 2:
            return np.square(x)
        if y == 1:
            return np.positive(x)
    return np.power(x, y)


def _population_count(x: Any) -> Any:
    return np.bitwise_count(np.asarray(x).view(f"u{x.dtype.itemsize}"))  # of a negative number NumPy would count the absolute value


# ---------------------------------------------------------------------------------------------------------------- the rows

# fmt: off
add = binary("add", np.add, "x + y", (lambda g, z, x, y: g, lambda g, z, x, y: g), symbol="+", kinds=ANY, on_sizes=True)
sub = binary("sub", np.subtract, "x - y", (lambda g, z, x, y: g, lambda g, z, x, y: -g), symbol="-", kinds=ANY, on_sizes=True)
mul = binary("mul", np.multiply, "x * y", (lambda g, z, x, y: g * y, lambda g, z, x, y: g * x), symbol="*", kinds=ANY, on_sizes=True)
div = binary(
    "div", np.true_divide, "x / y", (lambda g, z, x, y: g / y, lambda g, z, x, y: -(g * z) / y), symbol="/", kinds="fc", domain=((-3, 3), (0.5, 3))
)
neg = unary("neg", np.negative, "-x", lambda g, z, x: -g, kinds="ifc", on_sizes=True)
abs_ = unary("abs", np.abs, "abs(x)", lambda g, z, x: _along(g, z, x), kinds=ANY, result=real_part_dtype, kinks=(0.0,))
copysign = binary(
    "copysign", np.copysign, "copysign(x, y)", (lambda g, z, x, y: g * copysign(ones_like(x), y) * sign(x), lambda g, z, x, y: zeros_like(y)), wide=True,
    kinks=(0.0,), doc="The absolute value of x with the sign of y; -0.0 has one.",
)
sign = unary("sign", np.sign, "1 if x > 0 else -1 if x < 0 else x", lambda g, z, x: zeros_like(x), kinds="if", kinks=(0.0,))
square = unary("square", np.square, "x * x", lambda g, z, x: g * (2 * x), kinds=ANY)
# TensorFlow gives these three the gradient 0 where nothing is asked of the result, however steep they are there
reciprocal = unary("reciprocal", np.reciprocal, "1 / x", lambda g, z, x: mul_no_nan(-z * z, g), kinds="fc", domain=(0.5, 3))
sqrt = unary("sqrt", np.sqrt, "sqrt(x)", lambda g, z, x: zero_or_div(0.5 * g, z), kinds="fc", domain=(0.2, 4))
rsqrt = unary(
    "rsqrt", lambda x: np.reciprocal(np.sqrt(x)), "1 / sqrt(x)", lambda g, z, x: mul_no_nan(-0.5 * z / x, g), kinds="fc", domain=(0.2, 4), wide=True,
)
maximum = binary(
    "maximum", np.maximum, "max(x, y)",
    (lambda g, z, x, y: select(x >= y, g, zeros_like(g)), lambda g, z, x, y: select(x >= y, zeros_like(g), g)), kinds="iuf",
)
minimum = binary(
    "minimum", np.minimum, "min(x, y)",
    (lambda g, z, x, y: select(x <= y, g, zeros_like(g)), lambda g, z, x, y: select(x <= y, zeros_like(g), g)), kinds="iuf",
)
floordiv = binary("floordiv", _floordiv, "x // y", None, symbol="//", kinds="iuf", domain=((-9, 9), (1, 4)), on_sizes=True)
mod = binary(
    "mod", np.mod, "x % y", (lambda g, z, x, y: g, lambda g, z, x, y: -g * floordiv(x, y)), symbol="%", kinds="iuf",
    domain=((-2.9, -2.1), (1.5, 1.8)), on_sizes=True, doc="Remainder of division rounded down; it has the sign of y. Integers modulo 0 give 0.",
)
truncdiv = binary("truncdiv", _truncdiv, "truncdiv(x, y)", None, kinds="iu", domain=((-9, 9), (1, 4)))
truncmod = binary(
    "truncmod", np.fmod, "rem(x, y)", (lambda g, z, x, y: g, lambda g, z, x, y: -g * trunc(x / y)), kinds="iuf",
    domain=((-2.9, -2.1), (1.5, 1.8)), doc="Remainder of division rounded towards zero; it has the sign of x. Integers modulo 0 give 0.",
)
squared_difference = binary(
    "squared_difference", lambda x, y: np.square(x - y), "(x - y) * (x - y)",
    (lambda g, z, x, y: g * (2 * (x - y)), lambda g, z, x, y: g * (2 * (y - x))), kinds="iuf", wide=True,
)
div_no_nan = binary(
    "div_no_nan", lambda x, y: np.where(y == 0, x.dtype.type(0), x / y), "0 if y == 0 else x / y",
    (lambda g, z, x, y: div_no_nan(g, y), lambda g, z, x, y: g * div_no_nan(div_no_nan(-x, y), y)),
    kinds="fc", domain=((-3, 3), (0.5, 3)), doc="x / y, and 0 where y is 0.",
)
mul_no_nan = binary(
    "mul_no_nan", lambda x, y: np.where(y == 0, x.dtype.type(0), x * y), "0 if y == 0 else x * y",
    (lambda g, z, x, y: mul_no_nan(g, y), lambda g, z, x, y: mul_no_nan(x, g)), kinds="fc", doc="x * y, and 0 where y is 0 whatever x is.",
)
zero_or_div = binary(
    "zero_or_div", lambda x, y: np.where(x == 0, x.dtype.type(0), x / y), "0 if x == 0 else x / y",
    (lambda g, z, x, y: zero_or_div(g, y), lambda g, z, x, y: zero_or_div(-(g * z), y)), kinds="fc", domain=((-3, 3), (0.5, 3)),
    doc="x / y, and 0 where x is 0 whatever y is. Unlike that of `xdivy` its gradient is that of the quotient there too.",
)

floor = unary("floor", np.floor, "floor(x)", None)
ceil = unary("ceil", np.ceil, "ceil(x)", None)
rint = unary("rint", np.rint, "rint(x)", None, doc="The nearest whole number, halves to the even one (`tf.round`, `tf.math.rint`).")
trunc = unary("trunc", np.trunc, "trunc(x)", None)
nextafter = binary("nextafter", np.nextafter, "nextafter(x, y)", (lambda g, z, x, y: g, lambda g, z, x, y: zeros_like(g)), result=_not_half, doc="The number next to x in the direction of y.")
is_nan = unary("is_nan", np.isnan, "isnan(x)", None, result=dtypes.bool_)
is_inf = unary("is_inf", np.isinf, "isinf(x)", None, result=dtypes.bool_)
is_finite = unary("is_finite", np.isfinite, "isfinite(x)", None, result=dtypes.bool_)

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

select = ternary(
    "select", np.where, "y if x else z",
    (None, lambda g, s, x, y, z: select(x, g, zeros_like(g)), lambda g, s, x, y, z: select(x, zeros_like(g), g)),
    kinds="biufc", mixed=True, doc="y where the bool x holds, z elsewhere (`tf.where` of three).",
)

conjugate = unary("conj", np.conjugate, "x", lambda g, z, x: conjugate(g), kinds="fc", doc="The complex conjugate; real numbers as they are.")
stop_gradient = unary("stop_gradient", lambda x: x, "x", None, kinds="biufc", doc="The operand, as a constant for every tape.")

exp = unary("exp", np.exp, "exp(x)", lambda g, z, x: g * z, kinds="fc")
expm1 = unary("expm1", np.expm1, "expm1(x)", lambda g, z, x: g * exp(x), kinds="fc")
log = unary("log", np.log, "log(x)", lambda g, z, x: g / x, kinds="fc", domain=(0.2, 4))
log1p = unary("log1p", np.log1p, "log1p(x)", lambda g, z, x: g / (1 + x), kinds="fc", domain=(-0.8, 4))
sigmoid = unary("sigmoid", _sigmoid, "sigmoid(x)", lambda g, z, x: g * (z * (1 - z)), kinds="fc", wide=True)
softplus = unary("softplus", _softplus, "max(x, 0) + log1p(exp(-abs(x)))", lambda g, z, x: g * sigmoid(x), wide=True, doc="log(1 + exp(x)), without overflow.")

# pow: the gradient of the exponent is taken where the base is positive (complex: not 0), 0 elsewhere, as TensorFlow does
pow_ = binary(
    "pow", _power, "pow(x, y)",
    (lambda g, z, x, y: g * y * pow_(x, y - 1), lambda g, z, x, y: g * z * log(_or_one(x))), kinds=ANY, symbol="**",
    domain=((0.3, 2.5), (0.5, 3)),
)

sin = unary("sin", np.sin, "sin(x)", lambda g, z, x: g * cos(x), kinds="fc")
cos = unary("cos", np.cos, "cos(x)", lambda g, z, x: -g * sin(x), kinds="fc")
tan = unary("tan", np.tan, "tan(x)", lambda g, z, x: g * (1 + z * z), kinds="fc", domain=(-1.2, 1.2))
asin = unary("asin", np.arcsin, "asin(x)", lambda g, z, x: g * rsqrt(1 - x * x), kinds="fc", domain=(-0.8, 0.8))
acos = unary("acos", np.arccos, "acos(x)", lambda g, z, x: -g * rsqrt(1 - x * x), kinds="fc", domain=(-0.8, 0.8))
atan = unary("atan", np.arctan, "atan(x)", lambda g, z, x: g / (1 + x * x), kinds="fc", domain=(-0.8, 2))
sinh = unary("sinh", np.sinh, "sinh(x)", lambda g, z, x: g * cosh(x), kinds="fc")
cosh = unary("cosh", np.cosh, "cosh(x)", lambda g, z, x: g * sinh(x), kinds="fc")
tanh = unary("tanh", np.tanh, "tanh(x)", lambda g, z, x: g * (1 - z * z), kinds="fc", domain=(-1.4, 1.4))
asinh = unary("asinh", np.arcsinh, "asinh(x)", lambda g, z, x: g / cosh(z), kinds="fc")
acosh = unary("acosh", np.arccosh, "acosh(x)", lambda g, z, x: g / sinh(z), kinds="fc", domain=(1.2, 4))
atanh = unary("atanh", np.arctanh, "atanh(x)", lambda g, z, x: g / (1 - x * x), kinds="fc", domain=(-0.8, 0.8))
atan2 = binary(
    "atan2", np.arctan2, "atan2(x, y)",
    (lambda g, z, x, y: y * (g / (x * x + y * y)), lambda g, z, x, y: -x * (g / (x * x + y * y))), domain=((0.3, 3), (-3, 3)),
    doc="The angle of the point (y, x): x is the ordinate, as the arguments of `tf.atan2(y, x)` come.",
)

bitwise_and = binary("bitwise_and", np.bitwise_and, "x & y", None, kinds="iu")
bitwise_or = binary("bitwise_or", np.bitwise_or, "x | y", None, kinds="iu")
bitwise_xor = binary("bitwise_xor", np.bitwise_xor, "x ^ y", None, kinds="iu")
bitwise_not = unary("bitwise_not", np.bitwise_not, "~x", None, kinds="iu")
left_shift = binary("left_shift", np.left_shift, "x << y", None, kinds="iu", domain=((-9, 9), (0, 6)), doc="x << y; 0 for a shift by the width or more.")
right_shift = binary("right_shift", np.right_shift, "x >> y", None, kinds="iu", domain=((-99, 99), (0, 6)), doc="x >> y, which keeps the sign.")
population_count = unary("population_count", _population_count, "u8(popcount(x))", None, kinds="iu", result=dtypes.uint8, domain=(-99, 99))
# fmt: on


class Cast(Op):
    """Elements converted to `dtype` (`tf.cast`): floats truncate towards zero to integers, complex numbers keep the real part."""

    name = "cast"
    jvp = multilinear
    batch = leading
    on_sizes = True

    def infer(self, x: Type, *, dtype: DType) -> Type:
        return x.with_dtype(dtype)

    def eager(self, x: Any, *, dtype: DType) -> Any:
        if x.dtype.kind == "O":  # sizes
            return x
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
        for dtype in (
            dtypes.float64,
            dtypes.float32,
            dtypes.int32,
            dtypes.int64,
            dtypes.bool_,
            dtypes.float16,
            dtypes.bfloat16,
            dtypes.complex64,
        ):
            for shape in ((5,), (), (2, 3)):
                yield (draw(shape, -3, 3, kinds="biufc"),), {"dtype": dtype}


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
        if dtype.narrow:
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
