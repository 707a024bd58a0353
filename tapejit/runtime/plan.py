"""A call plan: what one compiled step expects of a Python call, and what becomes of its results. Pure data.

Slots are names of table entries (`Program.table`); shapes are dims (ints, or sizes over the names in `Plan.sizes`, which the
arguments' and cells' shapes give their values).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapejit.core.sizes import Dim


@dataclass(frozen=True)
class Argument:
    """A positional argument: a tensor (with `raw` also a bare ndarray) of exactly this dtype and shape, contiguous.

    Its address goes to `slot`; None if the step does not read it.
    """

    slot: str | None
    dtype: np.dtype
    shape: tuple[Dim, ...]
    raw: bool = True


@dataclass(frozen=True)
class Literal:
    """A positional argument that must be this value: the same object, or with `equal` one of the same class that equals it."""

    value: Any
    equal: bool = True


@dataclass(frozen=True)
class Same:
    """A positional argument that must be the object that `reference` refers to, which is not kept alive."""

    reference: weakref.ref[Any]


@dataclass(frozen=True, eq=False)
class Owner:
    """A positional argument that has cells: an object of just this class, in whose slot `attribute` there is a tensor of this dtype and shape.

    Arguments of one plan that have numbers as `alias` are the same object where the numbers are the same, and only there. `having` is a slot
    of the object and the object that must be in it.
    """

    cls: type
    attribute: str
    dtype: np.dtype
    shape: tuple[Dim, ...]
    alias: int | None = None
    having: tuple[str, Any] | None = None


@dataclass(frozen=True)
class Cell:
    """State: slot `attribute` (of `__slots__`) of `owner`, an object or the `Owner` that stands for one, holds a tensor. `read` and `write` are the table entries that get the
    addresses of its present and its new value: the same address where `in_place` and nobody else can see the array.

    `read` and `write` may be the same entry, for a step that changes one buffer; where the array must not be changed, the step gets a copy.
    A new value that may be of another size is the `result` of that number.
    """

    owner: Any
    attribute: str
    dtype: np.dtype
    shape: tuple[Dim, ...]
    read: str | None
    write: str | None = None
    in_place: bool = False
    result: int | None = None


@dataclass(frozen=True)
class Result:
    """An array that the step writes at the address in `slot`. With `delivered` the step allocates it (`malloc`) itself, and
    puts its address and then its sizes into the table from `slot` on; `shape` then only gives the rank."""

    slot: str
    dtype: np.dtype
    shape: tuple[Dim, ...]
    delivered: bool = False


@dataclass(frozen=True)
class Give:
    """In `Plan.returns`: stands for the result of this number."""

    result: int


@dataclass(frozen=True)
class GiveArgument:
    """In `Plan.returns`: stands for the argument of this number (containers do not count, what they hold does), as it came."""

    argument: int


@dataclass(frozen=True)
class Made:
    """In `Plan.returns`: what a call of `function` with these makes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """All about calling one step.

    `arguments` may be nested in tuples, named tuples, lists and dicts; the last `len(keywords)` of them are passed by name, in that order.
    `step` is its address and `keep` whatever must outlive it (the `load.Module`). `tensor` is the class of tensors, which hold their
    ndarray (or, of rank 0, perhaps a NumPy scalar) in slot `array`. `constants` are arrays whose addresses go to the table,
    `addresses` other entries ("callback"). `arena` is how many bytes go to table entry "arena". `returns` is any nesting of tuples, lists,
    dicts and `Made` around `Give`, `GiveArgument` and constants. `guards` are pairs of dims that must be equal, else the call is not for
    this plan. `gate` is an int64 array of one element: while it is not 0, no call is for this plan. `frozen` has a `table` of values
    that must be as they were (see `layout`), which is compared before every call, and a method `holds` that does the same. `release_gil` lets other
    Python threads run meanwhile (for steps of tens of microseconds and more); `calls_back` says that the step calls Python.
    """

    step: int
    table: Sequence[str]
    tensor: type
    arguments: Sequence[Any] = ()
    cells: Sequence[Cell] = ()
    results: Sequence[Result] = ()
    returns: Any = None
    sizes: Sequence[str] = ()
    guards: Sequence[tuple[Dim, Dim]] = ()
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    addresses: Mapping[str, int] = field(default_factory=dict)
    arena: Dim = 0
    array: str = "_array"
    gate: np.ndarray | None = None
    frozen: Any = None
    release_gil: bool = False
    calls_back: bool = False
    keywords: Sequence[str] = ()
    keep: tuple[Any, ...] = ()

    def leaves(self) -> list[Leaf]:
        """The arguments without their containers. TypeError for anything that is neither."""
        return [leaf for a in self.arguments for leaf in _leaves(a)]

    def locked(self) -> list[Any]:
        """The owners of cells whose groups a call locks: those it writes, if other Python threads run meanwhile."""
        return [c.owner for c in self.cells if c.write is not None or c.result is not None] if self.release_gil else []

    def position(self, owner: Owner) -> int:
        """The number of the leaf that an owner is. ValueError for one that is no argument."""
        for k, leaf in enumerate(self.leaves()):
            if leaf is owner:
                return k
        raise ValueError("the owner of a cell is none of the arguments")

    def slot(self, name: str) -> int:
        """The place of a table entry. ValueError if there is none."""
        try:
            return list(self.table).index(name)
        except ValueError:
            raise ValueError(f"the table has no entry {name!r}; it has {', '.join(self.table)}") from None


Leaf = Argument | Literal | Same | Owner


def is_container(tree: Any) -> bool:
    """Whether the launcher enters it: a tuple, named tuple, list or dict."""
    return type(tree) in (tuple, list, dict) or (isinstance(tree, tuple) and hasattr(tree, "_fields"))


def _leaves(tree: Any) -> list[Leaf]:
    if isinstance(tree, Leaf):
        return [tree]
    if is_container(tree):
        return [leaf for item in (tree.values() if type(tree) is dict else tree) for leaf in _leaves(item)]
    raise TypeError(f"an argument of a plan is an Argument, Literal, Same or Owner, or a tuple, list or dict of them, not {tree!r}")


def check(plan: Plan) -> None:
    """ValueError or TypeError for a plan that contradicts itself."""
    named = [a.slot for a in plan.leaves() if isinstance(a, Argument)] + [c.read for c in plan.cells] + [c.write for c in plan.cells]
    for name in [*named, *(r.slot for r in plan.results), *plan.constants, *plan.addresses, *plan.sizes]:
        if name is not None:
            plan.slot(name)
    for c in plan.cells:
        if c.result is not None and not 0 <= c.result < len(plan.results):
            raise ValueError(f"there is no result {c.result}; the plan has {len(plan.results)}")
    for r in plan.results:
        if r.delivered and plan.slot(r.slot) + len(r.shape) >= len(plan.table):
            raise ValueError(f"the table has no room for the sizes of {r.slot!r}: {len(r.shape)} entries must follow it")
    for array in plan.constants.values():
        if not array.flags.c_contiguous:
            raise ValueError("constants of a plan must be contiguous arrays")
    if plan.gate is not None and (plan.gate.dtype != np.int64 or plan.gate.size != 1):
        raise TypeError(f"the gate of a plan is an int64 array of one element, not {plan.gate.dtype}{list(plan.gate.shape)}")
