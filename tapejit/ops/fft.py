"""Fast Fourier transforms of pairs of real numbers along one axis, as loop nests: for every length in O(n log n) operations.

A length whose prime factors are small goes through Stockham's algorithm: a stage per factor, each of which reads one array and writes
another in an order that needs no permutation (C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", 1992). Any
other length becomes a convolution of such a length (L. Bluestein, 1970). Tables of roots of unity are computed in float64 when the step
is planned. Inner loops run along memory: over the butterflies of a stage, or over the axis behind the one transformed.

The inverse transform is the forward one with real and imaginary parts exchanged on the way in and out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import For, If, Let, Stmt
from tapejit.ops.shapes import unravel

PRIMES = (13, 11, 7, 5, 3)  # odd factors that have a stage; a larger one makes the transform a convolution
LANES = 64  # elements of the axis behind that are transformed side by side
CHUNKS = 16  # parts of the rows, each of which works in scratch memory of its own
Number = tuple[Expr, Expr]  # a complex number: real and imaginary part
Access = Callable[[Expr], Number]
Put = Callable[[Expr, Number], tuple[Stmt, ...]]

int64 = dtypes.int64


def radices(n: int) -> tuple[int, ...] | None:
    """The factors of `n`, one per stage and large ones first; None if a prime factor is too large."""
    twos = (n & -n).bit_length() - 1
    n >>= twos
    odd = []
    for p in PRIMES:
        while n % p == 0:
            odd.append(p)
            n //= p
    eights, left = divmod(twos, 3)
    if left == 1 and eights:
        even = [8] * (eights - 1) + [4, 4]
    else:
        even = [8] * eights + ([1 << left] if left else [])
    return tuple(even + odd) if n == 1 else None


def convolution_length(n: int) -> int:
    """The least length of stages that holds a circular convolution of `n` and 2 n - 1 numbers, among 2^k and 3 or 5 times 2^k."""
    return min(f << max(0, (-(-(2 * n - 1) // f) - 1).bit_length()) for f in (1, 3, 5))


def _planned(n: int) -> tuple[int, tuple[int, ...]]:
    """The length that is transformed in stages, and their factors."""
    found = radices(n)
    if found is not None:
        return n, found
    longer = convolution_length(n)
    stages = radices(longer)
    assert stages is not None
    return longer, stages


# ------------------------------------------------------------------------------------------------ tables
def _stage_roots(n: int, stages: tuple[int, ...]) -> list[np.ndarray]:
    """Per stage exp(-2 pi i k p / n) for k = 1.. below the factor and p below n divided by it, n being the length that is left."""
    out = []
    for r in stages:
        m = n // r
        turns = np.outer(np.arange(1, r), np.arange(m)) % n
        out.append(np.exp(-2j * np.pi * turns / n) if m > 1 else np.zeros((0, 0), complex))
        n = m
    return out


def _chirp(n: int) -> np.ndarray:
    """exp(-pi i k^2 / n) for k below n; k^2 counts modulo 2 n."""
    k = np.arange(n, dtype=np.int64)
    return np.exp(-1j * np.pi * (k * k % (2 * n)) / n)


def _layout(n: int) -> tuple[int, tuple[int, ...], list[int], int, int, int]:
    """The length in stages, its factors, where the table of each begins, where chirp and kernel begin, and where all end."""
    length, stages = _planned(n)
    starts, at, left = [], 0, length
    for r in stages:
        starts.append(at)
        left //= r
        at += 2 * (r - 1) * left if left > 1 else 0
    chirp = at
    kernel = chirp + (2 * n if length != n else 0)
    return length, stages, starts, chirp, kernel, kernel + (2 * length if length != n else 0)


class FFTTable(Op):
    """The roots of unity that a transform of `n` numbers multiplies by, stage after stage; real parts before imaginary ones."""

    name = "fft_table"
    no_gradient = True

    def infer(self, *, n: int, dtype: DType) -> Type:
        return Type(dtype, (_layout(n)[-1],))

    def eager(self, *, n: int, dtype: DType) -> Any:
        length, stages, *_ = _layout(n)
        rows = [row for table in _stage_roots(length, stages) for row in table]
        if length != n:
            chirp = _chirp(n)
            kernel = np.zeros(length, complex)
            kernel[:n] = chirp.conj()
            kernel[length - n + 1 :] = chirp.conj()[:0:-1]
            rows += [chirp, np.fft.fft(kernel) / length]
        parts = [part for row in rows for part in (row.real, row.imag)]
        return np.concatenate(parts).astype(dtype.np) if parts else np.zeros(0, dtype.np)

    def samples(self, draw: Any) -> Iterator[Any]:
        for n in (1, 8, 12, 34):
            for dtype in (dtypes.float32, dtypes.float64):
                yield (), {"n": n, "dtype": dtype}


# ------------------------------------------------------------------------------------------------ butterflies
class _Lines:
    """Statements that give values names, so that each is computed once."""

    def __init__(self, prefix: str) -> None:
        self.body: list[Stmt] = []
        self.prefix = prefix

    def __call__(self, value: Expr) -> Expr:
        name = f"{self.prefix}{len(self.body)}"
        self.body.append(Let(name, value))
        return expr.Var(value.dtype, name)

    def add(self, a: Number, b: Number) -> Number:
        return self(a[0] + b[0]), self(a[1] + b[1])

    def sub(self, a: Number, b: Number) -> Number:
        return self(a[0] - b[0]), self(a[1] - b[1])

    def mul(self, a: Number, b: Number) -> Number:
        return self(a[0] * b[0] - a[1] * b[1]), self(a[0] * b[1] + a[1] * b[0])

    def bound(self, a: Number) -> Number:
        return self(a[0]), self(a[1])

    def plus_i(self, a: Number, b: Number) -> Number:
        """a + i b."""
        return self(a[0] - b[1]), self(a[1] + b[0])

    def minus_i(self, a: Number, b: Number) -> Number:
        """a - i b."""
        return self(a[0] + b[1]), self(a[1] - b[0])

    def transform(self, a: list[Number]) -> list[Number]:
        """The transform of 2, 4, 8 or an odd number of values."""
        if len(a) == 2:
            return [self.add(*a), self.sub(*a)]
        if len(a) == 4:
            s, d, t, u = self.add(a[0], a[2]), self.sub(a[0], a[2]), self.add(a[1], a[3]), self.sub(a[1], a[3])
            return [self.add(s, t), self.minus_i(d, u), self.sub(s, t), self.plus_i(d, u)]
        if len(a) == 8:
            return self._eight(self.transform(a[::2]), self.transform(a[1::2]))
        return self._odd(a)

    def _eight(self, even: list[Number], odd: list[Number]) -> list[Number]:
        half = math.sqrt(0.5)
        first = (self((odd[1][0] + odd[1][1]) * half), self((odd[1][1] - odd[1][0]) * half))
        third = (self((odd[3][1] - odd[3][0]) * half), self((odd[3][0] + odd[3][1]) * half))  # the imaginary part is minus that
        return [
            self.add(even[0], odd[0]), self.add(even[1], first), self.minus_i(even[2], odd[2]),
            (self(even[3][0] + third[0]), self(even[3][1] - third[1])),
            self.sub(even[0], odd[0]), self.sub(even[1], first), self.plus_i(even[2], odd[2]),
            (self(even[3][0] - third[0]), self(even[3][1] + third[1])),
        ]  # fmt: skip

    def _odd(self, a: list[Number]) -> list[Number]:
        """By sums and differences of values that are conjugate to each other."""
        r = len(a)
        sums = [self.add(a[k], a[r - k]) for k in range(1, (r + 1) // 2)]
        differences = [self.sub(a[k], a[r - k]) for k in range(1, (r + 1) // 2)]
        total = a[0]
        for s in sums:
            total = self.add(total, s)
        out: list[Number] = [total] * r
        for j in range(1, (r + 1) // 2):
            even, odd = a[0], None
            for k, (s, d) in enumerate(zip(sums, differences, strict=True), 1):
                turn = 2 * math.pi * (j * k % r) / r
                c, w = math.cos(turn), math.sin(turn)
                even = self(even[0] + s[0] * c), self(even[1] + s[1] * c)
                odd = (d[0] * w, d[1] * w) if odd is None else (odd[0] + d[0] * w, odd[1] + d[1] * w)
                odd = self.bound(odd)
            assert odd is not None
            out[j], out[r - j] = self.minus_i(even, odd), self.plus_i(even, odd)
        return out


def _var(name: str) -> Expr:
    return expr.Var(int64, name)


def _stage(
    r: int, m: int, s: int, roots: tuple[Any, int], get: Access, put: Put, lanes: Callable[[tuple[Stmt, ...]], tuple[Stmt, ...]] | None
) -> Stmt:
    """One stage: for every p below `m` and q below `s` the transform of the `r` numbers at q + s (p + m k), times roots of unity, to
    q + s (r p + k). `lanes` puts the innermost loop around, if it is another one."""
    p, q = _var("p") if m > 1 else expr.as_expr(0), _var("q") if s > 1 else expr.as_expr(0)
    lines = _Lines("v")
    out = lines.transform([lines.bound(get((p + m * k) * s + q)) for k in range(r)])
    table, start = roots
    body: list[Stmt] = []
    for k, value in enumerate(out):
        if k and m > 1:
            at = start + 2 * (k - 1) * m
            value = lines.mul(value, (table[(p + at,)], table[(p + (at + m),)]))
        body += put((p * r + k) * s + q, value)
    inner: tuple[Stmt, ...] = (*lines.body, *body)
    if lanes is not None:
        inner = lanes(inner)
    along_p = lanes is None and s == 1
    if s > 1:
        inner = (For("q", s, "vector" if lanes is None else "serial", inner),)
    return For("p", m, "vector" if along_p else "serial", inner) if m > 1 else For("p", 1, "serial", inner)


class FFTAxis(Op):
    """The Fourier transform of pairs along `axis`, times `scale`; `inverse` turns the other way round.

    Operands: pairs [..., n, ..., 2], and the table of n. The result has the pairs' type.
    """

    name = "fft_axis"
    no_gradient = True

    def infer(self, x: Type, table: Type, *, axis: int, inverse: bool = False, scale: float = 1.0) -> Type:
        if x.dtype not in (dtypes.float32, dtypes.float64) or table.dtype is not x.dtype:
            raise TypeError(f"fft_axis takes float32 or float64 pairs and a table of their dtype, got {x} and {table}")
        return x

    def eager(self, x: Any, table: Any, *, axis: int, inverse: bool = False, scale: float = 1.0) -> Any:
        z = x[..., 0] + 1j * x[..., 1]
        out = (np.fft.ifft(z, axis=axis, norm="forward") if inverse else np.fft.fft(z, axis=axis)) if z.size else z
        return (np.stack([out.real, out.imag], axis=-1) * scale).astype(x.dtype)

    def work(self, x: Type, table: Type, *, axis: int, inverse: bool = False, scale: float = 1.0) -> tuple[Type, ...]:
        n = x.shape[axis]
        assert isinstance(n, int)
        rows, block, _ = _rows(x.shape, axis)
        return (Type(x.dtype, (_chunks(rows), _planned(n)[0] * block)),) * 4

    def kernel(self, outs: Any, ins: Any, work: Any, *, axis: int, inverse: bool = False, scale: float = 1.0) -> tuple[Stmt, ...]:
        x, table = ins
        n = x.dims[axis]
        length, stages, starts, chirp, kernel, _ = _layout(n)
        rows, block, lead = _rows(x.dims, axis)
        chunk, row, lane = _var("chunk"), _var("row"), _var("lane")
        behind = axis < len(x.dims) - 2
        where = unravel(row, lead)
        re, im = (1, 0) if inverse else (0, 1)

        def place(at: Expr) -> tuple[Expr, ...]:
            if not behind:
                return (*where, at)
            return (*where[:axis], at, *where[axis:-1], where[-1] * block + lane)

        def get(at: Expr) -> Number:
            return x[(*place(at), expr.as_expr(re))], x[(*place(at), expr.as_expr(im))]

        def put(at: Expr, v: Number) -> tuple[Stmt, ...]:
            scaled = v if scale == 1 else (v[0] * scale, v[1] * scale)
            return tuple(outs[0].store((*place(at), expr.as_expr(k)), part) for k, part in zip((re, im), scaled, strict=True))

        def spot(at: Expr) -> tuple[Expr, ...]:
            return chunk, (at * block + lane if behind else at)

        def scratch(which: int) -> tuple[Access, Put]:
            a, b = work[2 * which], work[2 * which + 1]
            return (lambda at: (a[spot(at)], b[spot(at)])), (lambda at, v: (a.store(spot(at), v[0]), b.store(spot(at), v[1])))

        over_lanes: Callable[[tuple[Stmt, ...]], tuple[Stmt, ...]] | None = None
        if behind:
            width: Dim = sizes.minimum(block, x.dims[-2] - block * sizes.named("lane_block")) if x.dims[-2] != block else block

            def over_lanes(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
                return (For("lane", width, "vector", body),)

        def run(first: tuple[Access, int], last: Put, swap: bool = False) -> list[Stmt]:
            """All stages, from `first` (and scratch memory that it may be) to `last`; `swap` exchanges parts on the way."""
            out: list[Stmt] = []
            source, at = first
            left, s = length, 1
            for k, r in enumerate(stages):
                left //= r
                at = 1 - at
                target = last if k == len(stages) - 1 else scratch(at)[1]
                out.append(_stage(r, left, s, (table, starts[k]), source, target, over_lanes))
                source, s = scratch(at)[0], s * r
            return out

        body: list[Stmt] = []
        if length == n and not stages:
            body += over_lanes(put(expr.as_expr(0), get(expr.as_expr(0)))) if over_lanes else put(expr.as_expr(0), get(expr.as_expr(0)))
        elif length == n:
            body += run((get, 1), put)
        else:
            body += self._convolution(n, length, table, chirp, kernel, get, put, scratch, run, len(stages), over_lanes)
        if behind:
            body.insert(0, Let("lane_block", where[-1]))
        return _over_rows(rows, tuple(body))

    @staticmethod
    def _convolution(
        n: int, length: int, table: Any, chirp: int, kernel: int, get: Access, put: Put, scratch: Any, run: Any, count: int, over_lanes: Any
    ) -> list[Stmt]:
        """The transform as a convolution with a chirp, in stages of `length`."""
        k = _var("k")
        zero = expr.as_expr(0.0, table.dtype)

        def root(start: int, size: int) -> Number:
            return table[(k + start,)], table[(k + (start + size),)]

        def loop(extent: int, statements: Callable[[_Lines], tuple[Stmt, ...]], name: str) -> Stmt:
            lines = _Lines(name)
            stores = statements(lines)
            inner = (*lines.body, *stores)
            if over_lanes is not None:
                return For("k", extent, "serial", over_lanes(inner))
            return For("k", extent, "vector", inner)

        get0, put0 = scratch(0)
        end = count % 2  # where the stages that begin in scratch 0 leave off
        get1, put1 = scratch(end)
        begin = end  # the second run begins where the first ends
        get2, put2 = scratch((begin + count) % 2)
        out = [
            loop(n, lambda ls: put0(k, ls.mul(get(k), root(chirp, n))), "a"),
            loop(length - n, lambda ls: put0(k + n, (zero, zero)), "z"),
            *run((get0, 0), put1),
        ]

        def times_kernel(ls: _Lines) -> tuple[Stmt, ...]:
            re, im = ls.mul(ls.bound(get1(k)), root(kernel, length))
            return put1(k, (im, re))  # exchanged: the transform back

        def finish(ls: _Lines) -> tuple[Stmt, ...]:
            im, re = get2(k)
            return put(k, ls.mul((re, im), root(chirp, n)))

        return [*out, loop(length, times_kernel, "b"), *run((get1, begin), put2), loop(n, finish, "c")]

    def samples(self, draw: Any) -> Iterator[Any]:
        for k, (shape, axis) in enumerate(
            (
                ((5, 2), 0),
                ((2, 8, 2), 1),
                ((6, 3, 2), 0),
                ((2, 12, 2, 5, 2), 1),
                ((17, 2), 0),
                ((34, 70, 2), 0),
                ((1, 2), 0),
                ((0, 4, 2), 1),
            )
        ):
            for inverse in (False, True):
                table = fft_table.eager(n=shape[axis], dtype=dtypes.float32) if shape[axis] else np.zeros(0, np.float32)
                if draw.dtype is dtypes.float64:
                    table = fft_table.eager(n=shape[axis], dtype=dtypes.float64)
                yield (draw(shape, kinds="f"), table), {"axis": axis, "inverse": inverse, "scale": 0.5 if k % 2 else 1.0}


def _rows(dims: tuple[Dim, ...], axis: int) -> tuple[Dim, int, tuple[Dim, ...]]:
    """How many transforms (or blocks of them) there are, how many stand side by side in a block, and the axes that count them."""
    lead, behind = dims[:axis], dims[axis + 1 : -1]
    if not behind:
        return sizes.product(lead), 1, lead
    last = behind[-1]
    block = min(last, LANES) if isinstance(last, int) and last else LANES
    counted = (*lead, *behind[:-1], sizes.floordiv(last + (block - 1), block))
    return sizes.product(counted), block, counted


def _chunks(rows: Dim) -> int:
    return max(1, min(rows, CHUNKS)) if isinstance(rows, int) else CHUNKS


def _over_rows(rows: Dim, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`body` for each `row`, in chunks that may run at the same time."""
    count = _chunks(rows)
    each = sizes.floordiv(rows + (count - 1), count)
    row = Let("row", _var("chunk") * expr.of_dim(each) + _var("in_chunk"))
    if not (isinstance(rows, int) and rows % count == 0):
        body = (If(_var("row") < expr.of_dim(rows), body),)
    return (For("chunk", count, "parallel", (For("in_chunk", each, "serial", (row, *body)),)),)


class Roots(Op):
    """exp(-2 pi i k / n) for k below `size`, as pairs."""

    name = "roots"
    no_gradient = True

    def infer(self, *, n: int, size: int, dtype: DType) -> Type:
        return Type(dtype, (size, 2))

    def eager(self, *, n: int, size: int, dtype: DType) -> Any:
        z = np.exp(-2j * np.pi * np.arange(size) / n)
        return np.stack([z.real, z.imag], axis=-1).astype(dtype.np)

    def samples(self, draw: Any) -> Iterator[Any]:
        for n, size in ((8, 5), (3, 3), (1, 0)):
            yield (), {"n": n, "size": size, "dtype": dtypes.float32}


roots = register(Roots())
fft_table, fft_axis = register(FFTTable()), register(FFTAxis())
