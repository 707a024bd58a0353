"""Reshape, transpose, tile: the same elements in another arrangement; `identity` and `ensure_shape` in the one they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import OPS, Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.tangents import multilinear


def row_major(index: tuple[Expr, ...], shape: tuple[Dim, ...]) -> Expr:
    """The position in memory of an element of a contiguous array."""
    flat = expr.as_expr(0)
    for i, d in zip(index, shape, strict=True):
        flat = flat * expr.of_dim(d) + i
    return flat


def unravel(flat: Expr, shape: tuple[Dim, ...]) -> tuple[Expr, ...]:
    """The index of the element at a position in memory."""
    out: list[Expr] = []
    for k, d in enumerate(shape):
        below = sizes.product(shape[k + 1 :])
        out.append((flat // expr.of_dim(below)) % expr.of_dim(d) if k else flat // expr.of_dim(below))
    return tuple(out)


class Reshape(Op):
    """The operand's elements in row-major order at `shape`, every size of which is given."""

    name = "reshape"
    jvp = multilinear
    on_sizes = True
    view = True

    def infer(self, x: Type, *, shape: tuple[Dim, ...]) -> Type:
        try:
            sizes.unify(x.size, sizes.product(shape))
        except ValueError:
            raise ValueError(
                f"reshape: {x} has {x.size} elements, shape [{', '.join(map(str, shape))}] needs {sizes.product(shape)}; write -1 for the size to be found"
            ) from None
        return x.with_shape(shape)

    def eager(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        return x.reshape(shape)

    def vjp(self, g: Any, z: Any, x: Any, *, shape: tuple[Dim, ...]) -> tuple[Any, ...]:
        return (lambda: reshape(g, shape=x.dims),)

    def at(self, index: tuple[Expr, ...], x: Any, *, shape: tuple[Dim, ...]) -> Expr:
        def squeezed(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
            return tuple(d for d in dims if not (isinstance(d, int) and d == 1))

        if squeezed(shape) == squeezed(x.dims):  # only axes of size 1 come or go
            left = iter(i for i, d in zip(index, shape, strict=True) if not (isinstance(d, int) and d == 1))
            return x[tuple(expr.as_expr(0) if isinstance(d, int) and d == 1 else next(left) for d in x.dims)]
        return x[unravel(row_major(index, shape), x.dims)]

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, shape: tuple[Dim, ...]) -> Any:
        return reshape(operands[0], shape=(slices, *shape))

    def samples(self, draw: Any) -> Iterator[Any]:
        for a, b in [
            ((2, 6), (3, 4)),
            ((6,), (1, 6, 1)),
            ((2, 3, 4), (6, 4)),
            ((1, 1), ()),
            ((0, 3), (3, 0)),
            ((4,), (2, 2)),
            ((2, 1, 3), (2, 3)),
        ]:
            yield (draw(a, kinds="biufc"),), {"shape": b}


class Transpose(Op):
    """Axis k of the result is axis `perm[k]` of the operand (`tf.transpose`)."""

    name = "transpose"
    jvp = multilinear
    on_sizes = True

    def infer(self, x: Type, *, perm: tuple[int, ...]) -> Type:
        if sorted(perm) != list(range(x.rank)):
            raise ValueError(f"transpose: perm {list(perm)} is no permutation of the axes of {x}")
        return x.with_shape(tuple(x.shape[p] for p in perm))

    def eager(self, x: Any, *, perm: tuple[int, ...]) -> Any:
        return x.transpose(perm)

    def vjp(self, g: Any, z: Any, x: Any, *, perm: tuple[int, ...]) -> tuple[Any, ...]:
        return (lambda: transpose(g, perm=tuple(perm.index(k) for k in range(len(perm)))),)

    def at(self, index: tuple[Expr, ...], x: Any, *, perm: tuple[int, ...]) -> Expr:
        return x[tuple(index[perm.index(k)] for k in range(len(perm)))]

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, perm: tuple[int, ...]) -> Any:
        return transpose(operands[0], perm=(0, *(p + 1 for p in perm)))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, perm in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((5,), (0,)), ((), ()), ((1, 3, 1), (2, 1, 0)), ((0, 2), (1, 0))]:
            yield (draw(shape, kinds="biufc"),), {"perm": perm}


class Tile(Op):
    """The operand repeated `multiples[k]` times along axis k (`tf.tile`)."""

    name = "tile"
    jvp = multilinear
    on_sizes = True

    def infer(self, x: Type, *, multiples: tuple[Dim, ...]) -> Type:
        if len(multiples) != x.rank:
            raise ValueError(f"tile of {x}: multiples need {x.rank} entries, got {len(multiples)}")
        if any(isinstance(m, int) and m < 0 for m in multiples):
            raise ValueError(f"tile of {x}: multiples must not be negative, got {list(multiples)}")
        return x.with_shape(tuple(d * m for d, m in zip(x.shape, multiples, strict=True)))

    def eager(self, x: Any, *, multiples: tuple[int, ...]) -> Any:
        if len(multiples) != x.ndim or min(multiples, default=0) < 0:
            raise ValueError(f"tile: multiples need {x.ndim} entries, none negative, got {list(multiples)}")
        return np.tile(x, multiples)

    def vjp(self, g: Any, z: Any, x: Any, *, multiples: tuple[Dim, ...]) -> tuple[Any, ...]:
        def rule() -> Any:
            apart = reshape(g, shape=tuple(d for pair in zip(multiples, x.dims, strict=True) for d in pair))
            return OPS["sum"](apart, axis=tuple(range(0, 2 * len(multiples), 2)))

        return (rule,)

    def at(self, index: tuple[Expr, ...], x: Any, *, multiples: tuple[Dim, ...]) -> Expr:
        return x[
            tuple(i if isinstance(m, int) and m == 1 else i % expr.of_dim(d) for i, m, d in zip(index, multiples, x.dims, strict=True))
        ]

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, multiples: tuple[Dim, ...]) -> Any:
        return tile(operands[0], multiples=(1, *multiples))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, multiples in [((2, 3), (2, 1)), ((3,), (3,)), ((), ()), ((1, 2), (2, 2)), ((2,), (0,)), ((0, 2), (2, 1))]:
            yield (draw(shape, kinds="biufc"),), {"multiples": multiples}


class Identity(Op):
    """The operand itself, as a value of its own (`tf.identity`)."""

    name = "identity"
    jvp = multilinear
    on_sizes = True

    def infer(self, x: Type) -> Type:
        return x

    def eager(self, x: Any) -> Any:
        return x

    def vjp(self, g: Any, z: Any, x: Any) -> tuple[Any, ...]:
        return (lambda: g,)

    def at(self, index: tuple[Expr, ...], x: Any) -> Expr:
        return x[index]

    def batch(self, slices: Dim, operands: Any, mapped: Any) -> Any:
        return identity(operands[0])

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((2, 3), (), (0,)):
            yield (draw(shape, kinds="biufc"),), {}


class EnsureShape(Op):
    """The operand itself, from here on known to have `shape`; ValueError if it has not (`tf.ensure_shape`)."""

    name = "ensure_shape"
    jvp = multilinear
    on_sizes = True

    def infer(self, x: Type, *, shape: tuple[Dim, ...]) -> Type:
        if len(shape) != x.rank:
            raise ValueError(f"Shape of tensor {list(x.shape)} is not compatible with expected shape {list(shape)}.")
        try:
            return x.with_shape(tuple(sizes.unify(have, want) for have, want in zip(x.shape, shape, strict=True)))
        except ValueError:
            raise ValueError(f"Shape of tensor {list(x.shape)} is not compatible with expected shape {list(shape)}.") from None

    def eager(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        if x.shape != shape:
            raise ValueError(f"Shape of tensor {list(x.shape)} is not compatible with expected shape {list(shape)}.")
        return x

    def vjp(self, g: Any, z: Any, x: Any, *, shape: tuple[Dim, ...]) -> tuple[Any, ...]:
        return (lambda: g,)

    def at(self, index: tuple[Expr, ...], x: Any, *, shape: tuple[Dim, ...]) -> Expr:
        return x[index]

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, shape: tuple[Dim, ...]) -> Any:
        return ensure_shape(operands[0], shape=(slices, *shape))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((2, 3), (), (0,)):
            yield (draw(shape, kinds="biufc"),), {"shape": shape}


reshape, transpose, tile, identity, ensure_shape = (register(op) for op in (Reshape(), Transpose(), Tile(), Identity(), EnsureShape()))
