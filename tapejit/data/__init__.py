"""`tf.data`: pipelines of elements. See `dataset` for what users call and `pieces` for how elements travel."""

from __future__ import annotations

from tapejit.data import experimental
from tapejit.data.dataset import AUTOTUNE, Dataset
from tapejit.data.iterators import Iterator, IteratorSpec, NumpyIterator
from tapejit.data.options import Options
from tapejit.data.pipeline import INFINITE as INFINITE_CARDINALITY
from tapejit.data.pipeline import UNKNOWN as UNKNOWN_CARDINALITY
from tapejit.data.pipeline import DatasetSpec

__all__ = [
    "AUTOTUNE", "INFINITE_CARDINALITY", "UNKNOWN_CARDINALITY", "Dataset", "DatasetSpec", "Iterator", "IteratorSpec", "NumpyIterator", "Options",
    "experimental",
]  # fmt: skip
