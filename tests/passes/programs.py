"""Programs with tapes that run eagerly and traced alike, and what it takes to compare the two."""

from __future__ import annotations

from typing import Any

import numpy as np

import tapejit as tf
from tapejit.function import function
from tapejit.ir import interpreter
from tapejit.ir.graph import Graph
from tapejit.passes import pipeline


def traced(f: Any, *args: Any) -> Any:
    """The concrete function that `f` is on arguments like `args`."""
    return function(f, autograph=False).get_concrete_function(*args)


def interpreted(concrete: Any, graph: Graph, *args: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """What `graph`, made from the graph of `concrete`, returns on `args`, and the cells afterwards."""
    cells = {name: v.numpy() for name, v in concrete.cells.items()}
    consts = {name: held if isinstance(held, np.ndarray) else held.numpy() for name, held in concrete.captured.items()}
    out = interpreter.run(graph, [a.numpy() for a in args], cells, consts)
    return concrete._packed(out), cells


def leaves(structure: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts as arrays; None stays."""
    if isinstance(structure, dict):
        structure = [structure[k] for k in sorted(structure)]
    if isinstance(structure, list | tuple):
        return [x for s in structure for x in leaves(s)]
    return [None if structure is None else np.asarray(structure)]


def agree(f: Any, *args: Any, variables: tuple[Any, ...] = (), tolerance: float = 1e-5) -> Graph:
    """Assert that `f` gives the same eagerly and traced, after each pass; returns the last graph."""
    start = [v.numpy() for v in variables]
    expected = leaves(f(*args))
    after = [v.numpy() for v in variables]
    for v, s in zip(variables, start, strict=True):
        v.assign(s)
    concrete = traced(f, *args)
    graph = concrete.traced
    for step in [p.__name__ for p in pipeline.PIPELINE]:
        graph = pipeline.run(concrete.traced, until=step)
        out, cells = interpreted(concrete, graph, *args)
        got = leaves(out)
        assert [g is None for g in got] == [e is None for e in expected], f"None after {step}: {got} eagerly {expected}"
        for g, e in zip(got, expected, strict=True):
            if e is not None:
                assert (g.dtype, g.shape) == (e.dtype, e.shape)
                np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance, err_msg=step)
        for name, v in concrete.cells.items():
            for w, a in zip(variables, after, strict=True):
                if w is v:
                    np.testing.assert_allclose(cells[name], a, rtol=tolerance, atol=tolerance)
    return graph


def constant(*values: Any) -> Any:
    return tf.constant(np.array(values, "float32"))
