"""Questions about loop expressions and statements: what a linear index is, what is never negative, what a kernel contains."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Let, Stmt, Store, Update, While


def linear(index: tuple[Expr, ...], shape: tuple[Dim, ...]) -> Expr:
    """The place of an element in its row-major buffer. `(x // n, x % n)` in axes (.., n) is `x` again, so reshapes cost nothing."""
    if len(index) != len(shape):
        raise ValueError(f"{len(index)} indices for a buffer of rank {len(shape)}")
    axes = [(i, expr.of_dim(d)) for i, d in zip(index, shape)]
    for k in range(len(axes) - 2, -1, -1):
        merged = _merge(*axes[k], *axes[k + 1])
        if merged is not None:
            axes[k : k + 2] = [(merged, axes[k][1] * axes[k + 1][1])]
    place: Expr = Const(dtypes.int64, 0)
    for i, size in axes:
        place = place * size + i
    return place


def _merge(i: Expr, m: Expr, j: Expr, n: Expr) -> Expr | None:
    """One index for (i, j) in axes of m and n: `x` for (x // n, x % n), `x % (m * n)` for ((x // n) % m, x % n), else None."""
    if not (isinstance(i, Call) and isinstance(j, Call) and j.fn == "mod" and j.args[1] == n):
        return None
    x = j.args[0]
    if i.fn == "floordiv" and i.args == (x, n):
        return x
    if i.fn == "mod" and i.args[1] == m and i.args[0] == x // n:
        return x % (m * n)
    return None


def nonnegative(e: Expr, counting: Collection[str]) -> bool:
    """Whether an index expression is certainly at least 0, `counting` being the variables that are."""
    if isinstance(e, Const):
        return e.value >= 0
    if isinstance(e, Var):
        return e.name in counting
    if isinstance(e, Call):
        if e.fn in ("add", "mul", "min"):
            return all(nonnegative(a, counting) for a in e.args)
        if e.fn == "max":
            return any(nonnegative(a, counting) for a in e.args)
        if e.fn == "mod":
            return isinstance(e.args[1], Const) and e.args[1].value > 0
        if e.fn == "floordiv":
            return isinstance(e.args[1], Const) and e.args[1].value > 0 and nonnegative(e.args[0], counting)
        if e.fn == "cast" and e.args[0].dtype.kind in "bu" and e.args[0].dtype.bits < 64:
            return True
    return False


def inside(s: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside a statement."""
    if isinstance(s, (For, While)):
        return s.body
    if isinstance(s, If):
        return s.then + s.otherwise
    return s.epilogue if isinstance(s, Contract) else ()


def statements(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement of a body and of those inside, outermost first."""
    for s in body:
        yield s
        yield from statements(inside(s))


def own_expressions(s: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement itself evaluates (not those of statements inside it)."""
    match s:
        case Let(value=v) | Update(value=v):
            return (v,)
        case Accumulator(init=v):
            return (v,)
        case Store(index=index, value=v):
            return (*index, v)
        case If(condition=c) | While(condition=c):
            return (c,)
        case Contract(left=a, right=b):
            return a, b
        case Fail(operands=operands):
            return operands
        case CallLibrary(arguments=arguments):
            return tuple(a for a in arguments if not isinstance(a, bytes))
    return ()


def expressions(body: tuple[Stmt, ...]) -> Iterator[Expr]:
    """Every expression that the statements of a body evaluate."""
    for s in statements(body):
        yield from own_expressions(s)


def locals_of(body: tuple[Stmt, ...]) -> set[str]:
    """The names of scalars and indices that statements introduce."""
    found: set[str] = set()
    for s in statements(body):
        match s:
            case Let(name=name) | Accumulator(name=name):
                found.add(name)
            case CallLibrary(info=info) if info:
                found.add(info)
            case For(index=index):
                found.add(index)
            case Contract():
                found |= {s.row, s.column, s.depth_index, s.accumulator}
    return found


def renamed(s: Stmt, names: Mapping[str, str]) -> Stmt:
    """A statement with scalars and indices renamed, inside it too. Buffers and sizes keep their names."""
    dims = {old: sizes.named(new) for old, new in names.items()}

    def value(e: Expr) -> Expr:
        if isinstance(e, Var):
            return Var(e.dtype, names.get(e.name, e.name))
        return expr.rebuild(e, value)

    def dim(d: Dim) -> Dim:
        return sizes.substitute(d, dims)

    def block(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(renamed(x, names) for x in body)

    match s:
        case Let(name=n, value=v):
            return Let(names.get(n, n), value(v))
        case Accumulator(name=n, init=v):
            return Accumulator(names.get(n, n), value(v))
        case Update(name=n, combine=c, value=v):
            return Update(names.get(n, n), c, value(v))
        case Store(buffer=b, index=index, value=v, combine=c):
            return Store(b, tuple(map(value, index)), value(v), c)
        case For(index=n, extent=extent, kind=kind, body=body):
            return For(names.get(n, n), dim(extent), kind, block(body))
        case If(condition=c, then=then, otherwise=otherwise):
            return If(value(c), block(then), block(otherwise))
        case While(condition=c, body=body):
            return While(value(c), block(body))
        case Contract():
            row, column, depth, total = (names.get(n, n) for n in (s.row, s.column, s.depth_index, s.accumulator))
            extents = dim(s.rows), dim(s.columns), dim(s.depth)
            return Contract(
                row, extents[0], column, extents[1], depth, extents[2], value(s.left), value(s.right), total, block(s.epilogue)
            )  # fmt: skip
        case CallLibrary(info=n, symbol=symbol, arguments=arguments):
            return CallLibrary(names.get(n, n), symbol, tuple(a if isinstance(a, bytes) else value(a) for a in arguments))
        case Fail(node=node, operands=operands):
            return Fail(node, tuple(map(value, operands)))
    raise NotImplementedError(f"renaming in the statement {type(s).__name__}")
