"""An LSTM with Keras reads the language reference that Python's `help()` shows, character by character, and goes on writing it.

Its measure is bits per character on chapters held out, beside what the frequencies of the characters alone, and of pairs, would give.

    python examples/keras_text.py --epochs 6 --units 96
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

import numpy as np

import tapejit as tf


@dataclass(frozen=True)
class Text:
    """Characters as numbers, to learn from and held out, and the characters that the numbers stand for."""

    learned: np.ndarray
    held_out: np.ndarray
    alphabet: str


def load(length: int) -> Text:
    """`length` characters of the reference, what is no ASCII left out; the last tenth is held out."""
    text = "".join(topics[name] for name in sorted(topics, key=str.lower)).encode("ascii", "ignore").decode()[:length]
    alphabet = "".join(sorted(set(text)))
    numbers = np.array([alphabet.index(c) for c in text], "int32")
    kept = len(numbers) * 9 // 10
    return Text(numbers[:kept], numbers[kept:], alphabet)


def windows(numbers: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `steps` characters, and for each character the one after it."""
    count = (len(numbers) - 1) // steps
    return numbers[: count * steps].reshape(count, steps), numbers[1 : count * steps + 1].reshape(count, steps)


def bits_of_frequencies(text: Text) -> tuple[float, float]:
    """Bits per held-out character by the frequencies of characters, and of pairs of them, in what is learned from."""
    n = len(text.alphabet)
    single = np.bincount(text.learned, minlength=n) + 1.0
    pairs = np.ones((n, n)) * 0.1
    np.add.at(pairs, (text.learned[:-1], text.learned[1:]), 1)
    of_single = -np.log2(single / single.sum())[text.held_out[1:]].mean()
    of_pairs = -np.log2(pairs / pairs.sum(1, keepdims=True))[text.held_out[:-1], text.held_out[1:]].mean()
    return float(of_single), float(of_pairs)


def network(characters: int, units: int) -> Any:
    """Embedding, LSTM, and logits for the next character at every place."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(characters, 32),
            layers.LSTM(units, return_sequences=True),
            layers.Dense(characters),
        ]
    )


def write(model: Any, text: Text, start: str, length: int, steps: int, rng: np.random.Generator) -> str:
    """`start` and `length` characters drawn after it, each seen `steps` characters back."""
    written = [text.alphabet.index(c) for c in start]
    for _ in range(length):
        seen = np.array([([0] * steps + written)[-steps:]], "int32")
        logits = np.asarray(model(seen))[0, -1] / 0.6
        chances = np.exp(logits - logits.max())
        written.append(int(rng.choice(len(chances), p=chances / chances.sum())))
    return "".join(text.alphabet[k] for k in written)


@dataclass(frozen=True)
class Found:
    """Bits per held-out character: by the network after each epoch, by frequencies of characters, by those of pairs."""

    network: list[float]
    characters: float
    pairs: float


def main(argv: list[str] | None = None) -> Found:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--steps", type=int, default=32, help="characters in a row of a batch")
    parser.add_argument("--length", type=int, default=100_000, help="characters of the text")
    parser.add_argument("--written", type=int, default=200, help="characters to write at the end")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    tf.keras.utils.set_random_seed(options.seed)
    text = load(options.length)
    model = network(len(text.alphabet), options.units)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(5e-3, clipnorm=1.0),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    started = time.perf_counter()
    history = model.fit(
        *windows(text.learned, options.steps),
        validation_data=windows(text.held_out, options.steps),
        batch_size=32,
        epochs=options.epochs,
        verbose=0,
    ).history
    print(f"{options.epochs} epochs over {len(text.learned)} characters in {time.perf_counter() - started:.1f} s")
    found = Found([loss / np.log(2) for loss in history["val_loss"]], *bits_of_frequencies(text))
    print(f"bits per held-out character: {', '.join(f'{b:.2f}' for b in found.network)} after each epoch;")
    print(f"{found.characters:.2f} by the frequencies of characters, {found.pairs:.2f} by those of pairs")
    if options.written:
        print(write(model, text, "The expression ", options.written, options.steps, np.random.default_rng(options.seed)))
    return found


if __name__ == "__main__":
    main()
