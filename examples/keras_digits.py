"""Handwritten digits with Keras: the same network trained by `fit` and by a loop of one's own, from the same weights, on the same batches.

python examples/keras_digits.py                 # both ways, and how far apart they end
python examples/keras_digits.py --summary       # print Keras' table of the layers first
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import tapejit as tf


@dataclass(frozen=True)
class Digits:
    """Images as rows of 64 grey values between 0 and 1, and the digit each shows."""

    x: np.ndarray
    y: np.ndarray
    held_out_x: np.ndarray
    held_out_y: np.ndarray


def load(seed: int) -> Digits:
    """The 1,797 digits in an order drawn from `seed`; the last fifth is held out."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = (images[order] / 16).astype("float32"), labels[order].astype("int32")
    kept = len(x) * 4 // 5
    return Digits(x[:kept], y[:kept], x[kept:], y[kept:])


def network() -> Any:
    """Two layers; what comes out are logits."""
    return tf.keras.Sequential(
        [tf.keras.layers.Input((64,)), tf.keras.layers.Dense(64, activation="relu"), tf.keras.layers.Dense(10)],
    )


@dataclass(frozen=True)
class Run:
    """A finished training: the mean loss of each epoch, how long all took, the weights, and the share of held-out digits that are read right."""

    losses: list[float]
    seconds: float
    weights: list[np.ndarray]
    accuracy: float


def by_fit(model: Any, digits: Digits, epochs: int, batch: int) -> Run:
    """Keras' own loop."""
    model.compile(
        optimizer=tf.keras.optimizers.Adam(2e-3),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    started = time.perf_counter()
    history = model.fit(digits.x, digits.y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0)
    seconds = time.perf_counter() - started
    _, accuracy = model.evaluate(digits.held_out_x, digits.held_out_y, verbose=0)
    return Run(history.history["loss"], seconds, model.get_weights(), accuracy)


def by_loop(model: Any, digits: Digits, epochs: int, batch: int) -> Run:
    """A tape, an optimizer and a metric, in a traced function."""
    optimizer = tf.keras.optimizers.Adam(2e-3)
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mean = tf.keras.metrics.Mean()

    @tf.function(reduce_retracing=True)  # the last batch of an epoch is smaller
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        mean.update_state(loss, sample_weight=tf.shape(x)[0])

    started, losses = time.perf_counter(), []
    batches = tf.data.Dataset.from_tensor_slices((digits.x, digits.y)).batch(batch)
    for _ in range(epochs):
        mean.reset_state()
        for x, y in batches:
            train_step(x, y)
        losses.append(float(mean.result()))
    seconds = time.perf_counter() - started
    read = tf.argmax(model(digits.held_out_x), axis=-1).numpy()
    return Run(losses, seconds, model.get_weights(), float(np.mean(read == digits.held_out_y)))


def main(argv: list[str] | None = None) -> tuple[Run, Run]:
    """Run the command line; returns what `fit` and the loop came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args(argv)

    tf.keras.utils.set_random_seed(options.seed)
    digits, fitted, looped = load(options.seed), network(), network()
    looped.set_weights(fitted.get_weights())
    if options.summary:
        fitted.summary()
    runs = by_fit(fitted, digits, options.epochs, options.batch), by_loop(looped, digits, options.epochs, options.batch)
    for name, run in zip((" fit", "loop"), runs, strict=True):
        print(
            f"{name}: {options.epochs} epochs in {run.seconds:.2f} s, last loss {run.losses[-1]:.4f}, {run.accuracy:.1%} of held-out digits read right"
        )
    apart = max(float(np.max(np.abs(a - b))) for a, b in zip(runs[0].weights, runs[1].weights, strict=True))
    print(f"largest difference between the weights of the two: {apart:.1e}")
    return runs


if __name__ == "__main__":
    main()
