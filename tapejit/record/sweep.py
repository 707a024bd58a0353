"""The reverse sweep: one algorithm for the eager tape, the pass `differentiate` and every higher order.

In: records of ops in the order they ran, targets with their output gradients, sources. Out: the gradient of each source, None
where no path of differentiable ops leads from it to a target. The rules are the ops' own `vjp`, carried out by whoever carries
out ops: eagerly they compute, in a pass they write lines.

Complex numbers: rules are written without conjugation; what enters and leaves the sweep is conjugated, which gives
TensorFlow's convention for real and complex operands alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from tapejit.core.places import Place, place_of
from tapejit.ir.op import OPS, Op


class Record(NamedTuple):
    """One op that ran: `inputs` and `outputs` are compared by identity; `place` where it is known."""

    op: Op
    inputs: tuple[Any, ...]
    attrs: dict[str, Any]
    outputs: tuple[Any, ...]
    place: Any = None  # a `Place`, or what `place_of` makes one of

    @property
    def where(self) -> Place | None:
        """Where in the user's source it ran."""
        return place_of(*self.place) if type(self.place) is tuple else self.place


def _flows(x: Any) -> bool:
    """Whether a tape carries gradients of values like `x`."""
    dtype = getattr(x, "dtype", None)
    return dtype is not None and getattr(dtype, "differentiable", False)


def active_records(records: Iterable[Record], sources: Iterable[Any]) -> tuple[list[tuple[Record, list[int]]], set[int]]:
    """The records on a path from a source, each with the operands that lie on it, and the ids of all values that do."""
    active = {id(s) for s in sources}
    out: list[tuple[Record, list[int]]] = []
    for record in records:
        inputs = record.inputs
        on_path = [i for i in record.op.gradient_operands(len(inputs), record.attrs) if id(inputs[i]) in active and _flows(inputs[i])]
        if on_path:
            out.append((record, on_path))
            active.update(id(o) for o in record.outputs if _flows(o))
    return out, active


def _reached(records: Iterable[Record], targets: Iterable[Any], sources: Iterable[Any]) -> tuple[set[int], list[tuple[Record, list[int]]]]:
    """The ids of the values that a gradient would reach, and the records it would go through, the last one first, each with the operands it
    would leave by; without running any rule.
    """
    path, active = active_records(records, sources)
    reached = {id(t) for t in targets if id(t) in active}
    through = []
    for record, on_path in reversed(path):
        hit = [k for k, o in enumerate(record.outputs) if id(o) in reached]
        if hit:
            flowing = set(record.op.reached_operands(len(record.inputs), record.attrs, hit))
            operands = [i for i in on_path if i in flowing]
            reached.update(id(record.inputs[i]) for i in operands)
            through.append((record, operands))
    return reached, through


def connected(records: Iterable[Record], targets: Iterable[Any], sources: Sequence[Any]) -> list[bool]:
    """For each source whether a gradient would reach it from some target, without running any rule."""
    reached, _ = _reached(records, targets, sources)
    return [id(s) in reached and _flows(s) for s in sources]


def lookups(records: Sequence[Record], targets: Sequence[Any], groups: Sequence[Sequence[Any]]) -> list[list[Record]]:
    """For each source, given as the values that stand for it, the records that pick rows of it, the last one first, if a gradient reaches it
    through nothing else; otherwise none. Its gradient then is rows, those of the results of these records, at their indices.
    """
    tables = {id(r.inputs[0]) for r in records if r.op.picks_rows(**r.attrs)}
    standing = [{id(s) for s in group if _flows(s)} for group in groups]
    if not any(tables & ids for ids in standing):
        return [[] for _ in groups]
    elsewhere, used = {id(t) for t in targets}, []
    for record, operands in _reached(records, targets, [s for group in groups for s in group])[1]:
        for i in operands:
            if i == 0 and record.op.picks_rows(**record.attrs):
                used.append(record)
            else:
                elsewhere.add(id(record.inputs[i]))
    return [[] if ids & elsewhere else [r for r in used if id(r.inputs[0]) in ids] for ids in standing]


def conjugated(x: Any) -> Any:
    """The complex conjugate; real numbers as they are."""
    return OPS["conj"](x) if getattr(getattr(x, "dtype", None), "is_complex", False) else x


def _placed(error: LookupError | NotImplementedError, record: Record) -> Exception:
    """An error that says a gradient is missing, with the line of `record` where it is known."""
    place = record.where
    if place is None or "\n  at " in str(error) or type(error) not in (LookupError, NotImplementedError):
        return error
    return type(error)(f"{error}\n{place.quote()}")


def sweep(
    records: Iterable[Record],
    targets: Sequence[Any],
    seeds: Sequence[Any],
    sources: Sequence[Any],
    during: Callable[[Record, int], AbstractContextManager] | None = None,
    within: bool = False,
) -> list[Any]:
    """Gradients of the sum over targets of seed * target with respect to each source.

    `during(record, operand)` wraps the making of one operand's gradient, and with operand -1 the call of the rule itself (a pass uses
    it for names and places). LookupError from an op on the path that has no gradient and does not declare so.
    `within`: the sweep is part of another one, which has conjugated its seeds.
    """
    conjugate = (lambda x: x) if within else conjugated
    path, active = active_records(records, sources)
    adjoint: dict[int, Any] = {}
    for t, seed in zip(targets, seeds, strict=True):
        if id(t) in active and _flows(t):
            seed = conjugate(seed)
            adjoint[id(t)] = adjoint[id(t)] + seed if id(t) in adjoint else seed
    for record, on_path in reversed(path):
        outputs = record.outputs
        gs = tuple(adjoint.get(id(o)) for o in outputs)
        if all(g is None for g in gs):
            continue
        try:
            with during(record, -1) if during else nullcontext():
                single = len(outputs) == 1
                parts = record.op.vjp(gs[0] if single else gs, outputs[0] if single else outputs, *record.inputs, **record.attrs)
            for i in on_path:
                part = parts[i]
                if part is None:
                    continue
                with during(record, i) if during else nullcontext():
                    if callable(part):
                        part = part()
                        if part is None:
                            continue
                    key = id(record.inputs[i])
                    adjoint[key] = adjoint[key] + part if key in adjoint else part
        except (LookupError, NotImplementedError) as e:
            raise _placed(e, record) from None
    return [conjugate(adjoint.get(id(s))) if _flows(s) else None for s in sources]
