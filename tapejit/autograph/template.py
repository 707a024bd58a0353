"""Python text with holes, filled with pieces of syntax tree: how the converted parts of a function are written.

`statements("if _c.then(): _body", place, c=".if1", body=[...])` gives statements all of whose new nodes have the place of the node `place`.
A hole is a name with an underscore before it; it is filled with an identifier (a string), an expression, or, where it stands alone, with
statements. `_ag` is what the operators of converted code are found in. Identifiers that begin with a dot cannot meet a user's.
"""

from __future__ import annotations

import ast
import copy
from typing import Any

OPERATORS = ".ag"

_parsed: dict[str, list[ast.stmt]] = {}


def statements(text: str, place: ast.AST, **holes: Any) -> list[Any]:
    """The statements of `text` with its holes filled."""
    if text not in _parsed:
        _parsed[text] = ast.parse(text).body
    filler = _Filler({"ag": OPERATORS, **holes}, place)
    out: list[Any] = []
    for statement in copy.deepcopy(_parsed[text]):
        filled = filler.visit(statement)
        out.extend(filled if isinstance(filled, list) else [filled])
    return out


def expression(text: str, place: ast.AST, **holes: Any) -> Any:
    """The one expression of `text` with its holes filled."""
    (statement,) = statements(text, place, **holes)
    return statement.value


class _Filler(ast.NodeTransformer):
    def __init__(self, holes: dict[str, Any], place: ast.AST) -> None:
        self.holes, self.place = holes, place

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        return self.put(node) if hasattr(node, "lineno") else node

    def put(self, node: Any) -> Any:
        """The node at the place; what is called, at its first line: Python takes the last one for that of the call."""
        ast.copy_location(node, self.place)
        if isinstance(node, ast.Attribute | ast.Name) and node.end_lineno != node.lineno:
            node.end_lineno, node.end_col_offset = node.lineno, node.col_offset
        return node

    def visit_Expr(self, node: ast.Expr) -> Any:
        if isinstance(node.value, ast.Name) and isinstance(found := self.holes.get(node.value.id[1:]), list):
            return found
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        found = self.holes.get(node.id[1:]) if node.id.startswith("_") else None
        if isinstance(found, ast.expr):
            return found
        return self.put(ast.Name(node.id if found is None else found, node.ctx))
