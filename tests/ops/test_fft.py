"""Fourier transforms in compiled steps against NumPy's in float64: every length, both directions, real ones, several axes; no call of the host."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.core.target import Target
from tapejit.ops.fft import convolution_length, radices
from tapejit.passes import pipeline
from tapejit.schedule import plan

rng = np.random.default_rng(0)


def draw(*shape, dtype="complex64"):
    z = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return (z if dtype.startswith("complex") else z.real).astype(dtype)


def close(got, wanted, n, dtype):
    """To a few units of the precision times log n, relative to all of the result."""
    eps = np.finfo(dtype).eps
    assert np.linalg.norm(got - wanted) <= eps * (1 + 2 * np.log2(max(n, 2))) * max(np.linalg.norm(wanted), 1e-30)


def check(n, dtype="complex64"):
    z = draw(2, n, dtype=dtype)
    real = z.real.copy()

    @tf.function
    def f(z, x):
        r = tf.signal.rfft(x)
        return tf.signal.fft(z), tf.signal.ifft(z), r, tf.signal.irfft(r, [n])

    got = [y.numpy() for y in f(tf.constant(z), tf.constant(real))]
    wide = z.astype("complex128")
    wanted = [np.fft.fft(wide), np.fft.ifft(wide), np.fft.rfft(wide.real), real]
    for a, b in zip(got, wanted, strict=True):
        close(a, b, n, dtype)


@pytest.mark.parametrize("lengths", [range(1, 13), range(13, 25), range(25, 37), range(37, 49), range(49, 65)], ids=str)
def test_short_lengths(lengths):
    for n in lengths:
        check(n)


@pytest.mark.parametrize("n", [127, 243, 1000, 1009, 1024, 1250, 4096])
def test_long_lengths(n):
    check(n)


@pytest.mark.parametrize("n", [12, 34, 1024])
def test_double_precision(n):
    check(n, "complex128")


@pytest.mark.parametrize(("shape", "axes"), [((4, 6), 2), ((3, 8, 70), 2), ((5, 4, 6), 3), ((34, 130), 2), ((2, 7, 3, 5), 3)], ids=str)
def test_several_axes(shape, axes):
    z = draw(*shape)
    forward = {2: tf.signal.fft2d, 3: tf.signal.fft3d}[axes]
    back = {2: tf.signal.ifft2d, 3: tf.signal.ifft3d}[axes]
    f = tf.function(lambda z: (forward(z), back(forward(z))))
    transformed, again = f(tf.constant(z))
    close(transformed.numpy(), np.fft.fftn(z.astype("complex128"), axes=range(-axes, 0)), np.prod(shape), "complex64")
    close(again.numpy(), z, np.prod(shape), "complex64")


def test_many_rows():
    for rows in (15, 16, 17, 40):
        z = draw(rows, 24)
        close(tf.function(tf.signal.fft)(tf.constant(z)).numpy(), np.fft.fft(z), 24, "complex64")


def test_a_last_axis_of_open_rows():
    f = tf.function(tf.signal.fft, input_signature=[tf.TensorSpec([None, 12], tf.complex64)])
    for rows in (0, 1, 5, 33):
        z = draw(rows, 12)
        close(f(tf.constant(z)).numpy(), np.fft.fft(z), 12, "complex64")


def test_the_axis_behind_may_be_open():
    f = tf.function(tf.signal.fft2d, input_signature=[tf.TensorSpec([12, None], tf.complex64)])
    for columns in (1, 5, 130):
        z = draw(12, columns)
        close(f(tf.constant(z)).numpy(), np.fft.fft2(z), columns, "complex64")


def test_open_lengths():
    """One program for all lengths; real transforms and several axes too."""
    spec = tf.TensorSpec([None, None], tf.complex64)
    f = tf.function(lambda z: (tf.signal.fft(z), tf.signal.ifft2d(z), tf.signal.rfft(tf.math.real(z))), input_signature=[spec])
    for shape in ((1, 1), (3, 5), (9, 64), (2, 100), (2, 0)):
        z = draw(*shape)
        wanted = [np.fft.fft(z), np.fft.ifft2(z), np.fft.rfft(z.real)] if z.size else [z, z, np.zeros((2, 1))]
        for got, y in zip(f(tf.constant(z)), wanted, strict=True):
            close(got.numpy(), y, 8 * max(shape), "complex64")
    assert plan.plan(pipeline.run(f.graph()), Target()).host == ()


def test_every_length_has_a_program_of_its_own_but_rows_share_one():
    f = tf.function(tf.signal.fft)
    made = []
    for shape in ((4, 8), (4, 16), (4, 24), (5, 24), (6, 24), (7, 24)):
        z = draw(*shape)
        close(f(tf.constant(z)).numpy(), np.fft.fft(z), 24, "complex64")
        made.append(f.get_concrete_function(tf.constant(z)).program()[0])
    lengths = [p.graph.params[0].type.shape[-1] for p in made]
    assert lengths == [8, 16, 24, 24, 24, 24]
    assert made[-1] is made[-2]


def test_spectra_and_their_gradients_are_native():
    """A loss of a short-time spectrum, with its gradient: one program without callbacks."""

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            s = tf.signal.stft(x, 16, 8)
            loss = tf.reduce_sum(tf.abs(s) ** 2) + tf.reduce_sum(tf.math.real(tf.signal.ifft(tf.signal.fft(tf.cast(x, tf.complex64)))))
        return loss, tape.gradient(loss, x)

    x = tf.constant(draw(64, dtype="float32"))
    step(x)
    assert plan.plan(pipeline.run(step.graph()), Target()).host == ()


def test_factors():
    assert radices(1024) == (8, 8, 4, 4)
    assert radices(1000) == (8, 5, 5, 5)
    assert radices(1) == ()
    assert radices(34) is None
    for n in (17, 34, 1009):
        assert convolution_length(n) >= 2 * n - 1
        assert radices(convolution_length(n)) is not None
