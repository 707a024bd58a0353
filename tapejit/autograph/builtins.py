"""Python's functions as converted code calls them: on tensors and datasets they record operations, on anything else they are Python's own.

In: what a user passes to `len`, `range`, `max`, `enumerate`, ... Out: tensors, or what Python gives.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from tapejit import math, ordering
from tapejit.arrays import shape as shape_of
from tapejit.arrays import stack
from tapejit.autograph.sources import counted, rows_of, zipped
from tapejit.autograph.values import symbolic
from tapejit.branching import condition
from tapejit.casting import cast
from tapejit.core import dtypes, places
from tapejit.creation import range as tensor_range
from tapejit.ir.op import thread
from tapejit.ops import elementwise as e
from tapejit.selection import gather
from tapejit.tensor import convert_to_tensor
from tapejit.tensor_array import TensorArray


def _len(x: Any, /) -> Any:
    if isinstance(x, TensorArray):
        return x.size()
    if not symbolic(x):
        return builtins.len(x)
    if not x.dims:
        raise ValueError(places.with_place("len requires a non-scalar tensor, got one of shape ()"))
    return x.dims[0] if isinstance(x.dims[0], int) else shape_of(x)[0]


def _int(x: Any = 0, /, *base: Any) -> Any:
    if not symbolic(x):
        return builtins.int(x, *base)
    return cast(x, dtypes.int32)


def _float(x: Any = 0.0, /) -> Any:
    return cast(x, dtypes.float32) if symbolic(x) else builtins.float(x)


def _range(start: Any, /, *others: Any) -> Any:
    if any(symbolic(x) for x in (start, *others)):
        return tensor_range(start, *others)
    return builtins.range(start, *others)


def _made_later(x: Any) -> bool:
    """Whether the elements of `x`, a dataset or an iterator over one, are made when the function being traced runs."""
    return thread.recorder is not None and hasattr(x, "__tf_traced_iter__")


def _datasets(function: str, *iterables: Any) -> bool:
    """Whether `iterables` are datasets whose elements are made later. NotImplementedError if only some are, or are iterators."""
    if not any(map(_made_later, iterables)):
        return False
    if not all(_made_later(x) and hasattr(x, "enumerate") for x in iterables):
        what = f"{function} of a dataset's iterator, or of a dataset beside something else, in a traced function"
        raise NotImplementedError(places.with_place(f"{what}; write a `for` loop, or give it datasets alone"))
    return True


def _next(iterator: Any, /, *default: Any) -> Any:
    if not _made_later(iterator):
        return builtins.next(iterator, *default)
    if default:
        raise NotImplementedError(
            places.with_place("next(iterator, default) of a dataset's iterator in a traced function; write a `for` loop")
        )
    return iterator.get_next()


def _enumerate(iterable: Any, start: Any = 0) -> Any:
    if _datasets("enumerate", iterable):
        return iterable.enumerate(start)
    rows = rows_of(iterable)
    return builtins.enumerate(iterable, start) if rows is None else counted(rows, start)


def _zip(*iterables: Any, strict: bool = False) -> Any:
    if _datasets("zip", *iterables):
        return type(iterables[0]).zip(*iterables)
    rows = [rows_of(x) for x in iterables]
    known = [r for r in rows if r is not None]
    if not known or len(known) < len(rows):
        return builtins.zip(*iterables, strict=strict)
    return zipped(known)


def _map(function: Callable[..., Any], /, *iterables: Any) -> Any:
    if _datasets("map", *iterables):
        return type(iterables[0]).zip(iterables).map(function)
    return builtins.map(function, *iterables)


def _filter(function: Callable[..., Any] | None, iterable: Any, /) -> Any:
    if _datasets("filter", iterable):
        return iterable.filter((lambda x: x) if function is None else function)
    return builtins.filter(function, iterable)


def _sum(iterable: Any, /, start: Any = 0) -> Any:
    if not symbolic(iterable):
        return builtins.sum(iterable, start)
    total = math.reduce_sum(iterable, axis=0)
    return total if isinstance(start, int) and start == 0 else total + start


def _extremum(python: Callable[..., Any], reduce: Callable[..., Any], binary: Callable[..., Any]) -> Callable[..., Any]:
    def extremum(*args: Any, **options: Any) -> Any:
        if options or not args:
            return python(*args, **options)
        if len(args) == 1:
            if symbolic(args[0]):
                return reduce(args[0], axis=0)
            args = tuple(args[0])
        if not any(symbolic(x) for x in args):
            return python(args)
        out = args[0]
        for x in args[1:]:
            out = binary(out, x) if symbolic(out) or symbolic(x) else python(out, x)
        return out

    return extremum


def _any(iterable: Any, /) -> Any:
    return _reduced(iterable, builtins.any, math.reduce_any, e.logical_or)


def _all(iterable: Any, /) -> Any:
    return _reduced(iterable, builtins.all, math.reduce_all, e.logical_and)


def _reduced(iterable: Any, python: Callable[..., bool], reduce: Callable[..., Any], binary: Callable[..., Any]) -> Any:
    if symbolic(iterable):
        x = convert_to_tensor(iterable)
        return reduce(x if x.dtype is dtypes.bool_ else e.not_equal(x, 0), axis=0)
    if _datasets(python.__name__, iterable):
        return _decided(iterable, python is builtins.any)
    known, unknown = [], []
    for x in iterable:
        if symbolic(x):
            unknown.append(condition(x))
        else:
            known.append(x)
            if bool(x) is (python is builtins.any):  # as Python, look no further
                return python([x])
    if not unknown:
        return python(known)
    out = unknown[0]
    for x in unknown[1:]:
        out = binary(out, x)
    return out


def _decided(dataset: Any, by: bool) -> Any:
    """`by` if an element of `dataset` is that, or else the opposite: it is read as far as the first such element."""
    spec = dataset.element_spec
    if getattr(spec, "dtype", None) is not dtypes.bool_ or spec.shape.rank != 0:
        raise ValueError(places.with_place(f"any and all of a dataset want elements that are bool scalars, got {spec}"))
    return dataset.filter((lambda x: x) if by else e.logical_not).take(1).reduce(not by, lambda *_: by)


def _sorted(iterable: Any, /, *, key: Any = None, reverse: bool = False) -> Any:
    if not symbolic(iterable):
        return builtins.sorted(iterable, key=key, reverse=reverse)
    x = convert_to_tensor(iterable)
    keys = x if key is None else stack([key(row) for row in x])
    if len(keys.dims) != 1:
        raise ValueError(places.with_place(f"sorted wants one number for each element, got shape {keys.shape}"))
    return gather(x, ordering.argsort(keys, direction="DESCENDING" if reverse else "ASCENDING", stable=True))


REPLACED: dict[Any, Callable[..., Any]] = {
    builtins.len: _len,
    builtins.int: _int,
    builtins.float: _float,
    builtins.range: _range,
    builtins.enumerate: _enumerate,
    builtins.zip: _zip,
    builtins.map: _map,
    builtins.filter: _filter,
    builtins.next: _next,
    builtins.sum: _sum,
    builtins.max: _extremum(builtins.max, math.reduce_max, math.maximum),
    builtins.min: _extremum(builtins.min, math.reduce_min, math.minimum),
    builtins.any: _any,
    builtins.all: _all,
    builtins.sorted: _sorted,
}
