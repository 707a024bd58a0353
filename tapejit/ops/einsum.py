"""Contractions by name: `einsum` and `tensordot`, composed of diagonals, sums, transposes, reshapes, products and `matmul`.

Plain functions on operands of any kind (eager or symbolic): the gradient of every order is that of what they are made of.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.ops.broadcasting import is_one
from tapejit.ops.matmul import matmul
from tapejit.ops.reductions import sum_
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.slicing import slice_

Labels = tuple[str, ...]


def einsum(equation: str, *operands: Any) -> Any:
    """The contraction that `equation` names, e.g. "bij,bjk->bik", "ii->i", "...ij,jk->...ik", of any number of operands.

    Without "->" the result's axes are those that occur once, in alphabetical order, after those of "...". ValueError for an equation
    that does not fit the operands.
    """
    inputs, output = parse(equation, [len(x.dims) for x in operands])
    terms: list[tuple[Any, Labels]] = []
    for x, labels in zip(operands, inputs, strict=True):
        terms.append(_without_repeats(x, labels, equation))
    extents = _extents(terms, equation)
    while len(terms) > 1:
        i, j = _next_pair(terms, output, extents)
        (x, a), (y, b) = terms[i], terms[j]
        rest = [t for k, t in enumerate(terms) if k not in (i, j)]
        keep = set(output).union(*(labels for _, labels in rest))
        terms = [*rest, _pair(x, a, y, b, keep)]
    x, labels = _summed(*terms[0], set(output))
    return _arranged(x, labels, output)


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The axis labels of each operand and of the result; axes of "..." are called "...1", "...0" from the last one on."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise ValueError(f"einsum {equation!r} names {len(parts)} operands, got {len(ranks)}")
    inputs: list[Labels] = []
    widest = 0
    for part, rank in zip(parts, ranks, strict=True):
        named = part.replace("...", "", 1)
        if not all(c in string.ascii_letters for c in named):
            raise ValueError(f"einsum {equation!r}: {part!r} must be letters and at most one '...'")
        hidden = rank - len(named)
        if hidden < 0 or (hidden and "..." not in part):
            raise ValueError(f"einsum {equation!r}: {part!r} names {len(named)} axes, the operand has rank {rank}")
        widest = max(widest, hidden)
        before = part.split("...")[0] if "..." in part else part
        inputs.append((*before, *_ellipsis(hidden), *named[len(before) :]))
    if arrow:
        named = right.replace("...", "", 1)
        if not all(c in string.ascii_letters for c in named) or len(set(named)) != len(named):
            raise ValueError(f"einsum {equation!r}: the result {right!r} must be distinct letters and at most one '...'")
        if widest and "..." not in right:
            raise ValueError(f"einsum {equation!r}: the axes of '...' are missing from the result; write '->...{right}'")
        before = right.split("...")[0] if "..." in right else right
        output: Labels = (*before, *(_ellipsis(widest) if "..." in right else ()), *named[len(before) :])
    else:
        letters = [c for part in parts for c in part.replace("...", "")]
        output = (*_ellipsis(widest), *sorted(c for c in set(letters) if letters.count(c) == 1))
    known = {label for labels in inputs for label in labels}
    for label in output:
        if label not in known:
            raise ValueError(f"einsum {equation!r}: {label!r} of the result is in no operand")
    return inputs, output


def _ellipsis(count: int) -> Labels:
    return tuple(f"...{k}" for k in reversed(range(count)))


def _without_repeats(x: Any, labels: Labels, equation: str) -> tuple[Any, Labels]:
    """The diagonal over axes of one label, until every label stands once."""
    while len(set(labels)) < len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        first = labels.index(label)
        second = labels.index(label, first + 1)
        others = [k for k in range(len(labels)) if k not in (first, second)]
        try:
            n = _same(x.dims[first], x.dims[second])
        except ValueError as e:
            raise ValueError(f"einsum {equation!r}: axes {label!r}: {e}") from None
        moved = transpose(x, perm=(*others, first, second))
        flat = reshape(moved, shape=(*moved.dims[:-2], n * n))
        rank = len(flat.dims)
        x = slice_(flat, begin=(0,) * rank, size=(*flat.dims[:-1], n), stride=(*(1,) * (rank - 1), n + 1))
        labels = (*(labels[k] for k in others), label)
    return x, labels


def _same(a: Dim, b: Dim) -> Dim:
    """The one dim that both are. ValueError if they certainly differ; where that is open, the ops that meet them will note it."""
    with sizes.assuming():
        return sizes.unify(a, b)


def _extents(terms: list[tuple[Any, Labels]], equation: str) -> dict[str, Dim]:
    extents: dict[str, Dim] = {}
    for x, labels in terms:
        for label, d in zip(labels, x.dims, strict=True):
            old = extents.setdefault(label, d)
            if label.startswith("...") and is_one(old):
                extents[label] = d
            elif not (label.startswith("...") and is_one(d)):
                try:
                    extents[label] = _same(old, d)
                except ValueError as e:
                    raise ValueError(f"einsum {equation!r}: axis {label!r}: {e}") from None
    return extents


def _next_pair(terms: list[tuple[Any, Labels]], output: Labels, extents: dict[str, Dim]) -> tuple[int, int]:
    """Which two terms to contract next: the cheapest order NumPy finds where all sizes are known, else the first two."""
    if len(terms) == 2 or not sizes.is_known(extents.values()) or len(extents) > len(string.ascii_letters):
        return 0, 1
    letter = dict(zip(extents, string.ascii_letters, strict=False))
    spelled = ",".join("".join(letter[c] for c in labels) for _, labels in terms) + "->" + "".join(letter[c] for c in output)
    shapes = [np.broadcast_to(np.float32(0), tuple(sizes.evaluate(extents[c], {}) for c in labels)) for _, labels in terms]
    first = np.einsum_path(spelled, *shapes, optimize="greedy")[0][1]
    return (min(first), max(first)) if len(first) == 2 else (0, 1)


def _summed(x: Any, labels: Labels, keep: set[str]) -> tuple[Any, Labels]:
    """`x` summed over the axes that nobody needs."""
    gone = tuple(k for k, c in enumerate(labels) if c not in keep)
    return (sum_(x, axis=gone), tuple(c for c in labels if c in keep)) if gone else (x, labels)


def _pair(x: Any, a: Labels, y: Any, b: Labels, keep: set[str]) -> tuple[Any, Labels]:
    """The product of two terms, summed over the labels that are not in `keep`."""
    x, a = _summed(x, a, keep | set(b))
    y, b = _summed(y, b, keep | set(a))
    shared = [c for c in a if c in b]
    batch, inner = [c for c in shared if c in keep], [c for c in shared if c not in keep]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    if not inner or not (rows or columns):  # no matrix in it: multiply, and add up
        labels = (*batch, *rows, *columns, *inner)
        out = _spread(x, a, labels) * _spread(y, b, labels)
        return _summed(out, labels, keep)
    left, turned_left = _as_matrix(x, a, batch, rows, inner)
    right, turned_right = _as_matrix(y, b, batch, inner, columns)
    out = matmul(left, right, transpose_a=turned_left, transpose_b=turned_right)
    of_x, of_y = dict(zip(a, x.dims, strict=True)), dict(zip(b, y.dims, strict=True))
    labels = (*batch, *rows, *columns)
    return reshape(out, shape=(*out.dims[: len(batch)], *(of_x[c] for c in rows), *(of_y[c] for c in columns))), labels


def _spread(x: Any, labels: Labels, wanted: Labels) -> Any:
    """`x` with its axes in the order of `wanted` and axes of size 1 for the labels it lacks."""
    x = _arranged(x, labels, tuple(c for c in wanted if c in labels))
    of = dict(zip((c for c in wanted if c in labels), x.dims, strict=True))
    return reshape(x, shape=tuple(of.get(c, 1) for c in wanted)) if len(wanted) > len(labels) else x


def _as_matrix(x: Any, labels: Labels, batch: list[str], rows: list[str], columns: list[str]) -> tuple[Any, bool]:
    """`x` as [*batch, rows, columns], or [*batch, columns, rows] and True where that is how it lies in memory."""
    of = dict(zip(labels, x.dims, strict=True))
    lead = tuple(of[c] for c in batch)
    m, n = sizes.product(of[c] for c in rows), sizes.product(of[c] for c in columns)
    if labels == (*batch, *columns, *rows) and labels != (*batch, *rows, *columns):
        return reshape(x, shape=(*lead, n, m)), True
    return reshape(_arranged(x, labels, (*batch, *rows, *columns)), shape=(*lead, m, n)), False


def _arranged(x: Any, labels: Labels, wanted: Labels) -> Any:
    """`x` with its axes in the order of `wanted`."""
    return x if labels == wanted else transpose(x, perm=tuple(labels.index(c) for c in wanted))


def tensordot(a: Any, b: Any, axes: Any) -> Any:
    """The sum over pairs of axes of `a` and `b`: `axes` is how many last axes of `a` meet the first of `b`, or two lists of axes."""
    rank_a, rank_b = len(a.dims), len(b.dims)
    if isinstance(axes, int):
        if not 0 <= axes <= min(rank_a, rank_b):
            raise ValueError(f"tensordot: axes={axes} must be at least 0 and at most the ranks of the operands, {rank_a} and {rank_b}")
        of_a, of_b = list(range(rank_a - axes, rank_a)), list(range(axes))
    else:
        first, second = axes
        of_a = [first] if isinstance(first, int) else list(first)
        of_b = [second] if isinstance(second, int) else list(second)
        of_a = [k % rank_a if -rank_a <= k < rank_a else _no_axis(k, rank_a) for k in of_a]
        of_b = [k % rank_b if -rank_b <= k < rank_b else _no_axis(k, rank_b) for k in of_b]
    if len(of_a) != len(of_b):
        raise ValueError(f"tensordot: different number of contraction axes {of_a} and {of_b}, {len(of_a)} != {len(of_b)}")
    left: list[str] = [f"a{k}" for k in range(rank_a)]
    right: list[str] = [f"b{k}" for k in range(rank_b)]
    for i, j in zip(of_a, of_b, strict=True):
        try:
            _same(a.dims[i], b.dims[j])
        except ValueError as e:
            raise ValueError(f"tensordot: axis {i} of {list(a.dims)} against axis {j} of {list(b.dims)}: {e}") from None
        right[j] = left[i]
    output = [c for c in left if c not in right] + [c for c in right if c not in left]
    out, labels = _pair(a, tuple(left), b, tuple(right), set(output))
    return _arranged(out, labels, tuple(output))


def _no_axis(axis: int, rank: int) -> int:
    raise ValueError(f"tensordot: axis {axis} is out of range for rank {rank}")
