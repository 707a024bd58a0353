"""Sparse matrices as data: those of tapejit, SciPy, TensorFlow and JAX, cut into batches by rows.

In: what is passed to `fit`, or what a generator yields. Out: `tf.SparseTensor` whose number of rows is a value, so that one trace serves
all batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras.src.backend import floatx
from keras.src.trainers.data_adapters.data_adapter_utils import is_jax_sparse, is_scipy_sparse, is_tensorflow_sparse

import tapejit as tf
from tapejit.sparse_tensor import opened


class SparseRows:
    """A sparse tensor in NumPy arrays, of which rows can be taken: `indices` [n, rank] in the order of rows, `values` [n]."""

    def __init__(self, indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> None:
        rows = indices[:, 0]
        if np.any(rows[1:] < rows[:-1]):
            order = np.argsort(rows, kind="stable")
            indices, values, rows = indices[order], values[order], rows[order]
        self.indices, self.values, self.shape = indices, values, tuple(shape)
        self._starts = np.searchsorted(rows, np.arange(shape[0] + 1))

    def __len__(self) -> int:
        return self.shape[0]

    def taken(self, rows: np.ndarray) -> SparseRows:
        """The rows with these numbers, in their order."""
        first = self._starts[rows]
        counts = self._starts[rows + 1] - first
        row = np.repeat(np.arange(len(rows)), counts)
        at = np.arange(len(row)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        return SparseRows(np.column_stack([row, self.indices[at, 1:]]), self.values[at], (len(rows), *self.shape[1:]))

    def tensor(self) -> tf.SparseTensor:
        """The `tf.SparseTensor`, with its number of rows as a value."""
        return opened(tf.SparseTensor(self.indices, self.values, self.shape))


def sparse_rows(x: Any) -> Any:
    """A sparse tensor of whatever library as `SparseRows`, with floats in Keras' default dtype; anything else as it is."""
    if isinstance(x, SparseRows):
        return x
    if isinstance(x, tf.SparseTensor) or is_tensorflow_sparse(x):
        indices, values, shape = np.asarray(x.indices), np.asarray(x.values), tuple(x.shape)
    elif is_scipy_sparse(x):
        coo = x.tocoo()
        indices, values, shape = np.column_stack([coo.row, coo.col]), coo.data, coo.shape
    elif is_jax_sparse(x):
        indices, values, shape = np.asarray(x.indices), np.asarray(x.data), x.shape
        if indices.ndim != 2 or values.ndim != 1:
            raise ValueError(
                f"JAX's sparse tensors have to be of BCOO without batch or dense axes, got {x}; write x.update_layout(n_batch=0)"
            )
        there = np.all(indices < shape, axis=1)  # those that fill up to a fixed number lie outside
        indices, values = indices[there], values[there]
    else:
        return x
    return SparseRows(indices.astype(np.int64), values.astype(floatx()) if values.dtype.kind == "f" else values, shape)


def sparse_tensor(x: Any) -> Any:
    """A sparse tensor of whatever library as a `tf.SparseTensor`; anything else as it is."""
    x = sparse_rows(x)
    return x.tensor() if isinstance(x, SparseRows) else x
