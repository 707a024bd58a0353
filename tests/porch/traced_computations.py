"""Small computations over the whole vocabulary, each of which must give the same eagerly and inside a traced function.

`COMPUTATIONS` lists them as (name, function of tensors, arrays). `UNLIKE` says, one by one, which of them a traced function does not
(yet) do as eager code does and why; `UNTRIED` which public names no computation uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tapejit as tf


@dataclass(frozen=True)
class Computation:
    """`f` on `arrays`. `open` lists (argument, axis) whose sizes are left open in the symbolic variant."""

    name: str
    f: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    open: tuple[tuple[int, int], ...]


COMPUTATIONS: list[Computation] = []
_random = np.random.default_rng(12)


def r(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Normal numbers."""
    return np.asarray(_random.normal(size=shape), dtype)


def pos(*shape: int) -> np.ndarray:
    """Positive numbers."""
    return np.asarray(_random.uniform(0.3, 2.5, shape), np.float32)


def i32(*values: Any) -> np.ndarray:
    return np.asarray(values if len(values) != 1 else values[0], np.int32)


def i64(*values: Any) -> np.ndarray:
    return np.asarray(values if len(values) != 1 else values[0], np.int64)


def spd(n: int) -> np.ndarray:
    """A symmetric positive definite matrix in float64."""
    a = r(n, n, dtype=np.float64)
    return a @ a.T + n * np.eye(n)


def add(name: str, f: Callable[..., Any], *arrays: Any, open: Any = None) -> None:
    """One computation; first axes as long as that of the first argument that has one are open unless `open` lists others."""
    given = tuple(map(np.asarray, arrays))
    if open is None:
        first = next((a.shape[0] for a in given if a.ndim), None)
        open = tuple((k, 0) for k, a in enumerate(given) if a.ndim and a.shape[0] == first)
    COMPUTATIONS.append(Computation(name, f, given, tuple(open)))


# ------------------------------------------------------------------------------------------------ elementwise
X = np.asarray([-2.3, -0.9, -0.2, 0.4, 1.1, 2.6], np.float32)
Y = np.asarray([1.3, -0.7, 2.0, -1.5, 0.6, 3.1], np.float32)
for _name, _f in {
    "abs": tf.abs, "negative": tf.negative, "exp": tf.exp, "square": tf.square, "sin": tf.sin, "cos": tf.cos, "tan": tf.tan, "tanh": tf.tanh, "sinh": tf.sinh,
    "cosh": tf.cosh, "atan": tf.atan, "asinh": tf.asinh, "sigmoid": tf.sigmoid, "log_sigmoid": tf.math.log_sigmoid, "softplus": tf.math.softplus,
    "softsign": tf.nn.softsign, "relu": tf.nn.relu, "relu6": tf.nn.relu6, "elu": tf.nn.elu, "selu": tf.nn.selu, "leaky": tf.nn.leaky_relu,
    "leaky1": lambda x: tf.nn.leaky_relu(x, alpha=0.1), "gelu": tf.nn.gelu, "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True), "silu": tf.nn.silu,
    "swish": lambda x: tf.nn.swish(x, beta=2.0), "erf": tf.math.erf, "erfc": tf.math.erfc, "expm1": tf.math.expm1, "reciprocal": tf.math.reciprocal,
    "reciprocal_no_nan": tf.math.reciprocal_no_nan, "sign": lambda x: tf.sign(x) * x, "floor": lambda x: x - tf.stop_gradient(tf.floor(x)),
    "ceil": lambda x: x * tf.math.ceil(x), "rint": lambda x: x * tf.math.rint(x), "round": lambda x: x * tf.round(x), "identity": tf.identity,
    "identity_n": lambda x: tf.identity_n([x, x * 2.0]), "pow3": lambda x: tf.pow(x, 3.0), "pow_half": lambda x: tf.abs(x) ** 0.5, "rpow": lambda x: 2.0**x,
    "rdiv": lambda x: 3.0 / x, "rsub": lambda x: 1 - x, "polynomial": lambda x: x + x * x + x * x * x, "floordiv": lambda x: (x // 0.7) * x,
    "floormod": lambda x: x % 0.7, "rmod": lambda x: 1.7 % x, "crelu": tf.nn.crelu, "polyval": lambda x: tf.math.polyval([1.0, -2.0, 0.5], x),
    "softmax": tf.nn.softmax, "math_softmax": tf.math.softmax, "cast_64": lambda x: tf.cast(x, tf.float64), "cast_int": lambda x: tf.cast(tf.cast(x, tf.int32), tf.float32) * x,
    "saturate": lambda x: tf.saturate_cast(x * 300.0, tf.uint8), "half": lambda x: tf.cast(tf.cast(x, tf.float16) * 2.0, tf.float32),
    "bfloat": lambda x: tf.cast(tf.cast(x, tf.bfloat16), tf.float32) * x, "is": lambda x: [tf.math.is_nan(x), tf.math.is_inf(x), tf.math.is_finite(x)],
    "nextafter": lambda x: tf.math.nextafter(x, tf.zeros_like(x)), "zeta": lambda x: tf.math.zeta(tf.abs(x) + 1.5, tf.ones_like(x)), "l2_loss": tf.nn.l2_loss,
    "l2_normalize": lambda x: tf.math.l2_normalize(x, axis=0), "zero_fraction": lambda x: [tf.math.zero_fraction(x), tf.nn.zero_fraction(tf.nn.relu(x))],
    "nn_sigmoid": tf.nn.sigmoid, "nn_tanh": tf.nn.tanh, "nn_softplus": tf.nn.softplus, "nn_l2": lambda x: tf.nn.l2_normalize(x, axis=-1),
    "nn_log_softmax": tf.nn.log_softmax, "log_softmax": tf.math.log_softmax, "is_sorted": lambda x: [tf.math.is_non_decreasing(x), tf.math.is_strictly_increasing(-x)],
    "clip": lambda x: tf.clip_by_value(x, -0.5, 0.5), "clip_norm": lambda x: tf.clip_by_norm(x, 1.0), "scalar_mul": lambda x: tf.math.scalar_mul(3.0, x),
    "check_numerics": lambda x: tf.debugging.check_numerics(x, "bad"), "mul_negative": lambda x: -x * +x, "dropout_none": lambda x: tf.nn.dropout(x, rate=0.0),
}.items():  # fmt: skip
    add(f"x_{_name}", _f, X)
for _name, _f in {
    "log": tf.math.log, "sqrt": tf.sqrt, "rsqrt": tf.math.rsqrt, "log1p": tf.math.log1p, "lgamma": tf.math.lgamma, "digamma": tf.math.digamma,
    "acosh": lambda x: tf.acosh(x + 1.1), "asin": lambda x: tf.asin(x / 4), "acos": lambda x: tf.acos(x / 4), "atanh": lambda x: tf.atanh(x / 4),
    "erfinv": lambda x: tf.math.erfinv(x / 4), "erfcinv": lambda x: tf.math.erfcinv(x / 4), "ndtri": lambda x: tf.math.ndtri(x / 4), "bessel_i0": tf.math.bessel_i0,
    "bessel_i0e": tf.math.bessel_i0e, "bessel_i1": tf.math.bessel_i1, "bessel_i1e": tf.math.bessel_i1e, "igamma": lambda x: tf.math.igamma(tf.stop_gradient(x), x + 0.5),
    "igammac": lambda x: tf.math.igammac(tf.stop_gradient(x), x + 0.5), "betainc": lambda x: tf.math.betainc(tf.ones_like(x), tf.ones_like(x) * 2.0, x / 4),
    "polygamma": lambda x: tf.math.polygamma(tf.ones_like(x), x), "lbeta": tf.math.lbeta, "special_dawsn": lambda x: tf.math.special.dawsn(x),
}.items():  # fmt: skip
    add(f"positive_{_name}", _f, pos(5))
for _name, _f in {
    "add": tf.add, "subtract": tf.subtract, "multiply": tf.multiply, "divide": tf.divide, "truediv": tf.truediv, "pow": lambda a, b: tf.pow(tf.abs(a), b), "maximum": tf.maximum,
    "minimum": tf.minimum, "atan2": tf.atan2, "sqdiff": tf.math.squared_difference, "no_nan": tf.math.divide_no_nan, "mul_no_nan": tf.math.multiply_no_nan,
    "xlogy": lambda a, b: tf.math.xlogy(a, tf.abs(b)), "xlog1py": lambda a, b: tf.math.xlog1py(a, tf.abs(b)), "xdivy": tf.math.xdivy, "floormod": tf.math.floormod,
    "mod": tf.math.mod, "floordiv": lambda a, b: tf.math.floordiv(a, b) * a, "truncate": lambda a, b: tf.truncatemod(a, b),
    "compare": lambda a, b: [a > b, a >= b, a < b, a <= b, a == b, a != b, tf.equal(a, b), tf.not_equal(a, b), tf.less(a, b), tf.less_equal(a, b), tf.greater(a, b), tf.greater_equal(a, b)],
    "where": lambda a, b: tf.where(a > b, a * 2.0, tf.exp(b)), "add_n": lambda a, b: tf.add_n([a, b, a * b]), "accumulate_n": lambda a, b: tf.math.accumulate_n([a, b]),
    "stack_broadcast": lambda a, b: a[:, None] * b[None, :], "python_mix": lambda a, b: (1 + a) * (b - 2) / 3 + 4 / (b + 5.0), "dot": lambda a, b: tf.tensordot(a, b, 1),
}.items():  # fmt: skip
    add(f"xy_{_name}", _f, X, Y)
add("ties", lambda x: [tf.maximum(x, 3.0), tf.minimum(x, 0.0), tf.nn.relu(x), tf.abs(x), tf.reduce_max(x, 1), tf.reduce_min(x), tf.clip_by_value(x, -1.0, 3.0)],
    np.asarray([[1, 3, 3, 2], [5, 5, 5, 5], [0, -1, -1, 0]], np.float32))  # fmt: skip
add(
    "at_zero",
    lambda z: [tf.math.divide_no_nan(2.0, z), tf.sqrt(z), z**2 + tf.pow(z, 0.0), tf.where(z > 0, tf.sqrt(z) / z, 0.0)],
    np.asarray([0.0, 1.0], np.float32),
)
add("add_n_scalars", lambda a, b: tf.add_n([a, b]), np.float32(1.5), np.float32(2.5))
add("float64", lambda a: tf.exp(a) * tf.sin(a) / (1 + a * a), r(4, dtype=np.float64))

# ------------------------------------------------------------------------------------------------ integers, bools, complex
A = i32([[1, -2, 3], [4, 5, -6]])
add(
    "int_ops",
    lambda a: [
        a // 2,
        a % 4,
        tf.abs(a),
        tf.math.floordiv(a, 3),
        a**2,
        tf.math.mod(a, 3),
        tf.truncatediv(a, 2),
        tf.maximum(a, 0),
        -a,
        a / 4,
    ],
    A,
)
add(
    "int_reduce",
    lambda a: [tf.reduce_sum(a), tf.reduce_mean(a), tf.reduce_prod(a, axis=1), tf.reduce_max(a, axis=0), tf.math.cumsum(a, axis=1)],
    A,
)
add(
    "casts", lambda a: [tf.cast(a, tf.float32), tf.cast(a, tf.bool), tf.cast(a, tf.uint8), tf.cast(a, "int64"), tf.cast(a, tf.complex64)], A
)
add("logic", lambda t, u: [tf.logical_and(t, u), tf.logical_or(t, u), tf.logical_not(t), tf.math.logical_xor(t, u), t & u, t | u, ~t, t ^ u],
    np.asarray([True, True, False]), np.asarray([True, False, False]))  # fmt: skip
add(
    "any_all",
    lambda x: [
        tf.reduce_any(x > 0.5, axis=1),
        tf.reduce_all(x > -9.0),
        tf.math.count_nonzero(x),
        tf.math.count_nonzero(x > 0, axis=0, dtype=tf.int32),
    ],
    r(3, 4),
)
add("bits", lambda a, b: [tf.bitwise.bitwise_and(a, b), tf.bitwise.bitwise_or(a, b), tf.bitwise.bitwise_xor(a, b), tf.bitwise.invert(a), tf.bitwise.left_shift(a, b), tf.bitwise.right_shift(a, b)],
    i32(6, 5, 12), i32(3, 4, 1))  # fmt: skip
add(
    "arg",
    lambda x: [tf.argmax(x, axis=1), tf.argmin(x, axis=0), tf.argmax(x, axis=-1, output_type=tf.int32), tf.argmax(tf.reshape(x, [-1]))],
    r(3, 4),
)
add(
    "complex",
    lambda a, b: (lambda c: [c * c, tf.math.real(c), tf.math.imag(c * c), tf.abs(c), tf.math.conj(c), tf.math.angle(c)])(tf.complex(a, b)),
    X,
    Y,
)
add("complex_exp", lambda a: tf.abs(tf.exp(tf.complex(a, a * 2.0))), X)

# ------------------------------------------------------------------------------------------------ reductions
M = r(3, 4)
for _f in (
    tf.reduce_sum,
    tf.reduce_mean,
    tf.reduce_max,
    tf.reduce_min,
    tf.reduce_prod,
    tf.reduce_logsumexp,
    tf.math.reduce_std,
    tf.math.reduce_variance,
    tf.math.reduce_euclidean_norm,
):
    add(_f.__name__, lambda x, f=_f: [f(x), f(x, axis=0), f(x, axis=-1, keepdims=True), f(x, axis=[0, 1])], M)
add("prod_zeros", lambda x: tf.reduce_prod(x, axis=1), np.asarray([[2, 0, 3], [0, 0, 5], [1, 2, 3]], np.float32))
add(
    "norms",
    lambda x: [
        tf.norm(x),
        tf.norm(x, axis=1),
        tf.norm(x, ord=1, axis=0),
        tf.norm(x, ord=np.inf, axis=1),
        tf.norm(x, axis=[0, 1], keepdims=True),
    ],
    M,
)
add(
    "cumulative",
    lambda x: [
        tf.cumsum(x, axis=1),
        tf.cumsum(x, axis=0, exclusive=True, reverse=True),
        tf.math.cumprod(x, axis=1),
        tf.math.cumulative_logsumexp(x, axis=1),
    ],
    M,
)
add("clip_norm_axes", lambda x: tf.clip_by_norm(x, 1.0, axes=[1]), M)
add("clip_global", lambda x, y: tf.clip_by_global_norm([x, y], 0.5)[0], M, r(3))
add("global_norm", lambda x: tf.linalg.global_norm([x, x * 2.0]), M)
add("softmax_axis", lambda x: [tf.nn.softmax(x, axis=0), tf.nn.log_softmax(x, axis=0)], M)
add("moments", lambda x: list(tf.nn.moments(x, axes=[0])) + list(tf.nn.moments(x, axes=[0, 1], keepdims=True)), M)
add("weighted_moments", lambda x, w: list(tf.nn.weighted_moments(x, axes=[0], frequency_weights=w)), M, pos(3, 4))
add("sufficient", lambda x: list(tf.nn.normalize_moments(*tf.nn.sufficient_statistics(x, [0])[:3], shift=None)), M)
add("empty_rows", lambda x: [tf.reduce_sum(x, axis=0), tf.reduce_max(tf.concat([x, tf.ones([1, 2])], 0))], np.zeros((0, 2), np.float32))

# ------------------------------------------------------------------------------------------------ shapes
a34, a2 = r(3, 1, 4), r(2, 1)
add("broadcast", lambda a, b: [a + b, a - b, a * b, a / (b * b + 1), tf.maximum(a, b), tf.abs(a) ** b], a34, a2, open=[(0, 0)])
add("scalar", lambda a, b: a * b + b, a34, np.float32(1.5))
add("concat", lambda a, b: [tf.concat([a, a * b[:1, None]], axis=1), tf.concat([a, a], -1), tf.concat([a, a * 2.0, a], 0)], a34, a2)
add("stack", lambda a: [tf.stack([a, a * 2.0], axis=1), tf.stack([a, a], axis=-1), tf.stack([a, a])], M)
add("unstack", lambda x: tf.unstack(x, axis=1), M)
add("unstack0", lambda x: tf.unstack(x), M)
add("split", lambda x: tf.split(x, 3, axis=1), r(4, 6))
add("split0", lambda x: tf.split(x, 2, axis=0), r(4, 6))
add("split_sizes", lambda x: tf.split(x, [2, 4], axis=1), r(4, 6))
add("reshape", lambda x: [tf.reshape(x, [-1]), tf.reshape(x, [tf.shape(x)[0], 3, 2]), tf.reshape(x, [-1, 3])], r(4, 6))
add("transpose", lambda x: [tf.transpose(x), tf.transpose(x, [2, 0, 1])], a34)
add("tile", lambda x: [tf.tile(x, [2, 3]), tf.tile(x, [1, 1])], M)
add("pad", lambda x: [tf.pad(x, [[1, 0], [2, 1]]), tf.pad(x, [[0, 1], [1, 0]], constant_values=9.0)], M)
add("pad_mirror", lambda x: [tf.pad(x, [[1, 1], [2, 2]], mode="REFLECT"), tf.pad(x, [[1, 1], [2, 2]], mode="SYMMETRIC")], r(4, 5))
add("squeeze", lambda x: [tf.squeeze(tf.expand_dims(x, 1), axis=[1]), tf.expand_dims(x, -1), tf.squeeze(x[:, None], 1)], M)
add("squeeze_all", lambda x: tf.squeeze(x), a34)
add("repeat", lambda x: [tf.repeat(x, 2, axis=1), tf.repeat(x, 3, axis=0), tf.repeat(x, 2)], M)
add("repeat_counts", lambda x, n: tf.repeat(x, n, axis=0), M, i32(2, 0, 3))
add("reverse", lambda x: [tf.reverse(x, axis=[1]), tf.reverse(x, [0, 1]), x[::-1]], M)
add("reverse_sequence", lambda x, n: tf.reverse_sequence(x, n, seq_axis=1, batch_axis=0), M, i32(2, 4, 1))
add("roll", lambda x: [tf.roll(x, shift=2, axis=1), tf.roll(x, [1, 1], [0, 1]), tf.roll(x, -1, 0)], M)
add(
    "broadcast_to",
    lambda x: [
        tf.broadcast_to(x, [2, *x.shape]) if None not in x.shape.as_list() else tf.broadcast_to(x, tf.concat([[2], tf.shape(x)], 0))
    ],
    M,
)
add("meshgrid", lambda x, y: tf.meshgrid(x, y) + tf.meshgrid(x, y, indexing="ij"), X, Y[:3])
add("shape_of", lambda x: [tf.shape(x), tf.size(x), tf.rank(x), tf.shape(x, out_type=tf.int64), *tf.shape_n([x, x[0]])], M)
add(
    "like",
    lambda x: [
        tf.zeros_like(x),
        tf.ones_like(x),
        tf.fill(tf.shape(x), 7.0),
        tf.zeros([tf.shape(x)[0], 2]),
        tf.ones(tf.shape(x)[:1], tf.int32),
    ],
    M,
)
add("ensure_shape", lambda x: tf.ensure_shape(x, [None, 4]) * 2.0, M)
add(
    "space_depth",
    lambda x: [
        tf.nn.space_to_depth(x, 2),
        tf.nn.depth_to_space(tf.nn.space_to_depth(x, 2), 2),
        tf.space_to_depth(x, 2),
        tf.depth_to_space(tf.concat([x] * 4, -1), 2),
    ],
    r(2, 4, 4, 1),
)
add(
    "space_batch",
    lambda x: [tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), tf.space_to_batch_nd(x, [2, 2], [[0, 0], [0, 0]])],
    r(1, 4, 4, 1),
)
add(
    "batch_space",
    lambda x: [
        tf.batch_to_space(x, [2, 2], [[0, 0], [0, 0]]),
        tf.nn.batch_to_space(tf.nn.space_to_batch(x[:1], [2, 2], [[0, 0], [0, 0]]), [2, 2], [[0, 0], [0, 0]]),
    ],
    r(4, 2, 2, 1),
)
add(
    "broadcast_shapes",
    lambda x: [
        tf.broadcast_dynamic_shape(tf.shape(x), tf.constant([1, 4])),
        tf.zeros(tf.broadcast_static_shape(tf.TensorShape([3, 1]), tf.TensorShape([1, 2]))),
    ],
    M,
)
add("einsum", lambda a, b: [tf.einsum("ij,kj->ik", a, b), tf.einsum("ij->j", a), tf.einsum("ij,ij->", a, b), tf.einsum("i,j->ij", a[0], b[1]), tf.linalg.einsum("ij,jk", a, tf.transpose(b))],
    r(4, 6), r(4, 6))  # fmt: skip
add("einsum_batch", lambda a, b: [tf.einsum("bij,bjk->bik", a, b), tf.einsum("...ij,...jk->...ik", a, b)], r(2, 3, 4), r(2, 4, 2))
add(
    "tensordot",
    lambda a, b: [tf.tensordot(a, b, axes=[[1], [1]]), tf.linalg.tensordot(a, tf.transpose(b), 1), tf.tensordot(a, b, axes=2)],
    r(4, 6),
    r(4, 6),
)
add("pixel_shuffle", lambda x: tf.reshape(tf.transpose(tf.reshape(x, [2, 2, 3, 2]), [0, 2, 1, 3]), [6, 4]), r(4, 6))
add("iterate_shape", lambda x: x / tf.cast(tf.shape(x)[0] * tf.size(x), tf.float32), M)

# ------------------------------------------------------------------------------------------------ making arrays
add(
    "ranges",
    lambda x: [
        tf.range(2, 10, 3),
        tf.range(5.0, 0.0, -1.5),
        tf.range(tf.shape(x)[0]),
        tf.range(1, tf.shape(x)[0], 2),
        tf.linspace(0.0, 1.0, 5),
        tf.linspace(x[0, 0], 4.0, 3),
    ],
    M,
)
add("range_bound", lambda n: [tf.range(n), tf.range(n) * 2, tf.zeros([n, 2]), tf.fill([n], 3.0), tf.ones([2, n + 1])], np.int32(4))
add("range_float", lambda x: tf.range(0.0, tf.reduce_sum(tf.abs(x)), 0.5), X)
add("eye", lambda x: [tf.eye(3), tf.eye(2, 3, dtype=tf.float64), tf.eye(tf.shape(x)[0]), tf.linalg.eye(2), tf.eye(2, batch_shape=[3])], M)
add(
    "one_hot",
    lambda i: [
        tf.one_hot(i, 3),
        tf.one_hot(i, 2, on_value=5.0, off_value=-1.0),
        tf.one_hot(i, 3, dtype=tf.int32),
        tf.one_hot(i, 2, axis=0),
    ],
    i32(0, 2, -1),
)
add("one_hot_depth", lambda i: tf.one_hot(i, tf.reduce_max(i) + 1), i32(0, 2, 1))
add("sequence_mask", lambda n: [tf.sequence_mask(n, 4), tf.sequence_mask(n, 5, dtype=tf.float32)], i32(1, 3))
add("sequence_mask_longest", lambda n: tf.sequence_mask(n), i32(1, 3, 2))
add(
    "constants",
    lambda x: [
        tf.constant(3.0, shape=[2, 2]),
        tf.constant([[1, 2]]),
        tf.convert_to_tensor([1.0, 2.0]) * x[0, :2],
        tf.constant(np.arange(40.0).reshape(8, 5)),
        tf.constant([[]]),
    ],
    M,
)
add("windows", lambda x: [x * tf.signal.hann_window(6), x * tf.signal.hamming_window(6, periodic=False)], X, open=[])

# ------------------------------------------------------------------------------------------------ indexing
B = r(4, 5, 3)
for _name, _f in {
    "int": lambda x: x[1], "neg": lambda x: x[-1, ..., -2], "slice": lambda x: x[1:3, :, :2], "stride": lambda x: x[::2, ::-1], "newaxis": lambda x: x[:, tf.newaxis, 2, None],
    "ellipsis": lambda x: x[..., 0], "tensor_index": lambda x: x[tf.constant(2), 1:], "tensor_bounds": lambda x: x[: tf.shape(x)[0] // 2, tf.constant(1) :],
    "tf_slice": lambda x: tf.slice(x, [1, 0, 1], [2, 3, -1]), "strided": lambda x: tf.strided_slice(x, [0, 1, 0], [4, 5, 3], [2, 2, 1]), "gather0": lambda x: tf.gather(x, [3, 0, 3]),
    "gather1": lambda x: tf.gather(x, tf.constant([[0, 4], [1, 1]]), axis=1), "gather_scalar": lambda x: tf.gather(x, 2, axis=1),
    "gather_batch": lambda x: tf.gather(x, tf.argsort(x[..., 0], axis=1), axis=1, batch_dims=1), "gather_nd": lambda x: tf.gather_nd(x, [[0, 1], [3, 4], [0, 1]]),
    "gather_nd_full": lambda x: tf.gather_nd(x, [[0, 1, 2], [3, 4, 0]]), "where": lambda x: tf.where(x > 0, x * 2.0, tf.exp(x)), "where_mask": lambda x: tf.where(tf.constant([True, False, True]), x, 0.0),
    "mask": lambda x: tf.boolean_mask(x, x[:, 0, 0] > -9.0), "mask2": lambda x: tf.boolean_mask(x, x[..., 0] > 0), "mask_axis": lambda x: tf.boolean_mask(x, [True, False, True], axis=2),
    "mask_getitem": lambda x: x[x[:, 0, 0] > 0], "mask_full": lambda x: x[x > 0.3], "where_indices": lambda x: tf.where(x > 0), "where_sum": lambda x: tf.reduce_sum(tf.gather_nd(x, tf.where(x > 0)) ** 2),
    "scatter_nd": lambda x: tf.scatter_nd(tf.constant([[4], [1], [4], [0]]), x, tf.constant([6, 5, 3])), "update": lambda x: tf.tensor_scatter_nd_update(x, [[0], [2]], x[1:3] * 2.0),
    "scatter_add": lambda x: tf.tensor_scatter_nd_add(x, [[0], [0]], x[2:4]), "scatter_sub": lambda x: tf.tensor_scatter_nd_sub(x, [[1]], x[:1]),
    "scatter_max": lambda x: tf.tensor_scatter_nd_max(x, [[1], [3]], x[:2]), "scatter_min": lambda x: tf.tensor_scatter_nd_min(x, [[1], [3]], x[:2]),
    "one_hot": lambda x: tf.one_hot([1, 0, 2], 3) * x[0, 0], "take_along": lambda x: tf.gather(x, tf.argsort(x[:, 0, 0])), "last_rows": lambda x: x[-2:] - x[:2],
}.items():  # fmt: skip
    add(f"index_{_name}", _f, B)
add(
    "gather_ids",
    lambda x, i: [tf.gather(x, i), tf.nn.embedding_lookup(x, i), tf.gather(x, i[:, None])],
    r(6, 2),
    i32(1, 3, 1, 5),
    open=[(1, 0)],
)
add("gather_table", lambda x, i: tf.gather(x, i), r(6, 2), i32(1, 3, 1, 5), open=[(0, 0), (1, 0)])
add("index_tensor", lambda x, t: [x[t], x[t:], x[:t], x[t - 1 : t + 1], x[..., t]], r(4, 4), np.int32(2))
add("partition", lambda x, i: tf.dynamic_partition(x, i, 2), i32(10, 20, 30, 40), i32(0, 1, 1, 0))
add("partition_floats", lambda x: [p * p for p in tf.dynamic_partition(x, tf.cast(x[:, 0] > 0, tf.int32), 2)], r(5, 2))
add("stitch", lambda x: tf.dynamic_stitch([[0, 2], [1, 3]], [x[:2], x[2:4]]), r(4, 2))
add(
    "partition_stitch",
    lambda x: (lambda i: tf.dynamic_stitch(tf.dynamic_partition(tf.range(tf.shape(x)[0]), i, 2), tf.dynamic_partition(x, i, 2)))(
        tf.cast(x > 0, tf.int32)
    ),
    X,
)
add("unique", lambda x: list(tf.unique(x)) + list(tf.unique_with_counts(x)), i32(4, 1, 4, 2, 1))
add("unique_segments", lambda x: (lambda u: tf.math.unsorted_segment_sum(x, u[1], tf.size(u[0])))(tf.unique(tf.cast(x, tf.int32))), X)
add("unravel", lambda i: tf.unravel_index(i, [3, 4]), i32(5, 11, 0))
add("scatter_size", lambda i, x: tf.scatter_nd(i[:, None], x, tf.shape(x) * 2), i32(4, 1, 3), r(3))

# ------------------------------------------------------------------------------------------------ order, segments, counts
S = r(3, 6)
add("sort", lambda x: [tf.sort(x, axis=-1), tf.sort(x, axis=-1, direction="DESCENDING"), tf.sort(x, axis=0), tf.sort(x, axis=1)[:, 2:4]], S)
add(
    "argsort",
    lambda x: [
        tf.argsort(x, axis=1),
        tf.argsort(x, axis=1, direction="DESCENDING"),
        tf.gather(x, tf.argsort(x, axis=1), axis=1, batch_dims=1),
    ],
    S,
)
add("top_k", lambda x: [*tf.math.top_k(x, k=3), *tf.nn.top_k(x, k=2), tf.math.top_k(x).values], S)
add("top_k_ties", lambda x: list(tf.math.top_k(x, 2)), np.asarray([1, 2, 2, 0, 2], np.float32))
add("in_top_k", lambda x: [tf.math.in_top_k([1, 4, 0], x, 2), tf.nn.in_top_k([0, 1, 2], x, 1)], S)
IDS, UID = i32(0, 0, 1, 3, 3, 3), i32(2, 0, 1, 2, 0, 2)
add(
    "segments",
    lambda x, i: [
        tf.math.segment_sum(x, i),
        tf.math.segment_mean(x, i),
        tf.math.segment_max(x, i),
        tf.math.segment_min(x, i),
        tf.math.segment_prod(x, i),
    ],
    r(6, 3),
    IDS,
)
add("unsorted", lambda x, i: [tf.math.unsorted_segment_sum(x, i, 4), tf.math.unsorted_segment_mean(x, i, 3), tf.math.unsorted_segment_max(x, i, 3), tf.math.unsorted_segment_min(x, i, 3),
                              tf.math.unsorted_segment_prod(x, i, 3), tf.math.unsorted_segment_sqrt_n(x, i, 3)], r(6, 3), UID)  # fmt: skip
add("unsorted_drop", lambda x, i: tf.math.unsorted_segment_sum(x, i, 2), r(6, 3), i32(0, -1, 1, 0, -1, 1))
add(
    "bincount",
    lambda i: [tf.math.bincount(i), tf.math.bincount(i, minlength=6), tf.math.bincount(i, minlength=3, maxlength=3)],
    i32(1, 1, 3),
)
add(
    "searchsorted",
    lambda s, v: [tf.searchsorted(s, v), tf.searchsorted(s, v, side="right")],
    np.asarray([1, 3, 5], np.float32),
    np.asarray([0.5, 3, 9, 4], np.float32),
)
add(
    "histogram",
    lambda x: [tf.histogram_fixed_width(x, [0.0, 1.0], nbins=4), tf.histogram_fixed_width_bins(x, [0.0, 1.0], nbins=4)],
    np.asarray([0.1, 0.5, 0.9, 0.95], np.float32),
)
add(
    "confusion",
    lambda a, b: [tf.math.confusion_matrix(a, b, 3), tf.math.confusion_matrix(a, b, num_classes=4)],
    i32(0, 1, 2, 1),
    i32(0, 2, 2, 1),
)
add("confusion_open", lambda a, b: tf.math.confusion_matrix(a, b), i32(0, 1, 2, 1), i32(0, 2, 2, 1))
add("invert_permutation", lambda i: tf.math.invert_permutation(i), i32(2, 0, 1))

# ------------------------------------------------------------------------------------------------ linear algebra
L, S4, B42 = r(4, 4, dtype=np.float64), spd(4), r(4, 2, dtype=np.float64)
P3 = np.stack([spd(4), spd(4), spd(4)])
add("matmul", lambda a, b: [tf.matmul(a, b), a @ b, tf.matmul(a, b, transpose_a=True), tf.linalg.matmul(a, b)], L, B42)
add(
    "matmul_tb",
    lambda a, b: [tf.matmul(a, b, transpose_b=True), tf.matmul(a, b, transpose_a=True, transpose_b=True)],
    L,
    r(4, 4, dtype=np.float64),
)
add("matmul_batch", lambda a, b: [tf.matmul(a, b), a @ b[0]], r(3, 4, 4), r(3, 4, 4))
add("matvec", lambda a, b: tf.linalg.matvec(a, b), L, B42[:, 0])
add("dense", lambda x, w, b: tf.nn.relu(x @ w + b), r(5, 3), r(3, 2), r(2))
add("cholesky", tf.linalg.cholesky, S4, open=[])
add("cholesky_batch", tf.linalg.cholesky, P3)
add("solve", lambda a, b: [tf.linalg.solve(a, b), tf.linalg.solve(a, b, adjoint=True)], L, B42, open=[(1, 1)])
add(
    "triangular",
    lambda a, b: [
        tf.linalg.triangular_solve(tf.linalg.band_part(a, -1, 0), b),
        tf.linalg.triangular_solve(tf.linalg.band_part(a, 0, -1), b, lower=False),
    ],
    S4,
    B42,
    open=[(1, 1)],
)
add("cholesky_solve", lambda a, b: tf.linalg.cholesky_solve(tf.linalg.cholesky(a), b), S4, B42, open=[(1, 1)])
add("inv", lambda a: [tf.linalg.inv(a), tf.linalg.inv(a, adjoint=True)], L, open=[])
add("inv_batch", tf.linalg.inv, P3)
add("det", lambda a: [tf.linalg.det(a), tf.linalg.logdet(a), tf.linalg.slogdet(a)[1], tf.linalg.trace(a)], P3)
add("diag", lambda b: [tf.linalg.diag(b), tf.linalg.tensor_diag(b[:, 0])], B42)
add(
    "diag_part",
    lambda a, b: [tf.linalg.diag_part(a), tf.linalg.set_diag(a, b), tf.linalg.tensor_diag_part(a), tf.linalg.band_part(a, 1, 0)],
    L,
    B42[:, 0],
    open=[],
)
add("matrix_transpose", lambda a: [tf.linalg.matrix_transpose(a), tf.linalg.adjoint(a)], P3)
add("eigvals", lambda a: tf.linalg.eigvalsh(a), S4, open=[])
add("eigh", lambda a: (lambda e: e[0] ** 2 + tf.reduce_sum(tf.abs(e[1]), axis=0))(tf.linalg.eigh((a + tf.transpose(a)) / 2)), S4, open=[])
add("svd", lambda a: tf.linalg.svd(a, compute_uv=False), L, open=[])
add("svd_uv", lambda a: (lambda s: tf.matmul(s[1] * s[0][None, :], s[2], transpose_b=True))(tf.linalg.svd(a)), L, open=[])
add("qr", lambda a: tf.abs(tf.linalg.qr(a)[1]), L, open=[])
add("lstsq", lambda a, b: tf.linalg.lstsq(a, b, fast=True), r(6, 3, dtype=np.float64), r(6, 1, dtype=np.float64))
add("pinv", lambda a: tf.linalg.pinv(a), r(4, 3, dtype=np.float64), open=[])
add("matrix_rank", lambda a: tf.linalg.matrix_rank(a), L, open=[])
add("expm", lambda a: tf.linalg.expm(a / 4), L, open=[])
add("normalize", lambda a: list(tf.linalg.normalize(a, axis=0)) + [tf.linalg.norm(a), tf.linalg.l2_normalize(a, 1)], L)
add("cross", tf.linalg.cross, r(2, 3), r(2, 3))

# ------------------------------------------------------------------------------------------------ nn
LAB = np.eye(4, dtype=np.float32)[[1, 3, 0]]
add("softmax_ce", lambda z, l: tf.nn.softmax_cross_entropy_with_logits(labels=l, logits=z), r(3, 4), LAB)
add("softmax_ce_soft", lambda z, l: tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(l), z), r(3, 4), r(3, 4))
add("sparse_ce", lambda z, l: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=l, logits=z), r(3, 4), i32(1, 3, 0))
add("sparse_ce64", lambda z, l: tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(l, z)), r(3, 4), i64(1, 3, 0))
add("sigmoid_ce", lambda z, l: tf.nn.sigmoid_cross_entropy_with_logits(labels=l, logits=z), r(3, 4), LAB)
add("weighted_ce", lambda z, l: tf.nn.weighted_cross_entropy_with_logits(labels=l, logits=z, pos_weight=2.0), r(3, 4), LAB)
add("log_poisson", lambda x: tf.nn.log_poisson_loss(targets=tf.abs(x), log_input=x), r(5))
add("bias_add", lambda x, b: tf.nn.bias_add(x, b), r(2, 3, 4), r(4))
add("batch_norm", lambda x, m, v, b, s: tf.nn.batch_normalization(x, m, tf.abs(v) + 0.5, b, s, 1e-3), r(5, 3), r(3), r(3), r(3), r(3))
add("average_loss", lambda x: [tf.nn.compute_average_loss(x, global_batch_size=5), tf.nn.scale_regularization_loss(x)], r(4))
add("lrn", lambda x: [tf.nn.local_response_normalization(x), tf.nn.lrn(x, depth_radius=1)], r(2, 2, 2, 4))
IMG = r(2, 6, 5, 3)
add("conv2d", lambda x, k: tf.nn.conv2d(x, k, strides=1, padding="SAME"), IMG, r(3, 3, 3, 4))
add("conv2d_valid", lambda x, k: tf.nn.conv2d(x, k, strides=[1, 2, 2, 1], padding="VALID"), IMG, r(3, 2, 3, 2))
add("conv2d_stride", lambda x, k: tf.nn.conv2d(x, k, strides=2, padding="SAME"), IMG, r(3, 3, 3, 2))
add(
    "conv2d_dilated",
    lambda x, k: [tf.nn.conv2d(x, k, strides=1, padding="SAME", dilations=2), tf.nn.atrous_conv2d(x, k, 2, "VALID")],
    r(2, 6, 6, 2),
    r(2, 2, 2, 2),
    open=[(0, 0)],
)
add("conv1d", lambda x, k: tf.nn.conv1d(x, k, stride=1, padding="SAME"), r(2, 8, 3), r(3, 3, 4))
add("conv3d", lambda x, k: tf.nn.conv3d(x, k, strides=[1, 1, 1, 1, 1], padding="VALID"), r(2, 3, 4, 3, 1), r(2, 2, 2, 1, 2), open=[(0, 0)])
add("convolution", lambda x, k: tf.nn.convolution(x, k, padding="SAME"), r(2, 4, 4, 2), r(2, 2, 2, 1), open=[(0, 0)])
add("depthwise", lambda x, k: tf.nn.depthwise_conv2d(x, k, strides=[1, 1, 1, 1], padding="SAME"), r(2, 5, 5, 3), r(3, 3, 3, 2))
add(
    "separable",
    lambda x, k, p: tf.nn.separable_conv2d(x, k, p, strides=[1, 1, 1, 1], padding="SAME"),
    r(2, 5, 5, 3),
    r(3, 3, 3, 1),
    r(1, 1, 3, 2),
)
add(
    "conv_transpose",
    lambda x, k: tf.nn.conv2d_transpose(x, k, output_shape=[2, 8, 8, 2], strides=2, padding="SAME"),
    r(2, 4, 4, 3),
    r(3, 3, 2, 3),
    open=[],
)
add(
    "conv_transpose_open",
    lambda x, k: tf.nn.conv2d_transpose(x, k, output_shape=tf.stack([tf.shape(x)[0], 8, 8, 2]), strides=2, padding="SAME"),
    r(2, 4, 4, 3),
    r(3, 3, 2, 3),
)
add(
    "conv1d_transpose",
    lambda x, k: [tf.nn.conv1d_transpose(x, k, [2, 8, 2], 2), tf.nn.conv_transpose(x, k, [2, 8, 2], 2)],
    r(2, 4, 3),
    r(3, 2, 3),
    open=[],
)
add("conv3d_transpose", lambda x, k: tf.nn.conv3d_transpose(x, k, [1, 4, 4, 4, 1], 2), r(1, 2, 2, 2, 2), r(2, 2, 2, 1, 2), open=[])
add("atrous_transpose", lambda x, k: tf.nn.atrous_conv2d_transpose(x, k, [1, 6, 6, 2], 2, "SAME"), r(1, 6, 6, 3), r(3, 3, 2, 3), open=[])
add("depthwise_backprop", lambda x, k, g: [tf.nn.depthwise_conv2d_backprop_input([1, 5, 5, 2], k, g, [1, 1, 1, 1], "SAME"), tf.nn.depthwise_conv2d_backprop_filter(x, [3, 3, 2, 1], g, [1, 1, 1, 1], "SAME")],
    r(1, 5, 5, 2), r(3, 3, 2, 1), r(1, 5, 5, 2), open=[])  # fmt: skip
for _name, _f in {
    "max_pool": lambda x: tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID"), "max_pool_same": lambda x: tf.nn.max_pool2d(x, ksize=3, strides=2, padding="SAME"),
    "avg_pool": lambda x: tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID"), "avg_pool_same": lambda x: tf.nn.avg_pool2d(x, ksize=3, strides=2, padding="SAME"),
    "pools": lambda x: [tf.nn.max_pool(x, 2, 1, "VALID"), tf.nn.avg_pool(x, 2, 2, "SAME"), tf.nn.pool(x, [2, 2], "MAX", padding="VALID")],
    "pool1d": lambda x: [tf.nn.max_pool1d(x[:, 0], 2, 2, "VALID"), tf.nn.avg_pool1d(x[:, 0], 2, 1, "SAME")], "pool3d": lambda x: [tf.nn.max_pool3d(x[:, None], [1, 2, 2], 2, "SAME"), tf.nn.avg_pool3d(x[:, None], [1, 2, 2], 2, "SAME")],
    "pool_argmax": lambda x: list(tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")), "patches": lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    "resize": lambda x: [tf.image.resize(x, [4, 7]), tf.image.resize(x, [3, 3], method=tf.image.ResizeMethod.NEAREST_NEIGHBOR)],
}.items():  # fmt: skip
    add(f"image_{_name}", _f, IMG)
RGB = np.asarray(_random.uniform(0.1, 0.9, (2, 12, 12, 3)), np.float32)
for _name, _f in {
    "moved": lambda x: [tf.image.flip_left_right(x), tf.image.flip_up_down(x), tf.image.rot90(x), tf.image.central_crop(x, 0.5)],
    "cropped": lambda x: [tf.image.crop_to_bounding_box(x, 1, 2, 5, 6), tf.image.pad_to_bounding_box(x, 1, 2, 15, 16), tf.image.resize_with_crop_or_pad(x, 8, 14)],
    "fitted": lambda x: tf.image.resize_with_pad(x, 8, 14),
    "adjusted": lambda x: [tf.image.adjust_brightness(x, 0.1), tf.image.adjust_contrast(x, 1.5), tf.image.adjust_gamma(x, 2.0), tf.image.adjust_saturation(x, 0.7)],
    "hue": lambda x: [tf.image.adjust_hue(x, 0.1), tf.image.rgb_to_hsv(x), tf.image.hsv_to_rgb(x)],
    "linear_colours": lambda x: [tf.image.rgb_to_yiq(x), tf.image.yiq_to_rgb(x), tf.image.rgb_to_yuv(x), tf.image.yuv_to_rgb(x)],
    "grey": lambda x: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(x)),
    "measured": lambda x: [tf.image.psnr(x, 1 - x, 1.0), tf.image.ssim(x, 1 - x, 1.0), tf.image.total_variation(x), tf.image.per_image_standardization(x)],
    "edges": lambda x: [tf.image.sobel_edges(x), *tf.image.image_gradients(x)],
    "converted": lambda x: tf.image.convert_image_dtype(tf.image.convert_image_dtype(x, tf.uint8), tf.float32),
}.items():  # fmt: skip
    add(f"image_{_name}", _f, RGB, open=())
add(
    "transforms_of_cosines", lambda x: [tf.signal.dct(x), tf.signal.idct(x), tf.signal.mfccs_from_log_mel_spectrograms(x)], r(3, 8), open=()
)
add(
    "windows_of_signals",
    lambda x: [
        x[:8] * tf.signal.kaiser_window(8),
        x[:8] * tf.signal.vorbis_window(8),
        tf.signal.inverse_stft_window_fn(4)(8, tf.float32) * x[:8],
    ],
    r(9),
    open=(),
)
add("mel", lambda x: x @ tf.signal.linear_to_mel_weight_matrix(5, 9, 8000), r(2, 9), open=())
add("stacked", lambda x: tf.parallel_stack([x, 2.0 * x]), r(3))
add("bits_of_floats", lambda x: tf.bitcast(x, tf.int32), r(3))

# ------------------------------------------------------------------------------------------------ signals
W = r(2, 8)
add("rfft", lambda x: [tf.abs(tf.signal.rfft(x)), tf.signal.irfft(tf.signal.rfft(x))], W)
add("fft", lambda x: [tf.abs(tf.signal.fft(tf.complex(x, x))), tf.math.real(tf.signal.ifft(tf.signal.fft(tf.cast(x, tf.complex64))))], W)
add(
    "fft2d",
    lambda x: [
        tf.abs(tf.signal.fft2d(tf.complex(x, x))),
        tf.math.real(tf.signal.ifft2d(tf.complex(x, x))),
        tf.signal.irfft2d(tf.signal.rfft2d(x)),
    ],
    r(2, 4, 4),
)
add(
    "fft3d",
    lambda x: [
        tf.abs(tf.signal.fft3d(tf.complex(x, x))),
        tf.math.real(tf.signal.ifft3d(tf.complex(x, x))),
        tf.signal.irfft3d(tf.signal.rfft3d(x)),
    ],
    r(2, 2, 4),
)
add("fftshift", lambda x: [tf.signal.fftshift(x), tf.signal.ifftshift(x, axes=[1])], W)
add("frame", lambda x: [tf.signal.frame(x, 4, 2), tf.signal.overlap_and_add(tf.signal.frame(x, 4, 2), 2)], W)
add("stft", lambda x: [tf.abs(tf.signal.stft(x, 4, 2)), tf.signal.inverse_stft(tf.signal.stft(x, 4, 2), 4, 2)], W)

# ------------------------------------------------------------------------------------------------ control flow, functionals, the host
add("cond", lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0), X)
add("cond_taken", lambda x: tf.cond(tf.reduce_sum(x) > -100.0, lambda: tf.exp(x), lambda: x * x), X)
add("cond_outside", lambda x, y: tf.cond(x[0] < y[0], lambda: (x + y, tf.reduce_sum(x)), lambda: (x * y, tf.reduce_sum(y))), X, Y)
add("case", lambda x: tf.case([(x[0] > 5.0, lambda: x), (x[0] < 5.0, lambda: x * x)], default=lambda: -x), X)
add("switch_case", lambda x, i: tf.switch_case(i, [lambda: x, lambda: x * x, lambda: tf.sin(x)]), X, np.int32(2))
add("while_loop", lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x + 1.0), [tf.constant(0), x])[1], X)
add("while_data", lambda x: tf.while_loop(lambda y: tf.reduce_sum(y * y) < 100.0, lambda y: [y * 1.5], [x]), X)
add(
    "while_count",
    lambda n: tf.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + i * i), [tf.constant(0), tf.constant(0)]),
    np.int32(5),
)
add("python_loop", lambda x: sum(x * k for k in range(4)), X)
add("map_fn", lambda x: tf.map_fn(lambda row: tf.reduce_sum(row * row), x), M)
add("scan", lambda x: tf.scan(lambda a, row: a * 0.5 + row, x), M)
add("foldl", lambda x: [tf.foldl(lambda a, row: a * 0.9 + row, x), tf.foldr(lambda a, row: a * 0.9 - row, x)], M)
add("vectorized_map", lambda x: tf.vectorized_map(lambda row: tf.tanh(row) / (1.0 + tf.reduce_sum(row * row)), x), M)
add("py_function", lambda x: tf.ensure_shape(tf.py_function(lambda q: q * 2.0 + 1.0, [x], tf.float32), x.shape) * 3.0, X, open=[])
add("numpy_function", lambda x: tf.ensure_shape(tf.numpy_function(lambda q: np.sign(q) * q, [x], tf.float32), x.shape), X, open=[])
add(
    "custom_gradient", lambda x: tf.custom_gradient(lambda v: (tf.math.log(1 + tf.exp(v)), lambda up: up * (1 - 1 / (1 + tf.exp(v)))))(x), X
)
add("pass_through", lambda x: tf.grad_pass_through(tf.round)(x * 1.3) * x, X)
add("recompute", lambda x: tf.recompute_grad(lambda v: tf.tanh(v) * v)(x), X)
add(
    "assertions",
    lambda x: [tf.debugging.assert_greater(x, -9.0), tf.debugging.assert_near(x, x), tf.debugging.assert_all_finite(x, "no"), x * 2.0][-1],
    X,
)
add("print", lambda x: [tf.print("x", x, output_stream="file:///dev/null"), x + 1.0][-1], X)


# ------------------------------------------------------------------------------------------------ tapes in the computation
def _higher(f: Callable[..., Any]) -> Callable[..., Any]:
    def derivatives(x: Any) -> Any:
        with tf.GradientTape() as t2:
            t2.watch(x)
            with tf.GradientTape() as t1:
                t1.watch(x)
                y = f(x)
            a = t1.gradient(y, x)
        return [y, a, t2.gradient(a, x, unconnected_gradients="zero")]

    return derivatives


P = np.asarray([0.3, 0.9, 1.7], np.float64)
for _name, _f in {
    "tanh": tf.tanh, "sigmoid": tf.sigmoid, "log": tf.math.log, "sqrt": tf.sqrt, "softplus": tf.nn.softplus, "recip": lambda v: 1.0 / v, "pow": lambda v: v**2.5, "square": tf.square,
    "cos": tf.cos, "rsqrt": tf.math.rsqrt, "log1p": tf.math.log1p, "erf": tf.math.erf, "atan": tf.atan, "cosh": tf.cosh, "gelu": tf.nn.gelu, "expm1": tf.math.expm1,
    "cube": lambda v: v * v * v, "tan": tf.tan, "swish": tf.nn.silu, "elu": tf.nn.elu, "sort": lambda v: tf.sort(v * v), "cumprod": lambda v: tf.math.cumprod(v),
    "norm": lambda v: tf.norm(v), "softmax": lambda v: tf.nn.softmax(v), "gather": lambda v: tf.gather(v, [0, 2, 0]) ** 3, "prod": lambda v: tf.reduce_prod(v),
    "matmul": lambda v: v[None] @ (v[:, None] * v[None]), "logsumexp": lambda v: tf.reduce_logsumexp(v * v),
}.items():  # fmt: skip
    add(f"second_{_name}", _higher(_f), P)


def _jacobian(x: Any) -> Any:
    with tf.GradientTape() as t:
        t.watch(x)
        y = tf.stack([tf.reduce_sum(x * x), x[0] * x[1]])
    return t.jacobian(y, x)


def _batch_jacobian(x: Any) -> Any:
    with tf.GradientTape() as t:
        t.watch(x)
        y = tf.sigmoid(x[:, :2]) * tf.reduce_sum(x, axis=1, keepdims=True)
    return t.batch_jacobian(y, x)


def _penalty(x: Any, w: Any) -> Any:
    with tf.GradientTape() as t:
        t.watch(x)
        p = tf.tanh(x @ w) @ tf.transpose(w)
    return tf.reduce_mean((tf.norm(t.gradient(p, x), axis=1) - 1.0) ** 2)


def _hessian_product(x: Any, d: Any) -> Any:
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = tf.reduce_sum(x**3) + tf.sin(x[0] * x[2])
        g = t1.gradient(y, x)
    return t2.gradient(g, x, output_gradients=d)


def _structures(x: Any) -> Any:
    with tf.GradientTape(persistent=True) as t:
        t.watch(x)
        y, z = x * 2.0, tf.exp(x)
    return [
        t.gradient({"a": y, "b": [z, z]}, {"x": x})["x"],
        t.gradient([y, z], x, output_gradients=[z, None]),
        t.gradient(y, [x, z], unconnected_gradients="zero"),
        t.gradient(x, x),
    ]


def _recording(x: Any) -> Any:
    with tf.GradientTape() as t:
        t.watch(x)
        a = x * x
        with t.stop_recording():
            b = x * x * x
        c = a + b + x * tf.stop_gradient(x)
    with tf.GradientTape() as u:
        u.watch(x)
        d = x * 2.0
        u.reset()
        u.watch(x)
        e = d * x
    return [t.gradient(c, x), u.gradient(e, x)]


add("jacobian", _jacobian, P)
add("batch_jacobian", _batch_jacobian, r(3, 4))
add("penalty", _penalty, r(5, 3), r(3, 2), open=[(0, 0)])
add("hessian_product", _hessian_product, P, np.asarray([1.0, 2.0, -1.0]))
add("tape_structures", _structures, X)
add("tape_recording", _recording, X)


# --------------------------------------------------------------------------------------------- sparse tensors
def _sparse_arithmetic(x: Any, y: Any) -> Any:
    a, b = (tf.sparse.from_dense(tf.nn.relu(v)) for v in (x, y))
    return [
        tf.sparse.to_dense(s)
        for s in (
            tf.sparse.add(a, b),
            tf.sparse.add(a, b, threshold=0.5),
            tf.sparse.maximum(a, b),
            tf.sparse.minimum(a, tf.sparse.map_values(tf.negative, b)),
            a * y,
            a / 2.0,
            tf.cast(a, tf.float64),
        )
    ] + [tf.sparse.add(a, y), tf.sparse.to_dense(b, default_value=-1.0)]


def _sparse_arrangement(x: Any, y: Any) -> Any:
    a, b = (tf.sparse.from_dense(tf.nn.relu(v)) for v in (x, y))
    rows = tf.sparse.reduce_sum(a, 1, output_is_sparse=True)
    return [
        tf.sparse.to_dense(s)
        for s in (
            tf.sparse.reshape(a, [-1]),
            tf.sparse.transpose(a),
            tf.sparse.expand_dims(a, 1),
            tf.sparse.concat(0, [a, b]),
            tf.sparse.concat(-1, [a, b]),
            rows,
            tf.sparse.reorder(tf.SparseTensor(tf.reverse(a.indices, [0]), tf.reverse(a.values, [0]), a.dense_shape)),
        )
    ] + [tf.sparse.reduce_sum(a), tf.sparse.reduce_sum(a, 0, keepdims=True)]


def _sparse_products(x: Any, w: Any) -> Any:
    a = tf.sparse.from_dense(tf.nn.relu(x))
    return [
        tf.sparse.sparse_dense_matmul(a, w),
        tf.sparse.sparse_dense_matmul(w, a, adjoint_a=True, adjoint_b=True),
        tf.sparse.sparse_dense_matmul(a, tf.exp(x), adjoint_a=True),
    ]


add("sparse_arithmetic", _sparse_arithmetic, r(4, 3), r(4, 3))
add("sparse_arrangement", _sparse_arrangement, r(4, 3), r(4, 3))
add("sparse_products", _sparse_products, r(4, 3), r(3, 2), open=[(0, 0)])

# ------------------------------------------------------------------------------------------------ exceptions
# computation -> which variants differ ("static", "symbolic", "gradient" of either), and why
UNLIKE: dict[str, tuple[tuple[str, ...], str]] = {
    "unstack0": (("symbolic",), "a Python list needs a known length; TensorFlow refuses likewise"),
}
UNTRIED: dict[str, str] = {
    "experimental": "a namespace, not a function",
    "timestamp": "the time: never what eager code gave",
    **dict.fromkeys(
        [
            f"{kind}{what}"
            for kind in ("random_", "stateless_random_")
            for what in (
                "brightness",
                "contrast",
                "crop",
                "flip_left_right",
                "flip_up_down",
                "hue",
                "saturation",
            )
        ],
        "drawn: test_image.py compares them, eager and traced",
    ),
    **dict.fromkeys(("nce_loss", "sampled_softmax_loss"), "drawn: test_candidates.py compares them, eager and traced"),
    **dict.fromkeys(("non_max_suppression", "ssim_multiscale"), "test_image.py tries them"),
}
