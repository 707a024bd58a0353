"""Programs of statistics, finance and numerics: their results have closed forms, or NumPy computes them another way."""

import collections
import itertools

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats

import tapejit as tf
from tests.whole_programs.traced import both

RNG = np.random.default_rng(0)


def doubles(*values):
    return [tf.constant(v, tf.float64) for v in values]


def test_gaussian_process_likelihood_and_its_slopes():
    x = np.linspace(0, 5, 8)[:, None]
    y = np.sin(x[:, 0]) + 0.1 * RNG.normal(size=8)
    start = np.array([0.1, 0.2, -1.5])

    def build(wrap):
        log_length, log_scale, log_noise = (tf.Variable(v, dtype=tf.float64) for v in start)

        @wrap
        def loss(x, y):
            with tf.GradientTape() as tape:
                apart = tf.reduce_sum(tf.math.squared_difference(x[:, None, :], x[None, :, :]), -1)
                k = tf.exp(2 * log_scale) * tf.exp(-apart / (2 * tf.exp(2 * log_length)))
                k = tf.linalg.set_diag(k, tf.linalg.diag_part(k) + tf.exp(2 * log_noise))
                factor = tf.linalg.cholesky(k)
                fit = tf.matmul(y[None], tf.linalg.cholesky_solve(factor, y[:, None]))[0, 0]
                value = 0.5 * fit + tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))
            return value, tape.gradient(value, [log_length, log_scale, log_noise])

        return loss(tf.constant(x), tf.constant(y))

    def likelihood(p):
        k = np.exp(2 * p[1]) * np.exp(-((x - x.T) ** 2) / (2 * np.exp(2 * p[0]))) + np.exp(2 * p[2]) * np.eye(8)
        return 0.5 * y @ np.linalg.solve(k, y) + 0.5 * np.linalg.slogdet(k)[1]

    value, slopes = both(build, rtol=1e-9)
    np.testing.assert_allclose(value, likelihood(start), rtol=1e-9)
    for at, slope in zip(1e-5 * np.eye(3), slopes, strict=True):
        np.testing.assert_allclose(slope, (likelihood(start + at) - likelihood(start - at)) / 2e-5, rtol=1e-5)


def test_kalman_filter_by_scan():
    measured = RNG.normal(size=(12, 1)).cumsum(0)
    moves, sees = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])

    def build(wrap):
        @wrap
        def run(measured):
            def step(carried, z):
                x, p = carried
                x, p = tf.linalg.matvec(moves, x), moves @ p @ tf.transpose(moves) + 0.01 * tf.eye(2, dtype=tf.float64)
                s = sees @ p @ tf.transpose(sees) + 0.5
                gain = p @ tf.transpose(sees) @ tf.linalg.inv(s)
                x = x + tf.linalg.matvec(gain, z - tf.linalg.matvec(sees, x))
                return x, (tf.eye(2, dtype=tf.float64) - gain @ sees) @ p

            return tf.scan(step, measured, initializer=(tf.zeros(2, tf.float64), tf.eye(2, dtype=tf.float64)))

        return run(tf.constant(measured))

    xs, ps = both(build, rtol=1e-9)
    x, p = np.zeros(2), np.eye(2)
    for z in measured:
        x, p = moves @ x, moves @ p @ moves.T + 0.01 * np.eye(2)
        gain = p @ sees.T / (sees @ p @ sees.T + 0.5)
        x, p = x + gain @ (z - sees @ x), (np.eye(2) - gain @ sees) @ p
    np.testing.assert_allclose(xs[-1], x, rtol=1e-9)
    np.testing.assert_allclose(ps[-1], p, rtol=1e-9)


def test_greeks_of_an_option():
    def build(wrap):
        def normal(z):
            return 0.5 * (1 + tf.math.erf(z / tf.sqrt(tf.constant(2.0, z.dtype))))

        @wrap
        def greeks(spot, strike, years, rate, sigma):
            with tf.GradientTape() as outer:
                outer.watch(spot)
                with tf.GradientTape() as tape:
                    tape.watch([spot, years, rate, sigma])
                    d1 = (tf.math.log(spot / strike) + (rate + sigma**2 / 2) * years) / (sigma * tf.sqrt(years))
                    d2 = d1 - sigma * tf.sqrt(years)
                    price = spot * normal(d1) - strike * tf.exp(-rate * years) * normal(d2)
                delta, theta, rho, vega = tape.gradient(price, [spot, years, rate, sigma])
            return {"price": price, "delta": delta, "theta": -theta, "rho": rho, "vega": vega, "gamma": outer.gradient(delta, spot)}

        return greeks(*doubles([90.0, 100.0, 110.0], 100.0, 1.0, 0.05, 0.2))

    found = both(build, rtol=1e-9)
    spot = np.array([90.0, 100.0, 110.0])
    d1 = (np.log(spot / 100) + 0.07) / 0.2
    bell, below = scipy.stats.norm.pdf(d1), scipy.stats.norm.cdf
    held = 100 * np.exp(-0.05) * below(d1 - 0.2)
    np.testing.assert_allclose(found["price"], spot * below(d1) - held, rtol=1e-9)
    np.testing.assert_allclose(found["delta"], below(d1), rtol=1e-9)
    np.testing.assert_allclose(found["gamma"], bell / (spot * 0.2), rtol=1e-9)
    np.testing.assert_allclose(found["vega"], np.sum(spot * bell), rtol=1e-9)
    np.testing.assert_allclose(found["rho"], np.sum(held), rtol=1e-9)
    np.testing.assert_allclose(found["theta"], np.sum(-spot * bell * 0.1 - 0.05 * held), rtol=1e-9)


def test_differential_equation_by_runge_kutta_against_the_matrix_exponential():
    matrix = np.array([[-0.1, 2.0], [-2.0, -0.1]])

    def build(wrap):
        w = tf.Variable(matrix)

        @wrap
        def solve(y, end, steps):
            dt = end / tf.cast(steps, tf.float64)
            for _ in tf.range(steps):
                k1 = tf.linalg.matvec(w, y)
                k2 = tf.linalg.matvec(w, y + dt / 2 * k1)
                k3 = tf.linalg.matvec(w, y + dt / 2 * k2)
                k4 = tf.linalg.matvec(w, y + dt * k3)
                y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return y

        with tf.GradientTape() as tape:
            y = solve(*doubles([1.0, 0.0], 1.0), tf.constant(50))
            loss = tf.reduce_sum(y**2)
        return y, tape.gradient(loss, w)

    y, slope = both(build, rtol=1e-9)
    np.testing.assert_allclose(y, scipy.linalg.expm(matrix) @ [1, 0], rtol=1e-6)
    bump = np.array([[0, 1e-5], [0, 0]])
    up, down = (np.sum((scipy.linalg.expm(m) @ [1, 0]) ** 2) for m in (matrix + bump, matrix - bump))
    np.testing.assert_allclose(slope[0, 1], (up - down) / 2e-5, rtol=1e-5)


def test_conjugate_gradients_carry_a_named_tuple():
    a = RNG.normal(size=(8, 8))
    a, b = a @ a.T + np.eye(8), RNG.normal(size=8)
    State = collections.namedtuple("State", "i x r p rs")

    def build(wrap):
        @wrap
        def solve(a, b, tolerance=1e-10):
            def body(s):
                turned = tf.linalg.matvec(a, s.p)
                far = s.rs / tf.reduce_sum(s.p * turned)
                r = s.r - far * turned
                rs = tf.reduce_sum(r * r)
                return [State(s.i + 1, s.x + far * s.p, r, r + rs / s.rs * s.p, rs)]

            start = State(tf.constant(0), tf.zeros_like(b), b, b, tf.reduce_sum(b * b))
            (end,) = tf.while_loop(lambda s: tf.logical_and(s.i < 100, s.rs > tolerance**2), body, [start])
            return end.x

        return solve(tf.constant(a), tf.constant(b))

    np.testing.assert_allclose(both(build, rtol=1e-8), np.linalg.solve(a, b), rtol=1e-7)


def test_quasi_newton_method_with_a_line_search():
    def build(wrap):
        def value(x):
            return tf.reduce_sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

        def with_slope(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                f = value(x)
            return f, tape.gradient(f, x)

        @wrap
        def minimize(x):
            inverse = tf.eye(tf.size(x), dtype=x.dtype)
            f, g = with_slope(x)
            for _ in tf.range(200):
                if tf.norm(g) < 1e-8:
                    break
                way = -tf.linalg.matvec(inverse, g)
                far = tf.ones([], x.dtype)
                while value(x + far * way) > f + 1e-4 * far * tf.reduce_sum(g * way):
                    far = far * 0.5
                moved = far * way
                x = x + moved
                f, now = with_slope(x)
                change, g = now - g, now
                along = tf.reduce_sum(moved * change)
                if along > 1e-12:
                    left = tf.eye(tf.size(x), dtype=x.dtype) - tf.tensordot(moved, change, axes=0) / along
                    inverse = left @ inverse @ tf.transpose(left) + moved[:, None] * moved[None, :] / along
            return x

        return minimize(*doubles([-1.2, 1.0, 0.5]))

    np.testing.assert_allclose(both(build, rtol=1e-6), [1, 1, 1], atol=1e-6)


def test_baum_welch_never_becomes_less_likely():
    seen = RNG.integers(0, 3, 20)

    def build(wrap):
        moves = tf.Variable(tf.nn.softmax(tf.constant([[1.0, 0.0], [0.0, 1.0]], tf.float64)))
        shows = tf.Variable(tf.nn.softmax(tf.constant([[1.0, 0.0, 0.5], [0.0, 1.0, 0.2]], tf.float64)))
        first = tf.Variable([0.6, 0.4], dtype=tf.float64)

        @wrap
        def improve(seen):
            length = tf.shape(seen)[0]
            fits = tf.transpose(tf.gather(shows, seen, axis=1))
            forward = tf.TensorArray(tf.float64, length, clear_after_read=False, element_shape=[2])
            scales = tf.TensorArray(tf.float64, length, clear_after_read=False)
            a = first * fits[0]
            for t in tf.range(length):
                if t > 0:
                    a = tf.linalg.matvec(moves, a, transpose_a=True) * fits[t]
                scale = tf.reduce_sum(a)
                a /= scale
                forward, scales = forward.write(t, a), scales.write(t, scale)
            b, pairs = tf.ones(2, tf.float64), tf.zeros((2, 2), tf.float64)
            states = tf.TensorArray(tf.float64, length).write(length - 1, forward.read(length - 1))
            for t in tf.range(length - 2, -1, -1):
                pairs += forward.read(t)[:, None] * moves * (fits[t + 1] * b)[None] / scales.read(t + 1)
                b = tf.linalg.matvec(moves, fits[t + 1] * b) / scales.read(t + 1)
                states = states.write(t, forward.read(t) * b)
            weights = states.stack()
            first.assign(weights[0])
            moves.assign(pairs / tf.reduce_sum(pairs, 1, keepdims=True))
            shows.assign(tf.transpose(tf.math.unsorted_segment_sum(weights, seen, 3) / tf.reduce_sum(weights, 0)))
            return tf.reduce_sum(tf.math.log(scales.stack()))

        return [improve(tf.constant(seen)) for _ in range(5)], moves.numpy(), shows.numpy()

    likelihoods, moves, shows = both(build, rtol=1e-7)
    assert np.all(np.diff(likelihoods) >= -1e-9)
    np.testing.assert_allclose([*moves.sum(1), *shows.sum(1)], np.ones(4))
    paths = np.array(np.meshgrid(*[[0, 1]] * 4, indexing="ij")).reshape(4, -1)  # of the first four, the likelihood by enumeration
    start, a, b = np.array([0.6, 0.4]), scipy.special.softmax(np.eye(2), 1), scipy.special.softmax([[1, 0, 0.5], [0, 1, 0.2]], 1)
    by_hand = start[paths[0]] * np.prod([b[p, o] for p, o in zip(paths, seen[:4], strict=True)], 0)
    by_hand = by_hand * np.prod([a[p, q] for p, q in itertools.pairwise(paths)], 0)
    forward = start * b[:, seen[0]]
    for o in seen[1:4]:
        forward = (a.T @ forward) * b[:, o]
    np.testing.assert_allclose(by_hand.sum(), forward.sum())
    for o in seen[4:]:
        forward = (a.T @ forward) * b[:, o]
    np.testing.assert_allclose(likelihoods[0], np.log(forward.sum()), rtol=1e-9)


def test_game_of_life_by_convolution():
    board = (RNG.uniform(size=(1, 9, 10, 1)) < 0.35).astype(np.float32)

    def build(wrap):
        neighbours = tf.reshape(tf.constant([[1, 1, 1], [1, 0, 1], [1, 1, 1]], tf.float32), [3, 3, 1, 1])

        @wrap
        def live(x, generations):
            for _ in tf.range(generations):
                around = tf.concat([x[:, -1:], x, x[:, :1]], 1)
                around = tf.concat([around[:, :, -1:], around, around[:, :, :1]], 2)
                count = tf.nn.conv2d(around, neighbours, 1, "VALID")
                x = tf.cast((count == 3) | ((x == 1) & (count == 2)), tf.float32)
            return x

        return live(tf.constant(board), tf.constant(6))

    x = board[0, :, :, 0]
    for _ in range(6):
        count = sum(np.roll(x, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
        x = ((count == 3) | ((x == 1) & (count == 2))).astype(np.float32)
    np.testing.assert_array_equal(both(build)[0, :, :, 0], x)


def test_integers_and_loops_that_data_ends():
    def build(wrap):
        @wrap
        def collatz(n):
            steps = tf.constant(0)
            while n != 1:
                n = n // 2 if n % 2 == 0 else 3 * n + 1
                steps += 1
            return steps

        @wrap
        def primes(n):
            prime = tf.concat([[False, False], tf.ones([n - 1], tf.bool)], 0)
            for i in tf.range(2, n + 1):
                if i * i > n:
                    break
                if prime[i]:
                    multiples = tf.range(i * i, n + 1, i)
                    prime = tf.tensor_scatter_nd_update(prime, multiples[:, None], tf.zeros_like(multiples, tf.bool))
            return tf.squeeze(tf.where(prime), 1)

        @wrap
        def fixed_point(x):
            n = tf.constant(0)
            while True:
                y = tf.cos(x)
                n += 1
                if tf.abs(y - x) < 1e-9:
                    return y, n
                x = y

        return collatz(tf.constant(27)), primes(tf.constant(40)), fixed_point(*doubles(1.0))

    steps, primes, (point, _) = both(build, rtol=1e-12)
    assert int(steps) == 111
    assert primes.numpy().tolist() == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]
    np.testing.assert_allclose(point, 0.7390851332151607, rtol=1e-8)
