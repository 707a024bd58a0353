"""Recurrent and attending networks of plain variables and modules."""

import numpy as np

import tapejit as tf
from tests.whole_programs.traced import both

RNG = np.random.default_rng(0)


class GRUCell(tf.Module):
    """A cell whose variables are made when it is first called, wherever that is."""

    def __init__(self, units, seed):
        super().__init__()
        self.units, self.seed, self.kernel = units, seed, None

    def __call__(self, x, h):
        if self.kernel is None:
            shape = [x.shape[-1], 3 * self.units]
            self.kernel = tf.Variable(tf.random.stateless_normal(shape, [self.seed, 0]) * 0.3, name="kernel")
            self.recurrent = tf.Variable(tf.random.stateless_normal([self.units, 3 * self.units], [self.seed, 1]) * 0.3)
            self.bias = tf.Variable(tf.zeros([2, 3 * self.units]))
        zx, rx, hx = tf.split(tf.matmul(x, self.kernel) + self.bias[0], 3, axis=-1)
        zh, rh, hh = tf.split(tf.matmul(h, self.recurrent) + self.bias[1], num_or_size_splits=3, axis=-1)
        z, r = tf.sigmoid(zx + zh), tf.sigmoid(rx + rh)
        return z * h + (1 - z) * tf.tanh(hx + r * hh)


def test_gru_whose_cell_is_built_in_the_loop():
    x = RNG.normal(size=(3, 5, 4)).astype(np.float32)
    lengths = np.array([5, 3, 1])

    def build(wrap):
        cell = GRUCell(2, 1)

        @wrap
        def step(x, lengths):
            with tf.GradientTape() as tape:
                steps = tf.shape(x)[1]
                inputs = tf.TensorArray(tf.float32, steps).unstack(tf.transpose(x, (1, 0, 2)))

                def body(t, h, outputs):
                    keep = tf.expand_dims(t < lengths, 1)
                    h = tf.where(keep, cell(inputs.read(t), h), h)
                    return t + 1, h, outputs.write(t, tf.where(keep, h, tf.zeros_like(h)))

                start = tf.constant(0), tf.zeros([tf.shape(x)[0], 2]), tf.TensorArray(tf.float32, size=steps)
                _, last, outputs = tf.while_loop(lambda t, *_: t < steps, body, start)
                loss = tf.reduce_sum(last**2)
            return tf.transpose(outputs.stack(), (1, 0, 2)), last, tape.gradient(loss, cell.trainable_variables)

        outputs, last, gradients = step(tf.constant(x), tf.constant(lengths, tf.int32))
        return outputs, last, gradients, [v.numpy() for v in cell.trainable_variables]

    outputs, last, (_, _, slope), (bias, kernel, recurrent) = both(build)
    np.testing.assert_allclose(last, [outputs[b, n - 1] for b, n in enumerate(lengths)])
    assert not np.any(outputs[1, 3:])

    def loss(recurrent):
        total = 0.0
        for row, n in zip(x.astype(float), lengths, strict=True):
            h = np.zeros(2)
            for t in range(n):
                zx, rx, hx = np.split(row[t] @ kernel + bias[0], 3)
                zh, rh, hh = np.split(h @ recurrent + bias[1], 3)
                z, r = 1 / (1 + np.exp(-zx - zh)), 1 / (1 + np.exp(-rx - rh))
                h = z * h + (1 - z) * np.tanh(hx + r * hh)
            total += np.sum(h**2)
        return total

    bump = np.zeros_like(recurrent, dtype=float)
    bump[1, 4] = 1e-5
    np.testing.assert_allclose(slope[1, 4], (loss(recurrent + bump) - loss(recurrent - bump)) / 2e-5, rtol=1e-3)
