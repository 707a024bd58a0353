"""Ops with nested graphs, effects and counts, as small as they can be; in the table only while a test of this folder runs."""

import numpy as np
import pytest

from tapejit.core import dtypes
from tapejit.core.types import Type
from tapejit.ir.op import OPS, Op


class Repeat(Op):
    """While `until(*xs)` is false, `xs = step(*xs)`."""

    name = "repeat"

    def infer(self, *types, until, step):
        if [r.type for r in step.results] != list(types):
            raise ValueError("step must return what it takes")
        return types

    def interpret(self, node, env, run):
        xs = [env[a] for a in node.args]
        while not run(node.attrs["until"], xs, env)[0]:
            xs = run(node.attrs["step"], xs, env)
        return tuple(xs)


class Choose(Op):
    """`yes()` or `no()` by the condition."""

    name = "choose"

    def infer(self, c, *, yes, no):
        return tuple(r.type for r in yes.results)

    def interpret(self, node, env, run):
        return tuple(run(node.attrs["yes" if env[node.args[0]] else "no"], [], env))


class Count(Op):
    """How many are true: a size from here on."""

    name = "count"
    binds_size = True

    def infer(self, x):
        return Type(dtypes.int32)

    def eager(self, x):
        return np.sum(x, dtype=np.int32)


class Kept(Op):
    """The elements of `x` where `mask` is true, of which there are `size`."""

    name = "kept"

    def infer(self, x, mask, *, size):
        return Type(x.dtype, (size,))

    def eager(self, x, mask, *, size):
        assert type(size) is int
        return x[mask]


class Note(Op):
    """Writes its operand down."""

    name = "note"
    effect = True
    notes: list = []

    def infer(self, x, *, text=""):
        return ()

    def eager(self, x, *, text=""):
        self.notes.append((text, x))
        return ()


class Both(Op):
    """Sum and difference: two results."""

    name = "both"

    def infer(self, x, y):
        return x, y

    def eager(self, x, y):
        return x + y, x - y


@pytest.fixture(autouse=True)
def small_ops():
    ops = [Repeat(), Choose(), Count(), Kept(), Note(), Both()]
    OPS.update({o.name: o for o in ops})
    yield
    for o in ops:
        del OPS[o.name]
