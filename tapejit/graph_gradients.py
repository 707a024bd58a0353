"""`tf.gradients` and `tf.hessians`: derivatives within a traced function, which need no tape: the function itself is the record."""

from __future__ import annotations

from typing import Any

from tapejit import lookups, nest
from tapejit.core import places, sizes
from tapejit.ir.op import thread
from tapejit.jacobians import one_hots
from tapejit.ops.elementwise import zeros_like
from tapejit.ops.operand import Tensor
from tapejit.ops.shapes import reshape
from tapejit.targets import UnconnectedGradients, zeros_asked
from tapejit.tensor import convert_to_tensor
from tapejit.traced_tape import looking_back
from tapejit.variable import Variable, variable_behind
from tapejit.vectorized import over_slices

__all__ = ["gradients", "hessians"]


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: Any = UnconnectedGradients.NONE,
) -> list[Any]:
    """The gradient of the sum of all elements of `ys`, weighted by `grad_ys`, with respect to each of `xs`: a list.

    None, or zeros if so asked, where nothing connects them. `stop_gradients` are taken as constants: no path leads through what makes
    them, but one may begin there. Within traced functions only; elsewhere a RuntimeError.
    """
    zero = zeros_asked(unconnected_gradients)
    recorder = thread.recorder
    if recorder is None:
        raise RuntimeError(places.with_place("tf.gradients is not supported when eager execution is enabled. Use tf.GradientTape instead."))
    targets, sources = _listed(ys, "ys"), _listed(xs, "xs")
    given: list[Any] = [None] * len(targets) if grad_ys is None else nest.flatten(grad_ys)
    if len(given) != len(targets):
        raise ValueError(places.with_place(f"tf.gradients: {len(targets)} ys need {len(targets)} grad_ys, got {len(given)}"))
    seeds = [
        None if g is None else convert_to_tensor(g) if hasattr(g, "dims") else convert_to_tensor(g, y.dtype)
        for g, y in zip(given, targets, strict=True)
    ]
    for g, y in zip(seeds, targets, strict=True):
        if g is not None and (g.dtype is not y.dtype or len(g.dims) != len(y.dims)):
            raise ValueError(places.with_place(f"tf.gradients: a gradient {g.shape} {g.dtype.name} was given for {y.shape} {y.dtype.name}"))
    tape = looking_back(recorder, sources, [] if stop_gradients is None else _listed(stop_gradients, "stop_gradients"))
    found = lookups.gradients(
        lambda inner: tape.gradient(recorder, targets, seeds, inner), sources, tape.lookups(recorder, targets, sources)
    )
    return [zeros_like(convert_to_tensor(x)) if g is None and zero else g for g, x in zip(found, sources, strict=True)]


def _listed(structure: Any, what: str) -> list[Any]:
    out = [x.to_tensor() if hasattr(x, "to_tensor") else variable_behind(x) for x in nest.flatten(structure)]
    for x in out:
        if not isinstance(x, Tensor | Variable):
            raise TypeError(places.with_place(f"tf.gradients: every element of `{what}` must be a tf.Tensor or tf.Variable, got {x!r}"))
    return out


def hessians(ys: Any, xs: Any, gate_gradients: bool = False, aggregation_method: Any = None, name: str = "hessians") -> list[Any]:
    """The second derivatives of the sum of all elements of `ys` with respect to each of `xs`: a list of tensors of shape x.shape + x.shape.

    ValueError where `ys` do not depend on an x. Within traced functions only; elsewhere a RuntimeError.
    """
    out = []
    sources = _listed(xs, "xs") if thread.recorder is not None else []
    for x, slope in zip(sources, gradients(ys, xs), strict=True):
        if slope is None:
            raise ValueError(places.with_place("tf.hessians: ys do not depend on one of xs"))
        g = convert_to_tensor(slope)
        shape = tuple(x.dims)

        def row(seed: Any, x: Any = x, g: Any = g) -> list[Any]:
            return [convert_to_tensor(h) for h in gradients(g, x, seed, unconnected_gradients="zero")]

        (rows,) = over_slices(row, [one_hots(g, shape)], sizes.product(shape), "element")
        out.append(reshape(rows, shape=(*shape, *shape)))
    return out
