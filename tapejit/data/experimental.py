"""`tf.data.experimental`: the older names of methods of `Dataset`, most as functions for `Dataset.apply`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapejit.core.errors import FailedPreconditionError
from tapejit.data.dataset import AUTOTUNE, Dataset
from tapejit.data.iterators import Optional
from tapejit.data.order import Selection
from tapejit.data.pieces import Piece
from tapejit.data.pipeline import INFINITE as INFINITE_CARDINALITY
from tapejit.data.pipeline import UNKNOWN as UNKNOWN_CARDINALITY

__all__ = [
    "AUTOTUNE", "INFINITE_CARDINALITY", "UNKNOWN_CARDINALITY", "Counter", "Optional", "RandomDataset", "assert_cardinality",
    "bucket_by_sequence_length", "cardinality", "choose_from_datasets", "copy_to_device", "enumerate_dataset", "get_single_element",
    "group_by_window", "prefetch_to_device", "sample_from_datasets", "scan", "shuffle_and_repeat", "take_while", "unbatch", "unique",
]  # fmt: skip

Transformation = Callable[[Dataset], Dataset]
Counter, RandomDataset = Dataset.counter, Dataset.random
choose_from_datasets, sample_from_datasets = Dataset.choose_from_datasets, Dataset.sample_from_datasets


def cardinality(dataset: Dataset) -> Any:
    """`dataset.cardinality()`."""
    return dataset.cardinality()


def get_single_element(dataset: Dataset) -> Any:
    """`dataset.get_single_element()`."""
    return dataset.get_single_element()


def assert_cardinality(expected_cardinality: Any) -> Transformation:
    """Says how many elements there are; FailedPreconditionError where it turns out otherwise."""
    count = int(expected_cardinality)
    return lambda ds: ds._after(_Asserted(ds._stage, count))


class _Asserted(Selection):
    """The elements of a source, of which there must be `count`."""

    def __init__(self, source: Any, count: int) -> None:
        super().__init__(source)
        self._count = count

    def cardinality(self) -> int:
        return self._count

    def pieces(self) -> Any:
        seen = 0
        piece: Piece
        for piece in self.source.pieces():
            seen += len(piece)
            if 0 <= self._count < seen:
                break
            yield piece
        if seen != self._count and self._count >= 0:
            raise FailedPreconditionError(
                f"Input dataset was expected to contain {self._count} elements but contained {'at least ' * (seen > self._count)}{seen}."
            )
        if self._count == INFINITE_CARDINALITY:
            raise FailedPreconditionError(
                f"Input dataset was expected to contain an infinite number of elements but contained only {seen} elements."
            )


def _applied(method: str) -> Callable[..., Transformation]:
    def make(*args: Any, **kwargs: Any) -> Transformation:
        return lambda ds: getattr(ds, method)(*args, **kwargs)

    make.__name__ = method
    make.__doc__ = f"`Dataset.{method}` for `Dataset.apply`."
    return make


enumerate_dataset = _applied("enumerate")
unbatch, unique, scan, take_while = _applied("unbatch"), _applied("unique"), _applied("scan"), _applied("take_while")
group_by_window, bucket_by_sequence_length = _applied("group_by_window"), _applied("bucket_by_sequence_length")


def shuffle_and_repeat(buffer_size: Any, count: Any = None, seed: Any = None) -> Transformation:
    """`shuffle` and `repeat` for `Dataset.apply`."""
    return lambda ds: ds.shuffle(buffer_size, seed).repeat(count)


def copy_to_device(target_device: str, source_device: str = "/cpu:0") -> Transformation:
    """The dataset itself: there is one device."""
    return lambda ds: ds


def prefetch_to_device(device: str, buffer_size: Any = None) -> Transformation:
    """`prefetch` for `Dataset.apply`."""
    return lambda ds: ds.prefetch(AUTOTUNE if buffer_size is None else buffer_size)
