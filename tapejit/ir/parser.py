"""Reads the text of a graph back. In: what `printer.text` writes, or what a person edited; out: the `Graph`.

The text is Python, so `ast` does the reading. Types are inferred again by each op, and what the text says has to agree.
Every error is an InvalidArgumentError that begins with the number of the line and says what was expected there.
"""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from tapejit.core import dtypes, sizes, types
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import Builder, number
from tapejit.ir.grammar import SYMBOLS, TRANSPOSES, Equalities, bindings, defaults, infix_op, natural_dtype
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import is_reserved
from tapejit.ir.op import OPS

_PLACE = re.compile(r".*\s#\s*(\S.*):(\d+)\s*$")  # the last "#": a string may hold another
_STRUCTURE = (structure.read, structure.assign, structure.const, structure.watch, structure.gradient)  # have a syntax of their own


def parse(text: str) -> Graph:
    """The graph that `text`, one `def`, describes. InvalidArgumentError names the line that cannot be understood."""
    source = textwrap.dedent(text)
    try:
        body = ast.parse(source).body
    except SyntaxError as e:
        raise InvalidArgumentError(f"line {e.lineno}: this is no Python: {e.msg}: {(e.text or '').strip()}") from None
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise InvalidArgumentError(
            f"the text of a graph is one `def`, got {len(body)} statements: {', '.join(type(s).__name__ for s in body)}"
        )
    return _Parser(source.split("\n")).function(body[0], None)


class _Scope:
    """A function while it is read: its values and nested functions by name, and the function around it."""

    def __init__(self, graph: Graph, outer: _Scope | None) -> None:
        self.graph, self.outer = graph, outer
        self.values: dict[str, Value] = {}
        self.functions: dict[str, Graph] = {}
        self.sizes: set[str] = set(outer.sizes) if outer else set()

    def around(self) -> Iterator[_Scope]:
        scope: _Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    @property
    def equal(self) -> Equalities:
        return Equalities(g for s in self.around() for g in s.graph.guards)


class _Parser:
    def __init__(self, rows: list[str]) -> None:
        self.rows = rows
        self.defined: dict[str, int] = {}  # name -> line, over the whole function and those nested in it
        self.tapes: dict[str, int] = {}  # tape -> the line that names it first

    def fail(self, at: ast.AST | int, message: str) -> NoReturn:
        lineno = at if isinstance(at, int) else getattr(at, "lineno", 1)
        raise InvalidArgumentError(f"line {lineno}: {message}\n    {self.rows[lineno - 1].strip()}") from None

    def place(self, node: ast.stmt) -> Place | None:
        """The place behind the last row of a line, or of the head of a `def`."""
        row = (node.returns.end_lineno if node.returns else None) if isinstance(node, ast.FunctionDef) else node.end_lineno
        found = _PLACE.match(self.rows[(row or node.lineno) - 1])
        return Place(found[1], int(found[2])) if found else None

    # ------------------------------------------------------------------------------------- functions
    def function(self, definition: ast.FunctionDef, outer: _Scope | None) -> Graph:
        graph = Graph(definition.name, place=self.place(definition))
        if outer is not None:
            graph.cells, graph.consts = outer.graph.cells, outer.graph.consts
        scope = _Scope(graph, outer)
        arguments = definition.args
        if (
            arguments.vararg
            or arguments.kwarg
            or arguments.kwonlyargs
            or arguments.defaults
            or arguments.posonlyargs
            or definition.decorator_list
        ):
            self.fail(definition, "a graph has plain parameters with types and nothing more: `def f(x: f32[3]) -> f32:`")
        for a in arguments.args:
            if a.annotation is None:
                self.fail(a, f"parameter {a.arg} has no type; write for example {a.arg}: f32[3]")
            type = self.type(a.annotation)
            scope.sizes |= _names(type)
            graph.params.append(self.define(scope, a.arg, type, a))
        statements = list(definition.body)
        written_sizes: list[tuple[str, ast.Assign]] = []
        while statements and self.declaration(statements[0], scope, written_sizes):
            statements.pop(0)
        self.check_sizes(scope, written_sizes)
        if not statements or not isinstance(statements[-1], ast.Return):
            self.fail(definition.end_lineno or definition.lineno, f"{definition.name} has to end with a `return` line")
        for s in statements[:-1]:
            self.statement(s, scope, ())
        self.results(statements[-1], definition, scope)
        return graph

    def results(self, returned: ast.Return, definition: ast.FunctionDef, scope: _Scope) -> None:
        listed = returned.value.elts if isinstance(returned.value, ast.Tuple) else [returned.value] if returned.value is not None else []
        scope.graph.results = [self.value(e, scope) for e in listed]
        written = definition.returns
        if written is None:
            self.fail(definition, f"{definition.name} does not say what it returns; write -> f32, -> (f32, f32[B]) or -> None")
        if isinstance(written, ast.Constant) and written.value is None:
            annotated = []
        else:
            annotated = [self.type(t) for t in (written.elts if isinstance(written, ast.Tuple) else [written])]
        if len(annotated) != len(scope.graph.results):
            self.fail(returned, f"{definition.name} returns {len(scope.graph.results)} values, but its `def` line says {len(annotated)}")
        equal = scope.equal
        for v, t in zip(scope.graph.results, annotated, strict=True):
            if v.type != t and not equal.same_type(v.type, t):
                self.fail(returned, f"{v.name} is {v.type}, but the `def` line of {definition.name} says it returns {t}")

    def declaration(self, s: ast.stmt, scope: _Scope, written_sizes: list[tuple[str, ast.Assign]]) -> bool:
        """Take in a line of the head of a function; False if `s` is none."""
        graph = scope.graph
        match s:
            case ast.AnnAssign(
                target=ast.Attribute(value=ast.Name(id="state" | "const" as kind), attr=name), annotation=annotation, value=None
            ):
                if scope.outer is not None:
                    self.fail(s, f"{kind}.{name} has to be declared in the outermost function")
                declared = graph.cells if kind == "state" else graph.consts
                if name in declared:
                    self.fail(s, f"{kind}.{name} is declared twice")
                declared[name] = self.type(annotation)
                scope.sizes |= _names(declared[name])
                return True
            case ast.Assign(targets=[ast.Name(id=name)]):
                written_sizes.append((name, s))
                return True
            case ast.Assert(test=ast.Compare(left=a, ops=[ast.Eq()], comparators=[b])):
                graph.guards.append((self.size(a, scope), self.size(b, scope)))
                return True
        return False

    def check_sizes(self, scope: _Scope, written: list[tuple[str, ast.Assign]]) -> None:
        """The lines `B = size(x, 0)` follow from the types; they must say the same."""
        known = scope.outer.sizes if scope.outer else set()
        expected = {b.name: b for b in bindings(scope.graph, known)}
        for name, s in written:
            if name not in expected:
                self.fail(s, f"{name} is no size that a parameter or cell of {scope.graph.name} has")
            right = expected[name].text
            if ast.unparse(s.value) != ast.unparse(ast.parse(right, mode="eval")):
                self.fail(s, f"by the types above, {name} = {right}")

    # ------------------------------------------------------------------------------------------ lines
    def statement(self, s: ast.stmt, scope: _Scope, tapes: tuple[str, ...]) -> None:
        match s:
            case ast.FunctionDef():
                graph = self.function(s, scope)
                self.note(s.name, s)
                scope.functions[s.name] = graph
            case ast.With(items=items, body=body):
                opened = tuple(self.tape(i.context_expr) for i in items)
                for inner in body:
                    self.statement(inner, scope, tapes + opened)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value) if value is not None:
                written = self.type(annotation)
                if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id in ("state", "const"):
                    node = self.held(value, written, scope, s)
                else:
                    node = self.operation(value, scope, s)
                if node.op is structure.gradient:
                    self.fail(s, f"gradients are a list; write {name}, = ...")
                self.finish(node, [name], written, scope, tapes, s)
            case ast.Assert(test=ast.Compare(left=a, ops=[ast.Eq()], comparators=[b])):
                scope.graph.guards.append((self.size(a, scope), self.size(b, scope)))
            case ast.AnnAssign() | ast.Assert() | ast.Assign(targets=[ast.Name()]):
                self.fail(s, "declarations come first and lines have types: `h: f32[B, 10] = tanh(x)`")
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="state"), attr=cell)], value=value):
                if cell not in scope.graph.cells:
                    self.unknown(s, f"state.{cell}", [f"state.{c}" for c in scope.graph.cells])
                (arg,) = self.operands([value], scope, s)
                self.finish(Node(structure.assign, (arg,), {"cell": cell}, ()), [], None, scope, tapes, s)
            case ast.Assign(targets=[ast.Tuple(elts=elts)], value=value) if all(isinstance(e, ast.Name) for e in elts):
                node = self.operation(value, scope, s)
                if len(elts) == 1 and node.op is not structure.gradient:
                    self.fail(s, "a line with one result has its type: `y: f32[3] = ...`")
                self.finish(node, [e.id for e in elts if isinstance(e, ast.Name)], None, scope, tapes, s)
            case ast.Expr(value=ast.Call() as value):
                self.finish(self.operation(value, scope, s), [], None, scope, tapes, s)
            case _:
                self.fail(
                    s,
                    f"{type(s).__name__} is no line of a graph; expected `name: type = op(...)`, `state.x = y`, `with tape:` or a nested `def`",
                )

    def finish(self, node: Node, names: list[str], written: Type | None, scope: _Scope, tapes: tuple[str, ...], s: ast.stmt) -> None:
        """Infer the types of a line, compare with what is written, and add it."""
        try:
            inferred, assumed = Builder.types(node.op, node.args, node.attrs)
        except (ValueError, TypeError, LookupError, AttributeError) as e:
            self.fail(s, f"{e}")
        if len(inferred) != len(names):
            self.fail(s, f"{node.op.name} has {len(inferred)} results, but the line names {len(names)}")
        guards, equal = scope.graph.guards, scope.equal
        for a, b in assumed:
            if not equal.same(a, b):
                guards.append((a, b))
                equal.add(a, b)
        if written is not None and inferred[0] != written:
            if not equal.same_type(inferred[0], written):
                self.fail(s, f"{names[0]} is {inferred[0]}, but the text says {written}")
            inferred = (written,)
        node.outs = tuple(self.define(scope, n, t, s, size=node.op.binds_size) for n, t in zip(names, inferred, strict=True))
        if node.op.binds_size:
            scope.sizes |= set(names)
        node.place, node.tapes = self.place(s), tapes
        scope.graph.body.append(node)

    def held(self, value: ast.Attribute, written: Type, scope: _Scope, s: ast.stmt) -> Node:
        """A read of `state.x` or `const.x`; the written type is that of the value, which the declared one must allow."""
        assert isinstance(value.value, ast.Name)
        kind, name = value.value.id, value.attr
        declared = scope.graph.cells if kind == "state" else scope.graph.consts
        if name not in declared:
            self.unknown(s, f"{kind}.{name}", [f"{kind}.{n}" for n in declared])
        if not allows(declared[name], written):
            self.fail(s, f"{kind}.{name} is declared as {declared[name]}, but the text says {written}")
        if kind == "state":
            return Node(structure.read, (), {"cell": name, "type": written}, ())
        return Node(structure.const, (), {"const": name, "type": written}, ())

    def operation(self, e: ast.expr, scope: _Scope, s: ast.stmt) -> Node:
        """The node that a right side describes, without results."""
        match e:
            case ast.BinOp(left=left, op=operator, right=right) | ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self.infix(operator, left, right, scope, s)
            case ast.Call(func=ast.Attribute(value=tape, attr="watch"), args=[watched], keywords=[]):
                attrs: dict[str, Any] = {"tape": self.tape(tape)}
                cell = self.cell(watched, scope)
                if cell is not None:
                    return Node(structure.watch, (), attrs | {"cell": cell}, ())
                return Node(structure.watch, (self.value(watched, scope),), attrs | {"cell": ""}, ())
            case ast.Call(
                func=ast.Attribute(value=tape, attr="gradient"), args=[ast.List(elts=targets), ast.List(elts=sources)], keywords=keywords
            ):
                return self.gradient(self.tape(tape), targets, sources, keywords, scope, s)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self.call(name, args, keywords, scope, s)
        self.fail(
            s, f"`{ast.unparse(e)}` is no right side of a line; expected `op(...)`, `x + y`, `state.x` or `tape.gradient([...], [...])`"
        )

    def infix(self, operator: ast.AST, left: ast.expr, right: ast.expr, scope: _Scope, s: ast.stmt) -> Node:
        symbol = SYMBOLS.get(type(operator), type(operator).__name__)
        op = infix_op(symbol)
        if op is None:
            self.fail(s, f"there is no op for `{symbol}`")
        attrs = dict(defaults(op))
        sides = [left, right]
        for i, name in enumerate(TRANSPOSES):
            e = sides[i]
            if isinstance(e, ast.Attribute) and e.attr == "T":
                if symbol != "@":
                    self.fail(s, "`.T` may only be written on an operand of `@`; write transpose(x, perm=(1, 0))")
                sides[i], attrs[name] = e.value, True
        return Node(op, tuple(self.operands(sides, scope, s)), attrs, ())

    def call(self, name: str, args: list[ast.expr], keywords: list[ast.keyword], scope: _Scope, s: ast.stmt) -> Node:
        op = OPS.get(name)
        if op is None or op in _STRUCTURE:
            self.unknown(s, name, [n for n, o in OPS.items() if o not in _STRUCTURE], "op")
        if any(k.arg is None for k in keywords):
            self.fail(s, "attributes are written out one by one, without **")
        given = {str(k.arg): k.value for k in keywords}
        if op is structure.dim and len(args) == 1:
            return Node(op, (), {"size": self.size(args[0], scope), "dtype": self.dtype(given.get("dtype"), dtypes.int32)}, ())
        if op is structure.constant and len(args) == 1:
            value = self.array(args[0], s)
            dtype = self.dtype(given.get("dtype"), natural_dtype(value))
            return Node(op, (), {"value": self.fitted(value, dtype, s), "dtype": dtype}, ())
        attrs = {k: self.attribute(v, scope) for k, v in given.items()}
        return Node(op, tuple(self.operands(args, scope, s)), attrs | {k: v for k, v in defaults(op).items() if k not in attrs}, ())

    def gradient(
        self, tape: str, targets: list[ast.expr], sources: list[ast.expr], keywords: list[ast.keyword], scope: _Scope, s: ast.stmt
    ) -> Node:
        if not targets or not sources:
            self.fail(s, "tape.gradient needs at least one target and one source")
        match keywords:
            case []:
                seeds: list[ast.expr | None] = [None] * len(targets)
            case [ast.keyword(arg="output_gradients", value=ast.List(elts=elts))] if len(elts) == len(targets):
                seeds = [None if isinstance(e, ast.Constant) and e.value is None else e for e in elts]
            case _:
                self.fail(s, f"after the sources only output_gradients=[...] with {len(targets)} entries may follow")
        cells = [self.cell(e, scope) for e in sources]
        given = [*targets, *(e for e, c in zip(sources, cells, strict=True) if c is None), *(e for e in seeds if e is not None)]
        args = tuple(self.operands(given, scope, s))
        at = iter(range(len(targets), len(args)))
        positions = tuple(f"state.{c}" if c is not None else next(at) for c in cells)
        attrs = {
            "tape": tape,
            "targets": len(targets),
            "sources": positions,
            "seeds": tuple(None if e is None else next(at) for e in seeds),
            "cells": tuple(scope.graph.cells[c] for c in cells if c is not None),
        }
        return Node(structure.gradient, args, attrs, ())

    # ------------------------------------------------------------------------------------------ names
    def note(self, name: str, at: ast.AST) -> None:
        if name in self.defined:
            self.fail(at, f"{name} is defined twice, first on line {self.defined[name]}")
        self.defined[name] = getattr(at, "lineno", 1)

    def define(self, scope: _Scope, name: str, type: Type, at: ast.AST, size: bool = False) -> Value:
        self.note(name, at)
        if is_reserved(name):
            self.fail(at, f"{name} means something else in the text of a graph; write {name}_")
        if name in self.tapes:
            self.fail(at, f"{name} is the tape of line {self.tapes[name]}")
        if name in scope.sizes and not size:
            self.fail(at, f"{name} is the name of a size")
        value = scope.values[name] = Value(name, type)
        return value

    def tape(self, e: ast.expr) -> str:
        if not isinstance(e, ast.Name):
            self.fail(e, f"`{ast.unparse(e)}` is no tape; write `with tape:`")
        if e.id in self.defined:
            self.fail(e, f"{e.id} is the value of line {self.defined[e.id]} and no tape")
        self.tapes.setdefault(e.id, e.lineno)
        return e.id

    def cell(self, e: ast.expr, scope: _Scope) -> str | None:
        """The cell that `state.x` names; None for anything else."""
        match e:
            case ast.Attribute(value=ast.Name(id="state"), attr=name):
                if name not in scope.graph.cells:
                    self.unknown(e, f"state.{name}", [f"state.{c}" for c in scope.graph.cells])
                return name
        return None

    def value(self, e: ast.expr | None, scope: _Scope) -> Value:
        if not isinstance(e, ast.Name):
            self.fail(e or 1, f"expected the name of a value, got `{ast.unparse(e) if e else ''}`; one line is one op")
        for s in scope.around():
            if e.id in s.values:
                return s.values[e.id]
        self.unknown(e, e.id, [n for s in scope.around() for n in s.values])

    def unknown(self, at: ast.AST, name: str, known: Iterable[str], what: str = "name") -> NoReturn:
        near = difflib.get_close_matches(name, sorted(known), 1)
        self.fail(at, f"unknown {what} {name}" + (f"; did you mean {near[0]}?" if near else ""))

    # --------------------------------------------------------------------------------------- literals
    def operands(self, expressions: list[ast.expr], scope: _Scope, s: ast.stmt) -> list[Operand]:
        """Values and literals; a bare number has the dtype of the values it meets."""
        read = [None if _is_number(e) else self.value(e, scope) for e in expressions]
        bare = structure.literal_dtype(tuple(v for v in read if v is not None))
        return [self.literal(e, bare, s) if v is None else v for v, e in zip(read, expressions, strict=True)]

    def literal(self, e: ast.expr, bare: DType, s: ast.stmt) -> Literal:
        if isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and e.func.id in dtypes.BY_SHORT:
            dtype, python = dtypes.BY_SHORT[e.func.id], _number(e.args[0]) if len(e.args) == 1 else None
        else:
            python = _number(e)
            dtype = dtypes.bool_ if isinstance(python, bool) else bare
        if python is None:
            self.fail(s, f"`{ast.unparse(e)}` is no number")
        return number(self.fitted(python, dtype, s), dtype)

    def fitted(self, value: Any, dtype: DType, s: ast.stmt) -> Any:
        """A number, or numbers in tuples, as the Python type for `dtype`, if `dtype` has such numbers."""
        if isinstance(value, tuple):
            return tuple(self.fitted(v, dtype, s) for v in value)
        ranks = "bifc"
        kind = ranks.index("b" if isinstance(value, bool) else "i" if isinstance(value, int) else "f" if isinstance(value, float) else "c")
        allowed = "i" if dtype.kind == "u" else dtype.kind
        if kind > ranks.index(allowed) or (kind == 0) != (allowed == "b") or (allowed == "i" and not dtype.min <= value <= dtype.max):
            wanted = {"b": "True or False", "f": "a real number", "c": "a number"}.get(
                allowed, f"a whole number from {dtype.min} to {dtype.max}" if allowed == "i" else ""
            )
            self.fail(s, f"{value} is no {dtype.short}, which is {wanted}; write its dtype, for example f32({value})")
        return number(value, dtype).value

    def array(self, e: ast.expr, s: ast.stmt) -> Any:
        """The nested tuple of numbers that a written-out array is."""
        if isinstance(e, ast.List | ast.Tuple):
            return tuple(self.array(v, s) for v in e.elts)
        value = _number(e)
        if value is None:
            self.fail(s, f"`{ast.unparse(e)}` is no number")
        return value

    # --------------------------------------------------------------------------- types and attributes
    def type(self, e: ast.expr) -> Type:
        try:
            return types.parse(e)
        except ValueError as error:
            self.fail(e, f"{error}; write for example f32[B, 3]")

    def size(self, e: ast.expr, scope: _Scope) -> sizes.Dim:
        try:
            d = sizes.parse(e)
        except (ValueError, ZeroDivisionError) as error:
            self.fail(e, str(error))
        for name in sorted(sizes.names(d) - scope.sizes):
            self.unknown(e, name, scope.sizes | {n for s in scope.around() for n in s.functions}, "size or function")
        return d

    def dtype(self, e: ast.expr | None, default: DType) -> DType:
        if e is None:
            return default
        if not isinstance(e, ast.Name) or e.id not in dtypes.BY_SHORT:
            self.fail(e, f"`{ast.unparse(e)}` is no dtype; write one of {', '.join(dtypes.BY_SHORT)}")
        return dtypes.BY_SHORT[e.id]

    def attribute(self, e: ast.expr, scope: _Scope) -> Any:
        """A Python value, dtype, type, size, tuple of such, or a nested graph by its name."""
        python = _number(e)
        if python is not None:
            return python
        match e:
            case ast.Constant(value=value):
                return value
            case ast.Tuple(elts=elts):
                return tuple(self.attribute(v, scope) for v in elts)
            case ast.List(elts=elts):
                return [self.attribute(v, scope) for v in elts]
            case ast.Name(id=name):
                if name in dtypes.BY_SHORT:
                    return dtypes.BY_SHORT[name]
                for s in scope.around():
                    if name in s.functions:
                        return s.functions[name]
            case ast.Subscript(value=ast.Name(id=short)) if short in dtypes.BY_SHORT:
                return self.type(e)
            case ast.Call(func=ast.Name(id=short)) if short in dtypes.BY_SHORT:
                return self.literal(e, dtypes.BY_SHORT[short], ast.Expr(e, lineno=e.lineno))
        return self.size(e, scope)


def allows(declared: Type, actual: Type) -> bool:
    """Whether a cell declared as one type may have a value of another: a symbolic axis may have any size."""
    if declared.dtype is not actual.dtype or declared.rank != actual.rank:
        return False
    return all(d == a or isinstance(d, sizes.Size) for d, a in zip(declared.shape, actual.shape, strict=True))


def _names(type: Type) -> set[str]:
    return {n for d in type.shape for n in sizes.names(d)}


def _is_number(e: ast.expr) -> bool:
    typed = isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and e.func.id in dtypes.BY_SHORT
    return typed or _number(e) is not None


def _number(e: ast.expr) -> Any:
    """The Python number that an expression writes out, `inf`, `nan` and `complex(a, b)` included; None if it is none."""
    match e:
        case ast.Constant(value=bool() | int() | float() | complex() as value):
            return value
        case ast.Name(id="inf"):
            return float("inf")
        case ast.Name(id="nan"):
            return float("nan")
        case ast.UnaryOp(op=ast.USub(), operand=x):
            value = _number(x)
            return None if value is None or isinstance(value, bool) else -value
        case ast.Call(func=ast.Name(id="complex"), args=[real, imaginary]):
            parts = _number(real), _number(imaginary)
            return None if None in parts else complex(*parts)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=ast.Constant(value=complex() as imaginary)):  # 1 + 2j
            value = _number(left)
            return None if value is None else value + imaginary if isinstance(sign, ast.Add) else value - imaginary
    return None
