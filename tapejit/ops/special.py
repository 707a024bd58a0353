"""Special functions, row by row: logarithms with x = 0 settled, error functions, gamma and beta functions, Bessel functions.

Eagerly they are SciPy's, imported at the first call; kernels have definitions of their own for the common ones, and call the same functions of
SciPy's by address for the rare ones. Gradients follow TensorFlow's: for orders and the shape parameters of the
beta function there is none. Formulas: Abramowitz and Stegun, chapters 6, 7 and 9.
"""

# mypy: disable-error-code="has-type"
# gradients name rows further down

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from tapejit.ops.elementwise import cast, cos, equal, exp, log, log1p, mod, not_equal, ones_like, reciprocal, select, sign, sin, square
from tapejit.ops.families import binary, ternary, unary
from tapejit.ops.zeta import zeta


def _scipy(name: str) -> Callable[..., Any]:
    """The function `name` of `scipy.special`, looked up when it is called; the result has the operands' dtype."""

    def function(*arrays: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arrays).astype(arrays[-1].dtype, copy=False)

    return function


def _unless_zero(x: Any, y: Any) -> Any:
    """`y` where `x` is not 0, and 0 there."""
    return np.where(x == 0, x.dtype.type(0), y)


def _nonzero(x: Any) -> Any:
    """1 where `x` is not 0, and 0 there: the derivative of x by the side of a factor that is skipped at 0."""
    return cast(not_equal(x, 0), dtype=x.dtype)


def _not_at_zero(x: Any, f: Callable[[Any], Any], at_zero: float) -> Any:
    """`f(x)`, and `at_zero` where `x` is 0 and `f` would divide by it."""
    zero = equal(x, 0)
    one = ones_like(x)
    return select(zero, at_zero * one, f(select(zero, one, x)))


# fmt: off
xlogy = binary(
    "xlogy", lambda x, y: _unless_zero(x, x * np.log(y)), "0 if x == 0 else x * log(y)",
    (lambda g, z, x, y: g * xlogy(_nonzero(x), y), lambda g, z, x, y: g * xdivy(x, y)), kinds="fc", domain=((-3, 3), (0.3, 4)), wide=True,
    doc="x * log(y), and 0 where x is 0 whatever y is.",
)
xlog1py = binary(
    "xlog1py", lambda x, y: _unless_zero(x, x * np.log1p(y)), "0 if x == 0 else x * log1p(y)",
    (lambda g, z, x, y: g * xlog1py(_nonzero(x), y), lambda g, z, x, y: g * xdivy(x, 1 + y)), kinds="fc", domain=((-3, 3), (-0.7, 4)), wide=True,
    doc="x * log(1 + y), and 0 where x is 0 whatever y is.",
)
xdivy = binary(
    "xdivy", lambda x, y: _unless_zero(x, x / y), "0 if x == 0 else x / y",
    (lambda g, z, x, y: g * xdivy(_nonzero(x), y), lambda g, z, x, y: g * xdivy(-x, square(y))), kinds="fc", domain=((-3, 3), (0.5, 3)),
    doc="x / y, and 0 where x is 0 whatever y is.",
)

# error functions
erf = unary("erf", _scipy("erf"), "erf(x)", lambda g, z, x: g * (2 / math.sqrt(math.pi) * exp(-square(x))), wide=True, domain=(-2, 2))
erfc = unary("erfc", _scipy("erfc"), "erfc(x)", lambda g, z, x: g * (-2 / math.sqrt(math.pi) * exp(-square(x))), wide=True, domain=(-2, 2))
erfinv = unary("erfinv", _scipy("erfinv"), "erfinv(x)", lambda g, z, x: g * (math.sqrt(math.pi) / 2 * exp(square(z))), wide=True, domain=(-0.8, 0.8))
ndtri = unary(
    "ndtri", _scipy("ndtri"), "ndtri(x)", lambda g, z, x: g * (math.sqrt(2 * math.pi) * exp(0.5 * square(z))), wide=True, domain=(0.1, 0.9),
    doc="The quantile function of the standard normal distribution.",
)
dawsn = unary("dawsn", _scipy("dawsn"), "dawsn(x)", lambda g, z, x: g * (1 - 2 * x * z), wide=True, doc="Dawson's integral.")
fresnel_cos = unary(
    "fresnel_cos", lambda x: _fresnel(x)[1], "fresnel_cos(x)", lambda g, z, x: g * cos(math.pi / 2 * square(x)), wide=True, domain=(-1.5, 1.5), doc="Fresnel's cosine integral."
)
fresnel_sin = unary(
    "fresnel_sin", lambda x: _fresnel(x)[0], "fresnel_sin(x)", lambda g, z, x: g * sin(math.pi / 2 * square(x)), wide=True, domain=(-1.5, 1.5), doc="Fresnel's sine integral."
)


def _fresnel(x: Any) -> Any:
    import scipy.special

    return tuple(part.astype(x.dtype, copy=False) for part in scipy.special.fresnel(x))


# gamma and beta functions
def _polygamma(a: Any, x: Any) -> Any:
    import scipy.special

    return np.asarray(scipy.special.polygamma(a, x)).astype(x.dtype)


def _by_zeta(x: Any, y: Any) -> Any:
    """polygamma(x, y) as (-1)^(x + 1) x! zeta(x + 1, y), and digamma for x = 0; NaN where x is not whole."""
    one = ones_like(x)
    odd = equal(mod(x, 2 * one), 1)
    sign_ = select(odd, one, select(equal(mod(x, 2 * one), 0), -one, math.nan * one))
    return select(equal(x, 0), digamma(y), sign_ * exp(lgamma(x + 1)) * zeta(x + 1, y))


def _by_shape(name: str) -> Callable[..., NoReturn]:
    def rule(*operands: Any) -> NoReturn:
        raise NotImplementedError(f"the gradient of {name} with respect to its first operand")

    return rule


def _igamma_slope(g: Any, a: Any, x: Any) -> Any:
    return g * exp((a - 1) * log(x) - x - lgamma(a))


lgamma = unary("lgamma", _scipy("gammaln"), "lgamma(x)", lambda g, z, x: g * digamma(x), wide=True, domain=(0.4, 5), doc="The logarithm of |Gamma(x)|.")
digamma = unary("digamma", _scipy("psi"), "digamma(x)", lambda g, z, x: g * polygamma(ones_like(x), x), wide=True, domain=(0.5, 5))
polygamma = binary(
    "polygamma", _polygamma, "", (None, lambda g, z, x, y: g * polygamma(x + 1, y)), wide=True, domain=((1, 1), (0.6, 4)), decomposed=lambda x, y: _by_zeta(x, y),
    doc="The derivative of order x (a whole number) of digamma at y.",
)
igamma = binary(
    "igamma", _scipy("gammainc"), "gammainc(x, y)", (_by_shape("igamma"), lambda g, z, x, y: _igamma_slope(g, x, y)), wide=True, domain=((0.6, 3), (0.4, 3)),
    doc="The lower incomplete gamma function, regularised: shape x, bound y.",
)
igammac = binary(
    "igammac", _scipy("gammaincc"), "gammaincc(x, y)", (_by_shape("igammac"), lambda g, z, x, y: -_igamma_slope(g, x, y)), wide=True, domain=((0.6, 3), (0.4, 3)),
    doc="The upper incomplete gamma function, regularised: shape x, bound y.",
)
betainc = ternary(
    "betainc", _scipy("betainc"), "betainc(x, y, z)",
    (None, None, lambda g, s, x, y, z: g * exp((y - 1) * log1p(-z) + (x - 1) * log(z) - lgamma(x) - lgamma(y) + lgamma(x + y))), wide=True,
    domain=((0.6, 3), (0.6, 3), (0.2, 0.8)), doc="The incomplete beta function of z, regularised, with parameters x and y.",
)
spence = unary(
    "spence", _scipy("spence"), "spence(x)", lambda g, z, x: g * _spence_slope(x), wide=True, domain=(1.2, 4), doc="Spence's integral (the dilogarithm of 1 - x)."
)
expint = unary("expint", _scipy("expi"), "expint(x)", lambda g, z, x: g * (exp(x) / x), wide=True, domain=(0.3, 3), doc="The exponential integral Ei.")


def _spence_slope(x: Any) -> Any:
    at_one = equal(x, 1)
    elsewhere = select(at_one, 2 * ones_like(x), x)
    return select(at_one, -ones_like(x), log(elsewhere) / (1 - elsewhere))


# Bessel functions, modified and not; those with "e" are scaled exponentially
bessel_i0 = unary("bessel_i0", _scipy("i0"), "bessel_i0(x)", lambda g, z, x: g * bessel_i1(x), wide=True)
bessel_i1 = unary("bessel_i1", _scipy("i1"), "bessel_i1(x)", lambda g, z, x: g * _not_at_zero(x, lambda v: bessel_i0(v) - bessel_i1(v) / v, 0.5), wide=True)
bessel_i0e = unary("bessel_i0e", _scipy("i0e"), "bessel_i0e(x)", lambda g, z, x: g * (bessel_i1e(x) - sign(x) * z), wide=True, kinks=(0.0,))
bessel_i1e = unary(
    "bessel_i1e", _scipy("i1e"), "bessel_i1e(x)", lambda g, z, x: g * _not_at_zero(x, lambda v: bessel_i0e(v) - bessel_i1e(v) * (sign(v) + reciprocal(v)), 0.5),
    wide=True, kinks=(0.0,),
)
bessel_k0 = unary("bessel_k0", _scipy("k0"), "bessel_k0(x)", lambda g, z, x: -g * bessel_k1(x), wide=True, domain=(0.4, 4))
bessel_k1 = unary("bessel_k1", _scipy("k1"), "bessel_k1(x)", lambda g, z, x: -g * (bessel_k0(x) + z / x), wide=True, domain=(0.4, 4))
bessel_k0e = unary("bessel_k0e", _scipy("k0e"), "bessel_k0e(x)", lambda g, z, x: g * (z - bessel_k1e(x)), wide=True, domain=(0.4, 4))
bessel_k1e = unary("bessel_k1e", _scipy("k1e"), "bessel_k1e(x)", lambda g, z, x: g * (z * (1 - reciprocal(x)) - bessel_k0e(x)), wide=True, domain=(0.4, 4))
bessel_j0 = unary("bessel_j0", _scipy("j0"), "bessel_j0(x)", lambda g, z, x: -g * bessel_j1(x), wide=True)
bessel_j1 = unary("bessel_j1", _scipy("j1"), "bessel_j1(x)", lambda g, z, x: g * _not_at_zero(x, lambda v: bessel_j0(v) - bessel_j1(v) / v, 0.5), wide=True)
bessel_y0 = unary("bessel_y0", _scipy("y0"), "bessel_y0(x)", lambda g, z, x: -g * bessel_y1(x), wide=True, domain=(0.4, 4))
bessel_y1 = unary("bessel_y1", _scipy("y1"), "bessel_y1(x)", lambda g, z, x: g * (bessel_y0(x) - z / x), wide=True, domain=(0.4, 4))
