"""Every computation of the vocabulary gives the same eagerly and inside a traced function: values, dtypes, shapes and gradients, with
sizes known and with sizes left open; and programs with variables and tapes leave the same state behind.
"""

from __future__ import annotations

import types

import numpy as np
import optree
import pytest
from traced_computations import COMPUTATIONS, UNLIKE, UNTRIED, Computation

import tapejit as tf

TOGETHER = 8  # computations in one traced function: they share a compilation


def leaves(structure):
    return [None if x is None else tf.convert_to_tensor(x) for x in optree.tree_leaves(structure, none_is_leaf=True)]


def weights(y):
    """An output gradient for a result, whose size may be open."""
    w = tf.cos(1.0 + tf.cast(tf.range(tf.size(y)), tf.float64))
    return tf.reshape(tf.cast(w, y.dtype), tf.shape(y))


def values_and_gradients(f, xs):
    """Results of `f`, and the gradients of their weighted sum with respect to the arguments that have one."""
    sources = [x for x in xs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        ys = leaves(f(*xs))
    heads = [y for y in ys if y is not None and y.dtype.is_floating]
    found = tape.gradient(heads, sources, output_gradients=[weights(y) for y in heads]) if heads and sources else []
    return ys, [None if g is None else tf.convert_to_tensor(g) for g in found]


def arrays(structure):
    return [None if x is None else x.numpy() for x in optree.tree_leaves(structure, none_is_leaf=True)]


def traced(computations, symbolic):
    """All computations as one traced function, called with their arrays; returns the results of each."""
    specs = []
    for c in computations:
        for k, a in enumerate(c.arrays):
            shape = [None if symbolic and (k, axis) in c.open else d for axis, d in enumerate(a.shape)]
            specs.append(tf.TensorSpec(shape, tf.as_dtype(a.dtype)))

    @tf.function(input_signature=specs, autograph=False)
    def together(*xs):
        left = iter(xs)
        return [values_and_gradients(c.f, [next(left) for _ in c.arrays]) for c in computations]

    return together(*(tf.constant(a) for c in computations for a in c.arrays))


def differences(found, wanted, what):
    """Lines that say how two lists of arrays differ."""
    if len(found) != len(wanted):
        return [f"{what}: {len(found)} results, expected {len(wanted)}"]
    out = []
    for k, (g, w) in enumerate(zip(found, wanted, strict=True)):
        if (g is None) != (w is None):
            out.append(f"{what} {k}: {g}, expected {w}")
        elif g is None:
            continue
        elif (g.dtype, g.shape) != (w.dtype, w.shape):
            out.append(f"{what} {k}: {g.dtype}{list(g.shape)}, expected {w.dtype}{list(w.shape)}")
        elif w.dtype.kind in "biu":
            if not np.array_equal(g, w):
                out.append(f"{what} {k}: {g}, expected {w}")
        else:
            wide = np.complex128 if w.dtype.kind == "c" else np.float64
            tolerance = 1e-9 if w.dtype.itemsize == 8 and w.dtype.kind == "f" else 3e-5
            scale = max(1.0, float(np.max(np.abs(w.astype(wide))[np.isfinite(w.astype(wide))], initial=0)))
            if not np.allclose(g.astype(wide), w.astype(wide), rtol=tolerance, atol=tolerance * scale, equal_nan=True):
                out.append(f"{what} {k}: {g}, expected {w}")
    return out


def compare(computations, symbolic):
    """What differs, by name; a computation that cannot be traced or run with the others is tried by itself."""
    try:
        found = traced(computations, symbolic)
    except Exception as e:
        if len(computations) == 1:
            return {computations[0].name: [f"{type(e).__name__}: {e}"]}
        return {name: said for c in computations for name, said in compare([c], symbolic).items()}
    out = {}
    for c, (values, gradients) in zip(computations, found, strict=True):
        wanted = values_and_gradients(c.f, [tf.constant(a) for a in c.arrays])
        said = differences(arrays(values), arrays(wanted[0]), "value") + differences(arrays(gradients), arrays(wanted[1]), "gradient")
        if said:
            out[c.name] = said
    return out


def excepted(c, variant):
    return c.name in UNLIKE and variant in UNLIKE[c.name][0]


def groups(symbolic):
    variant = "symbolic" if symbolic else "static"
    tried = [c for c in COMPUTATIONS if (c.open or not symbolic) and not excepted(c, variant)]
    return [tried[k : k + TOGETHER] for k in range(0, len(tried), TOGETHER)]


def label(group):
    return f"{group[0].name}...{group[-1].name}" if isinstance(group, list) else None


def test_names_are_unique():
    names = [c.name for c in COMPUTATIONS]
    assert len(names) == len(set(names))
    assert set(UNLIKE) <= set(names)


@pytest.mark.parametrize("group", groups(False), ids=label)
def test_traced_with_known_sizes_is_eager(group):
    found = compare(group, False)
    assert not found, "\n".join(f"{name}: {line}" for name, said in found.items() for line in said)


@pytest.mark.parametrize("group", groups(True), ids=label)
def test_traced_with_open_sizes_is_eager(group):
    found = compare(group, True)
    assert not found, "\n".join(f"{name}: {line}" for name, said in found.items() for line in said)


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n, (variants, _) in UNLIKE.items() for v in variants])
def test_exceptions_are_still_exceptions(name, variant):
    c = next(c for c in COMPUTATIONS if c.name == name)
    assert compare([c], variant == "symbolic"), f"{name} works now: take it off the list UNLIKE"


# ------------------------------------------------------------------------------------------------ the vocabulary
def spoken(code: types.CodeType) -> set[str]:
    """Names that a piece of code speaks of, those of functions within included."""
    return set(code.co_names) | {n for c in code.co_consts if isinstance(c, types.CodeType) for n in spoken(c)}


def names_used(c: Computation) -> set[str]:
    f = c.f
    found = {getattr(f, "__name__", "")}
    if hasattr(f, "__code__"):
        found |= spoken(f.__code__)
        held = [*(f.__defaults__ or ()), *(cell.cell_contents for cell in f.__closure__ or ())]
        for g in held:
            if callable(g):
                found |= {getattr(g, "__name__", "")} | (spoken(g.__code__) if hasattr(g, "__code__") else set())
    return found


def test_the_whole_vocabulary_is_tried():
    used = {n for c in COMPUTATIONS for n in names_used(c)}
    modules = [
        "arrays",
        "bitwise",
        "casting",
        "clipping",
        "creation",
        "image",
        "linalg",
        "math",
        "nn",
        "selection",
        "signal",
        "ordering",
        "control",
        "functional",
        "host",
        "gradients",
        "sparse",
        "sparse_tensor",
    ]
    offered = {n for m in modules for n in getattr(__import__(f"tapejit.{m}", fromlist=["_"]), "__all__", ())}
    assert offered - used - set(UNTRIED) == set()
    assert not set(UNTRIED) & used, "these are tried: take them off the list UNTRIED"
