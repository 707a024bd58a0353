"""sin, cos, tan, asin, acos, atan and atan2.

sin, cos and tan of float32 are right for every argument: the turns x / 2 pi are taken in float64 with as many bits of 1 / 2 pi as
matter. Those of float64 subtract a multiple of pi / 2 in three fused steps, which is right for |x| <= 2^45; larger arguments are beyond
their `scalar_math.REACH`.
"""

_KERNELS = '''
def quarter_turns(x: f64):
    """r, q with x = r + q pi / 2 (q modulo 4), |r| <= pi / 4, for x that was a float32."""
    large = abs(x) >= 1152921504606846976.0
    c0 = 3.2437010161333668e-12 if large else 0.15915494309189535
    c1 = -1.4528344661265417e-28 if large else -9.839338337591243e-18
    c2 = 6.551007954373285e-45 if large else -5.360718141446502e-34
    p = x * c0
    pe = fma(x, c0, -p)
    m = x * c1
    me = fma(x, c1, -m)
    a = p - rint(p)
    b = pe - rint(pe)
    b = b + ((m - rint(m)) + fma(x, c2, me))
    t = fma(a + b, 4.0, 6755399441055744.0)
    r = fma(t - 6755399441055744.0, -0.25, a) + b
    return 6.283185307179586 * r, bitcast(t, i64)


def sin_cos(x: f32):
    """sin and cos of r, and the quarter turn, of x."""
    wide, turns = quarter_turns(f64(x))
    r = f32(wide)
    z = r * r
    s = fma(horner(z, -0.16666654, 0.008332118, -0.00019510425), z * r, r)
    c = fma(horner(z, 0.041666646, -0.0013887308, 2.4432109e-05), z * z, fma(z, -0.5, 1.0))
    return s, c, i32(turns)


def sin_cos(x: f64):
    t = fma(x, 0.6366197723675814, 6755399441055744.0)
    n = t - 6755399441055744.0
    r = fma(n, 1.4973849048591698e-33, fma(n, -6.123233995736766e-17, fma(n, -1.5707963267948966, x)))
    z = r * r
    s = fma(horner(z, -0.1666666666666663, 0.008333333333321856, -0.00019841269829379423, 2.755731354789109e-06,
                   -2.505073611357723e-08, 1.5895545082151844e-10), z * r, r)
    h = 0.5 * z
    w = 1.0 - h
    c = w + fma(horner(z, 0.04166666666666659, -0.0013888888888872282, 2.4801587288398975e-05, -2.7557314054966115e-07,
                       2.08756845935998e-09, -1.1357720896521112e-11), z * z, (1.0 - w) - h)
    return s, c, bitcast(t, i64)


def sin(x: f32):
    s, c, q = sin_cos(x)
    y = c if (q & 1) != 0 else s
    return x if abs(x) < 1e-5 else bitcast(bitcast(y, i32) ^ (q & 2) << 30, f32)


def sin(x: f64):
    s, c, q = sin_cos(x)
    y = c if (q & 1) != 0 else s
    return x if abs(x) < 1e-9 else bitcast(bitcast(y, i64) ^ (q & 2) << 62, f64)


def cos(x: f32):
    s, c, q = sin_cos(x)
    y = s if (q & 1) != 0 else c
    return bitcast(bitcast(y, i32) ^ (q + 1 & 2) << 30, f32)


def cos(x: f64):
    s, c, q = sin_cos(x)
    y = s if (q & 1) != 0 else c
    return bitcast(bitcast(y, i64) ^ (q + 1 & 2) << 62, f64)


def half_pi_low(x: f32):
    return -4.3711390e-8


def half_pi_low(x: f64):
    return 6.123233995736766e-17


def asin_tail(z: f32):
    """(asin(a) - a) / a^3 with z = a^2 <= 1/4."""
    return horner(z, 0.16666752, 0.0749531, 0.045469016, 0.02418557, 0.0421568)


def asin_tail(z: f64):
    return horner(z, 0.1666666666666676, 0.07499999999970981, 0.04464285717437609, 0.030381942721427635, 0.022372214551610373,
                  0.017351620575414377, 0.013980711033893438, 0.011399852556964723, 0.010774786395071668, 0.0037276428781936447,
                  0.021654646556745986, -0.020923054817174637, 0.03258044354783544)


def atan_tail(z: f32):
    """(atan(a) - a) / a^3 with z = a^2 <= 1."""
    return horner(z, -0.333333, 0.19998534, -0.142641, 0.10951468, -0.08401409, 0.057923395, -0.03114443, 0.010896992, -0.0017897522)


def atan_tail(z: f64):
    return horner(z, -0.3333333333333307, 0.1999999999995178, -0.14285714282590956, 0.11111111007449177, -0.09090907010032286,
                  0.07692279918449102, -0.06666404689870167, 0.05880531528047348, -0.05253534974323066, 0.047223778085305416,
                  -0.04219324589168244, 0.036644880332185326, -0.029908575023428485, 0.02199066355313092, -0.01390605098368138,
                  0.00720040617492338, -0.0028869364171254597, 0.0008320379280941977, -0.00015231677308990304, 1.3240775338093152e-05)
'''

_BOTH = '''
def tan(x: real):
    s, c, q = sin_cos(x)
    odd = (q & 1) != 0
    y = (-c if odd else s) / (s if odd else c)
    return x if abs(x) < 1e-9 else y


def asin(x: real):
    """Beyond 1/2: pi / 2 - 2 asin(sqrt((1 - x) / 2))."""
    a = abs(x)
    large = a > 0.5
    z = 0.5 - 0.5 * a if large else a * a
    s = sqrt(z) if large else a
    y = fma(asin_tail(z), z * s, s)
    return copysign(fma(-2.0, y, half_pi_low(x)) + 1.5707963267948966 if large else y, x)


def acos(x: real):
    a = abs(x)
    large = a > 0.5
    z = 0.5 - 0.5 * a if large else a * a
    s = sqrt(z) if large else x
    y = fma(asin_tail(z), z * s, s)
    middle = 1.5707963267948966 - (y - half_pi_low(x))
    outer = fma(-2.0, y - half_pi_low(x), 3.141592653589793) if x < 0.0 else 2.0 * y
    return outer if large else middle


def atan(x: real):
    a = abs(x)
    large = a > 1.0
    t = (-1.0 if large else a) / (a if large else 1.0)
    z = t * t
    y = fma(atan_tail(z), z * t, t)
    return copysign(1.5707963267948966 + (y + half_pi_low(x)) if large else y, x)


def atan2(y: real, x: real):
    a = abs(y)
    b = abs(x)
    steep = b < a
    top = b if steep else a
    bottom = a if steep else b
    ratio = 1.0 if top == bottom else top / bottom
    t = 0.0 if bottom == 0.0 and top == 0.0 else ratio
    z = t * t
    low = half_pi_low(x)
    w = fma(atan_tail(z), z * t, t)
    w = 1.5707963267948966 - (w - low) if steep else w
    return copysign(3.141592653589793 - (w - 2.0 * low) if copysign(1.0, x) < 0.0 else w, y)
'''

TRIGONOMETRIC = _KERNELS + _BOTH.replace("real", "f32") + _BOTH.replace("real", "f64")
