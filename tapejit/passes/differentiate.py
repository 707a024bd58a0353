"""Opens out every `gradient` line into the lines of the reverse sweep, in program order, and drops what only tapes need.

In: a graph with `watch` and `gradient` lines and lines tagged with tapes. Out: a graph without any. Backward lines keep the
places of their forward lines; adjoints are called `d_<name>`, steps towards them `d_<name>_1`, and results what the user
called them. A sweep that an outer tape saw is on that tape's record, so tapes nest and orders add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.ir import structure
from tapejit.ir.builder import Builder, number
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.ir.op import OPS
from tapejit.ops.control import held
from tapejit.ops.elementwise import ones_like, zeros_like
from tapejit.passes.copies import Copier, taken_names
from tapejit.passes.prune import live
from tapejit.passes.symbol import Symbol, Writer
from tapejit.record.nesting import closed
from tapejit.record.sweep import Record, connected, lookups, sweep


def differentiate(graph: Graph) -> Graph:
    """The graph with its `gradient` lines opened out, and without watch lines and tape tags.

    LookupError from an op on a path that has no gradient and does not declare so.
    """
    if not any(n.op is structure.gradient or any(True for _ in n.graphs()) for n in graph.walk()):
        return _untaped(graph)
    out = replace(graph, body=[], guards=list(graph.guards))
    at = Differentiator(out, taken_names(graph))
    for node in graph.body:
        at.line(node)
    out.results = [at.value(r) for r in graph.results]
    return out


@dataclass
class _Tape:
    """What one tape knows at a point of the program."""

    cells: set[str] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    records: list[Record] = field(default_factory=list)
    reads: dict[str, list[Symbol]] = field(default_factory=dict)

    def copy(self) -> _Tape:
        return _Tape(set(self.cells), set(self.active), list(self.records), {k: list(v) for k, v in self.reads.items()})


def _without_effects(graph: Graph) -> Graph:
    """A nested graph for running once more: what it prints and checks, it has printed and checked in the forward run."""
    body = []
    for node in graph.body:
        if not (node.op.effect and not node.outs):
            attrs = {k: _without_effects(a) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
            body.append(replace(node, op=OPS[node.op.again] if node.op.again else node.op, attrs=attrs))
    return replace(graph, body=body)


class Differentiator(Writer):
    """Follows a graph line by line with the records of its tapes, and writes the differentiated graph.

    `outer` is the one at work on the graph around a nested graph.
    """

    def __init__(self, graph: Graph, names: Names, outer: Differentiator | None = None) -> None:
        super().__init__(Builder(graph, names), self._wrote)
        self.now: dict[int, Operand] = outer.now if outer else {}  # what stands for a value of the given graph in the new one
        self._recorded: dict[str, _Tape] = {k: t.copy() for k, t in outer._recorded.items()} if outer else {}
        self._seen_by: tuple[str, ...] = ()  # the tapes that see the lines being written
        self._adjoints: dict[str, Value] = {}  # which value is called d_<name>
        self._steps: dict[str, tuple[Value, str]] = {}  # by name, what was written on the way to an adjoint, and the adjoint's name
        self._fresh: set[int] = set()  # values that the sweep at work has made and that have no name of the user's yet
        if outer is not None:
            self._symbols = outer._symbols

    # --------------------------------------------------------------------------------------- lines
    def line(self, node: Node) -> None:
        """Take the next line of the given graph."""
        if node.op is structure.watch:
            tape = self._tape(node.attrs["tape"])
            if node.attrs.get("cell"):
                tape.cells.add(node.attrs["cell"])
            else:
                tape.active.add(id(self._of(node.args[0])))
        elif node.op is structure.gradient:
            self._open(node)
        else:
            args = tuple(self._now(a) for a in node.args)
            attrs = {k: self._nested(a) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
            new = replace(node, args=args, attrs=attrs, tapes=())
            if any(True for _ in new.graphs()):
                new = closed(new, self.builder.names)
            self.builder.add(new)
            self._record(new, node.tapes)

    def opaque(self, node: Node) -> None:
        """Take a `gradient` line that no tape sees without opening it: its results are constants to every tape."""
        for out in node.outs:
            self.now.setdefault(id(out), out)

    def value(self, x: Value) -> Value:
        """What stands for a value of the given graph, as a value."""
        new = self._now(x)
        return new if isinstance(new, Value) else self.builder.literal(new, name=x.name)

    def connected(self, tape: str, targets: Sequence[Value], sources: Sequence[Value | str]) -> list[bool]:
        """For each source (a value, or the name of a cell) whether the record of `tape` leads from it to a target."""
        heads, groups = self._standing_for(tape, targets, sources)
        answers = iter(connected(self._tape(tape).records, heads, [s for group in groups for s in group]))
        return [any([next(answers) for _ in group]) for group in groups]

    def lookups(self, tape: str, targets: Sequence[Value], sources: Sequence[Value | str]) -> list[list[Record]]:
        """For each source the lines on the record of `tape` that look rows up in it, if its gradient comes through nothing else."""
        return lookups(self._tape(tape).records, *self._standing_for(tape, targets, sources))

    def _standing_for(self, tape: str, targets: Sequence[Value], sources: Sequence[Value | str]) -> tuple[list[Symbol], list[list[Symbol]]]:
        """The targets on the record of `tape`, and for each source what stands for it there: for a cell every read of it."""
        record = self._tape(tape)
        heads = [self._of(t) for t in targets]  # what the tape never saw can still be a target itself
        groups = [record.reads.get(s, []) if isinstance(s, str) else [self._of(s)] for s in sources]
        return heads, [[s for s in group if id(s) in record.active or any(s is t for t in heads)] for group in groups]

    def _tape(self, name: str) -> _Tape:
        return self._recorded.setdefault(name, _Tape())

    def _now(self, x: Operand) -> Operand:
        return x if isinstance(x, Literal) else self.now.get(id(x), x)

    def _of(self, x: Operand) -> Symbol:
        return self.symbol(self._now(x))

    def _wrote(self, node: Node) -> None:
        self._fresh.update(id(o) for o in node.outs)
        if self.base and len(node.outs) == 1:
            self._steps[node.out.name] = node.out, self.base
        self._last = node
        self._record(node, self._seen_by)

    def _record(self, node: Node, tapes: tuple[str, ...]) -> None:
        """Put a line of the new graph on the tapes that see it and follow one of its operands."""
        if not tapes:
            return
        inputs = tuple(self.symbol(a) for a in node.args)
        outputs = tuple(self.symbol(o) for o in node.outs)
        for name in tapes:
            tape = self._tape(name)
            again = node.op is held and id(inputs[0]) in tape.active  # a read that this tape saw outside of this nested graph
            if node.op in (structure.read, held) and node.attrs["cell"] in tape.cells and not again:
                tape.reads.setdefault(node.attrs["cell"], []).append(outputs[0])
                tape.active.add(id(outputs[0]))
            if any(id(x) in tape.active for x in inputs):
                tape.records.append(Record(node.op, inputs, node.attrs, outputs, node.place))
                tape.active.update(id(o) for o in outputs)

    def _nested(self, graph: Graph) -> Graph:
        out = replace(graph, body=[], guards=list(graph.guards))
        inner = Differentiator(out, self.builder.names, self)
        for node in graph.body:
            inner.line(node)
        out.results = [inner.value(r) for r in graph.results]
        return out

    # ----------------------------------------------------------------------------------- gradients
    def _open(self, node: Node) -> None:
        """Write the lines of a `gradient` line."""
        attrs, count = node.attrs, node.attrs["targets"]
        tape = self._tape(attrs["tape"])
        by_value: dict[int, Symbol] = {}  # a value that became a literal is still one value, as target and as source
        operands = [by_value.setdefault(id(a), self._of(a)) for a in node.args]
        groups = [[operands[s]] if isinstance(s, int) else tape.reads.get(s.removeprefix("state."), []) for s in attrs["sources"]]
        self.place, self._seen_by = node.place, node.tapes
        self._fresh = set()
        with self.at_work():
            seeds = [operands[s] if s is not None else self._ones(t) for t, s in zip(operands[:count], attrs["seeds"], strict=True)]
            grads = iter(sweep(list(tape.records), operands[:count], seeds, [s for group in groups for s in group], self._during))
            for out, group in zip(node.outs, groups, strict=True):
                self.place, self.base = node.place, out.name
                total: Any = None
                for part in [next(grads) for _ in group]:
                    if part is not None:
                        total = part if total is None else total + part
                if total is None:
                    total = zeros_like(self.symbol(out))
                self.now[id(out)] = self._called(total.value, out.name)
        self.place, self._seen_by, self.base, self._adjoints, self._steps = None, (), "", {}, {}

    def _ones(self, target: Symbol) -> Symbol:
        if not target.dtype.differentiable:
            return target  # carries no gradient; the sweep leaves it out
        if not target.dims and target.dtype.kind == "f":
            return Symbol(number(1.0, target.dtype))
        with self._adjoint_of(target):
            return ones_like(target)

    def _called(self, x: Operand, name: str) -> Operand:
        """Give a value that the sweep made the user's name for it."""
        if isinstance(x, Value) and id(x) in self._fresh and x.name != name:
            self.builder.names.give_back(x.name)
            x.name = name
            self._fresh.discard(id(x))
            self._adjoints = {k: v for k, v in self._adjoints.items() if v is not x}
        return x

    @contextmanager
    def _during(self, record: Record, operand: int) -> Iterator[None]:
        """Lines written within are steps towards the adjoint of one operand of `record`, or with -1 towards that of its result."""
        self.place = record.place.in_gradient() if record.place else self.place
        if operand >= 0:
            with self._adjoint_of(record.inputs[operand]):
                yield
        else:
            self.base = f"d_{_name(record.outputs[0])}"
            yield
            self.base = ""

    @contextmanager
    def _adjoint_of(self, x: Symbol) -> Iterator[None]:
        """The last line written within is the adjoint of `x` and is called so; the lines before are steps on the way."""
        base = f"d_{_name(x)}"
        self.base, self._last = base, None
        yield
        last: Node | None = self._last
        self.base = ""
        if last is None or len(last.outs) != 1 or last.op.binds_size:
            return
        new, names = last.out, self.builder.names
        earlier = self._adjoints.get(base)
        if earlier is not None:  # what was the adjoint is now a part of it
            earlier.name, new.name = new.name, earlier.name
            self._adjoints[base] = new
            return
        taken = self._steps.get(base)
        if taken is not None and taken[0].name == base:  # a step of another adjoint has the name; it takes the next number of its own
            taken[0].name = names.step(taken[1])
            names.give_back(base)
        elif (free := names.fresh(base)) != base:
            names.give_back(free)
            return
        names.give_back(new.name)
        new.name = names.take(base)
        self._adjoints[base] = new

    _last: Node | None = None

    def backward(self, graph: Graph, wanted: Sequence[int], given: Sequence[int]) -> Graph:
        """The derived graph of a nested one, for rules of ops that hold graphs.

        Parameters: those of `graph`, then an output gradient for each result listed in `given`. Results: the gradient of each
        parameter listed in `wanted`, zeros where there is none.
        """
        names = self.builder.names
        copy = _without_effects(Copier(names).graph(graph))
        out = replace(copy, name=names.fresh(f"d_{graph.name}"), params=list(copy.params), body=list(copy.body), results=[])
        at = Differentiator(out, names)
        seeds, grads = at.gradients(copy, wanted, given)
        out.params += seeds
        for i, g in zip(wanted, grads, strict=True):
            parameter = at.symbol(copy.params[i])
            if g is None:
                with at.at_work(), at._adjoint_of(parameter):
                    g = zeros_like(parameter)
            elif g.dims != parameter.dims:  # by sizes that the graph binds, which nobody knows outside
                with at.at_work(), at._adjoint_of(parameter):
                    g = OPS["ensure_shape"](g, shape=parameter.dims)
            out.results.append(at.as_value(g))
        return live(out)

    def gradients(self, graph: Graph, wanted: Sequence[int], given: Sequence[int]) -> tuple[list[Value], list[Symbol | None]]:
        """Write the reverse sweep over a graph whose lines the graph being written begins with, as part of a sweep around it.

        Gives new values for the output gradients of the results listed in `given`, and the gradients of the parameters listed in `wanted`.
        """
        results = [graph.results[i] for i in given]
        seeds = [Value(self.builder.names.fresh(f"d_{r.name}"), r.type) for r in results]
        with self.at_work():
            grads = sweep(
                [self._as_record(n) for n in graph.body],
                [self.symbol(r) for r in results],
                [self.symbol(s) for s in seeds],
                [self.symbol(graph.params[i]) for i in wanted],
                self._during,
                within=True,
            )
        return seeds, grads

    def as_value(self, x: Symbol) -> Value:
        """What a symbol stands for; a literal becomes a line."""
        return x.value if isinstance(x.value, Value) else self.builder.literal(x.value)

    def reached(self, graph: Graph, given: Sequence[int]) -> list[int]:
        """Positions of the parameters of a nested graph that a gradient of the results listed in `given` flows to."""
        records = [self._as_record(n) for n in graph.body]
        hits = connected(records, [self.symbol(graph.results[i]) for i in given], [self.symbol(p) for p in graph.params])
        return [i for i, hit in enumerate(hits) if hit]

    def copy(self, graph: Graph) -> Graph:
        """A nested graph with values of its own, for a second node that does the same, but for the effects."""
        return _without_effects(Copier(self.builder.names).graph(graph))

    def inline(self, graph: Graph, operands: Sequence[Symbol]) -> list[Symbol]:
        """The results of a nested graph on `operands`, its lines written here."""
        copier = Copier(self.builder.names, {id(p): x.value for p, x in zip(graph.params, operands, strict=True)})
        for node in graph.body:
            new = replace(copier.node(node), tapes=())
            self.builder.add(new)
            self._wrote(new)
        return [self.symbol(copier.operand(r)) for r in graph.results]

    def dim_of(self, count: Symbol) -> Dim:
        """A count that the graph computes, as a size that later lines can be written with."""
        base, self.base = self.base, "N"
        size = OPS["size_of"](count)
        self.base = base
        return sizes.named(size.value.name)

    def _as_record(self, node: Node) -> Record:
        return Record(node.op, tuple(map(self.symbol, node.args)), node.attrs, tuple(map(self.symbol, node.outs)), node.place)


def _name(x: Symbol) -> str:
    return x.value.name if isinstance(x.value, Value) else "x"


def _untaped(graph: Graph) -> Graph:
    """A graph without nested ones, without its watch lines and tape tags."""
    return graph.with_body([replace(n, tapes=()) if n.tapes else n for n in graph.body if n.op is not structure.watch])
