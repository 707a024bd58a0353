"""tf.image: resizing keeps constants, matches values known from TensorFlow, and has gradients."""

import numpy as np
import pytest

import tapejit as tf

METHODS = ["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(8, 9), (2, 3), (4, 6)])
@pytest.mark.parametrize("antialias", [False, True])
def test_a_constant_image_stays_constant(method, size, antialias):
    out = tf.image.resize(np.full((2, 4, 6, 3), 7.0, "f4"), size, method, antialias=antialias)
    assert out.shape == (2, *size, 3)
    np.testing.assert_allclose(out, 7, rtol=1e-5)


def test_bilinear_takes_pixel_centres_at_halves():
    out = tf.image.resize(np.arange(4.0, dtype="f4").reshape(2, 2, 1), (4, 4))
    np.testing.assert_allclose(out[:, :, 0], [[0, 0.25, 0.75, 1], [0.5, 0.75, 1.25, 1.5], [1.5, 1.75, 2.25, 2.5], [2, 2.25, 2.75, 3]])


def test_nearest_keeps_the_dtype_and_picks():
    out = tf.image.resize(np.arange(4).reshape(1, 2, 2, 1), (3, 3), "nearest")
    assert out.dtype == tf.int64
    np.testing.assert_array_equal(out[0, :, :, 0], [[0, 1, 1], [2, 3, 3], [2, 3, 3]])


def test_area_is_the_mean_of_blocks():
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 2)).astype("f4")
    np.testing.assert_allclose(tf.image.resize(x, (2, 3), "area"), x.reshape(1, 2, 2, 3, 2, 2).mean((2, 4)), rtol=1e-5, atol=1e-6)


def test_other_methods_give_float32_but_for_a_size_that_is_right():
    assert tf.image.resize(np.ones((2, 2, 1), "u1"), (3, 3)).dtype == tf.float32
    assert tf.image.resize(np.ones((2, 2, 1), "u1"), (2, 2)).dtype == tf.uint8
    assert tf.image.resize(np.ones((4, 8, 1)), (2, 2), preserve_aspect_ratio=True).shape == (1, 2, 1)


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_the_gradient_is_the_transpose(method):
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype("f4"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.image.resize(x, (5, 7), method)
    np.testing.assert_allclose(tf.reduce_sum(tape.gradient(y, x, y) * x), tf.reduce_sum(y * y), rtol=1e-4)


def test_extract_patches():
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID")[0, 1, 0], [8, 9, 12, 13])


def test_refusals():
    with pytest.raises(ValueError, match="3 or 4 dimensions"):
        tf.image.resize(np.ones((2, 2)), (3, 3))
    with pytest.raises(ValueError, match="write one of"):
        tf.image.resize(np.ones((2, 2, 1)), (3, 3), "cubic")
    with pytest.raises(ValueError, match="2 elements"):
        tf.image.resize(np.ones((2, 2, 1)), 3)
