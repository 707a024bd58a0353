"""The syntax tree of a function: found in its file by line, name and columns.

In: a function with a code object. Out: its `def` or `lambda` as it stands in the file, so that every node keeps its line and column.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import NamedTuple

Definition = ast.FunctionDef | ast.Lambda


class Found(NamedTuple):
    """A definition, and the name of the class it stands in ("" for none): names like `__x` depend on it."""

    node: Definition
    owner: str


class NoSource(Exception):
    """Why a function's definition cannot be found."""


_files: dict[str, tuple[int, list[Found]]] = {}  # file -> hash of its text, its definitions


def find(function: FunctionType) -> Found:
    """The definition of `function`. NoSource if its file cannot be read, or does not hold it."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise NoSource("could not get source code")
    candidates = [f for f in _definitions(code.co_filename, "".join(lines)) if _fits(f.node, code)]
    if not candidates:
        raise NoSource(f"{code.co_filename}:{code.co_firstlineno} does not define {code.co_name}: has the file changed?")
    if len(candidates) > 1:
        candidates = [f for f in candidates if isinstance(f.node, ast.Lambda) and _holds(f.node, code)] or candidates
    return candidates[-1]  # of lambdas around one another, the innermost


def _definitions(file: str, text: str) -> list[Found]:
    known = _files.get(file)
    if known is None or known[0] != hash(text):
        try:
            known = _files[file] = hash(text), list(_walk(ast.parse(text), ""))
        except SyntaxError as error:
            raise NoSource(f"{file} is not Python: {error}") from None
    return known[1]


def _walk(node: ast.AST, owner: str) -> Iterator[Found]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield Found(child, owner)
        yield from _walk(child, child.name if isinstance(child, ast.ClassDef) else owner)


def _fits(node: Definition, code: CodeType) -> bool:
    taken = node.args
    names = [a.arg for a in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg) if a is not None]
    if len(names) != code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8):
        return False
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno and _holds(node, code)
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return node.name == code.co_name and first == code.co_firstlineno


def _holds(node: ast.Lambda, code: CodeType) -> bool:
    """Whether all of a lambda's instructions come from this body: that tells two lambdas on one line apart."""
    body = node.body
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    spans = [((line, column), (last, to)) for line, last, column, to in code.co_positions() if None not in (line, column, last, to)]
    return all(start <= s[0] and s[1] <= end for s in spans if s[0] != s[1])
