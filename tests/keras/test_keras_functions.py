"""Keras' functions of nn, math, image and recurrent layers: traced with open sizes as eagerly, with the same slopes; what the peers agree on."""

from importlib.util import find_spec

import numpy as np
import pytest

import tapejit as tf


def _ops():
    return tf.keras.ops


RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 6, 6, 4)).astype("float32")
KERNEL = RNG.normal(size=(3, 3, 4, 5)).astype("float32")
BACK = RNG.normal(size=(3, 3, 2, 4)).astype("float32")
ROWS = RNG.normal(size=(3, 7)).astype("float32")
HEADS = RNG.normal(size=(2, 5, 4, 3)).astype("float32")
SIGNAL = RNG.normal(size=(2, 64)).astype("float32")

CASES = {
    "conv": (IMAGES, lambda o, x: o.conv(x, KERNEL, 2, "same")),
    "conv channels first": (IMAGES, lambda o, x: o.conv(o.transpose(x, (0, 3, 1, 2)), KERNEL, 1, "valid", "channels_first")),
    "depthwise": (IMAGES, lambda o, x: o.depthwise_conv(x, KERNEL[..., :2], 1, "same")),
    "separable": (IMAGES, lambda o, x: o.separable_conv(x, KERNEL[..., :1], KERNEL[:1, :1], 1, "same")),
    "transposed": (IMAGES, lambda o, x: o.conv_transpose(x, BACK, 3, "same", 2)),
    "transposed, stride beyond the kernel": (IMAGES, lambda o, x: o.conv_transpose(x, BACK, 5)),
    "max pool": (IMAGES, lambda o, x: o.max_pool(x, 3, 2, "same")),
    "average pool": (IMAGES, lambda o, x: o.average_pool(x, 2, None, "valid")),
    "attention": (HEADS, lambda o, x: o.dot_product_attention(x, x[:, :, :2], x[:, :, :2], is_causal=True)),
    "softmax of all": (ROWS, lambda o, x: o.softmax(x, None)),
    "sparsemax": (ROWS, lambda o, x: o.sparsemax(x)),
    "celu": (ROWS, lambda o, x: o.celu(x, 0.5)),
    "sparse plus": (ROWS, lambda o, x: o.sparse_plus(x)),
    "soft shrink": (ROWS, lambda o, x: o.soft_shrink(x)),
    "moments": (IMAGES, lambda o, x: o.moments(x, (0, 1, 2))[1]),
    "layer normalization": (ROWS, lambda o, x: o.layer_normalization(x)),
    "cross-entropy": (ROWS, lambda o, x: o.categorical_crossentropy(o.softmax(-x), x, from_logits=True)),
    "sparse cross-entropy": (ROWS, lambda o, x: o.sparse_categorical_crossentropy([1, 6, 0], x, from_logits=True)),
    "unfold": (IMAGES, lambda o, x: o.unfold(x, 2, 1, 1, 2)),
    "space to depth": (IMAGES, lambda o, x: o.space_to_depth(x, 2, "channels_first")),
    "stft": (SIGNAL, lambda o, x: o.stft(x, 16, 4, 32)[1]),
    "segments": (ROWS, lambda o, x: o.segment_max(x, np.array([0, 2, 0]), 3)),
    "norm": (ROWS, lambda o, x: o.norm(x, ord=3, axis=-1)),
    "resize": (IMAGES, lambda o, x: o.image.resize(x, (9, 4), "bicubic", antialias=True)),
    "blur": (IMAGES, lambda o, x: o.image.gaussian_blur(x, (3, 5), (1.0, 2.0))),
    "affine": (IMAGES, lambda o, x: o.image.affine_transform(x, [0.9, 0.1, 1, -0.2, 1, 0.3, 0, 0], fill_mode="reflect")),
    "hue": (RNG.uniform(size=(2, 3, 3, 3)).astype("float32"), lambda o, x: o.image.rgb_to_hsv(x)),
}


@pytest.mark.parametrize("name", CASES)
def test_traced_with_an_open_batch_as_eagerly(name):
    x, function = CASES[name]

    def value_and_slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(_ops(), x)
            loss = tf.reduce_sum(tf.where(tf.math.is_finite(y), tf.sin(y), tf.zeros_like(y)))
        return y, tape.gradient(loss, x)

    eager = value_and_slope(tf.constant(x))
    shape = x.shape if name in ("segments", "sparse cross-entropy") else (None, *x.shape[1:])
    traced = tf.function(value_and_slope, input_signature=[tf.TensorSpec(shape, tf.float32)])(tf.constant(x))
    for a, b in zip(eager, traced, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert np.any(np.asarray(eager[1]) != 0)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "lanczos3"])
def test_images_of_open_size_are_resized(interpolation):
    resize = tf.keras.layers.Resizing(5, 4, interpolation)
    traced = tf.function(resize, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    for size in ((9, 7), (3, 8)):
        x = RNG.normal(size=(2, *size, 3)).astype("float32")
        np.testing.assert_allclose(traced(x), resize(x), rtol=1e-4, atol=1e-5)


def test_fold_is_the_transpose_of_unfold():
    o = _ops()
    x = tf.constant(IMAGES)
    columns = o.unfold(x, 3, 1, 1, 2)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = o.unfold(x, 3, 1, 1, 2)
    slope = tape.gradient(y, x, output_gradients=columns)
    np.testing.assert_allclose(o.fold(columns, IMAGES.shape[2:], 3, 1, 1, 2), slope, rtol=1e-5)


def test_adaptive_pooling_divides_evenly():
    x = np.arange(5, dtype="float32").reshape(1, 5, 1)
    np.testing.assert_allclose(np.ravel(_ops().adaptive_average_pool(x, 3, "channels_last")), [0.5, 2, 3.5])
    np.testing.assert_allclose(np.ravel(_ops().adaptive_max_pool(x, 3, "channels_last")), [1, 3, 4])


def test_ctc_loss_sums_over_alignments():
    logits = RNG.normal(size=(1, 3, 3)).astype("float32")
    p = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    paths = [(a, b, c) for a in range(3) for b in range(3) for c in range(3)]

    def label(path):
        merged = [x for k, x in enumerate(path) if k == 0 or x != path[k - 1]]
        return [x for x in merged if x]

    expected = -np.log(sum(p[0, a] * p[1, b] * p[2, c] for a, b, c in paths if label((a, b, c)) == [1, 2]))
    loss = tf.function(_ops().ctc_loss)(np.array([[1, 2]]), logits, np.array([2]), np.array([3]))
    np.testing.assert_allclose(loss, [expected], rtol=1e-5)


def test_beam_search_finds_the_likeliest_labels():
    o = _ops()
    logits = np.log(np.array([[[0.4, 0.6, 0.0], [0.4, 0.6, 0.0]]], "float32") + 1e-6)
    best, scores = o.ctc_decode(logits, np.array([2]), "beam_search", beam_width=4, top_paths=2, mask_index=1)
    np.testing.assert_array_equal(best[0, 0], [0, -1])  # 0.64 in three alignments, though each is less likely than no label: 0.36
    np.testing.assert_allclose(np.exp(scores)[0], [0.64, 0.36], rtol=1e-3)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_recurrent_layers_by_loops_traced_and_eager_and_unrolled(kind, go_backwards):
    x = RNG.normal(size=(3, 5, 4)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 1, 0]], bool)
    layer = getattr(tf.keras.layers, kind)(3, return_sequences=True, go_backwards=go_backwards)
    unrolled = getattr(tf.keras.layers, kind)(3, return_sequences=True, go_backwards=go_backwards, unroll=True)

    def value_and_slopes(layer, x):
        with tf.GradientTape() as tape:
            y = layer(x, mask=mask)
            loss = tf.reduce_sum(tf.square(y))
        return y, tape.gradient(loss, layer.trainable_variables)

    eager = value_and_slopes(layer, tf.constant(x))
    unrolled.build(x.shape)
    unrolled.set_weights(layer.get_weights())
    traced = tf.function(lambda x: value_and_slopes(layer, x))(tf.constant(x))
    for other in (traced, value_and_slopes(unrolled, tf.constant(x))):
        np.testing.assert_allclose(eager[0], other[0], rtol=1e-4, atol=1e-5)
        for a, b in zip(eager[1], other[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_draws_follow_from_their_seed():
    random = tf.keras.random
    for draw in (
        lambda s: random.normal((4,), seed=s),
        lambda s: random.beta((4,), 2.0, 3.0, seed=s),
        lambda s: random.randint((20,), 0, 100, seed=s),
        lambda s: random.categorical(np.zeros((2, 50)), 5, seed=s),
        lambda s: random.shuffle(np.arange(30), seed=s),
    ):
        np.testing.assert_array_equal(draw(1), draw(1))
        assert np.any(np.asarray(draw(1)) != np.asarray(draw(2)))
    draws = np.asarray(random.beta((4000,), 2.0, 3.0, seed=0))
    assert abs(draws.mean() - 0.4) < 0.02


def test_an_open_batch_is_shuffled():
    f = tf.function(lambda x: tf.keras.random.shuffle(x, seed=3), input_signature=[tf.TensorSpec([None, 2])])
    x = np.arange(14, dtype="float32").reshape(7, 2)
    found = np.asarray(f(x))
    assert not np.array_equal(found, x)
    np.testing.assert_array_equal(found[found[:, 0].argsort()], x)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="Flash attention"):
        _ops().dot_product_attention(HEADS, HEADS, HEADS, flash_attention=True)


def test_a_seed_of_keras_seeds_our_random_numbers_too():
    drawn = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(3)
        drawn.append((np.random.rand(), tf.random.uniform([2]).numpy().tolist()))
    assert drawn[0] == drawn[1]


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="with TensorFlow installed Keras makes TensorFlow's datasets")
def test_utilities_written_on_tensorflow_run_on_tapejit():
    windows = tf.keras.utils.timeseries_dataset_from_array(np.arange(20.0), np.arange(20.0)[5:], sequence_length=5, batch_size=4)
    assert isinstance(windows, tf.data.Dataset)
    np.testing.assert_array_equal(next(iter(windows))[0], np.arange(4)[:, None] + np.arange(5))
    left, right = tf.keras.utils.split_dataset(np.arange(10), left_size=0.7)
    assert (len(left), len(right)) == (7, 3)
    assert tf.keras.saving.serialize_keras_object({"shape": tf.TensorShape([2, None]), "dtype": tf.float32}) == {
        "shape": [2, None],
        "dtype": "float32",
    }


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_what_needs_tensorflow_says_so():
    with pytest.raises(ImportError, match="IntegerLookup requires TensorFlow"):
        tf.keras.layers.IntegerLookup(vocabulary=[3, 5])
    with pytest.raises(ImportError, match=r"uses tf\.io of TensorFlow, which tapejit does not have"):
        tf.keras.utils.image_dataset_from_directory("gs://anywhere")


def test_the_shape_of_a_weight_is_a_tensor_shape():
    layer = tf.keras.layers.Dense(3)
    layer.build((None, 2))
    assert layer.kernel.shape == (2, 3)
    assert layer.kernel.shape.as_list() == [2, 3]
    assert int(_ops().prod(layer.kernel.shape)) == 6
