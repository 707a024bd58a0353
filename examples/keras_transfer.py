"""Weights move between Keras models: from a functional one into a subclassed one, through a file, and on to another task.

A functional network learns the digits 0 to 4. A subclassed network of the same layers takes its weights and says the same. Another one takes
its convolutions, freezes them, and learns the digits 5 to 9 from a few images, beside a network that starts from nothing.

    python examples/keras_transfer.py --few 40
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import tapejit as tf


def functional() -> Any:
    """Two convolutions as a graph of layers: features, and what they say."""
    layers = tf.keras.layers
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="edges")(image)
    x = layers.Conv2D(24, 3, activation="relu", name="strokes")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(32, activation="relu", name="features")(x)
    return tf.keras.Model(image, layers.Dense(5, name="answer")(x), name="functional")


def subclassed() -> Any:
    """The same layers in a class."""
    layers = tf.keras.layers

    class Network(tf.keras.Model):
        def __init__(self):
            super().__init__(name="subclassed")
            self.edges = layers.Conv2D(16, 3, activation="relu")
            self.strokes = layers.Conv2D(24, 3, activation="relu")
            self.flat = layers.Flatten()
            self.features = layers.Dense(32, activation="relu")
            self.answer = layers.Dense(5)

        def call(self, x):
            return self.answer(self.features(self.flat(self.strokes(self.edges(x)))))

    return Network()


def learn(model: Any, x: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """Train with Adam, without a word."""
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=tf.keras.optimizers.Adam(3e-3), loss=loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


def accuracy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The share of images that are read right."""
    return float(np.mean(model.predict(x, verbose=0).argmax(-1) == y))


@dataclass(frozen=True)
class Found:
    """How well the first task went; how far the copies' answers are from the original's; if frozen layers stayed; how well few images taught the second task."""

    first: float
    copied: float
    from_file: float
    kept_still: bool
    transferred: float
    from_nothing: float


def main(argv: list[str] | None = None) -> Found:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--few", type=int, default=30, help="images of the second task to learn from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    tf.keras.utils.set_random_seed(options.seed)
    images, y = load_digits(return_X_y=True)
    order = np.random.default_rng(options.seed).permutation(len(y))
    x, y = (images[order] / 16).astype("float32").reshape(-1, 8, 8, 1), y[order].astype("int32")
    x1, y1, x2, y2 = x[y < 5], y[y < 5], x[y >= 5], y[y >= 5] - 5
    kept = len(x1) * 4 // 5

    original = functional()
    learn(original, x1[:kept], y1[:kept], options.epochs)
    first = accuracy(original, x1[kept:], y1[kept:])
    print(f"functional, digits 0 to 4: {first:.1%} of {len(x1) - kept} held-out digits read right")

    copy = subclassed()
    copy(x1[:1])  # builds it
    copy.set_weights(original.get_weights())
    said = original.predict(x1[kept:], verbose=0)
    copied = float(np.max(np.abs(copy.predict(x1[kept:], verbose=0) - said)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.weights.h5"
        original.save_weights(path)
        reloaded = functional()
        reloaded.load_weights(path)
    from_file = float(np.max(np.abs(reloaded.predict(x1[kept:], verbose=0) - said)))
    print(
        f"largest difference of its answers from the subclassed copy's: {copied:.1e}, from those of one that read a file: {from_file:.1e}"
    )

    frozen, fresh = subclassed(), subclassed()
    frozen(x2[:1])
    for name in "edges", "strokes":
        getattr(frozen, name).set_weights(original.get_layer(name).get_weights())
        getattr(frozen, name).trainable = False
    for model in frozen, fresh:
        learn(model, x2[: options.few], y2[: options.few], 5 * options.epochs)
    kept_still = all(np.array_equal(a, b) for a, b in zip(frozen.non_trainable_weights, original.weights, strict=False))
    transferred, from_nothing = (accuracy(model, x2[options.few :], y2[options.few :]) for model in (frozen, fresh))
    print(f"the frozen layers are {'what they were' if kept_still else 'CHANGED'}")
    print(
        f"digits 5 to 9 from {options.few} images: {transferred:.1%} with the convolutions of the first task, {from_nothing:.1%} from nothing"
    )
    return Found(first, copied, from_file, kept_still, transferred, from_nothing)


if __name__ == "__main__":
    main()
