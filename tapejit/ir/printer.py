"""The text of a graph: a Python function, one line per node, with types and the places the lines come from.

In: a graph whose names are unique (see `verifier`); out: text that `parser.parse` reads back and `execute.run_text` runs.

A line with one result carries its type, one with several lists their names; a `gradient` line is always a list (`dw, = ...`).
An attribute that has its default is left out. `size(x, 0)` lines say where named sizes come from, `assert` lines what is taken
to be equal. A nested graph is a `def` before the first line that uses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InternalError
from tapejit.core.places import Place
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.grammar import TRANSPOSES, bindings, float_text, infix_op, is_default, natural_dtype, number_text
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names, identifier

_WIDEST = 100  # lines longer than this do not push the column of places to the right


def text(graph: Graph) -> str:
    """The whole text of `graph`, ending in a newline."""
    printer = _Printer(graph)
    printer.function(graph, identifier(graph.name), 0, {}, set())
    lines = printer.lines
    column = max((len(code) for code, place in lines if place is not None and len(code) <= _WIDEST), default=0) + 2
    return "".join((code if place is None else f"{code:<{max(column, len(code) + 2)}}# {place}") + "\n" for code, place in lines)


def line(node: Node, functions: dict[int, str] | None = None) -> str:
    """One node as a line, without its place. `functions` gives nested graphs, by id, the names they are defined under."""
    code = _right_side(node, functions or {})
    if node.op is structure.assign:
        return f"state.{node.attrs['cell']} = {code}"
    if not node.outs:
        return code
    if len(node.outs) == 1 and node.op is not structure.gradient:
        return f"{node.out.name}: {node.out.type} = {code}"
    return f"{_listed([o.name for o in node.outs])} = {code}"


class _Printer:
    def __init__(self, graph: Graph) -> None:
        self.lines: list[tuple[str, Place | None]] = []
        self.names = Names()
        self._note_names(graph)

    def _note_names(self, graph: Graph) -> None:
        """Functions must not be called what a value, a size or a tape is called."""
        self.names.take(identifier(graph.name))
        for node in graph.walk():
            for name in (*(o.name for o in node.outs), *node.tapes, *_size_names([o.type for o in node.outs])):
                self.names.take(name)
            for g in node.graphs():
                self._note_parameters(g)
        self._note_parameters(graph)

    def _note_parameters(self, graph: Graph) -> None:
        for name in (*(p.name for p in graph.params), *_size_names([p.type for p in graph.params]), *_size_names(graph.cells.values())):
            self.names.take(name)

    def function(self, graph: Graph, name: str, depth: int, functions: dict[int, str], known: set[str]) -> None:
        """Append the `def` of a graph; `functions` are those defined around it, `known` the sizes."""
        indent = "    " * (depth + 1)
        params = ", ".join(f"{p.name}: {p.type}" for p in graph.params)
        self.lines.append((f"{'    ' * depth}def {name}({params}) -> {_result_types(graph)}:", graph.place))
        if depth == 0:  # nested graphs use the cells and constants declared here
            self.lines += [(f"{indent}state.{cell}: {type}", None) for cell, type in graph.cells.items()]
            self.lines += [(f"{indent}const.{const}: {type}", None) for const, type in graph.consts.items()]
        bound = bindings(graph, known)
        self.lines += [(f"{indent}{b.name} = {b.text}", None) for b in bound]
        inner = known | {b.name for b in bound}
        guards = self._guards(graph.guards, indent, inner)
        functions = dict(functions)
        tapes: tuple[str, ...] = ()
        for node in graph.body:
            if node.tapes != tapes:
                tapes = node.tapes
                if tapes:
                    self.lines.append((f"{indent}with {', '.join(tapes)}:", None))
            inside = depth + (2 if tapes else 1)
            for g in node.graphs():
                if id(g) not in functions:
                    functions[id(g)] = self.names.fresh(g.name)
                    self.function(g, functions[id(g)], inside, functions, inner)
            self.lines.append(("    " * inside + line(node, functions), node.place))
            if node.op.binds_size:
                inner |= {o.name for o in node.outs}
                guards = self._guards(guards, "    " * inside, inner)
        self.lines += [(f"{indent}assert {a} == {b}", None) for a, b in guards]  # of sizes that nothing binds, which is an error to be seen
        self.lines.append((f"{indent}return {', '.join(r.name for r in graph.results)}".rstrip(), None))

    def _guards(self, guards: list[tuple[Dim, Dim]], indent: str, known: set[str]) -> list[tuple[Dim, Dim]]:
        """Append what is taken to be equal as soon as its sizes are known; returns the rest."""
        due = [(a, b) for a, b in guards if sizes.names(a) | sizes.names(b) <= known]
        self.lines += [(f"{indent}assert {a} == {b}", None) for a, b in due]
        return [g for g in guards if g not in due]


def _size_names(types: Any) -> list[str]:
    return [name for t in types for d in t.shape for name in sorted(sizes.names(d))]


def _result_types(graph: Graph) -> str:
    types = [str(r.type) for r in graph.results]
    return "None" if not types else types[0] if len(types) == 1 else f"({', '.join(types)})"


def _listed(items: list[str]) -> str:
    return ", ".join(items) + ("," if len(items) == 1 else "")


def _operand(x: Operand, bare: DType) -> str:
    """An operand; a literal is bare where the line gives it its dtype, and always where it is True or False."""
    if isinstance(x, Value):
        return x.name
    return number_text(x.value, x.dtype) if x.dtype is bare or x.dtype is dtypes.bool_ else _typed(x)


def _typed(x: Literal) -> str:
    """`i64(3)`: a literal with its dtype."""
    return f"{x.dtype.short}({number_text(x.value, x.dtype)})"


def _right_side(node: Node, functions: dict[int, str]) -> str:
    op, attrs = node.op, node.attrs
    bare = structure.literal_dtype(node.args)
    args = [_operand(a, bare) for a in node.args]
    if op is structure.read:
        return f"state.{attrs['cell']}"
    if op is structure.const:
        return f"const.{attrs['const']}"
    if op is structure.assign:
        return args[0]
    if op is structure.dim:
        return _call("dim", [str(attrs["size"])], {"dtype": attrs["dtype"]} if attrs["dtype"] is not dtypes.int32 else {}, functions)
    if op is structure.constant:
        value = attrs["value"]
        given = {"dtype": attrs["dtype"]} if attrs["dtype"] is not natural_dtype(_as_kind(value, attrs["dtype"])) else {}
        return _call("constant", [_array(value, attrs["dtype"])], given, functions)
    if op is structure.watch:
        return f"{attrs['tape']}.watch({'state.' + attrs['cell'] if attrs.get('cell') else args[0]})"
    if op is structure.gradient:
        return _gradient(attrs, args)
    given = {k: v for k, v in attrs.items() if not is_default(op, k, v)}
    literals = [a for a in node.args if isinstance(a, Literal)]
    if args and len(literals) == len(args):
        args[0] = _typed(literals[0])  # so that Python, too, takes it for an op: `complex(f32(1.0), 2.0)`
    infix = _infix(node, args, given)
    return infix if infix is not None else _call(op.name, args, given, functions)


def _infix(node: Node, args: list[str], given: dict[str, Any]) -> str | None:
    """`x * y` if the line can be written so: two operands, not both literals, no attributes but transposes of `@`."""
    symbol = node.op.symbol
    if not symbol or len(args) != 2 or infix_op(symbol) is not node.op or all(isinstance(a, Literal) for a in node.args):
        return None
    if symbol == "@":
        args = [a + ".T" if given.get(t) is True else a for a, t in zip(args, TRANSPOSES, strict=True)]
        given = {k: v for k, v in given.items() if k not in TRANSPOSES or v is not True}
    if given:
        return None
    left = f"({args[0]})" if symbol == "**" and args[0].startswith("-") else args[0]  # -2.0 ** x is -(2.0 ** x)
    return f"{left} {symbol} {args[1]}"


def _gradient(attrs: dict[str, Any], args: list[str]) -> str:
    targets = ", ".join(args[: attrs["targets"]])
    sources = ", ".join(args[s] if isinstance(s, int) else s for s in attrs["sources"])
    seeds = ["None" if s is None else args[s] for s in attrs["seeds"]]
    given = f", output_gradients=[{', '.join(seeds)}]" if any(s is not None for s in attrs["seeds"]) else ""
    return f"{attrs['tape']}.gradient([{targets}], [{sources}]{given})"


def _call(name: str, args: list[str], attrs: dict[str, Any], functions: dict[int, str]) -> str:
    return f"{name}({', '.join(args + [f'{k}={attribute(v, functions)}' for k, v in attrs.items()])})"


def _array(value: Any, dtype: DType) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_array(v, dtype) for v in value)}]"
    return number_text(value, dtype)


def _as_kind(value: Any, dtype: DType) -> Any:
    """A written-out array with its numbers as the Python type that `number_text` prints for `dtype`."""
    if isinstance(value, (tuple, list)):
        return tuple(_as_kind(v, dtype) for v in value)
    return {"b": bool, "i": int, "u": int, "f": float, "c": complex}[dtype.kind](value)


def attribute(value: Any, functions: dict[int, str] | None = None) -> str:
    """An attribute as Python. InternalError for what the text has no form for."""
    match value:
        case np.generic() if not isinstance(value, (float, complex, str)):
            return attribute(value.item(), functions)
        case None | bool() | int() | str() | bytes() | sizes.Size():
            return str(value) if isinstance(value, sizes.Size) else repr(value)
        case float():
            return float_text(value, dtypes.float64)
        case complex():
            return number_text(value, dtypes.complex128)
        case DType():
            return value.short
        case Type():
            return str(value) if value.shape else f"{value}[()]"  # a bare `f32` is the dtype
        case Literal():
            return _typed(value)
        case Graph():
            return (functions or {}).get(id(value), identifier(value.name))
        case tuple():
            return f"({_listed([attribute(v, functions) for v in value])})"
        case list():
            return f"[{', '.join(attribute(v, functions) for v in value)}]"
    if value is Ellipsis:
        return "..."
    raise InternalError(
        f"an attribute of type {type(value).__name__} has no text: {value!r}; use numbers, strings, dtypes, sizes, tuples or graphs"
    )
