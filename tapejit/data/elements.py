"""What the elements of a dataset are: a structure (tuples, dicts, named tuples) and a spec for each leaf.

Inside a pipeline an element is the tuple of its leaves as arrays; a leaf may also be a pipeline of its own (a window). Users see
the structure with tensors in it. Lists are leaves: they become tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.tracing import view

Leaves = tuple[Any, ...]


@dataclass(frozen=True)
class Elements:
    """The elements of a pipeline: `tree` is their structure, `leaves` the specs in its order."""

    tree: Any
    leaves: tuple[Any, ...]

    @property
    def structure(self) -> Any:
        """The specs in the structure."""
        return packing(self.tree)(self.leaves)

    @property
    def static(self) -> bool:
        """Whether the rank of every tensor is known and none is a dataset, so that functions of an element can be traced beforehand."""
        return all(isinstance(s, TensorSpec) and s.named_shape is not None for s in self.leaves)

    def mapped(self, change: Callable[[Any], Any]) -> Elements:
        """The same structure with other specs."""
        return Elements(self.tree, tuple(change(s) for s in self.leaves))


def flattened(value: Any) -> tuple[list[Any], Any]:
    """Leaves and structure of what a user gives."""
    leaves, tree = optree.tree_flatten(value, is_leaf=lambda x: isinstance(x, list))
    return list(leaves), tree


def elements_of(structure: Any) -> Elements:
    """`Elements` of a structure of specs. TypeError for a leaf that is no spec."""
    leaves, tree = optree.tree_flatten(structure)
    for leaf in leaves:
        if not hasattr(leaf, "is_compatible_with"):
            raise TypeError(places.with_place(f"expected tf.TensorSpecs, got {leaf!r}; write tf.TensorSpec([], tf.float32)"))
    return Elements(tree, tuple(leaves))


def composed(tree: Any, parts: Sequence[Any]) -> Any:
    """The structure `tree` with the structures `parts` at its leaves."""
    return optree.tree_structure(optree.tree_unflatten(tree, [optree.tree_unflatten(part, [0] * part.num_leaves) for part in parts]))


def packing(tree: Any) -> Callable[[Sequence[Any]], Any]:
    """The function that puts leaves into the structure."""
    if tree.is_leaf():
        return lambda leaves: leaves[0]
    if tree.type is tuple and all(child.is_leaf() for child in tree.children()):
        return tuple
    return lambda leaves: optree.tree_unflatten(tree, leaves)


def array_of(value: Any, dtype: DType | None = None) -> np.ndarray:
    """A leaf that a user gives as an array nobody else writes into."""
    return view(convert_to_tensor(value, dtype))


def spec_of(leaf: Any) -> Any:
    """The spec of a leaf: an array, or a pipeline, which knows its own."""
    return TensorSpec(leaf.shape, dtypes.as_dtype(leaf.dtype)) if isinstance(leaf, np.ndarray | np.generic) else leaf.as_leaf()


def tensors(leaves: Iterable[Any], nested: Callable[[Any], Any]) -> list[Any]:
    """Leaves as users see them: arrays as tensors, pipelines as datasets (by `nested`)."""
    return [EagerTensor(x) if isinstance(x, np.ndarray | np.generic) else nested(x) for x in leaves]


def batched_spec(spec: Any, size: int | None) -> Any:
    """The spec of a batch. TypeError for a dataset, which has no batches."""
    if not isinstance(spec, TensorSpec):
        raise TypeError(
            places.with_place(f"elements that are datasets cannot be batched ({spec}); write ds.flat_map(lambda window: window.batch(n))")
        )
    return spec if spec.named_shape is None else TensorSpec([size, *spec.named_shape], spec.dtype)


def widened(a: Any, b: Any) -> Any:
    """The spec of tensors that either spec describes. TypeError if their dtypes differ."""
    if not isinstance(a, TensorSpec):
        return a
    if a.dtype is not b.dtype:
        raise TypeError(places.with_place(f"elements of dtype {a.dtype.name} and {b.dtype.name} cannot be in one dataset"))
    one, two = a.shape, b.shape
    if one.rank is None or two.rank is None or one.rank != two.rank:
        return TensorSpec(None, a.dtype)
    return TensorSpec([x if x == y else None for x, y in zip(one, two, strict=True)], a.dtype)
