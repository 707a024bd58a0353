"""`tf.nest`: nested lists, tuples, named tuples and dicts of anything, taken apart and put together. None is a leaf; dicts go by sorted keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optree

__all__ = ["assert_same_structure", "flatten", "is_nested", "map_structure", "pack_sequence_as"]


COMPOSITES = "tapejit"  # the namespace of optree in which values that are made of tensors, such as IndexedSlices, are nodes


def leaves_of(structure: Any) -> tuple[list[Any], Any]:
    """The tensors and whatever else a structure is made of, None among them, and what puts them together again; composites are gone into."""
    return optree.tree_flatten(structure, none_is_leaf=True, namespace=COMPOSITES)


def _taken_apart(structure: Any, expand_composites: bool) -> tuple[list[Any], Any]:
    return leaves_of(structure) if expand_composites else optree.tree_flatten(structure, none_is_leaf=True)


def is_nested(structure: Any) -> bool:
    """Whether `structure` is a list, tuple or dict rather than a leaf."""
    return isinstance(structure, list | tuple | Mapping)


def flatten(structure: Any, expand_composites: bool = False) -> list[Any]:
    """The leaves in order. With `expand_composites`, IndexedSlices count as their values and indices (and shape, if that is not known)."""
    return _taken_apart(structure, expand_composites)[0]


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any], expand_composites: bool = False) -> Any:
    """The leaves of `flat_sequence` in the structure of `structure`. ValueError if their number differs."""
    leaves = list(flat_sequence)
    tree = _taken_apart(structure, expand_composites)[1]
    if tree.is_leaf():
        if len(leaves) != 1:
            raise ValueError(
                f"The target structure is of type {type(structure).__name__}, but the input has {len(leaves)} elements, not one."
            )
        return leaves[0]
    if tree.num_leaves != len(leaves):
        raise ValueError(
            f"Could not pack sequence. Structure had {tree.num_leaves} atoms, but flat_sequence had {len(leaves)} items. Structure: {structure}"
        )
    return optree.tree_unflatten(tree, leaves)


def map_structure(
    func: Callable[..., Any], *structure: Any, check_types: bool = True, expand_composites: bool = False, **kwargs: Any
) -> Any:
    """`func` of the corresponding leaves of structures that agree, in the structure of the first.

    ValueError or TypeError where they do not agree.
    """
    if not callable(func):
        raise TypeError(f"Argument `func` must be callable, got: {func}")
    if not structure:
        raise ValueError("Must provide at least one structure")
    if kwargs:
        raise ValueError(f"Only valid keyword arguments are `check_types` and `expand_composites`, not: {', '.join(kwargs)}")
    for other in structure[1:]:
        assert_same_structure(structure[0], other, check_types, expand_composites)
    leaves = zip(*(flatten(s, expand_composites) for s in structure), strict=True)
    return pack_sequence_as(structure[0], [func(*each) for each in leaves], expand_composites)


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True, expand_composites: bool = False) -> None:
    """ValueError if the nesting differs; TypeError, unless `check_types` is off, if the types of the containers do."""
    if is_nested(nest1) != is_nested(nest2):
        raise ValueError(f"The two structures don't have the same nested structure: {nest1!r} and {nest2!r}")
    if not is_nested(nest1):
        if expand_composites and leaves_of(nest1)[1] != leaves_of(nest2)[1]:
            raise TypeError(f"The two structures don't have the same composites: {nest1!r} and {nest2!r}")
        return
    if check_types and type(nest1) is not type(nest2) and not (isinstance(nest1, Mapping) and isinstance(nest2, Mapping)):
        raise TypeError(
            f"The two structures don't have the same sequence type. First structure has type {type(nest1).__name__}, second {type(nest2).__name__}."
        )
    if isinstance(nest1, Mapping) and isinstance(nest2, Mapping):
        if set(nest1) != set(nest2):
            raise ValueError(
                f"The two dictionaries don't have the same set of keys: {sorted(map(str, nest1))} and {sorted(map(str, nest2))}"
            )
        pairs = [(nest1[k], nest2[k]) for k in nest1]
    elif isinstance(nest1, Mapping) or isinstance(nest2, Mapping) or len(nest1) != len(nest2):
        raise ValueError(f"The two structures don't have the same number of elements: {nest1!r} and {nest2!r}")
    else:
        pairs = list(zip(nest1, nest2, strict=True))
    for a, b in pairs:
        assert_same_structure(a, b, check_types, expand_composites)
