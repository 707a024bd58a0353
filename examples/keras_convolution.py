"""A convolutional network with Keras reads handwritten digits, is saved to a file, and reads the same when it comes back from there.

Convolutions, normalisation, pooling and dropout; `fit` with held-out data, an early stop and a learning rate that falls.

    python examples/keras_convolution.py --epochs 12
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import tapejit as tf


def network(rate: float) -> Any:
    """Two convolutions for images of 8 by 8, compiled."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer=tf.keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@dataclass(frozen=True)
class Found:
    """What came out: the share of held-out digits that are read right, how often each is read as which, and the same share after reloading."""

    accuracy: float
    confusion: np.ndarray
    reloaded: float


def main(argv: list[str] | None = None) -> Found:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="file to save the network to, such as digits.keras")
    options = parser.parse_args(argv)

    tf.keras.utils.set_random_seed(options.seed)
    images, y = load_digits(return_X_y=True)
    order = np.random.default_rng(options.seed).permutation(len(y))
    x, y = (images[order] / 16).astype("float32").reshape(-1, 8, 8, 1), y[order].astype("int32")
    kept = len(x) * 4 // 5

    model = network(5e-3)
    started = time.perf_counter()
    history = model.fit(
        x[:kept],
        y[:kept],
        batch_size=32,
        epochs=options.epochs,
        validation_data=(x[kept:], y[kept:]),
        callbacks=[
            tf.keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, restore_best_weights=True),
            tf.keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.95),
        ],
        verbose=0,
    ).history
    seconds = time.perf_counter() - started
    for epoch, (loss, held_out) in enumerate(zip(history["loss"], history["val_accuracy"], strict=True), 1):
        print(f"epoch {epoch:2}: loss {loss:.4f}, {held_out:.1%} of held-out digits read right")
    print(f"{len(history['loss'])} epochs in {seconds:.1f} s")

    read = model.predict(x[kept:], verbose=0).argmax(-1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (y[kept:], read), 1)
    mistakes = [(confusion[i, j], i, j) for i in range(10) for j in range(10) if i != j and confusion[i, j]]
    for count, i, j in sorted(mistakes, reverse=True)[:5]:
        print(f"{i} read as {j}: {count} times")

    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "digits.keras"
        model.save(path)
        again = tf.keras.models.load_model(path)
        print(f"saved: {path.stat().st_size / 1024:.0f} KiB")
    _, reloaded = again.evaluate(x[kept:], y[kept:], verbose=0)
    print(f"after reloading {reloaded:.1%} are read right")
    return Found(float(np.trace(confusion) / confusion.sum()), confusion, reloaded)


if __name__ == "__main__":
    main()
