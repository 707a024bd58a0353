"""What must hold for every graph, and how a graph for which it does not is made smaller and written down.

`check(graph, setting)` raises `Failure`, which names the property. `shrunk` drops lines, results and parameters as long as the same
property fails. `case_text` writes a graph with its arrays as a file that `read_case` reads back: Python comments, then the graph's text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.ir import structure
from tapejit.ir.grammar import bindings
from tapejit.ir.graph import Graph, Value, substituted
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.ir.verifier import verify
from tapejit.passes import pipeline
from tapejit.passes.prune import prune
from tapejit.tensor import EagerTensor
from tests.fuzz import meaning
from tests.fuzz.meaning import Bounds, Native, Outcome, Setting


class Failure(AssertionError):
    """A property that does not hold."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class Undetermined(Exception):
    """Rounding decides about shapes or errors of this graph, so nothing can be compared."""


def _holds(name: str, differences: list[str]) -> None:
    if differences:
        raise Failure(name, "\n    ".join(differences))


def check(graph: Graph, setting: Setting, native: bool = False) -> None:
    """Every property of a graph that runs on `setting`: `native` with the compiled step too."""
    _try("verify", lambda: verify(graph))
    written = _try("print", lambda: text(graph))
    again = _try("parse", lambda: verify(parse(written)))
    if text(again) != written:
        raise Failure("round trip", f"printed again it is\n{text(again)}")
    expected = meaning.eagerly(graph, setting)
    stages: list[tuple[str, Graph]] = []
    _try("passes", lambda: pipeline.run(again, lambda name, before, after: stages.append((name, after))))
    bounds = None
    for name, stage in stages:
        if bounds is None:
            bounds = _try(name, lambda: Bounds(stage, setting))
            if not bounds.determined:
                raise Undetermined
            _holds(f"eager tapes and {name}", bounds.differences(expected))
            python = _try("text as Python", lambda: meaning.as_python(text(stage), stage, setting))
            _holds("text as Python", bounds.differences(python, exact=True))
        else:
            _holds(name, bounds.differences(_try(name, lambda: meaning.interpreted(stage, setting))))
    if native:
        found: Outcome = _try("compile", lambda: Native(again))
        found = _try("run", lambda: found(setting))
        _holds("compiled", bounds.differences(found))


def _try(name: str, f: Any) -> Any:
    """What `f` gives. An exception is a failure of the property `name` and of the kind that it is."""
    try:
        return f()
    except (Failure, Undetermined):
        raise
    except Exception as e:
        said = re.sub(r"\d+", "#", str(e).split("\n")[0])[:60]
        raise Failure(f"{name} ({type(e).__name__} {said})", str(e)) from e


# ------------------------------------------------------------------------------------------------ shrinking
def shrunk(graph: Graph, setting: Setting, native: bool, name: str, most: int = 1500) -> tuple[Graph, Setting]:
    """A smaller graph for which the property `name` fails too."""
    left = most
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(graph, setting):
            left -= 1
            if left < 0:
                return graph, setting
            if _fails(*candidate, native, name):
                graph, setting = candidate
                progress = True
                break
    return graph, setting


def _fails(graph: Graph, setting: Setting, native: bool, name: str) -> bool:
    try:
        check(graph, setting, native)
    except Failure as e:
        return e.name == name
    except Exception:  # no longer a graph that runs
        return False
    return False


def _smaller(graph: Graph, setting: Setting) -> Iterator[tuple[Graph, Setting]]:
    """Graphs with a result, a line or a parameter less; results of a line that goes become parameters where they are used."""
    with suppress(Exception):
        less = prune(graph)
        if _lines(less) < _lines(graph):
            yield _tidy(less, setting)
    if len(graph.results) > 1:
        for k in range(len(graph.results)):
            yield _tidy(replace(graph, results=[graph.results[k]]), setting)
        for k in range(len(graph.results)):
            yield _tidy(replace(graph, results=graph.results[:k] + graph.results[k + 1 :]), setting)
    tensors = _tensors(graph, setting)
    for k in reversed(range(len(graph.body))):
        node = graph.body[k]
        body = graph.body[:k] + graph.body[k + 1 :]
        used = {id(v) for v in replace(graph, body=body).uses()}
        wanted = [o for o in node.outs if id(o) in used]
        if all(id(o) in tensors for o in wanted) and not node.op.binds_size:
            args = setting.args | {o.name: tensors[id(o)].numpy() for o in wanted}
            yield _tidy(replace(graph, body=body, params=[*graph.params, *wanted]), replace(setting, args=args))
        for other in _same_types(graph, k):
            yield _tidy(other, setting)
    for k, node in enumerate(graph.body):
        if node.tapes:
            yield graph.with_body([*graph.body[:k], replace(node, tapes=()), *graph.body[k + 1 :]]), setting
        for key, inner in node.attrs.items():
            if isinstance(inner, Graph):
                for small in _smaller_nested(inner):
                    yield _tidy(
                        graph.with_body([*graph.body[:k], replace(node, attrs=node.attrs | {key: small}), *graph.body[k + 1 :]]), setting
                    )
    if graph.guards:
        yield replace(graph, guards=[]), setting


def _lines(graph: Graph) -> int:
    return len(text(graph).split("\n"))


def _same_types(graph: Graph, k: int) -> Iterator[Graph]:
    """Line `k` gone, its result replaced by an earlier value of its type."""
    node = graph.body[k]
    if len(node.outs) != 1:
        return
    earlier = [*graph.params, *(o for n in graph.body[:k] for o in n.outs)]
    for v in [v for v in earlier if v.type == node.out.type][-2:]:
        yield _replaced(graph, k, v)


def _replaced(graph: Graph, k: int, v: Value) -> Graph:
    out = graph.body[k].out

    def now(x: Value) -> Value:
        return v if x is out else x

    return graph.with_body([substituted(n, now) for i, n in enumerate(graph.body) if i != k], [now(r) for r in graph.results])


def _smaller_nested(graph: Graph) -> Iterator[Graph]:
    for k in reversed(range(len(graph.body))):
        used = {id(v) for v in graph.with_body(graph.body[:k] + graph.body[k + 1 :]).uses()}
        if not any(id(o) in used for o in graph.body[k].outs):
            yield graph.with_body(graph.body[:k] + graph.body[k + 1 :])
        yield from _same_types(graph, k)


def _tidy(graph: Graph, setting: Setting) -> tuple[Graph, Setting]:
    """Without parameters, cells and constants that nothing needs."""
    used = {id(v) for v in graph.uses()}
    cells = {n.attrs["cell"] for n in graph.walk() if n.op in (structure.read, structure.assign, structure.watch) and n.attrs.get("cell")}
    cells |= {
        s.removeprefix("state.") for n in graph.walk() if n.op is structure.gradient for s in n.attrs["sources"] if isinstance(s, str)
    }
    consts = {n.attrs["const"] for n in graph.walk() if n.op is structure.const}
    cells_kept = {c: t for c, t in graph.cells.items() if c in cells}
    consts_kept = {c: t for c, t in graph.consts.items() if c in consts}
    for needed in (set(), {id(p) for p in graph.params if any(str(d).isidentifier() for d in p.type.shape)}):
        params = [p for p in graph.params if id(p) in used | needed]
        kept = _declared(replace(graph, params=params), cells_kept, consts_kept)
        bound = {b.name for b in bindings(kept)} | {n.out.name for n in kept.walk() if n.op.binds_size}
        if needed == set():
            kept.guards = [g for g in kept.guards if sizes.names(g[0]) | sizes.names(g[1]) <= bound]
        spoken = {n for v in meaning.values(kept) for d in v.type.shape for n in sizes.names(d)}
        with suppress(Exception):
            if spoken <= bound:
                verify(kept)
                return kept, Setting(
                    {p.name: setting.args[p.name] for p in params},
                    {c: setting.cells[c] for c in kept.cells},
                    {c: setting.consts[c] for c in kept.consts},
                )
    return graph, setting


def _declared(graph: Graph, cells: dict[str, Any], consts: dict[str, Any]) -> Graph:
    """The function with other cells and constants, which nested ones share."""
    body = [
        replace(n, attrs={k: _declared(a, cells, consts) if isinstance(a, Graph) else a for k, a in n.attrs.items()}) for n in graph.body
    ]
    return replace(graph, cells=cells, consts=consts, body=body)


def _tensors(graph: Graph, setting: Setting) -> dict[int, Any]:
    """What every value of the function is, by id; nothing if it does not run."""
    import tapejit as tf
    from tapejit.ir import interpreter

    with suppress(Exception):
        named = interpreter.bind_sizes(graph, [a.shape for a in setting.of(graph)], {c: a.shape for c, a in setting.cells.items()})
        at = meaning.Eager(
            {c: tf.Variable(a, dtype=graph.cells[c].dtype) for c, a in setting.cells.items()},
            {c: EagerTensor(a) for c, a in setting.consts.items()},
            named,
        )
        at.run(graph, [EagerTensor(a) for a in setting.of(graph)])
        return at.tensors
    return {}


# ------------------------------------------------------------------------------------------------ cases
def case_text(graph: Graph, setting: Setting, about: str = "") -> str:
    """The file of a case."""
    rows = [f"# {line}".rstrip() for line in about.splitlines()]
    for prefix, arrays in (("", setting.args), ("state.", setting.cells), ("const.", setting.consts)):
        rows += [f"#: {prefix}{name} = {json.dumps(_listed(a))}" for name, a in arrays.items()]
    return "\n".join(rows) + "\n" + text(graph)


def read_case(source: str) -> tuple[Graph, Setting]:
    """The graph and the arrays of a case."""
    graph, setting = parse(source), Setting()
    types = (
        {p.name: p.type for p in graph.params}
        | {f"state.{c}": t for c, t in graph.cells.items()}
        | {f"const.{c}": t for c, t in graph.consts.items()}
    )
    for name, listed in re.findall(r"^#: (\S+) = (.*)$", source, re.MULTILINE):
        x = np.asarray(json.loads(listed), np.float64 if types[name].dtype.kind in "fc" else None)
        if types[name].dtype.kind == "c" and x.size:
            x = x[..., 0] + 1j * x[..., 1]
        array = x.reshape(x.shape if x.size else _emptied(types[name], x.shape)).astype(types[name].dtype.np)
        kind, _, rest = name.partition(".")
        {"state": setting.cells, "const": setting.consts}.get(kind if rest else "", setting.args)[rest or name] = array
    return graph, setting


def _emptied(t: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an empty array, of which lists show the axes up to the first empty one."""
    return tuple(shape[k] if k < len(shape) else d if isinstance(d, int) else 0 for k, d in enumerate(t.shape))


def _listed(x: np.ndarray) -> Any:
    if x.dtype.kind == "c":
        return np.stack([x.real, x.imag], -1).astype(np.float64).tolist()
    return (x if x.dtype.kind in "biu" else x.astype(np.float64)).tolist()
