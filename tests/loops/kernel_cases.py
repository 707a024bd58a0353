"""Kernels that every way of running the loop language must agree on: name -> (text, sizes)."""

from __future__ import annotations

CASES: dict[str, tuple[str, dict[str, int]]] = {}


def case(name: str, text: str, **sizes: int) -> None:
    CASES[name] = text, sizes


case("elementwise", """\
def f(x: f32[N], y: f32[N], z: out[f32[N]], N: size):
    for i in vector(N):
        z[i] = (x[i] + y[i]) * (x[i] - 2.0) / 3.0
""", N=37)  # fmt: skip
case("broadcast", """\
def f(x: f32[5, 1, 7], y: f32[3, 1], z: out[f32[5, 3, 7]]):
    for i in parallel(5):
        for j in serial(3):
            for k in vector(7):
                z[i, j, k] = x[i, 0, k] * y[j, 0]
""")  # fmt: skip
case("activations", """\
def f(x: f32[N], a: out[f32[N]], b: out[f32[N]], c: out[f32[N]], N: size):
    for i in vector(N):
        e: f32 = exp(x[i])
        a[i] = x[i] if x[i] > 0.0 else 0.5 * (e - 1.0)
        b[i] = tanh(x[i]) + sigmoid(x[i]) * log(e + 1.0)
        c[i] = max(x[i], 0.0) + min(x[i], 1.0) + rsqrt(abs(x[i]) + 1.0)
""", N=70)  # fmt: skip
case("float64", """\
def f(x: f64[N], y: out[f64[N]], N: size):
    for i in vector(N):
        y[i] = exp(x[i]) + tanh(x[i]) * log(abs(x[i]) + 0.5) - floor(x[i])
""", N=33)  # fmt: skip
case("inner_sum", """\
def f(x: f32[M, N], y: out[f32[M]], M: size, N: size):
    for i in parallel(M):
        acc: f32 = 0.0
        for j in vector(N):
            acc += x[i, j]
        y[i] = acc / f32(N)
""", M=9, N=130)  # fmt: skip
case("outer_sum", """\
def f(x: f32[M, 12], y: out[f32[12]], M: size):
    for j in vector(12):
        y[j] = 0.0
    for i in serial(M):
        for j in vector(12):
            y[j] += x[i, j]
""", M=21)  # fmt: skip
case("empty_sum", """\
def f(x: f32[M, N], y: out[f32[M]], z: out[f32[M]], M: size, N: size):
    for i in parallel(M):
        acc: f32 = 0.0
        top: f32 = -inf
        for j in vector(N):
            acc += x[i, j]
            top = max(top, x[i, j])
        y[i] = acc
        z[i] = top
""", M=3, N=0)  # fmt: skip
case("all_reductions", """\
def f(x: f32[40], n: i32[40], b: bool[40], o: out[f32[4]], m: out[i32[5]], c: out[bool[2]]):
    s: f32 = 0.0
    p: f32 = 1.0
    lo: f32 = inf
    hi: f32 = -inf
    t: i32 = 0
    q: i32 = 1
    least: i32 = 2147483647
    bits: i32 = -1
    some: i32 = 0
    every: bool = True
    any_: bool = False
    for i in vector(40):
        s += x[i]
        p *= 0.5 + x[i] * 0.1
        lo = min(lo, x[i])
        hi = max(hi, x[i])
        t += n[i]
        q *= n[i]
        least = min(least, n[i])
        bits &= n[i]
        some |= n[i]
        every &= b[i]
        any_ |= b[i]
    o[0] = s
    o[1] = p
    o[2] = lo
    o[3] = hi
    m[0] = t
    m[1] = q
    m[2] = least
    m[3] = bits
    m[4] = some
    c[0] = every
    c[1] = any_
""")  # fmt: skip
case("softmax", """\
def f(x: f32[M, 19], y: out[f32[M, 19]], M: size):
    for i in parallel(M):
        top: f32 = -inf
        for j in vector(19):
            top = max(top, x[i, j])
        s: f32 = 0.0
        for j in vector(19):
            e: f32 = exp(x[i, j] - top)
            s += e
            y[i, j] = e
        for j in vector(19):
            y[i, j] = y[i, j] / s
""", M=6)  # fmt: skip
case("argmax", """\
def f(x: f32[M, 19], y: out[i64[M]], M: size):
    for i in parallel(M):
        top: f32 = -inf
        at: i64 = 0
        for j in serial(19):
            if x[i, j] > top:
                at = j
                top = x[i, j]
        y[i] = at
""", M=6)  # fmt: skip
case("strided", """\
def f(x: f32[N, 30], y: out[f32[N, 10]], z: out[f32[30, N]], N: size):
    for i in parallel(N):
        for j in vector(10):
            y[i, j] = x[N - 1 - i, 3 * j + 2]
        for j in vector(30):
            z[j, i] = x[i, j]
""", N=7)  # fmt: skip
case("reshape", """\
def f(x: f32[4, 6, 5], y: out[f32[8, 15]]):
    for i in parallel(8):
        for j in vector(15):
            y[i, j] = x[(i * 15 + j) // 30, (i * 15 + j) // 5 % 6, (i * 15 + j) % 5]
""")  # fmt: skip
case("gather", """\
def f(x: f32[9, 4], k: i32[N], y: out[f32[N, 4]], N: size):
    for i in parallel(N):
        for j in vector(4):
            y[i, j] = x[i64(k[i] % 9), j]
""", N=15)  # fmt: skip
case("pad", """\
def f(x: f32[N], y: out[f32[N + 5]], w: f32[3], z: out[f32[N]], N: size):
    for i in vector(N + 5):
        y[i] = guarded(i >= 2 and i < N + 2, x[i - 2], -1.0)
    for i in parallel(N):
        acc: f32 = 0.0
        for k in unroll(3):
            acc += w[k] * guarded(0 <= i + k - 1 and i + k - 1 < N, x[i + k - 1], 0.0)
        z[i] = acc
""", N=23)  # fmt: skip
case("scatter", """\
def f(x: f32[N], k: i32[N], y: inout[f32[7]], m: inout[f32[7]], N: size):
    for i in serial(N):
        y[i64(k[i] % 7)] += x[i]
        m[i64(k[i] % 7)] = max(m[i64(k[i] % 7)], x[i])
""", N=40)  # fmt: skip
case("newton", """\
def f(x: f64[N], y: out[f64[N]], n: out[i32[N]], N: size):
    for i in parallel(N):
        r: f64 = 1.0
        steps: i32 = 0
        while abs(r * r - abs(x[i])) > 1e-09 and steps < 50:
            r = 0.5 * (r + abs(x[i]) / r)
            steps += 1
        y[i] = r
        n[i] = steps
""", N=5)  # fmt: skip
case("half", """\
def f(x: f16[N], y: bf16[N], a: out[f16[N]], b: out[bf16[N]], c: out[f32[N]], N: size):
    for i in vector(N):
        a[i] = x[i] * 3.0 + f16(y[i])
        b[i] = exp(y[i]) - bf16(x[i])
        c[i] = f32(x[i]) + f32(y[i]) * 0.1
""", N=45)  # fmt: skip
case("integers", """\
def f(a: i32[N], b: i32[N], u: u32[N], v: u8[N], o: out[i32[12, N]], w: out[u32[4, N]], z: out[u8[3, N]], N: size):
    for i in vector(N):
        o[0, i] = a[i] // b[i]
        o[1, i] = a[i] % b[i]
        o[2, i] = truncdiv(a[i], b[i])
        o[3, i] = rem(a[i], b[i])
        o[4, i] = abs(a[i]) - -b[i]
        o[5, i] = a[i] << (b[i] & 7)
        o[6, i] = a[i] >> 3
        o[7, i] = a[i] & b[i] | a[i] ^ ~b[i]
        o[8, i] = a[i] // 7 + a[i] % 7
        o[9, i] = min(a[i], b[i]) * max(a[i], b[i])
        o[10, i] = a[i] if a[i] != b[i] else 5
        o[11, i] = pow(a[i], abs(b[i]) % 5)
        w[0, i] = mulhi_u32(u[i], 3528531795)
        w[1, i] = u[i] * 3449720151 >> 7
        w[2, i] = popcount(u[i]) + u32(a[i])
        w[3, i] = u[i] // 10 + u[i] % 10
        z[0, i] = v[i] + 200
        z[1, i] = v[i] // 3
        z[2, i] = v[i] << 5
""", N=50)  # fmt: skip
case("int64", """\
def f(a: i64[N], b: i64[N], o: out[i64[3, N]], N: size):
    for i in vector(N):
        o[0, i] = a[i] * 6364136223846793005 + b[i]
        o[1, i] = a[i] // b[i]
        o[2, i] = a[i] % b[i]
""", N=20)  # fmt: skip
case("bools", """\
def f(a: bool[N], b: bool[N], x: f32[N], o: out[bool[6, N]], n: out[i32[N]], N: size):
    for i in vector(N):
        o[0, i] = a[i] and not b[i]
        o[1, i] = a[i] ^ b[i]
        o[2, i] = x[i] > 0.0 or b[i]
        o[3, i] = a[i] == b[i]
        o[4, i] = isnan(x[i]) or isfinite(x[i])
        o[5, i] = bool(x[i])
        n[i] = i32(a[i]) + i32(x[i] < 0.5)
""", N=30)  # fmt: skip
case("casts", """\
def f(x: f32[N], n: i32[N], a: out[i32[N]], b: out[f64[N]], c: out[i8[N]], d: out[i64[N]], e: out[f32[N]], g: out[i32[N]], N: size):
    for i in vector(N):
        a[i] = i32(x[i] * 100.0)
        b[i] = f64(x[i]) + f64(n[i])
        c[i] = i8(n[i])
        d[i] = i64(x[i]) - i64(n[i])
        e[i] = f32(n[i]) + f32(i)
        g[i] = bitcast(x[i], i32)
""", N=30)  # fmt: skip
case("rounding", """\
def f(x: f32[N], y: f32[N], o: out[f32[8, N]], N: size):
    for i in vector(N):
        o[0, i] = floor(x[i])
        o[1, i] = ceil(x[i])
        o[2, i] = rint(x[i] * 2.0)
        o[3, i] = trunc(x[i])
        o[4, i] = x[i] % y[i]
        o[5, i] = rem(x[i], y[i])
        o[6, i] = x[i] // y[i]
        o[7, i] = copysign(x[i], y[i])
""", N=40)  # fmt: skip
case("triangle", """\
def f(x: f32[N, N], y: out[f32[N]], N: size):
    for i in parallel(N):
        acc: f32 = 0.0
        for j in vector(i + 1):
            acc += x[i, j]
        y[i] = acc
""", N=17)  # fmt: skip
case("branches", """\
def f(x: f32[N], y: out[f32[N]], t: inout[f32], N: size):
    for i in serial(N):
        if x[i] > 0.5:
            y[i] = 1.0
            t[()] += x[i]
        else:
            if x[i] < -0.5:
                y[i] = -1.0
            else:
                y[i] = 0.0
""", N=31)  # fmt: skip
case("one_iteration", """\
def f(x: f32[1, 4], y: out[f32[4]]):
    for i in parallel(1):
        for j in unroll(4):
            y[j] = x[i, j] * 2.0
""")  # fmt: skip
for m, k, n in ((8, 5, 32), (3, 7, 10), (1, 4, 1), (13, 16, 45), (30, 9, 67), (2, 3, 4), (5, 0, 20)):
    case(f"product_{m}_{k}_{n}", f"""\
def f(x: f32[{m}, {k}], w: f32[{k}, {n}], y: out[f32[{m}, {n}]]):
    for i, j in tiles({m}, {n}):
        acc: f32 = sum(x[i, k] * w[k, j] for k in serial({k}))
        y[i, j] = acc
""")  # fmt: skip
for m, k, n in ((29, 11, 53), (4, 3, 2), (0, 3, 5), (16, 8, 32)):
    case(f"product_symbolic_{m}_{k}_{n}", """\
def f(x: f32[M, K], w: f32[K, N], b: f32[N], y: out[f32[M, N]], M: size, K: size, N: size):
    for i, j in tiles(M, N):
        acc: f32 = sum(x[i, k] * w[k, j] for k in serial(K))
        y[i, j] = max(acc + b[j], 0.0)
""", M=m, K=k, N=n)  # fmt: skip
case("product_transposed", """\
def f(x: f32[K, 13], w: f32[K, 21], y: inout[f32[13, 21]], K: size):
    for i, j in tiles(13, 21):
        acc: f32 = sum(x[k, i] * w[k, j] for k in serial(K))
        y[i, j] += 0.5 * acc
""", K=18)  # fmt: skip
case("product_strided_right", """\
def f(x: f32[6, 9], w: f32[19, 9], y: out[f32[6, 19]]):
    for i, j in tiles(6, 19):
        acc: f32 = sum(x[i, k] * w[j, k] for k in serial(9))
        y[i, j] = acc
""")  # fmt: skip
case("product_batched", """\
def f(x: f32[B, 5, 6], w: f32[B, 6, 18], y: out[f32[B, 5, 18]], B: size):
    for b in parallel(B):
        for i, j in tiles(5, 18):
            acc: f32 = sum(x[b, i, k] * w[b, k, j] for k in serial(6))
            y[b, i, j] = acc
""", B=3)  # fmt: skip
case("product_blocks", """\
def f(x: f32[M, 6], w: f32[6, 18], y: out[f32[M, 18]], M: size):
    for b in parallel((M + 7) // 8):
        for i, j in tiles(min(8, M - 8 * b), 18):
            acc: f32 = sum(x[8 * b + i, k] * w[k, j] for k in serial(6))
            y[8 * b + i, j] = acc
""", M=21)  # fmt: skip
case("product_convolution", """\
def f(x: f32[N, 3], w: f32[4, 3, 20], y: out[f32[N, 20]], N: size):
    for i, j in tiles(N, 20):
        acc: f32 = sum(guarded(i + k // 3 - 1 >= 0 and i + k // 3 - 1 < N, x[i + k // 3 - 1, k % 3], 0.0) * w[k // 3, k % 3, j] for k in serial(12))
        y[i, j] = acc
""", N=11)  # fmt: skip
case("product_epilogue", """\
def f(x: f32[M, 8], w: f32[8, N], b: f32[N], p: i32[N], m: bool[M, N], y: out[f32[M, N]], z: inout[f32[M]], t: inout[f32], M: size, N: size):
    total: f32 = 0.0
    for i, j in tiles(M, N):
        acc: f32 = sum(x[i, k] * exp(w[k, j]) for k in serial(8))
        h: f32 = tanh(acc * 0.1 + b[i64(p[j] % i32(N))])
        y[i, j] = h if m[i, j] and j <= i else guarded(j > 0, y[i, j - 1], 0.0) * 0.0 - f32(j)
        z[i] += h
        total += h * h
    t[()] += total
""", M=13, N=37)  # fmt: skip
case("product_if", """\
def f(x: f32[M, 8], w: f32[8, N], y: inout[f32[M, N]], M: size, N: size):
    for i, j in tiles(M, N):
        acc: f32 = sum(x[i, k] * w[k, j] for k in serial(8))
        if acc > 0.0 and i < j:
            y[i, j] += acc
        else:
            y[i, j] = -acc
""", M=9, N=40)  # fmt: skip
case("product_unvectorisable", """\
def f(x: f32[9, 8], w: f32[8, 20], y: inout[f32[20, 9]]):
    for i, j in tiles(9, 20):
        acc: f32 = sum(x[i, k] * w[k, j] for k in serial(8))
        y[j, i] = acc
""")  # fmt: skip
case("product_f64", """\
def f(x: f64[9, 8], w: f64[8, 20], y: inout[f64[9, 20]]):
    for i, j in tiles(9, 20):
        acc: f64 = sum(x[i, k] * w[k, j] for k in serial(8))
        y[i, j] = acc
""")  # fmt: skip
case("product_half", """\
def f(x: bf16[9, 8], w: bf16[8, 20], v: f16[8, 20], y: out[bf16[9, 20]], z: out[f16[9, 20]]):
    for i, j in tiles(9, 20):
        acc: bf16 = sum(x[i, k] * w[k, j] for k in serial(8))
        y[i, j] = acc
    for i, j in tiles(9, 20):
        acc: f16 = sum(f16(x[i, k]) * v[k, j] for k in serial(8))
        z[i, j] = acc
""")  # fmt: skip
case("product_int", """\
def f(x: i32[9, 8], w: i32[8, 20], y: out[i32[9, 20]]):
    for i, j in tiles(9, 20):
        acc: i32 = sum(x[i, k] * w[k, j] for k in serial(8))
        y[i, j] = acc
""")  # fmt: skip
case("product_one_column", """\
def f(x: f32[K, 45], w: f32[K], v: f32[45, K], y: out[f32[45]], z: out[f32[45, 1]], K: size):
    for i, j in tiles(45, 1):
        acc: f32 = sum(x[k, i] * w[k] for k in serial(K))
        y[i] = acc + f32(i)
    for i, j in tiles(45, 1):
        acc: f32 = sum(v[i, k] * w[k] for k in serial(K))
        z[i, j] = acc
""", K=9)  # fmt: skip
case("scalars_named_like_buffers", """\
def f(x: f32[M, 8], h: inout[f32[M, 20]], w: f32[8, 20], s: out[f32[M]], M: size):
    for i, j in tiles(M, 20):
        h: f32 = sum(x[i, k] * w[k, j] for k in serial(8))
        w: f32 = h + w[0, j]
        h[i, j] += w
    for i in parallel(M):
        s: f32 = 0.0
        for x in vector(i + 1):
            s += h[i, 0] * x[x, 0] + f32(x)
        s[i] = s
""", M=7)  # fmt: skip
