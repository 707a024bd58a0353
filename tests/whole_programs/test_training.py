"""Training loops as they are written without Keras: datasets, slots, schedules, checkpoints."""

import numpy as np

import tapejit as tf
from tests.whole_programs.traced import both

RNG = np.random.default_rng(0)


def test_logistic_regression_whose_last_batch_is_smaller():
    x = RNG.normal(size=(43, 5)).astype(np.float32)
    y = (x @ np.array([1, -2, 0.5, 0, 3]) + 0.3 > 0).astype(np.float32)

    def build(wrap):
        w, b = tf.Variable(tf.zeros([5, 1])), tf.Variable(0.0)
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)

        @wrap(input_signature=[tf.TensorSpec([None, 5]), tf.TensorSpec([None]), tf.TensorSpec([])])
        def step(x, y, rate):
            with tf.GradientTape() as tape:
                logits = tf.squeeze(x @ w, axis=-1) + b
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)) + 1e-3 * tf.nn.l2_loss(w)
            dw, db = tape.gradient(loss, [w, b])
            w.assign_sub(rate * dw)
            b.assign_sub(rate * db)
            return loss

        losses = [step(*batch, tf.constant(0.5)) for _ in range(3) for batch in batches]
        return losses, w.numpy(), b.numpy()

    losses, w, b = both(build)
    assert len(losses) == 9
    want_w, want_b = np.zeros(5), 0.0
    for at in [0, 16, 32] * 3:
        batch, labels = x[at : at + 16].astype(float), y[at : at + 16]
        off = (1 / (1 + np.exp(-batch @ want_w - want_b)) - labels) / len(labels)
        want_w, want_b = want_w - 0.5 * (batch.T @ off + 1e-3 * want_w), want_b - 0.5 * off.sum()
    np.testing.assert_allclose(w[:, 0], want_w, rtol=1e-4)
    np.testing.assert_allclose(b, want_b, rtol=1e-4)


def test_sparse_adagrad_of_an_embedding():
    def build(wrap):
        table = tf.Variable(tf.ones((6, 3)))
        squares = tf.Variable(tf.zeros((6, 3)), trainable=False)

        @wrap
        def step(ids):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table, ids) ** 2)
            g = tape.gradient(loss, table)
            if isinstance(g, tf.IndexedSlices):
                rows, at = tf.unique(g.indices)
                values = tf.math.unsorted_segment_sum(g.values, at, tf.shape(rows)[0])
                squares.scatter_nd_add(rows[:, None], values**2)
                table.scatter_nd_sub(rows[:, None], 0.1 * values / (tf.sqrt(tf.gather(squares, rows)) + 1e-7))
            else:
                squares.assign_add(g**2)
                table.assign_sub(0.1 * g / (tf.sqrt(squares) + 1e-7))
            return loss

        return [step(tf.constant([1, 2, 2])) for _ in range(3)], table.numpy()

    _, table = both(build)
    want, squares = np.ones((6, 3)), np.zeros((6, 3))
    for _ in range(3):
        g = 2 * want * np.array([0, 1, 2, 0, 0, 0])[:, None]
        squares += g**2
        want -= 0.1 * g / (np.sqrt(squares) + 1e-7)
    np.testing.assert_allclose(table, want, rtol=1e-5)


def test_gradients_accumulated_over_micro_batches_under_a_schedule():
    x = RNG.normal(size=(24, 4)).astype(np.float32)
    y = x.sum(1, keepdims=True)

    def rate(step):
        step = tf.cast(step, tf.float32)
        return tf.where(step < 4, 0.05 * step, 0.1 * (1 + tf.cos(np.pi * (step - 4) / 8)))

    def build(wrap):
        w = tf.Variable(tf.fill((4, 1), 0.1))
        total = tf.Variable(tf.zeros_like(w), trainable=False)
        step = tf.Variable(0, dtype=tf.int64, trainable=False)
        average = tf.train.ExponentialMovingAverage(decay=0.9)
        average.apply([w])

        @wrap
        def micro(x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((tf.matmul(x, w) - y) ** 2) / 2
            total.assign_add(tape.gradient(loss, w))
            step.assign_add(1)
            if step % 2 == 0:
                w.assign_sub(rate(step) * tf.clip_by_norm(total, 1.0))
                total.assign(tf.zeros_like(total))
                average.apply([w])
            return loss

        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(6, drop_remainder=True)
        losses = [micro(*batch) for _ in range(3) for batch in batches]
        return losses, w.numpy(), average.average(w).numpy()

    _, w, average = both(build)
    want, mean = np.full((4, 1), 0.1), np.full((4, 1), 0.1)
    for k in range(6):
        batch = slice(12 * (k % 2), 12 * (k % 2) + 12)
        g = x[batch].T @ (x[batch] @ want - y[batch]) / 6
        s = 2 * k + 2
        eta = 0.05 * s if s < 4 else 0.1 * (1 + np.cos(np.pi * (s - 4) / 8))
        want = want - eta * g * min(1, 1 / np.linalg.norm(g))
        mean = 0.9 * mean + 0.1 * want
    np.testing.assert_allclose(w, want, rtol=1e-4)
    np.testing.assert_allclose(average, mean, rtol=1e-4)


def test_training_that_stops_and_resumes(tmp_path):
    x = RNG.normal(size=(20, 3)).astype(np.float32)

    class Net(tf.Module):
        def __init__(self):
            super().__init__()
            self.layers = [tf.Variable(tf.ones((3, 2))), tf.Variable(tf.zeros(2))]
            self.step = tf.Variable(0, trainable=False, dtype=tf.int64)

        def __call__(self, x):
            return x @ self.layers[0] + self.layers[1]

    def build(wrap):
        def start():
            net = Net()
            slots = [tf.Variable(tf.zeros_like(p), trainable=False) for p in net.trainable_variables]

            @wrap
            def step(x):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(net(x) ** 2)
                for p, m, g in zip(net.trainable_variables, slots, tape.gradient(loss, net.trainable_variables), strict=True):
                    m.assign(0.9 * m + g)
                    p.assign_sub(0.05 * m)
                net.step.assign_add(1)
                return loss

            batches = iter(tf.data.Dataset.from_tensor_slices(x).batch(4).repeat())
            return net, step, batches, tf.train.Checkpoint(net=net, slots=slots, batches=batches)

        folder = str(tmp_path / wrap.__name__)
        net, step, batches, checkpoint = start()
        for _ in range(3):
            step(next(batches))
        tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2).save(checkpoint_number=net.step)
        on = [step(next(batches)) for _ in range(4)]
        again, step, batches, checkpoint = start()
        checkpoint.restore(tf.train.latest_checkpoint(folder)).assert_consumed()
        assert int(again.step) == 3
        np.testing.assert_allclose([step(next(batches)) for _ in range(4)], on, rtol=1e-6)
        return on

    both(build)


def test_adversarial_networks_on_two_tapes_with_a_gradient_penalty():
    real, noise, mix = (RNG.normal(size=s).astype(np.float32) for s in ((8, 1), (8, 1), (8, 1)))

    def build(wrap):
        maker, judge = [tf.Variable([[1.0]]), tf.Variable([0.5])], [tf.Variable([[0.5, -0.3]]), tf.Variable([[0.4], [0.7]])]

        def judged(x):
            return tf.tanh(x @ judge[0]) @ judge[1]

        @wrap
        def step(real, noise, mix):
            with tf.GradientTape() as makes, tf.GradientTape() as judges:
                fake = noise @ maker[0] + maker[1]
                between = mix * real + (1 - mix) * fake
                with tf.GradientTape() as inner:
                    inner.watch(between)
                    score = judged(between)
                steep = tf.norm(inner.gradient(score, between), axis=1)
                judge_loss = tf.reduce_mean(judged(fake)) - tf.reduce_mean(judged(real)) + 10.0 * tf.reduce_mean((steep - 1.0) ** 2)
                maker_loss = -tf.reduce_mean(judged(fake))
            return judge_loss, makes.gradient(maker_loss, maker), judges.gradient(judge_loss, judge)

        return step(real, noise, mix)

    loss, makes, judges = both(build)

    def judge_loss(w):
        fake = noise.astype(float) + 0.5
        between = mix * real + (1 - mix) * fake
        out = np.array([[0.4], [0.7]])
        slope = (1 - np.tanh(between @ w) ** 2) * w @ out
        return np.mean(np.tanh(fake @ w) @ out) - np.mean(np.tanh(real @ w) @ out) + 10 * np.mean((np.abs(slope) - 1) ** 2)

    w = np.array([[0.5, -0.3]])
    np.testing.assert_allclose(loss, judge_loss(w), rtol=1e-4)
    slopes = [(judge_loss(w + 1e-6 * d) - judge_loss(w - 1e-6 * d)) / 2e-6 for d in np.eye(2)]
    np.testing.assert_allclose(judges[0][0], slopes, rtol=1e-3)
    fake = noise.astype(float) + 0.5
    through = -(1 - np.tanh(fake @ w) ** 2) * w @ [[0.4], [0.7]]
    np.testing.assert_allclose([makes[0][0, 0], makes[1][0]], [np.mean(through * noise), np.mean(through)], rtol=1e-4)


def test_meta_learning_differentiates_through_an_inner_step():
    x = RNG.normal(size=(2, 6, 1))

    def build(wrap):
        w, b = tf.Variable([[0.3]], dtype=tf.float64), tf.Variable([0.1], dtype=tf.float64)

        @wrap
        def meta(x):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    loss = tf.reduce_mean((tf.tanh(x[0] @ w + b) - tf.sin(x[0])) ** 2)
                fast = [p - 0.5 * g for p, g in zip([w, b], inner.gradient(loss, [w, b]), strict=True)]
                loss = tf.reduce_mean((tf.tanh(x[1] @ fast[0] + fast[1]) - tf.sin(x[1])) ** 2)
            return loss, outer.gradient(loss, [w, b])

        return meta(tf.constant(x))

    loss, slopes = both(build, rtol=1e-9)

    def after(p):
        y = np.tanh(x[0] * p[0] + p[1])
        d = 2 * (y - np.sin(x[0])) * (1 - y**2) / 6
        w, b = p[0] - 0.5 * np.sum(d * x[0]), p[1] - 0.5 * np.sum(d)
        return np.mean((np.tanh(x[1] * w + b) - np.sin(x[1])) ** 2)

    at = np.array([0.3, 0.1])
    np.testing.assert_allclose(loss, after(at), rtol=1e-9)
    numeric = [(after(at + 1e-6 * d) - after(at - 1e-6 * d)) / 2e-6 for d in np.eye(2)]
    np.testing.assert_allclose([float(np.squeeze(s)) for s in slopes], numeric, rtol=1e-6)
