"""The op that a checked variant of a compiled step has behind every line: nothing, if its operand is finite everywhere.

Its kernel looks over the operand at full speed first and only then for the element, so that a checked step is slower by a pass over
memory per line. It writes down the index, the element, and the elements of the operands it was computed from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, If, Stmt, Update
from tapejit.ops.broadcasting import broadcast_index
from tapejit.ops.gathering import fail, loops


class Finite(Op):
    """No result; InvalidArgumentError if the first operand, which a line of the graph made, holds NaN or an infinity.

    The other operands are those of the line, where it is elementwise. Attributes describe the line: `op`, `made` and `operands` are the names of
    its op, result and operands (with their types, where they are not elementwise), `rank` that of the result.
    """

    name = "finite"
    effect = True
    no_gradient = True
    told = ("op", "made", "operands", "rank")

    def infer(self, x: Type, *shown: Type, op: str, made: str, operands: tuple[str, ...], rank: int) -> tuple[Type, ...]:
        if x.dtype.kind not in "fc":
            raise TypeError(f"only floating-point values can fail to be finite, got {x}")
        return ()

    def eager(self, x: Any, *shown: Any, **line: Any) -> tuple[Any, ...]:
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 else np.asarray(x)
        bad = ~np.isfinite(wide)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            values = [wide[at], *(np.broadcast_to(s, wide.shape)[at] for s in shown)]
            raise InvalidArgumentError(self.failure(*at, *values, **line))
        return ()

    def failure(self, *values: Any, op: str, made: str, operands: tuple[str, ...], rank: int) -> str:
        """What went wrong, from an index, the element there, and the operands' elements."""
        index = f"[{', '.join(str(int(i)) for i in values[:rank])}]" if rank else ""
        value, *parts = values[rank:]
        kind = "NaN" if np.isnan(value) else "Inf"
        source = (
            [f"{n}{'' if n.startswith('literal ') else index} = {_spelled(v)}" for n, v in zip(operands, parts, strict=False)]
            if parts
            else list(operands)
        )
        return f"{op}: Tensor had {kind} values: {made}{index} = {_spelled(value)}, computed from {_listed(source)}".replace("literal ", "")

    def samples(self, draw: Any) -> Iterator[Any]:
        line = {"op": "add", "made": "z", "operands": ("x", "y")}
        yield (draw((2, 3)),), {**line, "rank": 2}
        yield (draw((2, 3)), draw((2, 3)), draw((3,))), {**line, "rank": 2}
        yield (draw(()),), {**line, "rank": 0}

    def native(self, *types: Type, **attrs: Any) -> bool:
        return all(t.dtype.kind != "c" for t in types)

    def kernel(self, outs: Any, ins: Any, work: Any, **line: Any) -> tuple[Stmt, ...]:
        x, *shown = ins

        def bad(index: tuple[Expr, ...]) -> Expr:
            return ~expr.call("isfinite", expr.cast(x[index], x.dtype.wide), dtype=dtypes.bool_)

        def look(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            parts = (s[broadcast_index(index, s.dims)] for s in shown)
            return (If(bad(index), (fail(*index, expr.cast(x[index], x.dtype.wide), *parts),)),)

        if not x.dims:
            return look(())
        found = expr.Var(dtypes.bool_, "spoilt")
        return (
            Accumulator("spoilt", expr.as_expr(False, dtypes.bool_)),
            *loops("i", x.dims, lambda index: (Update("spoilt", "or", bad(index)),), inner="vector"),
            If(found, loops("j", x.dims, look)),
        )


def _spelled(value: Any) -> str:
    value = complex(value) if np.iscomplexobj(value) else float(value)
    return repr(value) if isinstance(value, complex) else f"{value:.9g}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


finite = register(Finite())
