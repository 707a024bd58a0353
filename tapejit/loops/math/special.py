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


def erf_near(x: f64):
    """erf(x) for |x| <= 1."""
    return fma(horner(x * x, 0.12837916709551256, -0.3761263890318346, 0.11283791670942672, -0.026866170642934173, 0.005223977604957742,
                      -0.0008548325882701687, 0.00012055292371154868, -1.4924691812297222e-05, 1.6446904188529152e-06,
                      -1.620472745780257e-07, 1.3704666886572674e-08, -7.768536353979259e-10), x, x)


def erfc_far(a: f64):
    """erfc(a) for a >= 1/2 and e^(-a^2) for a >= 0: (1 + 2a) e^(a^2) erfc(a) is a polynomial in (a - 3) / (a + 3), as in Shepherd
    and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x", 1981."""
    c = 28.0 if a > 28.0 else a
    q = (c - 3.0) / (c + 3.0)
    p = horner(q, 1.2530080582697296, -0.1356211061245813, -0.047562294353440074, 0.12964515870276835, -0.1192736634158664,
               0.06830802734385641, -0.023770514906534004, 0.0025293918166010006, 0.001888690219699356, -0.0007798322693098651,
               -0.00010515883737908002, 0.000125099315271109, 4.9452386409715604e-06, -2.0100401033202412e-05, -7.191521278591347e-07,
               3.471946808845521e-06, 3.3299575296174876e-07, -6.156070875452132e-07, -1.1184111656632836e-07, 1.0002353683009355e-07,
               1.9419938271313704e-08, -1.1270650033455311e-08)
    h = c * c
    g = exp_of(-h, -fma(c, c, -h))
    return g * (p / fma(2.0, c, 1.0)), g


def erf(x: f64):
    a = abs(x)
    far, g = erfc_far(a)
    return copysign(1.0 - far, x) if a > 1.0 else erf_near(x)


def erfc(x: f64):
    a = abs(x)
    far, g = erfc_far(a)
    far = 2.0 - far if x < 0.0 else far
    return far if a > 0.5 else 1.0 - erf_near(x)


def rough_exp(c: f64):
    """e^c for |c| < 700 to 2^-34."""
    t = fma(c, 1.4426950408889634, 6755399441055744.0)
    r = fma(t - 6755399441055744.0, -0.6931471805599453, c)
    y = 1.0 + fma(horner(r, 0.5000000069066872, 0.16666665861242932, 0.04166629012894081, 0.008333497537058176, 0.001394501116525701,
                         0.00019790832473345823), r * r, r)
    return y * bitcast((bitcast(t, i64) << 52) + 0x3FF0000000000000, f64)


def rough_log(x: f64):
    """The logarithm of a positive normal x to 2^-37 of its value."""
    i = bitcast(x, i64) - 0x3FE6A09E667F3BCD
    f = bitcast((i & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD, f64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    y = fma(horner(z, 0.666666656376699, 0.40000337144290876, 0.28537173924937304, 0.23584885577054446), z * s, 2.0 * s)
    return fma(f64(i32(i >> 52)), 0.6931471805599453, y)


def erfc(x: f32):
    """As for float64, with a shorter polynomial, in float64."""
    a = f64(abs(x))
    c = 11.0 if a > 11.0 else a
    q = (c - 3.0) / (c + 3.0)
    p = horner(q, 1.2530080553050356, -0.13562105426866564, -0.04756198767758905, 0.12964329721767331, -0.11927866201402802,
               0.06832710359446266, -0.02374222647859265, 0.002447651840866996, 0.0018231492432233543, -0.0006207144957830508,
               -4.977731205814911e-05)
    far = f32(rough_exp(-(c * c)) * (p / fma(2.0, c, 1.0)))
    far = 2.0 - far if x < 0.0 else far
    return far if abs(x) > 0.5 else 1.0 - erf(x)


def erfinv_start(a: f64, d: f64):
    """erfinv(a) to 2^-32 for 0 <= a = 1 - d < 1 and d >= 2^-1074: a polynomial in a^2 below 3/4, and above, with
    s = sqrt(-log(d)), s times a polynomial in (s - 3) / (s + 3)."""
    z = a * a
    near = horner(z, 0.886226925486981, 0.23201364618693476, 0.12755813480043038, 0.08647846801921487, 0.06638983018907135,
                  0.035322246551282056, 0.16255048210283676, -0.5412220179501133, 1.9042311812634678, -4.0208913435194775,
                  5.6578116116402795, -4.583325640777392, 1.7435698625894802)
    tiny = d < 2.2250738585072014e-308
    s = sqrt((36.7368005696771 if tiny else 0.0) - rough_log(d * 9007199254740992.0 if tiny else d))
    v = (s - 3.0) / (s + 3.0)
    far = horner(v, 0.9049203326228962, 0.273664574098795, -0.3389693023714953, 0.2786592886816575, -0.1784842598766106,
                 0.06945755563822667, 0.020164441207384885, -0.07758220209235689, 0.09841932986742657, -0.0897548678783762,
                 0.06074453784157737, -0.014859975342561864, -0.03667409374020148, 0.05913209194964076, -0.03833677511628362,
                 0.009527972654252634)
    return far * s if a > 0.75 else near * a


def erfinv_step(y: f64, a: f64, d: f64):
    """One step of Newton's method, to second order, from y towards erfinv(a), where d = 1 - a is known well."""
    far, g = erfc_far(y)
    u = (far - d if y > 0.5 else a - erf_near(y)) / (1.1283791670955126 * g)
    better = y + fma(y * u, u, u)
    return better if d > 1e-305 else y


def erfinv(x: f32):
    w = abs(f64(x))
    y = copysign(f32(erfinv_start(w, 1.0 - w)), x)
    y = y if abs(x) < 1.0 else nan
    return copysign(inf, x) if abs(x) == 1.0 else y


def erfinv(x: f64):
    a = abs(x)
    y = copysign(erfinv_step(erfinv_start(a, 1.0 - a), a, 1.0 - a), x)
    y = y if a < 1.0 else nan
    return copysign(inf, x) if a == 1.0 else y


def ndtri(x: f32):
    """The quantile of the normal distribution: -sqrt(2) erfinv(1 - 2 min(x, 1 - x)) below 1/2."""
    w = f64(x)
    d = 2.0 - 2.0 * w if w > 0.5 else 2.0 * w
    y = f32(1.4142135623730951 * erfinv_start(1.0 - d, d))
    y = y if x > 0.5 else 0.0 - y
    y = y if x > 0.0 and x < 1.0 else nan
    y = -inf if x == 0.0 else y
    return inf if x == 1.0 else y


def ndtri(x: f64):
    d = 2.0 - 2.0 * x if x > 0.5 else 2.0 * x
    a = 1.0 - d
    y = 1.4142135623730951 * erfinv_step(erfinv_start(a, d), a, d)
    y = y if x > 0.5 else 0.0 - y
    y = y if x > 0.0 and x < 1.0 else nan
    y = -inf if x == 0.0 else y
    return inf if x == 1.0 else y


def half_turn(x: f64):
    """sin and cos of pi f, where f = x - rint(x), f, and whether x is a whole number."""
    f = x - rint(x)
    r = 1.5707963267948966 * f
    z = r * r
    s = fma(horner(z, -0.1666666666666663, 0.008333333333321856, -0.00019841269829379423, 2.755731354789109e-06,
                   -2.505073611357723e-08, 1.5895545082151844e-10), z * r, r)
    c = fma(horner(z, 0.04166666666666659, -0.0013888888888872282, 2.4801587288398975e-05, -2.7557314054966115e-07,
                   2.08756845935998e-09, -1.1357720896521112e-11), z * z, fma(z, -0.5, 1.0))
    return 2.0 * s * c, (c - s) * (c + s), f


def lgamma(x: f64):
    """Stirling's series at z + 8 less the logarithm of z (z + 1) ... (z + 7) where z < 8; z = 1 - x by reflection where x < 1/2.

    The error is below 4 ulp or, where |lgamma| < 20, 8e-15."""
    a = abs(x)
    flip = x < 0.5
    z = 1.0 - x if flip else x
    shift = z < 8.0
    t = z * (z + 7.0)
    product = t * (t + 6.0) * ((t + 10.0) * (t + 12.0)) if shift else 1.0
    w = z + 8.0 if shift else z
    i = 1.0 / w
    series = i * horner(i * i, 0.08333333333333333, -0.002777777777777778, 0.0007936507936507937, -0.0005952380952380953,
                        0.0008417508417508417, -0.0019175269175269176, 0.00641025641025641, -0.029550653594771242)
    large = fma(w - 0.5, log(w) - 1.0, series + 0.4189385332046727)
    s, c, f = half_turn(x)
    tiny = a < 1e-100
    mirrored = 3.141592653589793 * product / abs(s)
    l = log(a if tiny else mirrored if flip else product)
    y = l - large if flip else large - l
    y = -l if tiny else y
    y = inf if flip and f == 0.0 else y
    y = 0.0 if x == 1.0 or x == 2.0 else y
    return inf if a == inf else y


def digamma(x: f64):
    """The asymptotic series at z + 8 less the sum of 1 / (z + k) where z < 8; z = 1 - x by reflection where x < 1/2.

    The error is below 4 ulp or, near the zeros, 4e-15 (1 + |pi cot(pi x)|). NaN at negative whole numbers."""
    flip = x < 0.5
    z = 1.0 - x if flip else x
    shift = z < 8.0
    t = z * (z + 7.0)
    t1 = t * (t + 6.0)
    t2 = (t + 10.0) * (t + 12.0)
    total = (2.0 * z + 7.0) * (fma(2.0 * t + 6.0, t2, (2.0 * t + 22.0) * t1) / (t1 * t2))
    w = z + 8.0 if shift else z
    i = 1.0 / w
    q = i * i
    series = q * horner(q, 0.08333333333333333, -0.008333333333333333, 0.003968253968253968, -0.004166666666666667, 0.007575757575757576,
                        -0.021092796092796094, 0.08333333333333333, -0.4432598039215686, 3.0539543302701198)
    y = log(w) - fma(0.5, i, series) - (total if shift else 0.0)
    s, c, f = half_turn(x)
    y = y - 3.141592653589793 * (c / s) if flip else y
    y = nan if flip and f == 0.0 else y
    return -1.0 / x if abs(x) < 1e-17 else y


def lgamma(x: f32):
    return f32(lgamma(f64(x)))


def digamma(x: f32):
    return f32(digamma(f64(x)))


def pow(x: f32, y: f32):
    """e^(y log|x|) in float64, and the special cases of C's pow."""
    a = f64(abs(x))
    e = f64(y)
    l = rough_log(a)
    l = -inf if a == 0.0 else l
    l = inf if a == inf else l
    t = 0.0 if a == 1.0 else e * l
    t = -200.0 if t < -200.0 else t
    t = 200.0 if t > 200.0 else t
    p = f32(rough_exp(t))
    p = inf if t == 200.0 else p
    return pow_sign(x, y, p)


def log_pair(x: f64):
    """The logarithm of a positive finite x as a sum of two numbers, to about 2^-66 of its value.

    log(m) = 2s + (2/3) s^3 + ..., with s = f / (2 + f) and the first two terms carried in pairs."""
    small = x < 2.2250738585072014e-308
    i = bitcast(x * 18014398509481984.0 if small else x, i64) - 0x3FE6A09E667F3BCD
    f = bitcast((i & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD, f64) - 1.0
    e = f64(i32(i >> 52)) - (54.0 if small else 0.0)
    d = 2.0 + f
    dl = f - (d - 2.0)
    inverse = 1.0 / d
    s = f * inverse
    sl = fma(-s, dl, fma(-s, d, f)) * inverse
    z = s * s
    zl = fma(2.0 * s, sl, fma(s, s, -z))
    w = s * z
    wl = fma(sl, z, fma(s, zl, fma(s, z, -w)))
    c = fma(w, 0.6666666666666666, 0.0)
    cl = fma(w, 3.700743415417188e-17, fma(wl, 0.6666666666666666, fma(w, 0.6666666666666666, -c)))
    rest = w * z * horner(z, 0.40000000000002284, 0.28571428570085855, 0.22222222522446777, 0.18181784140025686, 0.15386768066721287,
                          0.13256561672434963, 0.1319875958213121)
    n = e * 0.6931471803691238
    g = 2.0 * s
    h = n + g
    hl = g - (h - n) if e != 0.0 else 0.0
    k = h + c
    kl = c - (k - h)
    low = fma(e, 1.9082149292705877e-10, fma(2.0, sl, cl + rest)) + (hl + kl)
    y = k + low
    return y, low - (y - k)


def pow(x: f64, y: f64):
    a = abs(x)
    hi, low = log_pair(a)
    hi = -inf if a == 0.0 else hi
    hi = inf if a == inf else hi
    e = 0.0 if a == 1.0 else y
    t = e * hi
    tl = fma(e, low, fma(e, hi, -t))
    c = -750.0 if t < -750.0 else t
    c = 750.0 if c > 750.0 else c
    p = exp_of(c, tl if abs(t) < 750.0 else 0.0)
    return pow_sign(x, y, p)
'''

_BOTH = '''
def nextafter(x: real, y: real):
    """One more or one less in the bits, which count away from zero."""
    i = bitcast(x, whole)
    away = (y > x) == (x > 0.0)
    next = copysign(least, y) if x == 0.0 else bitcast(i + 1 if away else i - 1, real)
    z = y if x == y else next
    return x + y if isnan(x) or isnan(y) else z


def pow_sign(x: real, y: real, p: real):
    """x^y from p = |x|^y."""
    h = 0.5 * y
    whole = rint(y) == y
    odd = whole and rint(h) != h
    negative = copysign(1.0, x) < 0.0
    p = nan if x < 0.0 and x > -inf and not whole else p
    p = -p if odd and negative else p
    p = x + y if isnan(x) or isnan(y) else p
    return 1.0 if x == 1.0 or y == 0.0 else p
'''

SPECIAL = (
    _KERNELS
    + _BOTH.replace("real", "f32").replace("whole)", "i32)").replace("least", "1e-45")
    + _BOTH.replace("real", "f64").replace("whole)", "i64)").replace("least", "5e-324")
)
