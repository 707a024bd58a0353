"""tf.nn: edges and values as TensorFlow has them, short gradients of losses, data formats, statistics of dropout, refusals."""

import numpy as np
import pytest
import scipy.special

import tapejit as tf


def gradient(f, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return tape.gradient(y, x).numpy()


# ------------------------------------------------------------------------------------------------ activations
@pytest.mark.parametrize(
    ("f", "at_zero"),
    [(tf.nn.relu, 0), (tf.nn.relu6, 0), (tf.nn.leaky_relu, np.float32(0.2)), (tf.nn.elu, 1), (tf.nn.selu, 1.0507009873554805), (tf.nn.softsign, 1), (tf.nn.gelu, 0.5), (tf.nn.silu, 0.5), (tf.nn.softplus, 0.5)],
)  # fmt: skip
def test_gradient_at_zero(f, at_zero):
    np.testing.assert_allclose(gradient(f, np.zeros(1)), [at_zero], rtol=1e-15)


def test_relu6_stops_at_its_edges():
    np.testing.assert_array_equal(gradient(tf.nn.relu6, [-1.0, 0.0, 3.0, 6.0, 7.0]), [0, 0, 1, 0, 0])


def test_activation_values():
    x = np.linspace(-4, 4, 9)
    np.testing.assert_allclose(tf.nn.elu(x), np.where(x < 0, np.expm1(x), x))
    np.testing.assert_allclose(tf.nn.leaky_relu(x, 0.5), np.where(x > 0, x, x / 2))
    np.testing.assert_allclose(tf.nn.silu(x, 2.0), x * scipy.special.expit(2 * x))
    np.testing.assert_allclose(tf.nn.gelu(x), x * scipy.special.ndtr(x), atol=1e-7)
    np.testing.assert_allclose(tf.nn.gelu(x, approximate=True), x * scipy.special.ndtr(x), atol=1e-3)
    np.testing.assert_array_equal(tf.nn.crelu(x), np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)]))
    np.testing.assert_array_equal(tf.nn.relu(np.array([-3, 4])), [0, 4])


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_along_any_axis(axis):
    x = np.random.default_rng(0).normal(size=(3, 4, 2)) * 5
    np.testing.assert_allclose(tf.nn.softmax(x, axis), scipy.special.softmax(x, axis))
    np.testing.assert_allclose(tf.nn.log_softmax(x, axis), scipy.special.log_softmax(x, axis))


def test_softmax_does_not_overflow_and_keeps_half_precision():
    np.testing.assert_allclose(tf.nn.softmax([1000.0, 1000.0, -1000.0]), [0.5, 0.5, 0])
    assert tf.nn.softmax(tf.constant([1.0, 2.0], tf.float16)).dtype == tf.float16
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"write tf\.cast"):
        tf.nn.softmax([1, 2])


# ------------------------------------------------------------------------------------------------ losses
def test_gradient_of_cross_entropies_is_softmax_less_labels():
    random = np.random.default_rng(0)
    z, labels = random.normal(size=(4, 5)) * 3, np.array([0, 4, 2, 2])
    wanted = scipy.special.softmax(z, -1) - np.eye(5)[labels]
    np.testing.assert_allclose(gradient(lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x), z), wanted, atol=1e-14)
    np.testing.assert_allclose(gradient(lambda x: tf.nn.softmax_cross_entropy_with_logits(np.eye(5)[labels], x), z), wanted, atol=1e-14)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z)
    np.testing.assert_allclose(loss, -scipy.special.log_softmax(z, -1)[np.arange(4), labels])


def test_second_order_of_sparse_cross_entropy():
    z = np.random.default_rng(0).normal(size=(1, 3))
    x = tf.constant(z)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits([1], x)
        first = inner.gradient(loss, x)[0, 0]
    p = scipy.special.softmax(z[0])
    np.testing.assert_allclose(outer.gradient(first, x), [[p[0] * (1 - p[0]), -p[0] * p[1], -p[0] * p[2]]])


def test_logistic_loss_keeps_small_values():
    x, y = np.array([50.0, -50.0, 0.0, 3.0]), np.array([1.0, 0.0, 0.5, 0.0])
    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x)
    np.testing.assert_allclose(loss, [np.exp(-50), np.exp(-50), np.log(2), 3 + np.log1p(np.exp(-3))], rtol=1e-12)
    np.testing.assert_allclose(gradient(lambda z: tf.nn.sigmoid_cross_entropy_with_logits(y, z), x), scipy.special.expit(x) - y)
    weighted = tf.nn.weighted_cross_entropy_with_logits(y, x, 3.0)
    np.testing.assert_allclose(weighted, -3 * y * scipy.special.log_expit(x) - (1 - y) * scipy.special.log_expit(-x), atol=1e-12)


def test_losses_refuse_what_does_not_fit():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"5 is not in \[0, 3\)"):
        tf.nn.sparse_softmax_cross_entropy_with_logits([5], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"must equal `logits\.shape\.rank - 1`"):
        tf.nn.sparse_softmax_cross_entropy_with_logits([[1]], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="except for the last dimension"):
        tf.nn.sparse_softmax_cross_entropy_with_logits([1, 2], [[1.0, 2.0, 3.0]])
    with pytest.raises(TypeError, match="labels must be integers"):
        tf.nn.sparse_softmax_cross_entropy_with_logits([1.0], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="must have the same shape"):
        tf.nn.sigmoid_cross_entropy_with_logits(labels=[1.0], logits=[1.0, 2.0])


def test_log_poisson_and_average_loss():
    t, x = np.array([0.5, 3.0]), np.array([0.2, 1.0])
    np.testing.assert_allclose(tf.nn.log_poisson_loss(t, x), np.exp(x) - x * t)
    full = np.exp(x) - x * t + np.array([0, 3 * np.log(3) - 3 + 0.5 * np.log(6 * np.pi)])
    np.testing.assert_allclose(tf.nn.log_poisson_loss(t, x, compute_full_loss=True), full)
    assert float(tf.nn.compute_average_loss([2.0, 4.0], sample_weight=[1.0, 0.5], global_batch_size=4)) == 1.0


# ------------------------------------------------------------------------------------------------ convolution and pooling
def test_channels_first_is_the_transpose_of_channels_last():
    random = np.random.default_rng(0)
    x, w = random.normal(size=(2, 5, 6, 3)), random.normal(size=(3, 2, 3, 4))
    turned = x.transpose(0, 3, 1, 2)
    last = tf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME").numpy()
    first = tf.nn.conv2d(turned, w, [1, 1, 2, 1], "SAME", data_format="NCHW").numpy()
    np.testing.assert_allclose(first, last.transpose(0, 3, 1, 2), atol=1e-12)
    pooled = tf.nn.max_pool2d(turned, 2, 2, "VALID", data_format="NCHW").numpy()
    np.testing.assert_array_equal(pooled, tf.nn.max_pool2d(x, 2, 2, "VALID").numpy().transpose(0, 3, 1, 2))


def test_convolution_of_every_rank_and_more_batch_axes():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 8, 2))
    np.testing.assert_allclose(
        tf.nn.conv1d(x, np.ones((3, 2, 1)), 1, "VALID")[:, :, :, 0], sum(x[:, :, k : k + 6].sum(-1) for k in range(3))
    )
    assert tf.nn.conv3d(np.ones((1, 4, 4, 4, 2)), np.ones((2, 2, 2, 2, 3)), [1] * 5, "SAME").shape == (1, 4, 4, 4, 3)
    assert tf.nn.convolution(np.ones((1, 4, 4, 4, 2)), np.ones((2, 2, 2, 2, 3)), padding="VALID", dilations=2).shape == (1, 2, 2, 2, 3)
    padded = tf.nn.conv2d(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)), 1, [[0, 0], [1, 0], [0, 2], [0, 0]])
    np.testing.assert_array_equal(padded[0, :, :, 0], [[2, 2, 1, 0], [4, 4, 2, 0], [4, 4, 2, 0]])


def test_separable_is_depthwise_then_pointwise():
    random = np.random.default_rng(0)
    x, d, p = random.normal(size=(1, 5, 5, 2)), random.normal(size=(3, 3, 2, 2)), random.normal(size=(1, 1, 4, 3))
    full = np.einsum("hwcm,cmf->hwcf", d, p[0, 0].reshape(2, 2, 3))
    np.testing.assert_allclose(tf.nn.separable_conv2d(x, d, p, [1, 1, 1, 1], "SAME"), tf.nn.conv2d(x, full, 1, "SAME"), atol=1e-12)


def test_depthwise_backprop_functions_are_its_gradients():
    random = np.random.default_rng(0)
    x, w = tf.constant(random.normal(size=(1, 5, 6, 2))), tf.constant(random.normal(size=(3, 2, 2, 3)))
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = tf.nn.depthwise_conv2d(x, w, [1, 2, 2, 1], "SAME")
    g = tf.constant(random.normal(size=y.shape))
    dx, dw = tape.gradient(y, [x, w], g)
    np.testing.assert_allclose(tf.nn.depthwise_conv2d_backprop_input(x.shape, w, g, [1, 2, 2, 1], "SAME"), dx)
    np.testing.assert_allclose(tf.nn.depthwise_conv2d_backprop_filter(x, w.shape, g, [1, 2, 2, 1], "SAME"), dw)


def test_conv_transpose_checks_its_output_shape():
    w = np.ones((3, 3, 2, 3), "f4")
    with pytest.raises(ValueError, match="takes \\[batch, 5, 5, 3\\]"):
        tf.nn.conv2d_transpose(np.ones((1, 4, 4, 3), "f4"), w, [1, 9, 9, 2], 2)
    with pytest.raises(ValueError, match="has 5 channels"):
        tf.nn.conv2d_transpose(np.ones((1, 4, 4, 3), "f4"), w, [1, 8, 8, 5], 2)


def test_arguments_of_windows_are_checked():
    x = np.ones((1, 4, 4, 3), "f4")
    with pytest.raises(tf.errors.InvalidArgumentError, match="3 vs 2"):
        tf.nn.conv2d(x, np.ones((2, 2, 2, 1), "f4"), 1, "SAME")
    with pytest.raises(ValueError, match="strides must be 1 in the batch"):
        tf.nn.conv2d(x, np.ones((2, 2, 3, 1), "f4"), [2, 1, 1, 1], "SAME")
    with pytest.raises(ValueError, match="padding must be"):
        tf.nn.max_pool2d(x, 2, 2, "FULL")
    with pytest.raises(ValueError, match="data_format must be"):
        tf.nn.max_pool2d(x, 2, 2, "SAME", data_format="NWC")
    with pytest.raises(ValueError, match="for a single example"):
        tf.nn.conv2d(x[0], np.ones((2, 2, 3, 1), "f4"), 1, "SAME")


def test_max_pool_gives_ties_to_the_first():
    x = np.zeros((1, 2, 2, 1))
    np.testing.assert_array_equal(gradient(lambda t: tf.nn.max_pool2d(t, 2, 2, "VALID"), x)[0, :, :, 0], [[1, 0], [0, 0]])
    low = np.full((1, 3, 1), -np.inf)
    np.testing.assert_array_equal(gradient(lambda t: tf.nn.max_pool1d(t, 3, 3, "SAME"), low)[0, :, 0], [1, 0, 0])


def test_average_pool_does_not_count_padding():
    np.testing.assert_array_equal(tf.nn.avg_pool2d(np.ones((1, 3, 3, 1)), 3, 2, "SAME"), np.ones((1, 2, 2, 1)))
    x = np.arange(8.0).reshape(1, 8, 1)
    np.testing.assert_allclose(tf.nn.pool(x, [2], "AVG", dilations=[3])[0, :, 0], np.arange(5) + 1.5)


def test_max_pool_with_argmax_finds_the_elements():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    values, where = tf.nn.max_pool_with_argmax(x, 3, 2, "SAME")
    np.testing.assert_array_equal(np.stack([x[b].ravel()[where.numpy()[b]] for b in range(2)]), values)
    _, whole = tf.nn.max_pool_with_argmax(x, 3, 2, "SAME", include_batch_in_index=True)
    np.testing.assert_array_equal(x.ravel()[whole.numpy()], values)


# ------------------------------------------------------------------------------------------------ normalisation
def test_moments_and_what_is_made_of_them():
    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    mean, variance = tf.nn.moments(x, [0, 1])
    np.testing.assert_allclose(mean, x.mean((0, 1)))
    np.testing.assert_allclose(variance, x.var((0, 1)))
    weights = np.array([1.0, 0.0, 2.0, 1.0]).reshape(4, 1, 1)
    weighted = tf.nn.weighted_moments(x, [0], weights, keepdims=True)
    np.testing.assert_allclose(weighted[0], np.average(x, 0, weights.ravel())[None])
    count, total, squares, shift = tf.nn.sufficient_statistics(x, [0])
    again = tf.nn.normalize_moments(count, total, squares, shift)
    np.testing.assert_allclose(again[1], x.var(0))
    assert float(count) == 4
    half = tf.nn.moments(tf.constant(np.full(40000, 0.1), tf.float16), [0])[0]
    assert abs(float(half) - 0.1) < 1e-4  # summed in float32
    normal = tf.nn.batch_normalization(x, mean, variance, 1.0, 2.0, 1e-3)
    np.testing.assert_allclose(normal, (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-3) * 2 + 1)


def test_local_response_normalization():
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 5))
    near = np.stack([np.square(x[..., max(c - 1, 0) : c + 2]).sum(-1) for c in range(5)], -1)
    np.testing.assert_allclose(tf.nn.local_response_normalization(x, 1, 2.0, 0.5, 0.75), x / (2 + 0.5 * near) ** 0.75)


def test_bias_add_formats():
    x = np.zeros((2, 3, 4))
    np.testing.assert_array_equal(tf.nn.bias_add(x, np.arange(4.0))[0, 0], np.arange(4))
    np.testing.assert_array_equal(tf.nn.bias_add(x, np.arange(3.0), data_format="NCW")[0, :, 0], np.arange(3))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many biases"):
        tf.nn.bias_add(x, np.arange(3.0))


# ------------------------------------------------------------------------------------------------ dropout and embeddings
def test_dropout_keeps_the_mean_and_scales():
    pytest.importorskip("tapejit.random")
    y = tf.nn.dropout(np.ones((200, 200), "f4"), 0.3).numpy()
    assert abs((y == 0).mean() - 0.3) < 0.02
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
    rows = tf.nn.dropout(np.ones((50, 4), "f4"), 0.5, noise_shape=[None, 1]).numpy()
    assert all(len(set(row)) == 1 for row in rows)
    assert 0 < (rows[:, 0] == 0).sum() < 50


def test_dropout_of_nothing_is_the_tensor():
    x = tf.constant([1.0, 2.0])
    assert tf.nn.dropout(x, 0) is x
    with pytest.raises(ValueError, match="`rate` must be"):
        tf.nn.dropout(x, 1.5)


def test_embedding_lookup_limits_norms():
    table = np.array([[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(tf.nn.embedding_lookup(table, [[1, 0]], max_norm=1.0), [[[0.3, 0.4], [0.6, 0.8]]])


def test_what_is_left_out_is_absent():
    assert not hasattr(tf.nn, "ctc_loss")
