"""`tf.math`: TensorFlow's functions of numbers, element by element, over axes and along them.

In: tensors, variables, numbers, arrays or lists of them; out: tensors. Each function is an op, or a few ops put together; `name`
arguments are taken as TensorFlow takes them and have no effect. Elementwise functions of two operands broadcast as NumPy does and
want one dtype; Python numbers take that of the tensor they meet.
"""

from __future__ import annotations

import builtins
import math as _math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from tapejit.activations import log_softmax, softmax, softsign
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Size
from tapejit.ops import complex as _complex
from tapejit.ops import cumulative as _cumulative
from tapejit.ops import elementwise as _e
from tapejit.ops import reductions as _r
from tapejit.ops import special as _s
from tapejit.ops.families import Elementwise
from tapejit.ordering import (
    bincount,
    confusion_matrix,
    in_top_k,
    invert_permutation,
    segment_max,
    segment_mean,
    segment_min,
    segment_prod,
    segment_sum,
    top_k,
    unsorted_segment_max,
    unsorted_segment_mean,
    unsorted_segment_min,
    unsorted_segment_prod,
    unsorted_segment_sqrt_n,
    unsorted_segment_sum,
)  # fmt: skip
from tapejit.tensor import EagerTensor, convert_to_tensor, dims_of

__all__ = [
    "abs", "accumulate_n", "acos", "acosh", "add", "add_n", "angle", "argmax", "argmin", "asin", "asinh", "atan", "atan2", "atanh",
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "betainc", "bincount", "ceil", "complex", "confusion_matrix", "conj", "cos",
    "cosh", "count_nonzero", "cumprod", "cumsum", "cumulative_logsumexp", "digamma", "divide", "divide_no_nan", "equal", "erf", "erfc",
    "erfcinv", "erfinv", "exp", "expm1", "floor", "floordiv", "floormod", "greater", "greater_equal", "igamma", "igammac", "imag",
    "in_top_k", "invert_permutation", "is_finite", "is_inf", "is_nan", "is_non_decreasing", "is_strictly_increasing", "l2_normalize",
    "lbeta", "less", "less_equal", "lgamma", "log", "log1p", "log_sigmoid", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor",
    "maximum", "minimum", "mod", "multiply", "multiply_no_nan", "ndtri", "negative", "nextafter", "not_equal", "polygamma", "polyval",
    "pow", "real", "reciprocal", "reciprocal_no_nan", "reduce_all", "reduce_any", "reduce_euclidean_norm", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "rint", "round", "rsqrt", "scalar_mul",
    "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "sigmoid", "sign", "sin", "sinh", "softmax", "softplus", "softsign", "special",
    "sqrt", "square", "squared_difference", "subtract", "tan", "tanh", "top_k", "truediv", "truncatediv", "truncatemod",
    "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sqrt_n",
    "unsorted_segment_sum", "xdivy", "xlog1py", "xlogy", "zero_fraction", "zeta",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------ operands
def operand(x: Any, like: Any = None) -> Any:
    """`x` as an op takes it: lists (which may hold tensors) become tensors, of the dtype of `like` if that has one."""
    if type(x) is EagerTensor:
        return x
    if isinstance(x, list | tuple) or hasattr(x, "to_tensor"):
        return convert_to_tensor(x, like.dtype if hasattr(like, "dims") else None)
    return x


def operands(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands; of two that are no tensors the first decides the dtype."""
    if not hasattr(x, "dims") and not hasattr(y, "dims"):
        x = convert_to_tensor(x)
    return operand(x, y), operand(y, x)


def tensor(x: Any) -> Any:
    """`x` as a tensor."""
    return x if type(x) is EagerTensor else convert_to_tensor(x)


def _refused(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(places.with_place(message))


# ------------------------------------------------------------------------------------- one function, one op
def _public(function: Callable[..., Any], op: Any, name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    takes = (
        f"Takes {op.taken()}; InvalidArgumentError for other dtypes" if isinstance(op, Elementwise) else "Complex numbers are taken apart"
    )
    function.__doc__ = f"{op.__doc__}\n\n    {takes}. The result has the operands' (broadcast) shape."
    return function


def _unary(op: Any, name: str = "") -> Callable[..., Any]:
    """The public function of an op of one operand."""

    def function(x: Any, name: str | None = None) -> Any:
        return op(operand(x))

    return _public(function, op, name or op.name)


def _binary(op: Any, name: str = "") -> Callable[..., Any]:
    """The public function of an op of two operands."""

    def function(x: Any, y: Any, name: str | None = None) -> Any:
        return op(*operands(x, y))

    return _public(function, op, name or op.name)


abs = _unary(_e.abs_)
acos, acosh, asin, asinh, atan, atanh = map(_unary, (_e.acos, _e.acosh, _e.asin, _e.asinh, _e.atan, _e.atanh))
cos, cosh, sin, sinh, tan, tanh = map(_unary, (_e.cos, _e.cosh, _e.sin, _e.sinh, _e.tan, _e.tanh))
exp, expm1, log, log1p, sigmoid = map(_unary, (_e.exp, _e.expm1, _e.log, _e.log1p, _e.sigmoid))
sqrt, rsqrt, square, reciprocal, negative = map(_unary, (_e.sqrt, _e.rsqrt, _e.square, _e.reciprocal, _e.neg), ("", "", "", "", "negative"))
floor, ceil, rint = map(_unary, (_e.floor, _e.ceil, _e.rint))
is_nan, is_inf, is_finite, logical_not = map(_unary, (_e.is_nan, _e.is_inf, _e.is_finite, _e.logical_not))
erf, erfc, erfinv, ndtri, lgamma, digamma = map(_unary, (_s.erf, _s.erfc, _s.erfinv, _s.ndtri, _s.lgamma, _s.digamma))
bessel_i0, bessel_i0e, bessel_i1, bessel_i1e = map(_unary, (_s.bessel_i0, _s.bessel_i0e, _s.bessel_i1, _s.bessel_i1e))

add, subtract, multiply = _binary(_e.add), _binary(_e.sub, "subtract"), _binary(_e.mul, "multiply")
maximum, minimum, pow, floordiv = map(_binary, (_e.maximum, _e.minimum, _e.pow_, _e.floordiv))
floormod = mod = _binary(_e.mod, "floormod")
truncatemod = _binary(_e.truncmod, "truncatemod")
squared_difference = _binary(_e.squared_difference)
divide_no_nan, multiply_no_nan = _binary(_e.div_no_nan, "divide_no_nan"), _binary(_e.mul_no_nan, "multiply_no_nan")
xlogy, xlog1py, xdivy = map(_binary, (_s.xlogy, _s.xlog1py, _s.xdivy))
equal, not_equal, less, less_equal, greater, greater_equal = map(
    _binary, (_e.equal, _e.not_equal, _e.less, _e.less_equal, _e.greater, _e.greater_equal)
)
logical_and, logical_or, logical_xor = map(_binary, (_e.logical_and, _e.logical_or, _e.logical_xor))

special = SimpleNamespace(
    **{
        name: _unary(getattr(_s, name))
        for name in (
            "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1",
            "bessel_k1e", "bessel_y0", "bessel_y1", "dawsn", "expint", "fresnel_cos", "fresnel_sin", "spence",
        )
    }
)  # fmt: skip


def atan2(y: Any, x: Any, name: str | None = None) -> Any:
    """The angle of the point (x, y), between -pi and pi. Floating-point operands of one dtype, which broadcast."""
    return _e.atan2(*operands(y, x))


def softplus(features: Any, name: str | None = None) -> Any:
    """log(1 + exp(x)) element by element, without overflow. Floating-point."""
    return _e.softplus(operand(features))


def log_sigmoid(x: Any, name: str | None = None) -> Any:
    """log(sigmoid(x)) element by element, without overflow. Floating-point."""
    return -_e.softplus(-tensor(x))


def polygamma(a: Any, x: Any, name: str | None = None) -> Any:
    """The derivative of order `a` (a whole number) of digamma at `x`. Floating-point operands of one dtype, which broadcast."""
    return _s.polygamma(*operands(a, x))


def zeta(x: Any, q: Any, name: str | None = None) -> Any:
    """Hurwitz' zeta function, the sum over n of (n + q)**-x. Floating-point operands of one dtype, which broadcast."""
    return _s.zeta(*operands(x, q))


def igamma(a: Any, x: Any, name: str | None = None) -> Any:
    """The regularised lower incomplete gamma function of shape `a` at `x`. NotImplementedError for its gradient in `a`."""
    return _s.igamma(*operands(a, x))


def igammac(a: Any, x: Any, name: str | None = None) -> Any:
    """The regularised upper incomplete gamma function of shape `a` at `x`. NotImplementedError for its gradient in `a`."""
    return _s.igammac(*operands(a, x))


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Any:
    """The regularised incomplete beta function of `x` with parameters `a` and `b`, in which it has no gradient."""
    a, b = operands(a, b)
    return _s.betainc(*operands(a, x)[:1], *operands(b, x))


def nextafter(x1: Any, x2: Any, name: str | None = None) -> Any:
    """The number next to `x1` in the direction of `x2`. float32 or float64 operands of one dtype, which broadcast."""
    return _e.nextafter(*operands(x1, x2))


def erfcinv(x: Any, name: str | None = None) -> Any:
    """The inverse of erfc, element by element. Floating-point."""
    return _s.ndtri(0.5 * tensor(x)) * -_math.sqrt(0.5)


def reciprocal_no_nan(x: Any, name: str | None = None) -> Any:
    """1 / x, and 0 where x is 0. Floating-point or complex."""
    x = tensor(x)
    return _e.div_no_nan(_e.ones_like(x), x)


def sign(x: Any, name: str | None = None) -> Any:
    """-1, 0 or 1; of complex numbers x / |x|, and 0 at 0."""
    x = operand(x)
    if getattr(getattr(x, "dtype", None), "kind", "") == "c":
        x = tensor(x)
        return _e.div_no_nan(x, _e.cast(_e.abs_(x), dtype=x.dtype))
    return _e.sign(x)


def round(x: Any, name: str | None = None) -> Any:
    """The nearest whole number, halves to the even one; integers as they are."""
    x = tensor(x)
    return x if x.dtype.is_integer else _e.rint(x)


def divide(x: Any, y: Any, name: str | None = None) -> Any:
    """`x / y`; integers are divided as float64 (those of 8 and 16 bits as float32)."""
    x, y = operands(x, y)
    return (x if hasattr(x, "dims") else convert_to_tensor(x, y.dtype)) / y


def truediv(x: Any, y: Any, name: str | None = None) -> Any:
    """`x / y`; integers are divided as float64 (those of 8 and 16 bits as float32)."""
    return divide(x, y)


def truncatediv(x: Any, y: Any, name: str | None = None) -> Any:
    """Division rounded towards zero, of integers or floating-point operands of one dtype, which broadcast. Integers by 0 give 0."""
    x, y = operands(x, y)
    if (x if hasattr(x, "dims") else y).dtype.is_integer:
        return _e.truncdiv(x, y)
    return _e.trunc(_e.div(x, y))


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """`scalar * x`. ValueError unless `scalar` is one number."""
    if hasattr(x, "with_values"):  # a sparse one
        return x.with_values(scalar_mul(scalar, x.values))
    x = tensor(x)
    scalar = operand(scalar, x)
    if getattr(scalar, "dims", None) or getattr(scalar, "ndim", 0):
        raise ValueError(places.with_place(f"Only scalar multiply works, got shape {scalar.shape}"))
    return _e.mul(scalar, x)


def polyval(coeffs: Sequence[Any], x: Any, name: str | None = None) -> Any:
    """The polynomial with `coeffs` (a list, highest power first) at `x`, by Horner's rule. ValueError if `coeffs` is no list."""
    if not isinstance(coeffs, list):
        raise ValueError(places.with_place(f"Argument coeffs must be list type. Received type {type(coeffs)}."))
    x = tensor(x)
    if not coeffs:
        return _e.zeros_like(x)
    total = tensor(coeffs[0]) if hasattr(coeffs[0], "dims") else convert_to_tensor(coeffs[0], x.dtype)
    for c in coeffs[1:]:
        total = operand(c, x) + total * x
    return total


# ------------------------------------------------------------------------------------------ complex numbers
def complex(real: Any, imag: Any, name: str | None = None) -> Any:
    """`real + i imag`: complex64 of two float32 tensors, complex128 of two float64 ones. TypeError (an InvalidArgumentError) for others."""
    return _complex.complex_(*operands(real, imag))


def real(input: Any, name: str | None = None) -> Any:
    """The real part: of complex64 float32, of complex128 float64; real numbers as they are."""
    x = tensor(input)
    return _complex.real(x) if x.dtype.is_complex else x


def imag(input: Any, name: str | None = None) -> Any:
    """The imaginary part; of real numbers 0."""
    x = tensor(input)
    return _complex.imag(x) if x.dtype.is_complex else _e.zeros_like(x)


def angle(input: Any, name: str | None = None) -> Any:
    """The angle atan2(imag, real); of real numbers 0, or pi where they are negative."""
    x = tensor(input)
    return _complex.angle(x) if x.dtype.is_complex else _e.select(x < 0, _math.pi * _e.ones_like(x), _e.zeros_like(x))


def conj(x: Any, name: str | None = None) -> Any:
    """The complex conjugate; real numbers as they are."""
    x = tensor(x)
    return _e.conjugate(x) if x.dtype.is_complex else x


# ----------------------------------------------------------------------------------------------- reductions
def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """An axis argument (None for all, an int, a list, a constant tensor) as axes of `x` counted from 0. InvalidArgumentError for others."""
    if axis is None:
        return tuple(range(len(x.dims)))
    listed = list(dims_of(axis)) if hasattr(axis, "dims") else axis
    if isinstance(listed, list) and any(isinstance(a, Size) for a in listed):
        raise _refused(f"an axis must be known while a function is traced, got {axis!r}; write it as a number")
    try:
        return _r.normal_axes(listed, len(x.dims))
    except ValueError as e:
        raise InvalidArgumentError(f"Invalid reduction dimension: {e}") from None


def _reduced(op: Any, input_tensor: Any, axis: Any, keepdims: bool) -> Any:
    x = tensor(input_tensor)
    return op(x, axis=axes_of(x, axis), keepdims=bool(keepdims))


def reduce_sum(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The sum over `axis` (None: all axes), in the operand's dtype; 0 of nothing. `keepdims` leaves axes of size 1."""
    return _reduced(_r.sum_, input_tensor, axis, keepdims)


def reduce_prod(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The product over `axis` (None: all axes), in the operand's dtype; 1 of nothing. The gradient is right at zeros."""
    return _reduced(_r.prod, input_tensor, axis, keepdims)


def reduce_max(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The largest element over `axis` (None: all axes); -inf or the smallest integer of nothing. Ties share the gradient."""
    return _reduced(_r.max_, input_tensor, axis, keepdims)


def reduce_min(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The smallest element over `axis` (None: all axes); inf or the largest integer of nothing. Ties share the gradient."""
    return _reduced(_r.min_, input_tensor, axis, keepdims)


def reduce_any(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Whether any element over `axis` (None: all axes) of a bool tensor holds."""
    return _reduced(_r.any_, input_tensor, axis, keepdims)


def reduce_all(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Whether all elements over `axis` (None: all axes) of a bool tensor hold."""
    return _reduced(_r.all_, input_tensor, axis, keepdims)


def reduce_mean(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The mean over `axis` (None: all axes) in the operand's dtype, so that of integers is rounded towards zero; NaN of nothing."""
    x = tensor(input_tensor)
    if not x.dtype.is_integer:
        return _reduced(_r.mean, x, axis, keepdims)
    axes = axes_of(x, axis)
    return _e.truncdiv(_r.sum_(x, axis=axes, keepdims=bool(keepdims)), _r.count_of(x, axes, x.dtype))


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The mean squared distance (in modulus) from the mean over `axis` (None: all axes). TypeError for integers."""
    x = tensor(input_tensor)
    if not x.dtype.differentiable:
        raise TypeError(places.with_place(f"Input must be either real or complex. Received integer type {x.dtype}."))
    away = x - reduce_mean(x, axis, keepdims=True)
    return reduce_mean(_squared_modulus(away), axis, keepdims)


def _squared_modulus(x: Any) -> Any:
    return _complex.real(_e.conjugate(x) * x) if x.dtype.is_complex else _e.square(x)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The square root of `reduce_variance`; its gradient is NaN where the variance is 0. TypeError for integers."""
    return _e.sqrt(reduce_variance(input_tensor, axis, keepdims))


def reduce_euclidean_norm(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """The square root of the sum of squares over `axis` (None: all axes), in the operand's dtype."""
    x = tensor(input_tensor)
    if x.dtype.is_integer:
        return _e.cast(reduce_euclidean_norm(_e.cast(x, dtype=dtypes.float64), axis, keepdims), dtype=x.dtype)
    norm = _e.sqrt(reduce_sum(_squared_modulus(x), axis, keepdims))
    return _e.cast(norm, dtype=x.dtype) if x.dtype.is_complex else norm


def reduce_logsumexp(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """log(sum(exp(x))) over `axis` (None: all axes), without overflow; -inf of nothing. Floating-point."""
    x = tensor(input_tensor)
    top = reduce_max(x, axis, keepdims=True)
    top = _e.stop_gradient(_e.select(_e.is_finite(top), top, _e.zeros_like(top)))
    total = _e.log(reduce_sum(_e.exp(x - top), axis, keepdims))
    return total + (top if keepdims else _r.reshape(top, shape=total.dims))


def count_nonzero(input: Any, axis: Any = None, keepdims: bool | None = None, dtype: Any = dtypes.int64, name: str | None = None) -> Any:
    """How many elements over `axis` (None: all axes) are not 0 (or are True), as `dtype`."""
    x = tensor(input)
    hit = x if x.dtype.is_bool else _e.not_equal(x, _e.zeros_like(x))
    return reduce_sum(_e.cast(hit, dtype=dtypes.as_dtype(dtype)), axis, bool(keepdims))


def zero_fraction(value: Any, name: str | None = None) -> Any:
    """The share of elements that are 0, a float32 scalar; NaN of nothing."""
    x = tensor(value)
    return reduce_mean(_e.cast(_e.equal(x, _e.zeros_like(x)), dtype=dtypes.float32))


def _arg_extreme(op: Any, input: Any, axis: Any, output_type: Any) -> Any:
    x = tensor(input)
    axes = axes_of(x, 0 if axis is None else axis)
    if len(axes) != 1:
        raise _refused(f"{op.name} takes one axis, got {axis}")
    return op(x, axis=axes[0], dtype=dtypes.as_dtype(output_type))


def argmax(input: Any, axis: Any = None, output_type: Any = dtypes.int64, name: str | None = None) -> Any:
    """The index of the largest element along `axis` (0 by default), the first of equals. InvalidArgumentError for an empty axis."""
    return _arg_extreme(_r.argmax, input, axis, output_type)


def argmin(input: Any, axis: Any = None, output_type: Any = dtypes.int64, name: str | None = None) -> Any:
    """The index of the smallest element along `axis` (0 by default), the first of equals. InvalidArgumentError for an empty axis."""
    return _arg_extreme(_r.argmin, input, axis, output_type)


def lbeta(x: Any, name: str | None = None) -> Any:
    """The logarithm of the modulus of the beta function of the vectors along the last axis, which goes."""
    x = tensor(x)
    return reduce_sum(_s.lgamma(x), axis=-1) - _s.lgamma(reduce_sum(x, axis=-1))


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None) -> Any:
    """`x` divided by its Euclidean norm over `axis` (None: all axes), the square of which counts as at least `epsilon`."""
    x = tensor(x)
    squares = reduce_sum(_squared_modulus(x), axis, keepdims=True)
    scale = _e.rsqrt(_e.maximum(squares, epsilon))
    return x * (_e.cast(scale, dtype=x.dtype) if x.dtype.is_complex else scale)


# ------------------------------------------------------------------------------------------------ along an axis
def _along(op: Any, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
    x = tensor(x)
    axes = axes_of(x, axis)
    if len(axes) != 1:
        raise _refused(f"{op.name} takes one axis, got {axis} for shape {x.shape}")
    return op(x, axis=axes[0], exclusive=bool(exclusive), reverse=bool(reverse))


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """Running sums along `axis`; `exclusive` leaves each element out of its own, `reverse` starts at the end."""
    return _along(_cumulative.cumsum, x, axis, exclusive, reverse)


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """Running products along `axis`, as `cumsum`. The gradient is right at zeros."""
    return _along(_cumulative.cumprod, x, axis, exclusive, reverse)


def cumulative_logsumexp(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """Running log(sum(exp(x))) along `axis`, as `cumsum`. The exclusive form starts with the lowest finite number. Floating-point."""
    return _along(_cumulative.cumulative_logsumexp, x, axis, exclusive, reverse)


def _steps(x: Any) -> Any:
    x = tensor(x)
    flat = _r.reshape(x, shape=(_r.elements(x.dims, list(range(len(x.dims)))),))
    return flat[1:], flat[:-1]


def is_non_decreasing(x: Any, name: str | None = None) -> Any:
    """Whether no element of the flattened `x` is less than the one before: a bool scalar."""
    later, earlier = _steps(x)
    return reduce_all(_e.greater_equal(later, earlier))


def is_strictly_increasing(x: Any, name: str | None = None) -> Any:
    """Whether every element of the flattened `x` is greater than the one before: a bool scalar."""
    later, earlier = _steps(x)
    return reduce_all(_e.greater(later, earlier))


# ---------------------------------------------------------------------------------------------- sums of tensors
def add_n(inputs: Any, name: str | None = None) -> Any:
    """The sum of tensors of one shape and dtype. ValueError for none, or for shapes that differ."""
    listed = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not listed:
        raise ValueError(
            places.with_place("Inputs must be an iterable of at least one Tensor/IndexedSlices with the same dtype and shape.")
        )
    tensors = [tensor(x) for x in listed]
    total = tensors[0]
    for k, x in enumerate(tensors[1:], 1):
        if builtins.len(x.dims) != builtins.len(total.dims) or any(
            isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(x.dims, total.dims)
        ):
            raise _refused(f"Inputs to operation AddN must have the same size and shape. Input 0: {total.shape} != input {k}: {x.shape}")
        total = total + x
    return total


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Any:
    """`add_n`; ValueError for a first tensor whose dtype is not `tensor_dtype`."""
    if not isinstance(inputs, list | tuple) or not inputs:
        raise ValueError(places.with_place("inputs must be a list of at least one Tensor with the same dtype and shape"))
    first = tensor(inputs[0])
    if tensor_dtype is not None and dtypes.as_dtype(tensor_dtype) is not first.dtype:
        raise TypeError(places.with_place(f"tensor_dtype is {dtypes.as_dtype(tensor_dtype).name}, but input is of type {first.dtype.name}"))
    return add_n([first, *inputs[1:]])
