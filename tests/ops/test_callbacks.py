"""Which ops a compiled step calls Python for: the ones of this table, each for a reason, and no other.

Every sample of every op goes through the passes and the schedule; nothing is compiled.
"""

from __future__ import annotations

import numpy as np
import pytest

import tapejit  # noqa: F401  registers all ops
from tapejit.core import dtypes
from tapejit.core.types import Type
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph
from tapejit.ir.op import OPS, Op
from tapejit.ops.samples import Draw
from tapejit.passes import pipeline
from tapejit.runtime import host
from tapejit.schedule import plan

ALLOWED = {
    "bitcast": "the memory of 16-bit floats, which native code has as float32",
    "assert_true": "the message shows tensors as Python prints them",
    "calls_begin": "counts the runs of this process",
    "host_call": "the user's Python function",
    "host_shape": "what the user's Python function gave",
    "host_result": "what the user's Python function gave",
    "host_gradient": "the tape of the user's Python function",
    "stash": "a tensor whose sizes only its branch knows, in Python's hands",
    "stashed": "a tensor whose sizes only its branch knows, from Python's hands",
    "print": "writes to Python's streams",
}
# of complex numbers: products along an axis, recurrences, and largest elements by NumPy's order
COMPLEX = {"cumprod", "linear_scan", "prod", "scatter"}
DTYPES = (dtypes.float32, dtypes.float64, dtypes.bfloat16, dtypes.int32, dtypes.uint8, dtypes.bool_, dtypes.complex64)
SAMPLED = sorted(n for n, op in OPS.items() if type(op).samples is not Op.samples)


def types(arrays):
    return [Type(dtypes.as_dtype(x.dtype), x.shape) for x in map(np.asarray, arrays)]


@pytest.mark.parametrize("name", SAMPLED)
def test_only_a_few_ops_call_python(name):
    target = host.target()
    for dtype in DTYPES:
        for operands, attrs in OPS[name].samples(Draw(dtype)):
            graph = Graph("f")
            builder = Builder(graph)
            try:
                args = tuple(builder.parameter(f"x{k}", t) for k, t in enumerate(types(operands)))
                graph.results += builder.emit(OPS[name], args, attrs)
            except TypeError:
                continue  # the op does not take the dtype
            is_complex = any(x.type.dtype.is_complex for x in (*args, *graph.results))
            called = {work.op.name for work in plan.plan(pipeline.run(graph), target).host}
            assert called <= set(ALLOWED) | (COMPLEX if is_complex else set()), (name, types(operands), attrs)


def test_ops_without_samples_are_the_language_or_allowed():
    language = {"read", "assign", "const", "constant", "dim", "watch", "gradient", "size_of"}
    rest = {n for n, op in OPS.items() if n not in SAMPLED and op.at is None and op.kernel is None}
    assert {n for n in rest if type(OPS[n]).__module__.startswith("tapejit")} <= language | set(ALLOWED)
