"""Batches for `fit`, `evaluate` and `predict`: Keras' own data adapters, and one for our `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import optree
from keras.src import tree
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils, raise_unsupported_arg
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.epoch_iterator import EpochIterator

import tapejit as tf
from tapejit.data import Dataset
from tapejit.keras.implementation.sparse_rows import SparseRows, sparse_rows, sparse_tensor


class DatasetAdapter(DataAdapter):
    """The elements of a `tf.data.Dataset` as batches; with `class_weight`, weights by the class of each target beside them."""

    def __init__(self, dataset: Any, class_weight: dict[int, float] | None = None) -> None:
        self.dataset, self._class_weight = dataset, class_weight

    def get_numpy_iterator(self) -> Iterator[Any]:
        """The elements; tensors as they are."""
        for element in self.dataset:
            if self._class_weight is not None:
                x, y, weight = data_adapter_utils.unpack_x_y_sample_weight(element)
                if weight is not None:
                    raise ValueError("You cannot `class_weight` and `sample_weight` at the same time.")
                element = x, y, data_adapter_utils.class_weight_to_sample_weights(np.asarray(y), self._class_weight)
            yield element

    @property
    def num_batches(self) -> int | None:
        count = int(self.dataset.cardinality())
        return None if count < 0 else count

    @property
    def batch_size(self) -> int | None:
        return tree.flatten(self.dataset.element_spec)[0].shape[0]

    @property
    def has_partial_batch(self) -> bool | None:
        return None

    @property
    def partial_batch_size(self) -> int | None:
        return None


def as_arrays(data: Any) -> Any:
    """`data` with our tensors as NumPy arrays, which Keras' adapters cut up, and sparse ones as `SparseRows`."""
    return tree.map_structure(lambda x: np.asarray(x) if isinstance(x, tf.Tensor | tf.Variable) else sparse_rows(x), data)


def split(data: Any, share: float) -> tuple[Any, Any]:
    """All but the last `share` of the rows, and those, as Keras' `validation_split` has them."""
    data = as_arrays(data)
    numbers, rows = _numbered(data)
    parts = array_slicing.train_validation_split(numbers, validation_split=share)
    first, last = (_rows_at(part, rows) for part in parts)
    return first, last


def _numbered(data: Any) -> tuple[Any, list[Any]]:
    """`data` with the numbers of their rows in the place of `SparseRows`, and these, with None for other arrays."""
    rows = [x if isinstance(x, SparseRows) else None for x in tree.flatten(data) if x is not None]
    return tree.map_structure(lambda x: np.arange(len(x)) if isinstance(x, SparseRows) else x, data, none_is_leaf=False), rows


def _rows_at(numbers: Any, rows: list[Any]) -> Any:
    """The other way: the `SparseRows` with these numbers. There may be more arrays than `rows` tells of."""
    left = iter(rows)

    def taken(x: Any) -> Any:
        here = next(left, None)
        return x if here is None else here.taken(x)

    return tree.map_structure(taken, numbers, none_is_leaf=False)


class Batches(EpochIterator):
    """Keras' iterator over the steps of an epoch; each gives as many batches as one execution takes."""

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, **options: Any) -> None:
        if isinstance(x, Dataset):
            if y is not None:
                raise_unsupported_arg("y", "the targets", "tf.data.Dataset")
            if sample_weight is not None:
                raise_unsupported_arg("sample_weights", "the sample weights", "tf.data.Dataset")
            x, class_weight = DatasetAdapter(x, class_weight), None
        else:
            (x, y, sample_weight), self._rows = _numbered(as_arrays((x, y, sample_weight)))
        super().__init__(x=x, y=y, sample_weight=sample_weight, class_weight=class_weight, **options)

    def _get_iterator(self) -> Iterator[Any]:
        adapter = self.data_adapter
        if not isinstance(adapter, ArrayDataAdapter):
            return (tree.map_structure(sparse_tensor, batch) for batch in adapter.get_numpy_iterator())
        batches = _prepared(adapter)
        if any(self._rows):
            return (tree.map_structure(sparse_tensor, _rows_at(batch, self._rows)) for batch in batches)
        return batches

    def __iter__(self) -> Iterator[tuple[int, int, list[Any]]]:
        """The first and the last step of each execution, and its batches."""
        for first, last, batches in self._enumerate_iterator():
            found = list(islice(batches, self.steps_per_execution))
            if len(found) < self.steps_per_execution:
                with self.catch_stop_iteration():
                    raise StopIteration
            if not found:
                return
            yield first, last, found

    @property
    def fixed(self) -> bool:
        """Whether all batches are known to have one size."""
        return isinstance(self.data_adapter, DatasetAdapter) and self.data_adapter.batch_size is not None


_AHEAD = 1 << 22  # bytes of batches that are taken from the arrays at once


def _prepared(adapter: Any) -> Iterator[Any]:
    """The batches of an array adapter, many of them taken at once: they are parts of what one indexing gives.

    The order is Keras': `shuffle=True` permutes all examples, "batch" those within each batch, by NumPy's global generator.
    """
    count, size, shuffle = adapter._num_samples, adapter._batch_size, adapter._shuffle
    inputs = array_slicing.convert_to_sliceable(adapter._inputs, target_backend="numpy")
    order = np.random.permutation(count) if shuffle and shuffle != "batch" else None
    start, at_once = 0, size
    while start < count:
        stop = min(start + at_once, count)
        if shuffle == "batch":
            taken: Any = np.concatenate([a + np.random.permutation(min(size, count - a)) for a in range(start, stop, size)])
        else:
            taken = slice(start, stop) if order is None else order[start:stop]
        block = tree.map_structure(lambda x, at=taken: x.convert_to_numpy(x[at]), inputs, none_is_leaf=False)
        leaves, packed = optree.tree_flatten(block)
        if at_once == size:
            at_once *= max(_AHEAD // max(sum(x.nbytes for x in leaves), 1), 1)
        for a in range(0, stop - start, size):
            yield optree.tree_unflatten(packed, [x[a : a + size] for x in leaves])
        start = stop
