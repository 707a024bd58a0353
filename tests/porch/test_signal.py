"""tf.signal: against NumPy and SciPy, lengths that cut and fill, and what undoes what."""

import numpy as np
import pytest
import scipy.signal

import tapejit as tf

random = np.random.default_rng(0)
X = random.normal(size=(3, 8))
Z = X + 1j * random.normal(size=(3, 8))


@pytest.mark.parametrize(
    ("f", "numpy"),
    [(tf.signal.fft, np.fft.fft), (tf.signal.ifft, np.fft.ifft), (tf.signal.fft2d, np.fft.fft2), (tf.signal.ifft2d, np.fft.ifft2)],
)
def test_transforms_are_numpys(f, numpy):
    np.testing.assert_allclose(f(Z), numpy(Z), atol=1e-12)
    assert f(Z.astype("c8")).dtype == tf.complex64


def test_lengths_cut_off_and_fill_up():
    np.testing.assert_allclose(tf.signal.rfft(X, [5]), np.fft.rfft(X, 5), atol=1e-12)
    np.testing.assert_allclose(tf.signal.rfft2d(X, [4, 10]), np.fft.rfft2(X, (4, 10)), atol=1e-12)
    np.testing.assert_allclose(tf.signal.irfft(Z, [9]), np.fft.irfft(Z, 9), atol=1e-12)
    with pytest.raises(tf.errors.InvalidArgumentError, match="fft_length must have shape"):
        tf.signal.rfft(X, [4, 4])


def test_inverses_undo():
    np.testing.assert_allclose(tf.signal.irfft2d(tf.signal.rfft2d(X)), X, atol=1e-12)
    np.testing.assert_allclose(tf.signal.ifftshift(tf.signal.fftshift(X[:, :7])), X[:, :7])
    np.testing.assert_allclose(tf.signal.fftshift(X, axes=1), np.fft.fftshift(X, axes=1))


def test_real_numbers_are_refused_by_the_complex_transform():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"write tf.cast\(x, tf.complex64\) or tf.signal.rfft"):
        tf.signal.fft(X)


def test_windows_are_tensorflows():
    np.testing.assert_allclose(tf.signal.hann_window(16), scipy.signal.get_window("hann", 16), atol=1e-6)
    np.testing.assert_allclose(tf.signal.hamming_window(16, periodic=False), scipy.signal.windows.hamming(16), atol=1e-6)
    # a periodic window of odd length is the symmetric one
    np.testing.assert_allclose(tf.signal.hann_window(5), scipy.signal.windows.hann(5), atol=1e-6)


def test_frames():
    x = np.arange(10.0)
    np.testing.assert_array_equal(tf.signal.frame(x, 4, 3), [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    np.testing.assert_array_equal(tf.signal.frame(x, 4, 3, pad_end=True, pad_value=-1)[3], [9, -1, -1, -1])
    assert tf.signal.frame(x[:3], 4, 3).shape == (0, 4)
    np.testing.assert_array_equal(tf.signal.frame(np.stack([x, x], 1), 4, 3, axis=0)[1, :, 0], [3, 4, 5, 6])
    np.testing.assert_array_equal(tf.signal.overlap_and_add(np.ones((3, 4)), 2), [1, 1, 2, 2, 2, 2, 1, 1])


def test_short_time_transform_and_back():
    x = random.normal(size=128)
    z = tf.signal.stft(x, 32, 16)
    assert z.shape == (7, 17)
    np.testing.assert_allclose(z[1], np.fft.rfft(x[16:48] * scipy.signal.get_window("hann", 32)), atol=1e-12)
    back = tf.signal.inverse_stft(tf.signal.stft(x, 32, 16), 32, 16, window_fn=None)
    np.testing.assert_allclose(back[16:-16], x[16:-16], atol=1e-12)  # hann windows half a window apart add up to one
