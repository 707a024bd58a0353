"""exp, expm1, log, log1p, sigmoid, softplus, rsqrt, the hyperbolic functions and their inverses."""

_KERNELS = '''
def exp(x: f32):
    """2^n e^r with n = rint(x / ln 2). Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits."""
    c = -104.0 if x < -104.0 else x
    c = 89.0 if c > 89.0 else c
    t = fma(c, 1.442695041, 12582912.0)
    n = t - 12582912.0
    r = fma(n, 2.12194440e-4, fma(n, -0.693359375, c))
    y = 1.0 + fma(horner(r, 0.49999994, 0.1666652, 0.04166825, 0.008368857, 0.0013822453), r * r, r)
    k = bitcast(t, i32) - 0x4B400000
    h = k >> 1
    return y * bitcast((h << 23) + 0x3F800000, f32) * bitcast((k - h << 23) + 0x3F800000, f32)


def expm1_times(x: f32, bits: i32, unit: f32, limit: f32):
    """(e^x - 1) unit, for a power of two `unit` below 1 of these bits, which keeps it from overflowing. For -39 < x < limit."""
    c = limit if x > limit else x
    t = fma(c, 1.442695041, 12582912.0)
    n = t - 12582912.0
    r = fma(n, 2.12194440e-4, fma(n, -0.693359375, c))
    p = fma(horner(r, 0.49999994, 0.1666652, 0.04166825, 0.008368857, 0.0013822453), r * r, r)
    s = bitcast((bitcast(t, i32) << 23) + bits, f32)
    return fma(p, s, s - unit)


def half_expm1(x: f32):
    return expm1_times(x, 0x3F000000, 0.5, 88.73)


def quarter_expm1(x: f32):
    return expm1_times(x, 0x3E800000, 0.25, 89.5)


def log1p_of(f: f32, e: f32):
    """log(1 + f) + e ln 2 for sqrt(1/2) - 1 <= f <= sqrt(2) - 1."""
    q = f * f
    p = horner(f, 0.33333313, -0.25000012, 0.20002073, -0.16667858, 0.14220226, -0.12408086, 0.11886172, -0.11661515, 0.06734203)
    tail = fma(e, -2.12194440e-4, fma(p, f * q, -0.5 * q))
    return fma(e, 0.693359375, f + tail)


def log(x: f32):
    small = x < 1.17549435e-38
    i = bitcast(x * 8388608.0 if small else x, i32) - 0x3F3504F3
    f = bitcast((i & 0x7FFFFF) + 0x3F3504F3, f32) - 1.0
    y = log1p_of(f, f32(i >> 23) - (23.0 if small else 0.0))
    y = y if x < inf else x
    y = y if x > 0.0 else nan
    return -inf if x == 0.0 else y


def scaled(u: f32, x: f32):
    i = bitcast(u, i32) - 0x3F3504F3
    s = bitcast(0x40800000 - (i & -0x800000), f32)
    return fma(0.25 * x, s, fma(s, 0.25, -1.0)), f32(i >> 23)


def exp(x: f64):
    c = -746.0 if x < -746.0 else x
    return exp_of(710.0 if c > 710.0 else c, 0.0)


def exp_of(c: f64, low: f64):
    """e^(c + low) for -746 <= c <= 746 and a small correction."""
    t = fma(c, 1.4426950408889634, 6755399441055744.0)
    n = t - 6755399441055744.0
    r = fma(n, -1.9082149292705877e-10, fma(n, -0.6931471803691238, c)) + low
    y = 1.0 + fma(expm1_tail(r), r * r, r)
    k = bitcast(t, i64) - 0x4338000000000000
    h = k >> 1
    return y * bitcast((h << 52) + 0x3FF0000000000000, f64) * bitcast((k - h << 52) + 0x3FF0000000000000, f64)


def expm1_tail(r: f64):
    """(e^r - 1 - r) / r^2 for |r| <= ln(2) / 2."""
    return horner(r, 0.5, 0.16666666666666682, 0.04166666666666646, 0.00833333333331756, 0.0013888888889005068, 0.00019841269895490326,
                  2.4801587082049694e-05, 2.755723546849374e-06, 2.7557478220393796e-07, 2.5111899951505403e-08, 2.0853151433257693e-09)


def expm1_times(x: f64, bits: i64, unit: f64, limit: f64):
    c = limit if x > limit else x
    t = fma(c, 1.4426950408889634, 6755399441055744.0)
    n = t - 6755399441055744.0
    r = fma(n, -1.9082149292705877e-10, fma(n, -0.6931471803691238, c))
    p = fma(expm1_tail(r), r * r, r)
    s = bitcast((bitcast(t, i64) << 52) + bits, f64)
    return fma(p, s, s - unit)


def half_expm1(x: f64):
    return expm1_times(x, 0x3FE0000000000000, 0.5, 709.79)


def quarter_expm1(x: f64):
    return expm1_times(x, 0x3FD0000000000000, 0.25, 710.5)


def log1p_of(f: f64, e: f64):
    """With s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)); arranged as in fdlibm's log."""
    s = f / (2.0 + f)
    z = s * s
    p = horner(z, 0.6666666666666735, 0.39999999999408753, 0.2857142874392525, 0.22222198395639742, 0.18183574466783808,
               0.15313770001620752, 0.1479895013383028)
    h = 0.5 * f * f
    tail = fma(s, fma(p, z, h), e * 1.9082149292705877e-10)
    return fma(e, 0.6931471803691238, f - (h - tail))


def log(x: f64):
    small = x < 2.2250738585072014e-308
    i = bitcast(x * 18014398509481984.0 if small else x, i64) - 0x3FE6A09E667F3BCD
    f = bitcast((i & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD, f64) - 1.0
    y = log1p_of(f, f64(i32(i >> 52)) - (54.0 if small else 0.0))
    y = y if x < inf else x
    y = y if x > 0.0 else nan
    return -inf if x == 0.0 else y


def scaled(u: f64, x: f64):
    """2^-e x + (2^-e - 1) rounded once and e, where u = 2^e m is near 1 + x and sqrt(1/2) <= m < sqrt(2)."""
    i = bitcast(u, i64) - 0x3FE6A09E667F3BCD
    s = bitcast(0x4010000000000000 - (i & -0x10000000000000), f64)
    return fma(0.25 * x, s, fma(s, 0.25, -1.0)), f64(i32(i >> 52))
'''

_BOTH = '''
def expm1(x: real):
    y = half_expm1(-38.0 if x < -38.0 else x)
    return y + y if abs(x) > 1e-30 else x


def tanh(x: real):
    """With t = e^(2|x|) - 1: t / (t + 2)."""
    a = abs(x)
    h = half_expm1(2.0 * (20.0 if a > 20.0 else a))
    return copysign(h / (h + 1.0), x)


def sinh(x: real):
    """With t = e^|x| - 1: (t + t / (t + 1)) / 2."""
    q = quarter_expm1(abs(x))
    h = q + q
    return copysign(h + h / (2.0 * h + 1.0) if h < 1e30 else h, x)


def cosh(x: real):
    q = quarter_expm1(abs(x)) + 0.25
    return 2.0 * q + 0.125 / q


def sigmoid(x: real):
    e = exp(-abs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


def log1p(x: real):
    """Nothing is lost in 1 + x: with 1 + x = 2^e m, m - 1 = 2^-e x + (2^-e - 1) is rounded once."""
    f, e = scaled(1.0 + x, x)
    y = log1p_of(f, e)
    y = y if x < inf else x
    y = y if x > -1.0 else nan
    y = -inf if x == -1.0 else y
    return x if abs(x) < 1e-30 else y


def softplus(x: real):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    t = exp(-abs(x))
    large = t > 0.4142135623730951
    f = fma(t, 0.5, -0.5) if large else t
    e = 1.0 if large else 0.0
    return (x if x > 0.0 else 0.0) + log1p_of(f, e)


def asinh(x: real):
    """log(a + sqrt(a^2 + 1)) for a = |x|; beyond 1e17 it is log(2a)."""
    a = abs(x)
    large = a > 1e17
    z = a * a
    y = log1p(a if large else a + z / (1.0 + sqrt(z + 1.0)))
    return copysign(y + 0.6931471805599453 if large else y, x)


def acosh(x: real):
    large = x > 1e17
    t = x - 1.0
    y = log1p(x if large else t + sqrt(fma(t, t, 2.0 * t)))
    y = y + 0.6931471805599453 if large else y
    return nan if x < 1.0 else y


def atanh(x: real):
    a = abs(x)
    return copysign(0.5 * log1p(2.0 * a / (1.0 - a)), x)


def rsqrt(x: real):
    return 1.0 / sqrt(x)
'''

EXPONENTIAL = _KERNELS + _BOTH.replace("real", "f32") + _BOTH.replace("real", "f64")
