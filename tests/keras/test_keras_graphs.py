"""A training step in Keras leaves the same lines in the optimised graph as the same step by hand: the same ops on the same types, as often."""

from __future__ import annotations

from collections import Counter

import pytest

import tapejit as tf
from tapejit.functional import along_slices

BATCH = 32
LABELS = tf.TensorSpec([BATCH], tf.int32)


def by_keras(model, optimizer, loss_of):
    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


def by_hand(forward, weights, update, loss_of):
    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, forward(x))
        update(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return step


def weights(*shapes):
    return [tf.Variable(tf.ones(s)) for s in shapes]


def of_rows(f, g):
    """`f` of a gradient, of the rows that there are."""
    return tf.IndexedSlices(f(g.values), g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else f(g)


def sgd(_):
    rate, iteration = tf.Variable(0.1), tf.Variable(0)

    def update(pairs):
        for g, w in pairs:
            if isinstance(g, tf.IndexedSlices):
                w.scatter_sub(of_rows(lambda x: x * rate, g))
            else:
                w.assign_sub(g * rate)
        iteration.assign_add(1)

    return update


def adam(model_weights):
    rate, iteration = tf.Variable(0.1), tf.Variable(0)
    slots = {w.ref(): (tf.Variable(tf.zeros(w.shape)), tf.Variable(tf.zeros(w.shape))) for w in model_weights}

    def update(pairs):
        count = tf.cast(iteration + 1, tf.float32)
        alpha = rate * tf.sqrt(1.0 - tf.pow(0.999, count)) / (1.0 - tf.pow(0.9, count))
        for g, w in pairs:
            m, v = slots[w.ref()]
            m.assign_add((g - m) * 0.1)
            v.assign_add((of_rows(tf.square, g) - v) * 0.001)
            w.assign_sub(m * alpha / (tf.sqrt(v) + 1e-7))
        iteration.assign_add(1)

    return update


def cross_entropy(y, logits):
    labels = tf.cast(tf.cast(y, tf.float32), tf.int32)  # all that a Keras loss is given has one dtype at first
    return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)) / BATCH


def squared_error(y, found):
    each = tf.reduce_mean(tf.square(y - found), -1)
    return tf.reduce_sum(each) / float(each.shape.num_elements())


# ------------------------------------------------------------------------------------------------ networks: Keras', and by hand
def dense():
    layers = tf.keras.layers
    w, b, v, c = ours = weights((64, 48), (48,), (48, 10), (10,))
    model = tf.keras.Sequential([layers.Input((64,)), layers.Dense(48, activation="relu"), layers.Dense(10)])
    return model, ours, lambda x: tf.nn.relu(x @ w + b) @ v + c, tf.TensorSpec([BATCH, 64]), LABELS


def convolutional():
    layers = tf.keras.layers
    k, b, gamma, beta, v, c = ours = weights((3, 3, 1, 16), (16,), (16,), (16,), (16, 10), (10,))
    mean, variance = weights((16,), (16,))
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )

    def wide(x):
        return tf.reshape(x, [1, 1, 1, 16])

    def forward(x):
        h = tf.nn.relu(tf.nn.conv2d(x, k, 1, "SAME") + wide(b))
        m, s = tf.nn.moments(h, [0, 1, 2], keepdims=True)
        mean.assign(mean * 0.99 + tf.reshape(m, [16]) * (1 - 0.99))
        variance.assign(variance * 0.99 + tf.reshape(s, [16]) * (1 - 0.99))
        h = tf.nn.batch_normalization(h, m, s, wide(beta), wide(gamma), 0.001)
        return tf.reduce_mean(tf.nn.max_pool2d(h, 2, 2, "VALID"), [1, 2]) @ v + c

    return model, ours, forward, tf.TensorSpec([BATCH, 8, 8, 1]), LABELS


def transformer():
    layers = tf.keras.layers
    x = layers.Input((16, 32))
    normal = layers.LayerNormalization()(x)
    h = layers.Add()([x, layers.MultiHeadAttention(4, 8)(normal, normal)])
    out = layers.Dense(32)(layers.Dense(64, activation="gelu")(layers.LayerNormalization()(h)))
    model = tf.keras.Model(x, layers.Add()([h, out]))
    qkv = ((32, 4, 8), (4, 8)) * 3
    ours = weights((32,), (32,), *qkv, (4, 8, 32), (32,), (32,), (32,), (32, 64), (64,), (64, 32), (32,))
    g, b, wq, bq, wk, bk, wv, bv, wo, bo, g2, b2, w1, b1, w2, c2 = ours

    def normalised(x, gamma, beta):
        m, s = tf.nn.moments(x, [2], keepdims=True)
        scale = tf.math.rsqrt(s + 0.001) * tf.reshape(gamma, [1, 1, 32])
        return x * scale + (-m * scale + tf.reshape(beta, [1, 1, 32]))

    def forward(x):
        n = normalised(x, g, b)
        q, k, v = (tf.einsum("btd,dhk->bthk", n, w) + c for w, c in ((wq, bq), (wk, bk), (wv, bv)))
        logits = tf.einsum("btnh,bsnh->bnts", q, k) * (1 / 8**0.5)
        h = x + tf.einsum("bthk,hkd->btd", tf.einsum("bnts,bsnh->btnh", tf.nn.softmax(logits), v), wo) + bo
        return h + (tf.nn.gelu(normalised(h, g2, b2) @ w1 + b1) @ w2 + c2)

    return model, ours, forward, tf.TensorSpec([8, 16, 32]), tf.TensorSpec([8, 16, 32])


def regularised():
    layers = tf.keras.layers
    w, b, v, c = ours = weights((64, 48), (48,), (48, 10), (10,))
    model = tf.keras.Sequential([layers.Input((64,)), layers.Dense(48), layers.Activation("relu"), layers.Dropout(0.3), layers.Dense(10)])
    drop = layers.Dropout(0.3)
    return model, ours, lambda x: drop(tf.nn.relu(x @ w + b), training=True) @ v + c, tf.TensorSpec([BATCH, 64]), LABELS


def embedding():
    layers = tf.keras.layers
    table, v, c = ours = weights((100, 16), (16, 10), (10,))
    model = tf.keras.Sequential(
        [layers.Input((20,), dtype="int32"), layers.Embedding(100, 16), layers.GlobalAveragePooling1D(), layers.Dense(10)]
    )

    def forward(x):
        rows = tf.gather(table, tf.where(x < 0, x + 100, x))  # which is what NumPy's indices mean, and Keras'
        return tf.reduce_mean(rows, 1) @ v + c

    return model, ours, forward, tf.TensorSpec([BATCH, 20], tf.int32), LABELS


def recurrent():
    layers = tf.keras.layers
    w, r, b, v, c = ours = weights((8, 64), (16, 64), (64,), (16, 10), (10,))
    model = tf.keras.Sequential([layers.Input((12, 8)), layers.LSTM(16), layers.Dense(10)])

    def cell(state, slices):
        (h, s), (row,) = state, slices
        i, f, g, o = tf.split(row + h @ r, 4, -1)
        s = tf.sigmoid(f) * s + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(s)
        return [h, s], []

    def forward(x):
        rows = tf.transpose(x, [1, 0, 2]) @ w + b
        (h, _), _ = along_slices(cell, [tf.zeros([BATCH, 16]), tf.zeros([BATCH, 16])], [rows], 12)
        return h @ v + c

    return model, ours, forward, tf.TensorSpec([BATCH, 12, 8]), LABELS


NETWORKS = (dense, convolutional, transformer, regularised, embedding, recurrent)


def lines(step, *specs):
    """How often each op makes a result of each type."""
    step.get_concrete_function(*specs)
    return Counter((n.op.name, *(str(o.type) for o in n.outs)) for n in step.graph("optimized").walk())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", ["sgd", "adam"])
def test_a_step_of_keras_is_the_step_by_hand(network, method):
    model, ours, forward, x, y = network()
    keras_loss, our_loss = (
        (tf.keras.losses.MeanSquaredError(), squared_error)
        if network is transformer
        else (tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), cross_entropy)
    )
    optimizer, update = (tf.keras.optimizers.SGD(0.1), sgd(ours)) if method == "sgd" else (tf.keras.optimizers.Adam(0.1), adam(ours))
    theirs = lines(by_keras(model, optimizer, keras_loss), x, y)
    hand = lines(by_hand(forward, ours, update, our_loss), x, y)
    assert theirs - hand == Counter()
    assert hand - theirs == Counter()
