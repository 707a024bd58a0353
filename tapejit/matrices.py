"""Diagonals and bands of matrices: `tf.linalg.diag`, `diag_part`, `set_diag`, `band_part`, `trace`, `tensor_diag`.

In: tensors whose last two axes are matrices (or whose last axis is a diagonal); out: tensors, with gradients.
"""

from __future__ import annotations

from typing import Any

from tapejit.arrays import stack
from tapejit.core import dtypes, places, sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ops import elementwise as e
from tapejit.ops.creation import iota
from tapejit.ops.reductions import sum_
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import embed, slice_
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = ["band_part", "diag", "diag_part", "set_diag", "tensor_diag", "tensor_diag_part", "trace"]

_ALIGNMENTS = ("LEFT_LEFT", "LEFT_RIGHT", "RIGHT_LEFT", "RIGHT_RIGHT")


def _offsets(k: Any) -> tuple[int, int]:
    """The lowest and the highest diagonal that `k` names."""
    listed = dims_of(k)
    low, high = (listed[0], listed[0]) if len(listed) == 1 else listed
    if not (isinstance(low, int) and isinstance(high, int)):
        raise NotImplementedError(places.with_place("diagonals whose number is known only at run time; write k as a Python int"))
    if low > high:
        raise InvalidArgumentError(places.with_place(f"k[0] must not be larger than k[1], got {low} and {high}"))
    return low, high


def _length(rows: Dim, columns: Dim, k: int) -> Dim:
    """How many elements diagonal `k` of a matrix has."""
    return sizes.minimum(rows + min(k, 0), columns - max(k, 0))


def _on_diagonal(rows: Dim, columns: Dim, k: int) -> Any:
    """A bool matrix that holds on diagonal `k`."""
    return e.equal(iota(size=columns, dtype=dtypes.int32), reshape(iota(size=rows, dtype=dtypes.int32), shape=(rows, 1)) + k)


def _along_rows(diagonal: Any, rows: Dim, k: int) -> Any:
    """Diagonal `k` as a column of the matrix: element i of it at its row, shape [..., rows, 1]."""
    lead = diagonal.dims[:-1]
    placed = embed(diagonal, begin=(*(0 for _ in lead), max(-k, 0)), shape=(*lead, rows), stride=(1,) * len(diagonal.dims))
    return reshape(placed, shape=(*lead, rows, 1))


def _aligned(k: int, length: Dim, longest: Dim, align: str) -> Dim:
    """Where in its padded row of `longest` elements diagonal `k` begins; the main one is on the left if either side is."""
    if align not in _ALIGNMENTS:
        raise ValueError(places.with_place(f"align must be one of {', '.join(_ALIGNMENTS)}, got {align!r}"))
    above, below = align.split("_")
    left = (k >= 0 and above == "LEFT") or (k <= 0 and below == "LEFT")
    return 0 if left else longest - length


def diag(
    diagonal: Any, name: str = "diag", k: Any = 0, num_rows: int = -1, num_cols: int = -1, padding_value: Any = 0, align: str = "RIGHT_LEFT"
) -> Any:
    """Matrices with `diagonal` on diagonal `k` (a pair: on those from `k[0]` to `k[1]`) and `padding_value` elsewhere."""
    x = convert_to_tensor(diagonal)
    low, high = _offsets(k)
    longest = x.dims[-1]
    (rows,), (columns,) = dims_of(num_rows), dims_of(num_cols)
    least_rows, least_columns = longest + max(-high, 0), longest + max(low, 0)
    if isinstance(rows, int) and rows == -1 and isinstance(columns, int) and columns == -1:
        rows = columns = sizes.maximum(least_rows, least_columns)
    elif isinstance(rows, int) and rows == -1:
        rows = least_rows
    elif isinstance(columns, int) and columns == -1:
        columns = least_columns
    single = low == high
    lead = x.dims[:-1] if single else x.dims[:-2]
    out = e.full(shape=(*lead, rows, columns), value=bool(padding_value) if x.dtype.kind == "b" else padding_value, dtype=x.dtype)
    for d in range(low, high + 1):
        n = _length(rows, columns, d)
        row = x if single else slice_(
            x,
            begin=(*(0 for _ in lead), high - d, _aligned(d, n, longest, align)),
            size=(*lead, 1, n),
            stride=(1,) * len(x.dims),
            drop=(len(lead),),
        )  # fmt: skip
        out = e.select(_on_diagonal(rows, columns, d), _along_rows(row, rows, d), out)
    return out


def diag_part(input: Any, name: str = "diag_part", k: Any = 0, padding_value: Any = 0, align: str = "RIGHT_LEFT") -> Any:
    """Diagonal `k` of matrices; with a pair the diagonals from `k[1]` down to `k[0]`, padded to one length."""
    x = convert_to_tensor(input)
    if len(x.dims) < 2:
        raise InvalidArgumentError(places.with_place(f"input must be at least 2-dim, received shape: {list(x.dims)}"))
    low, high = _offsets(k)
    *lead, rows, columns = x.dims
    for d in (low, high):
        if isinstance(rows, int) and isinstance(columns, int) and not -rows < d < columns and d != 0:
            raise InvalidArgumentError(places.with_place(f"diag_index {d} is out of bounds for a matrix of {rows} by {columns}"))
    if low == high:
        return _one_diagonal(x, low)
    parts = [_one_diagonal(x, d) for d in range(high, low - 1, -1)]
    longest: Dim = 0
    for p in parts:
        longest = sizes.maximum(longest, p.dims[-1])
    padded = [
        embed(
            p,
            begin=(*(0 for _ in lead), _aligned(d, p.dims[-1], longest, align)),
            shape=(*lead, longest),
            stride=(1,) * (len(lead) + 1),
            value=padding_value,
        )
        for p, d in zip(parts, range(high, low - 1, -1), strict=True)
    ]
    return stack(padded, axis=-2)


def _one_diagonal(x: Any, k: int) -> Any:
    *lead, rows, columns = x.dims
    flat = reshape(x, shape=(*lead, rows * columns))
    begin = k if k >= 0 else -k * columns
    return slice_(
        flat, begin=(*(0 for _ in lead), begin), size=(*lead, _length(rows, columns, k)), stride=(*(1 for _ in lead), columns + 1)
    )


def set_diag(input: Any, diagonal: Any, name: str = "set_diag", k: Any = 0, align: str = "RIGHT_LEFT") -> Any:
    """Matrices with diagonal `k` (a pair: those from `k[0]` to `k[1]`) replaced by `diagonal`."""
    x = convert_to_tensor(input)
    given = convert_to_tensor(diagonal) if hasattr(diagonal, "dims") else convert_to_tensor(diagonal, x.dtype)
    low, high = _offsets(k)
    *lead, rows, columns = x.dims
    if low == high:
        _check_length(given.dims[-1], _length(rows, columns, low))
        return e.select(_on_diagonal(rows, columns, low), _along_rows(given, rows, low), x)
    for d in range(low, high + 1):
        n = _length(rows, columns, d)
        row = slice_(
            given,
            begin=(*(0 for _ in lead), high - d, _aligned(d, n, given.dims[-1], align)),
            size=(*lead, 1, n),
            stride=(1,) * len(given.dims),
            drop=(len(lead),),
        )
        x = e.select(_on_diagonal(rows, columns, d), _along_rows(row, rows, d), x)
    return x


def _check_length(have: Dim, want: Dim) -> None:
    if isinstance(have, int) and isinstance(want, int) and have != want:
        raise InvalidArgumentError(
            places.with_place(f"The last dimension of diagonal must be {want}, the length of the diagonal, but is {have}")
        )


def band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Any:
    """Matrices with 0 beyond `num_lower` diagonals below and `num_upper` above the main one; a negative number keeps all."""
    x = convert_to_tensor(input)
    *_, rows, columns = x.dims
    below = reshape(iota(size=rows, dtype=dtypes.int64), shape=(rows, 1)) - iota(size=columns, dtype=dtypes.int64)
    inside = e.full(shape=(rows, columns), value=True, dtype=dtypes.bool_)
    for bound, distance in ((num_lower, below), (num_upper, e.neg(below))):
        known = bound if isinstance(bound, int) else convert_to_tensor(bound).known_dim()
        if isinstance(known, int):
            if known >= 0:
                inside = e.logical_and(inside, e.less_equal(distance, known))
            continue
        limit = e.cast(convert_to_tensor(bound), dtype=dtypes.int64)
        inside = e.logical_and(inside, e.logical_or(e.less(limit, 0), e.less_equal(distance, limit)))
    return e.select(inside, x, e.zeros_like(x))


def trace(x: Any, name: str | None = None) -> Any:
    """The sum of the main diagonal of matrices."""
    part = _one_diagonal(convert_to_tensor(x), 0)
    return sum_(part, axis=(len(part.dims) - 1,))


def tensor_diag(diagonal: Any, name: str | None = None) -> Any:
    """A tensor of twice the rank with `diagonal` where both halves of the index agree, 0 elsewhere."""
    x = convert_to_tensor(diagonal)
    count = sizes.product(x.dims)
    return reshape(diag(reshape(x, shape=(count,))), shape=(*x.dims, *x.dims))


def tensor_diag_part(input: Any, name: str | None = None) -> Any:
    """The elements where both halves of the index agree: undoes `tensor_diag`."""
    x = convert_to_tensor(input)
    half = len(x.dims) // 2
    if len(x.dims) % 2 or x.dims[:half] != x.dims[half:]:
        raise InvalidArgumentError(places.with_place(f"tensor_diag_part: both halves of the shape must agree, got {list(x.dims)}"))
    count = sizes.product(x.dims[:half])
    return reshape(_one_diagonal(reshape(x, shape=(count, count)), 0), shape=x.dims[:half])
