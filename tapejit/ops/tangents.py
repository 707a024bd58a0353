"""Derivatives along a direction for families of ops: the tangent of a result from the tangents of the operands.

A rule is `jvp(self, tangents, z, *operands, **attrs)`, the form of `Op.jvp`: a tangent, or None, per operand in, that of the result (a tuple
for several) out. Ops without one are differentiated forward by transposing their gradient, which is linear in what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapejit.ir.op import OPS, Op


def multilinear(self: Op, tangents: Sequence[Any], z: Any, *operands: Any, **attrs: Any) -> Any:
    """For ops that are linear in each operand that has a gradient: the sum over operands of the op with a tangent in one's place."""
    total: Any = None
    for k, t in enumerate(tangents):
        if t is not None:
            part = self(*operands[:k], t, *operands[k + 1 :], **attrs)
            total = part if total is None else total + part
    return total


def linear(self: Op, tangents: Sequence[Any], z: Any, *operands: Any, **attrs: Any) -> Any:
    """For ops that are linear in all operands together."""
    return self(
        *(OPS["full"](shape=x.dims, value=0, dtype=x.dtype) if t is None else t for t, x in zip(tangents, operands, strict=True)), **attrs
    )
