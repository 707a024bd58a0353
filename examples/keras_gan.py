"""A generative adversarial network with Keras, in two dimensions: noise learns to fall on a ring.

Two Keras networks, two tapes and two Keras optimizers in one traced step: the critic learns to tell points of a ring from what the generator
makes, the generator learns to be taken for the ring. What it has learnt is checked by radius and by how evenly the ring is covered.

    python examples/keras_gan.py --steps 4000
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import tapejit as tf

RADIUS, THICKNESS = 2.0, 0.1
NOISE, HIDDEN, BATCH = 4, 48, 128


def ring(count: int) -> Any:
    """`count` points of the ring, a tensor of shape [count, 2]."""
    angle = tf.random.uniform([count], 0.0, 2 * np.pi)
    radius = tf.random.normal([count], RADIUS, THICKNESS)
    return tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)


def network(inputs: int, outputs: int, name: str) -> Any:
    """Three layers with leaky ReLUs between them."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dense(HIDDEN, kernel_initializer="he_normal"),
            layers.LeakyReLU(0.2),
            layers.Dense(HIDDEN, kernel_initializer="he_normal"),
            layers.LeakyReLU(0.2),
            layers.Dense(outputs, kernel_initializer="he_normal"),
        ],
        name=name,
    )


@dataclass(frozen=True)
class Found:
    """The mean radius of what is generated, its spread, and the share of the points in the eighth of the ring that gets the fewest."""

    radius: float
    spread: float
    rarest_eighth: float


def main(argv: list[str] | None = None) -> Found:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    tf.keras.utils.set_random_seed(options.seed)
    tf.random.set_seed(options.seed)
    generator, critic = network(NOISE, 2, "generator"), network(2, 1, "critic")
    generator_optimizer = tf.keras.optimizers.Adam(1e-3, beta_1=0.5, beta_2=0.99)
    critic_optimizer = tf.keras.optimizers.Adam(2e-3, beta_1=0.5, beta_2=0.99)
    cross_entropy = tf.keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def train_step():
        real, noise = ring(BATCH), tf.random.normal([BATCH, NOISE])
        with tf.GradientTape() as generator_tape, tf.GradientTape() as critic_tape:
            made = generator(noise, training=True)
            of_real, of_made = critic(real, training=True), critic(made, training=True)
            generator_loss = cross_entropy(tf.ones_like(of_made), of_made)
            critic_loss = cross_entropy(tf.ones_like(of_real), of_real) + cross_entropy(tf.zeros_like(of_made), of_made)
        generator_gradients = generator_tape.gradient(generator_loss, generator.trainable_variables)
        critic_gradients = critic_tape.gradient(critic_loss, critic.trainable_variables)
        generator_optimizer.apply_gradients(zip(generator_gradients, generator.trainable_variables, strict=True))
        critic_optimizer.apply_gradients(zip(critic_gradients, critic.trainable_variables, strict=True))
        return generator_loss, critic_loss

    started = time.perf_counter()
    for step in range(1, options.steps + 1):
        generator_loss, critic_loss = train_step()
        if step % max(1, options.steps // 4) == 0:
            print(f"step {step}: generator {float(generator_loss):.3f}, critic {float(critic_loss):.3f}")
    print(f"{options.steps} steps in {time.perf_counter() - started:.1f} s")

    points = generator.predict(np.random.default_rng(options.seed).normal(size=(4096, NOISE)).astype("float32"), verbose=0)
    radii, angles = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
    shares = np.histogram(angles, bins=8, range=(-np.pi, np.pi))[0] / len(points)
    found = Found(float(radii.mean()), float(radii.std()), float(shares.min()))
    print(f"radius {found.radius:.2f} (ring: {RADIUS}), spread {found.spread:.2f} (ring: {THICKNESS})")
    print(f"shares of the eighths of the ring from {shares.min():.1%} to {shares.max():.1%}")
    return found


if __name__ == "__main__":
    main()
