"""Connectionist temporal classification: the loss of label sequences that are not aligned with their frames, and decoding.

Graves et al. 2006; the recursion over two kinds of states, blanks and labels, follows optax's `ctc_loss_with_forward_probs`.
"""

from __future__ import annotations

from typing import Any

from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.keras.implementation.core import cast, scan
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor

__all__ = ["ctc_decode", "ctc_loss"]

_LOG_EPSILON = -1e5


def _log_add(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)), also of infinities."""
    high = tf.maximum(a, b)
    high = tf.where(tf.math.is_finite(high), high, tf.zeros_like(high))
    return tf.math.log(tf.exp(a - high) + tf.exp(b - high)) + high


def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """[batch] negative log-likelihoods of labels [batch, labels] given logits [batch, frames, classes]; class `mask_index` is the blank."""
    target, target_length, output_length = (convert_to_tensor(x, "int32") for x in (target, target_length, output_length))
    output = convert_to_tensor(output)
    output = cast(output, result_type(output.dtype.name, "float32"))
    dtype = output.dtype
    batch, frames, classes = output.dims
    labels = target.dims[1]
    log_prob = tf.transpose(tf.nn.log_softmax(output), (1, 0, 2))
    blank = log_prob[:, :, mask_index : mask_index + 1]  # [frames, batch, 1]
    emitted = tf.einsum("tbk,bnk->tbn", log_prob, tf.one_hot(target, classes, dtype=dtype))
    over = cast(tf.range(frames)[:, None] >= output_length[None, :], dtype)[:, :, None]
    repeated = tf.pad(cast(target[:, :-1] == target[:, 1:], dtype), [(0, 0), (0, 1)])

    def entered(phi: Any, score: Any) -> Any:
        return tf.concat([phi[:, :1], _log_add(phi[:, 1:], score)], -1)

    def step(state: Any, at: Any) -> Any:
        before, emit = state
        emission, silence, past = at
        phi = entered(before, emit + _LOG_EPSILON * repeated)  # a label that comes twice needs a blank between
        next_emit = _log_add(phi[:, :-1] + emission, emit + emission)
        next_phi = entered(phi + silence, emit + silence + _LOG_EPSILON * (1 - repeated))
        return (past * before + (1 - past) * next_phi, past * emit + (1 - past) * next_emit), None

    start = tf.concat([tf.zeros([batch, 1], dtype), tf.fill([batch, labels], cast(_LOG_EPSILON, dtype))], 1)
    (phi, emit), _ = scan(step, (start, tf.fill([batch, labels], cast(_LOG_EPSILON, dtype))), (emitted, blank, over))
    return -tf.reduce_sum(entered(phi, emit) * tf.one_hot(target_length, labels + 1, dtype=dtype), 1)


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> tuple[Any, Any]:
    """Labels [paths, batch, frames], filled up with -1, and their scores [batch, paths]. ValueError for an unknown strategy."""
    inputs = convert_to_tensor(inputs)
    inputs = cast(inputs, result_type(inputs.dtype.name, "float32"))
    lengths = convert_to_tensor(sequence_lengths, "int32")
    mask_index = inputs.dims[-1] - 1 if mask_index is None else mask_index
    if strategy == "greedy":
        return _greedy(inputs, lengths, merge_repeated, mask_index)
    if strategy == "beam_search":
        return _beam_search(inputs, lengths, beam_width, top_paths, mask_index)
    raise ValueError(f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'.")


def _greedy(inputs: Any, lengths: Any, merge_repeated: bool, blank: int) -> tuple[Any, Any]:
    frames = inputs.dims[1]
    over = tf.range(frames)[None, :] >= lengths[:, None]
    best = tf.where(over, blank, tf.argmax(inputs, -1, tf.int32))
    scores = tf.reduce_max(inputs, -1)
    scores = tf.where(over, tf.zeros_like(scores), scores)
    if merge_repeated:
        again = tf.pad(best[:, 1:] == best[:, :-1], [(0, 0), (1, 0)], constant_values=False)
        best = tf.where(again, blank, best)
    best = tf.where(best == blank, -1, best)
    order = tf.argsort(cast(best < 0, "int32"), axis=-1, stable=True)  # labels to the front
    return tf.gather(best, order, axis=1, batch_dims=1)[None], -tf.reduce_sum(scores, 1)[:, None]


def _beam_search(inputs: Any, lengths: Any, width: int, top: int, blank: int) -> tuple[Any, Any]:
    """Prefix beam search: paths of labels with the scores of ending in a label and in a blank.

    Classes count from the last, so that of paths with equal scores those with lower classes win.
    """
    inputs = tf.reverse(tf.nn.log_softmax(inputs), [2])
    frames, classes = inputs.dims[1:]
    blank = classes - 1 - blank
    beams, started = 2 * width, min(classes, width)
    steps = tf.range(frames)[None, :] >= lengths[:, None]
    lowest = cast(float("-inf"), inputs.dtype)
    class_of = tf.where(tf.range(classes) == blank, -1, tf.range(classes))

    def decoded(given: Any) -> Any:
        x, over = given
        first = tf.argsort(x[0])[classes - started :]
        labels = tf.where(first == blank, -1, first)
        paths = tf.pad(labels[:, None], [(0, beams - started), (0, frames - 1)], constant_values=-1)
        scores = tf.concat([tf.gather(x[0], first), tf.fill([beams - started], lowest)], 0)

        def step(state: Any, at: Any) -> Any:
            row, done = at
            paths, scores, masked = state
            new = pruned(*extended(paths, scores, masked, row))
            return tuple(tf.where(done, old, now) for old, now in zip(state, new, strict=True)), None

        (paths, scores, _), _ = scan(step, (paths, scores, paths[:, 0] == -1), (x[1:], over[1:]))
        paths, group = _distinct(paths, classes)
        scores = merged(group, scores)
        best = tf.reverse(tf.argsort(scores, stable=True)[beams - top :], [0])
        return tf.gather(paths, best), tf.gather(scores, best)

    def extended(paths: Any, scores: Any, masked: Any, row: Any) -> Any:
        """Every path with every class behind it."""
        paths, scores, masked = (tf.repeat(x, classes, axis=0) for x in (paths, scores, masked))
        end = tf.argmax(cast(paths == -1, "int32"), 1, tf.int32)
        tail = tf.gather(paths, tf.maximum(end - 1, 0), axis=1, batch_dims=1)
        tail = tf.where(end == 0, -1, tail)
        added = tf.tile(class_of, [beams])
        silent = added == -1
        added = tf.where(tf.logical_and(tf.logical_not(masked), tail == added), -1, added)
        here = tf.range(frames)[None, :] == end[:, None]
        return tf.where(here, added[:, None], paths), scores + tf.tile(row, [beams]), silent

    def merged(group: Any, scores: Any) -> Any:
        """log(sum(exp)) of the scores of each group."""
        high = tf.reduce_max(scores)
        total = tf.math.unsorted_segment_sum(tf.exp(scores - high), group, scores.dims[0])
        return tf.math.log(total) + high

    def pruned(paths: Any, scores: Any, masked: Any) -> Any:
        """The best distinct paths, once as ending in a label and once in a blank."""
        paths, group = _distinct(paths, classes)
        emit = merged(group, tf.where(masked, lowest, scores))
        silent = merged(group, tf.where(masked, scores, lowest))
        best = tf.argsort(_log_add(emit, silent), stable=True)[beams * classes - width :]
        paths, emit, silent = (tf.gather(x, best) for x in (paths, emit, silent))
        return tf.tile(paths, [2, 1]), tf.concat([emit, silent], 0), tf.range(beams) >= width

    paths, scores = scan(lambda carry, given: (carry, decoded(given)), (), (inputs, steps))[1]
    paths = tf.where(paths == -1, -1, classes - 1 - paths)
    return tf.transpose(paths, (1, 0, 2)), scores


def _distinct(paths: Any, classes: int) -> tuple[Any, Any]:
    """The distinct rows of integers from -1 to `classes` - 1, in order, filled up with rows of -1, and for each row which it is."""
    count, length = paths.dims
    at_once = max(1, 62 // (classes + 1).bit_length())  # digits of a key
    order = tf.range(count)
    keys = []
    for k in reversed(range(0, length, at_once)):  # least significant first, each order stable
        digits = cast(paths[:, k : k + at_once] + 1, "int64")
        key = tf.zeros([count], tf.int64)
        for j in range(digits.dims[1]):
            key = key * (classes + 1) + digits[:, j]
        keys.append(key)
        order = tf.gather(order, tf.argsort(tf.gather(key, order), stable=True))
    ordered = tf.stack([tf.gather(key, order) for key in keys], 1)
    new = tf.reduce_any(ordered[1:] != ordered[:-1], 1)
    rank = tf.concat([tf.zeros([1], tf.int32), tf.cumsum(cast(new, "int32"))], 0)
    places = order[:, None]
    group = tf.scatter_nd(places, rank, [count])
    rows = tf.tensor_scatter_nd_update(tf.fill([count, length], -1), group[:, None], paths)
    return rows, group
