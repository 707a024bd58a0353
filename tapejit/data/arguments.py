"""What users write for shapes, dtypes and values per component of an element, as one entry for each leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from tapejit.core import places
from tapejit.core.shape import TensorShape
from tapejit.data.elements import Elements
from tapejit.spec import TensorSpec


def declared(output_types: Any, output_shapes: Any) -> Elements:
    """The elements that structures of dtypes and, unless None, of shapes describe."""
    types, tree = optree.tree_flatten(output_types, is_leaf=lambda x: isinstance(x, list))
    if output_shapes is None:
        return Elements(tree, tuple(TensorSpec(None, t) for t in types))
    shapes = per_leaf(Elements(tree, tuple(types)), output_shapes, is_shape)
    return Elements(tree, tuple(TensorSpec(shape_of(s), t) for t, s in zip(types, shapes, strict=True)))


def is_shape(x: Any) -> bool:
    """Whether `x` stands for one shape rather than for a structure of shapes."""
    if isinstance(x, TensorShape | list | int) or x is None or hasattr(x, "numpy"):
        return True
    return isinstance(x, tuple) and all(d is None or isinstance(d, int) for d in x)


def shape_of(x: Any) -> TensorShape:
    """A shape in which None and -1 are unknown."""
    if isinstance(x, TensorShape) or x is None:
        return TensorShape(x)
    listed = x.numpy().tolist() if hasattr(x, "numpy") else [x] if isinstance(x, int) else x
    return TensorShape([None if d in (None, -1) else d for d in listed])


def per_leaf(elements: Elements, given: Any, leaf: Callable[[Any], bool], repeated: bool = False) -> list[Any]:
    """One entry of `given` for each leaf of the elements; `repeated`: one that is no structure stands for all of them."""
    count = len(elements.leaves)
    if leaf(given) and (elements.tree.is_leaf() or repeated):
        return [given] * count
    listed = optree.tree_leaves(given, is_leaf=leaf, none_is_leaf=True)
    if len(listed) != count:
        raise ValueError(places.with_place(f"{given!r} does not have the structure of the elements, {elements.structure}"))
    return listed
