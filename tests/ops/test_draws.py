"""Philox as published; draws alike in NumPy, in the reference of the loop language and compiled; samples distributed as they should be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats
from test_laws import agree, kernel_of

import tapejit as tf
from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.types import Type
from tapejit.ir.op import OPS, Op
from tapejit.loops import expr, nest, reference
from tapejit.ops.random import STATE, block_words, philox_lets, philox_words
from tapejit.schedule.define import Source

DRAWS = ["random_bits", "random_uniform", "random_normal", "random_integers", "random_advance", "random_state"]
SAMPLERS = ["random_gamma", "random_gamma_slope", "random_poisson", "random_binomial"]
MANY = 20000

# known answers of Random123 for philox4x32-10: counter, key, block
ONES = 0xFFFFFFFF
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def state_of(counter: tuple[int, ...], key: tuple[int, ...]) -> np.ndarray:
    words = np.array([*counter, *key], np.uint64)
    return (words[::2] | words[1::2] << np.uint64(32)).astype(np.int64)


@pytest.mark.parametrize(("counter", "key", "block"), PUBLISHED)
@pytest.mark.parametrize("count", [1, 40])  # with Python's integers and with arrays
def test_published_vectors(counter: tuple[int, ...], key: tuple[int, ...], block: tuple[int, ...], count: int) -> None:
    assert philox_words(counter, key) == block  # type: ignore[arg-type]
    words = block_words(state_of(counter, key), np.arange(count))
    assert tuple(int(w) for w in words[:, 0]) == block


@pytest.mark.parametrize(("counter", "key", "block"), PUBLISHED)
def test_published_vectors_in_the_loop_language(counter: tuple[int, ...], key: tuple[int, ...], block: tuple[int, ...]) -> None:
    u32 = dtypes.uint32
    given, out = Source("given", Type(u32, (6,))), Source("out", Type(u32, (4,)))
    lets, words = philox_lets("w", tuple(given[k] for k in range(4)), (given[4], given[5]))  # type: ignore[arg-type]
    stores = [out.store((expr.as_expr(k),), w) for k, w in enumerate(words)]
    kernel = nest.Kernel("philox", (nest.Param("given", u32, (6,)), nest.Param("out", u32, (4,), "out")), (), (*lets, *stores))
    buffers = {"given": np.array([*counter, *key], np.uint32), "out": np.zeros(4, np.uint32)}
    assert reference.run_kernel(kernel, buffers) == 0
    assert tuple(buffers["out"].tolist()) == block


def test_counters_carry_into_their_upper_word_and_wrap() -> None:
    words = block_words(np.array([2**32 - 1, 3, 4]), np.arange(2))
    assert tuple(words[:, 1].tolist()) == philox_words((0, 1, 3, 0), (4, 0))
    words = block_words(np.array([-1, 3, 4]), np.arange(20))
    assert tuple(words[:, 1].tolist()) == philox_words((0, 0, 3, 0), (4, 0))
    words = block_words(np.array([5, -1, 4]), np.arange(1), trial=1)
    assert tuple(words[:, 0].tolist()) == philox_words((5, 0, ONES, 0), (4, 0))


def test_blocks_do_not_depend_on_how_many_are_asked_for() -> None:
    far = block_words(STATE, np.arange(1000))
    np.testing.assert_array_equal(block_words(STATE, np.arange(5)), far[:, :5])
    np.testing.assert_array_equal(block_words(STATE, np.array([7, 3, 999])), far[:, [7, 3, 999]])


def cases(name: str) -> list[tuple[tuple[np.ndarray, ...], dict]]:
    return [(tuple(map(np.asarray, xs)), attrs) for xs, attrs in OPS[name].samples(None)]


@pytest.mark.parametrize("name", DRAWS + SAMPLERS)
def test_kernel_computes_what_numpy_does(name: str) -> None:
    for xs, attrs in cases(name):
        kernel, buffers, (out,) = kernel_of(OPS[name], xs, attrs)
        assert reference.run_kernel(kernel, buffers) == 0
        agree(buffers[out], np.asarray(OPS[name].eager(*xs, **attrs)), (name, xs, attrs))


@pytest.mark.parametrize("name", DRAWS + SAMPLERS)
def test_compiled_computes_what_numpy_does(name: str) -> None:
    op, tried = OPS[name], cases(name)
    every = tf.function(lambda *given: [op(*xs, **attrs) for xs, (_, attrs) in zip(given, tried, strict=True)])
    outs = every(*([tf.constant(x) for x in xs] for xs, _ in tried))
    for got, (xs, attrs) in zip(outs, tried, strict=True):
        agree(got.numpy(), np.asarray(op.eager(*xs, **attrs)), (name, xs, attrs))


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["random_uniform", "random_normal"])
def test_compiled_floats_are_those_of_numpy_to_four_ulps(name: str, dtype: DType) -> None:
    op: Op = OPS[name]
    wanted = op.eager(STATE, shape=(MANY,), dtype=dtype)
    got = tf.function(lambda s: op(s, shape=(MANY,), dtype=dtype))(tf.constant(STATE)).numpy()
    error = np.abs(got - wanted) / np.spacing(np.abs(wanted))
    assert error.max() <= (0 if name == "random_uniform" else 4)


def test_prefixes_of_a_draw_are_draws() -> None:
    for name in ("random_uniform", "random_normal"):
        for dtype in (dtypes.float32, dtypes.float64):
            whole = OPS[name].eager(STATE, shape=(50000,), dtype=dtype)
            np.testing.assert_array_equal(OPS[name].eager(STATE, shape=(3, 7), dtype=dtype).ravel(), whole[:21])


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("name", ["random_uniform", "random_normal", "random_poisson"])
def test_open_sizes(name: str, rows: int) -> None:
    op = OPS[name]
    parameters = (3.5,) if name == "random_poisson" else ()

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([3], tf.int64)])
    def f(x: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        return op(state, *parameters, shape=x.dims, dtype=dtypes.float32)

    wanted = op.eager(STATE, *map(np.float32, parameters), shape=(rows, 3), dtype=dtypes.float32)
    np.testing.assert_allclose(f(tf.zeros([rows, 3]), tf.constant(STATE)), wanted, rtol=1e-6)


def test_kernels_of_any_size_write_every_element_once() -> None:
    for size in range(10):
        for dtype in (dtypes.float32, dtypes.float64):
            attrs = {"shape": (size,), "dtype": dtype}
            kernel, buffers, (out,) = kernel_of(OPS["random_uniform"], (STATE,), attrs)
            buffers[out][...] = np.nan
            assert reference.run_kernel(kernel, buffers) == 0
            np.testing.assert_array_equal(buffers[out], OPS["random_uniform"].eager(STATE, **attrs))


# ------------------------------------------------------------------------------------------------ distributions
def drawn(name: str, *parameters: float, dtype: DType = dtypes.float64, seed: int = 1, size: int = MANY) -> np.ndarray:
    state = OPS["random_state"].eager(np.array([seed, 0]))
    return OPS[name].eager(state, *map(np.float64, parameters), shape=(size,), dtype=dtype)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda d: d.name)
def test_uniform_and_normal_moments_and_distribution(dtype: DType) -> None:
    u, z = (
        drawn("random_uniform", dtype=dtype, size=200_000).astype(np.float64),
        drawn("random_normal", dtype=dtype, size=200_000).astype(np.float64),
    )
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for k in range(1, 7):  # within five standard errors
        assert abs(np.mean(u**k) - 1 / (k + 1)) < 5 * np.std(u**k) / len(u) ** 0.5
        assert abs(np.mean(z**k) - (0 if k % 2 else special.factorial2(k - 1))) < 5 * np.std(z**k) / len(z) ** 0.5
    for x in (u, z):  # neighbours know nothing of each other
        for lag in (1, 2, 3, 4):
            assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 5 / len(x) ** 0.5


def test_normal_has_tails() -> None:
    z = np.abs(drawn("random_normal", dtype=dtypes.float32, size=1_000_000))
    beyond = (z > 4).sum()
    assert abs(beyond - 1e6 * 2 * stats.norm.sf(4)) < 5 * beyond**0.5


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=lambda d: d.name)
def test_small_floats_stay_below_one(dtype: DType) -> None:
    u = drawn("random_uniform", dtype=dtype).astype(np.float64)
    assert 0.9 < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.02


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-3, 4), (0, 3 * 2**30), (-(2**31), 2**31 - 1)])
def test_integers_are_uniform(low: int, high: int) -> None:
    dtype = dtypes.int64 if high >= 2**31 else dtypes.int32
    i = OPS["random_integers"].eager(STATE, dtype.np.type(low), dtype.np.type(high), shape=(MANY,), dtype=dtype).astype(np.float64)
    assert low <= i.min() <= i.max() < high
    bins = min(high - low, 60)
    assert stats.chisquare(np.histogram(i, bins, (low, high))[0]).pvalue > 1e-3


def test_bounds_in_the_wrong_order_are_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="Need minval < maxval, got 5 >= 5"):
        OPS["random_integers"].eager(STATE, np.int32(5), np.int32(5), shape=(2,), dtype=dtypes.int32)
    f = tf.function(lambda n: OPS["random_integers"](tf.constant(STATE), tf.constant(5), n, shape=(2,), dtype=dtypes.int32))
    with pytest.raises(InvalidArgumentError, match="Need minval < maxval, got 5 >= 4"):
        f(tf.constant(4))


@pytest.mark.parametrize("alpha", [0.05, 0.6, 1.0, 2.3, 30.0, 4000.0])
def test_gamma(alpha: float) -> None:
    assert stats.kstest(drawn("random_gamma", alpha), stats.gamma(alpha).cdf).pvalue > 1e-3


def agrees_with(counts: np.ndarray, distribution: stats.rv_discrete) -> bool:
    """Pearson's test on bins of which each expects ten or more."""
    order = np.arange(int(distribution.ppf(1e-9)), int(distribution.isf(1e-9)) + 1)
    expected = distribution.pmf(order) * len(counts)
    edge = np.cumsum(expected) // 10
    bins = np.unique(edge, return_inverse=True)[1]
    inside = np.isin(counts, order)
    assert inside.mean() > 0.9999
    got = np.bincount(bins[(counts[inside] - order[0]).astype(int)], minlength=bins[-1] + 1)
    wanted = np.bincount(bins, expected)
    return stats.chisquare(got, wanted * got.sum() / wanted.sum()).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.1, 1.0, 9.5, 10.0, 33.3, 700.0, 1e6])
def test_poisson(rate: float) -> None:
    assert agrees_with(drawn("random_poisson", rate), stats.poisson(rate))


@pytest.mark.parametrize(
    ("trials", "chance"), [(1, 0.3), (12, 0.5), (40, 0.1), (40, 0.25), (40, 0.9), (1000, 0.5), (1000, 0.999), (10**6, 0.02)]
)
def test_binomial(trials: int, chance: float) -> None:
    assert agrees_with(drawn("random_binomial", trials, chance), stats.binom(trials, chance))


def test_parameters_that_a_distribution_does_not_have_give_nan() -> None:
    assert np.isnan(drawn("random_gamma", -1.0)).all()
    assert np.isnan(drawn("random_poisson", -1.0)).all()
    assert np.isnan(drawn("random_binomial", 5.0, 1.5)).all()
    assert (drawn("random_gamma", 0.0) == 0).all()


def test_slope_of_gamma_samples_keeps_their_place_in_the_distribution() -> None:
    alpha = np.array([0.2, 0.4, 1.0, 2.5, 17.0, 300.0])[:, None]
    place = np.array([0.001, 0.1, 0.5, 0.9, 0.9999])
    z, step = special.gammaincinv(alpha, place), alpha * 1e-3

    def moved(by: int) -> np.ndarray:
        return special.gammaincinv(alpha + by * step, place)

    wanted = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
    np.testing.assert_allclose(OPS["random_gamma_slope"].eager(alpha, z), wanted, rtol=1e-7, atol=1e-300)


def test_what_is_no_state_is_refused() -> None:
    for name in ("random_uniform", "random_gamma"):
        with pytest.raises(ValueError, match=r"takes a state int64\[3\]"):
            OPS[name].infer(
                Type(dtypes.int64, (2,)), *([Type(dtypes.float32, ())] if name == "random_gamma" else []), shape=(2,), dtype=dtypes.float32
            )
    with pytest.raises(TypeError, match="does not make int32"):
        OPS["random_normal"].infer(Type(dtypes.int64, (3,)), shape=(2,), dtype=dtypes.int32)
    with pytest.raises(ValueError, match="does not broadcast"):
        OPS["random_poisson"].infer(Type(dtypes.int64, (3,)), Type(dtypes.float32, (3,)), shape=(2,), dtype=dtypes.float32)
