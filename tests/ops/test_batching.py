"""Every op on many slices at once is the stack of the op on each slice, for every choice of operands that have slices."""

import itertools

import numpy as np
import pytest
from test_laws import COMPUTED, DIFFERENTIABLE, LAWFUL, agree, all_samples, eager, of

import tapejit as tf
from tapejit.core import dtypes
from tapejit.ir import interpreter
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph
from tapejit.ir.op import OPS, Op
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.ir.verifier import verify
from tapejit.ops import control
from tapejit.ops.batching import Ragged, batched
from tapejit.passes.batch import batch

SLICES = 3
RAGGED = {"nonzero"}
ONE_BY_ONE = {  # without a rule: slice by slice
    *("first_occurrence", "random_advance", "random_state", "random_bits", "random_integers", "random_normal", "random_uniform"),
    *("random_binomial", "random_gamma", "random_poisson"),
    *("fft_axis", "fft_open", "fft_table", "roots", "finite"),  # which passes write that come after `batch`
}


def variants(x, name, k):
    """Slices that differ; what an op takes of its operand (indices in range, matrices that are positive definite) stays."""
    if name in ("argsort", "first_occurrence", "pick", "place", "gather", "segment", "scatter", "in_range", "linear_index", "select"):
        return [
            x if j == 0 else x[::-1].copy() if x.ndim and x.dtype.kind in "biu" and name != "linear_index" else x.copy() for j in range(k)
        ]
    if x.dtype.kind in "fcV" and name not in ("search_sorted", "pool_where"):
        return [(x * x.dtype.type(1 - j / 8)).astype(x.dtype) for j in range(k)]
    return [x] * k


def choices(count):
    return [c for c in itertools.product((True, False), repeat=count) if any(c)]


def cases(name, among):
    """Operands as lists of slices, which operands have slices, attributes, and the results of the op on each slice."""
    op = OPS[name]
    for xs, attrs in all_samples(name, among):
        if sum(x.size for x in xs) > 3000:
            continue
        for mapped in choices(len(xs)):
            slices = [variants(x, name, SLICES) if m else [x] * SLICES for x, m in zip(xs, mapped, strict=True)]
            try:
                yield slices, mapped, attrs, [eager(op, [s[k] for s in slices], attrs) for k in range(SLICES)]
            except (ValueError, IndexError):
                continue


def stacked(slices, mapped):
    return [np.stack(s) if m else s[0] for s, m in zip(slices, mapped, strict=True)]


def test_ops_without_a_rule_are_those_known():
    assert {n for n in LAWFUL if type(OPS[n]).batch is Op.batch} <= ONE_BY_ONE | {"full", "iota", "shape"}


ALL = (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.bool_, dtypes.complex128)


@pytest.mark.parametrize("name", [n for n in LAWFUL if n not in RAGGED])
def test_batched_is_the_stack_of_the_slices(name):
    tried = 0
    for slices, mapped, attrs, wanted in cases(name, ALL):
        got = batched(OPS[name], SLICES, tuple(map(tf.constant, stacked(slices, mapped))), mapped, attrs)
        for g, parts in zip(got if isinstance(got, tuple) else (got,), zip(*wanted, strict=True), strict=True):
            agree(np.asarray(g), np.stack(parts), (name, [of(s[0]) for s in slices], attrs, mapped), scale=10)
        tried += 1
    assert tried or not any(xs for xs, _ in all_samples(name, COMPUTED))


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if n not in RAGGED])
def test_gradients_through_it_are_those_of_the_slices(name):
    op, random = OPS[name], np.random.default_rng(0)
    for slices, mapped, attrs, wanted in cases(name, (dtypes.float64,)):
        flows = [k for k in op.gradient_operands(len(slices), attrs) if slices[k][0].dtype == np.float64]
        heads = [k for k, y in enumerate(wanted[0]) if dtypes.as_dtype(y.dtype).differentiable]
        if not flows or not heads or name in ("eigh", "svd", "qr"):  # whose gradients are of no use where values coincide
            continue
        ws = [[random.normal(size=wanted[0][k].shape).astype(wanted[0][k].dtype) for k in heads] for _ in range(SLICES)]

        def gradient(f, xs, ws):
            with tf.GradientTape() as tape:
                tape.watch([xs[k] for k in flows])
                out = f(xs)
                out = [(out if isinstance(out, tuple) else (out,))[k] for k in heads]
            return tape.gradient(out, [xs[k] for k in flows], ws)

        try:
            one = [
                gradient(lambda xs: op(*xs, **attrs), [tf.constant(s[k]) for s in slices], list(map(tf.constant, ws[k])))
                for k in range(SLICES)
            ]
        except (NotImplementedError, LookupError):
            continue
        all_ = gradient(
            lambda xs: batched(op, SLICES, tuple(xs), mapped, attrs),
            list(map(tf.constant, stacked(slices, mapped))),
            [tf.constant(np.stack([w[k] for w in ws])) for k in range(len(heads))],
        )
        for k, g, parts in zip(flows, all_, zip(*one, strict=True), strict=True):
            what = (name, [of(s[0]) for s in slices], attrs, mapped, k)
            assert (g is None) == (parts[0] is None), what
            if g is not None:
                whole = np.stack([np.asarray(tf.convert_to_tensor(p)) for p in parts])
                agree(np.asarray(tf.convert_to_tensor(g)), whole if mapped[k] else whole.sum(0), what, scale=1e4)


@pytest.mark.parametrize("name", [n for n in LAWFUL if n not in RAGGED])
def test_the_pass_writes_lines_that_mean_the_same(name):
    op, graph, arrays = OPS[name], Graph("f"), []
    builder = Builder(graph)
    for slices, mapped, attrs, _ in itertools.islice(cases(name, (dtypes.float32, dtypes.int32, dtypes.bool_)), 12):
        body = Graph(builder.names.fresh("body"))
        inner = Builder(body, builder.names)
        args = tuple(inner.parameter("x", of(s[0])) for s in slices)
        body.results = list(inner.emit(op, args, attrs))
        order = sorted(range(len(slices)), key=lambda k: not mapped[k])
        body.params = [body.params[k] for k in order]
        given = stacked(slices, mapped)
        operands = tuple(builder.parameter("x", of(given[k])) for k in order)
        arrays += [given[k] for k in order]
        graph.results += builder.emit(control.vmap, operands, {"body": body, "mapped": sum(mapped), "size": SLICES})
    assert text(parse(text(graph))) == text(graph)
    wanted = interpreter.run(graph, arrays)
    opened = verify(batch(graph))
    assert not any(n.op is control.vmap for n in opened.walk())
    for got, expected in zip(interpreter.run(opened, arrays), wanted, strict=True):
        agree(np.asarray(got), np.asarray(expected), name, scale=10)


@pytest.mark.parametrize("name", sorted(RAGGED))
def test_ragged_results_are_refused(name):
    op = OPS[name]
    xs, attrs = next(iter(all_samples(name)))
    with pytest.raises(Ragged):
        batched(op, 2, [tf.constant(np.stack([xs[0]] * 2))], (True,), attrs)
