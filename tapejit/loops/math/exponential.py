"""exp, expm1, log, log1p, sigmoid, softplus, tanh, sinh, cosh and the inverse hyperbolic functions."""

EXPONENTIAL = '''
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


def half_expm1(x: f32):
    """(e^x - 1) / 2, which does not overflow where e^x - 1 just does not. For x > -18."""
    c = 88.73 if x > 88.73 else x
    t = fma(c, 1.442695041, 12582912.0)
    n = t - 12582912.0
    r = fma(n, 2.12194440e-4, fma(n, -0.693359375, c))
    p = fma(horner(r, 0.49999994, 0.1666652, 0.04166825, 0.008368857, 0.0013822453), r * r, r)
    s = bitcast((bitcast(t, i32) << 23) + 0x3F000000, f32)
    return fma(p, s, s - 0.5)


def expm1(x: f32):
    y = half_expm1(-18.0 if x < -18.0 else x)
    return y + y if abs(x) > 1e-30 else x


def tanh(x: f32):
    """With t = e^(2|x|) - 1: t / (t + 2)."""
    a = abs(x)
    h = half_expm1(2.0 * (10.0 if a > 10.0 else a))
    return copysign(h / (h + 1.0), x)


def sigmoid(x: f32):
    e = exp(-abs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


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


def log1p(x: f32):
    """With u = 1 + x = 2^e m: f = m - 1 = 2^-e x + (2^-e - 1), rounded once, so that nothing is lost in 1 + x."""
    u = 1.0 + x
    i = bitcast(u, i32) - 0x3F3504F3
    s = bitcast(0x40800000 - (i & -0x800000), f32)
    f = fma(0.25 * x, s, fma(s, 0.25, -1.0))
    y = log1p_of(f, f32(i >> 23))
    y = y if x < inf else x
    y = y if x > -1.0 else nan
    y = -inf if x == -1.0 else y
    return x if abs(x) < 1e-30 else y


def softplus(x: f32):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    e = exp(-abs(x))
    i = bitcast(1.0 + e, i32) - 0x3F3504F3
    s = bitcast(0x3F800000 - (i & -0x800000), f32)
    return (x if x > 0.0 else 0.0) + log1p_of(fma(e, s, s - 1.0), f32(i >> 23))


def erf(x: f32):
    """A polynomial below 1, and 1 - e^p(|x|) above, where p is log(erfc)."""
    a = abs(x)
    s = x * x
    small = fma(horner(s, 0.12837917, -0.37612626, 0.11283579, -0.026853347, 0.005187162, -0.0007997855, 7.806928e-05), x, x)
    b = 4.0 if a > 4.0 else a
    p = horner(b, -0.0002270645, -1.1276271, -0.63708067, -0.10425433, 0.022566034, -0.0032190983, 0.00024142761, -4.681373e-06)
    t = fma(p, 1.442695041, 12582912.0)
    r = fma(t - 12582912.0, -0.693147181, p)
    e = 1.0 + fma(horner(r, 0.49999994, 0.1666652, 0.04166825, 0.008368857, 0.0013822453), r * r, r)
    large = fma(-e, bitcast((bitcast(t, i32) << 23) + 0x3F800000, f32), 1.0)
    return copysign(large, x) if a > 1.0 else small
'''
