"""`break`, `continue` and `return` within branches and loops, written with flags, because they may depend on a tensor.

A jump sets its flag, and what follows it runs only where no flag is set. Where nothing around the jump depends on a tensor it jumps as well,
so plain Python runs as it always did. In: the statements of a function. Out: the same, rewritten in place, with these variables:

    .break1, .continue1     flags of the loop with that number      .returned, .value     the flag of `return`, and what is returned

Loops get attributes: their `number`; `flags`, the names of those that end them; and, where they are `for` loops, the `label` of their
elements, which enter as `.each1` and are assigned to the target by the first statement of the body.
"""

from __future__ import annotations

import ast
from typing import Any

from tapejit.autograph.template import expression, statements

RETURNED, VALUE, ENTRY = ".returned", ".value", ".entry"
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)  # what has statements or names of its own
Flags = set[str]


def lower(function: ast.FunctionDef) -> None:
    """Rewrite the jumps of one function, not those of functions within it."""
    body = function.body
    if not any(_jumps_out(s, False) for s in body):
        function.body, _ = _Lowering().block(body, None)
        return
    head = body[:1] if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else []  # the docstring
    body, last = body[len(head) :], body[-1]
    if not ends(body):
        body = [*body, ast.copy_location(ast.Return(ast.copy_location(ast.Constant(None), last)), last)]
    lowered, _ = _Lowering(returns=True).block(body, None)
    function.body = [
        *head,
        *statements("_returned = False; _entry = _ag.recorder()", body[0], returned=RETURNED, entry=ENTRY),
        *lowered,
        *statements("return _value", last, value=VALUE),
    ]


def parts(statement: ast.AST) -> list[ast.stmt]:
    """The statements that stand in a statement."""
    out: list[ast.stmt] = []
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            out.append(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            out.extend(child.body)
    return out


def _jumps_out(statement: ast.stmt, conditional: bool) -> bool:
    """Whether a `return` stands within a branch or loop of the statement."""
    if isinstance(statement, NESTED):
        return False
    if isinstance(statement, ast.Return):
        return conditional
    conditional = conditional or isinstance(statement, ast.If | ast.While | ast.For | ast.Match | ast.Try)
    return any(_jumps_out(s, conditional) for s in parts(statement))


def ends(body: list[ast.stmt]) -> bool:
    """Whether the statements end in a jump whatever happens."""
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return ends(last.body) and ends(last.orelse)
    if isinstance(last, ast.With):
        return ends(last.body)
    if isinstance(last, ast.While):
        return isinstance(last.test, ast.Constant) and bool(last.test.value) and not any(_breaks(s) for s in last.body)
    return isinstance(last, ast.Return | ast.Break | ast.Continue)


def _breaks(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Break):
        return True
    if isinstance(statement, (ast.While, ast.For, *NESTED)):
        return any(_breaks(s) for s in getattr(statement, "orelse", []))
    return any(_breaks(s) for s in parts(statement))


class _Lowering:
    """One function. `returns`: whether its `return`s are rewritten."""

    def __init__(self, returns: bool = False) -> None:
        self.returns, self.count = returns, 0

    def block(self, body: list[ast.stmt], loop: Any) -> tuple[list[ast.stmt], Flags]:
        """The statements, and the flags that they may set. `loop` is the one that `break` and `continue` belong to."""
        out: list[ast.stmt] = []
        for k, statement in enumerate(body):
            rest = body[k + 1 :]
            if rest and isinstance(statement, ast.If) and ends(statement.body) != ends(statement.orelse):
                # what follows belongs to the side that does not jump, and needs no flag to say so
                (statement.orelse if ends(statement.body) else statement.body).extend(rest)
                rest = []
            new, flags = self.statement(statement, loop)
            out.extend(new)
            if flags and rest:
                guarded, more = self.block(rest, loop)
                return [*out, _unless(flags, guarded, rest[0])], flags | more
            if flags or len(rest) != len(body) - k - 1:
                return out, flags
        return out, set()

    def statement(self, node: ast.stmt, loop: Any) -> tuple[list[ast.stmt], Flags]:
        if isinstance(node, NESTED):
            return [node], set()
        if isinstance(node, ast.Return) and self.returns:
            value = node.value or ast.copy_location(ast.Constant(None), node)
            text = "_value = _given; _returned = True\nif _ag.recorder() is _entry: return _value"
            return _raw(statements(text, node, value=VALUE, given=value, returned=RETURNED, entry=ENTRY)), {RETURNED}
        if isinstance(node, ast.Break | ast.Continue):
            word = "break" if isinstance(node, ast.Break) else "continue"
            flag = f".{word}{loop.number}"
            text = f"_flag = True\nif _loop.native(): {word}"
            return _raw(statements(text, node, flag=flag, loop=f".loop{loop.number}")), {flag}
        if isinstance(node, ast.While | ast.For):
            return self.loop(node, loop)
        if isinstance(node, ast.Try):
            return self.attempt(node, loop)
        flags: Flags = set()
        for holder in [node, *getattr(node, "cases", [])]:
            for name in ("body", "orelse"):
                if isinstance(found := getattr(holder, name, None), list):
                    new, more = self.block(found, loop)
                    setattr(holder, name, new)
                    flags |= more
        return [node], flags

    def loop(self, node: Any, outer: Any) -> tuple[list[ast.stmt], Flags]:
        if isinstance(node, ast.While) and not node.orelse and any(isinstance(n, ast.NamedExpr) for n in ast.walk(node.test)):
            # what the condition assigns belongs to the body
            node.body[:0] = statements("if not _test: break", node.test, test=node.test)
            node.test = ast.copy_location(ast.Constant(True), node.test)
        self.count += 1
        node.number = self.count
        stop, skip = f".break{node.number}", f".continue{node.number}"
        node.body, flags = self.block(node.body, node)
        node.flags = tuple(sorted(flags - {skip}))
        out: list[ast.stmt] = [node]
        if isinstance(node, ast.For):
            self.target(node)
        if stop in flags:
            out[:0] = statements("_flag = False", node, flag=stop)
        if skip in flags:
            node.body[:0] = statements("_flag = False", node, flag=skip)
        otherwise, node.orelse = node.orelse, []
        flags -= {stop, skip}
        if otherwise:
            new, more = self.block(otherwise, outer)
            out.extend([_unless(set(node.flags), new, otherwise[0])] if node.flags else new)
            flags |= more
        return out, flags

    @staticmethod
    def target(node: Any) -> None:
        """Let the elements of a `for` loop enter by a variable of ours, so that the target is assigned within the body."""
        each, node.label = f".each{node.number}", node.target.id if isinstance(node.target, ast.Name) else "element"
        node.body[:0] = statements("_target = _each", node.target, target=node.target, each=each)
        node.target = ast.copy_location(ast.Name(each, ast.Store()), node.target)
        if node.flags:  # after a jump that depends on a tensor, the rest of a Python loop passes idly
            node.body = [_unless(set(node.flags), node.body, node)]

    def attempt(self, node: ast.Try, loop: Any) -> tuple[list[ast.stmt], Flags]:
        """`try`: where an exception is caught, the recorder is the one from before again."""
        self.count += 1
        at = f".try{self.count}"
        resume = "_ag.resume(_at)"
        node.body, flags = self.block(node.body, loop)
        if node.orelse:
            new, more = self.block(node.orelse, loop)
            node.orelse = [_unless(flags, new, node.orelse[0])] if flags else new
            flags = flags | more
        for handler in node.handlers:
            new, more = self.block(handler.body, loop)
            handler.body = [*statements(resume, handler.body[0], at=at), *new]
            flags = flags | more
        if node.finalbody:
            new, more = self.block(node.finalbody, loop)
            node.finalbody = [*statements(resume, node.finalbody[0], at=at), *new]
            flags = flags | more
        return [*statements("_at = _ag.recorder()", node, at=at), node], flags


def _unless(flags: Flags, body: list[ast.stmt], place: ast.AST) -> ast.If:
    """The statements, run where none of the flags is set."""
    (guard,) = statements("if _test: _body", place, test=clear(flags, place), body=body)
    return guard


def clear(flags: Any, place: ast.AST) -> Any:
    """The expression that none of the flags is set."""
    call = expression("_ag.clear()", place)
    call.args = [expression("_flag", place, flag=f) for f in sorted(flags)]
    return call


def _raw(made: list[ast.stmt]) -> list[ast.stmt]:
    """Statements to be left as they are."""
    for s in made:
        if isinstance(s, ast.If):
            s.raw = True  # type: ignore[attr-defined]
    return made
