"""`tf.image`: boxes found in images: which of those that overlap to keep.

A box is [y1, x1, y2, x2], any two of its diagonal corners.
"""

from __future__ import annotations

import math as _math
from typing import Any

from tapejit.control import while_loop
from tapejit.core import dtypes, places
from tapejit.math import divide_no_nan, reduce_any, reduce_prod
from tapejit.ops import elementwise as e
from tapejit.ops.creation import iota
from tapejit.ordering import argsort
from tapejit.selection import boolean_mask, gather
from tapejit.tensor import convert_to_tensor


def _overlaps(boxes: Any) -> Any:
    """[n, n]: the area that each two boxes share, of that which they cover together."""
    low, high = e.minimum(boxes[:, :2], boxes[:, 2:]), e.maximum(boxes[:, :2], boxes[:, 2:])
    areas = reduce_prod(high - low, axis=-1)
    sides = e.minimum(high[:, None], high[None]) - e.maximum(low[:, None], low[None])
    shared = reduce_prod(e.maximum(sides, 0), axis=-1)
    return divide_no_nan(shared, areas[:, None] + areas[None] - shared)


def non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: Any = 0.5,
    score_threshold: Any = -_math.inf,
    name: str | None = None,
) -> Any:
    """int32[m]: at most `max_output_size` boxes from the highest score down, without those that overlap one before by more than `iou_threshold`.

    `boxes` is [n, 4], `scores` [n]; only scores above `score_threshold` count. ValueError for other ranks.
    """
    boxes, scores = convert_to_tensor(boxes), convert_to_tensor(scores)
    if len(boxes.dims) != 2 or boxes.dims[1] != 4 or len(scores.dims) != 1:
        raise ValueError(places.with_place(f"boxes have to be [n, 4] and scores [n], got shapes {boxes.shape} and {scores.shape}"))
    order = argsort(scores, direction="DESCENDING", stable=True)
    close = _overlaps(gather(boxes, order)) > iou_threshold
    good = gather(scores, order) > score_threshold
    at = iota(size=scores.dims[0], dtype=dtypes.int32)
    most = convert_to_tensor(max_output_size, dtypes.int32)

    def body(k: Any, count: Any, kept: Any) -> tuple[Any, Any, Any]:
        new = e.logical_and(good[k], e.logical_not(reduce_any(e.logical_and(kept, close[k]))))
        return k + 1, count + e.cast(new, dtype=dtypes.int32), e.logical_or(kept, e.logical_and(new, e.equal(at, k)))

    start = (convert_to_tensor(0), convert_to_tensor(0), e.not_equal(at, at))
    size = e.cast(convert_to_tensor(scores.dims[0]), dtype=dtypes.int32)
    _, _, kept = while_loop(lambda k, count, _: e.logical_and(k < size, count < most), body, start)
    return boolean_mask(order, kept)
