"""The graph of objects behind a checkpoint: variables at its ends, attributes, list positions and dict keys on its edges.

Matching goes along edges, not by names, so a checkpoint fits a program whose variables have other names, and objects that are reached
along several ways are stored once.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapejit.variable import Variable, variable_behind

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # how TensorFlow ends the names of values


def is_leaf(x: Any) -> bool:
    """Whether it has a value of its own: a variable, or what says how its state becomes an array (`saved_state`)."""
    return isinstance(x, Variable) or hasattr(x, "saved_state")


def itself(x: Any) -> Any:
    """The variable that `x` stands for, if it wraps one in `_value` as Keras's variables do; else `x`."""
    inner = None if isinstance(x, Variable) else getattr(x, "_value", None)
    return inner if isinstance(inner, Variable) else x


def is_trackable(x: Any) -> bool:
    """Whether a checkpoint looks into it."""
    x = itself(x)
    if isinstance(x, type) or x is None:
        return False
    return is_leaf(x) or isinstance(x, list | tuple | Mapping) or hasattr(type(x), "_trackable_children") or hasattr(type(x), "variables")


def children(x: Any) -> Iterator[tuple[str, Any]]:
    """What an object refers to, by edge: its own answer (`_trackable_children()`), positions, keys or attributes. Where something stands
    for a variable, that variable.
    """
    yield from ((edge, variable_behind(child)) for edge, child in _referred(x))


def _referred(x: Any) -> Iterator[tuple[str, Any]]:
    if is_leaf(x):
        return
    found: Iterable[tuple[Any, Any]]
    if hasattr(type(x), "_trackable_children"):
        found = x._trackable_children().items()
    elif isinstance(x, Mapping):
        found = x.items()
    elif isinstance(x, list | tuple):
        found = enumerate(x)
    else:
        found = ((k, v) for k, v in vars(x).items() if not k.startswith("_self_"))
    yield from ((str(k), itself(v)) for k, v in found)


@dataclass
class Node:
    """An object in a graph that is saved: edges to others by number, and the name under which its value is stored, if it has one."""

    edges: dict[str, int] = field(default_factory=dict)
    key: str | None = None


def graph_of(root: Any) -> tuple[list[Node], list[Any]]:
    """The nodes that can be reached from `root`, number 0, shortest ways first, and their objects. What leads to no value is left out."""
    nodes, objects, paths = [Node()], [root], [""]
    number = {id(root): 0}
    waiting = deque([0])
    while waiting:
        at = waiting.popleft()
        for edge, child in children(objects[at]):
            if not is_trackable(child):
                continue
            if id(child) not in number:
                number[id(child)] = len(nodes)
                waiting.append(len(nodes))
                nodes.append(Node())
                objects.append(child)
                paths.append(f"{paths[at]}/{_escaped(edge)}".lstrip("/"))
                if is_leaf(child):
                    nodes[-1].key = paths[-1] + _VALUE
            nodes[at].edges[edge] = number[id(child)]
    return _useful(nodes, objects)


def _useful(nodes: list[Node], objects: list[Any]) -> tuple[list[Node], list[Any]]:
    """Without the nodes from which no value is reached."""
    towards: list[list[int]] = [[] for _ in nodes]
    for k, node in enumerate(nodes):
        for child in node.edges.values():
            towards[child].append(k)
    kept = {0}
    waiting = [k for k, node in enumerate(nodes) if node.key is not None]
    while waiting:
        k = waiting.pop()
        if k not in kept or k == 0:
            kept.add(k)
            waiting += [parent for parent in towards[k] if parent not in kept]
    new = {old: k for k, old in enumerate(sorted(kept))}
    listed = [Node({e: new[c] for e, c in nodes[old].edges.items() if c in new}, nodes[old].key) for old in sorted(kept)]
    return listed, [objects[old] for old in sorted(kept)]


def _escaped(edge: str) -> str:
    """An edge in a name whose parts are separated by slashes."""
    return edge.replace(".", "..").replace("/", ".S")


def text_of(nodes: list[Node]) -> str:
    """The graph as text."""
    return json.dumps([{"edges": n.edges, "key": n.key} if n.key else {"edges": n.edges} for n in nodes])


def parsed(text: str) -> list[Node]:
    """The graph of a text."""
    return [Node(n["edges"], n.get("key")) for n in json.loads(text)]


def from_names(names: Iterator[str]) -> list[Node]:
    """The graph in which every part of a name is an edge, for files that hold no graph."""
    nodes = [Node()]
    for name in names:
        at = 0
        for part in name.removesuffix(_VALUE).split("/"):
            edge = part.replace(".S", "/").replace("..", ".")
            if edge not in nodes[at].edges:
                nodes[at].edges[edge] = len(nodes)
                nodes.append(Node())
            at = nodes[at].edges[edge]
        nodes[at].key = name
    return nodes


def value_of(x: Any) -> np.ndarray:
    """The value of a leaf."""
    return x.saved_state() if hasattr(x, "saved_state") else np.asarray(x._value.numpy_view())
