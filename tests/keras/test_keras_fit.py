"""`fit`, `evaluate`, `predict` and single batches against loops written out."""

import numpy as np
import pytest

import tapejit as tf

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype("float32")
Y = (X @ RNG.normal(size=(4, 1)) + 0.3).astype("float32")
START = [RNG.normal(size=(4, 1)).astype("float32"), np.zeros(1, "float32")]


def linear(**compiled):
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(1)])
    model.set_weights(START)
    model.compile(**{"optimizer": tf.keras.optimizers.SGD(0.1), "loss": "mse", "metrics": ["mae"]} | compiled)
    return model


def by_hand(epochs, size=32, weights=None):
    """The losses of the epochs, and the weights."""
    (k, b), losses = START, []
    weights = np.ones(len(X)) if weights is None else weights
    for _ in range(epochs):
        total = 0.0
        for at in range(0, len(X), size):
            x, y, s = X[at : at + size], Y[at : at + size], weights[at : at + size, None]
            e = x @ k + b - y
            total += float((s * e * e).sum())
            k, b = k - 0.1 * x.T @ (2 * s * e) / len(x), b - 0.1 * (2 * s * e).mean(0)
        losses.append(total / len(X))
    return losses, k


@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_fit_does_what_a_loop_does(steps_per_execution, run_eagerly):
    model = linear(steps_per_execution=steps_per_execution, run_eagerly=run_eagerly)
    history = model.fit(X, Y, epochs=3, shuffle=False, verbose=0, validation_data=(X, Y)).history
    losses, kernel = by_hand(3)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-4)
    assert sorted(history) == ["loss", "mae", "val_loss", "val_mae"]
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), [history["val_loss"][-1], history["val_mae"][-1]], rtol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ kernel + model.get_weights()[1], rtol=1e-3, atol=1e-5)


def test_one_trace_serves_all_batches_and_epochs():
    traces = []

    class Counting(tf.keras.Sequential):
        def train_step(self, data):
            traces.append(tf.keras.tree.flatten(data)[0].shape)
            return super().train_step(data)

    model = Counting([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(1)])
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.fit(X, Y, epochs=1, verbose=0)
    before = len(traces)
    model.fit(X, Y, epochs=2, verbose=0, batch_size=9)
    model.optimizer.learning_rate = 0.01
    model.fit(X[:11], Y[:11], verbose=0)
    assert len(traces) == before
    assert traces[-1].as_list() == [None, 4]


def test_weights_of_samples_and_classes():
    weights = np.linspace(0, 1, 70)
    model = linear()
    model.fit(X, Y, sample_weight=weights, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], by_hand(1, weights=weights)[1], rtol=1e-4)
    labels = (Y > 0).astype("int64")
    other, same = linear(), linear()
    other.fit(X, labels, class_weight={0: 0.5, 1: 2.0}, shuffle=False, verbose=0)
    same.fit(X, labels, sample_weight=np.where(labels[:, 0] > 0, 2.0, 0.5), shuffle=False, verbose=0)
    np.testing.assert_allclose(other.get_weights()[0], same.get_weights()[0], rtol=1e-6)
    dataset = linear()
    dataset.fit(tf.data.Dataset.from_tensor_slices((X, labels)).batch(32), class_weight={0: 0.5, 1: 2.0}, verbose=0)
    np.testing.assert_allclose(dataset.get_weights()[0], same.get_weights()[0], rtol=1e-6)


def test_datasets_generators_and_tensors_as_data():
    wanted = by_hand(2)[1]
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    model = linear()
    model.fit(dataset, epochs=2, verbose=0, validation_data=dataset)
    np.testing.assert_allclose(model.get_weights()[0], wanted, rtol=1e-4)
    model = linear()
    model.fit(((X[a : a + 32], Y[a : a + 32]) for _ in range(2) for a in (0, 32, 64)), steps_per_epoch=3, epochs=2, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], wanted, rtol=1e-4)
    model = linear()
    model.fit(tf.constant(X), tf.constant(Y), shuffle=False, epochs=2, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], wanted, rtol=1e-4)
    with pytest.raises(ValueError, match="`y` should not be passed"):
        model.fit(dataset, Y)


def test_single_batches():
    model = linear()
    assert model.train_on_batch(X, Y)[0] == pytest.approx(by_hand(1, 70)[0][0], rel=1e-4)
    np.testing.assert_allclose(model.get_weights()[0], by_hand(1, 70)[1], rtol=1e-4)
    assert model.test_on_batch(X, Y, return_dict=True).keys() == {"loss", "mae"}
    assert model.predict_on_batch(X[:3]).shape == (3, 1)


def test_callbacks_hear_of_batches_and_may_stop():
    heard = []

    class Listener(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            heard.append((batch, sorted(logs)))
            self.model.stop_training = batch == 1

    linear().fit(X, Y, epochs=3, verbose=0, callbacks=[Listener()])
    assert heard == [(0, ["loss", "mae"]), (1, ["loss", "mae"])]


def test_a_step_of_ones_own():
    class Model(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = tf.keras.layers.Dense(1)
            self.seen = tf.keras.metrics.Mean(name="seen")

        def call(self, x):
            return self.dense(x)

        @property
        def metrics(self):
            return [self.seen]

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            grads = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
            self.seen.update_state(loss)
            return {"seen": self.seen.result()}

    model = Model()
    model.compile(optimizer=tf.keras.optimizers.Adam(0.1))
    history = model.fit(X, Y, epochs=5, verbose=0).history
    assert history["seen"][-1] < history["seen"][0]


def test_a_model_built_by_fit_is_saved_with_how_it_was_built(tmp_path):
    @tf.keras.saving.register_keras_serializable("tests")
    class Plain(tf.keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = tf.keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    model = Plain()
    model.compile(optimizer="adam", loss="mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert loaded.built
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert int(loaded.optimizer.iterations) == 3


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_batches_cut_from_blocks_hold_every_example_once(shuffle, monkeypatch):
    assert tf.keras.Model  # takes the seat
    from tapejit.keras.implementation import batches

    monkeypatch.setattr(batches, "_AHEAD", 9 * 4 * 3)  # three batches at once
    rows = np.arange(50, dtype="float32")
    found = [data for _, _, (data,) in batches.Batches({"x": rows, "none": None}, batch_size=9, shuffle=shuffle)]
    sizes = [len(b["x"]) for b in found]
    assert sizes == [9] * 5 + [5]
    order = np.concatenate([b["x"] for b in found])
    np.testing.assert_array_equal(np.sort(order), rows)
    assert (order == rows).all() == (shuffle is False)
    if shuffle == "batch":
        assert set(found[0]["x"]) == set(rows[:9])
    assert found[0]["none"] is None


def test_the_progress_bar_ends_with_the_last_batch(capsys):
    linear().fit(X, Y, verbose=1)
    assert "3/3" in capsys.readouterr().out
    linear().fit(((X[:32], Y[:32]) for _ in range(4)), verbose=1)  # of unknown length
    assert "4/4" in capsys.readouterr().out
