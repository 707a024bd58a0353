"""erf, erfc, erfinv, ndtri, lgamma, digamma and pow."""

_KERNELS = '''
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

SPECIAL = _KERNELS
