"""`tf.function.from_text`: the text of a graph made a function that can be called.

In: the text, and what its cells and constants stand for. Out: a `Function` with one trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from inspect import Signature as PythonSignature
from typing import Any, cast

import optree

from tapejit.concrete import ConcreteFunction
from tapejit.core import places, sizes
from tapejit.core.sizes import Dim
from tapejit.function import Function
from tapejit.ir.parser import allows, parse
from tapejit.spec import TensorSpec
from tapejit.tensor import convert_to_tensor
from tapejit.tracing import Recording
from tapejit.variable import Variable


def from_text(text: str, state: Mapping[str, Variable] | None = None, consts: Mapping[str, Any] | None = None) -> Function:
    """The function that a graph's text describes, as `print(f.show())` wrote it or as it was edited since.

    `state` gives the variable behind each `state.x`, `consts` the array behind each `const.x`. InvalidArgumentError names the line of a
    text that is no graph; ValueError a cell or constant that is not given.
    """
    graph = parse(text)
    state, consts = dict(state or {}), {k: convert_to_tensor(v) for k, v in (consts or {}).items()}
    for what, declared, given in (("state", graph.cells, state), ("const", graph.consts, consts)):
        for name in declared:
            if name not in given:
                raise ValueError(
                    places.with_place(
                        f"{graph.name} uses {what}.{name}; write from_text(text, {'state' if what == 'state' else 'consts'}={{{name!r}: ...}})"
                    )
                )

        for name, t in graph.cells.items() if what == "state" else ():
            have = state[name].cell_type()
            if not allows(t, have):
                raise ValueError(places.with_place(f"{graph.name} declares state.{name}: {t}, but the variable given for it is {have}"))

    def body(*args: Any) -> Any:
        raise NotImplementedError(f"{graph.name} was made from text and has no Python to run eagerly")

    body.__name__ = graph.name
    body.__signature__ = PythonSignature([Parameter(p.name, Parameter.POSITIONAL_ONLY) for p in graph.params])  # type: ignore[attr-defined]
    specs = [TensorSpec([d if isinstance(d, int) else _named(d) for d in p.type.shape], p.type.dtype, p.name) for p in graph.params]
    out = Function(body, specs, name=graph.name)
    count = len(graph.results)
    tree = optree.tree_structure(cast(Any, 0 if count == 1 else (0,) * count if count else None), none_is_leaf=True)
    recording = Recording(graph, state, consts, list(range(count)) if count else [None], tree)
    out.adopt(ConcreteFunction(graph.name, out.signature, out.signature.of_specs(), recording))
    return out


def _named(d: Dim) -> str | None:
    """The name of a size that is nothing but a name; None, an open size, for any other."""
    (name,) = found if len(found := sizes.names(d)) == 1 else ("",)
    return name if name and d == sizes.named(name) else None
