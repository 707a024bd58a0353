"""Runs the text of a graph as what it is, a Python function: `exec` and a namespace in which names mean ops on arrays.

In: text, NumPy arrays, a mapping of cells (updated) and one of constants; out: a list of result arrays, the same that
`interpreter.run` gives for the parsed graph. Lines `tape.gradient` need the pass `differentiate` first.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import textwrap
from collections.abc import Callable, Mapping, MutableMapping
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import number
from tapejit.ir.grammar import SYMBOLS, TRANSPOSES, infix_op, natural_dtype
from tapejit.ir.graph import Literal, Node
from tapejit.ir.op import OPS, Op


def run_text(text: str, *args: Any, state: MutableMapping[str, Any] | None = None, consts: Mapping[str, Any] | None = None) -> list[Any]:
    """The results of the function that `text` defines on `args`. Cells are read from `state` and written there.

    AssertionError where two sizes that the text takes to be equal are not; NotImplementedError at a `tape.gradient` line.
    """
    function = load(text, {} if state is None else state, consts or {})
    with np.errstate(all="ignore"):
        return _results(function(*(Array(np.asarray(a)) for a in args)))


def load(text: str, state: MutableMapping[str, Any], consts: Mapping[str, Any]) -> Callable[..., Any]:
    """The Python function that `text` defines, on `Array`s."""
    source = textwrap.dedent(text)
    tree = ast.parse(source)
    file = f"<text of a graph {hash(source) & 0xFFFFFFFF:08x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # tracebacks show the text
    namespace: dict[str, Any] = {name: _operation(op) for name, op in OPS.items()}
    namespace |= {name: _Tape(name) for name in _tapes(tree)}
    namespace |= {short: _DTypeName(dtype) for short, dtype in dtypes.BY_SHORT.items()}
    for python in (min, max, complex):
        namespace[python.__name__] = _python_or(python, namespace.get(python.__name__))
    namespace |= {"inf": float("inf"), "nan": float("nan"), "size": lambda x, axis: x.array.shape[axis]}
    namespace |= {
        "dim": _dim,
        "constant": _constant,
        "state": _State(state),
        "const": SimpleNamespace(**{k: Array(np.asarray(v)) for k, v in consts.items()}),
    }
    exec(compile(tree, file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True), namespace)
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    return namespace[definition.name]


class Array:
    """A NumPy array on which Python's operators are the ops with those symbols. `literal`: it stands for a number in the text."""

    __slots__ = ("array", "literal", "turned")

    def __init__(self, array: Any, literal: bool = False, turned: bool = False) -> None:
        self.array, self.literal, self.turned = array, literal, turned

    @property
    def T(self) -> Array:
        """For `x.T @ y`: the same array with a mark that the product takes as a transpose."""
        return Array(self.array, self.literal, not self.turned)

    def __bool__(self) -> bool:
        """For `assert K == 3`, where a line of the graph bound the size K."""
        return bool(self.array)

    def __repr__(self) -> str:
        return f"Array({self.array!r})"

    __hash__ = None  # type: ignore[assignment]


def _infix(symbol: str, swapped: bool) -> Callable[[Any, Any], Any]:
    def carry_out(x: Any, y: Any) -> Any:
        op = infix_op(symbol)
        if op is None:
            return NotImplemented
        operands = (y, x) if swapped else (x, y)
        turned = {t: True for t, o in zip(TRANSPOSES, operands, strict=True) if isinstance(o, Array) and o.turned}
        return _carry_out(op, operands, turned)

    return carry_out


for _node, _symbol in SYMBOLS.items():
    _name = {
        "BitAnd": "and",
        "BitOr": "or",
        "BitXor": "xor",
        "Mult": "mul",
        "MatMult": "matmul",
        "Div": "truediv",
        "LtE": "le",
        "GtE": "ge",
        "NotEq": "ne",
    }
    _method = _name.get(_node.__name__, _node.__name__.lower())
    setattr(Array, f"__{_method}__", _infix(_symbol, False))
    if not issubclass(_node, ast.cmpop):
        setattr(Array, f"__r{_method}__", _infix(_symbol, True))


class _Environment:
    """What `Op.interpret` asks of an environment, for operands that carry their own values."""

    def __getitem__(self, x: Array) -> Any:
        return x.array

    def attributes(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return attrs


def _operation(op: Op) -> Callable[..., Any]:
    return lambda *operands, **attrs: _carry_out(op, operands, attrs)


def _carry_out(op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
    """Call an op on `Array`s and bare numbers, which take the dtype that the text gives them."""
    values = tuple(SimpleNamespace(type=Type(dtypes.as_dtype(x.array.dtype))) for x in operands if isinstance(x, Array) and not x.literal)
    bare = structure.literal_dtype(values)
    arrays = tuple(x if isinstance(x, Array) else _literal(number(x, dtypes.bool_ if isinstance(x, bool) else bare)) for x in operands)
    node = Node(op, arrays, {k: _attribute(v) for k, v in attrs.items()}, ())  # type: ignore[arg-type]
    out = op.interpret(node, _Environment(), lambda function, xs, env: _results(function(*map(Array, xs))))  # type: ignore[operator]
    if not isinstance(out, tuple):
        return Array(np.asarray(out))
    results = tuple(Array(np.asarray(x)) for x in out)
    return results if len(results) > 1 else results[0] if results else None


def _literal(x: Literal) -> Array:
    return Array(np.asarray(x.value, x.dtype.np), literal=True)


def _attribute(value: Any) -> Any:
    match value:
        case Array(literal=True):
            return number(value.array, dtypes.as_dtype(value.array.dtype))
        case Array():  # a size that a line of the graph bound
            return int(value.array)
        case _DTypeName():
            return value.dtype
        case tuple():
            return tuple(_attribute(v) for v in value)
        case list():
            return [_attribute(v) for v in value]
    return value


def _results(returned: Any) -> list[Any]:
    return [] if returned is None else [r.array for r in (returned if isinstance(returned, tuple) else (returned,))]


# ------------------------------------------------------------------------------------- names of the text
class _DTypeName:
    """`f32` in the text: a dtype as an attribute, `f32(3)` a literal, `f32[B, 3]` a type."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype

    def __call__(self, value: Any) -> Array:
        return _literal(number(value, self.dtype))

    def __getitem__(self, shape: Any) -> Type:
        return Type(self.dtype, tuple(map(_attribute, shape if isinstance(shape, tuple) else (shape,))))


def _python_or(python: Callable[..., Any], op: Callable[..., Any] | None) -> Callable[..., Any]:
    """`min` and `max` of two sizes and `complex` of two bare numbers are Python's; otherwise they are the ops of those names."""

    def either(*operands: Any, **attrs: Any) -> Any:
        numbers = python is not complex or not any(isinstance(x, Array) for x in operands)
        if len(operands) == 2 and not attrs and numbers:
            return python(*map(_attribute, operands))
        if op is None:
            raise NameError(f"there is no op called {python.__name__}")
        return op(*operands, **attrs)

    return either


def _dim(size: Any, dtype: Any = dtypes.int32) -> Array:
    return Array(np.asarray(_attribute(size), _attribute(dtype).np))


def _constant(value: Any, dtype: Any = None) -> Array:
    return Array(np.asarray(value, (natural_dtype(value) if dtype is None else _attribute(dtype)).np))


class _State:
    """`state.w` reads a cell and `state.w = x` writes it."""

    _cells: MutableMapping[str, Any]

    def __init__(self, cells: MutableMapping[str, Any]) -> None:
        object.__setattr__(self, "_cells", cells)

    def __getattr__(self, name: str) -> Array:
        return Array(np.asarray(self._cells[name]))

    def __setattr__(self, name: str, value: Any) -> None:
        self._cells[name] = (
            value.array
            if isinstance(value, Array)
            else _literal(number(value, dtypes.bool_ if isinstance(value, bool) else dtypes.float32)).array
        )


class _Tape:
    """A tape in a text that runs as it stands: a block of lines, no record."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: Any) -> None:
        return None

    def watch(self, x: Any) -> None:
        """Changes nothing that is computed."""

    def gradient(self, targets: Any, sources: Any, output_gradients: Any = None) -> NoReturn:
        raise NotImplementedError(
            f"{self.name}.gradient: run the pass `differentiate` on the graph and print it again, then the text computes gradients"
        )


def _tapes(tree: ast.Module) -> set[str]:
    found = {i.context_expr.id for n in ast.walk(tree) if isinstance(n, ast.With) for i in n.items if isinstance(i.context_expr, ast.Name)}
    return found | {
        n.value.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and n.attr in ("watch", "gradient") and isinstance(n.value, ast.Name)
    }
