"""The LU factorization of matrices in the last two axes, by partial pivoting.

Eagerly SciPy's, in a compiled step LAPACK's getrf. The gradient is that of L^-1 da U^-1, whose triangles are L^-1 dL and dU U^-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.nest import Let, Stmt
from tapejit.ops import lapack
from tapejit.ops.batching import leading
from tapejit.ops.elementwise import ones_like
from tapejit.ops.gathering import gather
from tapejit.ops.lapack import loop, var
from tapejit.ops.linalg import SQUARES, flipped, matrices, triangle, triangular_solve, well_conditioned
from tapejit.ops.matmul import matmul
from tapejit.ops.sorting import argsort


class LU(Op):
    """(lu, pivots, order) of [..., m, n]: row order[k] of the matrix is row k of the product of the triangles, of which the lower one, whose
    diagonal is 1, lies below the upper one in `lu`. Elimination exchanged row k with row pivots[k].

    `lu` has the shape of the matrix, `pivots` is int32[..., min(m, n)] and `order` int32[..., m]. Square matrices have a gradient.
    """

    name = "lu"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> tuple[Type, ...]:
        matrices("lu", a)
        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        return a, Type(dtypes.int32, (*lead, sizes.minimum(m, n))), Type(dtypes.int32, (*lead, m))

    def eager(self, a: Any) -> Any:
        from scipy.linalg import lapack as routines

        lead, (m, n) = a.shape[:-2], a.shape[-2:]
        lu, count = a.copy(), min(m, n)
        pivots = np.zeros((*lead, count), np.int32)
        order = np.broadcast_to(np.arange(m, dtype=np.int32), (*lead, m)).copy()
        if count:
            (getrf,) = routines.get_lapack_funcs(("getrf",), (a,))
            for at in np.ndindex(*lead):
                lu[at], pivots[at], _ = getrf(a[at])
                for k, p in enumerate(pivots[at]):
                    order[at][[k, p]] = order[at][[p, k]]
        return lu, pivots, order

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            if a.dims[-1] != a.dims[-2]:
                raise NotImplementedError(f"the gradient of lu for matrices that are not square, {list(a.dims)}")
            lu, _, order = z
            ones = ones_like(lu)
            lower = triangle(lu, diagonal=0.0) + triangle(triangle(ones), lower=False)
            upper = triangle(lu, lower=False)
            left = matmul(lower, triangle(g[0], diagonal=0.0), transpose_a=True)
            right = matmul(triangle(g[0], lower=False), upper, transpose_b=True)
            middle = triangle(left, diagonal=0.0) + triangle(right, lower=False)
            middle = triangular_solve(flipped(lower), middle, lower=False)
            rows = flipped(triangular_solve(upper, flipped(middle), lower=False))
            rank = len(a.dims)
            return gather(rows, argsort(order), axis=rank - 2, batch_dims=rank - 2)

        return (None if g[0] is None else rule,)

    def work(self, a: Type) -> tuple[Type, ...]:
        m, n = a.shape[-2:]
        return lapack.scratch(a, n, m), lapack.scratch(a, sizes.minimum(m, n), dtype=dtypes.int32)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (lu, pivots, order), (w, exchanged) = ins, outs, work
        m, n = a.dims[-2:]
        count = sizes.minimum(m, n)
        i, k, q = var("i"), var("k"), var("q")

        def each(at: lapack.Lead, p: Any) -> tuple[Stmt, ...]:
            factor = lapack.call("getrf", a.dtype, m, n, lapack.place(w, (p, 0, 0)), m, exchanged[(p, 0)])
            follow = loop(
                "k",
                count,
                Let("q", expr.cast(exchanged[(p, k)], dtypes.int64) - 1),
                pivots.store((*at, k), expr.cast(q, dtypes.int32)),
                Let("row", order[(*at, k)]),
                order.store((*at, k), order[(*at, q)]),
                order.store((*at, q), expr.Var(dtypes.int32, "row")),
            )
            steps = lapack.transposed(w, (p,), a, at, n, m), factor, lapack.transposed(lu, at, w, (p,), m, n), follow
            return loop("i", m, order.store((*at, i), expr.cast(i, dtypes.int32))), *lapack.unless_empty(count, steps)

        return lapack.batch(a.dims[:-2], each)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1, kinds="fc")),), {}


lu = register(LU())
