"""The converted form of a function: the same statements in the same frame, with the branches and loops that may depend on tensors opened up.

In: a `def` or `lambda` as it stands in the user's file. Out: a code object of that file, name and lines. A branch becomes

    .if1 = .ag.If(test, names, ...)              what it assigns, and what of that is read later
    if .if1.then():                              holds, or depends on a tensor: then both sides run, each recorded by itself
        ...
        .if1.leave()
    if .if1.otherwise():
        if .if1.staged: x, y = .if1.values       as they were before the branch
        ...
        .if1.leave()
    if .if1.joined():
        x, y = .if1.values                       tensors that are the one or the other

and loops likewise: a loop that depends on a tensor runs its body once, recorded. No statement moves to another function, so locals,
closures, breakpoints, line numbers and the places of values stay what they were.
"""

from __future__ import annotations

import ast
import copy
from types import CodeType
from typing import Any

from tapejit.autograph.jumps import NESTED, lower, parts
from tapejit.autograph.liveness import Liveness, Names, loads, stored_paths, stores
from tapejit.autograph.source import Found
from tapejit.autograph.template import OPERATORS, expression, statements

_FUTURE = 0x1FE0000  # the bits of a code object's flags that `from __future__` sets
_DIRECT = {"super", "locals", "globals", "isinstance", "print", "type"}  # names whose calls are left as they are


def convert(found: Found, code: CodeType) -> CodeType:
    """The code object of the converted function, whose free variables are those of `code` and the operators."""
    node = copy.deepcopy(found.node)
    holder: ast.stmt
    if isinstance(node, ast.Lambda):
        _Expressions().visit_Lambda(node)
        holder = ast.copy_location(ast.Expr(node), node)
    else:
        function(node)
        holder = node
    compiled = compile(_housed(holder, found.owner, code), code.co_filename, "exec", code.co_flags & _FUTURE, dont_inherit=True)
    made = next(c for c in _codes(compiled) if c.co_name == code.co_name and c.co_firstlineno == code.co_firstlineno)
    return made.replace(co_qualname=code.co_qualname)


def converted_text(found: Found) -> str:
    """The converted form of a function as text (of which dots before names are no part)."""
    node: Any = copy.deepcopy(found.node)
    if isinstance(node, ast.Lambda):
        _Expressions().visit_Lambda(node)
    else:
        function(node)
        node.decorator_list = []
    for n in ast.walk(node):
        if isinstance(n, ast.Name) and n.id.startswith("."):
            n.id = "ag__" if n.id == OPERATORS else f"{n.id[1:]}_"
    return ast.unparse(ast.fix_missing_locations(node))


def _housed(holder: ast.stmt, owner: str, code: CodeType) -> ast.Module:
    """A module in which the function stands within a function that has its free variables, and in its class if it has one."""
    defined = holder.name if isinstance(holder, ast.FunctionDef) else ""
    if owner:
        holder = ast.copy_location(ast.ClassDef(name=owner, bases=[], keywords=[], body=[holder], decorator_list=[]), holder)
    body = [s for name in (*code.co_freevars, OPERATORS) for s in statements("_name = None", holder, name=name)]
    if names := sorted({owner or defined} - {"", *code.co_freevars}):  # what is global to the function stays so
        body.append(ast.copy_location(ast.Global(names), holder))
    (outer,) = statements("def converted(): _body", holder, body=[*body, holder])
    return ast.fix_missing_locations(ast.Module([outer], []))


def _codes(code: CodeType) -> list[CodeType]:
    """The code objects within a code object, outer ones first."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return [*inner, *(deeper for c in inner for deeper in _codes(c))]


def nested_codes(code: CodeType) -> list[CodeType]:
    """A code object and those within it."""
    return [code, *_codes(code)]


def function(node: ast.FunctionDef) -> None:
    """Convert the body of a function in place."""
    if _yields(node):
        return
    lower(node)
    declared = {n for s in node.body for d in ast.walk(s) if isinstance(d, ast.Global | ast.Nonlocal) for n in d.names}
    control = _Statements(Liveness(node.body, declared), _captures(node.body))
    node.body = control.block(node.body)


def _yields(node: ast.AST) -> bool:
    """Whether a function is a generator: it stays as it is."""
    return any(isinstance(c, ast.Yield | ast.YieldFrom | ast.Await) or (not isinstance(c, NESTED) and _yields(c)) for c in _children(node))


def _children(node: ast.AST) -> list[ast.AST]:
    return [c for c in ast.iter_child_nodes(node) if not isinstance(c, ast.arguments)]


def _captures(body: list[ast.stmt]) -> list[tuple[int, Names]]:
    """By line, what functions defined there read: they may be called, and read it, at any time after."""
    return [(n.lineno, loads(n)) for s in body for n in ast.walk(s) if isinstance(n, ast.FunctionDef)]


def _python(test: ast.expr) -> bool:
    """Whether a condition is a Python bool whatever its operands are."""
    if isinstance(test, ast.Constant):
        return True
    if isinstance(test, ast.Compare):
        return all(isinstance(o, ast.Is | ast.IsNot | ast.In | ast.NotIn) for o in test.ops)
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id in ("isinstance", "issubclass", "callable", "hasattr")
    if isinstance(test, ast.UnaryOp):
        return isinstance(test.op, ast.Not) and _python(test.operand)
    return isinstance(test, ast.BoolOp) and all(_python(v) for v in test.values)


class _Statements:
    """Opens up the branches and loops of one function."""

    def __init__(self, live: Liveness, captures: list[tuple[int, Names]]) -> None:
        self.live, self.captures = live, captures
        self.expressions = _Expressions()
        self.count = 0

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [new for s in body for new in self.statement(s)]

    def statement(self, node: Any) -> list[Any]:
        if getattr(node, "raw", False):
            return [node]
        if isinstance(node, ast.FunctionDef):
            function(node)
            return [node]
        if isinstance(node, ast.ClassDef):
            for s in node.body:
                if isinstance(s, ast.FunctionDef):
                    function(s)
            return [node]
        if isinstance(node, ast.AsyncFunctionDef):
            return [node]
        if isinstance(node, ast.If) and not _python(node.test):
            return self.branch(node)
        if isinstance(node, ast.While):
            return self.while_loop(node)
        if isinstance(node, ast.For):
            return self.for_loop(node)
        if isinstance(node, ast.Assert):
            text = "assert _ag.asserted(_test, lambda: _message), _message" if node.msg else "assert _ag.asserted(_test)"
            message = None if node.msg is None else self.expressions.visit(node.msg)
            return statements(text, node, test=self.expressions.visit(node.test), message=message)
        for holder in [node, *getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            for name in ("body", "orelse", "finalbody"):
                if isinstance(found := getattr(holder, name, None), list):
                    setattr(holder, name, self.block(found))
        if parts(node):  # what remains are its expressions
            for name, value in ast.iter_fields(node):
                if isinstance(value, ast.expr):
                    setattr(node, name, self.expressions.visit(value))
                elif name == "items":
                    for item in value:
                        item.context_expr = self.expressions.visit(item.context_expr)
            return [node]
        return [self.expressions.visit(node)]

    # -------------------------------------------------------------------------------------- state
    def state(self, body: list[ast.AST], read: Names, node: Any) -> tuple[list[str], dict[str, Any]]:
        """The variables that `body` assigns, and what the operators are told of them: which are read later, which are not; and attributes."""
        assigned = {n for s in body for n in stores(s) if not n.startswith(_OWN)}
        later = read.union(*(names for line, names in self.captures if line < node.lineno))
        kept, local = sorted(assigned & later), sorted(assigned - later)
        told: dict[str, Any] = {"later": tuple(kept), "local": tuple(local), "paths": tuple(stored_paths(body))}
        return [*kept, *local], {k: ast.copy_location(ast.Constant(v), node) for k, v in told.items()}

    @staticmethod
    def restored(holder: str, names: list[str], place: ast.AST) -> list[Any]:
        """Statements that give variables the values that `holder` has for them, some of which may be none."""
        if not names:
            return statements("pass", place)
        holes = {f"v{k}": n for k, n in enumerate(names)}
        text = "".join(f"_{h}, " for h in holes) + "= _holder.values\nif _holder.undefined:\n"
        text += "".join(f"    if _{h} is _ag.UNDEFINED: del _{h}\n" for h in holes)
        return statements(text, place, holder=holder, **holes)

    # ------------------------------------------------------------------------------ branches and loops
    def branch(self, node: ast.If) -> list[Any]:
        self.count += 1
        name = f".if{self.count}"
        names, told = self.state([*node.body, *node.orelse], self.live.after[id(node)], node)
        test = self.expressions.visit(node.test)
        made = statements("_c = _ag.If(_test, _later, _local, _paths)", node.test, c=name, test=test, **told)
        body = [*self.block(node.body), *statements("_c.leave()", node.body[-1], c=name)]
        made += statements("if _c.then(): _body", node, c=name, body=body)
        if node.orelse:
            first, last = node.orelse[0], node.orelse[-1]
            before = statements("if _c.staged: _restore", first, c=name, restore=self.restored(name, names, first))
            orelse = [*before, *self.block(node.orelse), *statements("_c.leave()", last, c=name)]
            made += statements("if _c.otherwise(): _body", first, c=name, body=orelse)
        return made + statements("if _c.joined(): _after", node, c=name, after=self.restored(name, names, node))

    def options(self, node: Any) -> list[Any]:
        """The call of `set_loop_options` that the body of a loop begins with, which is made before the loop instead."""
        for body in (node.body, *(s.body for s in node.body[:2] if isinstance(s, ast.If))):  # a `for` loop's may stand behind its flags
            for k, s in enumerate(body[:3]):
                if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and ast.unparse(s.value.func).endswith("set_loop_options"):
                    body[k] = ast.copy_location(ast.Pass(), s)
                    s.value.func = expression("_loop.options", s, loop=f".loop{node.number}")
                    return [s]
        return []

    def loop(self, node: Any, head: str, also: list[ast.AST], **holes: Any) -> list[Any]:
        """A loop: `head` creates its operator, says how it goes on, and holds the `_body`; `also` is evaluated with it."""
        name = f".loop{node.number}"
        names, told = self.state([*node.body, *also], self.live.head[id(node)], node)
        flags = ast.copy_location(ast.Constant(node.flags), node)
        unread = ast.copy_location(ast.Constant(tuple(n for n in names if n not in self.live.within[id(node)])), node)  # type: ignore[arg-type]
        options = self.options(node)
        leave = statements("_loop.leave()", node.body[-1], loop=name)
        create, *rest = statements(
            f"{head}\nif _loop.staged: _after", node, loop=name, flags=flags, unread=unread, **told, **holes, restore=self.restored(name, names, node),
            body=[*self.block(node.body), *leave], after=self.restored(name, names, node),
        )  # fmt: skip
        return [create, *options, *rest]

    def while_loop(self, node: ast.While) -> list[Any]:
        return self.loop(node, _WHILE, [node.test], test=self.expressions.visit(node.test))

    def for_loop(self, node: ast.For) -> list[Any]:
        label = ast.copy_location(ast.Constant(node.label), node)  # type: ignore[attr-defined]
        return self.loop(node, _FOR, [], iter=self.expressions.visit(node.iter), each=node.target.id, label=label)  # type: ignore[attr-defined]


_OWN = (".if", ".loop", ".each", ".try", ".entry")  # variables of the operators, which are no state

_WHILE = """
_loop = _ag.While(_later, _local, _paths, _flags, _unread)
while _loop.more():
    if _loop.staged: _restore
    if _loop.running or _loop.test(_test): _body
"""

_FOR = """
_loop = _ag.For(_iter, _later, _local, _paths, _flags, _unread, _label)
for _each in _loop:
    if _loop.staged: _restore
    _body
"""

_SYMBOLS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class _Expressions(ast.NodeTransformer):
    """Opens up the expressions whose meaning may depend on a tensor, and the calls."""

    def visit_Call(self, node: ast.Call) -> Any:
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id.startswith("."):
            return node
        self.generic_visit(node)
        if not (isinstance(function, ast.Name) and function.id in _DIRECT):
            node.func = expression("_ag.callee(_f)", function, f=node.func)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        native = all(_python(v) for v in node.values[:-1]) or any(isinstance(n, ast.NamedExpr) for v in node.values for n in ast.walk(v))
        self.generic_visit(node)
        if native:
            return node
        first, *rest = node.values
        call = expression("_ag.and_(_first)" if isinstance(node.op, ast.And) else "_ag.or_(_first)", node, first=first)
        call.args += [_later(v) for v in rest]
        return call

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        native = not isinstance(node.op, ast.Not) or _python(node.operand)
        self.generic_visit(node)
        return node if native else expression("_ag.not_(_x)", node, x=node.operand)

    def visit_Compare(self, node: ast.Compare) -> Any:
        native = len(node.ops) == 1 or any(type(o) not in _SYMBOLS for o in node.ops)
        self.generic_visit(node)
        if native:
            return node
        call = expression("_ag.compare(_first)", node, first=node.left)
        for o, x in zip(node.ops, node.comparators, strict=True):
            call.args += [ast.copy_location(ast.Constant(_SYMBOLS[type(o)]), x), _later(x)]
        return call

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        native = _python(node.test)
        self.generic_visit(node)
        if native:
            return node
        return expression("_ag.if_exp(_test, _a, _b)", node, test=node.test, a=_later(node.body), b=_later(node.orelse))

    def visit_ListComp(self, node: ast.ListComp) -> Any:
        return self.comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        return self.comprehension(node)

    def comprehension(self, node: Any) -> Any:
        """Elements of one iterable, which may be a tensor whose size or selection is known only at run time."""
        only = node.generators[0]
        simple = len(node.generators) == 1 and not only.is_async and not any(isinstance(n, ast.NamedExpr) for n in ast.walk(node))
        self.generic_visit(node)
        if not simple:
            return node
        each, target = ".element", _parameters(only.target)
        if target is None:
            return node
        values = [node.elt, *only.ifs]
        functions = [expression("lambda _x: _value", v, x=each, value=v) for v in values]
        for f in functions:
            f.args = copy.deepcopy(target)
        given, only.iter = only.iter, expression("_each", only.iter, each=each)
        call = expression("_ag.comprehension(_given, lambda _x: _native)", node, given=given, native=node)
        call.args[1].args.args[0].arg = each
        call.args += functions
        return call

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        if not _yields(node):
            node.body = self.visit(node.body)
        return node


def _parameters(target: ast.expr) -> ast.arguments | None:
    """The target of a comprehension as the parameters of a function of an element, or of its parts; None for what is deeper."""
    parts_ = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    if not all(isinstance(t, ast.Name) for t in parts_):
        return None
    names = [ast.copy_location(ast.arg(t.id), t) for t in parts_ if isinstance(t, ast.Name)]
    return ast.arguments(posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[])


def _later(value: ast.expr) -> ast.expr:
    """A function of no arguments whose value is `value`."""
    return expression("lambda: _value", value, value=value)
