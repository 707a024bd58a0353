"""Reshape and transpose: the same elements in another arrangement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr


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
    on_sizes = True

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

    def samples(self, draw: Any) -> Iterator[Any]:
        for a, b in [((2, 6), (3, 4)), ((6,), (1, 6, 1)), ((2, 3, 4), (6, 4)), ((1, 1), ()), ((0, 3), (3, 0)), ((4,), (2, 2)), ((2, 1, 3), (2, 3))]:
            yield (draw(a, kinds="biuf"),), {"shape": b}


class Transpose(Op):
    """Axis k of the result is axis `perm[k]` of the operand (`tf.transpose`)."""

    name = "transpose"

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

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, perm in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((5,), (0,)), ((), ()), ((1, 3, 1), (2, 1, 0)), ((0, 2), (1, 0))]:
            yield (draw(shape, kinds="biuf"),), {"perm": perm}


reshape, transpose = register(Reshape()), register(Transpose())
