"""The user's names: what a line of source calls the value that an instruction makes.

In: a code object and the offset of an instruction in it. Out: a base name, and whether the instruction makes the whole right
side of the assignment. `hidden = tf.tanh(x @ w)` names the product a step of `hidden` and the tanh `hidden` itself. Read from
the syntax tree of the file; without source, or outside an assignment, there is no name and the op's is taken.
"""

from __future__ import annotations

import ast
import linecache
from types import CodeType
from typing import Any, NamedTuple

from tapejit.core.places import LINE_END, Place, place_of


class Named(NamedTuple):
    """A name the source gives: `whole` if to the value itself, otherwise to what it is a step of."""

    base: str
    whole: bool
    each: tuple[str, ...] = ()  # the names in `a, b = ...`, where one value is unpacked into several


class _Region(NamedTuple):
    start: tuple[int, int]
    end: tuple[int, int]
    name: str
    each: tuple[str, ...] = ()
    step: bool = False  # what stands here is always a step of `name`, even all of it


_regions: dict[str, list[_Region]] = {}
_names: dict[tuple[CodeType, str, int], Named] = {}  # by the file as well, which equal codes may differ in
_NONE = Named("", False)


def name_at(code: CodeType, instruction: int) -> Named:
    """The user's name for what the instruction at byte offset `instruction` makes; an empty base if there is none."""
    key = code, code.co_filename, instruction
    found = _names.get(key)
    if found is None:
        found = _names[key] = _find(place_of(code, instruction), list(code.co_positions())[instruction // 2])
    return found


def assigned_at(code: CodeType, name: str) -> Place | None:
    """The one place at which a function's code assigns to a name; None if there are several, or none that is known."""
    if code.co_filename not in _regions:
        _regions[code.co_filename] = _scan("".join(linecache.getlines(code.co_filename)))
    lines = {line for _, _, line in code.co_lines() if line is not None}
    found = [r for r in _regions[code.co_filename] if (r.name == name or name in r.each) and not r.step and r.start[0] in lines]
    if len(found) != 1:
        return None
    (start, column), (end, end_column) = found[0].start, found[0].end
    return Place(code.co_filename, start, column, end_column if start == end else LINE_END)


def _find(place: Place, position: tuple[int | None, int | None, int | None, int | None]) -> Named:
    line, end_line, column, end_column = position
    if line is None or end_line is None or column is None or end_column is None:
        return _NONE
    if place.file not in _regions:
        _regions[place.file] = _scan("".join(linecache.getlines(place.file)))
    start, end = (line, column), (end_line, end_column)
    best: _Region | None = None
    for region in _regions[place.file]:
        if region.start <= start and end <= region.end and (best is None or region.start >= best.start):
            best = region
    return _NONE if best is None else Named(best.name, not best.step and (start, end) == (best.start, best.end), best.each)


def _scan(source: str) -> list[_Region]:
    """The right sides of all assignments in a file, and the arguments of `v.assign...` calls, with the names they get."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    out: list[_Region] = []

    def add(target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                for t, v in zip(target.elts, value.elts, strict=True):
                    add(t, v)
            else:
                region(value, "", each=tuple(_last_name(t) for t in target.elts))
            return
        region(value, _last_name(target))

    def region(value: ast.expr, name: str, **more: Any) -> None:
        if (name or more) and value.end_lineno is not None and value.end_col_offset is not None:
            out.append(_Region((value.lineno, value.col_offset), (value.end_lineno, value.end_col_offset), name, **more))

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets[:1]:
                add(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            add(node.target, node.value)
        elif isinstance(node, ast.With):
            for item in node.items:
                if item.optional_vars is not None:
                    add(item.optional_vars, item.context_expr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assign"):
            region(node, _last_name(node.func.value), step=True)
            for value in node.args[:1]:
                region(value, _last_name(node.func.value), step=True)
    return out


def _last_name(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript):
        return _last_name(target.value)
    return ""
