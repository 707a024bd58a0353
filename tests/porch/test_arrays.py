"""Every array function gives the same traced as eagerly, with sizes known and with a symbolic first axis."""

import numpy as np
import pytest
from tracing import eager, record, same_traced

import tapejit as tf

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3)).astype("float32")
Y = rng.normal(size=(4, 3)).astype("float32")
V = rng.normal(size=4).astype("float32")
I = np.array([3, 0, 2, 1], "int32")
M = np.array([True, False, True, True])
T = np.array(2, "int32")

CASES = [
    ("x[1]", lambda x: x[1], (X,)),
    ("x[-1]", lambda x: x[-1], (X,)),
    ("x[1:]", lambda x: x[1:], (X,)),
    ("x[:-1]-x[1:]", lambda x: x[:-1] - x[1:], (X,)),
    ("x[::2]", lambda x: x[::2], (X,)),
    ("x[::-1]", lambda x: x[::-1], (X,)),
    ("half", lambda x: x[: tf.shape(x)[0] // 2], (X,)),
    (
        "x[t]",
        lambda x, t: x[t],
        (
            X,
            T,
        ),
    ),
    (
        "x[t:]",
        lambda x, t: x[t:],
        (
            X,
            T,
        ),
    ),
    ("x[:,None,1]", lambda x: x[:, None, 1], (X,)),
    (
        "x[mask]",
        lambda x, m: x[m],
        (
            X,
            M,
        ),
    ),
    (
        "x[-t:]",
        lambda x, t: x[-t:],
        (
            X,
            T,
        ),
    ),
    (
        "x[t-1:t+1]",
        lambda x, t: x[t - 1 : t + 1],
        (
            X,
            T,
        ),
    ),
    ("x[:2]", lambda x: x[:2], (X,)),
    ("x[1:3]", lambda x: x[1:3, ::-1], (X,)),
    ("zeros", lambda x: tf.zeros([tf.shape(x)[0], 4]), (X,)),
    ("resh", lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 3]), (X,)),
    ("resh2", lambda x: tf.reshape(x, [-1]), (X,)),
    ("resh3", lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [3, 1]], 0)), (X,)),
    ("resh4", lambda x: tf.reshape(x, [-1, tf.reduce_prod(tf.shape(x)[1:])]), (X,)),
    ("like", lambda x: [tf.zeros_like(x), tf.ones_like(x)], (X,)),
    ("fill", lambda x: tf.fill(tf.shape(x), 7.0), (X,)),
    ("size", lambda x: [tf.size(x), tf.rank(x), tf.shape(x)], (X,)),
    ("sizef", lambda x: tf.reduce_sum(x) / tf.cast(tf.shape(x)[0], tf.float32), (X,)),
    ("sizes", lambda x: tf.reduce_sum(x) / tf.cast(tf.size(x), tf.float32), (X,)),
    ("range", lambda x: tf.range(tf.shape(x)[0]), (X,)),
    ("range2", lambda x: tf.range(1, tf.shape(x)[0], 2), (X,)),
    ("ranget", lambda t: tf.range(t), (T,)),
    ("range3", lambda x: tf.range(tf.shape(x)[0] - 1, -1, -1), (X,)),
    (
        "concat",
        lambda x, y: tf.concat([x, y, x], 0),
        (
            X,
            Y,
        ),
    ),
    (
        "concat1",
        lambda x, y: tf.concat([x, y], -1),
        (
            X,
            Y,
        ),
    ),
    (
        "stack",
        lambda x, y: tf.stack([x, y], 1),
        (
            X,
            Y,
        ),
    ),
    ("unstack", lambda x: tf.unstack(x, axis=1), (X,)),
    ("split", lambda x: tf.split(x, 2, axis=0), (X,)),
    ("split2", lambda x: tf.split(x, [1, -1], axis=0), (X,)),
    ("split3", lambda x: tf.split(x, 3, axis=1), (X,)),
    ("tile", lambda x: tf.tile(x, [2, 1]), (X,)),
    ("tile2", lambda x: tf.tile(x[:1], [tf.shape(x)[0], 1]), (X,)),
    ("repeat", lambda x: tf.repeat(x, 2, axis=0), (X,)),
    (
        "repeatn",
        lambda x, i: tf.repeat(x, i, axis=0),
        (
            X,
            I,
        ),
    ),
    ("repeat_flat", lambda x: tf.repeat(x, 2), (X,)),
    ("reverse", lambda x: tf.reverse(x, [0, 1]), (X,)),
    ("roll", lambda x: tf.roll(x, 1, 0), (X,)),
    (
        "rollt",
        lambda x, t: tf.roll(x, t, 0),
        (
            X,
            T,
        ),
    ),
    ("pad", lambda x: tf.pad(x, [[1, 2], [0, 1]], constant_values=3), (X,)),
    ("padr", lambda x: tf.pad(x, [[1, 1], [0, 2]], "REFLECT"), (X,)),
    ("padt", lambda x: tf.pad(x, [[0, 8 - tf.shape(x)[0]], [0, 0]]), (X,)),
    ("expand", lambda x: tf.squeeze(tf.expand_dims(x, 0), [0]), (X,)),
    ("ensure", lambda x: tf.ensure_shape(x, [None, 3]), (X,)),
    ("ensure4", lambda x: tf.ensure_shape(x, [4, 3]), (X,)),
    (
        "rs",
        lambda x, i: tf.reverse_sequence(x, i, seq_axis=1, batch_axis=0),
        (
            X,
            I,
        ),
    ),
    (
        "gather",
        lambda x, i: tf.gather(x, i),
        (
            X,
            I,
        ),
    ),
    (
        "gather1",
        lambda x, i: tf.gather(x, i % 3, axis=1),
        (
            X,
            I,
        ),
    ),
    (
        "gatherb",
        lambda x, i: tf.gather(x, i % 3, axis=1, batch_dims=1),
        (
            X,
            I,
        ),
    ),
    (
        "gnd",
        lambda x, i: tf.gather_nd(x, tf.stack([i, i % 3], 1)),
        (
            X,
            I,
        ),
    ),
    (
        "gndb",
        lambda x, i: tf.gather_nd(x, tf.reshape(i % 3, [-1, 1]), batch_dims=1),
        (
            X,
            I,
        ),
    ),
    (
        "scnd",
        lambda x, i: tf.scatter_nd(i[:, None], x, [6, 3]),
        (
            X,
            I,
        ),
    ),
    (
        "tsu",
        lambda x, y, i: tf.tensor_scatter_nd_update(x, i[:, None], y),
        (
            X,
            Y,
            I,
        ),
    ),
    (
        "tsa",
        lambda x, y, i: tf.tensor_scatter_nd_add(x, i[:, None], y),
        (
            X,
            Y,
            I,
        ),
    ),
    (
        "tsm",
        lambda x, y, i: tf.tensor_scatter_nd_max(x, i[:, None], y),
        (
            X,
            Y,
            I,
        ),
    ),
    ("where3", lambda x: tf.where(x > 0, x, 0.0), (X,)),
    ("where1", lambda x: tf.where(x > 0), (X,)),
    (
        "bmask",
        lambda x, m: tf.boolean_mask(x, m),
        (
            X,
            M,
        ),
    ),
    ("bmask2", lambda x: tf.boolean_mask(x, x > 0), (X,)),
    ("unique", lambda i: tf.unique_with_counts(i % 2), (I,)),
    (
        "dynp",
        lambda x, i: tf.dynamic_partition(x, i % 2, 2),
        (
            X,
            I,
        ),
    ),
    (
        "dyns",
        lambda x, i: tf.dynamic_stitch([i], [x]),
        (
            X,
            I,
        ),
    ),
    ("sort", lambda x: tf.sort(x, axis=0), (X,)),
    ("sortd", lambda x: tf.sort(x, direction="DESCENDING"), (X,)),
    ("argsort", lambda x: tf.argsort(x, axis=0), (X,)),
    ("topk", lambda x: tf.math.top_k(x, 2), (X,)),
    (
        "intopk",
        lambda x, i: tf.math.in_top_k(i % 3, x, 2),
        (
            X,
            I,
        ),
    ),
    ("ss", lambda v: tf.searchsorted(tf.sort(v), v), (V,)),
    (
        "segs",
        lambda x, i: tf.math.segment_sum(x, tf.sort(i)),
        (
            X,
            I,
        ),
    ),
    (
        "segmax",
        lambda x, i: tf.math.segment_max(x, tf.sort(i) // 2 * 2),
        (
            X,
            I,
        ),
    ),
    (
        "useg",
        lambda x, i: tf.math.unsorted_segment_mean(x, i % 2, 3),
        (
            X,
            I,
        ),
    ),
    (
        "usq",
        lambda x, i: tf.math.unsorted_segment_sqrt_n(x, i % 2, 3),
        (
            X,
            I,
        ),
    ),
    (
        "usb",
        lambda x, i: tf.math.unsorted_segment_sum(x, i, tf.shape(x)[0]),
        (
            X,
            I,
        ),
    ),
    ("bincount", lambda i: tf.math.bincount(i), (I,)),
    ("bincountm", lambda i: tf.math.bincount(i, maxlength=3, minlength=2), (I,)),
    ("hist", lambda v: tf.histogram_fixed_width(v, [-1.0, 1.0], 5), (V,)),
    ("conf", lambda i: tf.math.confusion_matrix(i, i[::-1], 4), (I,)),
    ("conf2", lambda i: tf.math.confusion_matrix(i, i[::-1]), (I,)),
    ("sm", lambda i: tf.sequence_mask(i, 5), (I,)),
    ("sm2", lambda i: tf.sequence_mask(i), (I,)),
    ("eye", lambda x: tf.eye(tf.shape(x)[0]), (X,)),
    ("oh", lambda i: tf.one_hot(i, 4), (I,)),
    (
        "oh2",
        lambda i, x: tf.one_hot(i, tf.shape(x)[0], axis=0, on_value=2.0, off_value=-1.0),
        (
            I,
            X,
        ),
    ),
    ("diag", lambda v: tf.linalg.diag(v), (V,)),
    ("diagp", lambda x: tf.linalg.diag_part(x), (X,)),
    ("setd", lambda x: tf.linalg.set_diag(x, [1.0, 2.0, 3.0]), (X,)),
    ("band", lambda x: tf.linalg.band_part(x, 1, 0), (X,)),
    ("trace", lambda x: tf.linalg.trace(x), (X,)),
    ("td", lambda v: tf.linalg.tensor_diag_part(tf.linalg.tensor_diag(v)), (V,)),
    (
        "mesh",
        lambda v, i: tf.meshgrid(v, i),
        (
            V,
            I,
        ),
    ),
    ("lin", lambda v: tf.linspace(v[0], v[1], 5), (V,)),
    ("slice", lambda x: tf.slice(x, [1, 0], [-1, 2]), (X,)),
    ("ss 2", lambda x: tf.strided_slice(x, [1, 0], [3, 2], [1, 1], end_mask=1), (X,)),
    ("invp", lambda i: tf.math.invert_permutation(i), (I,)),
    ("unr", lambda i: tf.unravel_index(i, [2, 2]), (I,)),
    ("bds", lambda x: tf.broadcast_dynamic_shape(tf.shape(x), [1, 3]), (X,)),
    ("transpose", lambda x: tf.transpose(x), (X,)),
    ("sizemin", lambda x: x[: tf.minimum(tf.shape(x)[0], 2)], (X,)),
    ("drange", lambda x: tf.gather(x, tf.range(tf.shape(x)[0] - 1)), (X,)),
    ("one", lambda x: x[tf.shape(x)[0] - 1], (X,)),
    ("iter", lambda x: [r * 2 for r in tf.unstack(x, 4)], (X,)),
    (
        "eq",
        lambda x, y: x == y,
        (
            X,
            Y,
        ),
    ),
]


@pytest.mark.parametrize(("f", "arrays"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_traced_is_eager(f, arrays):
    same_traced(f, *arrays)


@pytest.mark.sweep
@pytest.mark.parametrize(("f", "arrays"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("symbolic", [False, True])
def test_compiled_is_eager(f, arrays, symbolic):
    signature = [tf.TensorSpec([None, *a.shape[1:]] if a.ndim else [], a.dtype) for a in arrays] if symbolic else None
    got = tf.nest.flatten(tf.function(f, input_signature=signature)(*map(tf.constant, arrays)))
    for g, w in zip(got, eager(f, *arrays), strict=True):
        assert (g.dtype, g.shape) == (w.dtype, w.shape)
        np.testing.assert_allclose(g.numpy(), w, rtol=1e-5, atol=1e-6)


def test_shapes_stay_symbolic():
    def f(x):
        half = x[: tf.shape(x)[0] // 2]
        flat = tf.reshape(x, [tf.shape(x)[0], -1])
        wide = tf.zeros([tf.shape(x)[0] * 2, tf.reduce_prod(tf.shape(x)[1:])])
        return half, flat, wide, x[1:] - x[:-1], tf.concat([x, x], 0)

    shown = [str(r.type) for r in record(f, [X], 4).graph.results]
    assert shown == ["f32[B // 2, 3]", "f32[B, 3]", "f32[2 * B, 3]", "f32[max(0, B - 1), 3]", "f32[2 * B, 3]"]


def test_values():
    np.testing.assert_array_equal(tf.pad([[1, 2, 3]], [[0, 0], [2, 1]], "REFLECT"), [[3, 2, 1, 2, 3, 2]])
    np.testing.assert_array_equal(tf.pad([[1, 2, 3]], [[1, 0], [2, 1]], "SYMMETRIC"), [[2, 1, 1, 2, 3, 3], [2, 1, 1, 2, 3, 3]])
    np.testing.assert_array_equal(tf.repeat([[1, 2], [3, 4]], [1, 2], axis=0), [[1, 2], [3, 4], [3, 4]])
    np.testing.assert_array_equal(tf.one_hot([1, -1], 2, axis=0), [[0, 0], [1, 0]])
    np.testing.assert_array_equal(tf.range(5.0, 0.0, -1.5), np.array([5, 3.5, 2, 0.5], "float32"))
    np.testing.assert_array_equal(tf.linspace(0, 10, 5), np.array([0, 2.5, 5, 7.5, 10]))
    np.testing.assert_array_equal(tf.reverse_sequence([[1, 2, 3], [4, 5, 6]], [2, 3], seq_axis=1), [[2, 1, 3], [6, 5, 4]])
    np.testing.assert_array_equal(tf.dynamic_stitch([[0, 2], [1, 2]], [[1, 2], [3, 4]]), [1, 3, 4])
    np.testing.assert_array_equal(tf.math.segment_max([1.0, 5.0, 2.0], [0, 0, 2]), np.array([5, 0, 2], "float32"))
    np.testing.assert_array_equal(tf.math.unsorted_segment_max([1.0, 5.0], [0, -1], 2), np.array([1, np.finfo("float32").min], "float32"))
    np.testing.assert_array_equal(tf.math.bincount([1, 1, 3], weights=[0.5, 1.0, 2.0]), np.array([0, 1.5, 0, 2], "float32"))
    np.testing.assert_array_equal(tf.linalg.diag([[0, 2], [3, 4]], k=(0, 1)), [[3, 2], [0, 4]])
    np.testing.assert_array_equal(
        tf.batch_to_space(tf.space_to_batch(tf.range(16)[None, :, None], [4], [[0, 0]]), [4], [[0, 0]])[0, :, 0], np.arange(16)
    )
    top = tf.math.top_k([1.0, 2.0, 2.0, 0.0], 3)
    np.testing.assert_array_equal(top.indices, [1, 2, 0])
    unique = tf.unique_with_counts([4, 1, 4, 2, 1])
    assert [u.numpy().tolist() for u in unique] == [[4, 1, 2], [0, 1, 0, 2, 1], [2, 2, 1]]


@pytest.mark.parametrize(
    "f",
    [
        lambda: tf.reshape(tf.zeros([4]), [3]),
        lambda: tf.reshape(tf.zeros([4]), [3, -1]),
        lambda: tf.gather([1.0, 2.0], [2]),
        lambda: tf.gather([1.0, 2.0], [-1]),
        lambda: tf.gather_nd([[1.0]], [[0, 1]]),
        lambda: tf.scatter_nd([[3]], [1.0], [3]),
        lambda: tf.concat([tf.zeros([1, 2]), tf.zeros([1, 3])], 0),
        lambda: tf.concat([tf.zeros([1]), tf.zeros([1], tf.int32)], 0),
        lambda: tf.stack([tf.zeros([1]), tf.zeros([2])]),
        lambda: tf.split(tf.zeros([5]), 2),
        lambda: tf.squeeze(tf.zeros([2]), [0]),
        lambda: tf.pad(tf.zeros([2]), [[3, 0]], "REFLECT"),
        lambda: tf.math.top_k(tf.zeros([2]), 3),
        lambda: tf.math.segment_sum(tf.zeros([2]), [1, 0]),
        lambda: tf.math.unsorted_segment_sum(tf.zeros([2]), [0, 5], 2),
        lambda: tf.ensure_shape(tf.zeros([2]), [3]),
        lambda: tf.broadcast_to(tf.zeros([2]), [3]),
        lambda: tf.range(0, 3, 0),
        lambda: tf.zeros([2])[2],
        lambda: tf.zeros([2])[0, 0],
        lambda: tf.unique([[1]]),
    ],
)
def test_bad_input_raises_invalid_argument_with_the_line(f):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"test_arrays\.py"):
        f()


@pytest.mark.parametrize("key", [1.5, "a", True, [0.5], (0, "b")])
def test_what_is_no_index_is_a_type_error(key):
    with pytest.raises(TypeError, match="valid indices"):
        tf.zeros([2, 2])[key]
