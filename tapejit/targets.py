"""What the methods that differentiate are given: targets, sources, gradients of the targets, and what to say where nothing connects them.

In: nested structures as the user wrote them; out: lists of tensors and variables, checked.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import optree

from tapejit.core import places, sizes
from tapejit.ir import structure
from tapejit.ir.op import thread
from tapejit.ops.gathering import gather
from tapejit.ops.operand import Tensor
from tapejit.record.recorder import SymbolicTensor
from tapejit.tensor import convert_to_tensor
from tapejit.variable import Variable, variable_behind


class UnconnectedGradients(Enum):
    """What `gradient` gives for a source that no path connects to a target: None, or zeros."""

    NONE = "none"
    ZERO = "zero"


def zeros_asked(unconnected_gradients: Any) -> bool:
    """Whether unconnected sources are to have zeros. ValueError for what is no member of `UnconnectedGradients`."""
    try:
        return UnconnectedGradients(unconnected_gradients) is UnconnectedGradients.ZERO
    except ValueError:
        raise ValueError(places.with_place(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}")) from None


def flatten(structure_: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts (keys in order), with None kept as a leaf; variables for what stands for them."""
    if isinstance(structure_, Tensor | Variable):
        return [structure_]
    return [variable_behind(x) for x in optree.tree_leaves(structure_, none_is_leaf=True)]


def unflatten(like: Any, leaves: list[Any]) -> Any:
    """`leaves` in the structure of `like`."""
    if isinstance(like, Tensor | Variable):
        return leaves[0]
    return optree.tree_unflatten(optree.tree_structure(like, none_is_leaf=True), leaves)


def leaves_checked(structure_: Any, what: str) -> list[Any]:
    """The tensors and variables in a structure of targets or sources (`what`), dense. TypeError for anything else."""
    if structure_ is None and what == "target":
        raise TypeError(
            places.with_place(
                "Argument `target` should be a list or nested structure of Tensors, Variables or CompositeTensors to be differentiated, but received None."
            )
        )
    # the sum over a sparse target is that over its values, which the tape has seen
    out = [(x.values if what == "target" else x.to_tensor()) if hasattr(x, "to_tensor") else x for x in flatten(structure_)]
    for x in out:
        if not isinstance(x, Tensor | Variable):
            raise TypeError(
                places.with_place(
                    f"tape.gradient: every element of `{what}` must be a tf.Tensor or tf.Variable, got {x!r} of type {type(x).__name__}"
                )
            )
        if isinstance(x, SymbolicTensor) and thread.recorder is None:
            x.carry_out(structure.gradient, (), {})
    return out


def single(x: Any, method: str) -> Any:
    """The one tensor or variable that `tape.<method>` takes. TypeError for anything else."""
    x = variable_behind(x)
    if not isinstance(x, Tensor | Variable):
        raise TypeError(places.with_place(f"tape.{method} takes one tf.Tensor or tf.Variable, got {x!r} of type {type(x).__name__}"))
    return leaves_checked(x, "target")[0]


def seeds_for(targets: list[Any], output_gradients: Any) -> list[Any]:
    """`output_gradients` as a tensor, or None for ones, for each target; of `IndexedSlices` the rows for their values.

    ValueError for another number, dtype or shape than the targets have.
    """
    if output_gradients is None:
        return [None] * len(targets)
    given = flatten(output_gradients) if len(targets) != 1 or isinstance(output_gradients, list | tuple | dict) else [output_gradients]
    if len(targets) == 1 and len(given) != 1 and not any(isinstance(g, Tensor | Variable) for g in given):
        given = [output_gradients]  # the elements of one gradient as a list of numbers
    if len(given) != len(targets):
        raise ValueError(places.with_place(f"tape.gradient: {len(targets)} targets need {len(targets)} output_gradients, got {len(given)}"))
    seeds = []
    for k, (t, g) in enumerate(zip(targets, given, strict=True)):
        g = None if g is None else convert_to_tensor(g) if hasattr(g, "dims") else convert_to_tensor(g, t.dtype)
        if g is not None:
            if g.dtype is not t.dtype:
                raise ValueError(
                    places.with_place(f"tape.gradient: output gradient {k} has dtype {g.dtype.name}, its target {t.dtype.name}")
                )
            dims = tuple(t.shape)
            if len(g.dims) != len(dims) or any(
                isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(g.dims, dims, strict=True)
            ):
                raise ValueError(
                    places.with_place(f"tape.gradient: output gradient {k} has shape {sizes.shown(g.dims)}, its target {sizes.shown(dims)}")
                )
            g = gather(g, t.indices) if hasattr(t, "to_tensor") else g
        seeds.append(g)
    return seeds
