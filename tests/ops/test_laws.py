"""One table over every op, from its own samples: what an op says of itself agrees with what it does.

The types it infers are those it computes; the kernel, the interpreter and the text of a graph give what NumPy gives; gradients are
finite differences, to second order; half precision is the function rounded. An op that enters the table is tried here without
anybody naming it.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import tapejit as tf
from tapejit.core import dtypes, sizes
from tapejit.core.target import Target
from tapejit.core.types import Type
from tapejit.function import function
from tapejit.ir import interpreter
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph
from tapejit.ir.op import OPS, Op
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.loops import expr, nest, reference
from tapejit.ops.families import Elementwise
from tapejit.ops.samples import Draw
from tapejit.passes import pipeline
from tapejit.schedule.define import Source
from tapejit.schedule.plan import plan
from tapejit.spec import TensorSpec

# ops about cells, tapes, sizes and graphs have tests of their own
LAWFUL = sorted(n for n, op in OPS.items() if type(op).samples is not Op.samples and any(True for _ in op.samples(Draw())))
WITHOUT = {"read", "assign", "const", "constant", "dim", "watch", "gradient", "size_of"}
SMALL = {dtypes.float16: 2e-3, dtypes.bfloat16: 1.6e-2}
COMPUTED = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.bool_)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, 2.0, -2.5])


@pytest.fixture(autouse=True, scope="module")
def fresh_cache(tmp_path_factory):
    """Kept code is found by the text of its graph, which does not change when the kernel of an op does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def of(array):
    return Type(dtypes.as_dtype(array.dtype), array.shape)


@functools.cache
def samples(name, dtype):
    """The samples of an op that have an operand (or, without operands, once) of `dtype`."""
    found = [(tuple(map(np.asarray, xs)), attrs) for xs, attrs in OPS[name].samples(Draw(dtype))]
    return [
        (xs, attrs)
        for xs, attrs in found
        if (any(x.dtype == dtype.np for x in xs) or (not xs and dtype is dtypes.float32)) and takes(name, xs, attrs)
    ]


def takes(name, xs, attrs):
    """Whether the op takes operands of these dtypes."""
    try:
        OPS[name].infer(*map(of, xs), **attrs)
    except TypeError:
        return False
    return True


def all_samples(name, among=(*COMPUTED, dtypes.complex64)):
    return itertools.chain.from_iterable(samples(name, d) for d in among)


def eager(op, xs, attrs):
    with np.errstate(all="ignore"):
        out = op.eager(*xs, **attrs)
    return tuple(map(np.asarray, out)) if isinstance(out, tuple) else (np.asarray(out),)


def agree(got, wanted, what, scale=1.0):
    """Equal dtype, shape and values, floats to within a few units in the last place times `scale`."""
    assert got.dtype == wanted.dtype, what
    assert got.shape == wanted.shape, what
    if wanted.dtype.kind in "biu":
        np.testing.assert_array_equal(got, wanted, err_msg=str(what))
        return
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
    tolerance = {2: SMALL.get(dtypes.as_dtype(wanted.dtype), 0), 4: 2e-5, 8: 2e-5 if wanted.dtype.kind == "c" else 1e-11}.get(
        wanted.dtype.itemsize, 1e-11
    ) * scale
    np.testing.assert_allclose(got.astype(wide), wanted.astype(wide), rtol=tolerance, atol=tolerance, err_msg=str(what))


def test_every_op_has_samples():
    assert {n for n, op in OPS.items() if type(op).samples is Op.samples} <= WITHOUT | {
        n for n, op in OPS.items() if op.effect or not type(op).__module__.startswith("tapejit.ops")
    }


# ------------------------------------------------------------------------------------------------ types
@pytest.mark.parametrize("name", LAWFUL)
def test_inferred_types_are_those_computed(name):
    op = OPS[name]
    tried = 0
    for xs, attrs in all_samples(name):
        inferred = op.infer(*map(of, xs), **attrs)
        inferred = inferred if isinstance(inferred, tuple) else (inferred,)
        assert [of(y) for y in eager(op, xs, attrs)] == list(inferred), (name, list(map(of, xs)), attrs)
        tried += 1
    assert tried


@pytest.mark.parametrize("name", [n for n in LAWFUL if isinstance(OPS[n], Elementwise)])
def test_dtypes_that_an_op_does_not_take_are_refused(name):
    op = OPS[name]
    for dtype in (*COMPUTED, dtypes.complex64):
        if dtype.kind not in op.kinds and not op.mixed:
            xs = [np.ones(2, dtype.np)] * len(op.operands)
            with pytest.raises(TypeError, match="not defined for"):
                op.eager(*xs)


@pytest.mark.parametrize("name", LAWFUL)
def test_named_sizes_infer_as_their_values(name):
    """Every axis of size 2 or more gets a name by its size; what is inferred then is what numbers give."""
    op = OPS[name]
    env = {f"N{k}": k for k in range(2, 200)}
    for xs, attrs in all_samples(name, (dtypes.float32, dtypes.int32, dtypes.bool_)):
        if not all(isinstance(v, (bool, dtypes.DType)) or k in ("axis", "perm") for k, v in attrs.items()):
            continue  # attributes that speak of sizes would have to be renamed with them
        types = [of(x).with_shape(tuple(sizes.named(f"N{d}") if 1 < d < 200 else d for d in x.shape)) for x in xs]
        with sizes.assuming():
            inferred = op.infer(*types, **attrs)
        plain = op.infer(*map(of, xs), **attrs)
        pairs = zip(inferred, plain) if isinstance(inferred, tuple) else [(inferred, plain)]
        for got, wanted in pairs:
            assert got.with_shape(tuple(sizes.evaluate(d, env) for d in got.shape)) == wanted, (name, types, attrs)


# ------------------------------------------------------------------------------------------------ values
def recorded(op, cases):
    """One graph that carries out every case, its parameters the operands one after another."""
    graph = Graph("f")
    builder = Builder(graph)
    for xs, attrs in cases:
        args = tuple(builder.parameter(f"x{len(graph.params)}", of(x)) for x in xs)
        graph.results += builder.emit(op, args, attrs)
    return graph


def run_eager(op, cases):
    """As a user calls it."""
    outs = [op(*map(tf.constant, xs), **attrs) for xs, attrs in cases]
    return [np.asarray(y) for out in outs for y in (out if isinstance(out, tuple) else (out,)) if y is not None]


def run_interpreter(op, cases):
    """Through the text: printed, read back, and carried out node by node."""
    graph = recorded(op, cases)
    printed = text(graph)
    again = parse(printed)
    assert text(again) == printed
    return [np.asarray(y) for y in interpreter.run(again, [x for xs, _ in cases for x in xs])]


def together(f, cases):
    """A function of the operands of all cases, that calls `f(operands, case...)` for each."""

    def every(*operands):
        left = iter(operands)
        return [f(tuple(next(left) for _ in case[0]), *case[1:]) for case in cases]

    return every


def run_cpu(op, cases):
    """Traced and compiled."""
    every = function(together(lambda xs, attrs: op(*xs, **attrs), cases))
    outs = every(*(tf.constant(x) for xs, _ in cases for x in xs))
    return [np.asarray(y) for out in outs for y in (out if isinstance(out, tuple) else (out,)) if y is not None]


TARGETS = {"eager": run_eager, "interpreter": run_interpreter, "cpu": run_cpu}


@pytest.fixture(params=list(TARGETS))
def target(request):
    return TARGETS[request.param]


@pytest.mark.parametrize("name", LAWFUL)
def test_targets_agree_with_numpy(name, target):
    op = OPS[name]
    cases = list(all_samples(name, (dtypes.float32, dtypes.bfloat16, dtypes.int32, dtypes.uint8, dtypes.bool_, dtypes.complex64)))
    wanted = [(y, (name, list(map(of, xs)), attrs)) for xs, attrs in cases for y in eager(op, xs, attrs)]
    for got, (y, what) in zip(target(op, cases), wanted, strict=True):
        agree(got, y, what)


def kernel_of(op, xs, attrs):
    """The op's own loop nest, or one loop per axis around its element; and the arrays it works on."""
    types = list(map(of, xs))
    inferred = op.infer(*types, **attrs)
    results = inferred if isinstance(inferred, tuple) else (inferred,)
    ins = [Source(f"x{k}", t) for k, t in enumerate(types)]
    outs = [Source(f"out{k}", t) for k, t in enumerate(results)]
    work = [Source(f"work{k}", t) for k, t in enumerate(op.work(*types, **attrs))]
    if op.at is not None:
        index = tuple(expr.as_expr(0) if d == 1 else expr.Var(dtypes.int64, f"i{k}") for k, d in enumerate(results[0].shape))
        body = (outs[0].store(index, op.at(index, *ins, **attrs)),)
        for i, d in reversed(list(zip(index, results[0].shape))):
            body = (nest.For(i.name, d, "serial", body),) if isinstance(i, expr.Var) else body
    else:
        body = op.kernel(outs, ins, work, **attrs)
    buffers = {s.name: np.array(x) for s, x in zip(ins, xs)}
    # memory that nobody has written is noise
    buffers |= {s.name: np.full(s.dims, 77, s.dtype.np) for s in (*outs, *work)}
    modes = {s.name: "in" for s in ins} | {s.name: "out" for s in outs} | {s.name: "inout" for s in work}
    params = tuple(nest.Param(s.name, s.dtype, s.dims, modes[s.name]) for s in (*ins, *outs, *work))
    return nest.Kernel("k", params, (), body), buffers, [s.name for s in outs]


def check_kernel(op, xs, attrs):
    kernel, buffers, outs = kernel_of(op, xs, attrs)
    assert reference.run_kernel(kernel, buffers) == 0
    for name, wanted in zip(outs, eager(op, xs, attrs), strict=True):
        agree(buffers[name], wanted, (op.name, list(map(of, xs)), attrs), scale=2)


KERNELS = [n for n in LAWFUL if OPS[n].at is not None or OPS[n].kernel is not None]


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_computes_what_numpy_does(name):
    op = OPS[name]
    for xs, attrs in all_samples(name, (dtypes.float32, dtypes.bfloat16, dtypes.int32, dtypes.uint8, dtypes.bool_)):
        if op.native(*map(of, xs), **attrs) and sum(x.size for x in xs) < 1000:
            check_kernel(op, xs, attrs)


@pytest.mark.parametrize("name", [n for n in KERNELS if isinstance(OPS[n], Elementwise) and "f" in OPS[n].kinds and not OPS[n].mixed])
def test_kernel_agrees_at_zeros_infinities_and_nan(name):
    op = OPS[name]
    rows = np.array(list(itertools.product(SPECIAL, repeat=len(op.operands))), np.float32).T
    if name == "pow":  # NumPy takes the square root for the scalar exponent 0.5, which differs from a power at -0.0 and -inf
        rows = rows[:, rows[1] != 0.5]
    check_kernel(op, tuple(np.ascontiguousarray(r) for r in rows), {})


@pytest.mark.parametrize("dtype", SMALL, ids=lambda d: d.name)
@pytest.mark.parametrize("name", LAWFUL)
def test_half_precision_is_the_function_rounded(name, dtype):
    op = OPS[name]
    for xs, attrs in samples(name, dtype):
        wide = tuple(x.astype(np.float64) if x.dtype == dtype.np else x for x in xs)
        if any(isinstance(v, dtypes.DType) for v in attrs.values()):
            continue
        for got, wanted in zip(eager(op, xs, attrs), eager(op, wide, attrs), strict=True):
            if got.dtype == dtype.np:
                wanted = np.where(
                    np.isfinite(wanted), np.clip(wanted, float(dtype.min), float(dtype.max)), wanted
                )  # "lowest" is of the dtype
                agree(got, wanted.astype(dtype.np), (name, list(map(of, xs)), attrs), scale=2)


# ------------------------------------------------------------------------------------------------ gradients
def weights(ys, random):
    return [random.normal(size=y.shape) + (1j * random.normal(size=y.shape) if y.dtype.kind == "c" else 0) for y in ys]


def inner(a, b):
    """The real inner product, in which a gradient is the direction of steepest ascent for complex numbers too."""
    return float(np.sum(np.real(np.conj(a) * b)))


def gradients(op, xs, attrs, k, ws):
    """The gradient with respect to operand `k` of the sum of results weighted by `ws`, with a tape around it."""
    tensors = [tf.constant(x) for x in xs]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(tensors[k])
        with tf.GradientTape() as tape:
            tape.watch(tensors[k])
            out = op(*tensors, **attrs)
        heads = [y for y in (out if isinstance(out, tuple) else (out,))]
        flowing = [(y, tf.constant(w.astype(y.dtype.np))) for y, w in zip(heads, ws) if y.dtype.differentiable]
        g = tape.gradient([y for y, _ in flowing], tensors[k], [w for _, w in flowing]) if flowing else None
    return outer, tensors[k], g


def dense(g, x):
    return np.zeros_like(x) if g is None else np.asarray(tf.convert_to_tensor(g))


def difference(f, xs, k, d, size):
    """The change of the arrays `f(xs)` along `d`, by a central difference."""

    def at(size):
        return f(tuple(x + size * d if i == k else x for i, x in enumerate(xs)))

    return [(after - before) / (2 * size) for after, before in zip(at(size), at(-size))]


def direction(x, name, random):
    (d,) = weights([x], random)
    # of a symmetric matrix only one triangle is read, and its gradient is that along symmetric changes
    return d + np.swapaxes(d, -1, -2).conj() if name in ("cholesky", "eigh", "eigvalsh") else d


DIFFERENTIABLE = [n for n in LAWFUL if not OPS[n].no_gradient]


@pytest.mark.parametrize("name", [n for n in LAWFUL if OPS[n].no_gradient])
def test_no_gradient_is_none(name):
    op = OPS[name]
    for xs, attrs in samples(name, dtypes.float64):
        for k in range(len(xs)):
            _, _, g = gradients(op, xs, attrs, k, [np.ones(y.shape) for y in eager(op, xs, attrs)])
            assert g is None


def gradient_cases(name, dtype):
    op = OPS[name]
    for xs, attrs in samples(name, dtype):
        for k in range(len(xs)):
            if xs[k].dtype == dtype.np:
                yield op, xs, attrs, k


@pytest.mark.parametrize("dtype", [dtypes.float64, dtypes.complex128], ids=lambda d: d.name)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_is_the_finite_difference(name, dtype):
    random = np.random.default_rng(1)
    for op, xs, attrs, k in gradient_cases(name, dtype):
        flows = k in op.gradient_operands(len(xs), attrs)
        ws = weights(eager(op, xs, attrs), random)
        if name in ("eigh", "svd") and dtype.kind == "c":  # the vectors may be turned by any phase, which no gradient knows of
            ws[1:] = [0 * w for w in ws[1:]]
        try:
            outer, x, g = gradients(op, xs, attrs, k, ws)
        except NotImplementedError:
            continue
        what = (name, list(map(of, xs)), attrs, f"operand {k}")
        if not flows:
            assert g is None, what
            continue
        first = dense(g, xs[k])
        assert of(first) == of(xs[k]), what
        if not xs[k].size:
            continue
        if any(d.differentiable and d.real_dtype.bits < 64 for d in (dtypes.as_dtype(y.dtype) for y in eager(op, xs, attrs))):
            continue  # too coarse for differences
        d = direction(xs[k], name, random)
        changes = difference(lambda ys, op=op, attrs=attrs: [y for y in eager(op, ys, attrs) if y.dtype.kind in "fc"], xs, k, d, 1e-6)
        found = sum(inner(w, change) for w, change in zip([w for w, y in zip(ws, eager(op, xs, attrs)) if y.dtype.kind in "fc"], changes))
        np.testing.assert_allclose(inner(first, d), found, rtol=2e-6, atol=2e-7, err_msg=str(what))
        if g is None:
            continue
        e = direction(xs[k], name, random)
        second = dense(outer.gradient(g, x, tf.constant(e.astype(dtype.np))), xs[k])
        (change,) = difference(
            lambda ys, op=op, attrs=attrs, ws=ws, k=k: [dense(gradients(op, ys, attrs, k, ws)[2], ys[k])], xs, k, d, 1e-6
        )
        np.testing.assert_allclose(inner(second, d), inner(e, change), rtol=2e-5, atol=2e-6, err_msg=f"second order {what}")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_compiled_gradient_is_the_eager_one(name):
    random = np.random.default_rng(2)
    op, cases = OPS[name], []
    for xs, attrs in samples(name, dtypes.float32):
        ws = [tf.constant(w.astype(y.dtype)) for y in eager(op, xs, attrs) for w in weights([y], random)]
        flows = [k for k in op.gradient_operands(len(xs), attrs) if xs[k].dtype == np.float32]
        cases.append((xs, attrs, ws, flows))

    def gradient(xs, attrs, ws, flows):
        with tf.GradientTape() as tape:
            tape.watch([xs[k] for k in flows])
            out = op(*xs, **attrs)
        heads = [(y, w) for y, w in zip(out if isinstance(out, tuple) else (out,), ws) if y.dtype.differentiable]
        gs = tape.gradient([y for y, _ in heads], [xs[k] for k in flows], [w for _, w in heads])
        return [None if g is None else tf.convert_to_tensor(g) for g in gs]

    try:
        wanted = [gradient(tuple(map(tf.constant, case[0])), *case[1:]) for case in cases]
    except NotImplementedError as e:
        pytest.skip(str(e))
    got = function(together(gradient, cases))(*(tf.constant(x) for case in cases for x in case[0]))
    for ours, theirs, case in zip(got, wanted, cases, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None), (name, list(map(of, case[0])), case[1])
            if a is not None:
                agree(a.numpy(), b.numpy(), (name, list(map(of, case[0])), case[1]), scale=5)


@pytest.mark.parametrize("name", KERNELS)
def test_compiled_for_open_sizes(name):
    """One program for all sizes of an axis gives what programs for each give."""
    op = OPS[name]
    cases = [
        (xs, attrs)
        for xs, attrs in all_samples(name, (dtypes.float32, dtypes.int32, dtypes.bool_))
        if all(isinstance(v, (bool, dtypes.DType)) or k in ("axis", "perm") for k, v in attrs.items()) and any(x.ndim for x in xs)
    ]
    if not cases:
        pytest.skip("its attributes speak of sizes")
    open_ = [TensorSpec([None if d > 1 else d for d in x.shape], dtypes.as_dtype(x.dtype)) for xs, _ in cases for x in xs]
    every = function(together(lambda xs, attrs: op(*xs, **attrs), cases), input_signature=open_)
    outs = every(*(tf.constant(x) for xs, _ in cases for x in xs))
    for out, (xs, attrs) in zip(outs, cases, strict=True):
        for got, wanted in zip(out if isinstance(out, (tuple, list)) else (out,), eager(op, xs, attrs), strict=True):
            agree(got.numpy(), wanted, (name, list(map(of, xs)), attrs), scale=2)


@pytest.mark.parametrize("name", LAWFUL)
def test_complex_numbers_are_native(name):
    """No compiled op on complex numbers calls the host, but for those that have no kernel for real ones either."""
    op = OPS[name]
    cases = [c for c in samples(name, dtypes.complex64) if c[1].get("combine", "set") in ("set", "add", "sub")]  # other scattered ones do
    cases += [c for c in samples(name, dtypes.float32) if any(y.dtype.kind == "c" for y in eager(op, *c))]
    if not cases:
        pytest.skip("takes and makes no complex numbers")
    called = {w.op.name for w in plan(pipeline.run(recorded(op, cases)), Target()).host}
    assert called <= ({name} if op.at is None and op.kernel is None and op.parted is None else set())
