"""Gradients of tables that are only looked up: the gradients of the rows that were read, with their indices, and nothing of the table's size.

In: what takes ordinary gradients, the sources, and what was looked up in each. Out: `IndexedSlices` for those sources where TensorFlow has
them: all that the gradient comes through is `tf.gather` along the first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tapejit.core import sizes
from tapejit.indexed_slices import IndexedSlices, joined
from tapejit.ops.shapes import reshape


class Lookup(NamedTuple):
    """`rows` are those of `table` at `ids`."""

    rows: Any
    table: Any
    ids: Any


def gradients(find: Callable[[list[Any]], list[Any]], sources: Sequence[Any], found: Sequence[Sequence[Lookup]]) -> list[Any]:
    """`find(sources)`, with `IndexedSlices` for each source whose lookups `found` lists: it is the results of these that are differentiated."""
    grads = iter(find([x for s, made in zip(sources, found, strict=True) for x in ([m.rows for m in made] or [s])]))
    return [_slices(made, grads) if made else next(grads) for made in found]


def _slices(made: Sequence[Lookup], grads: Iterator[Any]) -> IndexedSlices | None:
    """The gradient of a table from those of the rows read; equal indices stay apart."""
    dims = made[0].table.dims
    parts = []
    for m in made:
        g, rank = next(grads), len(m.ids.dims)
        if g is not None:
            parts.append(IndexedSlices(_flat(g, rank), _flat(m.ids, rank), dims))
    return joined(parts) if parts else None


def _flat(x: Any, rank: int) -> Any:
    """`x` with its first `rank` axes made one."""
    return x if rank == 1 else reshape(x, shape=(sizes.product(x.dims[:rank]), *x.dims[rank:]))
