"""Classes drawn at random to stand for all the others: `tf.random.log_uniform_candidate_sampler` and its kin, and the logits of losses on them.

In: the true classes, and who draws uniform numbers; out: the classes drawn and how often each was to be expected (Mikolov et al. 2013,
Jean et al. 2014).
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import Any

from tapejit.arrays import concat, reshape
from tapejit.control import while_loop
from tapejit.core import dtypes, places
from tapejit.creation import fill
from tapejit.creation import range as _range
from tapejit.math import expm1, floor, log, log1p, reduce_any, reduce_sum
from tapejit.ops import elementwise as e
from tapejit.ops.matmul import matmul
from tapejit.selection import gather, where
from tapejit.tensor import convert_to_tensor

Sampled = tuple[Any, Any, Any]
Distribution = tuple[Callable[[Any, int], Any], Callable[[Any, int], Any]]  # the class of a uniform number; the probability of a class

UNIFORM: Distribution = (lambda u, n: floor(u * n), lambda k, n: k * 0 + 1.0 / n)
LOG_UNIFORM: Distribution = (
    lambda u, n: floor(e.exp(u * _math.log(n + 1)) - 1),
    lambda k, n: log((k + 2) / (k + 1)) / _math.log(n + 1),
)


def sampled(
    distribution: Distribution,
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    uniform: Callable[..., Any],
) -> Sampled:
    """(int64[num_sampled] classes, float32 expected counts of the true ones [batch, num_true] and of those [num_sampled]).

    With `unique` classes are drawn until there are `num_sampled` different ones. `uniform(shape)` draws floats from [0, 1).
    ValueError where more different classes are wanted than there are, InvalidArgumentError for true classes of another shape.
    """
    true = e.cast(convert_to_tensor(true_classes), dtype=dtypes.int64)
    count, most = int(num_sampled), int(range_max)
    if len(true.dims) != 2 or true.dims[1] != num_true:
        raise ValueError(places.with_place(f"true_classes must be a matrix with num_true = {num_true} columns, got shape {true.shape}"))
    if unique and count > most:
        raise ValueError(places.with_place(f"{count} different classes of {most}; write num_sampled <= range_max, or unique=False"))
    class_of, probability = distribution

    def drawn(shape: Any) -> Any:
        return e.minimum(e.cast(class_of(uniform(shape), most), dtype=dtypes.int64), most - 1)

    tries: Any = count
    if not unique:
        classes = drawn([count])
    else:
        places_ = _range(count)

        def one_more(found: Any, tries: Any, classes: Any) -> tuple[Any, Any, Any]:
            new = drawn([])
            seen = reduce_any(e.equal(classes, new))
            classes = where(e.logical_and(e.equal(places_, found), e.logical_not(seen)), new, classes)
            return found + e.cast(e.logical_not(seen), dtype=dtypes.int32), tries + 1, classes

        start = (convert_to_tensor(0), convert_to_tensor(0), fill([count], convert_to_tensor(-1, dtypes.int64)))
        _, tries, classes = while_loop(lambda found, *_: found < count, one_more, start)

    def expected(k: Any) -> Any:
        p = probability(e.cast(k, dtype=dtypes.float32), most)
        return -expm1(e.cast(convert_to_tensor(tries), dtype=dtypes.float32) * log1p(-p)) if unique else p * count

    return classes, expected(true), expected(classes)


def sampled_logits(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_true: int, values: Sampled, remove_accidental_hits: bool
) -> tuple[Any, Any]:
    """(logits, labels), both [batch, num_true + num_sampled]: of the true classes and of those drawn, less the logarithm of how often they come."""
    weights = weights[0] if isinstance(weights, list | tuple) and len(weights) == 1 else weights
    classes, true_count, count = (e.stop_gradient(convert_to_tensor(v)) for v in values)
    classes = e.cast(classes, dtype=dtypes.int64)
    true = reshape(e.cast(convert_to_tensor(labels), dtype=dtypes.int64), [-1, num_true])
    x = convert_to_tensor(inputs)
    rows = gather(weights, concat([reshape(true, [-1]), classes], 0))  # read once, so that the gradient is one IndexedSlices
    shifts = gather(biases, concat([reshape(true, [-1]), classes], 0))
    size = true.dims[0] * num_true
    of_true = reduce_sum(reshape(rows[:size], [-1, num_true, x.dims[-1]]) * x[:, None], axis=2) + reshape(shifts[:size], [-1, num_true])
    of_drawn = matmul(x, rows[size:], transpose_b=True) + shifts[size:]
    if remove_accidental_hits:
        hit = reduce_any(e.equal(true[:, :, None], classes), axis=1)
        of_drawn = where(hit, float(x.dtype.min), of_drawn)
    of_true = of_true - log(e.cast(reshape(true_count, [-1, num_true]), dtype=x.dtype))
    of_drawn = of_drawn - log(e.cast(count, dtype=x.dtype))
    ones = e.ones_like(of_true) / num_true
    return concat([of_true, of_drawn], 1), concat([ones, e.zeros_like(of_drawn)], 1)
