"""Keras on tapejit beside Keras on JAX and on TensorFlow: milliseconds per epoch of the same networks on the same digits.

Each backend runs in a process of its own, in the environment whose interpreter is given; the processes wait while another one runs, so that
they take turns with every round, and a ratio is of two rounds next to each other. Reported are medians, and the quarters of the ratios.

- `fit`: the two networks that are named, batch 32.
- loop: a step of one's own for each batch: a tape, `apply_gradients`, a metric, in `@tf.function`; on JAX, which has no tapes, the same by
  `stateless_call` and `stateless_apply` in `jax.jit`, as Keras' guide writes it.

    python examples/bench_keras.py --jax-python ENV/bin/python --tensorflow-python ENV/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH, SAMPLES = 32, 1437  # the last batch of an epoch has 29


def data() -> tuple[np.ndarray, np.ndarray]:
    """Four fifths of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images[:SAMPLES] / 16).astype("float32"), labels[:SAMPLES].astype("int32")


def dense(keras: Any) -> Any:
    """Two layers."""
    layers = keras.layers
    return keras.Sequential([layers.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10)])


def convolutional(keras: Any) -> Any:
    """Two convolutions, batch normalisation, pooling."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((64,)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def regularised(keras: Any) -> Any:
    """Dense layers with batch normalisation and dropout."""
    layers = keras.layers
    hidden = [layers.Dense(64), layers.BatchNormalization(), layers.Activation("relu"), layers.Dropout(0.3)]
    return keras.Sequential([layers.Input((64,)), *hidden, layers.Dense(10)])


def recurrent(keras: Any) -> Any:
    """An LSTM that reads the rows of an image."""
    layers = keras.layers
    return keras.Sequential([layers.Input((64,)), layers.Reshape((8, 8)), layers.LSTM(64), layers.Dense(10)])


def transformer(keras: Any) -> Any:
    """A block of attention over the rows of an image."""
    layers = keras.layers
    x = layers.Input((64,))
    rows = layers.Dense(32)(layers.Reshape((8, 8))(x))
    normal = layers.LayerNormalization()(rows)
    rows = layers.Add()([rows, layers.MultiHeadAttention(4, 8)(normal, normal)])
    between = layers.Dense(64, activation="gelu")(layers.LayerNormalization()(rows))
    rows = layers.Add()([rows, layers.Dense(32)(between)])
    return keras.Model(x, layers.Dense(10)(layers.GlobalAveragePooling1D()(rows)))


def embedding(keras: Any) -> Any:
    """Vectors of 512 grey values, by the place of a pixel and how dark it is."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((64,)),
            layers.Rescaling(7, offset=[8.0 * k for k in range(64)]),
            layers.Embedding(512, 16),
            layers.GlobalAveragePooling1D(),
            layers.Dense(10),
        ]
    )


def fitting(keras: Any, network: Callable[[Any], Any]) -> Callable[[int], float]:
    """Train by `fit`: a function of the number of epochs that gives the last loss."""
    keras.utils.set_random_seed(0)
    model, (x, y) = network(keras), data()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
    return lambda epochs: model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0).history["loss"][-1]


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """An epoch, in batches."""
    x, y = data()
    return [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]


def taped_loop(keras: Any, tf: Any, network: Callable[[Any], Any]) -> Callable[[int], float]:
    """A step of one's own, with TensorFlow's names."""
    keras.utils.set_random_seed(0)
    model, optimizer, mean = network(keras), keras.optimizers.Adam(1e-3), keras.metrics.Mean()
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        mean.update_state(loss)

    epoch = [(tf.constant(x), tf.constant(y)) for x, y in batches()]

    def run(epochs: int) -> float:
        for _ in range(epochs):
            mean.reset_state()
            for x, y in epoch:
                train_step(x, y)
        return float(mean.result())

    return run


def jax_loop(keras: Any, network: Callable[[Any], Any]) -> Callable[[int], float]:
    """A step of one's own, as JAX wants it."""
    import jax

    keras.utils.set_random_seed(0)
    model, optimizer, mean = network(keras), keras.optimizers.Adam(1e-3), keras.metrics.Mean()
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def loss_and_updates(trainable, fixed, x, y):
        logits, fixed = model.stateless_call(trainable, fixed, x, training=True)
        return loss_of(y, logits), fixed

    differentiated = jax.value_and_grad(loss_and_updates, has_aux=True)

    def train_step(state, x, y):
        trainable, fixed, slots, means = state
        (loss, fixed), gradients = differentiated(trainable, fixed, x, y)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, fixed, slots, mean.stateless_update_state(means, loss)

    jitted = jax.jit(train_step, donate_argnums=0)  # updates in place
    epoch = [(jax.device_put(x), jax.device_put(y)) for x, y in batches()]
    parts = model.trainable_variables, model.non_trainable_variables, optimizer.variables, mean.variables
    state = tuple([jax.numpy.array(v.value) for v in part] for part in parts)

    def run(epochs: int) -> float:
        nonlocal state
        for _ in range(epochs):
            state = (*state[:3], [jax.numpy.zeros_like(v) for v in state[3]])
            for x, y in epoch:
                state = jitted(state, x, y)
        return float(mean.stateless_result(state[3]))

    return run


CASES = {"fit, " + network.__name__: ("fit", network) for network in (dense, convolutional)} | {
    "loop, " + network.__name__: ("loop", network) for network in (dense, convolutional, regularised, recurrent, transformer, embedding)
}


def serve() -> None:
    """In a process of one backend: for each line `case epochs` of standard input, a line of JSON `[milliseconds per epoch, last loss]`."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tapejit":
        import tapejit as tf

        keras = tf.keras
    else:
        import keras

        if backend == "tensorflow":
            import tensorflow as tf
    running: dict[str, Callable[[int], float]] = {}
    for line in sys.stdin:
        case, epochs = json.loads(line)
        if case not in running:
            way, network = CASES[case]
            if way == "fit":
                running[case] = fitting(keras, network)
            else:
                running[case] = jax_loop(keras, network) if backend == "jax" else taped_loop(keras, tf, network)
            running[case](2)  # compiles
        started = time.perf_counter()
        loss = running[case](epochs)
        answers.write(json.dumps([1e3 * (time.perf_counter() - started) / epochs, float(loss)]) + "\n")


class Backend:
    """A process in which Keras runs on a backend."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if name == "tapejit":
            environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [python, __file__, "--serve"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def time(self, case: str, epochs: int) -> tuple[float, float]:
        """Milliseconds per epoch, and the last loss."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([case, epochs]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"Keras on {self.name} ended with {self.process.wait()} at {case!r}; what it said is above")
        milliseconds, loss = json.loads(answer)
        return milliseconds, loss

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def main(argv: list[str] | None = None) -> dict[str, tuple[float, ...]]:
    """Run the command line; returns the milliseconds per epoch of each case, tapejit's first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jax-python", help="interpreter of an environment with Keras and JAX")
    parser.add_argument("--tensorflow-python", help="interpreter of an environment with Keras and TensorFlow")
    parser.add_argument("--cases", default="", help="only the cases with this in their names")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=5, help="epochs of a round")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve()
        return {}

    pythons = {"tapejit": sys.executable, "jax": options.jax_python, "tensorflow": options.tensorflow_python}
    backends = [Backend(name, python) for name, python in pythons.items() if python]
    names = [b.name for b in backends]
    print(f"{'milliseconds per epoch':24}" + "".join(f"{n:>12}" for n in names) + "".join(f"{n + ' / tapejit':>30}" for n in names[1:]))
    found = {}
    try:
        for case in (c for c in CASES if options.cases in c):
            for backend in backends:
                backend.time(case, 1)
            rounds = [[backend.time(case, options.epochs)[0] for backend in backends] for _ in range(options.rounds)]
            found[case] = tuple(map(statistics.median, zip(*rounds, strict=True)))
            ratios = [sorted(r[k] / r[0] for r in rounds) for k in range(1, len(names))]
            spread = [f"{statistics.median(r):.2f} ({r[len(r) // 4]:.2f} to {r[-1 - len(r) // 4]:.2f})" for r in ratios]
            print(f"{case:24}" + "".join(f"{ms:12.1f}" for ms in found[case]) + "".join(f"{s:>30}" for s in spread), flush=True)
    finally:
        for backend in backends:
            backend.close()
    return found


if __name__ == "__main__":
    main()
