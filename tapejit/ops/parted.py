"""The parted forms: what the rows do to complex numbers, in terms of their real and imaginary parts.

`@parted(op)` gives `op` its form (`Op.parted`). Infinities, NaN and zeros with a sign come out as NumPy has them where that is cheap;
nothing overflows but the result. Sources: division by R. Smith, Algorithm 116 (CACM 5, 1962); inverse functions and `tanh` by
W. Kahan, "Branch cuts for complex elementary functions" (1987), which are exact on the cuts and do not cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tapejit.ir.op import Op
from tapejit.ops import control, cumulative, gathering, joining, linalg, matmul, padding, picking, shapes, slicing, windows
from tapejit.ops import elementwise as e
from tapejit.ops import reductions as r
from tapejit.ops import special as s
from tapejit.ops.broadcasting import broadcast_to, sum_to
from tapejit.ops.complex import angle, complex_, imag, real
from tapejit.ops.parts import Parts, from_pairs, to_pairs
from tapejit.ops.slicing import axis_slice, embed

POWERS = 64  # whole exponents up to this are multiplied out


def parted(op: Op) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the parted form of `op`."""

    def give(form: Callable[..., Any]) -> Callable[..., Any]:
        op.parted = form
        return form

    return give


# ------------------------------------------------------------------------------------------------ both parts alike
def _each_part(op: Op) -> None:
    """Ops that are linear with real coefficients, above all those that only move elements."""

    def form(*operands: Any, **attrs: Any) -> Parts:
        re = op(*(x.re if isinstance(x, Parts) else x for x in operands), **attrs)
        return Parts(re, op(*(x.im if isinstance(x, Parts) else x for x in operands), **attrs))

    op.parted = form


for _op in (
    e.add, e.sub, e.neg, e.stop_gradient, broadcast_to, sum_to, r.sum_, r.mean, cumulative.cumsum, joining.concat, gathering.gather,
    padding.mirror_pad, picking.pick, picking.place, shapes.reshape, shapes.transpose, shapes.tile, shapes.identity, shapes.ensure_shape,
    slicing.slice_, slicing.roll, windows.patches, windows.fold, control.held, control.overwritten, linalg.triangle,
):  # fmt: skip
    _each_part(_op)


@parted(e.select)
def _select(c: Any, x: Parts, y: Parts) -> Parts:
    return Parts(e.select(c, x.re, y.re), e.select(c, x.im, y.im))


@parted(embed)
def _embed(x: Parts, *, value: Any = 0, **attrs: Any) -> Parts:
    number = complex(value)
    return Parts(embed(x.re, value=number.real, **attrs), embed(x.im, value=number.imag, **attrs))


@parted(gathering.scatter)
def _scatter(x: Parts, ids: Any, rows: Parts, *, combine: str = "set") -> Parts | None:
    if combine not in ("set", "add", "sub"):
        return None
    return Parts(*(gathering.scatter(a, ids, b, combine=combine) for a, b in ((x.re, rows.re), (x.im, rows.im))))


@parted(gathering.segment)
def _segment(rows: Parts, ids: Any, *, size: Any, combine: str = "add") -> Parts | None:
    return rows.each(lambda x: gathering.segment(x, ids, size=size, combine=combine)) if combine == "add" else None


# ------------------------------------------------------------------------------------------------ making and taking apart
@parted(complex_)
def _complex(x: Any, y: Any) -> Parts:
    return Parts(x, y)


@parted(real)
def _real(x: Parts) -> Any:
    return x.re


@parted(imag)
def _imag(x: Parts) -> Any:
    return x.im


@parted(e.conjugate)
def _conjugate(x: Parts) -> Parts:
    return Parts(x.re, -x.im)


@parted(e.full)
def _full(*, shape: Any, value: Any, dtype: Any) -> Parts:
    number = complex(value)
    made = [e.full(shape=shape, value=v, dtype=dtype.real_dtype) for v in (number.real, number.imag)]
    return Parts(*made, known=number)


@parted(e.cast)
def _cast(x: Any, *, dtype: Any) -> Any:
    part = dtype.real_dtype
    if isinstance(x, Parts):
        return x.each(lambda v: e.cast(v, dtype=part)) if dtype.is_complex else e.cast(x.re, dtype=dtype)
    re = e.cast(x, dtype=part)
    return Parts(re, e.zeros_like(re))


# ------------------------------------------------------------------------------------------------ arithmetic
@parted(e.mul)
def times(x: Parts, y: Parts) -> Parts:
    """x y."""
    return Parts(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)


@parted(e.square)
def _square(x: Parts) -> Parts:
    return times(x, x)


@parted(e.div)
def over(x: Parts, y: Parts) -> Parts:
    """x / y, by the larger part of y first; by 0 each part of x is divided by 0."""
    wide = abs(y.re) >= abs(y.im)
    large, small = e.select(wide, y.re, y.im), e.select(wide, y.im, y.re)
    ratio = small / large
    scale = 1 / (large + small * ratio)
    u, v = e.select(wide, x.re, x.im), e.select(wide, x.im, x.re)
    re, im = (u + v * ratio) * scale, (v - u * ratio) * scale
    by_zero, zero = e.equal(large, 0), abs(large)
    return Parts(e.select(by_zero, x.re / zero, re), e.select(by_zero, x.im / zero, e.select(wide, im, -im)))


@parted(e.reciprocal)
def inverse(x: Parts) -> Parts:
    """1 / x."""
    wide = abs(x.re) >= abs(x.im)
    large, small = e.select(wide, x.re, x.im), e.select(wide, x.im, x.re)
    ratio = small / large
    scale = 1 / (large + small * ratio)
    return Parts(e.select(wide, scale, ratio * scale), -e.select(wide, ratio * scale, scale))


@parted(e.abs_)
def modulus(x: Parts) -> Any:
    """|x|, which overflows only if the result does; infinite if a part is, even beside NaN."""
    large, small = _ordered(x)
    ratio = small / _or_one(large)
    finite = large * e.sqrt(1 + ratio * ratio)
    infinite = e.logical_or(e.is_inf(x.re), e.is_inf(x.im))
    return e.select(infinite, e.full(shape=(), value=math.inf, dtype=large.dtype), finite)


def _or_one(x: Any) -> Any:
    """A divisor that is nowhere 0."""
    return e.select(e.equal(x, 0), e.ones_like(x), x)


def _ordered(x: Parts) -> tuple[Any, Any]:
    """The larger and the smaller of the absolute values of the parts."""
    a, b = abs(x.re), abs(x.im)
    return e.maximum(a, b), e.minimum(a, b)


@parted(angle)
def argument(x: Parts) -> Any:
    """The angle of x."""
    return e.atan2(x.im, x.re)


@parted(e.equal)
def _equal(x: Parts, y: Parts) -> Any:
    return e.logical_and(e.equal(x.re, y.re), e.equal(x.im, y.im))


@parted(e.not_equal)
def _not_equal(x: Parts, y: Parts) -> Any:
    return e.logical_or(e.not_equal(x.re, y.re), e.not_equal(x.im, y.im))


def _is_zero(x: Parts) -> Any:
    return e.logical_and(e.equal(x.re, 0), e.equal(x.im, 0))


def _number_where(condition: Any, number: float, x: Parts) -> Parts:
    re, im = (e.full(shape=(), value=v, dtype=x.re.dtype) for v in (number, 0.0))
    return Parts(e.select(condition, re, x.re), e.select(condition, im, x.im))


def _zero_where(condition: Any, x: Parts) -> Parts:
    return _number_where(condition, 0.0, x)


def _one_where(condition: Any, x: Parts) -> Parts:
    return _number_where(condition, 1.0, x)


@parted(e.div_no_nan)
def _div_no_nan(x: Parts, y: Parts) -> Parts:
    none = _is_zero(y)
    return _zero_where(none, over(x, _one_where(none, y)))


@parted(e.mul_no_nan)
def _mul_no_nan(x: Parts, y: Parts) -> Parts:
    return _zero_where(_is_zero(y), times(x, y))


@parted(e.zero_or_div)
@parted(s.xdivy)
def _xdivy(x: Parts, y: Parts) -> Parts:
    none = _is_zero(x)
    return _zero_where(none, over(x, _one_where(none, y)))


@parted(s.xlogy)
def _xlogy(x: Parts, y: Parts) -> Parts:
    none = _is_zero(x)
    return _zero_where(none, times(x, logarithm(_one_where(none, y))))


@parted(s.xlog1py)
def _xlog1py(x: Parts, y: Parts) -> Parts:
    return _zero_where(_is_zero(x), times(x, logarithm_after_1(y)))


# ------------------------------------------------------------------------------------------------ roots, exponentials, powers
def _plus(number: float, x: Parts) -> Parts:
    return Parts(number + x.re, x.im)


def _minus(number: float, x: Parts) -> Parts:
    return Parts(number - x.re, -x.im)


def _turned(x: Parts) -> Parts:
    """i x."""
    return Parts(-x.im, x.re)


def _turned_back(x: Parts) -> Parts:
    """-i x."""
    return Parts(x.im, -x.re)


@parted(e.sqrt)
def root(x: Parts) -> Parts:
    """The root with a real part of at least 0."""
    t = e.sqrt(0.5 * modulus(x) + 0.5 * abs(x.re))
    other = 0.5 * abs(x.im) / _or_one(t)
    other = e.select(e.is_inf(t), e.select(e.is_inf(x.im), t, e.full(shape=(), value=0.0, dtype=t.dtype)), other)
    right = x.re >= 0
    return Parts(e.select(right, t, other), e.copysign(e.select(right, other, t), x.im))


@parted(e.rsqrt)
def _rsqrt(x: Parts) -> Parts:
    return inverse(root(x))


@parted(e.exp)
def exponential(x: Parts) -> Parts:
    """exp(x); a real number has a real one, infinite ones too."""
    size = e.exp(x.re)
    return Parts(size * e.cos(x.im), e.select(e.equal(x.im, 0), x.im, size * e.sin(x.im)))


@parted(e.expm1)
def _expm1(x: Parts) -> Parts:
    half = e.sin(0.5 * x.im)
    return Parts(e.expm1(x.re) * e.cos(x.im) - 2 * half * half, e.exp(x.re) * e.sin(x.im))


@parted(e.log)
def logarithm(x: Parts) -> Parts:
    """log|x| and the angle; near the unit circle |x| - 1 is what counts."""
    large, small = _ordered(x)
    near = e.logical_and(large > 0.5, large < 2.0)
    one = e.ones_like(large)
    m, n = e.select(near, large, one), e.select(near, small, one)
    return Parts(e.select(near, 0.5 * e.log1p((m - 1) * (m + 1) + n * n), e.log(modulus(x))), argument(x))


@parted(e.log1p)
def logarithm_after_1(x: Parts) -> Parts:
    """log(1 + x)."""
    after = _plus(1, x)
    near = e.logical_and(abs(x.re) < 0.5, abs(x.im) < 0.5)
    return Parts(e.select(near, 0.5 * e.log1p(x.re * (2 + x.re) + x.im * x.im), e.log(modulus(after))), argument(after))


@parted(e.sigmoid)
def _sigmoid(x: Parts) -> Parts:
    return inverse(_plus(1, exponential(x.each(e.neg))))


@parted(e.pow_)
def _power(x: Parts, y: Parts) -> Parts:
    """x^y; whole exponents that are written in the program are multiplied out. 1 for y = 0, else 0 for x = 0."""
    n = y.known
    if n is not None and n.imag == 0 and n.real == int(n.real) and 0 < abs(n.real) <= POWERS:
        out = _multiplied(x, abs(int(n.real)))
        return out if n.real > 0 else inverse(out)
    at_zero = _is_zero(x)
    out = _zero_where(at_zero, exponential(times(y, logarithm(_one_where(at_zero, x)))))
    return _one_where(_is_zero(y), out)


def _multiplied(x: Parts, n: int) -> Parts:
    """x^n by squaring."""
    if n == 1:
        return x
    half = _multiplied(x, n // 2)
    return times(times(half, half), x) if n % 2 else times(half, half)


# ------------------------------------------------------------------------------------------------ trigonometric and hyperbolic
@parted(e.sinh)
def sinh(x: Parts) -> Parts:
    """sinh(x)."""
    return Parts(e.sinh(x.re) * e.cos(x.im), e.cosh(x.re) * e.sin(x.im))


@parted(e.cosh)
def cosh(x: Parts) -> Parts:
    """cosh(x)."""
    return Parts(e.cosh(x.re) * e.cos(x.im), e.sinh(x.re) * e.sin(x.im))


@parted(e.tanh)
def tanh(x: Parts) -> Parts:
    """tanh(x); beyond where sinh overflows it is 1 or -1, with what is left of the imaginary part."""
    far = abs(x.re) > 20.0
    near = e.select(far, e.zeros_like(x.re), x.re)
    t, u = e.tan(x.im), e.sinh(near)
    slope = 1 + t * t
    below = 1 + slope * u * u
    edge = 4 * e.sin(x.im) * e.cos(x.im) * e.exp(-2 * abs(x.re))
    one = e.copysign(e.full(shape=(), value=1.0, dtype=u.dtype), x.re)
    return Parts(e.select(far, one, slope * e.cosh(near) * u / below), e.select(far, edge, t / below))


@parted(e.sin)
def _sin(x: Parts) -> Parts:
    return _turned_back(sinh(_turned(x)))


@parted(e.cos)
def _cos(x: Parts) -> Parts:
    return cosh(_turned(x))


@parted(e.tan)
def _tan(x: Parts) -> Parts:
    return _turned_back(tanh(_turned(x)))


def _beside(x: Parts, y: Parts) -> Any:
    """Im(conj(x) y)."""
    return x.re * y.im - x.im * y.re


@parted(e.asin)
def asin(x: Parts) -> Parts:
    """asin(x)."""
    below, above = root(_minus(1, x)), root(_plus(1, x))
    return Parts(e.atan2(x.re, times(below, above).re), e.asinh(_beside(below, above)))


@parted(e.acos)
def _acos(x: Parts) -> Parts:
    below, above = root(_minus(1, x)), root(_plus(1, x))
    return Parts(2 * e.atan2(below.re, above.re), e.asinh(_beside(above, below)))


@parted(e.acosh)
def _acosh(x: Parts) -> Parts:
    below, above = root(_plus(-1, x)), root(_plus(1, x))
    return Parts(e.asinh(below.re * above.re + below.im * above.im), 2 * e.atan2(below.im, above.re))


@parted(e.atanh)
def atanh(x: Parts) -> Parts:
    """atanh(x)."""
    a, b = x.re, x.im
    return Parts(0.25 * e.log1p(4 * a / ((1 - a) * (1 - a) + b * b)), 0.5 * e.atan2(2 * b, (1 - a) * (1 + a) - b * b))


@parted(e.asinh)
def _asinh(x: Parts) -> Parts:
    return _turned_back(asin(_turned(x)))


@parted(e.atan)
def _atan(x: Parts) -> Parts:
    return _turned_back(atanh(_turned(x)))


# ------------------------------------------------------------------------------------------------ products
@parted(r.prod)
def _prod(x: Parts, *, axis: tuple[int, ...], keepdims: bool = False) -> Parts:
    """The last of the running products, which begin with 1."""
    if not axis:
        return x
    rows = x.each(lambda v: r.last_axis(v, axis)[0])
    *lead, n = rows.dims
    last = len(lead)
    begin, stride, shape = (*(0,) * last, 1), (1,) * (last + 1), (*lead, n + 1)
    longer = Parts(*(embed(v, begin=begin, shape=shape, stride=stride, value=k) for v, k in ((rows.re, 1.0), (rows.im, 0.0))))
    running = Parts(pairs=to_pairs(cumulative.cumprod(from_pairs(longer.pairs), axis=last)))
    kept = r.kept_shape(x.dims, axis, keepdims)
    return running.each(lambda v: shapes.reshape(axis_slice(v, last, n, 1), shape=kept))


@parted(matmul.matmul)
def _matmul(x: Parts, y: Parts, **attrs: Any) -> Parts:
    def product(a: Any, b: Any) -> Any:
        return matmul.matmul(a, b, **attrs)

    return Parts(product(x.re, y.re) - product(x.im, y.im), product(x.re, y.im) + product(x.im, y.re))
