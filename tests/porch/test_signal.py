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


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("norm", [None, "ortho"])
def test_cosine_transforms_are_those_of_scipy(kind, norm):
    import scipy.fft

    x = np.random.default_rng(0).normal(size=(3, 6))
    if kind == 1 and norm:
        with pytest.raises(ValueError, match="Type-I"):
            tf.signal.dct(x, type=1, norm=norm)
        return
    np.testing.assert_allclose(tf.signal.dct(x, type=kind, norm=norm), scipy.fft.dct(x, kind, norm=norm), atol=1e-12)
    factor = 1 if norm else (2 * 5 if kind == 1 else 2 * 6)
    np.testing.assert_allclose(tf.signal.idct(tf.signal.dct(x, kind, norm=norm), kind, norm=norm), x * factor, atol=1e-12)
    np.testing.assert_allclose(tf.signal.dct(x, kind, n=4, norm=norm), scipy.fft.dct(x[:, :4], kind, norm=norm), atol=1e-12)


@pytest.mark.parametrize(("length", "step"), [(16, 8), (16, 4), (12, 5)])
def test_the_inverse_window_undoes_a_short_time_transform(length, step):
    x = np.random.default_rng(0).normal(size=(2, length + 9 * step)).astype("f4")
    back = tf.signal.inverse_stft(tf.signal.stft(x, length, step), length, step, window_fn=tf.signal.inverse_stft_window_fn(step))
    np.testing.assert_allclose(back[:, length:-length], x[:, length:-length], atol=1e-5)


def test_mel_scale():
    weights = tf.signal.linear_to_mel_weight_matrix(10, 129, 8000, 80.0, 3800.0).numpy()
    assert weights.shape == (129, 10)
    assert not weights[0].any()
    peaks = weights.argmax(axis=0) * 4000 / 128
    mel = 1127 * np.log1p(np.array([80.0, 3800.0]) / 700)
    np.testing.assert_allclose(peaks, 700 * np.expm1(np.linspace(*mel, 12)[1:-1] / 1127), atol=4000 / 128)
    assert tf.signal.mfccs_from_log_mel_spectrograms(tf.ones((4, 10))).numpy()[0, 0] == pytest.approx(np.sqrt(20), rel=1e-5)
    with pytest.raises(ValueError, match="lower_edge_hertz"):
        tf.signal.linear_to_mel_weight_matrix(lower_edge_hertz=4000.0)


def test_windows_of_kaiser_and_vorbis():
    np.testing.assert_allclose(tf.signal.kaiser_window(8, 5.0), np.kaiser(8, 5.0), rtol=1e-5)
    window = tf.signal.vorbis_window(8).numpy()
    np.testing.assert_allclose(window[:4] ** 2 + window[4:] ** 2, np.ones(4), rtol=1e-5)
