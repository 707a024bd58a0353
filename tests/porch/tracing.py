"""Runs a function of tensors the ways tapejit can: eagerly, as a traced graph in the interpreter, and with symbolic sizes."""

from __future__ import annotations

import numpy as np
import optree

import tapejit as tf
from tapejit.core import dtypes, sizes
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir import interpreter
from tapejit.ir.graph import Graph
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.record.recorder import Recorder, recording


def eager(f, *arrays):
    """The results of `f` on eager tensors, as arrays."""
    return [tf.convert_to_tensor(o).numpy() for o in optree.tree_leaves(f(*map(tf.constant, arrays)))]


def record(f, arrays, symbolic=0):
    """The recorder after `f` was traced; every first axis of size `symbolic` is the size B."""
    recorder = Recorder(Graph("f"))
    recorder.builder.names.take("B")
    args = []
    for k, a in enumerate(arrays):
        shape = tuple(sizes.named("B") if symbolic and i == 0 and n == symbolic else n for i, n in enumerate(a.shape))
        args.append(GraphTensor(recorder.builder.parameter(f"x{k}", Type(dtypes.as_dtype(a.dtype), shape)), recorder))
    with recording(recorder):
        leaves = [tf.identity(o) for o in optree.tree_leaves(f(*args))]
    recorder.graph.results = [recorder.builder.literal(recorder.operand(o)) for o in leaves]
    return recorder


def interpreted(recorder, arrays):
    """The results of the recorded graph on other arrays."""
    consts = {k: v if isinstance(v, np.ndarray) else v.numpy_view() for k, v in recorder.captured.items()}
    return [np.asarray(r) for r in interpreter.run(recorder.graph, list(arrays), {}, consts)]


def same_traced(f, *arrays, symbolic=4):
    """Assert that `f` gives the same eagerly, traced, and traced with a symbolic first axis, and that the text reads back."""
    wanted = eager(f, *arrays)
    for size in (0, symbolic):
        recorder = record(f, arrays, size)
        got = interpreted(recorder, arrays)
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted, strict=True):
            assert (g.dtype, g.shape) == (w.dtype, w.shape)
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
        assert text(parse(text(recorder.graph))) == text(recorder.graph)
