"""The shape of tensors and their arrangement: `tf.reshape`, `transpose`, `concat`, `split`, `tile`, `pad`, `tf.shape` and their kin.

Signatures are TensorFlow's. In: anything convertible to a tensor; out: tensors. Sizes stay symbolic while a function is traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes, types
from tapejit.core.dtypes import as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim, Size
from tapejit.ir.op import thread
from tapejit.ops import elementwise as e
from tapejit.ops import joining, shapes, slicing
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.creation import iota, shape_vector
from tapejit.ops.cumulative import cumsum
from tapejit.ops.gathering import elements, gather
from tapejit.ops.padding import mirror_pad
from tapejit.ops.reductions import sum_
from tapejit.ops.sorting import search_sorted
from tapejit.tensor import Tensor, convert_to_tensor, dims_of

__all__ = [
    "batch_to_space", "broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to", "concat", "depth_to_space", "ensure_shape",
    "expand_dims", "identity", "identity_n", "pad", "parallel_stack", "rank", "repeat", "reshape", "reverse", "reverse_sequence", "roll", "shape", "shape_n",
    "size", "space_to_batch", "space_to_batch_nd", "space_to_depth", "split", "squeeze", "stack", "tile", "transpose", "unstack",
]  # fmt: skip


def same_tensors(values: Any) -> list[Any]:
    """A list of tensors of one dtype: that of the first tensor among `values`, which numbers and lists take."""
    typed = next((v.dtype for v in values if hasattr(v, "dims") and hasattr(v, "dtype")), None)
    if typed is None:
        typed = next((dtypes.as_dtype(v.dtype) for v in values if isinstance(v, np.ndarray | np.generic)), None)
    if typed is None and len(values):
        typed = convert_to_tensor(values[0]).dtype
    return [v if isinstance(v, Tensor) else convert_to_tensor(v) if hasattr(v, "dims") else convert_to_tensor(v, typed) for v in values]


def axis_of(axis: Any, rank_: int, what: str) -> int:
    """An axis counted from 0. InvalidArgumentError if there is none such."""
    a = int(axis)
    if not -rank_ <= a < rank_:
        raise InvalidArgumentError(places.with_place(f"{what}: axis = {a} not in [{-rank_}, {rank_})"))
    return a % rank_


# ------------------------------------------------------------------------------------------ sizes as tensors
def shape(input: Any, out_type: Any = dtypes.int32, name: str | None = None) -> Any:
    """The shape as a vector. While a function is traced its elements stay sizes, so shapes may be computed from it."""
    x = input if hasattr(input, "dims") else convert_to_tensor(input)
    return shape_vector(dims=tuple(x.dims), dtype=as_dtype(out_type))


def shape_n(input: Sequence[Any], out_type: Any = dtypes.int32, name: str | None = None) -> list[Any]:
    """The shapes of several tensors."""
    return [shape(x, out_type) for x in input]


def size(input: Any, out_type: Any = dtypes.int32, name: str | None = None) -> Any:
    """The number of elements as a scalar."""
    x = input if hasattr(input, "dims") else convert_to_tensor(input)
    count = sizes.product(x.dims)
    wanted = as_dtype(out_type)
    return slicing.scalar_of(count, wanted) if isinstance(count, Size) else convert_to_tensor(count, wanted)


def rank(input: Any, name: str | None = None) -> Any:
    """The number of axes as an int32 scalar."""
    x = input if hasattr(input, "dims") else convert_to_tensor(input)
    return convert_to_tensor(len(x.dims), dtypes.int32)


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape two broadcast together have. ValueError if they do not fit; unknown sizes stay None."""
    x, y = list(TensorShape(shape_x)), list(TensorShape(shape_y))
    out: list[Any] = []
    for k in range(1, max(len(x), len(y)) + 1):
        a, b = x[-k] if k <= len(x) else 1, y[-k] if k <= len(y) else 1
        if a is not None and b is not None and a != b and 1 not in (a, b):
            raise ValueError(places.with_place(f"Incompatible shapes for broadcasting: {TensorShape(x)} and {TensorShape(y)}"))
        out.append(b if a == 1 else a if b == 1 else a if a is not None else b)
    return TensorShape(out[::-1])


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Any:
    """The shape, as a vector, that two shapes given as vectors have broadcast together."""
    x, y = convert_to_tensor(shape_x), convert_to_tensor(shape_y)
    try:
        return shape_vector(dims=types.broadcast(dims_of(x), dims_of(y)), dtype=x.dtype)
    except ValueError as error:
        raise InvalidArgumentError(places.with_place(f"Incompatible shapes for broadcasting: {error}")) from None


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Any:
    """`x`, from here on known to have `shape` (None: any size). InvalidArgumentError if it has not."""
    if hasattr(type(x), "shaped"):  # a result of tf.py_function
        return x.shaped(shape)
    x = convert_to_tensor(x)
    wanted = TensorShape(shape)
    if wanted.rank is None:
        return shapes.identity(x)
    if len(wanted) != len(x.dims):
        raise InvalidArgumentError(places.with_place(f"Shape of tensor {list(x.dims)} is not compatible with expected shape {wanted}."))
    return shapes.ensure_shape(x, shape=tuple(have if want is None else want for have, want in zip(x.dims, wanted, strict=True)))


# --------------------------------------------------------------------------------------------- arrangement
def identity(input: Any, name: str | None = None) -> Any:
    """The same value as a tensor of its own."""
    if not hasattr(input, "dims") and hasattr(input, "to_tensor"):
        return input
    return shapes.identity(convert_to_tensor(input))


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Any]:
    """`identity` of each."""
    return [identity(x) for x in input]


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """The elements in row-major order at `shape`, one size of which may be -1. InvalidArgumentError if the counts differ."""
    x = convert_to_tensor(tensor)
    wanted = () if isinstance(shape, list | tuple) and not shape else dims_of(shape)
    if not isinstance(shape, list | tuple | TensorShape) and not hasattr(shape, "__len__") and not hasattr(shape, "dims"):
        wanted = dims_of([shape])
    open_ = [k for k, d in enumerate(wanted) if isinstance(d, int) and d == -1]
    if len(open_) > 1:
        raise InvalidArgumentError(places.with_place(f"Only one input size may be -1, not both {open_[0]} and {open_[1]}"))
    if open_:
        rest = sizes.product(d for k, d in enumerate(wanted) if k != open_[0])
        count = sizes.product(x.dims)
        if isinstance(rest, int) and rest == 0:
            raise InvalidArgumentError(
                places.with_place(
                    "reshape cannot infer the missing input size for an empty tensor unless all specified input sizes are non-zero"
                )
            )
        if isinstance(rest, int) and isinstance(count, int) and count % rest:
            raise InvalidArgumentError(
                places.with_place(
                    f"Input to reshape is a tensor with {count} values, but the requested shape requires a multiple of {rest}"
                )
            )
        wanted = tuple(sizes.floordiv(count, rest) if k == open_[0] else d for k, d in enumerate(wanted))
    return shapes.reshape(x, shape=wanted)


def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str = "transpose") -> Any:
    """Axis k of the result is axis `perm[k]`; without `perm` the axes are reversed. `conjugate` conjugates complex elements."""
    x = convert_to_tensor(a)
    n = len(x.dims)
    order = tuple(reversed(range(n))) if perm is None else tuple(int(p) for p in np.asarray(perm).ravel())
    if sorted(p % n if n and -n <= p < n else p for p in order) != list(range(n)):
        raise InvalidArgumentError(
            places.with_place(f"transpose expects a vector of size {n}, a permutation of the axes; got perm {list(order)}")
        )
    out = shapes.transpose(x, perm=tuple(p % n for p in order))
    return e.conjugate(out) if conjugate and x.dtype.kind == "c" else out


def expand_dims(input: Any, axis: Any, name: str | None = None) -> Any:
    """A new axis of size 1 at `axis`, which may be negative."""
    x = convert_to_tensor(input)
    at = axis_of(axis, len(x.dims) + 1, "expand_dims")
    return shapes.reshape(x, shape=(*x.dims[:at], 1, *x.dims[at:]))


def squeeze(input: Any, axis: Any = None, name: str | None = None) -> Any:
    """Without the axes of size 1, or those among them that `axis` lists. InvalidArgumentError for one of another size."""
    x = convert_to_tensor(input)
    n = len(x.dims)
    if axis is None or (isinstance(axis, list | tuple) and not axis):
        gone = {k for k, d in enumerate(x.dims) if isinstance(d, int) and d == 1}
    else:
        gone = {axis_of(a, n, "squeeze") for a in (dims_of(axis))}
        for k in gone:
            if isinstance(x.dims[k], int) and x.dims[k] != 1:
                raise InvalidArgumentError(places.with_place(f"Can not squeeze dim[{k}], expected a dimension of 1, got {x.dims[k]}"))
    return shapes.reshape(x, shape=tuple(d for k, d in enumerate(x.dims) if k not in gone))


def concat(values: Any, axis: Any, name: str = "concat") -> Any:
    """Tensors one after the other along `axis`. InvalidArgumentError where other sizes or ranks differ."""
    if not isinstance(values, list | tuple):
        values = [values]
    tensors = same_tensors(values)
    if len(tensors) == 1:
        axis_of(axis, max(len(tensors[0].dims), 1), "concat")
        return shapes.identity(tensors[0])
    if not tensors[0].dims:
        raise InvalidArgumentError(places.with_place("concat: expected dimensions in the range [0, 0), but got scalars; write tf.stack"))
    return joining.concat(*tensors, axis=axis_of(axis, len(tensors[0].dims), "concat"))


def stack(values: Any, axis: Any = 0, name: str = "stack") -> Any:
    """Tensors of one shape joined along a new `axis`. InvalidArgumentError where shapes differ."""
    if not isinstance(values, list | tuple):
        whole = convert_to_tensor(values)  # its slices along the first axis
        at = axis_of(axis, len(whole.dims), "stack")
        return transpose(whole, [*range(1, at + 1), 0, *range(at + 1, len(whole.dims))]) if at else identity(whole)
    if not values:
        return convert_to_tensor([])
    tensors = same_tensors(values)
    first = tensors[0].dims
    for k, t in enumerate(tensors):
        if len(t.dims) != len(first) or any(
            isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(t.dims, first, strict=True)
        ):
            raise InvalidArgumentError(
                places.with_place(f"Shapes of all inputs must match: values[0].shape = {list(first)} != values[{k}].shape = {list(t.dims)}")
            )
    return joining.stack(*tensors, axis=axis_of(axis, len(first) + 1, "stack"))


def parallel_stack(values: Any, name: str = "parallel_stack") -> Any:
    """`stack` along a new first axis."""
    return stack(values, name=name)


def unstack(value: Any, num: int | None = None, axis: Any = 0, name: str = "unstack") -> list[Any]:
    """The slices along `axis`, which they no longer have. `num` must be given where that size is not known."""
    x = convert_to_tensor(value)
    at = axis_of(axis, len(x.dims), "unstack")
    n = x.dims[at]
    if num is None:
        if not isinstance(n, int):
            raise ValueError(places.with_place(f"Cannot infer argument `num` from shape {list(x.dims)}; write tf.unstack(x, num=...)"))
        num = n
    elif isinstance(n, int) and n != num:
        raise ValueError(places.with_place(f"unstack: num is {num}, axis {at} has size {n}"))
    return joining.unstack(x, num, at)


def split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None, name: str = "split") -> list[Any]:
    """Consecutive pieces along `axis`: a number of equal ones, or pieces of the sizes listed, one of which may be -1."""
    x = convert_to_tensor(value)
    at = axis_of(axis, len(x.dims), "split")
    n = x.dims[at]
    scalar = isinstance(num_or_size_splits, int | np.integer) or (hasattr(num_or_size_splits, "dims") and not num_or_size_splits.dims)
    if scalar:
        count = int(num_or_size_splits)
        if count <= 0 or (isinstance(n, int) and n % count):
            raise InvalidArgumentError(
                places.with_place(
                    f"Number of ways to split should evenly divide the split dimension, but got split_dim {at} (size = {n}) and num_split {count}"
                )
            )
        return joining.split(x, [sizes.floordiv(n, count)] * count, at)
    lengths: list[Dim] = list(dims_of(num_or_size_splits))
    open_ = [k for k, d in enumerate(lengths) if isinstance(d, int) and d == -1]
    total: Dim = 0
    for k, d in enumerate(lengths):
        total = total + d if k not in open_ else total
    if len(open_) > 1:
        raise InvalidArgumentError(places.with_place("There can only be one -1 in the sizes of tf.split"))
    if open_:
        lengths[open_[0]] = n - total
    elif isinstance(n, int) and isinstance(total, int) and total != n:
        raise InvalidArgumentError(
            places.with_place(
                f"Determined shape must either match input shape along split_dim exactly if fully specified: sizes {lengths} sum to {total}, axis {at} has size {n}"
            )
        )
    if any(isinstance(d, int) and d < 0 for d in lengths):
        raise InvalidArgumentError(places.with_place(f"tf.split: sizes {lengths} do not fit axis {at} of size {n}"))
    return joining.split(x, lengths, at)


def tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    """The tensor repeated `multiples[k]` times along axis k."""
    return shapes.tile(convert_to_tensor(input), multiples=dims_of(multiples))


def repeat(input: Any, repeats: Any, axis: Any = None, name: str | None = None) -> Any:
    """Each element along `axis` repeated, all as often or each as often as `repeats` says; without `axis` of the flat tensor."""
    x = convert_to_tensor(input)
    if axis is None:
        x = shapes.reshape(x, shape=(sizes.product(x.dims),))
        axis = 0
    at = axis_of(axis, len(x.dims), "repeat")
    often = repeats if hasattr(repeats, "dims") else np.asarray(repeats) if not isinstance(repeats, int) else repeats
    shape_ = () if isinstance(often, int) else tuple(often.dims) if hasattr(often, "dims") else often.shape
    if sizes.product(shape_) == 1 and len(shape_) <= 1:
        times = dims_of(often if shape_ or isinstance(often, int) or hasattr(often, "dims") else int(often))[0]
        wide = (*x.dims[: at + 1], times, *x.dims[at + 1 :])
        out = broadcast_like(shapes.reshape(x, shape=(*x.dims[: at + 1], 1, *x.dims[at + 1 :])), wide)
        return shapes.reshape(out, shape=(*x.dims[:at], x.dims[at] * times, *x.dims[at + 1 :]))
    counts = convert_to_tensor(often)
    if isinstance(x.dims[at], int) and isinstance(counts.dims[0], int) and x.dims[at] != counts.dims[0]:
        raise InvalidArgumentError(places.with_place(f"tf.repeat: repeats has {counts.dims[0]} elements, axis {at} has size {x.dims[at]}"))
    ends = cumsum(counts, axis=0)
    total = sum_(counts, axis=(0,)).as_dim("N")
    return elements(x, search_sorted(ends, iota(size=total, dtype=ends.dtype), right=True), axis=at)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Any:
    """The listed axes back to front."""
    x = convert_to_tensor(tensor)
    axes = [axis_of(a, len(x.dims), "reverse") for a in dims_of(axis)]
    if len(set(axes)) != len(axes):
        raise InvalidArgumentError(places.with_place(f"reverse: axis {axes} specified more than once"))
    return slicing.reversed_along(x, axes)


def reverse_sequence(
    input: Any, seq_lengths: Any, seq_axis: int | None = None, batch_axis: int | None = None, name: str | None = None
) -> Any:
    """Along `seq_axis` the first `seq_lengths[b]` elements back to front, for each b of `batch_axis` (0)."""
    x, lengths = convert_to_tensor(input), convert_to_tensor(seq_lengths)
    s, b = axis_of(seq_axis or 0, len(x.dims), "reverse_sequence"), axis_of(batch_axis or 0, len(x.dims), "reverse_sequence")
    if s == b:
        raise InvalidArgumentError(places.with_place(f"reverse_sequence: seq_axis and batch_axis are both {s}"))
    rest = [k for k in range(len(x.dims)) if k not in (b, s)]
    order = [b, s, *rest]
    front = shapes.transpose(x, perm=tuple(order))
    at = iota(size=x.dims[s], dtype=lengths.dtype)
    column = shapes.reshape(lengths, shape=(lengths.dims[0], 1))
    ids = e.select(e.less(at, column), column - 1 - at, broadcast_like(at, (lengths.dims[0], x.dims[s])))
    return shapes.transpose(gather(front, ids, axis=1, batch_dims=1), perm=tuple(order.index(k) for k in range(len(order))))


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Any:
    """Elements moved on by `shift` along `axis`, those that fall out come in at the other end; both may be lists."""
    x = convert_to_tensor(input)
    by, along = dims_of(shift), dims_of(axis)
    if len(by) != len(along):
        raise InvalidArgumentError(places.with_place(f"tf.roll: shift and axis must have the same size, got {len(by)} and {len(along)}"))
    total: list[Dim] = [0] * len(x.dims)
    for s, a in zip(by, along, strict=True):
        k = axis_of(a, len(x.dims), "roll")
        total[k] = total[k] + s
    return slicing.roll(x, shift=tuple(total))


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None) -> Any:
    """Elements put before and after along each axis, as the rows of `paddings` say: a constant, or the mirror image
    without ("REFLECT") or with ("SYMMETRIC") the edge itself."""
    x = convert_to_tensor(tensor)
    rows = _pairs(paddings)
    if len(rows) != len(x.dims):
        raise InvalidArgumentError(
            places.with_place(
                f"The first dimension of paddings must be the rank of inputs: {len(rows)} rows for a tensor of rank {len(x.dims)}"
            )
        )
    if any(isinstance(d, int) and d < 0 for row in rows for d in row):
        raise InvalidArgumentError(places.with_place(f"Paddings must be non-negative: {rows}"))
    before, after = tuple(b for b, _ in rows), tuple(a for _, a in rows)
    kind = mode.upper()
    if kind in ("REFLECT", "SYMMETRIC"):
        return mirror_pad(x, before=before, after=after, symmetric=kind == "SYMMETRIC")
    if kind != "CONSTANT":
        raise ValueError(
            places.with_place(f"Value of argument `mode` expected to be one of 'CONSTANT', 'REFLECT' or 'SYMMETRIC', got {mode!r}")
        )
    to = tuple(b + n + a for b, n, a in zip(before, x.dims, after, strict=True))
    if hasattr(constant_values, "dims") or isinstance(constant_values, np.ndarray):
        value = convert_to_tensor(constant_values)
        inside = slicing.embed(
            e.full(shape=x.dims, value=True, dtype=dtypes.bool_), begin=before, shape=to, stride=(1,) * len(to), value=False
        )
        return e.select(inside, slicing.embed(x, begin=before, shape=to, stride=(1,) * len(to)), value)
    number = bool(constant_values) if x.dtype.kind == "b" else convert_to_tensor(constant_values, x.dtype).numpy().item()
    return slicing.embed(
        x, begin=before, shape=to, stride=(1,) * len(to), value=0 if not isinstance(number, bool) and number == 0 else number
    )


def _pairs(paddings: Any) -> list[tuple[Dim, ...]]:
    """The rows of a [n, 2] argument as dims. InvalidArgumentError for another shape."""
    if isinstance(paddings, list | tuple):
        rows = [dims_of(row) for row in paddings]
        if any(len(row) != 2 for row in rows):
            raise InvalidArgumentError(places.with_place(f"paddings must be a matrix with 2 columns: {paddings}"))
        return rows
    if thread.recorder is None or isinstance(paddings, np.ndarray):
        return [tuple(int(v) for v in row) for row in np.asarray(paddings).reshape(-1, 2)]
    flat = dims_of(shapes.reshape(convert_to_tensor(paddings), shape=(sizes.product(paddings.dims),)))
    return [(flat[k], flat[k + 1]) for k in range(0, len(flat), 2)]


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Any:
    """The tensor repeated to `shape` by NumPy's rules. InvalidArgumentError if it does not fit."""
    x = convert_to_tensor(input)
    wanted = dims_of(shape)
    lead = len(wanted) - len(x.dims)
    return broadcast_like(x, tuple(x.dims[k - lead] if isinstance(d, int) and d == -1 and k >= lead else d for k, d in enumerate(wanted)))


# ------------------------------------------------------------------------------------------- blocks of images
def _nhwc(x: Any, data_format: str, back: bool = False) -> Any:
    if data_format == "NHWC":
        return x
    if data_format == "NCHW":
        return shapes.transpose(x, perm=(0, 3, 1, 2) if back else (0, 2, 3, 1))
    raise ValueError(places.with_place(f"data_format must be 'NHWC' or 'NCHW', got {data_format!r}"))


def space_to_depth(input: Any, block_size: int, data_format: str = "NHWC", name: str | None = None) -> Any:
    """Blocks of `block_size` by `block_size` pixels as channels of one."""
    x = _nhwc(convert_to_tensor(input), data_format)
    b, h, w, c = x.dims
    k = int(block_size)
    apart = shapes.reshape(x, shape=(b, sizes.floordiv(h, k), k, sizes.floordiv(w, k), k, c))
    out = shapes.reshape(shapes.transpose(apart, perm=(0, 1, 3, 2, 4, 5)), shape=(b, sizes.floordiv(h, k), sizes.floordiv(w, k), k * k * c))
    return _nhwc(out, data_format, back=True)


def depth_to_space(input: Any, block_size: int, data_format: str = "NHWC", name: str | None = None) -> Any:
    """The channels of each pixel as a block of `block_size` by `block_size`: undoes `space_to_depth`."""
    x = _nhwc(convert_to_tensor(input), data_format)
    b, h, w, c = x.dims
    k = int(block_size)
    apart = shapes.reshape(x, shape=(b, h, w, k, k, sizes.floordiv(c, k * k)))
    out = shapes.reshape(shapes.transpose(apart, perm=(0, 1, 3, 2, 4, 5)), shape=(b, h * k, w * k, sizes.floordiv(c, k * k)))
    return _nhwc(out, data_format, back=True)


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Any:
    """The padded spatial axes 1, 2, ... cut into blocks, whose positions go to the batch axis."""
    x = convert_to_tensor(input)
    blocks = dims_of(block_shape)
    rows = _pairs(paddings)
    m, rest = len(blocks), x.dims[1 + len(blocks) :]
    x = pad(x, [(0, 0), *rows, *[(0, 0)] * len(rest)])
    outer = [sizes.floordiv(d, k) for d, k in zip(x.dims[1 : m + 1], blocks, strict=True)]
    apart = shapes.reshape(x, shape=(x.dims[0], *(d for pair in zip(outer, blocks, strict=True) for d in pair), *rest))
    order = (*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m, 2), *range(2 * m + 1, len(apart.dims)))
    return shapes.reshape(shapes.transpose(apart, perm=order), shape=(x.dims[0] * sizes.product(blocks), *outer, *rest))


def space_to_batch(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Any:
    """`space_to_batch_nd`; a number as `block_shape` stands for both axes of images."""
    blocks = [block_shape] * 2 if isinstance(block_shape, int | np.integer) else block_shape
    return space_to_batch_nd(input, blocks, paddings)


def batch_to_space(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Any:
    """Undoes `space_to_batch`, then drops `crops[k]` elements before and after along each spatial axis."""
    x = convert_to_tensor(input)
    blocks = dims_of([block_shape] * 2 if isinstance(block_shape, int | np.integer) else block_shape)
    rows = _pairs(crops)
    m = len(blocks)
    batch, outer, rest = sizes.floordiv(x.dims[0], sizes.product(blocks)), x.dims[1 : m + 1], x.dims[m + 1 :]
    apart = shapes.reshape(x, shape=(*blocks, batch, *outer, *rest))
    order = [m]
    for k in range(m):
        order += [m + 1 + k, k]
    whole = shapes.transpose(apart, perm=(*order, *range(2 * m + 1, len(apart.dims))))
    out = shapes.reshape(whole, shape=(batch, *(d * k for d, k in zip(outer, blocks, strict=True)), *rest))
    for k, (b, a) in enumerate(rows, 1):
        out = slicing.axis_slice(out, k, b, out.dims[k] - b - a)
    return out
