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


IMAGES = np.random.default_rng(1).uniform(0.05, 1, size=(2, 6, 5, 3)).astype("f4")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (tf.image.flip_left_right, lambda x: x[..., ::-1, :]),
        (tf.image.flip_up_down, lambda x: x[..., ::-1, :, :]),
        (tf.image.transpose, lambda x: np.swapaxes(x, -3, -2)),
        (tf.image.rot90, lambda x: np.rot90(x, 1, (-3, -2))),
        (lambda x: tf.image.rot90(x, 2), lambda x: np.rot90(x, 2, (-3, -2))),
        (lambda x: tf.image.rot90(x, k=-1), lambda x: np.rot90(x, 3, (-3, -2))),
        (lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 3, 2), lambda x: x[..., 1:4, 2:4, :]),
        (lambda x: tf.image.central_crop(x, 0.5), lambda x: x[..., 1:5, 1:4, :]),
        (
            lambda x: tf.image.resize_with_crop_or_pad(x, 3, 8),
            lambda x: np.pad(x[..., 1:4, :, :], [(0, 0)] * (x.ndim - 2) + [(1, 2), (0, 0)]),
        ),
    ],
)
def test_pixels_that_move(function, expected):
    for x in (IMAGES, IMAGES[0]):
        np.testing.assert_array_equal(function(x), expected(x))
        np.testing.assert_array_equal(tf.function(function)(tf.constant(x)), expected(x))


def test_margins():
    out = tf.image.pad_to_bounding_box(IMAGES, 1, 2, 9, 10).numpy()
    np.testing.assert_array_equal(out[:, 1:7, 2:7], IMAGES)
    assert out.shape == (2, 9, 10, 3)
    assert out.sum() == pytest.approx(IMAGES.sum(), rel=1e-5)
    wide = tf.image.resize_with_pad(tf.ones((1, 4, 8, 1)), 6, 6).numpy()[0, :, :, 0]
    np.testing.assert_allclose(wide, np.pad(np.ones((3, 6)), [(1, 2), (0, 0)]))
    with pytest.raises(ValueError, match="target"):
        tf.image.pad_to_bounding_box(IMAGES, 4, 0, 9, 10)
    with pytest.raises(ValueError, match="target"):
        tf.image.crop_to_bounding_box(IMAGES, 4, 0, 3, 3)


def test_dtypes_of_images():
    pixels = np.array([0, 1, 128, 255], np.uint8)
    floats = tf.image.convert_image_dtype(pixels, tf.float32)
    np.testing.assert_allclose(floats, pixels / 255, rtol=1e-6)
    np.testing.assert_array_equal(tf.image.convert_image_dtype(floats, tf.uint8), pixels)
    np.testing.assert_array_equal(tf.image.convert_image_dtype([-0.5, 1.5], tf.uint8, saturate=True), [0, 255])
    np.testing.assert_array_equal(tf.image.convert_image_dtype(pixels, tf.int16), pixels.astype(int) * 128)
    np.testing.assert_array_equal(tf.image.convert_image_dtype(np.array([0, 128, 32767], np.int16), tf.uint8), [0, 1, 255])


def test_colour_spaces():
    import colorsys

    hsv = tf.image.rgb_to_hsv(IMAGES).numpy()
    np.testing.assert_allclose(hsv.reshape(-1, 3), [colorsys.rgb_to_hsv(*p) for p in IMAGES.reshape(-1, 3).tolist()], atol=1e-6)
    np.testing.assert_allclose(tf.image.hsv_to_rgb(hsv), IMAGES, atol=1e-6)
    np.testing.assert_array_equal(tf.image.rgb_to_hsv([[[0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]]), [[[0, 0, 0.5], [0, 0, 0]]])
    for there, back in ((tf.image.rgb_to_yiq, tf.image.yiq_to_rgb), (tf.image.rgb_to_yuv, tf.image.yuv_to_rgb)):
        np.testing.assert_allclose(back(there(IMAGES)), IMAGES, atol=2e-4)  # as exact as the published matrices
        np.testing.assert_allclose(there([[[1.0, 1.0, 1.0]]]), [[[1, 0, 0]]], atol=1e-4)
    np.testing.assert_allclose(tf.image.rgb_to_yiq([[[1.0, 2.0, 3.0]]]), [[[1.815, -0.91724455, 0.09962624]]], rtol=1e-5)  # TensorFlow's
    np.testing.assert_array_equal(tf.image.grayscale_to_rgb(IMAGES[..., :1]), np.repeat(IMAGES[..., :1], 3, -1))
    np.testing.assert_allclose(tf.image.rgb_to_grayscale(IMAGES), (IMAGES @ [[0.2989], [0.587], [0.114]]), rtol=1e-5)


def test_adjustments():
    mean = IMAGES.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(tf.image.adjust_contrast(IMAGES, 2.0), (IMAGES - mean) * 2 + mean, atol=1e-5)
    np.testing.assert_allclose(tf.image.adjust_gamma(IMAGES, 2.0, 3.0), 3 * IMAGES**2, rtol=1e-5)
    np.testing.assert_allclose(tf.image.adjust_hue(tf.image.adjust_hue(IMAGES, 0.3), -0.3), IMAGES, atol=1e-5)
    gray = tf.image.adjust_saturation(IMAGES, 0.0)
    np.testing.assert_allclose(gray, np.repeat(IMAGES.max(-1, keepdims=True), 3, -1), atol=1e-6)
    bytes_ = tf.image.adjust_brightness(np.array([[[0, 100, 250]]], np.uint8), 0.1)
    assert bytes_.dtype == tf.uint8
    np.testing.assert_array_equal(bytes_, [[[25, 125, 255]]])
    x = tf.image.per_image_standardization(IMAGES)
    np.testing.assert_allclose([np.mean(x, axis=(1, 2, 3)), np.std(x, axis=(1, 2, 3))], [[0, 0], [1, 1]], atol=1e-5)
    np.testing.assert_array_equal(tf.image.per_image_standardization(np.full((2, 2, 3), 7, np.uint8)), np.zeros((2, 2, 3)))


def test_random_changes_repeat_with_their_seed():
    same = (1, 2)
    for name, arguments in {
        "flip_left_right": (), "flip_up_down": (), "brightness": (0.2,), "hue": (0.2,), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "crop": ((2, 3, 2, 3),),
    }.items():  # fmt: skip
        stateless = getattr(tf.image, f"stateless_random_{name}")
        np.testing.assert_array_equal(stateless(IMAGES, *arguments, seed=same), stateless(IMAGES, *arguments, seed=same))
        results = {stateless(IMAGES, *arguments, seed=(k, 0)).numpy().tobytes() for k in range(12)}
        assert len(results) > 1
        drawn = getattr(tf.image, f"random_{name}")
        tf.random.set_seed(1)
        eager = drawn(IMAGES, *arguments)
        tf.random.set_seed(1)
        np.testing.assert_allclose(tf.function(lambda x, d=drawn, a=arguments: d(x, *a))(IMAGES), eager, atol=1e-5)


def test_likeness():
    x, y = (tf.image.resize(z, (24, 24)) for z in (IMAGES, IMAGES[::-1].copy()))
    np.testing.assert_allclose(tf.image.psnr(x, y, 1.0), -10 * np.log10(np.mean((x - y) ** 2, axis=(1, 2, 3))), rtol=1e-5)
    np.testing.assert_allclose(tf.image.ssim(x, x, 1.0), [1, 1], rtol=1e-5)
    window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    views = [np.lib.stride_tricks.sliding_window_view(np.asarray(z, np.float64), (11, 11), axis=(1, 2)) for z in (x, y)]
    a, b = views
    mean = [(v * window).sum((-1, -2)) for v in views]
    second = [(v * w * window).sum((-1, -2)) for v, w in ((a, a), (b, b), (a, b))]
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mean[0] * mean[1] + c1) * (2 * (second[2] - mean[0] * mean[1]) + c2)
    expected /= (mean[0] ** 2 + mean[1] ** 2 + c1) * (second[0] + second[1] - mean[0] ** 2 - mean[1] ** 2 + c2)
    np.testing.assert_allclose(tf.image.ssim(x, y, 1.0), expected.mean((1, 2, 3)), rtol=1e-3)
    assert tf.image.ssim(x, y, 1.0, return_index_map=True).shape == (2, 14, 14)
    large = tf.image.resize(IMAGES, (176, 176))
    np.testing.assert_allclose(tf.image.ssim_multiscale(large, large, 1.0), [1, 1], rtol=1e-5)
    with pytest.raises(ValueError, match="smaller than the filter"):
        tf.image.ssim(IMAGES, IMAGES, 1.0)


def test_slopes():
    down, across = tf.image.image_gradients(IMAGES)
    np.testing.assert_allclose(down, np.diff(IMAGES, axis=1, append=IMAGES[:, -1:]), atol=1e-7)
    np.testing.assert_allclose(across, np.diff(IMAGES, axis=2, append=IMAGES[:, :, -1:]), atol=1e-7)
    total = np.abs(down).sum((1, 2, 3)) + np.abs(across).sum((1, 2, 3))
    np.testing.assert_allclose(tf.image.total_variation(IMAGES), total, rtol=1e-5)
    ramp = np.broadcast_to(np.arange(5.0, dtype="f4")[None, :, None, None], (1, 5, 4, 2))
    edges = tf.image.sobel_edges(ramp.copy()).numpy()
    np.testing.assert_array_equal(edges[0, 1:-1, :, :, 0], np.full((3, 4, 2), 8))
    np.testing.assert_array_equal(edges[..., 1], np.zeros((1, 5, 4, 2)))


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "traced"])
@pytest.mark.parametrize(("most", "overlap", "least"), [(10, 0.3, -np.inf), (3, 0.3, -np.inf), (10, 0.6, 0.4), (10, 0.0, 2.0)])
def test_boxes_that_overlap_better_ones_are_left_out(wrap, most, overlap, least):
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 1, size=(20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, 0.6, size=(20, 2))], axis=1).astype("f4")
    boxes[::3] = boxes[::3, [2, 3, 0, 1]]  # any two corners
    scores = rng.uniform(size=20).astype("f4")

    def area(low, high):
        return np.prod(np.maximum(high - low, 0))

    kept = []
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    for k in np.argsort(-scores):
        shared = [area(np.maximum(low[k], low[j]), np.minimum(high[k], high[j])) for j in kept]
        both = [area(low[k], high[k]) + area(low[j], high[j]) - s for j, s in zip(kept, shared, strict=True)]
        if scores[k] > least and len(kept) < most and all(s <= overlap * b for s, b in zip(shared, both, strict=True)):
            kept.append(k)
    found = wrap(lambda b, s: tf.image.non_max_suppression(b, s, most, overlap, least))(boxes, scores)
    assert found.dtype == tf.int32
    assert found.numpy().tolist() == kept
