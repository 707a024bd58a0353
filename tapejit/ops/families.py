"""Families of elementwise ops: what a row leaves unsaid. A row gives the NumPy function, the scalar text and the gradient.

`unary`, `binary`, `compare` and `ternary` make and register one op each. Broadcasting is implicit and undone in the gradient
here, so no rule speaks of it. A gradient is one function per operand, `(g, z, *operands) -> gradient`, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, types
from tapejit.core.dtypes import DType
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr, scalar
from tapejit.loops.expr import Expr
from tapejit.ops.batching import aligned
from tapejit.ops.broadcasting import broadcast_index, broadcast_like, unbroadcast

Rule = Callable[..., Any]


class Elementwise(Op):
    """z[i] = f(x[i], y[i], ...) with NumPy broadcasting.

    `kinds` are the operand dtypes' kinds that are allowed ("f" floating, "c" complex, "i" and "u" integers, "b" bool); `result`
    is the result's dtype where it is not the operands', or a function that gives it from theirs; `wide` computes 16-bit floats
    in float32, for functions NumPy lacks there. With `mixed` the first operand is a bool condition. An empty `element` means that
    no kernel computes the function. `domain` is where samples are drawn from, `kinks` points near which the function is not
    smooth, which finite differences avoid.
    """

    same_dtype = None
    batch = aligned

    def __init__(
        self,
        name: str,
        operands: tuple[str, ...],
        numpy: Callable[..., Any],
        element: str,
        gradient: tuple[Rule | None, ...] | None,
        *,
        symbol: str = "",
        kinds: str = "f",
        result: DType | Callable[[DType], DType] | None = None,
        domain: tuple[float, float] | tuple[tuple[float, float], ...] = (-3.0, 3.0),
        kinks: tuple[float, ...] = (),
        wide: bool = False,
        mixed: bool = False,
        on_sizes: bool = False,
        decomposed: Callable[..., Any] | None = None,
        doc: str = "",
    ) -> None:
        self.name, self.operands, self.numpy, self.element, self.gradient = name, operands, numpy, element, gradient
        self.symbol, self.kinds, self.result, self.domain, self.kinks, self.wide = symbol, kinds, result, domain, kinks, wide
        self.on_sizes, self.mixed, self.decomposed = on_sizes, mixed, decomposed
        self.__doc__ = doc or f"Elementwise {name}: {element}."
        self._numpy_kinds = frozenset(kinds + ("V" if "f" in kinds else "") + ("O" if on_sizes else ""))  # bfloat16 is of kind V
        fits = [d for d in dtypes.ALL if d.kind in self.kinds and not (wide and d.bits == 16) and not mixed]
        self._plain = frozenset(d.np for d in fits)  # dtypes that NumPy's function takes just so
        self.no_gradient = gradient is None
        self.constant_operands = frozenset(i for i, rule in enumerate(gradient or ()) if rule is None)
        if mixed:
            self.same_dtype = tuple(range(1, len(operands)))
        if not element:
            self.at = None  # type: ignore[assignment, method-assign]

    def infer(self, *operand_types: Type) -> Type:
        if len(operand_types) != len(self.operands):
            raise TypeError(f"{self.name} takes {len(self.operands)} operands, got {len(operand_types)}")
        agreeing = operand_types if self.same_dtype is None else [operand_types[i] for i in self.same_dtype]
        dtype = agreeing[0].dtype
        for t in agreeing[1:]:
            if t.dtype is not dtype:
                raise TypeError(
                    f"{self.name} takes operands of one dtype, got {' and '.join(o.dtype.name for o in agreeing)}; write tf.cast(x, tf.{dtype.name})"
                )
        if dtype.kind not in self.kinds:
            raise TypeError(f"{self.name} is not defined for {dtype.name}; it takes {self.taken()}")
        if self.mixed and operand_types[0].dtype is not dtypes.bool_:
            raise TypeError(f"{self.name} takes a bool condition, got {operand_types[0].dtype.name}")
        try:
            shape = types.broadcast(*(t.shape for t in operand_types))
        except ValueError as e:
            raise ValueError(f"{self.name} of {' and '.join(map(str, operand_types))}: {e}") from None
        if self.result is None:
            return Type(dtype, shape)
        return Type(self.result if isinstance(self.result, DType) else self.result(dtype), shape)

    def taken(self) -> str:
        """The dtypes that are allowed, in words."""
        words = {"b": "bool", "i": "integers", "u": "unsigned integers", "f": "floating-point", "c": "complex numbers"}
        return ", ".join(words[k] for k in self.kinds)

    def eager(self, *arrays: Any) -> Any:
        dtype = arrays[-1].dtype
        if dtype in self._plain:
            return self.numpy(*arrays)
        if dtype.kind not in self._numpy_kinds or (self.mixed and arrays[0].dtype.kind != "b"):
            self.infer(*(Type(dtypes.as_dtype(a.dtype), a.shape) for a in arrays))  # raises
        if self.wide and dtype.itemsize == 2 and dtype.kind in "fV":
            out = self.numpy(*(a.astype(np.float32) for a in arrays))
            return out.astype(dtype) if out.dtype == np.float32 else out
        return self.numpy(*arrays)

    def vjp(self, g: Any, z: Any, *operands: Any) -> tuple[Any, ...]:
        if self.gradient is None:
            return (None,) * len(operands)

        def thunk(rule: Rule, x: Any) -> Callable[[], Any]:
            return lambda: unbroadcast(rule(g, z, *operands), x)

        return tuple(None if rule is None else thunk(rule, x) for rule, x in zip(self.gradient, operands, strict=True))

    def jvp(self, tangents: tuple[Any, ...], z: Any, *operands: Any) -> Any:
        """Every element depends on its own operands only, so the gradient rules, put before broadcasting is undone, are what is wanted."""
        if self.gradient is None:
            return None
        if any(t is not None and (t.dtype is not z.dtype or t.dtype.is_complex) for t in tangents):
            return NotImplemented
        total: Any = None
        for rule, t in zip(self.gradient, tangents, strict=True):
            if rule is not None and t is not None:
                part = rule(broadcast_like(t, z.dims), z, *operands)
                total = part if total is None else total + part
        return None if total is None else broadcast_like(total, z.dims)

    def at(self, index: tuple[Expr, ...], *operands: Any) -> Expr:
        elements = [x[broadcast_index(index, x.dims)] for x in operands]
        small = elements[-1].dtype
        narrow = small.narrow
        if narrow:  # 16-bit floats are storage: the arithmetic is float32's
            elements = [expr.cast(e, dtypes.float32) if e.dtype is small else e for e in elements]
        out = scalar.parse(self.element, **dict(zip(self.operands, elements, strict=True)))
        return expr.cast(out, small) if narrow and out.dtype is dtypes.float32 else out

    def samples(self, draw: Any) -> Iterator[Any]:
        domains = self.domain if isinstance(self.domain[0], tuple) else (self.domain,) * len(self.operands)
        shapes: dict[int, list[tuple[tuple[int, ...], ...]]] = {
            1: [((5,),), ((),), ((2, 3),), ((0,),)],
            2: [((4,), (4,)), ((), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (3,)), ((2, 0), (1,))],
            3: [((4,), (4,), (4,)), ((2, 3), (3,), ()), ((2, 1), (1, 3), (2, 3)), ((), (), ())],
        }
        for row in shapes[len(self.operands)]:
            yield (
                tuple(
                    draw(s, *d, kinks=self.kinks, kinds="b" if self.same_dtype is not None and i not in self.same_dtype else self.kinds)  # type: ignore[misc]
                    for i, (s, d) in enumerate(zip(row, domains, strict=True))
                ),
                {},
            )


def unary(name: str, numpy: Callable[..., Any], element: str, gradient: Rule | None, **options: Any) -> Op:
    """A function of one operand `x`. `gradient(g, z, x)`."""
    return register(Elementwise(name, ("x",), numpy, element, None if gradient is None else (gradient,), **options))


def binary(name: str, numpy: Callable[..., Any], element: str, gradient: tuple[Rule | None, ...] | None, **options: Any) -> Op:
    """A function of two operands `x` and `y` of one dtype. `gradient` has one rule `(g, z, x, y)` per operand."""
    return register(Elementwise(name, ("x", "y"), numpy, element, gradient, **options))


def compare(name: str, numpy: Callable[..., Any], symbol: str, kinds: str = "iuf", **options: Any) -> Op:
    """A comparison: bool result, no gradient."""
    return register(Elementwise(name, ("x", "y"), numpy, f"x {symbol} y", None, symbol=symbol, kinds=kinds, result=dtypes.bool_, **options))


def ternary(name: str, numpy: Callable[..., Any], element: str, gradient: tuple[Rule | None, ...] | None, **options: Any) -> Op:
    """A function of three operands `x`, `y` and `z`. With `mixed`, `x` is a bool condition."""
    return register(Elementwise(name, ("x", "y", "z"), numpy, element, gradient, **options))
