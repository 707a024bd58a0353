"""Batching rules that families of ops share: the op on every slice along a new axis 0, as one call on whole arrays.

A rule is `batch(self, slices, operands, mapped, **attrs)`, the form of `Op.batch`: operands flagged in `mapped` have the new axis, of
`slices`, in front; so has every result. Rules are written with ops, so they compute eagerly and write lines in a pass. `looped` is what
serves where an op has no rule: slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Literal
from tapejit.ir.op import OPS, Op, thread
from tapejit.ops.broadcasting import broadcast_to
from tapejit.ops.shapes import reshape, transpose

Rule = Callable[..., Any]


class Ragged(NotImplementedError):
    """Slices whose shapes would differ, as their sizes depend on values: there is no array of their results."""


# ------------------------------------------------------------------------------------------------ arrangements
def inner(x: Any, mapped: bool) -> tuple[Dim, ...]:
    """The shape of one slice."""
    return tuple(x.dims[1:]) if mapped else tuple(x.dims)


def repeated(x: Any, slices: Dim, mapped: bool = False) -> Any:
    """`x` with the new axis; one that has it already as it is."""
    return x if mapped else broadcast_to(x, shape=(slices, *x.dims))


def to_front(x: Any, axis: int) -> Any:
    """`x` with `axis` moved to the front."""
    return transpose(x, perm=(axis, *(k for k in range(len(x.dims)) if k != axis))) if axis else x


def from_front(x: Any, axis: int) -> Any:
    """`x` with its first axis moved to where it is number `axis`."""
    return transpose(x, perm=(*range(1, axis + 1), 0, *range(axis + 1, len(x.dims)))) if axis else x


# ------------------------------------------------------------------------------------------------ rules
def leading(self: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], /, **attrs: Any) -> Any:
    """For ops that work on the last axes, or on each element, and take any number of axes before, the same for all operands."""
    return self(*(repeated(x, slices, m) for x, m in zip(operands, mapped, strict=True)), **attrs)


def aligned(self: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], /, **attrs: Any) -> Any:
    """For ops whose operands broadcast: axes of size 1 behind the new one make up for what an operand has fewer of."""
    rank = max(len(inner(x, m)) for x, m in zip(operands, mapped, strict=True))

    def placed(x: Any, m: bool) -> Any:
        missing = rank - (len(x.dims) - 1)
        return reshape(x, shape=(x.dims[0], *(1,) * missing, *x.dims[1:])) if m and missing else x

    return self(*(placed(x, m) for x, m in zip(operands, mapped, strict=True)), **attrs)


def along(name: str) -> Rule:
    """For ops along the axes that the attribute `name` counts from the front."""

    def rule(self: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], /, **attrs: Any) -> Any:
        axis = attrs[name]
        attrs[name] = tuple(k + 1 for k in axis) if isinstance(axis, tuple) else axis + 1
        return leading(self, slices, operands, mapped, **attrs)

    return rule


def padded(**neutral: Any) -> Rule:
    """For ops with an attribute per axis: each gets an entry in front that leaves the new axis alone, "slices" meaning the number of slices."""

    def rule(self: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], /, **attrs: Any) -> Any:
        more = {k: ((slices if v == "slices" else v), *attrs[k]) for k, v in neutral.items()}
        return self(*operands, **(attrs | more))

    return rule


def folded(self: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], /, **attrs: Any) -> Any:
    """For ops all of whose operands and results have an axis 0 of independent examples: the new axis becomes part of it."""
    whole = [repeated(x, slices, m) for x, m in zip(operands, mapped, strict=True)]
    count = whole[0].dims[1]
    out = self(*(reshape(x, shape=(slices * count, *x.dims[2:])) for x in whole), **attrs)
    return reshape(out, shape=(slices, count, *out.dims[1:]))


# ------------------------------------------------------------------------------------------------ one by one
def slice_at(x: Any, k: int) -> Any:
    """Slice `k` along axis 0."""
    rank = len(x.dims)
    return OPS["slice"](x, begin=(k, *(0,) * (rank - 1)), size=(1, *x.dims[1:]), stride=(1,) * rank, drop=(0,))


def looped(op: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], attrs: dict[str, Any], place: Any = None) -> Any:
    """`op` slice by slice: a `scan` where lines are written, otherwise one call after the other."""
    if thread.recorder is None:
        return _unrolled(op, slices, operands, mapped, attrs)
    names = thread.recorder.builder.names
    body = Graph(names.fresh(f"each_{op.name}"))
    builder = Builder(body, names)
    params = {
        k: builder.parameter(f"x{k}", Type(x.dtype, inner(x, m)))
        for m_ in (True, False)
        for k, (x, m) in enumerate(zip(operands, mapped, strict=True))
        if m is m_ and not isinstance(getattr(x, "value", None), Literal)
    }
    args = tuple(params[k] if k in params else x.value for k, x in enumerate(operands))  # noqa: SIM401
    body.results = list(builder.emit(op, args, attrs, place=place))
    out = OPS["scan"](*(operands[k] for k in params), body=body, carried=0, scanned=sum(mapped), length=slices)
    out = tuple(out or ())
    return out if len(body.results) != 1 or getattr(op, "tuple_result", False) else out[0]  # type: ignore[misc]


def _unrolled(op: Op, slices: Dim, operands: Sequence[Any], mapped: Sequence[bool], attrs: dict[str, Any]) -> Any:
    assert isinstance(slices, int)
    if not slices:
        types = op.infer(*(Type(x.dtype, inner(x, m)) for x, m in zip(operands, mapped, strict=True)), **attrs)
        made = tuple(
            OPS["full"](shape=(0, *t.shape), value=False if t.dtype.kind == "b" else 0, dtype=t.dtype)
            for t in (types if isinstance(types, tuple) else (types,))
        )
        return made if isinstance(types, tuple) else made[0]
    rows = [op(*(slice_at(x, k) if m else x for x, m in zip(operands, mapped, strict=True)), **attrs) for k in range(slices)]

    def stacked(parts: Sequence[Any]) -> Any:
        return OPS["concat"](*(reshape(p, shape=(1, *p.dims)) for p in parts), axis=0)

    return tuple(map(stacked, zip(*rows, strict=True))) if isinstance(rows[0], tuple) else stacked(rows)


def batched(op: Op, slices: Dim, operands: tuple[Any, ...], mapped: tuple[bool, ...], attrs: dict[str, Any], place: Any = None) -> Any:
    """`op` on every slice by its rule, or slice by slice where it has none. At least one operand is mapped.

    Ragged where the slices of a result would differ in shape.
    """
    out = op.batch(slices, operands, mapped, **attrs)
    return looped(op, slices, operands, mapped, attrs, place) if out is None else out
