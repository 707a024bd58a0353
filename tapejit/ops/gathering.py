"""Reading and writing at indices held in tensors: `gather`, `segment` and `scatter`, and the index ops that check them.

`segment` combines rows that have the same id; it is the transpose of `gather`, and `scatter_nd`, the segment reductions of
TensorFlow, bincount and histograms are written with it. Ids come checked: `in_range` and `linear_index` fail for bad ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr, nest, scalar
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Stmt
from tapejit.ops.batching import from_front, leading, repeated, to_front
from tapejit.ops.creation import iota
from tapejit.ops.elementwise import cast, equal, full, logical_and, not_equal, ones_like, select, zeros_like
from tapejit.ops.shapes import identity, reshape, transpose
from tapejit.ops.slicing import number, scalar_of
from tapejit.ops.tangents import multilinear

int64 = dtypes.int64


def loops(
    prefix: str, dims: tuple[Dim, ...], body: Callable[[tuple[Expr, ...]], tuple[Stmt, ...]], outer: str = "serial", inner: str = "serial"
) -> tuple[Stmt, ...]:
    """Nested loops over `dims`, the outermost of kind `outer`, the innermost of several of kind `inner`."""
    index = tuple(expr.Var(int64, f"{prefix}{k}") for k in range(len(dims)))
    statements = body(index)
    for k in reversed(range(len(dims))):
        kind = outer if k == 0 else inner if k == len(dims) - 1 else "serial"
        statements = (nest.For(index[k].name, dims[k], kind, statements),)  # type: ignore[arg-type]
    return statements


def _bad(values: np.ndarray, limit: int) -> tuple[tuple[int, ...], int] | None:
    wrong = (values < 0) | (values >= limit)
    if not wrong.any():
        return None
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    return where, int(values[where])


def fail(*operands: Expr) -> Stmt:
    """The statement that ends a kernel in failure with these numbers written down."""
    return nest.Fail(0, tuple(expr.cast(x, dtypes.float64) for x in operands))


class InRange(Op):
    """The integer operand itself; InvalidArgumentError unless every element is at least 0 and less than `limit`."""

    name = "in_range"
    batch = leading
    no_gradient = True

    def infer(self, x: Type, *, limit: Dim) -> Type:
        if x.dtype.kind not in "iu":
            raise TypeError(f"indices must be integers, got {x}; write tf.cast(indices, tf.int32)")
        return x

    def eager(self, x: Any, *, limit: int) -> Any:
        bad = _bad(x, limit)
        if bad is not None:
            raise InvalidArgumentError(f"indices{list(bad[0])} = {bad[1]} is not in [0, {limit})")
        return x

    def failure(self, value: float, limit: float) -> str:
        """What went wrong, from the operands of `nest.Fail`."""
        return f"indices: {int(value)} is not in [0, {int(limit)})"

    def kernel(self, outs: Any, ins: Any, work: Any, *, limit: Dim) -> tuple[Stmt, ...]:
        def body(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            value = expr.cast(ins[0][index], int64)
            return (
                nest.If((value < 0) | (value >= expr.of_dim(limit)), (fail(value, expr.of_dim(limit)),)),
                outs[0].store(index, ins[0][index]),
            )

        return loops("i", ins[0].dims, body)

    def samples(self, draw: Any) -> Iterator[Any]:
        for values in ([0, 2, 1], [[1], [3]], 2, np.zeros((0,), np.int64)):
            for dtype in (np.int32, np.int64):
                yield (np.asarray(values, dtype),), {"limit": 4}


class LinearIndex(Op):
    """Index vectors along the last axis as positions in an array of shape `dims`; InvalidArgumentError for one outside of it."""

    name = "linear_index"
    batch = leading
    no_gradient = True

    def infer(self, x: Type, *, dims: tuple[Dim, ...]) -> Type:
        if x.dtype.kind not in "iu":
            raise TypeError(f"indices must be integers, got {x}; write tf.cast(indices, tf.int32)")
        if not x.rank or x.shape[-1] != len(dims):
            raise ValueError(f"index vectors of length {len(dims)} expected, got indices {x}")
        return Type(int64, x.shape[:-1])

    def eager(self, x: Any, *, dims: tuple[int, ...]) -> Any:
        out = np.zeros(x.shape[:-1], np.int64)
        for k, d in enumerate(dims):
            column = x[..., k]
            bad = _bad(column, d)
            if bad is not None:
                raise InvalidArgumentError(f"indices{list(bad[0])} = {x[bad[0]].tolist()} does not index into shape {list(dims)}")
            out = out * d + column
        return out

    def failure(self, *values: float) -> str:
        """What went wrong, from the operands of `nest.Fail`."""
        half = len(values) // 2
        return f"indices {[int(v) for v in values[:half]]} do not index into shape {[int(v) for v in values[half:]]}"

    def kernel(self, outs: Any, ins: Any, work: Any, *, dims: tuple[Dim, ...]) -> tuple[Stmt, ...]:
        def body(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            parts = [expr.cast(ins[0][(*index, expr.as_expr(k))], int64) for k in range(len(dims))]
            flat: Expr = expr.as_expr(0)
            wrong: Expr = expr.as_expr(False, dtypes.bool_)
            for part, d in zip(parts, dims, strict=True):
                flat = flat * expr.of_dim(d) + part
                wrong = wrong | (part < 0) | (part >= expr.of_dim(d))
            check = (nest.If(wrong, (fail(*parts, *map(expr.of_dim, dims)),)),) if dims else ()
            return (*check, outs[0].store(index, flat))

        return loops("i", ins[0].dims[:-1], body)

    def samples(self, draw: Any) -> Iterator[Any]:
        yield (np.asarray([[0, 1], [3, 2]], np.int32),), {"dims": (4, 3)}
        yield (np.asarray([[[2]], [[0]]], np.int64),), {"dims": (3,)}
        yield (np.asarray([1, 1, 1], np.int64),), {"dims": (2, 2, 2)}
        yield (np.zeros((2, 0), np.int32),), {"dims": ()}
        yield (np.zeros((0, 1), np.int32),), {"dims": (5,)}


class Gather(Op):
    """Rows of `x` along `axis` at `indices` (`tf.gather`); the first `batch_dims` axes of both belong together.

    The shape is `x[:axis] + indices[batch_dims:] + x[axis + 1:]`. The indices are in range.
    """

    name = "gather"
    jvp = multilinear
    constant_operands = frozenset({1})
    on_sizes = True

    def infer(self, x: Type, indices: Type, *, axis: int = 0, batch_dims: int = 0) -> Type:
        if indices.dtype.kind not in "iu":
            raise TypeError(f"gather: indices must be integers, got {indices}; write tf.cast(indices, tf.int32)")
        if not 0 <= axis < x.rank:
            raise ValueError(f"gather: axis {axis} is out of range for {x}")
        if not 0 <= batch_dims <= min(axis, indices.rank):
            raise ValueError(f"gather: batch_dims {batch_dims} must be at most axis {axis} and the rank of the indices {indices}")
        lead = list(x.shape[:axis])
        for k in range(batch_dims):
            lead[k] = sizes.unify(lead[k], indices.shape[k])
        return x.with_shape((*lead, *indices.shape[batch_dims:], *x.shape[axis + 1 :]))

    def eager(self, x: Any, indices: Any, *, axis: int = 0, batch_dims: int = 0) -> Any:
        indices = indices.astype(np.int64, copy=False)
        bad = _bad(indices, x.shape[axis])
        if bad is not None:
            raise InvalidArgumentError(f"indices{list(bad[0])} = {bad[1]} is not in [0, {x.shape[axis]})")
        if not batch_dims:
            return np.take(x, indices, axis)
        batch = np.ogrid[tuple(slice(0, d) for d in x.shape[:batch_dims])]
        # [batch..., outer..., tail...] with the gathered axis brought to behind the batch axes, then the index axes put in its place
        moved = np.moveaxis(x, axis, batch_dims)
        inner = indices.ndim - batch_dims
        found = moved[(*(b.reshape(b.shape + (1,) * inner) for b in batch), indices)]
        outer = axis - batch_dims
        order = [
            *range(batch_dims), *range(indices.ndim, indices.ndim + outer), *range(batch_dims, indices.ndim), *range(indices.ndim + outer, found.ndim),
        ]  # fmt: skip
        return found.transpose(order)

    def vjp(self, g: Any, z: Any, x: Any, indices: Any, *, axis: int = 0, batch_dims: int = 0) -> tuple[Any, ...]:
        def rule() -> Any:
            b, inner = batch_dims, len(indices.dims) - batch_dims
            batch, outer, tail, n = x.dims[:b], x.dims[b:axis], x.dims[axis + 1 :], x.dims[axis]
            # axes of g: batch, outer, index, tail; wanted: batch, index, outer, tail
            o = len(outer)
            rows = (
                transpose(g, perm=(*range(b), *range(b + o, b + o + inner), *range(b, b + o), *range(b + o + inner, len(g.dims))))
                if o and inner
                else g
            )
            ids = indices
            if b:
                count = sizes.product(batch)
                offset = reshape(iota(size=count, dtype=indices.dtype), shape=(*batch, *(1,) * inner)) * scalar_of(n, indices.dtype)
                ids = indices + offset
                n = count * n
            out = segment(rows, ids, size=n)
            if not o and not b:
                return out
            out = reshape(out, shape=(*batch, x.dims[axis], *outer, *tail))
            return transpose(out, perm=(*range(b), *range(b + 1, b + 1 + o), b, *range(b + 1 + o, len(out.dims)))) if o else out

        return rule, None

    def picks_rows(self, *, axis: int = 0, batch_dims: int = 0) -> bool:
        return axis == batch_dims == 0

    def at(self, index: tuple[Expr, ...], x: Any, indices: Any, *, axis: int = 0, batch_dims: int = 0) -> Expr:
        inner = len(indices.dims) - batch_dims
        found = expr.cast(indices[(*index[:batch_dims], *index[axis : axis + inner])], int64)
        # the ids were checked where they came from; clamped all the same, so that no text can read wild memory
        safe = expr.binary("max", expr.binary("min", found, expr.of_dim(x.dims[axis]) - 1), 0)
        return x[(*index[:axis], safe, *index[axis + inner :])]

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, axis: int = 0, batch_dims: int = 0) -> Any:
        x, indices = operands
        if not batch_dims and mapped == (True, False):
            return gather(x, indices, axis=axis + 1)
        if not batch_dims and mapped == (False, True):
            return to_front(gather(x, indices, axis=axis), axis)
        return gather(repeated(x, slices, mapped[0]), repeated(indices, slices, mapped[1]), axis=axis + 1, batch_dims=batch_dims + 1)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, indices, axis, batch_dims in [
            ((5,), [0, 4, 4], 0, 0), ((4, 3), [[1, 0], [3, 3]], 0, 0), ((2, 4, 3), [2, 0], 1, 0), ((2, 3), 1, 1, 0), ((2, 4), [[3, 0], [1, 1]], 1, 1),
            ((2, 3, 4), [[3, 0, 0], [1, 2, 2]], 2, 1), ((2, 2, 3), [[[2], [0]], [[1], [1]]], 2, 2), ((3, 2), [[2], [0], [1]], 1, 0), ((3,), [], 0, 0),
        ]:  # fmt: skip
            if batch_dims == 0 and axis == 1 and len(shape) == 2 and np.asarray(indices).ndim == 2:
                indices = [[1], [0], [1]]
            yield (draw(shape, kinds="biufc"), np.asarray(indices, np.int32)), {"axis": axis, "batch_dims": batch_dims}


def elements(x: Any, indices: Any, *, axis: int = 0, batch_dims: int = 0) -> Any:
    """What `gather` gives; rows are those of an operand of their own, so that the gradient of `x` is a tensor of its shape also then."""
    apart = gather.picks_rows(axis=axis, batch_dims=batch_dims)
    return gather(identity(x) if apart else x, indices, axis=axis, batch_dims=batch_dims)


_UFUNC = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _neutral(combine: str, dtype: DType) -> Any:
    return scalar.neutral(combine, dtype) if dtype.kind != "c" else {"add": 0, "mul": 1}[combine]


def lowest(combine: str, dtype: DType) -> Any:
    """What TensorFlow leaves in an empty segment: the neutral element, for "max" and "min" of floats the finite extreme."""
    if combine == "max":
        return float(dtype.min) if dtype.kind == "f" else int(dtype.min)
    if combine == "min":
        return float(dtype.max) if dtype.kind == "f" else int(dtype.max)
    return _neutral(combine, dtype)


def _combined(target: np.ndarray, ids: np.ndarray, rows: np.ndarray, combine: str) -> None:
    """`target[ids] = combine(target[ids], rows)` in order, ids that name no row left out."""
    keep = (ids >= 0) & (ids < target.shape[0])
    if not keep.all():
        ids, rows = ids[keep], rows[keep]
    if combine == "set":
        target[ids] = rows
    elif combine == "add" and target.ndim == 1 and target.dtype.kind == "f" and ids.size > 64:
        target += np.bincount(ids, rows, target.size).astype(target.dtype)
    else:
        _UFUNC[combine].at(target, ids, rows)


def _checked_ids(ids: np.ndarray, size: int) -> np.ndarray:
    flat = ids.reshape(-1).astype(np.int64, copy=False)
    if flat.size and flat.max() >= size:
        where = [int(i) for i in np.argwhere(ids >= size)[0]]
        raise InvalidArgumentError(f"segment_ids{where} = {int(ids[tuple(where)])} is out of range [0, {size})")
    return flat


def _apart(ids: Any, size: Dim, count: Dim) -> Any:
    """Ids into rows of `size` slices of `count` rows each, one slice after the other. Those out of range stay so: below 0, or too large."""
    ids = cast(ids, dtype=int64)
    limit = scalar_of(count, int64)
    start = reshape(iota(size=size, dtype=int64) * limit, shape=(size, *(1,) * (len(ids.dims) - 1)))
    beyond = cast(ids >= limit, dtype=int64) * scalar_of(size * count, int64)
    return select(ids < 0, ids, ids + start + beyond)


class Segment(Op):
    """`z[k] = combine of rows[i] over all i with ids[i] == k`, `size` of them; ids below 0 are left out (`tf.math.unsorted_segment_*`).

    `rows` has the shape of `ids` followed by that of a row. Without rows `z[k]` is what `lowest` says. 16-bit floats are
    combined in float32.
    """

    name = "segment"
    pairs = True  # of products; sums are taken of the parts
    constant_operands = frozenset({1})

    def infer(self, rows: Type, ids: Type, *, size: Dim, combine: str = "add") -> Type:
        if ids.dtype.kind not in "iu":
            raise TypeError(f"segment ids must be integers, got {ids}; write tf.cast(ids, tf.int32)")
        if ids.rank > rows.rank:
            raise ValueError(f"data.shape = {list(rows.shape)} does not start with segment_ids.shape = {list(ids.shape)}")
        for a, b in zip(rows.shape, ids.shape, strict=False):
            try:
                sizes.unify(a, b)
            except ValueError:
                raise ValueError(f"data.shape = {list(rows.shape)} does not start with segment_ids.shape = {list(ids.shape)}") from None
        return rows.with_shape((size, *rows.shape[ids.rank :]))

    def eager(self, rows: Any, ids: Any, *, size: int, combine: str = "add") -> Any:
        if rows.shape[: ids.ndim] != ids.shape:
            raise ValueError(f"data.shape = {list(rows.shape)} does not start with segment_ids.shape = {list(ids.shape)}")
        if size < 0:
            raise ValueError(f"num_segments must not be negative, got {size}")
        dtype = dtypes.as_dtype(rows.dtype)
        tail = rows.shape[ids.ndim :]
        flat = _checked_ids(ids, size)
        out = np.full((size, *tail), lowest(combine, dtype), dtype.wide.np)
        _combined(out, flat, rows.reshape((flat.size, *tail)), combine)
        return out.astype(rows.dtype, copy=False)

    def vjp(self, g: Any, z: Any, rows: Any, ids: Any, *, size: Dim, combine: str = "add") -> tuple[Any, ...]:
        def rule() -> Any:
            zero = cast(full(shape=ids.dims, value=0, dtype=dtypes.int32), dtype=ids.dtype)
            kept = ids >= 0
            safe = select(kept, ids, zero)

            def spread(v: Any) -> Any:
                return gather(v, safe)

            mask = reshape(kept, shape=(*ids.dims, *(1,) * (len(rows.dims) - len(ids.dims))))
            if combine == "add":
                return select(mask, spread(g), zeros_like(rows))
            if combine in ("max", "min"):  # shared evenly among ties
                hit = logical_and(equal(rows, spread(z)), mask)
                count = segment(cast(hit, dtype=rows.dtype), ids, size=size)
                return select(hit, spread(g / count), zeros_like(rows))
            nonzero = not_equal(rows, zeros_like(rows))
            zeros = segment(cast(equal(rows, zeros_like(rows)), dtype=dtypes.int32), ids, size=size)
            others = segment(select(nonzero, rows, ones_like(rows)), ids, size=size, combine="mul")
            total = select(zeros > 1, zeros_like(g), g)
            without_zeros = spread(total * z) / select(nonzero, rows, ones_like(rows))
            return select(mask, select(nonzero, without_zeros, spread(total * others)), zeros_like(rows))

        return rule, None

    def native(self, *types: Type, combine: str = "add", **attrs: Any) -> bool:
        return types[0].dtype.kind != "c" or combine == "mul"

    def work(self, rows: Type, ids: Type, *, size: Dim, combine: str = "add") -> tuple[Type, ...]:
        return (Type(dtypes.float32, (size, *rows.shape[ids.rank :])),) if rows.dtype.wide is not rows.dtype else ()

    def failure(self, value: float, size: float) -> str:
        """What went wrong, from the operands of `nest.Fail`."""
        return f"segment id {int(value)} is out of range [0, {int(size)})"

    def kernel(self, outs: Any, ins: Any, work: Any, *, size: Dim, combine: str = "add") -> tuple[Stmt, ...]:
        rows, ids = ins
        target = work[0] if work else outs[0]
        rank = len(ids.dims)
        first = lowest(combine, rows.dtype)

        def begin(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            if rows.dtype.kind == "c":
                return _stored(target, index, number(first, rows.dtype.real_dtype), number(0, rows.dtype.real_dtype))
            return (target.store(index, number(first, target.dtype)),)

        start = loops("z", outs[0].dims, begin, "parallel", "vector")
        steps = _accumulate(
            target, rows, ids, rank, combine, lambda row: (nest.If(row >= expr.of_dim(size), (fail(row, expr.of_dim(size)),)),)
        )
        return (*start, *steps, *_narrowed(outs[0], work))

    def batch(self, slices: Dim, operands: Any, mapped: Any, **attrs: Any) -> Any:
        rows, ids = operands
        count = attrs.pop("size")
        if not mapped[1]:  # the new axis is one more of a row
            return to_front(segment(from_front(rows, len(ids.dims)), ids, size=count, **attrs), 1)
        out = segment(repeated(rows, slices, mapped[0]), _apart(ids, slices, count), size=slices * count, **attrs)
        return reshape(out, shape=(slices, count, *out.dims[1:]))

    def jvp(self, tangents: Any, z: Any, rows: Any, ids: Any, **attrs: Any) -> Any:
        return segment(tangents[0], ids, **attrs) if attrs.get("combine", "add") == "add" else NotImplemented

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, ids, size in [
            ((4,), [0, 2, 0, 1], 3),
            ((3, 2), [1, 1, 0], 2),
            ((2, 2, 3), [[0, 1], [1, 0]], 2),
            ((3,), [0, -1, 0], 2),
            ((2,), 1, 3),
            ((0, 2), [], 2),
        ]:
            for combine in ("add", "mul", "max", "min"):
                for dtype in (np.int32, np.int64):
                    kinds = "ifc" if combine in ("add", "mul") else "if"
                    yield (draw(shape, 0.5, 3, kinds=kinds), np.asarray(ids, dtype)), {"size": size, "combine": combine}


def _accumulate(
    target: Any, rows: Any, ids: Any, rank: int, combine: str, checked: Callable[[Expr], tuple[Stmt, ...]] = lambda row: ()
) -> tuple[Stmt, ...]:
    """Statements that combine every row into the row of `target` that its id names, if there is one; `checked` makes those that come before."""

    def one(at: tuple[Expr, ...]) -> tuple[Stmt, ...]:
        row = expr.Var(int64, "row")

        def element(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            if rows.dtype.kind == "c":
                return _multiplied(target, (row, *index), rows, (*at, *index))
            return (target.store((row, *index), expr.cast(rows[(*at, *index)], target.dtype), combine=combine),)

        return (
            nest.Let("row", expr.cast(ids[at], int64)),
            *checked(row),
            nest.If((row >= 0) & (row < expr.of_dim(target.dims[0])), loops("t", rows.dims[rank:], element, "serial", "vector")),
        )

    return loops("i", ids.dims, one)


def _stored(target: Any, index: tuple[Expr, ...], re: Expr, im: Expr) -> tuple[Stmt, ...]:
    """Statements that store a complex number."""
    return tuple(target.pairs.store((*index, expr.as_expr(k)), part) for k, part in enumerate((re, im)))


def _multiplied(target: Any, index: tuple[Expr, ...], rows: Any, at: tuple[Expr, ...]) -> tuple[Stmt, ...]:
    """Statements that multiply a complex element of `target` by one of `rows`. (Sums and copies are made of the parts apart.)"""
    places = ((target, index, "a"), (target, index, "b"), (rows, at, "c"), (rows, at, "d"))
    lets = [nest.Let(name, source.pairs[(*where, expr.as_expr(k % 2))]) for k, (source, where, name) in enumerate(places)]
    a, b, c, d = (expr.Var(rows.dtype.real_dtype, name) for _, _, name in places)
    return (*lets, *_stored(target, index, a * c - b * d, a * d + b * c))


def _narrowed(out: Any, work: Any) -> tuple[Stmt, ...]:
    """The copy of a float32 scratch result into its 16-bit home, if there is one."""
    return (
        loops("c", out.dims, lambda index: (out.store(index, expr.cast(work[0][index], out.dtype)),), "parallel", "vector") if work else ()
    )


class Scatter(Op):
    """`x` with `z[ids[i]] = combine(z[ids[i]], rows[i])`, one i after the other; combine "set" lets the last one win, ids below 0 are left out.

    No id is `x.shape[0]` or more: who calls has checked that. So it cannot fail half way, and a variable may be changed in place.
    """

    name = "scatter"
    pairs = True  # of products; the others are made of the parts
    constant_operands = frozenset({1})
    same_dtype = (0, 2)

    def infer(self, x: Type, ids: Type, rows: Type, *, combine: str = "set") -> Type:
        if x.dtype is not rows.dtype:
            raise TypeError(
                f"scatter takes operands of one dtype, got {x.dtype.name} and {rows.dtype.name}; write tf.cast(x, tf.{x.dtype.name})"
            )
        if ids.dtype.kind not in "iu":
            raise TypeError(f"indices must be integers, got {ids}; write tf.cast(ids, tf.int32)")
        wanted = (*ids.shape, *x.shape[1:])
        if len(wanted) != rows.rank:
            raise ValueError(f"scatter of {rows} into {x}: updates of shape {list(wanted)} expected")
        for a, b in zip(wanted, rows.shape, strict=True):
            try:
                sizes.unify(a, b)
            except ValueError:
                raise ValueError(f"scatter of {rows} into {x}: updates of shape {list(wanted)} expected") from None
        return x

    def eager(self, x: Any, ids: Any, rows: Any, *, combine: str = "set") -> Any:
        if rows.shape != (*ids.shape, *x.shape[1:]):
            raise ValueError(f"updates of shape {[*ids.shape, *x.shape[1:]]} expected, got {list(rows.shape)}")
        flat = ids.reshape(-1).astype(np.int64, copy=False)
        dtype = dtypes.as_dtype(x.dtype).wide.np
        out = np.array(x, dtype)
        _combined(out, flat, rows.reshape((flat.size, *x.shape[1:])), combine)
        return out.astype(x.dtype, copy=False)

    def vjp(self, g: Any, z: Any, x: Any, ids: Any, rows: Any, *, combine: str = "set") -> tuple[Any, ...]:
        tail = (1,) * (len(x.dims) - 1)

        def spread(v: Any) -> Any:
            zero = cast(full(shape=ids.dims, value=0, dtype=dtypes.int32), dtype=ids.dtype)
            kept = reshape(ids >= 0, shape=(*ids.dims, *tail))
            return select(kept, gather(v, select(ids >= 0, ids, zero)), zeros_like(rows))

        if combine == "add":
            return (lambda: g), None, (lambda: spread(g))
        if combine == "set":
            return (lambda: scatter(g, ids, zeros_like(rows))), None, (lambda: spread(g))
        if combine == "mul":
            raise LookupError("gradient registry has no entry for: scatter with combine='mul'")

        def count() -> Any:  # how many candidates tie for each result
            own = cast(equal(x, z), dtype=x.dtype)
            return scatter(own, ids, cast(equal(rows, spread(z)), dtype=x.dtype), combine="add")

        def for_x() -> Any:
            return select(equal(x, z), g / count(), zeros_like(g))

        def for_rows() -> Any:
            return select(equal(rows, spread(z)), spread(g / count()), zeros_like(rows))

        return for_x, None, for_rows

    def native(self, *types: Type, combine: str = "set", **attrs: Any) -> bool:
        return types[0].dtype.kind != "c" or combine == "mul"

    def work(self, x: Type, ids: Type, rows: Type, *, combine: str = "set") -> tuple[Type, ...]:
        return (Type(dtypes.float32, x.shape),) if x.dtype.wide is not x.dtype else ()

    def kernel(self, outs: Any, ins: Any, work: Any, *, combine: str = "set") -> tuple[Stmt, ...]:
        x, ids, rows = ins
        target = work[0] if work else outs[0]
        start: tuple[Stmt, ...] = ()
        if work or x.name != outs[0].name:  # otherwise it is written over the operand
            old, new = (x.pairs, target.pairs) if x.dtype.kind == "c" else (x, target)
            start = loops("z", old.dims, lambda index: (new.store(index, expr.cast(old[index], new.dtype)),), "parallel", "vector")
        return (*start, *_accumulate(target, rows, ids, len(ids.dims), combine), *_narrowed(outs[0], work))

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, combine: str = "set") -> Any:
        x, ids, rows = (repeated(v, slices, m) for v, m in zip(operands, mapped, strict=True))
        count, tail = x.dims[1], x.dims[2:]
        out = scatter(reshape(x, shape=(slices * count, *tail)), _apart(ids, slices, count), rows, combine=combine)
        return reshape(out, shape=x.dims)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, ids in [((4,), [0, 2, 3]), ((3, 2), [2, 0]), ((2, 3), [[0, 1]]), ((3,), 1), ((3,), [-1, 2]), ((2, 2), [])]:
            for combine in ("set", "add", "max", "min"):
                index = np.asarray(ids, np.int32)
                yield (draw(shape, kinds="fc"), index, draw((*index.shape, *shape[1:]), kinds="fc")), {"combine": combine}
        yield (draw((3,), kinds="fc"), np.asarray([1, 1, 0], np.int64), draw((3,), kinds="fc")), {"combine": "add"}


in_range, linear_index, gather, segment, scatter = (register(op) for op in (InRange(), LinearIndex(), Gather(), Segment(), Scatter()))
