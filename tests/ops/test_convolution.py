"""Convolution and its transposes: against plain loops, as matrix products, with symbolic sizes, and what they refuse."""

import itertools

import numpy as np
import pytest

import tapejit as tf
from tapejit.core import dtypes, sizes
from tapejit.core.types import Type
from tapejit.ops.convolution import as_matmul, conv, conv_filter, conv_input, conv_samples
from tapejit.ops.windows import output_size, output_sizes, pads


def plain(x, w, strides, padding="VALID", dilations=(), groups=1):
    """The definition, element by element."""
    rank = len(strides)
    dilations = dilations or (1,) * rank
    window = (w.shape[:-2], strides, dilations, padding)
    counts, margins = output_sizes(x.shape[1:-1], *window), pads(x.shape[1:-1], *window)
    out = np.zeros((x.shape[0], *counts, w.shape[-1]))
    per_group, made = w.shape[-2], w.shape[-1] // groups
    for n, o, f in itertools.product(range(x.shape[0]), np.ndindex(*counts), range(w.shape[-1])):
        for k in np.ndindex(*w.shape[:-2]):
            at = tuple(a * s + b * d - m[0] for a, b, s, d, m in zip(o, k, strides, dilations, margins))
            if all(0 <= i < size for i, size in zip(at, x.shape[1:-1])):
                group = f // made
                out[(n, *o, f)] += x[(n, *at)][group * per_group : (group + 1) * per_group] @ w[k][:, f]
    return out


@pytest.mark.parametrize(("x", "w", "attrs"), list(conv_samples()))
def test_convolution_is_its_definition(x, w, attrs):
    random = np.random.default_rng(0)
    a, b = random.normal(size=x), random.normal(size=w)
    np.testing.assert_allclose(conv.eager(a, b, **attrs), plain(a, b, **attrs), atol=1e-12)


@pytest.mark.parametrize(("x", "w", "attrs"), list(conv_samples()))
def test_transposes_are_transposes(x, w, attrs):
    """<conv(x, w), g> = <x, conv_input(g, w)> = <w, conv_filter(x, g)>."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=x), random.normal(size=w)
    z = conv.eager(a, b, **attrs)
    g = random.normal(size=z.shape)
    product = np.sum(z * g)
    np.testing.assert_allclose(np.sum(a * conv_input.eager(g, b, size=x[1:-1], **attrs)), product, atol=1e-10)
    np.testing.assert_allclose(np.sum(b * conv_filter.eager(a, g, kernel=w[:-2], **attrs)), product, atol=1e-10)


@pytest.mark.parametrize(("x", "w", "attrs"), list(conv_samples()))
def test_as_matmul_is_the_same(x, w, attrs):
    random = np.random.default_rng(0)
    a, b = tf.constant(random.normal(size=x)), tf.constant(random.normal(size=w))
    z = conv(a, b, **attrs)
    g = tf.constant(random.normal(size=z.dims))
    for op, operands, extra in (
        (conv, (a, b), {}),
        (conv_input, (g, b), {"size": x[1:-1]}),
        (conv_filter, (a, g), {"kernel": w[:-2]}),
    ):
        np.testing.assert_allclose(as_matmul(op, *operands, **attrs, **extra), op(*operands, **attrs, **extra), atol=1e-12)


def test_same_padding_is_tensorflows():
    # the odd one goes after; the size is rounded up
    assert output_size(7, 3, 2, 1, "SAME") == 4
    assert pads((6, 7), (3, 3), (2, 2), (1, 1), "SAME") == ((0, 1), (1, 1))
    assert pads((5,), (2,), (1,), (2,), "SAME") == ((1, 1),)
    assert pads((4,), (1,), (3,), (1,), "SAME") == ((0, 0),)


def test_symbolic_sizes():
    n, h = sizes.named("N"), sizes.named("H")
    x, w = Type(dtypes.float32, (n, h, 8, 3)), Type(dtypes.float32, (3, 3, 3, 4))
    assert str(conv.infer(x, w, strides=(1, 1), padding="SAME")) == "f32[N, H, 8, 4]"
    made = conv.infer(x, w, strides=(2, 2), padding="SAME")
    assert made.shape[0] == n
    assert made.shape[2:] == (4, 4)
    assert [sizes.evaluate(made.shape[1], {"H": k}) for k in (5, 6, 7)] == [3, 3, 4]
    before, after = pads((h,), (3,), (2,), (1,), "SAME")[0]
    for size in (4, 5, 6):
        known = pads((size,), (3,), (2,), (1,), "SAME")[0]
        assert (sizes.evaluate(before, {"H": size}), sizes.evaluate(after, {"H": size})) == known


def test_refusals_say_what_is_wrong():
    f32 = dtypes.float32
    with pytest.raises(ValueError, match="input depth must be evenly divisible by filter depth: 3 vs 2"):
        conv.infer(Type(f32, (1, 4, 4, 3)), Type(f32, (2, 2, 2, 1)), strides=(1, 1))
    with pytest.raises(ValueError, match="does not fit an axis of size 2"):
        conv.infer(Type(f32, (1, 2, 1)), Type(f32, (3, 1, 1)), strides=(1,))
    with pytest.raises(TypeError, match=r"write tf\.cast"):
        conv.infer(Type(f32, (1, 2, 1)), Type(dtypes.float64, (1, 1, 1)), strides=(1,))
    with pytest.raises(ValueError, match="of the same rank"):
        conv.infer(Type(f32, (1, 2, 1)), Type(f32, (1, 1, 1, 1)), strides=(1,))
    with pytest.raises(ValueError, match="takes \\[batch, 4, 3\\]"):
        conv_input.infer(Type(f32, (1, 5, 3)), Type(f32, (1, 2, 3)), size=(4,), strides=(1,))
