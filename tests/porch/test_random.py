"""Random numbers: one stream eagerly and traced, distributions as they should be, seeds and generators as TensorFlow has them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tapejit as tf

MANY = 20000
GENERATOR = tf.random.Generator.from_seed(5)
DRAWS = {
    "normal": (lambda: tf.random.normal([MANY]), stats.norm()),
    "normal f64": (lambda: tf.random.normal([MANY], 2.0, 3.0, tf.float64), stats.norm(2, 3)),
    "uniform": (lambda: tf.random.uniform([MANY]), stats.uniform()),
    "uniform f64": (lambda: tf.random.uniform([MANY], -2, 5, tf.float64), stats.uniform(-2, 7)),
    "truncated normal": (lambda: tf.random.truncated_normal([MANY]), stats.truncnorm(-2, 2)),
    "gamma": (lambda: tf.random.gamma([MANY], 2.0, 3.0), stats.gamma(2, scale=1 / 3)),
    "gamma below 1": (lambda: tf.random.gamma([MANY], 0.4), stats.gamma(0.4)),
    "stateless normal": (lambda: tf.random.stateless_normal([MANY], [3, 4]), stats.norm()),
    "stateless gamma": (lambda: tf.random.stateless_gamma([MANY], [3, 4], 1.5), stats.gamma(1.5)),
    "generator": (lambda: GENERATOR.normal([MANY]), stats.norm()),
    "generator truncated": (lambda: GENERATOR.truncated_normal([MANY], 1.0, 2.0), stats.truncnorm(-2, 2, 1, 2)),
    "stateless uniform": (lambda: tf.random.stateless_uniform([MANY], [3, 4], 5, 6), stats.uniform(5, 1)),
    "stateless truncated": (lambda: tf.random.stateless_truncated_normal([MANY], [3, 5], dtype=tf.float64), stats.truncnorm(-2, 2)),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_distribution(name: str, traced: bool) -> None:
    draw, expected = DRAWS[name]
    tf.random.set_seed(7)
    GENERATOR.reset_from_seed(5)
    x = (tf.function(draw) if traced else draw)().numpy()
    assert stats.kstest(x.astype(np.float64), expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.3, 4.0, 60.0])
def test_poisson(rate: float) -> None:
    tf.random.set_seed(3)
    x = tf.random.poisson([MANY], rate).numpy()
    assert x.dtype == np.float32
    values, counts = np.unique(x, return_counts=True)
    expected = stats.poisson(rate).pmf(values) * MANY
    kept = expected > 5
    assert ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum() < stats.chi2(kept.sum()).ppf(0.9999)


def test_categorical_and_integers() -> None:
    tf.random.set_seed(11)
    share = np.array([0.1, 0.2, 0.7])
    k = tf.random.categorical(np.log([share, share[::-1]]), MANY)
    assert k.dtype is tf.int64
    for row, p in zip(k.numpy(), (share, share[::-1]), strict=True):
        assert stats.chisquare(np.bincount(row, minlength=3), p * MANY).pvalue > 1e-3
    i = tf.random.uniform([MANY], -3, 4, tf.int32).numpy()
    assert (i.min(), i.max()) == (-3, 3)
    assert stats.chisquare(np.bincount(i + 3)).pvalue > 1e-3
    with pytest.raises(ValueError, match="Must specify maxval for integer dtype"):
        tf.random.uniform([2], dtype=tf.int32)


def test_one_stream_in_program_order() -> None:
    """Any interleaving of eager draws and traced calls gives the numbers of drawing eagerly throughout."""

    def every() -> tuple:
        return (
            tf.random.normal([5]),
            tf.random.uniform([3], 0, 100, tf.int64),
            tf.random.gamma([2], [0.5, 3.0]),
            tf.random.poisson([], [2.0, 20.0]),
            tf.random.categorical([[0.0, 1.0, 2.0]], 4),
            tf.random.shuffle(tf.range(9)),
            tf.random.truncated_normal([3], seed=8),
            tf.random.uniform([2], seed=8),
            GENERATOR.binomial([3], 9.0, 0.5),
        )

    traced = tf.function(every)
    orders = [[traced if bit else every for bit in bits] for bits in ((0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0))]
    runs = []
    for order in orders:
        tf.random.set_seed(1)
        GENERATOR.reset_from_seed(2)
        runs.append([x.numpy() for f in order for x in (*f(), tf.random.uniform([2]))])
    for run in runs[1:]:
        for a, b in zip(runs[0], run, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    for a, b in zip(runs[0][:10], runs[0][10:20], strict=True):
        assert a.shape == b.shape
    assert not np.array_equal(runs[0][0], runs[0][10])


def test_draws_in_branches_and_loops_go_on_with_the_stream() -> None:
    def walk(steps: tf.Tensor) -> tuple:
        first = tf.cond(steps > 2, lambda: tf.random.normal([2]), lambda: tf.random.uniform([2]) + tf.random.uniform([2]))
        last = tf.while_loop(lambda i, x: i < steps, lambda i, x: (i + 1, x + tf.random.normal([2])), (0, tf.zeros([2])))[1]
        return first, last, tf.random.uniform([3])

    traced = tf.function(walk)
    for steps in (1, 3):
        tf.random.set_seed(6)
        eager = walk(tf.constant(steps))
        tf.random.set_seed(6)
        for a, b in zip(eager, traced(tf.constant(steps)), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)


def test_the_graph_says_what_is_drawn_and_how_the_state_moves() -> None:
    @tf.function
    def noisy(x: tf.Tensor) -> tf.Tensor:
        noise = tf.random.normal([4, 2])
        return x + noise

    noisy(tf.zeros([2]))
    lines = [line.split("#")[0].strip() for line in noisy.show().splitlines()]
    assert lines[1:] == [
        "state.rng: i64[3]",
        "rng: i64[3] = state.rng",
        "rng_1: i64[3] = random_advance(rng, count=8)",
        "state.rng = rng_1",
        "noise: f32[4, 2] = random_normal(rng, shape=(4, 2), dtype=f32)",
        "add_: f32[4, 2] = x + noise",
        "return add_",
    ]


def test_set_seed_before_and_after_tracing() -> None:
    """A traced function keeps the process's state, not a copy from when it was traced."""
    f = tf.function(lambda: tf.random.normal([2], seed=3))
    tf.random.set_seed(1)
    first = f().numpy()
    tf.random.set_seed(2)
    other = f().numpy()
    tf.random.set_seed(1)
    np.testing.assert_array_equal(f().numpy(), first)
    assert not np.array_equal(first, other)


def test_threads_never_draw_the_same_numbers() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: tf.random.uniform([2], dtype=tf.float64).numpy().tobytes(), range(400)))
    assert len(set(drawn)) == 400


def test_tapes_see_no_state() -> None:
    x = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        y = x * tf.random.normal([2])
    assert [v is x for v in tape.watched_variables()] == [True]
    assert tape.gradient(y, x) is not None


def test_unused_draws_count() -> None:
    @tf.function
    def wasteful() -> object:
        tf.random.normal([100])
        return tf.random.normal([2])

    tf.random.set_seed(9)
    tf.random.normal([100])
    expected = tf.random.normal([2])
    tf.random.set_seed(9)
    np.testing.assert_allclose(wasteful().numpy(), expected.numpy(), rtol=3e-7)


def test_seeds() -> None:
    tf.random.set_seed(4)
    first = [tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=2).numpy()]
    tf.random.set_seed(4)
    tf.random.normal([3])  # another stream
    again = [tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=2).numpy()]
    np.testing.assert_array_equal(first, again)
    assert len({x.tobytes() for x in first}) == 3
    np.testing.assert_array_equal(tf.random.stateless_normal([4], [1, 2]), tf.random.stateless_normal([4], [1, 2]))
    assert not np.array_equal(tf.random.stateless_normal([4], [1, 2]), tf.random.stateless_normal([4], [2, 1]))


def test_generator() -> None:
    a, b = tf.random.Generator.from_seed(3), tf.random.Generator.from_seed(3)
    np.testing.assert_array_equal(a.normal([4]), b.normal([4]))
    b.reset_from_seed(3)
    a.reset_from_seed(3)
    a.skip(7)
    b.normal([7])
    np.testing.assert_array_equal(a.uniform([2]), b.uniform([2]))
    left, right = a.split(2)
    assert not np.array_equal(left.normal([4]), right.normal([4]))
    assert a.make_seeds(3).shape == (2, 3)

    @tf.function
    def draw() -> object:
        return a.normal([2])

    assert not np.array_equal(draw(), draw())


def test_shuffle_and_open_sizes() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def f(x: object) -> object:
        return tf.random.shuffle(x), x + tf.random.normal(tf.shape(x)), tf.random.categorical(x, 3)

    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    rows, noisy, classes = f(x)
    np.testing.assert_array_equal(np.sort(rows.numpy(), axis=0), x)
    assert noisy.shape == (6, 2)
    assert classes.shape == (6, 3)


def test_gradients_flow_to_the_parameters_of_a_draw() -> None:
    mean, stddev = tf.Variable(1.0), tf.Variable(2.0)
    tf.random.set_seed(0)
    with tf.GradientTape() as tape:
        x = tf.reduce_sum(tf.random.normal([10], mean, stddev))
    d_mean, d_stddev = tape.gradient(x, [mean, stddev])
    assert float(d_mean) == 10.0
    np.testing.assert_allclose(float(d_stddev), (float(x) - 10) / 2, rtol=1e-5)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_gradients_of_gamma_samples_are_those_of_their_moments(traced: bool) -> None:
    """The mean over many samples of dz/d(alpha) is the derivative 1 / beta of the mean alpha / beta; that of dz/d(beta) is -alpha / beta^2."""
    alpha, beta = tf.constant([0.5, 2.0, 9.0]), tf.constant(2.0)

    def slopes() -> tuple:
        with tf.GradientTape() as tape:
            tape.watch([alpha, beta])
            mean = tf.reduce_mean(tf.random.gamma([MANY], alpha, beta), axis=0)
        return tuple(tape.gradient(mean, [alpha, beta]))

    tf.random.set_seed(0)
    by_alpha, by_beta = (tf.function(slopes) if traced else slopes)()
    np.testing.assert_allclose(by_alpha.numpy(), 0.5, atol=0.02)
    np.testing.assert_allclose(by_beta.numpy(), -(0.5 + 2 + 9) / 4, rtol=0.02)


def test_shapes_of_draws_with_parameters() -> None:
    assert tf.random.gamma([4], [[1.0], [2.0]], [1.0, 2.0, 3.0]).shape == (4, 2, 3)
    assert tf.random.poisson([4], [1.0, 2.0]).shape == (4, 2)
    assert tf.random.poisson([], 3).shape == ()
    assert tf.random.stateless_gamma([5, 2], [1, 2], [1.0, 2.0]).shape == (5, 2)
    assert tf.random.stateless_poisson([5, 2], [1, 2], [1, 2]).dtype is tf.int32
    assert tf.random.normal([3, 2], mean=[1.0, 2.0]).shape == (3, 2)
    assert tf.random.categorical(np.zeros((3, 4), np.float32), 0).shape == (3, 0)
    assert tf.random.normal([0, 2]).shape == (0, 2)
    assert tf.random.normal([], dtype=tf.bfloat16).dtype is tf.bfloat16


def test_stateless_binomial() -> None:
    x = tf.random.stateless_binomial([MANY], [5, 6], counts=10.0, probs=0.3)
    assert x.dtype is tf.int32
    expected = stats.binom(10, 0.3).pmf(np.arange(11)) * MANY
    got = np.bincount(x.numpy(), minlength=11)
    assert stats.chisquare([*got[:8], got[8:].sum()], [*expected[:8], expected[8:].sum()]).pvalue > 1e-3


def test_gamma_is_never_zero_and_classes_without_probability_are_not_drawn() -> None:
    assert tf.random.gamma([MANY], 1e-3).numpy().min() > 0
    assert set(tf.random.categorical([[-np.inf, 0.0, -np.inf, 1.0, -np.inf]], MANY).numpy().ravel()) == {1, 3}


def test_split_and_fold_in() -> None:
    seeds = tf.random.split([1, 2], 5)
    assert (seeds.shape, seeds.dtype) == ((5, 2), tf.int32)
    assert len({tuple(s) for s in seeds.numpy().tolist()}) == 5
    a, b = tf.random.fold_in([1, 2], 3), tf.random.fold_in([1, 2], 4)
    assert (a.shape, a.dtype) == ((2,), tf.int32)
    assert not np.array_equal(tf.random.stateless_normal([3], a), tf.random.stateless_normal([3], b))
    assert tf.random.experimental.stateless_split(np.array([1, 2]), 1).dtype is tf.int64
    shuffled = tf.random.experimental.stateless_shuffle(tf.range(20), [1, 2]).numpy()
    np.testing.assert_array_equal(np.sort(shuffled), np.arange(20))
    assert not np.array_equal(shuffled, np.arange(20))


def test_shuffles_are_equally_likely() -> None:
    tf.random.set_seed(3)
    seen = [tuple(tf.random.shuffle([0, 1, 2, 3]).numpy().tolist()) for _ in range(2400)]
    assert stats.chisquare([seen.count(p) for p in set(seen)]).pvalue > 1e-3
    assert len(set(seen)) == 24


def test_generator_states() -> None:
    g = tf.random.Generator.from_key_counter(7, [3, 4])
    np.testing.assert_array_equal(g.state, [3, 4, 7])
    assert int(g.key) == 7
    h = tf.random.Generator.from_state(g.state)
    h.normal([5])
    np.testing.assert_array_equal(g.state, [3, 4, 7])
    np.testing.assert_array_equal(h.state, [8, 4, 7])
    h.reset_from_key_counter(1, 2)
    np.testing.assert_array_equal(h.state, [2, 0, 1])
    np.testing.assert_array_equal(h.skip(3), [2, 0, 1])
    h.reset(tf.random.create_rng_state(5))
    np.testing.assert_array_equal(h.state, tf.random.Generator.from_seed(5).state)
    assert not np.array_equal(tf.random.create_rng_state([5, 1]), tf.random.create_rng_state(5))
    with pytest.raises(ValueError, match=r"int64\[3\], got shape"):
        h.reset([1, 2])
    with pytest.raises(NotImplementedError, match="threefry"):
        tf.random.Generator.from_seed(1, alg="threefry")
    full = h.uniform_full_int([1000], tf.uint32).numpy()
    assert full.dtype == np.uint32
    assert full.max() > 2**31


def test_set_seed_leaves_generators_alone() -> None:
    before = tf.random.get_global_generator()
    state = before.state.numpy()
    tf.random.set_seed(5)
    assert tf.random.get_global_generator() is before
    np.testing.assert_array_equal(before.state, state)
    mine = tf.random.Generator.from_seed(1)
    tf.random.set_global_generator(mine)
    assert tf.random.get_global_generator() is mine
    tf.random.set_global_generator(before)


def test_the_same_numbers_as_seed_of_different_things_begin_different_streams() -> None:
    tf.random.set_seed(1)
    firsts = [
        tf.random.normal([2]), tf.random.normal([2], seed=0), tf.random.normal([2], seed=1), tf.random.Generator.from_seed(0).normal([2]),
        *(tf.random.stateless_normal([2], [a, b]) for a in (0, 1) for b in (0, 1)),
    ]  # fmt: skip
    assert len({x.numpy().tobytes() for x in firsts}) == len(firsts)


def test_errors() -> None:
    with pytest.raises(ValueError, match="invalid value int32"):
        tf.random.normal([2], dtype=tf.int32)
    with pytest.raises(ValueError, match="invalid value uint8"):
        tf.random.uniform([2], maxval=3, dtype=tf.uint8)
    with pytest.raises(ValueError, match="both None or both non-None"):
        tf.random.stateless_uniform([2], [1, 2], None, 3, tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Need minval < maxval, got 3 >= 3"):
        tf.random.uniform([2], 3, 3, tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"seed must have shape \[2\]"):
        tf.random.stateless_normal([2], [1, 2, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="a seed is two integers"):
        tf.random.stateless_normal([2], [1.0, 2.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="should be a matrix"):
        tf.random.categorical([1.0, 2.0], 3)
