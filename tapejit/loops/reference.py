"""The meaning of kernels and programs: carried out statement by statement on NumPy scalars.

In: a kernel or program and its arrays; out: a status (0, or 1 + the node of the `Fail` that ended it), the arrays changed. Every
loop kind is `range`, a `Contract` three nested loops, and a guarded value is computed only where its condition holds. An index
outside its buffer is an IndexError, so running a kernel here also proves its guards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tapejit.core import libraries, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.loops import scalar
from tapejit.loops.expr import Call, Const, Expr, Load, Reduce, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Kernel, Let, Stmt, Store, Update, While
from tapejit.loops.program import (
    Allocate,
    BindSize,
    Branch,
    CheckSize,
    Copy,
    Deliver,
    Free,
    HostCall,
    Launch,
    Program,
    Repeat,
    Step,
)  # fmt: skip

Callback = Callable[[int, list[np.ndarray], list[int]], int]


class _Failed(Exception):
    """A `Fail` was reached."""

    def __init__(self, node: int, operands: tuple[float, ...]) -> None:
        super().__init__(node, operands)
        self.node, self.operands = node, operands


def compute_dtype(dtype: DType) -> np.dtype:
    """The NumPy dtype in which values of `dtype` are computed: half precision as float32."""
    return np.dtype(np.float32) if dtype.narrow else dtype.np


def run_kernel(kernel: Kernel, buffers: Mapping[str, np.ndarray], named: Mapping[str, int] | None = None) -> int:
    """Run a kernel on arrays, one per parameter name; `named` are its sizes. Returns the status."""
    with np.errstate(all="ignore"):
        try:
            _Run(buffers).body(kernel.body, {k: np.int64(v) for k, v in (named or {}).items()})
        except _Failed as failed:
            return 1 + failed.node
    return 0


class _Run:
    def __init__(self, buffers: Mapping[str, np.ndarray]) -> None:
        self.buffers = buffers

    # -------------------------------------------------------------------------------------------- expressions
    def value(self, e: Expr, env: dict[str, Any]) -> Any:
        if isinstance(e, Const):
            return compute_dtype(e.dtype).type(e.value)
        if isinstance(e, Var):
            return env[e.name]
        if isinstance(e, Load):
            return self._element(e.buffer, e.index, env).astype(compute_dtype(e.dtype))
        if isinstance(e, Reduce):
            total = compute_dtype(e.dtype).type(scalar.neutral(e.combine, e.dtype))
            return self._reduce(e, e.axes, total, env)
        assert isinstance(e, Call)
        if e.fn in ("select", "guarded"):
            c, a, b = e.args
            return self.value(a if self.value(c, env) else b, env)
        args = [self.value(a, env) for a in e.args]
        if e.fn == "cast":
            given = scalar.FUNCTIONS["cast"].reference(args[0], e.dtype)
            return given.astype(compute_dtype(e.dtype))
        if e.fn == "bitcast":
            return scalar.FUNCTIONS["bitcast"].reference(args[0], e.dtype)
        return scalar.FUNCTIONS[e.fn].reference(*args)

    def _reduce(self, e: Reduce, axes: tuple[tuple[str, Dim], ...], total: Any, env: dict[str, Any]) -> Any:
        if not axes:
            return scalar.FUNCTIONS[e.combine].reference(total, self.value(e.body, env))
        (name, extent), *rest = axes
        for k in range(_size(extent, env)):
            total = self._reduce(e, tuple(rest), total, {**env, name: np.int64(k)})
        return total

    def _place(self, buffer: str, index: tuple[Expr, ...], env: dict[str, Any]) -> tuple[int, ...]:
        at = tuple(int(self.value(i, env)) for i in index)
        if any(not 0 <= i < n for i, n in zip(at, self.buffers[buffer].shape)):
            raise IndexError(f"index {at} outside {buffer}{list(self.buffers[buffer].shape)}")
        return at

    def _element(self, buffer: str, index: tuple[Expr, ...], env: dict[str, Any]) -> Any:
        return self.buffers[buffer][self._place(buffer, index, env)]

    # -------------------------------------------------------------------------------------------- statements
    def body(self, body: tuple[Stmt, ...], env: dict[str, Any]) -> None:
        """Statements in a scope of their own; accumulators of outer scopes change there."""
        inner = dict(env)
        own: set[str] = set()
        for s in body:
            if isinstance(s, Let | Accumulator):
                own.add(s.name)
            elif isinstance(s, CallLibrary):
                own.add(s.info)
            self.statement(s, inner)
        for name in env.keys() - own:
            env[name] = inner[name]

    def statement(self, s: Stmt, env: dict[str, Any]) -> None:
        match s:
            case Let(name=name, value=v) | Accumulator(name=name, init=v):
                env[name] = self.value(v, env)
            case Update(name=name, combine=combine, value=v):
                env[name] = self._combined(combine, env[name], self.value(v, env))
            case Store(buffer=buffer, index=index, value=v, combine=combine):
                at, new = self._place(buffer, index, env), self.value(v, env)
                array = self.buffers[buffer]
                old = array[at].astype(new.dtype)
                array[at] = np.asarray(self._combined(combine, old, new)).astype(array.dtype)
            case For(index=index, extent=extent, body=body):
                self._loop(index, extent, env, lambda: self.body(body, env))
            case If(condition=c, then=then, otherwise=otherwise):
                self.body(then if self.value(c, env) else otherwise, env)
            case While(condition=c, body=body):
                while self.value(c, env):
                    self.body(body, env)
            case Contract():
                self._loop(s.row, s.rows, env, lambda: self._loop(s.column, s.columns, env, lambda: self._dot(s, env)))
            case CallLibrary(info=info, symbol=symbol, arguments=arguments):
                env[info] = np.int32(libraries.call(symbol, *(a if isinstance(a, bytes) else self._argument(a, env) for a in arguments)))
            case Fail(node=node, operands=operands):
                raise _Failed(node, tuple(float(self.value(o, env)) for o in operands))
            case _:
                raise NotImplementedError(f"reference for the statement {type(s).__name__}")

    def _argument(self, e: Expr, env: dict[str, Any]) -> Any:
        """What a library gets: the memory from an element on, or a value."""
        if isinstance(e, Load):
            buffer = self.buffers[e.buffer]
            return buffer.reshape(-1)[int(np.ravel_multi_index(self._place(e.buffer, e.index, env), buffer.shape)) :]
        return self.value(e, env)

    def _loop(self, index: str, extent: Dim, env: dict[str, Any], body: Callable[[], None]) -> None:
        before = env.get(index)
        for k in range(_size(extent, env)):
            env[index] = np.int64(k)
            body()
        if before is None:
            env.pop(index, None)
        else:
            env[index] = before

    def _dot(self, s: Contract, env: dict[str, Any]) -> None:
        inner = dict(env)
        total = compute_dtype(s.left.dtype).type(0)
        for k in range(_size(s.depth, env)):
            inner[s.depth_index] = np.int64(k)
            total = total + self.value(s.left, inner) * self.value(s.right, inner)
        inner.pop(s.depth_index, None)
        outside = dict(env)
        env[s.accumulator] = total
        self.body(s.epilogue, env)
        if s.accumulator in outside:
            env[s.accumulator] = outside[s.accumulator]
        else:
            del env[s.accumulator]

    @staticmethod
    def _combined(combine: str, old: Any, new: Any) -> Any:
        return new if combine == "set" else scalar.FUNCTIONS[combine].reference(old, new)


def _size(d: Dim, env: Mapping[str, Any]) -> int:
    return sizes.evaluate(d, {k: int(env[k]) for k in sizes.names(d)})


# ------------------------------------------------------------------------------------------------ programs
def run(program: Program, arrays: dict[str, np.ndarray], named: Mapping[str, int] | None = None, callback: Callback | None = None) -> int:
    """Run a program on arrays for all buffers that the table gives; returns the status.

    `named` are the sizes known at entry. What `Deliver` hands over is put into `arrays` under the name of its slot.
    """
    with np.errstate(all="ignore"):
        return _Host(program, arrays, dict(named or {}), callback).run()


class _Host:
    def __init__(self, program: Program, arrays: dict[str, np.ndarray], named: dict[str, int], callback: Callback | None) -> None:
        self.program, self.given, self.named, self.callback = program, arrays, named, callback
        self.arrays = dict(arrays)

    def run(self) -> int:
        try:
            self.steps(self.program.steps)
        except _Failed as failed:
            return 1 + failed.node
        return 0

    def array(self, name: str) -> np.ndarray:
        buffer = self.program.buffers[name]
        if name not in self.arrays and buffer.home == "arena":
            self.arrays[name] = self._new(name)
        return self.arrays[name]

    def _new(self, name: str) -> np.ndarray:
        buffer = self.program.buffers[name]
        shape = tuple(sizes.evaluate(d, self.named) for d in buffer.shape)
        fill = math.nan if buffer.dtype.kind == "f" else buffer.dtype.max
        return np.full(shape, fill, buffer.dtype.np)

    def steps(self, steps: tuple[Step, ...]) -> None:
        for s in steps:
            self.step(s)

    def step(self, s: Step) -> None:
        match s:
            case Launch(kernel=kernel, buffers=buffers):
                views = {p.name: self.array(b) for p, b in zip(kernel.params, buffers)}
                shaped = {p.name: self._shaped(views[p.name], p.shape) for p in kernel.params}
                status = run_kernel(kernel, shaped, {n: self.named[n] for n in kernel.sizes})
                if status:
                    raise _Failed(status - 1, ())
            case Copy(target=target, source=source):
                self.array(target).reshape(-1)[...] = self.array(source).reshape(-1)
            case BindSize(name=name, source=source):
                self.named[name] = int(self.array(source)[()])
            case Allocate(buffer=name):
                self.arrays[name] = self._new(name)
            case Free(buffer=name):
                del self.arrays[name]
            case Deliver(buffer=name, slot=slot):
                self.given[slot] = self.arrays.pop(name)
            case CheckSize(node=node, a=a, b=b):
                if sizes.evaluate(a, self.named) != sizes.evaluate(b, self.named):
                    raise _Failed(node, ())
            case Branch(condition=condition, then=then, otherwise=otherwise):
                self.steps(then if self.array(condition)[()] else otherwise)
            case Repeat(test=test, condition=condition, body=body):
                self.steps(test)
                while self.array(condition)[()]:
                    self.steps(body)
                    self.steps(test)
            case HostCall(index=index, node=node, buffers=buffers, sizes=dims):
                if self.callback is None:
                    raise ValueError("the program calls back into Python; pass callback=")
                if self.callback(index, [self.array(b) for b in buffers], [sizes.evaluate(d, self.named) for d in dims]):
                    raise _Failed(node, ())
            case _:
                raise NotImplementedError(f"reference for the step {type(s).__name__}")

    def _shaped(self, array: np.ndarray, shape: tuple[Dim, ...]) -> np.ndarray:
        return array.reshape(tuple(sizes.evaluate(d, self.named) for d in shape))
