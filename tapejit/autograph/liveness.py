"""Which variables are still read later, and which ones statements assign: what a branch or loop has to hand on.

In: the statements of a function, jumps lowered. Out: by statement, the names whose values are read after it (`after`); by loop, those that
an iteration or what follows reads from the iteration before it or from outside (`head`), and those that an iteration does (`within`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from tapejit.autograph.jumps import NESTED

Names = set[str]
Path = tuple[str, tuple[tuple[str, Any], ...]]  # a variable, and how to get from it: ("self", (("attr", "x"), ("key", 0)))


def loads(node: ast.AST | None) -> Names:
    """The names read anywhere within a node, functions in it included."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)} if node is not None else set()


def stores(node: ast.AST) -> Names:
    """The variables of the function that a node assigns or deletes."""
    return set(_stored(node))


def _stored(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif isinstance(node, ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.comprehension):  # its target is its own, but what it assigns with := is not
            yield from _stored(child.iter)
            for test in child.ifs:
                yield from _stored(test)
        else:
            yield from _stored(child)


def stored_paths(body: Iterable[ast.AST]) -> list[Path]:
    """The attributes and elements of variables, as `self.x` and `d["k"]`, that statements assign."""
    found: dict[Path, None] = {}

    def visit(node: ast.AST) -> None:
        if isinstance(node, NESTED):
            return
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            path = path_of(node)
            if path is not None:
                found.setdefault(path)
        for child in ast.iter_child_nodes(node):
            visit(child)

    for statement in body:
        visit(statement)
    return list(found)


def path_of(node: ast.AST) -> Path | None:
    """How an attribute or element is reached from a variable; None if that takes more than names and constants."""
    step: tuple[str, Any]
    if isinstance(node, ast.Name):
        return node.id, ()
    if isinstance(node, ast.Attribute):
        inner, step = path_of(node.value), ("attr", node.attr)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        inner, step = path_of(node.value), ("key", node.slice.value)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name):
        inner, step = path_of(node.value), ("at", node.slice.id)
    else:
        return None
    return None if inner is None else (inner[0], (*inner[1], step))


class Liveness:
    """Of one function. `always`: names that others may read at any time."""

    def __init__(self, body: list[ast.stmt], always: Names) -> None:
        self.after: dict[int, Names] = {}
        self.head: dict[int, Names] = {}
        self.within: dict[int, Names] = {}
        self._always = always
        self.block(body, set(always), _Targets(set(), set(), set()))

    def block(self, body: list[ast.stmt], out: Names, to: _Targets) -> Names:
        """The names read from the beginning of `body` on, where `out` are read from its end on."""
        for statement in reversed(body):
            self.after[id(statement)] = out = out | to.caught
            out = self.before(statement, out, to) | self._always
        return out

    def before(self, node: Any, out: Names, to: _Targets) -> Names:
        if isinstance(node, ast.If):
            return loads(node.test) | (self.block(node.body, out, to) | self.block(node.orelse, out, to)) - stores(node.test)
        if isinstance(node, ast.While | ast.For):
            return self._loop(node, out, to)
        if isinstance(node, ast.With):
            given = {n for item in node.items for n in stores(item)}
            return {n for item in node.items for n in loads(item)} | (self.block(node.body, out, to) - given)
        if isinstance(node, ast.Try):
            last = self.block(node.finalbody, out, to) if node.finalbody else out
            caught = set(last)
            for handler in node.handlers:
                caught |= loads(handler.type) | self.block(handler.body, last, to)
            went_well = self.block(node.orelse, last, to) if node.orelse else last
            return self.block(node.body, went_well, _Targets(to.broken, to.continued, to.caught | caught)) | caught
        if isinstance(node, ast.Match):
            inside = [loads(c.pattern) | loads(c.guard) | self.block(c.body, out, to) - stores(c.pattern) for c in node.cases]
            return loads(node.subject) | out.union(*inside)
        if isinstance(node, ast.Return | ast.Raise):
            return loads(node) | to.caught
        if isinstance(node, ast.Break):
            return set(to.broken)
        if isinstance(node, ast.Continue):
            return set(to.continued)
        read = loads(node)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            read.add(node.target.id)
        return (out - stores(node)) | read

    def _loop(self, node: Any, out: Names, to: _Targets) -> Names:
        self.within[id(node)] = self._head(node, set(), _Targets(set(), set(), set()))
        head = self.head[id(node)] = self._head(node, out, to)  # the latter, as it is what is true of the statements inside
        return head | (loads(node.iter) if isinstance(node, ast.For) else set())

    def _head(self, node: Any, out: Names, to: _Targets) -> Names:
        """The names read from the beginning of an iteration on."""
        target = stores(node.target) if isinstance(node, ast.For) else set()
        head = out | set(node.flags) | (loads(node.test) if isinstance(node, ast.While) else set())
        while True:
            inside = self.block(node.body, head, _Targets(out, head, to.caught)) - target
            if inside <= head:
                return head
            head = head | inside


class _Targets:
    """What is read where `break`, `continue` and exceptions lead."""

    def __init__(self, broken: Names, continued: Names, caught: Names) -> None:
        self.broken, self.continued, self.caught = broken, continued, caught
