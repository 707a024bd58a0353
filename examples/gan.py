"""A generative adversarial network in two dimensions: noise learns to fall on a ring.

Two networks, two tapes and two Adam optimizers in one step: the critic learns to tell points of a ring from what the generator makes, the
generator learns to be taken for the ring. What it has learnt is checked by radius and by how evenly the ring is covered.

    python examples/gan.py --picture gan.png
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

import tapejit as tf
from tapejit.stages import STAGES

RADIUS, THICKNESS = 2.0, 0.1
NOISE, HIDDEN, BATCH = 4, 48, 128


def ring(count: int) -> Any:
    """`count` points of the ring, an array of shape [count, 2]."""
    angle = tf.random.uniform([count], 0.0, 2 * np.pi)
    radius = tf.random.normal([count], RADIUS, THICKNESS)
    return tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)


class Network:
    """Three layers with leaky ReLUs between them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        sizes = [inputs, HIDDEN, HIDDEN, outputs]
        self.w = [tf.Variable(tf.random.normal([n, m], stddev=np.sqrt(2 / n))) for n, m in pairwise(sizes)]
        self.b = [tf.Variable(tf.zeros(m)) for m in sizes[1:]]

    @property
    def weights(self) -> list[tf.Variable]:
        return [*self.w, *self.b]

    def __call__(self, x: Any) -> Any:
        for w, b in zip(self.w[:-1], self.b[:-1], strict=True):
            x = tf.nn.leaky_relu(x @ w + b)
        return x @ self.w[-1] + self.b[-1]


class Adam:
    """Adam (Kingma and Ba, 2015) for a list of variables."""

    def __init__(self, variables: list[tf.Variable], rate: float, beta1: float = 0.5, beta2: float = 0.99) -> None:
        self.variables, self.rate, self.beta1, self.beta2 = variables, rate, beta1, beta2
        self.step = tf.Variable(0.0, trainable=False)
        self.means = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.squares = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    def apply(self, gradients: list[Any]) -> None:
        self.step.assign_add(1.0)
        rate = self.rate * tf.sqrt(1.0 - self.beta2**self.step) / (1.0 - self.beta1**self.step)
        for v, d, m, s in zip(self.variables, gradients, self.means, self.squares, strict=True):
            m.assign_add((1 - self.beta1) * (d - m))
            s.assign_add((1 - self.beta2) * (tf.square(d) - s))
            v.assign_sub(rate * m / (tf.sqrt(s) + 1e-8))


@dataclass(frozen=True)
class Found:
    """Points the generator makes, and how they lie: mean and spread of their radius, and the rarest eighth of the ring's share."""

    points: np.ndarray
    radius: float
    spread: float
    rarest_eighth: float


def look(points: np.ndarray) -> Found:
    """What `Found` says of points of shape [n, 2]."""
    radius = np.hypot(points[:, 0], points[:, 1])
    eighth = np.floor((np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1.0) * 8).astype(int) % 8
    return Found(points, float(radius.mean()), float(radius.std()), float(np.bincount(eighth, minlength=8).min() / len(points)))


def draw(found: Found, path: Path) -> None:
    """The points made, over the ring."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.add_patch(plt.Circle((0, 0), RADIUS, fill=False, color="0.6"))
    axes.scatter(found.points[:, 0], found.points[:, 1], s=3)
    axes.set(aspect="equal", title=f"radius {found.radius:.2f} ± {found.spread:.2f}, drawn from {RADIUS} ± {THICKNESS}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: list[str] | None = None) -> Found:
    """Run the command line; returns what the generator makes in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", choices=STAGES, metavar="STAGE", help=f"print the training step at a stage: {', '.join(STAGES)}")
    parser.add_argument("--picture", type=Path, help="draw the points made into this file")
    options = parser.parse_args(argv)

    tf.random.set_seed(options.seed)
    generator, critic = Network(NOISE, 2), Network(2, 1)
    generator_adam, critic_adam = Adam(generator.weights, 1e-3), Adam(critic.weights, 2e-3)

    @tf.function
    def train_step():
        with tf.GradientTape() as generator_tape, tf.GradientTape() as critic_tape:
            made = generator(tf.random.normal([BATCH, NOISE]))
            on_real, on_made = critic(ring(BATCH)), critic(made)
            critic_loss = tf.reduce_mean(tf.nn.softplus(-on_real) + tf.nn.softplus(on_made))
            generator_loss = tf.reduce_mean(tf.nn.softplus(-on_made))
        critic_adam.apply(critic_tape.gradient(critic_loss, critic.weights))
        generator_adam.apply(generator_tape.gradient(generator_loss, generator.weights))
        return generator_loss, critic_loss

    started = time.perf_counter()
    for _ in track(range(options.steps), "training"):
        generator_loss, critic_loss = train_step()
    print(
        f"{options.steps} steps in {time.perf_counter() - started:.2f} s, "
        f"loss of the generator {float(generator_loss):.3f}, of the critic {float(critic_loss):.3f}"
    )
    if options.show:
        print(train_step.show(options.show))
    found = look(generator(tf.random.normal([4000, NOISE])).numpy())
    print(f"radius {found.radius:.2f} ± {found.spread:.2f}, drawn from {RADIUS} ± {THICKNESS}")
    print(f"the rarest eighth of the ring has {found.rarest_eighth:.1%} of the points, an even share is 12.5%")
    tf.compare(train_step)
    if options.picture:
        draw(found, options.picture)
        print(f"drawn: {options.picture}")
    return found


if __name__ == "__main__":
    main()
