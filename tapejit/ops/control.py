"""Ops that hold graphs: branches, loops, calls, and gradients given by the user. They occur in graphs only; eagerly Python branches and loops.

Nested graphs are closed: what they use of the graphs around them are operands, the last ones, which the last parameters of each
nested graph stand for. They touch no cells: a cell read within is read before the node and enters as an operand (see `held`),
a cell written within leaves as a result that is assigned after it.

    y = cond(pred, *captures, then=, otherwise=)                                    one of two graphs on the captures
    y, count = while_loop(*carried, *captures, test=, body=, carried=)              carried = body(*carried, *captures) while test holds
    y, ys = scan(*carried, *scanned, *captures, body=, carried=, scanned=, length=) body on each slice of the scanned, slices stacked
    y = call(*operands, body=)                                                      the body
    y = custom_gradient(*results, *inputs, *captures, ...)                          results, whose gradient is the user's
    ys = vmap(*slices, *captures, body=, mapped=, size=)                            the body on every slice along axis 0, results stacked

Their gradients need graphs to be derived, which the pass at work does: it is the thread's recorder and offers `backward(graph, wanted,
given)`, `reached(graph, given)`, `copy(graph)`, `inline(graph, operands)` and `dim_of(count)`. On many slices at once they need graphs
written anew, for which the pass `batch` offers `opened`, `vectorized`, `nested`, `parameter` and `full`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Value
from tapejit.ir.op import OPS, Op, register, thread
from tapejit.ir.structure import attribute_dims
from tapejit.loops.expr import Expr
from tapejit.ops.batching import from_front, leading, repeated, to_front
from tapejit.ops.elementwise import add, cast, full, logical_and, select, zeros_like
from tapejit.ops.gathering import scatter, segment
from tapejit.ops.shapes import reshape


def _same(what: str, given: tuple[Type, ...] | list[Type], expected: tuple[Type, ...] | list[Type]) -> None:
    """TypeError or ValueError unless the types agree; undecided sizes are taken to be equal."""
    if len(given) != len(expected):
        raise ValueError(f"{what}: expected {len(expected)} values, got {len(given)}")
    for k, (g, e) in enumerate(zip(given, expected, strict=True)):
        if g.dtype is not e.dtype:
            raise TypeError(f"{what}: value {k} has dtype {g.dtype.name}, expected {e.dtype.name}")
        if g.rank != e.rank:
            raise ValueError(f"{what}: value {k} has type {g}, expected {e}")
        for a, b in zip(g.shape, e.shape, strict=True):
            try:
                sizes.unify(a, b)
            except ValueError:
                raise ValueError(f"{what}: value {k} has type {g}, expected {e}") from None


def _types(values: Any) -> tuple[Type, ...]:
    return tuple(v.type for v in values)


def _listed(g: Any) -> tuple[Any, ...]:
    """What the sweep hands over for one result or several, as a tuple."""
    return g if isinstance(g, tuple) else (g,)


class Nesting(Op):
    """An op with nested graphs: always a tuple of results, and no kernel of its own."""

    tuple_result = True

    def native(self, *types: Type, **attrs: Any) -> bool:
        return False

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())


def paths(graph: Graph, results: Sequence[int]) -> list[int]:
    """Positions of the parameters of a nested graph that a gradient of the results listed flows to."""
    reached = {id(graph.results[k]) for k in results if graph.results[k].type.dtype.differentiable}
    for node in reversed(graph.body):
        hit = [k for k, o in enumerate(node.outs) if id(o) in reached]
        if hit:
            flowing = (node.args[i] for i in node.op.reached_operands(len(node.args), node.attrs, hit))
            reached.update(id(a) for a in flowing if a.type.dtype.differentiable)
    return [k for k, p in enumerate(graph.params) if id(p) in reached]


def _paths_of_loop(body: Graph, carried: int, results: Sequence[int]) -> list[int]:
    """Those of a body that runs again and again with its first `carried` results as its first parameters."""
    live = set(results)
    while True:
        found = paths(body, sorted(live))
        more = {i for i in found if i < carried} - live
        if not more:
            return sorted({*found, *(k for k in live if k < carried)})
        live |= more


def _harmless(*graphs: Graph) -> bool:
    """Whether running these graphs where they would not have run changes nothing: they have no effect, cannot fail, and come to an end."""
    return not any(n.op.effect or n.op.can_fail or n.op is while_loop for g in graphs for n in g.walk())


def _per_slice(flag: Any, x: Any) -> Any:
    """One bool for each slice, to be broadcast against `x`."""
    return reshape(flag, shape=(*flag.dims, *(1,) * (len(x.dims) - 1)))


class Cond(Nesting):
    """The results of `then` if the bool scalar `pred` holds, else those of `otherwise`; both get all captures."""

    name = "cond"
    constant_operands = frozenset({0})

    def infer(self, pred: Type, *captures: Type, then: Graph, otherwise: Graph) -> tuple[Type, ...]:
        if pred.dtype is not dtypes.bool_ or pred.shape:
            raise TypeError(f"cond takes a bool scalar as its condition, got {pred}")
        for branch in (then, otherwise):
            _same(f"cond, operands of {branch.name}", captures, _types(branch.params))
        _same("cond, results of the two branches", _types(otherwise.results), _types(then.results))
        return _types(then.results)

    def reached_operands(self, count: int, attrs: dict[str, Any], results: list[int]) -> list[int]:
        return sorted({1 + i for branch in (attrs["then"], attrs["otherwise"]) for i in paths(branch, results)})

    def interpret(self, node: Any, env: Any, run: Any) -> Any:
        branch = node.attrs["then" if bool(np.asarray(env[node.args[0]])) else "otherwise"]
        return tuple(run(branch, [env[a] for a in node.args[1:]], env))

    def vjp(self, g: Any, z: Any, pred: Any, *captures: Any, then: Graph, otherwise: Graph) -> tuple[Any, ...]:
        derive, gs = thread.recorder, _listed(g)
        given = [i for i, x in enumerate(gs) if x is not None]
        wanted = sorted({*derive.reached(then, given), *derive.reached(otherwise, given)})
        if not wanted:
            return (None,) * (1 + len(captures))
        parts = cond(
            pred,
            *captures,
            *(gs[i] for i in given),
            then=derive.backward(then, wanted, given),
            otherwise=derive.backward(otherwise, wanted, given),
        )
        of = dict(zip(wanted, parts, strict=True))
        return (None, *(of.get(i) for i in range(len(captures))))

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, then: Graph, otherwise: Graph) -> Any:
        """A branch for all slices where the condition is one for all; else both branches, of which every slice takes its own."""
        at, (pred, *captures) = thread.recorder, operands
        if not mapped[0]:
            whole = [True] * len(then.results)
            branches = [at.vectorized(g, mapped[1:], whole)[0] for g in (then, otherwise)]
            return cond(pred, *captures, then=branches[0], otherwise=branches[1])
        if not _harmless(then, otherwise):
            return None
        pairs = zip(*(at.opened(at.copy(g), captures, mapped[1:]) for g in (then, otherwise)), strict=True)
        sides = [(repeated(x, slices, m), repeated(y, slices, n)) for (x, m), (y, n) in pairs]
        return tuple(select(_per_slice(pred, x), x, y) for x, y in sides)


class While(Nesting):
    """Carried values after as many runs of `body` as `test` allows, then how many there were (int64)."""

    name = "while_loop"

    def infer(self, *types: Type, test: Graph, body: Graph, carried: int) -> tuple[Type, ...]:
        for graph in (test, body):
            _same(f"while_loop, operands of {graph.name}", types, _types(graph.params))
        _same("while_loop, values after one iteration", _types(body.results), types[:carried])
        if [str(r.type) for r in test.results] != ["bool"]:
            raise TypeError(f"while_loop: the condition must be a bool scalar, got {', '.join(str(r.type) for r in test.results)}")
        return (*types[:carried], Type(dtypes.int64))

    def reached_operands(self, count: int, attrs: dict[str, Any], results: list[int]) -> list[int]:
        return _paths_of_loop(attrs["body"], attrs["carried"], [k for k in results if k < attrs["carried"]])

    def interpret(self, node: Any, env: Any, run: Any) -> Any:
        carried = node.attrs["carried"]
        values, count = [env[a] for a in node.args], 0
        while bool(np.asarray(run(node.attrs["test"], values, env)[0])):
            values = [*run(node.attrs["body"], values, env), *values[carried:]]
            count += 1
        return (*values[:carried], np.asarray(count, np.int64))

    def vjp(self, g: Any, z: Any, *operands: Any, test: Graph, body: Graph, carried: int) -> tuple[Any, ...]:
        """That of a scan of the number of iterations there were, which is run again to have every iteration's values."""
        attrs = {"body": thread.recorder.copy(body), "carried": carried, "scanned": 0, "length": thread.recorder.dim_of(z[carried])}
        return scan.vjp(_listed(g)[:carried], None, *operands, **attrs)

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, test: Graph, body: Graph, carried: int) -> Any:
        """One loop for all slices where its condition is one for all; else a loop that goes on while one slice does, the others resting."""
        at = thread.recorder
        flags = _carried_flags(at, body, mapped, carried)
        if not at.vectorized(test, flags)[1][0]:
            starts = [repeated(x, slices, m or not f) for x, m, f in zip(operands, mapped, flags, strict=True)]
            inner = at.vectorized(body, flags, flags[:carried])[0]
            *outs, count = while_loop(*starts, test=at.vectorized(test, flags)[0], body=inner, carried=carried)
            return (*(repeated(y, slices, f) for y, f in zip(outs, flags, strict=False)), repeated(count, slices))
        if not _harmless(test, body):
            return None
        flags = [True] * carried + list(mapped[carried:])
        starts = [repeated(x, slices, m or not f) for x, m, f in zip(operands, mapped, flags, strict=True)]
        ((going, one_for_all),) = at.opened(at.copy(test), starts, flags)
        going = repeated(going, slices, one_for_all)
        count = full(shape=(slices,), value=0, dtype=dtypes.int64)
        named = [("going", Type(dtypes.bool_), True), ("count", Type(dtypes.int64), True)]
        named += [(p.name, p.type, f) for p, f in zip(body.params, flags, strict=True)]
        tested, ran = at.nested(test.name), at.nested(body.name)
        on, *_ = [tested.parameter(*p) for p in named]
        with tested.at_work():
            tested.builder.graph.results = [OPS["any"](on, axis=(0,)).value]
        on, far, *state = [ran.parameter(*p) for p in named]
        with ran.at_work():
            new = [repeated(y, slices, m) for y, m in ran.opened(at.copy(body), state, flags)]
            kept = [select(_per_slice(on, y), y, x) for x, y in zip(state, new, strict=False)]
            ((again, m),) = ran.opened(at.copy(test), [*kept, *state[carried:]], flags)
            results = [logical_and(on, repeated(again, slices, m)), far + cast(on, dtype=dtypes.int64), *kept]
            ran.builder.graph.results = [r.value for r in results]
        _, count, *outs, _ = while_loop(
            going, count, *starts, test=tested.builder.graph, body=ran.builder.graph, carried=carried + 2
        )  # fmt: skip
        return (*outs, count)


def _carried_flags(at: Any, body: Graph, mapped: Any, carried: int) -> list[bool]:
    """Which operands of a loop have slices once it has run: carried values that come to depend on one get them too."""
    flags = list(mapped)
    while True:
        after = at.vectorized(body, flags)[1][:carried]
        if not any(a and not f for a, f in zip(after, flags, strict=False)):
            return flags
        flags[:carried] = [a or f for a, f in zip(after, flags, strict=False)]


class Scan(Nesting):
    """`body(*carried, *slices, *captures) -> (*carried, *slices)` for each of `length` slices along axis 0, from the last one if `reverse`.

    Results: the carried values at the end, then the resulting slices stacked.
    """

    name = "scan"

    def infer(self, *types: Type, body: Graph, carried: int, scanned: int, length: Dim, reverse: bool = False) -> tuple[Type, ...]:
        slices = []
        for t in types[carried : carried + scanned]:
            if not t.rank:
                raise ValueError("scan: a scanned operand must have an axis 0, got a scalar")
            sizes.unify(t.shape[0], length)
            slices.append(t.with_shape(t.shape[1:]))
        _same(f"scan, operands of {body.name}", [*types[:carried], *slices, *types[carried + scanned :]], _types(body.params))
        _same("scan, values after one step", _types(body.results[:carried]), types[:carried])
        return (*types[:carried], *(r.type.with_shape((length, *r.type.shape)) for r in body.results[carried:]))

    def reached_operands(self, count: int, attrs: dict[str, Any], results: list[int]) -> list[int]:
        return _paths_of_loop(attrs["body"], attrs["carried"], results)

    def interpret(self, node: Any, env: Any, run: Any) -> Any:
        attrs = env.attributes(node.attrs)
        body, carried, scanned, length = attrs["body"], attrs["carried"], attrs["scanned"], attrs["length"]
        values = [env[a] for a in node.args]
        state, rows, captures = values[:carried], values[carried : carried + scanned], values[carried + scanned :]
        steps: list[Any] = [None] * length
        for t in reversed(range(length)) if attrs.get("reverse") else range(length):
            out = run(body, [*state, *(r[t] for r in rows), *captures], env)
            state, steps[t] = out[:carried], out[carried:]
        if length:
            return (*state, *(np.stack([np.asarray(s[k]) for s in steps]) for k in range(len(steps[0]))))
        if node.outs:
            types = [o.type for o in node.outs[carried:]]
            return (*state, *(np.zeros(attribute_dims(t.shape, env.sizes), t.dtype.np) for t in types))
        blank = run(body, [*state, *(np.zeros(r.shape[1:], r.dtype) for r in rows), *captures], env)[carried:]
        return (*state, *(np.zeros((0, *np.shape(b)), np.asarray(b).dtype) for b in blank))

    def vjp(
        self, g: Any, z: Any, *operands: Any, body: Graph, carried: int, scanned: int, length: Dim, reverse: bool = False
    ) -> tuple[Any, ...]:
        derive, gs = thread.recorder, _listed(g)
        state, rows, captures = operands[:carried], operands[carried : carried + scanned], operands[carried + scanned :]
        live = {i for i, x in enumerate(gs) if x is not None}
        while True:  # a carried value that reaches a live result is live at the end of the step before
            reached = derive.reached(body, sorted(live))
            more = {i for i in reached if i < carried} - live
            if not more:
                break
            live |= more
        given = sorted(live)
        back = [i for i in given if i < carried]
        to_rows = [i for i in reached if carried <= i < carried + scanned]
        to_captures = [i for i in reached if i >= carried + scanned]
        if not (back or to_rows or to_captures):
            return (None,) * len(operands)
        starts = self._starts(z, operands, body=body, carried=carried, scanned=scanned, length=length, reverse=reverse)
        step = derive.backward(body, [*back, *to_captures, *to_rows], given)
        p = step.params
        seeds = dict(zip(given, p[len(operands) :], strict=True))
        totals = Builder(step, derive.builder.names)
        sums = [totals.parameter(f"sum_{p[i].name}", p[i].type) for i in to_captures]
        d_back, d_captures, d_rows = _cut(step.results, len(back), len(to_captures))
        d_captures = [_summed(totals, s, d) for s, d in zip(sums, d_captures, strict=True)]
        body_back = replace(
            step,
            params=[
                *(seeds[i] for i in back),
                *sums,
                *p[: carried + scanned],
                *(seeds[i] for i in given if i >= carried),
                *p[carried + scanned : len(operands)],
            ],
            results=[*d_back, *d_captures, *d_rows],
        )
        stacked = [gs[i] for i in given if i >= carried]
        out = scan(
            *(gs[i] if gs[i] is not None else zeros_like(state[i]) for i in back), *(zeros_like(operands[i]) for i in to_captures),
            *starts, *rows, *stacked, *captures,
            body=body_back, carried=len(back) + len(to_captures), scanned=carried + scanned + len(stacked), length=length, reverse=not reverse,
        )  # fmt: skip
        of = dict(zip([*back, *to_captures, *to_rows], out, strict=True))
        return tuple(of.get(i) for i in range(len(operands)))

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, body: Graph, carried: int, scanned: int, **attrs: Any) -> Any:
        """One loop that takes a step of every slice at a time."""
        at = thread.recorder
        flags = _carried_flags(at, body, mapped, carried)
        inner = at.vectorized(body, flags, [*flags[:carried], *(True for _ in body.results[carried:])])[0]
        given = [
            repeated(x, slices, m or not f) if k < carried else from_front(x, 1) if m and k < carried + scanned else x
            for k, (x, m, f) in enumerate(zip(operands, mapped, flags, strict=True))
        ]
        outs = scan(*given, body=inner, carried=carried, scanned=scanned, **attrs) or ()
        return tuple(repeated(y, slices, flags[k]) if k < carried else to_front(y, 1) for k, y in enumerate(outs))

    def _starts(self, z: Any, operands: tuple[Any, ...], body: Graph, carried: int, **attrs: Any) -> list[Any]:
        """Each carried value at the start of every step, stacked: from results that are just that, else by running forward again."""
        at = {id(r): k for k, r in enumerate(body.results) if k >= carried} if z is not None else {}
        if all(id(p) in at for p in body.params[:carried]):
            return [z[at[id(p)]] for p in body.params[:carried]]
        again = keeping_starts(thread.recorder.copy(body), carried)
        return list(scan(*operands, body=again, carried=carried, **attrs)[len(body.results) :])


def _summed(builder: Builder, total: Value, part: Value) -> Value:
    """`total + part`; where `part` is but a few rows, they alone are added."""
    node = next((n for n in builder.graph.body if part in n.outs), None)
    if node is not None and node.op is segment and node.attrs.get("combine", "add") == "add":
        rows, ids = node.args
        return builder.emit(scatter, (total, ids, rows), {"combine": "add"}, place=node.place)[0]
    return builder.emit(add, (total, part))[0]


def keeping_starts(body: Graph, carried: int) -> Graph:
    """The body of a scan that also yields its carried values as they come in."""
    return replace(body, results=[*body.results, *body.params[:carried]])


def _cut(values: list[Any], *lengths: int) -> list[list[Any]]:
    out, at = [], 0
    for n in lengths:
        out.append(values[at : at + n])
        at += n
    return [*out, values[at:]]


class Call(Nesting):
    """The results of `body` on the operands."""

    name = "call"

    def infer(self, *types: Type, body: Graph) -> tuple[Type, ...]:
        _same(f"call of {body.name}", types, _types(body.params))
        return _types(body.results)

    def reached_operands(self, count: int, attrs: dict[str, Any], results: list[int]) -> list[int]:
        return paths(attrs["body"], results)

    def interpret(self, node: Any, env: Any, run: Any) -> Any:
        return tuple(run(node.attrs["body"], [env[a] for a in node.args], env))

    def vjp(self, g: Any, z: Any, *operands: Any, body: Graph) -> tuple[Any, ...]:
        derive, gs = thread.recorder, _listed(g)
        given = [i for i, x in enumerate(gs) if x is not None]
        wanted = derive.reached(body, given)
        if not wanted:
            return (None,) * len(operands)
        parts = call(*operands, *(gs[i] for i in given), body=derive.backward(body, wanted, given))
        of = dict(zip(wanted, parts, strict=True))
        return tuple(of.get(i) for i in range(len(operands)))

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, body: Graph) -> Any:
        at = thread.recorder
        return tuple(repeated(y, slices, m) for y, m in at.opened(at.copy(body), operands, mapped))


class CustomGradient(Nesting):
    """The first `results` operands, with the gradient of the next `inputs` operands given by `backward`.

    `backward(*output gradients, *captures)` gives one gradient per input; `none` lists the inputs it gives none for, and its results
    are those of the others. What it captures are the operands after the inputs.
    """

    name = "custom_gradient"

    def gradient_operands(self, count: int, attrs: dict[str, Any]) -> list[int]:
        return [attrs["results"] + k for k in range(attrs["inputs"]) if k not in attrs.get("none", ())]

    def infer(self, *types: Type, backward: Graph, results: int, inputs: int, none: tuple[int, ...] = ()) -> tuple[Type, ...]:
        _same(f"custom_gradient, operands of {backward.name}", [*types[:results], *types[results + inputs :]], _types(backward.params))
        wanted = [t for i, t in enumerate(types[results : results + inputs]) if i not in none]
        _same("custom_gradient, gradients of the inputs", _types(backward.results), wanted)
        return types[:results]

    def interpret(self, node: Any, env: Any, run: Any) -> Any:
        return tuple(env[a] for a in node.args[: node.attrs["results"]])

    def vjp(
        self, g: Any, z: Any, *operands: Any, backward: Graph, results: int, inputs: int, none: tuple[int, ...] = ()
    ) -> tuple[Any, ...]:
        gs = [zeros_like(x) if d is None else d for d, x in zip(_listed(g), operands, strict=False)]
        parts = iter(thread.recorder.inline(backward, [*gs, *operands[results + inputs :]]))
        of_inputs = [None if i in none else next(parts) for i in range(inputs)]
        return (*(None,) * results, *of_inputs, *(None,) * (len(operands) - results - inputs))

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, results: int, **attrs: Any) -> Any:
        """Derivatives have been taken by then, so the results are all there is to it."""
        return tuple(repeated(x, slices, m) for x, m in zip(operands[:results], mapped, strict=False))


class Vmap(Nesting):
    """`body(*slices, *captures)` for each of `size` slices along axis 0 of the first `mapped` operands; results are stacked along axis 0.

    The slices do not depend on one another. The pass `batch` writes the body anew for all of them at once.
    """

    name = "vmap"

    def infer(self, *types: Type, body: Graph, mapped: int, size: Dim) -> tuple[Type, ...]:
        slices = []
        for t in types[:mapped]:
            if not t.rank:
                raise ValueError("vmap: an operand with slices must have an axis 0, got a scalar")
            sizes.unify(t.shape[0], size)
            slices.append(t.with_shape(t.shape[1:]))
        _same(f"vmap, operands of {body.name}", [*slices, *types[mapped:]], _types(body.params))
        return tuple(r.type.with_shape((size, *r.type.shape)) for r in body.results)

    def reached_operands(self, count: int, attrs: dict[str, Any], results: list[int]) -> list[int]:
        return paths(attrs["body"], results)

    def interpret(self, node: Any, env: Any, run: Any) -> Any:
        attrs = {"body": node.attrs["body"], "carried": 0, "scanned": node.attrs["mapped"], "length": node.attrs["size"]}
        return scan.interpret(replace(node, attrs=attrs), env, run)

    def vjp(self, g: Any, z: Any, *operands: Any, body: Graph, mapped: int, size: Dim) -> tuple[Any, ...]:
        """That of the body on every slice; a capture gets the sum over slices."""
        derive, gs = thread.recorder, _listed(g)
        given = [i for i, x in enumerate(gs) if x is not None]
        wanted = derive.reached(body, given)
        if not wanted:
            return (None,) * len(operands)
        step = derive.backward(body, wanted, given)
        p, count = step.params, len(operands)
        step = replace(step, params=[*p[:mapped], *p[count:], *p[mapped:count]])
        parts = vmap(
            *operands[:mapped], *(gs[i] for i in given), *operands[mapped:], body=step, mapped=mapped + len(given), size=size
        )  # fmt: skip
        of = dict(zip(wanted, parts, strict=True))
        return tuple(d if d is None or i < mapped else OPS["sum"](d, axis=(0,)) for i, d in ((i, of.get(i)) for i in range(count)))


class Held(Op):
    """The operand, which is what `cell` held before the node whose nested graph this line is in: a read of the cell, moved out of it."""

    name = "held"
    batch = leading

    def infer(self, x: Type, *, cell: str) -> Type:
        return x

    def eager(self, x: Any, *, cell: str) -> Any:
        return x

    def vjp(self, g: Any, z: Any, x: Any, *, cell: str) -> tuple[Any, ...]:
        return (g,)

    def at(self, index: tuple[Expr, ...], x: Any, *, cell: str) -> Expr:
        return x[index]

    def samples(self, draw: Any) -> Iterator[Any]:
        yield (draw((2, 3)),), {"cell": "w"}


class Overwritten(Op):
    """`new`, written over what a cell held within a nested graph: later reads belong to the cell, so the gradient is that of `held`."""

    name = "overwritten"
    batch = leading
    constant_operands = frozenset({1})
    same_dtype = None

    def infer(self, held: Type, new: Type) -> Type:
        if new.dtype is not held.dtype or new.rank != held.rank:
            raise TypeError(f"an assignment within a loop or branch: the value is {new}, where {held} was")
        return new

    def eager(self, held: Any, new: Any) -> Any:
        return new

    def vjp(self, g: Any, z: Any, held: Any, new: Any) -> tuple[Any, ...]:
        return g if new.dims == held.dims else None, None  # gradients of different sizes have no sum

    def at(self, index: tuple[Expr, ...], held: Any, new: Any) -> Expr:
        return new[index]

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())


cond, while_loop, scan, call, custom_gradient, vmap = (register(op) for op in (Cond(), While(), Scan(), Call(), CustomGradient(), Vmap()))
held, overwritten = register(Held()), register(Overwritten())
