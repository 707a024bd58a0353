"""`keras.ops` of NumPy's functions: values as NumPy has them, eagerly and traced with open sizes, gradients, and no needless ops."""

import numpy as np
import pytest

import tapejit as tf

rng = np.random.default_rng(0)
A, B = rng.normal(size=(2, 3, 4)).astype("f")
T = rng.normal(size=(2, 3, 4)).astype("f")
V, W = rng.normal(size=5).astype("f"), rng.normal(size=3).astype("f")
P = np.abs(A) + 0.5
I, J = rng.integers(-5, 9, (3, 4)).astype("i4"), rng.integers(1, 7, (3, 4)).astype("i4")
N = np.where(A > 1, np.nan, A).astype("f")

UNARY = {
    "absolute fabs negative sign square floor ceil trunc cos sin tan sinh cosh tanh arctan arcsinh exp exp2 expm1 cbrt deg2rad rad2deg "
    "sinc isnan isfinite isinf isneginf isposinf signbit isreal conj real imag angle copy round nan_to_num logical_not argmax argmin "
    "cumsum cumprod sort argsort ravel transpose flip fliplr flipud diff trapezoid ptp median std var zeros_like ones_like": (A,),
    "sqrt log log2 log10 log1p reciprocal i0": (P,),
    "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanmedian nanargmax nanargmin nancumsum nancumprod": (N,),
    "fmax fmin isclose": (N, B),
    "add subtract multiply divide maximum minimum arctan2 hypot logaddexp logaddexp2 heaviside equal not_equal greater greater_equal "
    "less less_equal nextafter logical_and logical_or logical_xor inner vdot outer kron append": (A, B),
    "mod fmod floor_divide gcd lcm bitwise_and bitwise_or bitwise_xor left_shift right_shift isin": (I, J),
    "bitwise_not count_nonzero nonzero unique": (I,),
}
CASES = [(name, args, {}) for names, args in UNARY.items() for name in names.split()] + [
    ("power", (P, B), {}),
    ("ldexp", (A, I), {}),
    ("clip", (A, -0.5, 0.5), {}),
    *((name, (T,), {"axis": axis, "keepdims": keep}) for name in ("sum", "mean", "max", "all") for axis, keep in ((1, True), ((0, -1), False))),
    *((name, (N, 0.3), {"axis": 1, "method": m}) for name in ("quantile", "nanquantile") for m in ("linear", "lower", "higher", "midpoint", "nearest")),
    ("percentile", (T, np.array([10, 90], "f")), {"axis": (0, 1), "keepdims": True}),
    ("average", (A,), {"axis": 0, "weights": W}),
    ("searchsorted", (np.sort(V), A), {"side": "right"}),
    ("digitize", (A, np.sort(V)), {}),
    ("bincount", (J.ravel(),), {}),
    ("histogram", (A,), {"bins": 5}),
    ("unique", (J,), {"return_index": True, "return_inverse": True, "return_counts": True}),
    ("matmul", (T, B.T), {}),
    ("matmul", (W, A), {}),
    ("dot", (T, V[:4]), {}),
    ("tensordot", (T, A), {"axes": ((1, 2), (0, 1))}),
    *(("correlate", pair, {"mode": m}) for pair in ((V, W), (V[:4], V)) for m in ("valid", "same", "full")),
    ("reshape", (A, -1), {}),
    ("expand_dims", (A, (0, -1)), {}),
    ("moveaxis", (T, (0, 1), (-1, 0)), {}),
    *(("rot90", (T, k), {}) for k in range(-1, 3)),
    ("stack", ([A, B],), {"axis": -1}),
    ("concatenate", ([A, B],), {}),
    *((name, ([V, V],), {}) for name in ("hstack", "vstack", "dstack")),
    ("split", (A, [1, 3]), {"axis": 1}),
    ("tile", (A, (2, 1, 3)), {}),
    ("repeat", (A, [1, 2, 0]), {"axis": 0}),
    ("roll", (A, (1, 2)), {"axis": (0, 1)}),
    *(("pad", (A, ((1, 2), (2, 1))), {"mode": m}) for m in ("constant", "reflect", "symmetric", "edge", "wrap")),
    ("where", (A > 0, A, B), {}),
    ("select", ([A > 0, A < -0.5], [A, B]), {"default": 3.0}),
    ("take", (A, np.array([-1, 2])), {"axis": 1}),
    ("take_along_axis", (A, np.array([[0], [1], [-1]])), {"axis": 1}),
    *((name, (A, k), {}) for name in ("diag", "diagonal", "trace", "tril", "triu", "diagflat") for k in (-1, 0, 2)),
    ("diff", (A,), {"n": 2, "axis": 0}),
    ("trapezoid", (A, V[:4]), {}),
    ("meshgrid", (V, W), {}),
]  # fmt: skip


def keras_numpy():
    assert tf.keras.ops  # Keras is there
    from tapejit.keras.implementation import numpy

    return numpy


def flat(y):
    return [np.asarray(v) for v in y] if isinstance(y, tuple | list) else [np.asarray(y)]


def check(got, want):
    assert len(flat(got)) == len(flat(want))
    for g, w in zip(flat(got), flat(want), strict=True):
        assert g.shape == w.shape
        np.testing.assert_allclose(g, w, rtol=2e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "args", "options"), CASES, ids=[f"{k}-{c[0]}" for k, c in enumerate(CASES)])
def test_values_are_those_of_numpy_also_with_open_sizes(name, args, options):
    function = getattr(keras_numpy(), name)
    want = getattr(np, name)(*args, **options)
    check(function(*args, **options), want)
    arrays = [x for a in args for x in (a if isinstance(a, list) else [a]) if isinstance(x, np.ndarray)]

    @tf.function(input_signature=[tf.TensorSpec([None] * x.ndim, x.dtype) for x in arrays])
    def traced(*tensors):
        given = iter(tensors)

        def put(a):
            return next(given) if isinstance(a, np.ndarray) else [put(x) for x in a] if isinstance(a, list) else a

        return function(*(put(a) for a in args), **options)

    check(traced(*arrays), want)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sinc", (A,)), ("cbrt", (P,)), ("hypot", (A, B)), ("logaddexp2", (A, B)), ("nanmean", (N,)), ("nanvar", (N,)), ("median", (A,)),
        ("take_along_axis", (A, np.array([[1], [0], [3]]))), ("trapezoid", (A,)), ("cross", (A[:, :3], B[:, :3])), ("correlate", (V, W, "full")),
        ("vander", (V, 4)), ("corrcoef", (A,)), ("diagonal", (A, 1)), ("roll", (A, 1)), ("average", (A,)),
    ],
)  # fmt: skip
def test_gradients_are_the_slopes(name, args):
    function = getattr(keras_numpy(), name)
    options = {"axis": 1} if name == "take_along_axis" else {}
    x, *others = args
    weights = rng.normal(size=np.asarray(function(*args, **options)).shape)

    def total(x):
        return tf.reduce_sum(tf.cast(function(x, *others, **options), tf.float64) * weights)

    wide = tf.constant(x, tf.float64)
    others = [o.astype("f8") if isinstance(o, np.ndarray) and o.dtype.kind == "f" else o for o in others]
    with tf.GradientTape() as tape:
        tape.watch(wide)
        y = total(wide)
    step = np.where(np.isnan(x), 0, rng.normal(size=x.shape)) * 1e-4
    slope = (total(wide + step) - total(wide - step)) / 2
    np.testing.assert_allclose(np.nansum(tape.gradient(y, wide) * step), slope, rtol=1e-2, atol=1e-7)


def test_dtypes_are_those_of_keras_rules():
    knp = keras_numpy()
    half, small, flag = tf.ones([2], tf.float16), tf.ones([2], tf.int8), tf.ones([2], tf.bool)
    assert knp.add(half, 2.5).dtype == tf.float16
    assert knp.add(small, 2.5).dtype == tf.float32
    assert knp.add(tf.ones([2], tf.int64), 1).dtype == tf.int64
    assert knp.sum(small).dtype == tf.int32
    assert knp.sum(tf.ones([2], tf.uint8)).dtype == tf.uint32
    assert knp.add(flag, flag).dtype == tf.bool
    assert knp.mod(flag, flag).dtype == tf.int32
    assert knp.mean(tf.fill([70000], tf.constant(2, tf.float16))) == 2
    assert knp.matmul(tf.ones([2, 2], tf.int8), tf.ones([2, 2], tf.int8)).dtype == tf.int32


def test_what_stands_as_it_is_records_no_op():
    knp = keras_numpy()
    x = tf.ones([2, 3])

    def ops(function):
        return [node.op.name for node in tf.function(function).get_concrete_function(x).graph.walk()]

    assert ops(lambda x: knp.add(x, 1.5)) == ["add"]
    assert ops(lambda x: knp.sum(x, axis=1)) == ["sum"]
    assert ops(lambda x: knp.take(x, [0, 1], axis=0)).count("gather") == 1
    assert ops(lambda x: knp.transpose(x, (0, 1))) == []
    assert ops(lambda x: knp.maximum(knp.multiply(x, 2.0), 0.0)) == ["mul", "maximum"]


def test_windows_ranges_and_patterns():
    knp = keras_numpy()
    for name in ("bartlett", "blackman", "hamming", "hanning"):
        for size in (1, 2, 7):
            check(getattr(knp, name)(size), getattr(np, name)(size))
    check(knp.kaiser(7, 3.0), np.kaiser(7, 3.0))
    check(knp.arange(5, 0), np.arange(5, 0))
    check(knp.arange(0, 1, 0.1), np.arange(0, 1, 0.1))
    check(knp.linspace(W, 2.0, 5, endpoint=False, axis=-1), np.linspace(W, 2.0, 5, endpoint=False, axis=-1))
    check(knp.geomspace(-1.0, -1000.0, 4), np.geomspace(-1.0, -1000.0, 4))
    check(knp.logspace(0.0, 2.0, 4, base=2), np.logspace(0.0, 2.0, 4, base=2))
    check(knp.tri(3, 4, 1), np.tri(3, 4, 1))
    check(knp.eye(3, 4, -1), np.eye(3, 4, -1))
    check(knp.unique(np.array([[2, 1], [0, 3], [2, 1]]), axis=0), np.array([[0, 3], [2, 1]]))
    check(knp.unique(np.array([3, 1, 3]), size=4, fill_value=9), np.array([1, 3, 9, 9]))
    check(knp.view(np.array([1.0, -2.0], "f"), "int32"), np.array([1.0, -2.0], "f").view("i4"))
    check(knp.view(np.arange(4, dtype="i2"), "int32"), np.arange(4, dtype="i2").view("i4"))


def test_numbers_beside_floats_of_16_bits():
    x, y = np.array([1, -1, 0, 0, 2, np.inf, 3], "f2"), np.array([2, 0, 1, -1, 2, 0, np.nan], "f2")
    check(keras_numpy().nextafter(x, y), np.nextafter(x, y))
    assert keras_numpy().nextafter(tf.constant(1, tf.bfloat16), tf.constant(2, tf.bfloat16)) == 1 + 2.0**-7


def test_vectorize_maps_over_all_axes():
    knp = keras_numpy()
    dot = knp.vectorize(lambda a, b: tf.reduce_sum(a * b), signature="(n),(n)->()")
    check(dot(T, A), (T * A).sum(-1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda k: k.rot90(V), ValueError, "at least 2 dimensions"),
        (lambda k: k.split(A, 3, axis=1), ValueError, "does not fit axis 1"),
        (lambda k: k.pad(A, 1, "edge", 3), ValueError, "constant_values"),
        (lambda k: k.pad(A, 1, "linear_ramp"), NotImplementedError, "linear_ramp"),
        (lambda k: k.quantile(A, 0.5, method="odd"), ValueError, "odd"),
        (lambda k: k.searchsorted(A, V), ValueError, "1-D"),
        (lambda k: k.ldexp(A, B), TypeError, "integer"),
        (lambda k: k.max(np.zeros([0, 2], "f"), axis=0), ValueError, "empty axis"),
        (lambda k: k.correlate(V, W, mode="odd"), ValueError, "odd"),
        (lambda k: k.view(np.zeros(3, "i2"), "int32"), ValueError, "cannot be viewed"),
    ],
)
def test_what_cannot_be_is_said(call, error, message):
    with pytest.raises(error, match=message):
        call(keras_numpy())
