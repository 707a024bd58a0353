"""Random numbers as pure functions of a state: Philox4x32-10, and bits, integers, uniforms and normals made of it.

A state is three int64 numbers (counter, stream, key), in the order in which `tf.random.Generator.state` has them. Block b of a draw is
Philox of the counter words (counter + b, stream) under the key: four words of 32 bits, which depend on nothing else, so elements
can be computed in any order, by any number of threads, on any machine, and come out the same. A draw of n elements reads n blocks
or fewer; whoever holds the state must `random_advance` it by n before the next one.

Element i of a draw is made of word i % 4 of block i // 4 where 32 bits suffice, of two words of block i // 2 for 64-bit elements and
for bounded integers. Normals come in pairs, one cosine and one sine each.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011; G. Box and M. Muller, 1958.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Const, Expr, Var
from tapejit.loops.nest import Fail, For, If, Let, Stmt
from tapejit.ops.shapes import unravel

u32, u64, i32, i64, f32, f64 = dtypes.uint32, dtypes.uint64, dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_WORD = 0xFFFFFFFF
_FEW = 12  # up to so many blocks, Python's integers are faster than NumPy's arrays
_CHUNK = 8192  # blocks at a time, so that what the rounds pass through stays in the caches


def per_block(dtype: DType) -> int:
    """How many elements one block makes."""
    return 2 if dtype.bits == 64 else 4


# ------------------------------------------------------------------------------------------------ in NumPy
def philox_words(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """One block: Philox4x32-10 of four counter words under two key words, as Python integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _WORD, (p0 >> 32) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = (k0 + WEYL[0]) & _WORD, (k1 + WEYL[1]) & _WORD
    return c0, c1, c2, c3


def _philox_arrays(low: np.ndarray, stream: np.uint64, key: np.uint64) -> np.ndarray:
    """Blocks for an array of 64-bit counters, of one stream under one key: uint32[4, n]."""
    word, half = np.uint64(_WORD), np.uint64(32)
    even, odd = np.empty((2, low.size), np.uint64), np.empty((2, low.size), np.uint64)
    even[0], odd[0], even[1], odd[1] = low & word, low >> half, stream & word, stream >> half
    product = np.empty_like(even)
    factors = np.array([[m] for m in MULTIPLIERS], np.uint64)
    keys = np.array([[int(key) & _WORD], [int(key) >> 32]], np.uint64)
    step = np.array([[w] for w in WEYL], np.uint64)
    crossed = product[::-1]  # each half goes on with the product of the other
    for _ in range(ROUNDS):
        np.multiply(even, factors, out=product)
        np.right_shift(crossed, half, out=even)
        even ^= odd
        even ^= keys
        np.bitwise_and(crossed, word, out=odd)
        keys = (keys + step) & word
    return np.stack([even, odd], axis=1).reshape(4, low.size).astype(np.uint32)


def block_words(state: np.ndarray, numbers: np.ndarray, trial: int = 0) -> np.ndarray:
    """The words of the blocks with these numbers, uint32[4, len(numbers)]. `trial` t reads the stream 2^32 t further on."""
    counter, stream, key = np.asarray(state).astype(np.uint64)
    with np.errstate(over="ignore"):
        low = counter + numbers.astype(np.uint64)
        far = stream + np.uint64(trial << 32)
    if low.size > _FEW:
        return _philox_arrays(low, far, key)
    key_words, high = (int(key) & _WORD, int(key) >> 32), (int(far) & _WORD, int(far) >> 32)
    few = [philox_words((n & _WORD, n >> 32, *high), key_words) for n in low.tolist()]
    return np.array(few, np.uint32).reshape(low.size, 4).T


def joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Two words as uint64."""
    return (high.astype(np.uint64) << np.uint64(32)) | low


def _filled(
    state: np.ndarray, shape: tuple[int, ...], dtype: DType, lanes: int, make: Callable[[np.ndarray], list[np.ndarray]]
) -> np.ndarray:
    """An array made block by block: `make(words)` gives the `lanes` elements of each block, as that many arrays."""
    size = math.prod(shape)
    count = -(-size // lanes)
    out = np.empty((count, lanes), dtype.np)
    for begin in range(0, count, _CHUNK):
        end = min(begin + _CHUNK, count)
        for k, lane in enumerate(make(block_words(state, np.arange(begin, end, dtype=np.uint64)))):
            out[begin:end, k] = lane.astype(dtype.np, copy=False)
    return out.reshape(-1)[:size].reshape(shape)


# ------------------------------------------------------------------------------------------------ in the loop language
def philox_lets(prefix: str, counter: tuple[Expr, Expr, Expr, Expr], key: tuple[Expr, Expr]) -> tuple[list[Stmt], tuple[Expr, ...]]:
    """Local scalars that compute one block of uint32 words, and the words. Each product is one widening multiplication."""
    lets: list[Stmt] = []

    def let(name: str, value: Expr) -> Expr:
        lets.append(Let(f"{prefix}_{name}", value))
        return Var(value.dtype, f"{prefix}_{name}")

    c0, c1, c2, c3 = counter
    for r in range(ROUNDS):
        k0, k1 = (k + Const(u32, r * w & _WORD) if r else k for k, w in zip(key, WEYL, strict=True))
        p0 = let(f"p{r}", expr.cast(c0, u64) * MULTIPLIERS[0])
        p1 = let(f"q{r}", expr.cast(c2, u64) * MULTIPLIERS[1])
        c0 = let(f"a{r}", expr.cast(p1 >> 32, u32) ^ c1 ^ k0)
        c2 = let(f"c{r}", expr.cast(p0 >> 32, u32) ^ c3 ^ k1)
        c1, c3 = let(f"b{r}", expr.cast(p1, u32)), let(f"d{r}", expr.cast(p0, u32))
    return lets, (c0, c1, c2, c3)


def halves(x: Expr) -> tuple[Expr, Expr]:
    """The lower and upper word of a 64-bit expression."""
    return expr.cast(x, u32), expr.cast(x >> 32, u32)


def state_lets(state: Any) -> tuple[tuple[Stmt, ...], Callable[..., tuple[list[Stmt], tuple[Expr, ...]]]]:
    """Reads a state once; and then `block(prefix, number, trial)` gives the statements and words of a block, as `block_words`."""
    s0, s1, s2, s3 = halves(state[(1,)]) + halves(state[(2,)])
    lets = tuple(Let(n, v) for n, v in (("start", state[(0,)]), ("s0", s0), ("s1", s1), ("k0", s2), ("k1", s3)))
    start, stream0, stream1, key0, key1 = (Var(let.value.dtype, let.name) for let in lets)

    def block(prefix: str, number: Expr, trial: Expr | None = None) -> tuple[list[Stmt], tuple[Expr, ...]]:
        at = Let(f"{prefix}_at", start + number)
        low = halves(Var(i64, at.name))
        inner, words = philox_lets(prefix, (*low, stream0, stream1 if trial is None else stream1 + trial), (key0, key1))
        return [at, *inner], words

    return lets, block


def joined_expr(high: Expr, low: Expr) -> Expr:
    """Two words as a uint64."""
    return (expr.cast(high, u64) << 32) | expr.cast(low, u64)


Make = Callable[[str, tuple[Expr, ...]], tuple[list[Stmt], list[Expr]]]


def _fill(out: Any, state: Any, lanes: int, make: Make, before: tuple[Stmt, ...] = ()) -> tuple[Stmt, ...]:
    """Fill `out` block by block: `make(prefix, words)` gives statements and the `lanes` elements of a block."""
    lets, block = state_lets(state)
    size = sizes.product(out.dims)
    whole = sizes.floordiv(size, lanes)
    rest = size - whole * lanes

    def elements(prefix: str, number: Expr) -> tuple[list[Stmt], list[Expr]]:
        statements, words = block(prefix, number)
        made, values = make(prefix, words)
        return [*statements, *made], values

    b, t = Var(i64, "block"), Var(i64, "tail")
    statements, values = elements("w", b)
    stores = [out.store(unravel(b * lanes + k, out.dims), v) for k, v in enumerate(values)]
    main = For("block", whole, "parallel", (*statements, *stores))
    if rest == 0:
        return (*before, *lets, main)
    number = expr.of_dim(whole)
    statements, values = elements("v", number)
    value = values[-1]
    for k in reversed(range(lanes - 1)):
        value = expr.select(expr.compare("eq", t, k), values[k], value)
    tail = For("tail", rest, "serial", (*statements, out.store(unravel(number * lanes + t, out.dims), value)))
    return (*before, *lets, main, tail)


# ------------------------------------------------------------------------------------------------ the ops
STATE = np.array([5, 7, 0x0123456789ABCDEF], np.int64)  # for samples
_SHAPES = ((8,), (5,), (), (2, 3), (0,), (3, 1, 3), (16,))


class Draw(Op):
    """A tensor of `shape` and `dtype` made of the blocks from a state on."""

    no_gradient = True
    constant_operands = frozenset({0})
    kinds = "f"

    def checked(self, state: Type, shape: tuple[Dim, ...], dtype: DType) -> Type:
        """The result's type. ValueError or TypeError for what is no state, or a dtype that is not made."""
        if state.dtype is not i64 or state.shape != (3,):
            raise ValueError(f"{self.name} takes a state int64[3] (counter, stream, key), got {state}")
        if dtype.kind not in self.kinds:
            raise TypeError(f"{self.name} does not make {dtype.name}")
        return Type(dtype, shape)

    def infer(self, state: Type, *, shape: tuple[Dim, ...], dtype: DType) -> Type:
        return self.checked(state, shape, dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for dtype in (d for d in (f32, f64, dtypes.float16, dtypes.bfloat16, i32, u64) if d.kind in self.kinds):
            for shape in _SHAPES:
                yield (STATE,), {"shape": shape, "dtype": dtype}


class RandomBits(Draw):
    """Integers all of whose bits are random: every value of the dtype (32 or 64 bits) is equally likely."""

    name = "random_bits"
    kinds = "iu"

    def infer(self, state: Type, *, shape: tuple[Dim, ...], dtype: DType) -> Type:
        if dtype.bits < 32:
            raise TypeError(f"{self.name} makes integers of 32 and 64 bits, not {dtype.name}")
        return self.checked(state, shape, dtype)

    def eager(self, state: Any, *, shape: tuple[int, ...], dtype: DType) -> Any:
        def make(w: np.ndarray) -> list[np.ndarray]:
            return list(w) if dtype.bits == 32 else [joined(w[0], w[1]), joined(w[2], w[3])]

        return _filled(state, shape, dtype, per_block(dtype), make)

    def kernel(self, outs: Any, ins: Any, work: Any, *, shape: tuple[Dim, ...], dtype: DType) -> tuple[Stmt, ...]:
        def make(prefix: str, w: tuple[Expr, ...]) -> tuple[list[Stmt], list[Expr]]:
            bits = list(w) if dtype.bits == 32 else [joined_expr(w[0], w[1]), joined_expr(w[2], w[3])]
            return [], [expr.cast(b, dtype) for b in bits]

        return _fill(outs[0], ins[0], per_block(dtype), make)


_MANTISSA = {16: 10, 32: 23, 64: 52}


def _mantissa(dtype: DType) -> int:
    return 7 if dtype is dtypes.bfloat16 else _MANTISSA[dtype.bits]


class RandomUniform(Draw):
    """Uniform in [0, 1): multiples of 2^-23 (float32), 2^-52 (float64), 2^-10 (float16), 2^-7 (bfloat16), as TensorFlow's are."""

    name = "random_uniform"

    def eager(self, state: Any, *, shape: tuple[int, ...], dtype: DType) -> Any:
        kept = _mantissa(dtype)

        def make(w: np.ndarray) -> list[np.ndarray]:
            if dtype is f64:
                wide = (joined(w[0], w[1]), joined(w[2], w[3]))
                return [(x >> np.uint64(64 - kept)).astype(np.float64) * 2.0**-kept for x in wide]
            return list((w >> np.uint32(32 - kept)).astype(np.float32) * np.float32(2.0**-kept))

        return _filled(state, shape, dtype, per_block(dtype), make)

    def kernel(self, outs: Any, ins: Any, work: Any, *, shape: tuple[Dim, ...], dtype: DType) -> tuple[Stmt, ...]:
        kept = _mantissa(dtype)

        def make(prefix: str, w: tuple[Expr, ...]) -> tuple[list[Stmt], list[Expr]]:
            if dtype is f64:
                wide = [joined_expr(w[0], w[1]), joined_expr(w[2], w[3])]
                return [], [expr.cast(expr.cast(x >> (64 - kept), i64), f64) * 2.0**-kept for x in wide]
            return [], [expr.cast(expr.cast(expr.cast(x >> (32 - kept), i32), f32) * 2.0**-kept, dtype) for x in w]

        return _fill(outs[0], ins[0], per_block(dtype), make)


class RandomNormal(Draw):
    """Normal with mean 0 and variance 1: r cos(t) and r sin(t) with r = sqrt(-2 log u), t uniform in [-pi, pi); 16-bit floats through float32.

    u has 31 bits and a half (float32) or 53 and a half (float64), so that |z| reaches 6.7 and 8.7.
    """

    name = "random_normal"

    def eager(self, state: Any, *, shape: tuple[int, ...], dtype: DType) -> Any:
        def pair(u: np.ndarray, t: np.ndarray) -> list[np.ndarray]:
            r = np.sqrt(np.log(u) * u.dtype.type(-2))
            return [r * np.cos(t), r * np.sin(t)]

        def make(w: np.ndarray) -> list[np.ndarray]:
            if dtype is f64:
                u = (joined(w[0], w[1]) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54
                return pair(u, joined(w[2], w[3]).astype(np.int64) * (math.pi * 2.0**-63))
            single = (w[::2] >> np.uint32(1)).astype(np.float32) * np.float32(2.0**-31) + np.float32(2.0**-32)
            angles = w[1::2].astype(np.int32).astype(np.float32) * np.float32(math.pi * 2.0**-31)
            return [*pair(single[0], angles[0]), *pair(single[1], angles[1])]

        return _filled(state, shape, dtype, per_block(dtype), make)

    def kernel(self, outs: Any, ins: Any, work: Any, *, shape: tuple[Dim, ...], dtype: DType) -> tuple[Stmt, ...]:
        def make(prefix: str, w: tuple[Expr, ...]) -> tuple[list[Stmt], list[Expr]]:
            if dtype is f64:
                u = expr.cast(expr.cast(joined_expr(w[0], w[1]) >> 11, i64), f64) * 2.0**-53 + 2.0**-54
                t = expr.cast(expr.cast(joined_expr(w[2], w[3]), i64), f64) * (math.pi * 2.0**-63)
                return _pair(prefix, u, t, dtype)
            statements: list[Stmt] = []
            values: list[Expr] = []
            for k in (0, 2):
                u = expr.cast(expr.cast(w[k] >> 1, i32), f32) * 2.0**-31 + 2.0**-32
                t = expr.cast(expr.cast(w[k + 1], i32), f32) * float(np.float32(math.pi * 2.0**-31))
                made, pair = _pair(f"{prefix}{k}", u, t, dtype)
                statements += made
                values += pair
            return statements, values

        return _fill(outs[0], ins[0], per_block(dtype), make)


def _pair(prefix: str, u: Expr, t: Expr, dtype: DType) -> tuple[list[Stmt], list[Expr]]:
    """Two normals from a uniform and an angle."""
    radius, angle = f"{prefix}_radius", f"{prefix}_angle"
    lets: list[Stmt] = [Let(radius, expr.call("sqrt", expr.call("log", u) * -2.0)), Let(angle, t)]
    r, a = Var(u.dtype, radius), Var(u.dtype, angle)
    return lets, [expr.cast(r * expr.call(fn, a), dtype) for fn in ("cos", "sin")]


class RandomIntegers(Draw):
    """Integers from `low` up to but without `high`: the upper half of the product of 64 random bits with the size of the range.

    No value is likelier than another by more than (high - low) / 2^64 of its probability. InvalidArgumentError unless low < high.
    """

    name = "random_integers"
    kinds = "iu"
    same_dtype = (1, 2)
    constant_operands = frozenset({0, 1, 2})

    def infer(self, state: Type, low: Type, high: Type, *, shape: tuple[Dim, ...], dtype: DType) -> Type:  # type: ignore[override]
        for t in (low, high):
            if t.shape or t.dtype is not dtype:
                raise ValueError(f"{self.name} takes two {dtype.name} scalars as bounds, got {low} and {high}")
        return self.checked(state, shape, dtype)

    def eager(self, state: Any, low: Any, high: Any, *, shape: tuple[int, ...], dtype: DType) -> Any:  # type: ignore[override]
        if not low < high:
            raise InvalidArgumentError(self.failure(low, high))
        first, last = (np.asarray(x).astype(np.uint64)[()] for x in (low, high))
        half, word = np.uint64(32), np.uint64(_WORD)
        with np.errstate(over="ignore"):
            extent = last - first
            eh, el = extent >> half, extent & word

            def scaled(xh: np.ndarray, xl: np.ndarray) -> np.ndarray:
                xh, xl = xh.astype(np.uint64), xl.astype(np.uint64)
                middle = xh * el + (xl * el >> half)
                return first + xh * eh + (middle >> half) + (xl * eh + (middle & word) >> half)

            return _filled(state, shape, dtype, 2, lambda w: [scaled(w[0], w[1]), scaled(w[2], w[3])])

    def failure(self, low: float, high: float) -> str:
        """What went wrong, from the operands of `nest.Fail`."""
        return f"Need minval < maxval, got {int(low)} >= {int(high)}"

    def kernel(self, outs: Any, ins: Any, work: Any, *, shape: tuple[Dim, ...], dtype: DType) -> tuple[Stmt, ...]:
        low, high = ins[1][()], ins[2][()]

        def wide(x: Expr) -> Expr:
            return expr.cast(expr.cast(x, i64) if dtype.kind == "i" else x, u64)

        first, extent = Var(u64, "first"), Var(u64, "extent")
        before: tuple[Stmt, ...] = (
            If(low >= high, (Fail(0, (expr.cast(low, f64), expr.cast(high, f64))),)),
            Let("first", wide(low)),
            Let("extent", wide(high) - wide(low)),
        )

        def make(prefix: str, w: tuple[Expr, ...]) -> tuple[list[Stmt], list[Expr]]:
            lets: list[Stmt] = []
            values: list[Expr] = []
            eh, el = extent >> 32, extent & _WORD
            for k in (0, 2):
                xh, xl = expr.cast(w[k], u64), expr.cast(w[k + 1], u64)
                lets.append(Let(f"{prefix}{k}_middle", xh * el + (xl * el >> 32)))
                middle = Var(u64, f"{prefix}{k}_middle")
                values.append(expr.cast(first + xh * eh + (middle >> 32) + (xl * eh + (middle & _WORD) >> 32), dtype))
            return lets, values

        return _fill(outs[0], ins[0], 2, make, before)

    def samples(self, draw: Any) -> Iterator[Any]:
        for dtype, low, high in ((i32, -3, 4), (i32, -(2**31), 2**31 - 1), (i64, 5, 6), (i64, -(2**62), 2**62 + 3), (i64, 0, 2**40)):
            for shape in _SHAPES:
                yield (STATE, dtype.np.type(low), dtype.np.type(high)), {"shape": shape, "dtype": dtype}


class RandomAdvance(Op):
    """The state `count` blocks further on: after a draw of `count` elements."""

    name = "random_advance"
    no_gradient = True

    def infer(self, state: Type, *, count: Dim) -> Type:
        return state

    def eager(self, state: Any, *, count: int) -> Any:
        out = np.array(state)
        out[:1] += np.array(count).astype(np.int64)
        return out

    def at(self, index: tuple[Expr, ...], state: Any, *, count: Dim) -> Expr:
        return state[index] + expr.select(expr.compare("eq", index[0], 0), expr.of_dim(count), 0)

    def samples(self, draw: Any) -> Iterator[Any]:
        for count in (0, 1, 12345):
            yield (STATE,), {"count": count}


class RandomState(Op):
    """The state that a seed of two integers stands for: one block of Philox with the seed as counter and `domain` as key.

    Different seeds give different streams under different keys: as a function of the seed, Philox is one to one. Domains keep apart
    what makes states of seeds for different ends.
    """

    name = "random_state"
    no_gradient = True

    def infer(self, seed: Type, *, domain: int = 0) -> Type:
        if seed.shape != (2,):
            raise ValueError(f"seed must have shape [2], not [{', '.join(map(str, seed.shape))}]")
        if seed.dtype is not i64:
            raise TypeError(f"random_state takes an int64 seed, got {seed}")
        return Type(i64, (3,))

    def eager(self, seed: Any, *, domain: int = 0) -> Any:
        if seed.shape != (2,):
            raise InvalidArgumentError(f"seed must have shape [2], not {list(seed.shape)}")
        a, b = (int(x) & 0xFFFFFFFFFFFFFFFF for x in seed)
        w = philox_words((a & _WORD, a >> 32, b & _WORD, b >> 32), (domain, 0))
        return np.array([0, w[2] | w[3] << 32, w[0] | w[1] << 32], np.uint64).astype(np.int64)

    def kernel(self, outs: Any, ins: Any, work: Any, *, domain: int = 0) -> tuple[Stmt, ...]:
        key = (Const(u32, domain), Const(u32, 0))
        lets, w = philox_lets("w", (*halves(ins[0][(0,)]), *halves(ins[0][(1,)])), key)
        values = (Const(i64, 0), expr.cast(joined_expr(w[3], w[2]), i64), expr.cast(joined_expr(w[1], w[0]), i64))
        return (*lets, *(outs[0].store((k,), v) for k, v in enumerate(values)))

    def samples(self, draw: Any) -> Iterator[Any]:
        for seed in ((0, 0), (1, 2), (-5, 2**40)):
            yield (np.array(seed, np.int64),), {"domain": abs(seed[0])}


random_bits, random_uniform, random_normal = register(RandomBits()), register(RandomUniform()), register(RandomNormal())
random_integers, random_advance, random_state = register(RandomIntegers()), register(RandomAdvance()), register(RandomState())
